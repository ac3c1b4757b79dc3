//! The rules on which promises rest, in one place, so that a test can weaken each.

use std::time::Duration;

/// A round of the control channel.
pub const ROUND: Duration = Duration::from_millis(10);
/// Rounds from an agreement's start until proposals that are not known yet do not count.
pub const FREEZE_ROUNDS: u64 = 3;
/// Rounds that one coordinator has before it is the next one's turn.
pub const TURN_ROUNDS: u64 = 5;
/// Rounds from an agreement's start within which its result is in time.
pub const AGREE_ROUNDS: u64 = 25;
/// Rounds without hearing a majority after which a component is not timely.
pub const SILENT_ROUNDS: u64 = 10;
/// Rounds that a component missed in a row after which it is not timely.
pub const GAP_ROUNDS: u64 = 5;
/// Good rounds after which it is timely again.
pub const RECOVERY_ROUNDS: u64 = 10;
/// How far ahead an agreement may be.
pub const AHEAD_MAX: Duration = Duration::from_secs(4);
/// How long after its start an agreement is remembered; after that it is refused, and never opened again.
pub const LIFETIME: Duration = Duration::from_secs(2);

/// What a test may weaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A result takes a majority of those listed.
    Majority,
    /// A coordinator goes on with what a majority may already have accepted.
    Adopt,
    /// Nothing of an earlier epoch of a component counts, and it answers for none.
    Epoch,
    /// A frame counts if its sender has heard the receiver's present start.
    Echo,
    /// A frame counts once, and none that is older than one that counted.
    Replay,
    /// Frames are sealed under a key that two components share.
    Seal,
    /// What comes after its deadline is not told as if it were in time.
    Deadline,
    /// An entity has one proposal in an agreement.
    OneProposal,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 8] = [
        Rule::Majority,
        Rule::Adopt,
        Rule::Epoch,
        Rule::Echo,
        Rule::Replay,
        Rule::Seal,
        Rule::Deadline,
        Rule::OneProposal,
    ];
}

/// The rules in force: all of them, outside of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    #[cfg(test)]
    weakened: Option<Rule>,
}

impl Rules {
    /// Whether the rule is in force.
    #[cfg(not(test))]
    #[inline]
    pub fn enforces(&self, _: Rule) -> bool {
        true
    }

    /// Whether the rule is in force.
    #[cfg(test)]
    pub fn enforces(&self, rule: Rule) -> bool {
        self.weakened != Some(rule)
    }

    /// All rules but one.
    #[cfg(test)]
    pub fn without(rule: Rule) -> Self {
        Rules { weakened: Some(rule) }
    }

    /// How many of `listed` components an agreement takes.
    pub fn majority(&self, listed: usize) -> usize {
        if self.enforces(Rule::Majority) { majority(listed) } else { (listed / 2).max(1) }
    }
}

/// More than half.
pub const fn majority(count: usize) -> usize {
    count / 2 + 1
}
