//! Votes on one subject: which count, and which fall out when one leader casts too many.

use std::collections::{BTreeMap, BTreeSet};

use super::message::{Operation, Rank, SignedProposal};
use super::{BALLOTS_PER_SUBJECT_MAX, Life};
use crate::ids::{Incarnation, LeaderId};
use crate::rules::{Rule, Rules};
use crate::view::Cause;

/// What leaders have said of one operation.
#[derive(Debug)]
#[cfg_attr(feature = "mutants", derive(Clone))]
pub(super) struct Ballot {
    pub operation: Operation,
    content: [u8; 32],
    pub votes: BTreeMap<LeaderId, Vote>,
    /// In whose room it is kept: who spoke of it first. Whoever joins in takes no room.
    payer: LeaderId,
    /// This leader's vote as it was signed.
    pub signed: Option<SignedProposal>,
}

/// One leader's word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Vote {
    pub accepted: bool,
    /// For removals, the cause it gave.
    pub cause: Option<Cause>,
    /// For joins, the stay of the expulsion that it takes back.
    pub takes_back: Incarnation,
}

impl Ballot {
    pub fn rank(&self) -> Rank {
        self.operation.rank()
    }

    pub fn key(&self) -> (Rank, [u8; 32]) {
        (self.rank(), self.content)
    }

    pub fn accepted_by(&self) -> usize {
        self.votes.values().filter(|v| v.accepted).count()
    }

    /// The operation as a leader voted for it: with the cause that it gave.
    pub fn as_voted(&self, vote: &Vote) -> Operation {
        self.operation.with_cause(vote.cause)
    }

    fn expelled_by(&self) -> usize {
        self.votes.values().filter(|v| v.cause == Some(Cause::Expelled)).count()
    }

    /// Leaders that take the user back who was expelled from a stay.
    pub fn taken_back_by(&self, stay: Incarnation) -> usize {
        self.votes.values().filter(|vote| vote.takes_back >= stay).count()
    }

    /// The operation as a leader that joins in proposes it: a removal's cause is the one that f+1 give, if any.
    pub fn amplified(&self, rules: &Rules) -> Operation {
        let Operation::Remove(member, _) = &self.operation else { return self.operation.clone() };
        let given = |cause| self.votes.values().filter(|v| v.cause == Some(cause)).count();
        let cause = if given(Cause::Expelled) >= rules.amplify() {
            Cause::Expelled
        } else if given(Cause::Expired) >= rules.amplify() {
            Cause::Expired
        } else if given(Cause::SessionOver) >= rules.amplify() {
            Cause::SessionOver
        } else if given(Cause::Left) >= given(Cause::Lost) {
            Cause::Left
        } else {
            Cause::Lost
        };
        Operation::Remove(member.clone(), cause)
    }

    fn ends_a_stay(&self) -> bool {
        self.operation.ends_a_stay()
    }
}

/// What a leader says with its vote.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    pub accepted: bool,
    pub takes_back: Incarnation,
}

fn cause(operation: &Operation) -> Option<Cause> {
    match operation {
        Operation::Remove(_, cause) => Some(*cause),
        Operation::Join(_) | Operation::Refresh(_) | Operation::Session(_) => None,
    }
}

impl Life {
    pub fn rank(&self) -> Rank {
        self.accepted.as_ref().map_or(0, Operation::rank)
    }

    pub fn key(&self) -> (Rank, [u8; 32]) {
        self.accepted.as_ref().map_or((0, [0; 32]), |o| (o.rank(), o.content()))
    }

    /// Whether there is anything to know of the subject.
    pub fn is_worth_keeping(&self) -> bool {
        self.accepted.is_some() || self.barred || self.unwanted || !self.ballots.is_empty()
    }

    /// Whether a stay may be in though this leader has voted for another that is not older: nothing has come of that here.
    pub fn leaves_open(&self, join: &Operation, me: LeaderId) -> bool {
        let voted = self.ballots.iter().any(|b| b.rank() >= join.rank() && b.votes.contains_key(&me));
        voted && self.key() <= (join.rank(), join.content())
    }

    /// What a leader has voted for and is not settled: above the state reached, or an order to expel that is
    /// not in force.
    pub fn unsettled(&self, leader: LeaderId) -> Vec<Operation> {
        let reached = self.key();
        let pending = |b: &Ballot, vote: &Vote| {
            b.key() > reached || vote.cause == Some(Cause::Expelled) && !self.barred && !self.is_taken_back()
        };
        let voted = self.ballots.iter().filter_map(|b| b.votes.get(&leader).map(|vote| (b, vote)));
        voted.filter(|(b, vote)| pending(b, vote)).map(|(b, vote)| b.as_voted(vote)).collect()
    }

    /// Whether there is any of that.
    pub fn has_unsettled(&self, leader: LeaderId) -> bool {
        !self.unsettled(leader).is_empty()
    }

    pub fn ballot_mut(&mut self, operation: &Operation) -> Option<&mut Ballot> {
        let key = (operation.rank(), operation.content());
        self.ballots.iter_mut().find(|b| b.key() == key)
    }

