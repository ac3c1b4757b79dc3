//! Every rule on which a promise rests, in one place, so that a simulation can weaken each.

/// The rules in force: all of them, outside the mutant corpus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    #[cfg(feature = "mutants")]
    weakened: Option<Rule>,
}

/// The rules that the mutant corpus weakens, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A protocol sees only messages of its own view, and a key is derived under the view's context.
    ContextBinding,
    /// A key is used only once every member has confirmed it.
    ConfirmBeforeUse,
    /// A view is installed only after every member that is not out has answered.
    FlushComplete,
    /// What completes a key reaches all members or none: it is sent safe.
    SafeConfirmation,
    /// Only members of the view, who have not gone apart since, are heard in it.
    ClosedGroup,
    /// Whoever has answered a flush is not heard in the view that ends.
    SendingView,
    /// Who answers a flush has a key that the policy admits.
    Admission,
    /// A message of a protocol carries its sender's signature.
    Signature,
    /// A key that somebody knew who is gone is no part of a new one: somebody draws a fresh share.
    FreshShare,
    /// Each message of a sender is opened once, in order.
    ReplayCounter,
    /// A contribution that would make the key predictable is refused.
    IdentityRefused,
    /// What all decide by came to the whole group in the agreed order, and a message came as it says.
    ToAllInOrder,
    /// More than half of all who could be in put somebody out, not of those who were quick to answer.
    Majority,
}

impl Rule {
    /// All of them, for the corpus.
    pub const ALL: [Rule; 13] = [
        Rule::ContextBinding,
        Rule::ConfirmBeforeUse,
        Rule::FlushComplete,
        Rule::SafeConfirmation,
        Rule::ClosedGroup,
        Rule::SendingView,
        Rule::Admission,
        Rule::Signature,
        Rule::FreshShare,
        Rule::ReplayCounter,
        Rule::IdentityRefused,
        Rule::ToAllInOrder,
        Rule::Majority,
    ];
}

impl Rules {
    /// All rules.
    pub const fn all() -> Self {
        Rules {
            #[cfg(feature = "mutants")]
            weakened: None,
        }
    }

    /// Whether `rule` is in force.
    #[inline]
    pub fn enforces(self, rule: Rule) -> bool {
        #[cfg(feature = "mutants")]
        if self.weakened == Some(rule) {
            return false;
        }
        let _ = rule;
        true
    }

    /// All rules but one.
    #[cfg(feature = "mutants")]
    pub fn mutated_for_testing_only(rule: Rule) -> Self {
        Rules { weakened: Some(rule) }
    }
}
