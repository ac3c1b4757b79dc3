//! What a member asks of its driver and tells its user.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Confirmation;
use crate::delivery::Delivery;
use crate::fault::{Culprit, Fault};
use crate::group::GroupInfo;
use crate::ids::{LeaderId, MemberId, Seq, ViewId};
pub use crate::leader::Class;
use crate::log::Chunk;
use crate::login::Denial;
use crate::motion::Motion;
use crate::view::{Cause, Change};

/// An order to the driver.
#[derive(Debug)]
pub enum Effect {
    /// Send to a leader.
    Send(LeaderId, Class, Bytes),
    /// The link has logged in: its limits may be raised.
    Authenticated(LeaderId),
    /// Close the link and connect again.
    Reconnect(LeaderId),
    /// Close the link for good: the stay has ended.
    Close(LeaderId),
    /// Append to the membership log.
    Log(Chunk),
}

/// Why a user cannot join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JoinFailure {
    /// n-f leaders refuse, and f+1 of them say that the name, the password or the key is wrong.
    NotAuthentic,
    /// n-f leaders refuse, f+1 of them for this reason.
    Denied(Denial),
    /// n-f leaders refuse, and no f+1 give the same reason.
    Refused,
}

/// What happened, for the user.
#[derive(Clone, Debug)]
pub enum Event {
    /// A view is installed. The first one means: joined.
    View {
        /// Its name.
        view: ViewId,
        /// From the view before; for the first, everybody.
        changes: Vec<Change>,
    },
    /// A message.
    Message(Delivery),
    /// Messages are lost for good.
    Gap {
        /// Whose.
        sender: MemberId,
        /// The first lost one.
        first: Seq,
        /// How many.
        count: u64,
    },
    /// A member went without a word of how much it had said: whether more of it is lost, nobody knows.
    UnknownTail(MemberId),
    /// This stay ended while the others may have gone on talking: what they said at the end of it may be missing.
    Missed,
    /// The stay ended before enough leaders acknowledged so many of its messages: nobody knows whether they arrive.
    Unsent(u64),
    /// More leaders confirm the view than before, or fewer. Not told while a stay begins and leaders are still coming in.
    Confirmation(Confirmation),
    /// A leader answers (again), or no longer does.
    LeaderAnswers(LeaderId, bool),
    /// f+1 leaders ask for this user's vote; or, while joining, tell that they ask the others about this user.
    Asked(Motion),
    /// A peer did wrong.
    Blamed(Culprit, Fault),
    /// A leader deviated on its own link: the link is to be closed, and none wanted for so long.
    CutOff(LeaderId, Fault, Duration),
    /// The group goes on in another generation: shares are new, and a leader may have another address and key.
    Succeeded(Arc<GroupInfo>),
    /// A leader answers a request to the group's services: one leader's word.
    Answered(LeaderId, Vec<u8>),
    /// The join failed.
    JoinFailed(JoinFailure),
    /// The stay has ended: f+1 leaders say so.
    Ended(Cause),
}

/// The outcome of one input: effects in order, then events.
#[derive(Debug, Default)]
#[must_use]
pub struct Step {
    /// To be carried out in order.
    pub effects: Vec<Effect>,
    /// To be shown.
    pub events: Vec<Event>,
}

impl Step {
    pub(super) fn blame(&mut self, culprit: Culprit, fault: Fault) {
        self.events.push(Event::Blamed(culprit, fault));
    }
}