    /// Whether somebody wants more than is reached.
    pub fn is_open(&self) -> bool {
        let reached = self.key();
        self.ballots.last().is_some_and(|b| b.key() > reached)
    }

    pub fn ballot(&self, operation: &Operation) -> Option<&Ballot> {
        let key = (operation.rank(), operation.content());
        self.ballots.iter().find(|b| b.key() == key)
    }

    /// The highest stay accepted here or voted for by `me`.
    pub fn last_incarnation(&self, me: LeaderId) -> Incarnation {
        let voted = self.ballots.iter().filter(|b| b.votes.contains_key(&me)).map(Ballot::rank).max();
        Incarnation(self.rank().max(voted.unwrap_or(0)).div_ceil(2))
    }

    /// The highest stay accepted here or voted for by any leader. What hacked ones name only lets a user jump that
    /// wants to.
    pub fn highest_stay_named(&self) -> Incarnation {
        Incarnation(self.ballots.last().map_or(0, Ballot::rank).max(self.rank()).div_ceil(2))
    }

    /// Whether a vote would add nothing.
    pub fn knows(&self, from: LeaderId, proposal: &SignedProposal) -> bool {
        let vote = self.ballot(&proposal.operation).and_then(|b| b.votes.get(&from));
        vote.is_some_and(|v| {
            (v.accepted || !proposal.accepted)
                && v.takes_back >= proposal.takes_back
                && (v.cause == Some(Cause::Expelled) || cause(&proposal.operation) != Some(Cause::Expelled))
        })
    }

    /// Counts a vote.
    pub fn record_vote(&mut self, leader: LeaderId, operation: Operation, said: Said) {
        let (content, cause) = (operation.content(), cause(&operation));
        let key = (operation.rank(), content);
        let place = self.ballots.iter().position(|b| b.key() >= key).unwrap_or(self.ballots.len());
        if self.ballots.get(place).is_none_or(|b| b.key() != key) {
            let votes = BTreeMap::new();
            self.ballots.insert(place, Ballot { operation, content, votes, payer: leader, signed: None });
        }
        let Some(ballot) = self.ballots.get_mut(place) else { return };
        let vote = ballot.votes.entry(leader).or_default();
        vote.accepted |= said.accepted;
        vote.takes_back = vote.takes_back.max(said.takes_back);
        if vote.cause != Some(Cause::Expelled) {
            vote.cause = cause;
        }
    }

    /// Who was the first to want more than is reached, each with whether it wants a stay to end: many votes of one kind
    /// count once.
    pub fn pending(&self) -> BTreeSet<(LeaderId, bool)> {
        let reached = self.key();
        let open = self.ballots.iter().filter(|b| b.key() > reached);
        open.map(|b| (b.payer, b.ends_a_stay())).collect()
    }

    /// Whether a vote for an operation needs no room of who casts it: there is a ballot, or it is settled.
    pub fn has_ballot_for(&self, operation: &Operation) -> bool {
        (operation.rank(), operation.content()) <= self.key() || self.ballot(operation).is_some()
    }

    /// Who spoke of an operation first has taken it back: it is kept in the room of the next one that has any.
    pub fn pass_on(&mut self, has_room: impl Fn(&(LeaderId, bool)) -> bool) {
        let reached = self.key();
        for ballot in self.ballots.iter_mut().filter(|b| b.key() > reached && !b.votes.contains_key(&b.payer)) {
            let ends = ballot.ends_a_stay();
            match ballot.votes.keys().copied().find(|leader| has_room(&(*leader, ends))) {
                Some(next) => ballot.payer = next,
                // Whoever is honest says it again.
                None => ballot.votes.clear(),
            }
        }
        self.ballots.retain(|b| !b.votes.is_empty());
    }

    /// Where a leader's wishes stand that count against the same room: stays that are to end apart from those that are to
    /// begin, so that nobody's many logins push out the vote that ends the present stay. Lowest first.
    fn wishes_of(&self, leader: LeaderId, ending: bool) -> Vec<usize> {
        let places = self.ballots.iter().enumerate();
        let wished = |b: &Ballot| b.ends_a_stay() == ending && b.votes.get(&leader).is_some_and(|vote| !vote.accepted);
        places.filter(|(_, b)| wished(b)).map(|(place, _)| place).collect()
    }

    /// Whether this leader's vote for a ballot would stand.
    pub fn has_room(&self, leader: LeaderId, ballot: &Ballot) -> bool {
        let ending = ballot.ends_a_stay();
        let wishes = self.wishes_of(leader, ending);
        let outlives = |place: &usize| {
            let other = self.ballots.get(*place).map(Ballot::key);
            if ending { other > Some(ballot.key()) } else { other < Some(ballot.key()) }
        };
        wishes.len() < BALLOTS_PER_SUBJECT_MAX || wishes.iter().any(outlives)
    }

