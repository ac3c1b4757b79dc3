//! What is kept on disk of a subject, so that a leader stands by what it has said (P10).

use borsh::{BorshDeserialize, BorshSerialize};

use super::ballot::Said;
use super::orders::Return;
use super::{Coordination, Life, Operation, Rank, Subject, VOTES_PER_SUBJECT_MAX};
use crate::ids::MemberId;
use crate::rules::Rule;
use crate::view::Cause;

/// What a leader must not forget of one subject (P10): what it has accepted, and what it has said and is not settled.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LifeRecord {
    /// Of whom.
    pub subject: Subject,
    /// The last accepted operation.
    pub accepted: Option<Operation>,
    /// Whether operators expelled the user. An operation that is a removal of an expelled user, and not
    /// barred: this leader's operator has taken the user back.
    pub barred: bool,
    /// Whether this leader's operator expelled the user and has not taken it back: the order outlives a crash.
    pub unwanted: bool,
    /// What this leader has voted for and is not settled: others may have counted it, so it must say it again. And the
    /// expulsion from a stay before of a user who has come in again, while f+1 leaders are not known to take it back.
    pub votes: Vec<Operation>,
}

impl LifeRecord {
    /// A life that has come to an operation, with nothing said beyond it.
    pub fn of(operation: Operation) -> Self {
        let subject = operation.subject();
        LifeRecord { subject, accepted: Some(operation), barred: false, unwanted: false, votes: Vec::new() }
    }

    /// The leader's operator takes the user back while the leader is stopped: as [`Coordination::unbar`] does.
    pub fn take_back(&mut self) {
        self.unwanted = false;
        if std::mem::take(&mut self.barred) {
            if let Some(Operation::Remove(_, cause)) = &mut self.accepted {
                *cause = Cause::Expelled;
            }
            self.votes.retain(|vote| !matches!(vote, Operation::Remove(..)));
        }
    }

    /// How far the subject's life has come.
    pub fn rank(&self) -> Rank {
        self.accepted.as_ref().map_or(0, Operation::rank)
    }

    /// Whether its parts agree, as in every record that a leader writes: a disk may hold something else.
    pub fn is_sound(&self) -> bool {
        let fits = |operation: &Operation| operation.subject() == self.subject && operation.is_sound();
        let counts =
            |vote: &Operation| vote.rank() >= self.rank() || matches!(vote, Operation::Remove(_, Cause::Expelled));
        self.accepted.iter().all(fits)
            && self.votes.len() <= VOTES_PER_SUBJECT_MAX
            && self.votes.iter().all(|vote| fits(vote) && counts(vote))
    }
}

impl Coordination {
    pub(super) fn restore(&mut self, record: LifeRecord) {
        self.epoch = self.epoch.saturating_add(record.rank());
        if let Some(Operation::Join(entry)) = &record.accepted {
            self.members.insert(entry.clone());
        }
        let reached = record.rank();
        let LifeRecord { subject, accepted, barred, unwanted, votes } = record;
        let mut life = Life { accepted, barred, unwanted, ..Life::default() };
        self.buckets.put(&subject, &mut life);
        if unwanted {
            self.unwanted.insert(subject.clone());
        }
        let (votes, past): (Vec<_>, Vec<_>) = votes.into_iter().partition(|vote| vote.rank() >= reached);
        if let Some(Operation::Remove(from, _)) = past.last() {
            let doubt = Return { stay: from.incarnation, periods: 0, remembered: true };
            self.doubts.insert(subject.clone(), doubt);
        }
        let takes_back = life.taken_back_from().unwrap_or_default();
        self.lives.insert(subject, life);
        votes.into_iter().for_each(|vote| self.record_vote(self.me, vote, Said { accepted: false, takes_back }));
    }

    /// What is to be kept of a subject.
    pub(super) fn record(&self, subject: &Subject) -> LifeRecord {
        let (barred, unwanted, votes) = (false, false, Vec::new());
        let empty = LifeRecord { subject: subject.clone(), accepted: None, barred, unwanted, votes };
        let Some(life) = self.lives.get(subject) else { return empty };
        let mut votes = if self.rules.enforces(Rule::VoteDurable) { life.unsettled(self.me) } else { Vec::new() };
        if let (Some(doubt), Some(user)) = (self.doubts.get(subject), subject.user()) {
            let from = MemberId { user: user.clone(), incarnation: doubt.stay };
            votes.push(Operation::Remove(from, Cause::Expelled));
        }
        LifeRecord { accepted: life.accepted.clone(), barred: life.barred, unwanted: life.unwanted, votes, ..empty }
    }

    /// This leader may have said what it does not remember. It says nothing more until f+1 others, one of them
    /// honest, are in the same state, and accepts on f+1 leaders' word alone. A group of one leader has no others.
    pub fn catch_up_first(&mut self) {
        let others = usize::from(self.rules.n()).saturating_sub(1);
        self.catching_up = (others >= self.rules.catch_up()).then(Default::default);
    }

    /// Whether this leader says nothing yet.
    pub fn is_catching_up(&self) -> bool {
        self.catching_up.is_some()
    }
}
