//! Delivery in a led group: through several leaders, once, in order, and repaired (P9, K2, K24, K28).
//!
//! A sender gives each frame to several leaders ([`Outbox`]), each leader relays it and keeps it for a
//! while ([`Relay`]), a receiver takes the first authentic copy and drops the others before any
//! cryptography ([`Inbox`]). A receiver notices a missing number by the next one, by the mark an idle
//! sender leaves, or because f+1 leaders say how far the stream goes ([`Heads`]); it asks leader after leader,
//! and a leader that lacks the frame asks the sender. What nobody can supply becomes one explicit gap, and delivery
//! goes on. A message counts as sent once enough leaders have acknowledged it ([`Received`]).
//!
//! Whom a receiver blames: see [`Inbox`].

mod claims;
mod heads;
mod history;
mod inbox;
mod outbox;
mod owing;
mod pending;
mod recent;
mod relay;
mod repair;
mod stream;
#[cfg(test)]
mod tests;
mod underway;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;

use crate::data::{DataFrame, FrameKind, Identity, Keyring, Peers};
use crate::fault::{Culprit, Fault};
use crate::ids::{LeaderId, MemberId, Seq, Topic, UserName, ViewDigest, ViewId};
use crate::policy::Service;
use crate::rules::Rules;

pub use heads::{HEADS_MAX, Head, Heads, Since, Tail};
pub use inbox::Inbox;
pub use outbox::{Again, Message, Outbox, Writing};
pub(crate) use pending::WAIT_MAX;
pub use relay::{Audience, Relay, RelayAction, RepairAnswer};
pub use repair::{REPAIR_RANGES_MAX, REPAIR_SPAN_MAX, RepairRequest};
pub use underway::{RECEIPTS_MAX, Receipt, Received};

/// The most bytes of one answer to a repair request, unless its only frame is larger.
pub const REPAIR_BYTES_MAX: usize = 256 * 1024;

/// The longest frame of a best-effort message that is urgent: speech, a cursor. Longer ones, such as the pieces of a file,
/// are in no hurry, wait in line with the rest, and are not kept either.
pub const LIVE_BYTES_MAX: usize = 4 * 1024;

/// One numbered sequence of messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct StreamKey {
    /// Whose messages.
    pub sender: MemberId,
    /// Which of them.
    pub channel: Channel,
}

/// The streams of one sender.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Channel {
    /// To the whole view, one stream per service.
    Group(Service) = 0,
    /// To one recipient of private messages.
    Private(UserName) = 1,
}

/// A message for the application.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Who sent it.
    pub sender: MemberId,
    /// Under which view.
    pub view: ViewId,
    /// What it is about.
    pub topic: Topic,
    /// The message.
    pub payload: Bytes,
    /// Its number in its stream.
    pub seq: Seq,
    /// What delivery promised; FIFO for private messages.
    pub service: Service,
    /// Whether only `recipients` got it.
    pub private: bool,
    /// All recipients of a private message; empty for a multicast.
    pub recipients: Vec<UserName>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.private { "private" } else { "group" };
        write!(f, "Delivery({kind} {} {:?} {:?}, {} bytes)", self.sender, self.service, self.seq, self.payload.len())
    }
}

/// What a receiver reads with.
#[derive(Debug)]
pub struct Reading<'a> {
    /// Its own keys.
    pub me: &'a Identity,
    /// The group's rules.
    pub rules: &'a Rules,
    /// Its readable views.
    pub keyring: &'a mut Keyring,
    /// Whose frames are accepted.
    pub peers: Peers<'a>,
}

/// What a receiver tells its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboxEvent {
    /// A message, once.
    Deliver(Delivery),
    /// Messages that will not come: nobody could supply them.
    Gap {
        /// Of which stream.
        stream: StreamKey,
        /// The first missing.
        first: Seq,
        /// How many.
        count: u64,
    },
    /// A member is gone without a word of how much it had said: whether more of it is lost, nobody knows.
    UnknownTail(MemberId),
    /// Ask a leader for messages again: another one at each attempt.
    Repair {
        /// From 1.
        attempt: u32,
        /// At the first attempt, the leader that last relayed this stream.
        to: Option<LeaderId>,
        /// What is missing.
        request: RepairRequest,
    },
    /// Frames came under a view that cannot be read yet: who relayed one, and its sender.
    NeedView(ViewDigest, LeaderId, UserName),
    /// One sender signed both frames, under one number.
    Conflict(Bytes, Bytes),
    /// Somebody deviated, or a frame came too late ([`Fault::OldView`], no deviation).
    Blame(Culprit, Fault),
}

/// Whether two frames are different messages of one sender under one number and one view, which no honest sender makes.
pub(crate) fn conflict(first: &DataFrame, second: &DataFrame) -> bool {
    let numbers = numbers_of(second);
    let shared = numbers_of(first).iter().any(|number| numbers.contains(number));
    shared && first.header().view == second.header().view && first.bytes() != second.bytes()
}

/// The streams and numbers a message has: one, or one per recipient. Empty for marks.
fn numbers_of(frame: &DataFrame) -> Vec<(StreamKey, Seq)> {
    let header = frame.header();
    let key = |channel| StreamKey { sender: header.sender.clone(), channel };
    match &header.kind {
        FrameKind::Multicast { service, seq, .. } => vec![(key(Channel::Group(*service)), *seq)],
        FrameKind::Private { to } => to.iter().map(|r| (key(Channel::Private(r.user.clone())), r.seq)).collect(),
        FrameKind::Mark { .. } | FrameKind::PrivateMark { .. } => Vec::new(),
    }
}
