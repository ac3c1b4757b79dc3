//! The state of a stay, as it is shown.

use std::time::Duration;

use ringfort::protocol::UserName;
use ringfort::protocol::member::Confirmation;
use ringfort::{LeaderState, Snapshot};

/// What header, member list and leaders' line show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Board {
    pub epoch: Option<u64>,
    pub members: Vec<UserName>,
    pub confirmation: Confirmation,
    pub key_age: Option<Duration>,
    pub leaders: Vec<LeaderLight>,
    pub ended: bool,
}

/// A leader's number and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeaderLight {
    pub number: u8,
    pub word: String,
    pub mood: Mood,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Fine,
    Silent,
    Caught,
}

impl Board {
    pub fn of(snapshot: &Snapshot) -> Self {
        Board {
            epoch: snapshot.view.map(|view| view.epoch.0),
            members: snapshot.members.to_vec(),
            confirmation: snapshot.confirmation,
            key_age: snapshot.key_age(),
            leaders: snapshot.leaders.iter().map(LeaderLight::of).collect(),
            ended: snapshot.ended.is_some(),
        }
    }
}

impl LeaderLight {
    fn of(state: &LeaderState) -> Self {
        let (word, mood) = match (state.caught, state.answers) {
            (Some(fault), _) => (format!("caught: {}", fault.word()), Mood::Caught),
            (None, true) => (state.word().to_owned(), Mood::Fine),
            (None, false) => (state.word().to_owned(), Mood::Silent),
        };
        LeaderLight { number: state.leader.number(), word, mood }
    }
}