    /// Whether a leader has as many wishes of this kind as are kept.
    #[cfg(feature = "mutants")]
    pub fn is_full_for(&self, leader: LeaderId, operation: &Operation) -> bool {
        self.wishes_of(leader, matches!(operation, Operation::Remove(..))).len() >= BALLOTS_PER_SUBJECT_MAX
    }

    /// Makes room: of stays that are to begin a leader's newest wishes stand, of those that are to end the ones nearest to
    /// the state reached, and of what it has accepted its last word.
    pub fn make_room(&mut self, leader: LeaderId) {
        let mut out: Vec<usize> = Vec::new();
        for ending in [false, true] {
            let wishes = self.wishes_of(leader, ending);
            let many = wishes.len().saturating_sub(BALLOTS_PER_SUBJECT_MAX);
            let falls = if ending { wishes.get(wishes.len() - many..) } else { wishes.get(..many) };
            out.extend(falls.unwrap_or_default());
        }
        let accepted = |b: &Ballot| b.votes.get(&leader).is_some_and(|vote| vote.accepted);
        let places = self.ballots.iter().enumerate();
        let words: Vec<usize> = places.filter(|(_, b)| accepted(b)).map(|(place, _)| place).collect();
        out.extend(words.split_last().map_or(&[][..], |(_, older)| older));
        for place in out {
            if let Some(ballot) = self.ballots.get_mut(place) {
                ballot.votes.remove(&leader);
            }
        }
        self.ballots.retain(|b| !b.votes.is_empty());
    }

    /// The stay from which the user is expelled, while it is.
    pub fn expelled_from(&self) -> Option<Incarnation> {
        self.barred.then(|| Incarnation(self.rank().div_ceil(2).max(1)))
    }

    /// The stay from which the user was expelled, if this leader's operator has taken it back.
    pub fn taken_back_from(&self) -> Option<Incarnation> {
        self.is_taken_back().then(|| Incarnation(self.rank().div_ceil(2)))
    }

    /// Which expulsion a vote of this leader's takes back: its operator did, or f+1 leaders do.
    pub fn takes_back(&self, operation: &Operation, rules: &Rules) -> Incarnation {
        let agreed =
            |stay: &Incarnation| self.ballot(operation).is_some_and(|b| b.taken_back_by(*stay) >= rules.amplify());
        self.taken_back_from().or(self.expelled_from().filter(agreed)).unwrap_or_default()
    }

    /// Whether f+1 leaders let the accepted stay begin though the user was expelled from one before.
    pub fn is_back_rightly(&self, stay: Incarnation, rules: &Rules) -> bool {
        let ballot = self.accepted.as_ref().and_then(|accepted| self.ballot(accepted));
        ballot.is_some_and(|ballot| ballot.taken_back_by(stay) >= rules.amplify())
    }

    /// Whether a leader wants the user out of the stay that is reached, or of one before it is, and this is not settled.
    pub fn wants_out(&self, leader: LeaderId) -> bool {
        let reached = self.key();
        let open = self.ballots.iter().filter(|b| b.key() > reached).filter_map(|b| b.votes.get(&leader));
        self.unwanted || open.into_iter().any(|vote| vote.cause == Some(Cause::Expelled))
    }

    /// Forgets what a leader wants that is above the state reached.
    pub fn withdraw(&mut self, leader: LeaderId) {
        let reached = self.key();
        for ballot in self.ballots.iter_mut().filter(|b| b.key() > reached) {
            ballot.votes.remove(&leader);
        }
        self.ballots.retain(|b| !b.votes.is_empty());
    }

    /// Whether accepting a ballot's operation would take this life further.
    pub fn is_news(&self, ballot: &Ballot, rules: &Rules) -> bool {
        if rules.enforces(Rule::Incarnation) { ballot.key() > self.key() } else { ballot.key() != self.key() }
    }

    /// Leaders that say operators expelled the user from the last stay or a later one; only from a later
    /// one if this leader's operator has taken the user back since.
    pub fn expelled_by(&self) -> usize {
        let from = self.rank().saturating_add(u64::from(self.is_taken_back()));
        self.ballots.iter().filter(|b| b.rank() >= from).map(Ballot::expelled_by).max().unwrap_or(0)
    }

    /// Whether the user was expelled and this leader's operator has taken it back.
    pub fn is_taken_back(&self) -> bool {
        !self.barred && matches!(self.accepted, Some(Operation::Remove(_, Cause::Expelled)))
    }

    /// Sets the cause that is told of an accepted removal.
    pub fn tell_cause(&mut self, told: Cause) {
        if let Some(Operation::Remove(_, cause)) = &mut self.accepted {
            *cause = told;
            self.signed = None;
        }
    }

    /// Takes the life to `operation` and forgets the votes below it. A stay that f+1 leaders let begin lifts an expulsion
    /// from one before.
    pub fn accept(&mut self, operation: Operation) {
        self.barred &= !matches!(operation, Operation::Join(_));
        self.accepted = Some(operation);
        let reached = self.key();
        self.ballots.retain(|b| b.key() >= reached);
    }
}
