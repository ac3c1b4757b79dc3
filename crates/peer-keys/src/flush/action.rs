//! What a flush asks of its parent, and why somebody is out.

use ringfort_peer::Name;

use crate::ids::Round;

/// Why somebody is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutWhy {
    /// It did not answer a flush, or did not do its part for the key.
    Silent,
    /// The policy does not admit its key, or its signature is wrong.
    Stranger,
    /// Its policy is another one.
    OtherPolicy,
    /// What it contributes to the key is no contribution.
    NoContribution,
    /// Another member has the same key.
    SameKey,
    /// The answer of this member's own application did not come in time.
    OwnApplication,
    /// Its certificate is over.
    Expired,
    /// Its certificate was revoked.
    Revoked,
    /// Its time has not come or its window is not open, or somebody is not present whom it may not be without. It waits.
    NotNow,
}

impl OutWhy {
    /// Whether the same would come of joining again.
    pub fn is_final(self) -> bool {
        !matches!(self, OutWhy::Silent | OutWhy::OwnApplication | OutWhy::NotNow)
    }
}

/// What the parent has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the application for its word.
    Ask,
    /// Multicast a flush-ok for the round.
    Answer(Round),
    /// All have answered: agree on a key.
    Install,
    /// Multicast a vote against these.
    Vote(Vec<Name>),
    /// No key came about in the time that there is for it; the second time, begin again.
    Overdue {
        /// Whether votes were cast before.
        again: bool,
    },
    /// Somebody is out.
    Out(Name, OutWhy),
    /// So many are in the sites' group that there is no secure view, until there are fewer.
    Crowded(usize),
}
