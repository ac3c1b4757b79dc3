//! How much of what leaders say is kept, which subjects are open, and what this leader says itself.

use std::collections::BTreeMap;

use super::ballot::Said;
use super::{Coordination, Life, Operation, Output, PENDING_PER_LEADER_MAX, SUBJECTS_MAX, SignedProposal, Subject};
use crate::ids::{Incarnation, LeaderId};
use crate::wire::PeerMessage;

/// Subjects that one leader may speak of first before anything of them is accepted.
const FOUNDED_PER_LEADER_MAX: usize = PENDING_PER_LEADER_MAX;

impl Coordination {
    /// Subjects on which one leader may be the first to vote while nobody has accepted, those that are to begin and those that
    /// are to end apart: an honest leader may vote on every member, and in as many ways as are kept of each.
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

    pub(super) fn record_vote(&mut self, leader: LeaderId, operation: Operation, said: Said) {
        let subject = operation.subject();
        if !self.lives.contains_key(&subject) && matches!(subject, Subject::User(_)) {
            self.lives.entry(subject.clone()).or_default().founder = Some(leader);
            *self.founded.entry(leader).or_default() += 1;
        }
        self.change(&subject, |life| {
            life.record_vote(leader, operation, said);
            life.make_room(leader);
        });
        self.tidy(&subject);
    }

    /// Changes what is voted on, and keeps count of who wants what.
    pub(super) fn change(&mut self, subject: &Subject, change: impl FnOnce(&mut Life)) {
        let (me, max) = (self.me, self.pending_max());
        let life = self.lives.entry(subject.clone()).or_default();
        let before = life.pending();
        change(life);
        let is_full = |one: &(LeaderId, bool)| self.pending.get(one).is_some_and(|count| *count >= max);
        life.pass_on(|one| one.0 == me || before.contains(one) || !is_full(one));
        let after = life.pending();
        before.difference(&after).for_each(|one| less(&mut self.pending, *one));
        after.difference(&before).for_each(|one| *self.pending.entry(*one).or_default() += 1);
    }

    /// Whether there is room for a leader's vote. It needs none where others have voted for the same, or the leader on the
    /// same subject: what many want is never kept out by what one has said before.
    ///
    /// Nobody is blamed for want of it: an honest leader may be the only one that hears thousands of users log in, or have more
    /// to tell one that comes back than others have told yet. It says all again, and what is left out costs no signature's check.
    pub(super) fn has_room_for_vote(&self, leader: LeaderId, operation: &Operation) -> bool {
        let kind = (leader, operation.ends_a_stay());
        let needs_none = |life: &Life| life.has_ballot_for(operation) || life.pending().contains(&kind);
        self.pending.get(&kind).is_none_or(|count| *count < self.pending_max())
            || self.lives.get(&operation.subject()).is_some_and(needs_none)
    }

    /// After a subject's votes changed: whether it is open, and whether there is anything left to know of it.
    pub(super) fn tidy(&mut self, subject: &Subject) {
        let Some(life) = self.lives.get(subject) else { return };
        if life.is_open() || life.has_unsettled(self.me) {
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

    /// Votes: durable before it is told, since what others have counted cannot be taken back.
    pub(super) fn vote_own(&mut self, operation: &Operation, out: &mut Vec<Output>) {
        if self.is_catching_up() {
            return;
        }
        let subject = operation.subject();
        let before = self.record(&subject);
        let said_before = self.own_vote(operation);
        let takes_back =
            self.lives.get(&subject).map_or(Incarnation(0), |life| life.takes_back(operation, &self.rules));
        self.record_vote(self.me, operation.clone(), Said { accepted: false, takes_back });
        let after = self.record(&subject);
        if after != before {
            out.push(Output::Persist(after));
        }
        // What is not settled is said again in each period, and not whenever somebody asks for it. What others have settled without
        // this leader it is about to accept: whoever lacks its word finds that in comparing, and nobody has to hear thousands of votes
        // of a leader that comes back.
        let said = self.own_vote(operation).unwrap_or_else(|| self.sign(operation.clone(), false));
        let about_to_accept = |life: &Life| {
            let ballot = life.ballot(operation).filter(|ballot| life.is_news(ballot, &self.rules));
            ballot.is_some_and(|ballot| ballot.accepted_by() >= self.rules.catch_up())
        };
        let is_settled = self.lives.get(&subject).is_some_and(about_to_accept);
        if said_before.as_ref() != Some(&said) && !is_settled {
            out.push(Output::Broadcast(PeerMessage::Proposals(vec![said])));
        }
    }

    fn sign(&self, operation: Operation, accepted: bool) -> SignedProposal {
        SignedProposal::sign(&self.signing, self.me, self.session, operation, accepted)
    }

    /// This leader's vote for an operation as it says it: signed once.
    pub(super) fn own_vote(&mut self, operation: &Operation) -> Option<SignedProposal> {
        let me = self.me;
        let ballot = self.lives.get_mut(&operation.subject())?.ballot_mut(operation)?;
        let vote = ballot.votes.get(&me)?;
        let (voted, takes_back) = (ballot.as_voted(vote), vote.takes_back);
        if let Some(said) = &ballot.signed
            && said.operation == voted
            && said.takes_back == takes_back
        {
            return Some(said.clone());
        }
        let said =
            SignedProposal::sign(&self.signing, me, self.session, voted, false).taking_back(&self.signing, takes_back);
        ballot.signed = Some(said.clone());
        Some(said)
    }

    /// This leader's word for what it has accepted of a subject: signed once for each state.
    pub(super) fn own_word(&mut self, subject: &Subject) -> Option<SignedProposal> {
        let (leader, session) = (self.me, self.session);
        let mark = |life: &Life| life.ballot(life.accepted.as_ref()?)?.votes.get(&leader).map(|vote| vote.takes_back);
        let life = self.lives.get_mut(subject)?;
        // Who was taken back here is not to be barred elsewhere by this leader's word.
        let cause = life.is_taken_back().then_some(crate::view::Cause::Left);
        let operation = life.accepted.as_ref()?.with_cause(cause);
        let takes_back = mark(life).unwrap_or_default();
        let said = match life.signed.take() {
            Some(said) if said.operation == operation && said.takes_back == takes_back => said,
            _ => SignedProposal::sign(&self.signing, leader, session, operation, true)
                .taking_back(&self.signing, takes_back),
        };
        life.signed = Some(said.clone());
        Some(said)
    }
}

/// One less for a leader.
pub(super) fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, leader: K) {
    let count = counts.entry(leader).or_default();
    *count = count.saturating_sub(1);
}
