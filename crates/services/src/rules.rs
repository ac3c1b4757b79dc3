//! Every quorum and rule on which a promise rests, in one place, so that tests can weaken each.

use ringfort_protocol as protocol;

/// The sizes of a group, and the rules in force: all of them, outside the tests of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    n: u8,
    f: u8,
    #[cfg(test)]
    weakened: Option<Rule>,
}

/// The rules that tests weaken, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A reply counts with equal answers of f+1 leaders.
    EqualReplies,
    /// A stay speaks while n-f leaders name it.
    Vouchers,
    /// A request counts with its stay's signature.
    Signature,
    /// A request is applied once.
    Once,
    /// A later stay of a user ends the numbers of those before it.
    LatestStay,
    /// What one stay may have applied has a bound.
    Paid,
    /// And so has what one leader puts into the order, however many stays signed it.
    PaidByLeader,
    /// A leader puts into the order what can be paid; what cannot yet waits in its member's lane.
    HeldBack,
    /// Who put a forged request into the order is not listened to for a while.
    Muted,
    /// A member's requests that wait have a bound.
    LaneBound,
    /// Members are served in turn.
    InTurn,
    /// Replies that are put off have a bound.
    WaitingBound,
    /// Whoever may not ask any more waits no more.
    WaitingEnds,
    /// First f+1 leaders are asked, one of which is honest, and all if that does not help.
    AskedLeaders,
}

impl From<protocol::Rules> for Rules {
    fn from(rules: protocol::Rules) -> Self {
        Rules {
            n: rules.n(),
            f: rules.f(),
            #[cfg(test)]
            weakened: None,
        }
    }
}

impl Rules {
    /// Leaders whose equal answers are believed: one of them is honest.
    pub(crate) fn replies(&self) -> usize {
        self.weakened(Rule::EqualReplies, usize::from(self.f) + 1)
    }

    /// Leaders whose words a stay needs: as many as it takes to come in, and f+1 that take theirs back end it.
    pub(crate) fn vouchers(&self) -> usize {
        self.weakened(Rule::Vouchers, usize::from(self.n - self.f))
    }

    /// Leaders that are given a request first: one of them is honest.
    pub(crate) fn asked(&self) -> usize {
        self.weakened(Rule::AskedLeaders, usize::from(self.f) + 1)
    }

    /// Whether a rule is in force: always, outside the tests of the tests.
    pub(crate) fn enforces(&self, rule: Rule) -> bool {
        #[cfg(test)]
        if self.weakened == Some(rule) {
            return false;
        }
        let _ = rule;
        true
    }

    fn weakened(&self, rule: Rule, threshold: usize) -> usize {
        if self.enforces(rule) { threshold } else { threshold.saturating_sub(1).max(1) }
    }

    /// All rules but one.
    #[cfg(test)]
    pub(crate) fn without(mut self, rule: Rule) -> Self {
        self.weakened = Some(rule);
        self
    }
}
