//! How much of what leaders say is kept, and which subjects are open.

use std::collections::BTreeMap;

use super::{
    BALLOTS_PER_SUBJECT_MAX, Coordination, Operation, PENDING_PER_LEADER_MAX, SUBJECTS_MAX, SignedProposal, Subject,
};
use crate::ids::LeaderId;

/// Subjects that one leader may speak of first before anything of them is accepted.
const FOUNDED_PER_LEADER_MAX: usize = PENDING_PER_LEADER_MAX;

impl Coordination {
    /// Operations that one leader may have proposed and nobody accepted: an honest leader may vote on every member.
    pub(super) fn pending_max(&self) -> usize {
        self.members_max.max(PENDING_PER_LEADER_MAX)
    }

    /// Users are bounded; the key and the session always have their place. Users of whom something is accepted and
    /// those that single leaders speak of have room of their own, so nobody's inventions keep anybody out.
    pub(super) fn has_room_for(&self, from: LeaderId, subject: &Subject) -> bool {
        if !matches!(subject, Subject::User(_)) || self.lives.contains_key(subject) {
            return true;
        }
        let founded: usize = self.founded.values().sum();
        let own = self.founded.get(&from).copied().unwrap_or(0);
        let may_found = from == self.me || own < FOUNDED_PER_LEADER_MAX;
        may_found && self.lives.len().saturating_sub(founded) < SUBJECTS_MAX
    }

    pub(super) fn record_vote(&mut self, leader: LeaderId, operation: Operation, accepted: bool) {
        let subject = operation.subject();
        if !self.lives.contains_key(&subject) && matches!(subject, Subject::User(_)) {
            self.lives.entry(subject.clone()).or_default().founder = Some(leader);
            *self.founded.entry(leader).or_default() += 1;
        }
        let life = self.lives.entry(subject.clone()).or_default();
        let pending = self.pending.entry(leader).or_default();
        if life.record_vote(leader, operation, accepted) {
            *pending += 1;
        }
        while life.ballots_of(leader) > BALLOTS_PER_SUBJECT_MAX {
            if life.drop_lowest_vote(leader) {
                *pending = pending.saturating_sub(1);
            }
        }
        self.tidy(&subject);
    }

    /// After a subject's votes changed: whether it is open, and whether there is anything left to know of it.
    pub(super) fn tidy(&mut self, subject: &Subject) {
        let Some(life) = self.lives.get(subject) else { return };
        if life.is_open() {
            self.open.insert(subject.clone());
        } else {
            self.open.remove(subject);
        }
        if !life.is_worth_keeping() {
            let founder = life.founder;
            self.lives.remove(subject);
            founder.into_iter().for_each(|founder| less(&mut self.founded, founder));
        }
    }

    /// This leader's vote for an operation as it says it: signed once.
    pub(super) fn own_vote(&mut self, operation: &Operation) -> Option<SignedProposal> {
        let (me, session) = (self.me, self.session);
        let ballot = self.lives.get_mut(&operation.subject())?.ballot_mut(operation)?;
        let voted = ballot.as_voted(ballot.votes.get(&me)?);
        if let Some((signed, signature)) = &ballot.signed
            && *signed == voted
        {
            let (operation, signature) = (voted, *signature);
            return Some(SignedProposal { leader: me, session, operation, accepted: false, signature });
        }
        let said = SignedProposal::sign(&self.signing, me, session, voted.clone(), false);
        ballot.signed = Some((voted, said.signature));
        Some(said)
    }

    /// This leader's word for what it has accepted of a subject: signed once for each state.
    pub(super) fn own_word(&mut self, subject: &Subject) -> Option<SignedProposal> {
        let (leader, session) = (self.me, self.session);
        let life = self.lives.get_mut(subject)?;
        // Who was taken back here is not to be barred elsewhere by this leader's word.
        let cause = life.is_taken_back().then_some(crate::view::Cause::Left);
        let operation = life.accepted.as_ref()?.with_cause(cause);
        let signature = match life.signed {
            Some(signature) => signature,
            None => SignedProposal::sign(&self.signing, leader, session, operation.clone(), true).signature,
        };
        life.signed = Some(signature);
        Some(SignedProposal { leader, session, operation, accepted: true, signature })
    }
}

/// One less for a leader.
pub(super) fn less(counts: &mut BTreeMap<LeaderId, usize>, leader: LeaderId) {
    let count = counts.entry(leader).or_default();
    *count = count.saturating_sub(1);
}
