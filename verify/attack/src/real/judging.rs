//! How the script judges what it sees.

use std::collections::BTreeSet;

use ringfort::JoinError;

use super::desk::{MemberState, State};
use crate::adversary::Kind;

/// Counters at one moment.
#[derive(Clone, Debug)]
pub struct Marks {
    /// Messages sent.
    pub sent: u64,
    /// Deliveries.
    pub delivered: u64,
    /// Keys installed by all members.
    pub keys: u64,
    each: Vec<(String, u64)>,
}

impl Marks {
    /// Of now.
    pub fn of(state: &State) -> Self {
        let totals = state.ledger.totals();
        let each = state.members.iter().map(|(name, m): (&String, &MemberState)| (name.clone(), m.keys)).collect();
        Marks { sent: totals.sent, delivered: totals.delivered, keys: state.keys(), each }
    }

    /// Whether each of these members has installed a new key since.
    pub fn rekeyed(&self, state: &State, present: &BTreeSet<String>) -> bool {
        let keys = |name: &String| self.each.iter().find(|(n, _)| n == name).map_or(0, |(_, keys)| *keys);
        present.iter().all(|name| state.members.get(name).is_some_and(|m| m.keys > keys(name)))
    }

    /// Whether messages and keys went on since.
    pub fn is_passed(&self, state: &State, present: &BTreeSet<String>) -> bool {
        let totals = state.ledger.totals();
        self.rekeyed(state, present) && totals.sent > self.sent && totals.delivered > self.delivered
    }
}

/// Whether the attack was really made, by the attacker's own count.
pub fn tried_enough(state: &State, kind: Kind, leader: u8) -> bool {
    let tried = |what: &str| state.leader(leader).and_then(|l| l.tried.get(what)).copied().unwrap_or_default();
    match kind {
        Kind::Spy => {
            tried("messages recorded") > 0
                && tried("keys tried") > 0
                && tried("opened with a second leader's share") > 0
        }
        Kind::Drop => tried("messages withheld") > 0,
        Kind::Tamper => tried("altered messages") > 0 && tried("replayed messages") > 0,
        Kind::Ghost => tried("proposed ghosts") > 0 && tried("forged proposals") > 0 && tried("views with a ghost") > 0,
        Kind::Expel => tried("proposed expulsions") > 0 && tried("forged ends") > 0,
        Kind::Deny => tried("signed refusals") > 0 && tried("wrong evaluations") > 0,
        Kind::OldView => tried("old views claimed") > 0 && tried("old heartbeat answers") > 0,
        Kind::Flood => tried("bogus proposals") > 0 && tried("bogus frames") > 0,
        Kind::Chaos => state.leader(leader).is_some_and(|l| l.tried.len() >= 5),
        _ => state.attempts(leader) > 0,
    }
}

/// Whether others named the offence, where it can be known.
pub fn is_caught(state: &State, kind: Kind, leader: u8) -> bool {
    if kind == Kind::Silent {
        return state.none_hears(leader);
    }
    let words = kind.caught_as();
    words.is_empty() || words.iter().any(|word| state.caught.get(*word).is_some_and(|count| *count > 0))
}

/// In words.
pub fn outcome(outcome: &Result<(), JoinError>) -> String {
    match outcome {
        Ok(()) => "was let in".to_owned(),
        Err(error) => error.to_string(),
    }
}
