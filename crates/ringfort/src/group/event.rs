//! What a member is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfort_protocol::fault::Culprit;
use ringfort_protocol::member::{Confirmation, OpenMotion};
use ringfort_protocol::motion::Motion;
use ringfort_protocol::view::{Cause, Change};
use ringfort_protocol::{Fault, LeaderId, UserName, ViewId};
use tokio::sync::mpsc;

/// A message of another member.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who sent it.
    pub sender: UserName,
    /// What it is about.
    pub topic: String,
    /// The message.
    pub payload: Bytes,
    /// The view it was sent under.
    pub view: ViewId,
    /// Its number among the sender's messages of this service.
    pub seq: u64,
    /// The recipients, if it is private; empty for a multicast.
    pub recipients: Vec<UserName>,
}

/// What happened in the group.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message.
    Message(Message),
    /// A new view: a new key for exactly these members.
    View {
        /// Its name.
        view: ViewId,
        /// Who came since the view before.
        joined: Vec<UserName>,
        /// Who went, and why. Who is in `joined` too logged in anew, in place of an earlier stay
        /// ([`Cause::Elsewhere`]).
        left: Vec<(UserName, Cause)>,
    },
    /// Messages of a member are lost for good.
    Gap {
        /// Whose.
        sender: UserName,
        /// The first lost number.
        first: u64,
        /// How many.
        count: u64,
    },
    /// A member went without a word of how much it had said, cut off or crashed perhaps: whether more of it is lost, nobody
    /// knows.
    UnknownTail {
        /// Who.
        sender: UserName,
    },
    /// This stay ended while the others may have gone on talking: what they said at the end of it may be missing here.
    Missed,
    /// The stay ended before enough leaders had acknowledged so many of its messages: whether they arrive, nobody knows.
    Unsent(u64),
    /// This program did not take its events in time and missed some messages.
    Lagged(u64),
    /// More leaders confirm the view than before, or fewer.
    Confirmation(Confirmation),
    /// A leader confirms the view again, or no longer does.
    LeaderAnswers(LeaderId, bool),
    /// The leaders ask for this member's vote, by [`Group::vote`](super::Group::vote) (A17, A24).
    Asked(Motion),
    /// Somebody was caught or refused.
    Blamed(Culprit, Fault),
    /// The stay has ended.
    Ended(Cause),
}

impl Event {
    /// Who was there before and is there anew has logged in again, in place of an earlier stay.
    pub(super) fn view(view: ViewId, changes: Vec<Change>, before: &[UserName]) -> Event {
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Added(entry) => {
                    if before.contains(&entry.id.user) {
                        left.push((entry.id.user.clone(), Cause::Elsewhere));
                    }
                    joined.push(entry.id.user);
                }
                Change::Removed(user, cause) => left.push((user, cause)),
            }
        }
        // Who went and came back in one view is told once.
        let went: Vec<UserName> =
            left.iter().filter(|(_, cause)| *cause != Cause::Elsewhere).map(|(user, _)| user.clone()).collect();
        left.retain(|(user, cause)| *cause != Cause::Elsewhere || !went.contains(user));
        Event::View { view, joined, left }
    }
}

/// The stream of events of one stay.
#[derive(Debug)]
pub struct Events {
    pub(super) received: mpsc::Receiver<Event>,
}

impl Events {
    /// The next event; `None` once the stay has ended and all events were taken.
    pub async fn next(&mut self) -> Option<Event> {
        self.received.recv().await
    }

    /// The next event, if one is waiting.
    pub fn try_next(&mut self) -> Option<Event> {
        self.received.try_recv().ok()
    }
}

/// What this member knows of a leader.
#[derive(Clone, Debug)]
pub struct LeaderState {
    /// Which.
    pub leader: LeaderId,
    /// Whether it has confirmed a view of late: the current one, or one before. Else it is silent.
    pub answers: bool,
    /// Whether it confirms the current view. A new one it confirms a moment later than others.
    pub confirms: bool,
    /// Whether something that holds its key can be reached at its address.
    pub reached: bool,
    /// Whether this member is logged in with it.
    pub linked: bool,
    /// What it was caught in, if anything.
    pub caught: Option<Fault>,
    /// Why there is no link, if there is none.
    pub error: Option<String>,
    pub(super) wrong_key: bool,
    pub(super) wrong_version: bool,
}

impl LeaderState {
    pub(super) fn new(leader: LeaderId) -> Self {
        LeaderState {
            leader,
            answers: false,
            confirms: false,
            reached: false,
            linked: false,
            caught: None,
            error: None,
            wrong_key: false,
            wrong_version: false,
        }
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.error.as_ref().map(|error| format!("{}: {error}", self.leader))
    }

    /// The leader's state in a word or two.
    pub fn word(&self) -> &'static str {
        match self {
            LeaderState { caught: Some(fault), .. } => fault.word(),
            LeaderState { answers: true, .. } => "fine",
            LeaderState { reached: true, .. } => "silent",
            _ => "no link",
        }
    }
}

/// The state of a stay at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The current view, once joined.
    pub view: Option<ViewId>,
    /// Who is in it, by name.
    pub members: Arc<Vec<UserName>>,
    /// How sure it is that this is the group's newest.
    pub confirmation: Confirmation,
    /// A name of its key, for comparing: the same at all members of the view.
    pub key_fingerprint: Option<[u8; 8]>,
    /// When its key was installed.
    pub installed: Option<Instant>,
    /// What is known of each leader.
    pub leaders: Vec<LeaderState>,
    /// What the leaders ask of this member.
    pub motions: Vec<OpenMotion>,
    /// Whether the members are being asked to let this one in.
    pub awaits_vote: bool,
    /// Whether the stay is over.
    pub ended: Option<Cause>,
}

impl Snapshot {
    /// How long the current key has been in use.
    pub fn key_age(&self) -> Option<Duration> {
        self.installed.map(|at| at.elapsed())
    }
}
