//! Anti-entropy: how leaders that lost messages, or were away, come to the same state.
//!
//! Leaders compare a digest of all they have accepted; where it differs, digests by class of
//! users; where those differ, they send each other their own accepted operations, signed.

use ringfort_crypto::hash::digest;

use super::{Coordination, Life, Output, Subject};
use crate::codec::encode;
use crate::fault::Fault;
use crate::ids::LeaderId;
use crate::view::Cause;
use crate::wire::{BUCKETS, PROPOSALS_MAX, PeerMessage};

/// Messages of proposals that answer one comparison.
const ANSWER_MESSAGES_MAX: usize = 8;

/// Accepted state, hashed by class of subjects: each accumulates its lives by exclusive or.
///
/// Not against forgery: peers are authenticated, and a lying one harms only its own comparison.
#[derive(Debug)]
#[cfg_attr(feature = "mutants", derive(Clone))]
pub(super) struct Buckets(Vec<[u8; 16]>);

impl Default for Buckets {
    fn default() -> Self {
        Buckets(vec![[0; 16]; BUCKETS])
    }
}

impl Buckets {
    /// Puts a life in or takes it out.
    pub fn toggle(&mut self, subject: &Subject, life: &Life) {
        let Some(operation) = &life.accepted else { return };
        let state = encode(&(operation.rank(), operation.content(), life.barred));
        let hash = digest("ringfort life", &[name(subject), &state]);
        if let Some(bucket) = self.0.get_mut(bucket(subject)) {
            bucket.iter_mut().zip(hash).for_each(|(a, b)| *a ^= b);
        }
    }

    fn root(&self) -> [u8; 32] {
        digest("ringfort lives", &[self.0.as_flattened()])
    }
}

fn name(subject: &Subject) -> &[u8] {
    match subject {
        Subject::Key => b"",
        // No user has such a name.
        Subject::Session => b"/session",
        Subject::User(user) => user.as_bytes(),
    }
}

fn bucket(subject: &Subject) -> usize {
    usize::from(digest("ringfort bucket", &[name(subject)])[0])
}

impl Coordination {
    /// What this leader tells its peers from time to time: its status, and votes that are not settled yet.
    pub fn status(&self) -> Vec<PeerMessage> {
        let unsettled: Vec<_> = self
            .lives
            .values()
            .flat_map(|life| life.ballots.iter().filter(|b| b.key() > life.key()))
            .filter_map(|b| b.votes.get(&self.me).map(|vote| (b, vote)))
            .take(if self.is_catching_up() { 0 } else { PROPOSALS_MAX })
            .map(|(b, vote)| self.sign(b.as_voted(vote), false))
            .collect();
        let mut messages = vec![PeerMessage::Status(self.buckets.root())];
        if !unsettled.is_empty() {
            messages.push(PeerMessage::Proposals(unsettled));
        }
        messages
    }

    /// A peer's status: if it differs, ours by class.
    pub fn on_status(&mut self, from: LeaderId, root: [u8; 32]) -> Vec<Output> {
        let same = root == self.buckets.root();
        if let Some(found) = &mut self.catching_up {
            if same {
                found.insert(from)
            } else {
                found.remove(&from)
            };
            if found.len() >= self.rules.catch_up() {
                self.catching_up = None;
                return vec![Output::CaughtUp];
            }
        }
        if same {
            return Vec::new();
        }
        vec![Output::Tell(from, PeerMessage::Buckets(self.buckets.0.clone()))]
    }

    /// A peer's classes: where they differ, our accepted operations.
    pub fn on_buckets(&self, from: LeaderId, theirs: &[[u8; 16]]) -> Vec<Output> {
        if theirs.len() != BUCKETS {
            return vec![Output::Blame(from, Fault::Malformed)];
        }
        let differs: Vec<bool> = self.buckets.0.iter().zip(theirs).map(|(a, b)| a != b).collect();
        let mut differing: Vec<_> = self
            .lives
            .iter()
            .map(|(subject, life)| (bucket(subject), life))
            .filter(|(bucket, _)| differs.get(*bucket).copied().unwrap_or(false))
            .collect();
        // Class by class: what one answer carries makes whole classes equal, and the next goes on from there.
        differing.sort_by_key(|(bucket, _)| *bucket);
        let ours: Vec<_> = differing
            .into_iter()
            .filter_map(|(_, life)| {
                // Who was taken back here is not to be barred elsewhere by this leader's word.
                let cause = life.is_taken_back().then_some(Cause::Left);
                life.accepted.as_ref().map(|operation| operation.with_cause(cause))
            })
            .take(ANSWER_MESSAGES_MAX * PROPOSALS_MAX)
            .map(|operation| self.sign(operation, true))
            .collect();
        ours.chunks(PROPOSALS_MAX).map(|part| Output::Tell(from, PeerMessage::Proposals(part.to_vec()))).collect()
    }
}
