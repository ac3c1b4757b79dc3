//! Anti-entropy: how leaders that lost messages, or were away, come to the same state.
//!
//! Leaders compare a digest of all they have accepted; where it differs, digests by class of
//! users; where those differ, they send each other their own accepted operations, signed.

use std::collections::BTreeSet;

use ringfort_crypto::hash::digest;
use ringfort_crypto::set_hash::SetHash;

use super::{Coordination, Life, Operation, Output, Subject};
use crate::codec::encode;
use crate::fault::Fault;
use crate::ids::LeaderId;
use crate::view::Cause;
use crate::wire::{BUCKETS, PROPOSALS_MAX, PeerMessage};

/// Messages of proposals that answer one comparison.
const ANSWER_MESSAGES_MAX: usize = 64;
/// Votes that one status tells.
const STATUS_VOTES_MAX: usize = 256;

/// Accepted state, hashed by class of subjects: each class is a set that nobody can make equal to another.
///
/// Users choose what their joins look like, so a sum that they could solve for (exclusive or) would let a few of
/// them hide a difference.
#[derive(Debug)]
#[cfg_attr(feature = "mutants", derive(Clone))]
pub(super) struct Buckets {
    sets: Vec<SetHash>,
    digests: Vec<[u8; 32]>,
    subjects: Vec<BTreeSet<Subject>>,
}

impl Default for Buckets {
    fn default() -> Self {
        Buckets {
            sets: vec![SetHash::default(); BUCKETS],
            digests: vec![SetHash::default().digest(); BUCKETS],
            subjects: vec![BTreeSet::new(); BUCKETS],
        }
    }
}

impl Buckets {
    /// Puts a life in, as it is now.
    pub fn put(&mut self, subject: &Subject, life: &mut Life) {
        let Some(operation) = &life.accepted else { return };
        let state = (operation.rank(), operation.content(), life.barred);
        let element = SetHash::element(&encode(&(subject, state)));
        let place = bucket(subject);
        self.change(place, |set| set.add(&element));
        if let Some(subjects) = self.subjects.get_mut(place) {
            subjects.insert(subject.clone());
        }
        (life.element, life.signed) = (Some(element), None);
    }

    /// Takes a life out, before it changes.
    pub fn take(&mut self, subject: &Subject, life: &mut Life) {
        if let Some(element) = life.element.take() {
            self.change(bucket(subject), |set| set.remove(&element));
        }
    }

    fn change(&mut self, place: usize, change: impl FnOnce(&mut SetHash)) {
        if let (Some(set), Some(digest)) = (self.sets.get_mut(place), self.digests.get_mut(place)) {
            change(set);
            *digest = set.digest();
        }
    }

    /// What makes others say what they have accepted of a subject: classes of which its own alone is not as theirs.
    pub fn asking_for(&self, subject: &Subject) -> Vec<[u8; 32]> {
        let mut digests = self.digests.clone();
        digests.get_mut(bucket(subject)).into_iter().for_each(|digest| *digest = [0; 32]);
        digests
    }

    fn root(&self) -> [u8; 32] {
        digest("ringfort lives", &[self.digests.as_flattened()])
    }

    /// Subjects of classes that are not as theirs, after a place and then from the beginning.
    fn differing(&self, theirs: &[[u8; 32]], after: Option<&(usize, Subject)>) -> Vec<(usize, Subject)> {
        let differs = |place: &usize| self.digests.get(*place) != theirs.get(*place);
        let all = || {
            let classes = self.subjects.iter().enumerate().filter(move |(place, _)| differs(place));
            classes.flat_map(|(place, subjects)| subjects.iter().map(move |subject| (place, subject)))
        };
        let passed =
            |(place, subject): (usize, &Subject)| after.is_none_or(|(at, last)| (place, subject) > (*at, last));
        let rest = all().filter(|one| passed(*one)).chain(all().filter(|one| !passed(*one)));
        rest.take(ANSWER_MESSAGES_MAX * PROPOSALS_MAX).map(|(place, subject)| (place, subject.clone())).collect()
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
    /// A digest of all that is accepted here.
    pub fn root(&self) -> [u8; 32] {
        self.buckets.root()
    }

    /// What this leader tells its peers from time to time: its status, and votes that are not settled yet. Sessions and
    /// the key come first; of more users than one status holds, the next status tells the next.
    pub fn status(&mut self) -> Vec<PeerMessage> {
        let mut messages = vec![PeerMessage::Status(self.root())];
        if self.is_catching_up() {
            return messages;
        }
        let is_user = |subject: &&Subject| subject.user().is_some();
        let first = self.open.iter().filter(|subject| !is_user(subject) || self.wants_out(subject));
        let after = |subject: &&Subject| self.told.as_ref().is_none_or(|told| *subject > told);
        let users = || self.open.iter().filter(is_user);
        let rest = users().filter(after).chain(users().filter(|subject| !after(subject)));
        let mut unsettled: Vec<(Subject, Operation)> = Vec::new();
        for subject in first.chain(rest) {
            if unsettled.len() >= STATUS_VOTES_MAX {
                break;
            }
            let own = self.open_votes(subject).into_iter().map(|operation| (subject.clone(), operation));
            unsettled.extend(own.filter(|vote| !unsettled.contains(vote)).collect::<Vec<_>>());
        }
        unsettled.truncate(STATUS_VOTES_MAX);
        self.told = unsettled.last().map(|(subject, _)| subject.clone()).filter(|subject| subject.user().is_some());
        let said: Vec<_> = unsettled.iter().filter_map(|(_, operation)| self.own_vote(operation)).collect();
        messages.extend(said.chunks(PROPOSALS_MAX).map(|part| PeerMessage::Proposals(part.to_vec())));
        messages
    }

    fn open_votes(&self, subject: &Subject) -> Vec<Operation> {
        self.lives.get(subject).map(|life| life.unsettled(self.me)).unwrap_or_default()
    }

    /// Whether this leader votes for a user's expulsion from a stay that is not over.
    fn wants_out(&self, subject: &Subject) -> bool {
        self.lives.get(subject).is_some_and(Life::is_open)
            && self
                .open_votes(subject)
                .iter()
                .any(|operation| matches!(operation, Operation::Remove(_, Cause::Expelled)))
    }

    /// A peer's status: if it differs, ours by class.
    pub fn on_status(&mut self, from: LeaderId, root: [u8; 32]) -> Vec<Output> {
        let same = root == self.root();
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
        vec![Output::Tell(from, PeerMessage::Buckets(self.buckets.digests.clone()))]
    }

    /// A peer's classes: where they differ, our accepted operations.
    pub fn on_buckets(&mut self, from: LeaderId, theirs: &[[u8; 32]]) -> Vec<Output> {
        if theirs.len() != BUCKETS {
            return vec![Output::Blame(from, Fault::Malformed)];
        }
        // Class by class: what one answer carries makes whole classes equal, and the next goes on from there.
        let differing = self.buckets.differing(theirs, self.answered.get(&from));
        if let Some(last) = differing.last() {
            self.answered.insert(from, last.clone());
        }
        let ours: Vec<_> = differing.iter().filter_map(|(_, subject)| self.own_word(subject)).collect();
        ours.chunks(PROPOSALS_MAX).map(|part| Output::Tell(from, PeerMessage::Proposals(part.to_vec()))).collect()
    }
}
