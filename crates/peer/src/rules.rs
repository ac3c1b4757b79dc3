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
    /// A safe message is delivered once *every* site of the configuration holds it, not all but one.
    SafeRound,
    /// The sites that re-form together are a clique: each hears each.
    CliqueChoice,
    /// A site keeps, until its next regular configuration, the duty to deliver what it acknowledged in recovery.
    Obligation,
    /// After a hole only messages are delivered whose sender moves along.
    HoleRule,
    /// After a hole, or an unacknowledged safe message, delivery goes on only behind the transitional signal.
    TransitionalSignal,
    /// A ring's counter is durable before it is used.
    CounterDurable,
    /// A site installs a ring only after every member has recovered all that any of them holds.
    RecoverAll,
    /// A site that overslept its token timeout rejoins and takes no stale frame for news.
    Overslept,
    /// Who comes from different configurations exchanges group tables before anything is sent.
    ExchangeFirst,
    /// A visit's fragments and messages of one client keep their order.
    LaneOrder,
}

impl Rule {
    /// All of them, for the corpus.
    pub const ALL: [Rule; 10] = [
        Rule::SafeRound,
        Rule::CliqueChoice,
        Rule::Obligation,
        Rule::HoleRule,
        Rule::TransitionalSignal,
        Rule::CounterDurable,
        Rule::RecoverAll,
        Rule::Overslept,
        Rule::ExchangeFirst,
        Rule::LaneOrder,
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

    /// Up to which number every site holds every packet, from what each acknowledges.
    pub fn held_by_all(self, acknowledged: &[u64]) -> u64 {
        let mut sorted = acknowledged.to_vec();
        sorted.sort_unstable();
        let lowest = usize::from(!self.enforces(Rule::SafeRound) && sorted.len() > 1);
        sorted.get(lowest).copied().unwrap_or(0)
    }

    /// All rules but one.
    #[cfg(feature = "mutants")]
    pub fn mutated_for_testing_only(rule: Rule) -> Self {
        Rules { weakened: Some(rule) }
    }
}
