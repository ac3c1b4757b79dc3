//! A look inside, for checkers that compare whole states.

use std::collections::BTreeMap;

use super::{Coordination, Operation, Subject};
use crate::ids::LeaderId;
use crate::view::Cause;

/// Who voted for an operation: whether they said that they had accepted it, and the cause that they gave.
pub type Votes = BTreeMap<LeaderId, (bool, Option<Cause>)>;

/// What is known of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeState {
    /// The last accepted operation.
    pub accepted: Option<Operation>,
    /// Whether operators expelled the user.
    pub barred: bool,
    /// Whether this leader's operator wants the user out.
    pub unwanted: bool,
    /// What is being voted on.
    pub ballots: Vec<(Operation, Votes)>,
}

impl Coordination {
    /// Whose it is.
    pub fn me_for_testing_only(&self) -> LeaderId {
        self.me
    }

    /// Whether this leader still says what it said once: it votes for the operation, or has come past it.
    pub fn stands_by_for_testing_only(&self, operation: &Operation) -> bool {
        let Some(life) = self.lives.get(&operation.subject()) else { return false };
        let voted = life.ballot(operation).is_some_and(|b| b.votes.contains_key(&self.me));
        let past = life.key() >= (operation.rank(), operation.content());
        past || voted || life.is_full_for(self.me, operation)
    }

    /// All that decides what this leader does next, subject by subject.
    pub fn state_for_testing_only(&self) -> BTreeMap<Subject, LifeState> {
        let votes = |ballot: &super::Ballot| {
            let votes = ballot.votes.iter().map(|(leader, vote)| (*leader, (vote.accepted, vote.cause)));
            (ballot.operation.clone(), votes.collect())
        };
        let state = |life: &super::Life| LifeState {
            accepted: life.accepted.clone(),
            barred: life.barred,
            unwanted: life.unwanted,
            ballots: life.ballots.iter().map(votes).collect(),
        };
        self.lives.iter().map(|(subject, life)| (subject.clone(), state(life))).collect()
    }
}
