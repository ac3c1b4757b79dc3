//! What a leader asks of its driver.

pub use ringfort_kernel::Class;
use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::coordination::{LifeRecord, Session};
use crate::fault::{Culprit, Fault};
use crate::ids::{LeaderId, LinkId, MemberId, UserName, ViewId};
use crate::login::{Attempts, Denial, Registration};
use crate::motion::{Count, Motion};
use crate::view::{Cause, MemberEntry};
use crate::wire::{self, PeerMessage};

/// What a leader must not forget (P10).
#[derive(Clone, Debug)]
pub enum Record {
    /// What is accepted of a user (or of the key) and what this leader has said; replaces the one before.
    Life(LifeRecord),
    /// A user's registration; replaces the one before. Secret.
    Registration(UserName, Registration),
    /// What is left of somebody's password attempts; replaces the one before.
    Attempts(Attempts),
    /// Whether this leader must come to its peers' state before it says anything: its memory is lost, or was restored
    /// from a backup, so that it may have said what it does not remember.
    CatchingUp(bool),
}

/// An order to the driver.
#[derive(Debug)]
pub enum Effect {
    /// Make durable before any later effect.
    Persist(Record),
    /// Send to a member.
    Send(LinkId, Class, Bytes),
    /// Send the same data frame to many members.
    Relay(Vec<LinkId>, Class, Bytes),
    /// Send to a leader.
    SendPeer(LeaderId, Bytes),
    /// The link has logged in: its limits may be raised.
    Authenticated(LinkId),
    /// Close the link once what was sent is flushed.
    Close(LinkId),
    /// A member asks the group's services something: give it to the service beside this leader.
    Serve(MemberEntry, Bytes),
}

/// What happened, for logs and screens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A user proved who they are on a link.
    Authenticated(MemberId),
    /// A login was refused, with the name it claimed.
    Denied(UserName, Denial),
    /// A member was accepted.
    Admitted(MemberId),
    /// A stay ended.
    Ended(UserName, Cause),
    /// A session ended or began: f+1 operators ordered it.
    Session(Session),
    /// A view is out, with its number of members.
    Published(ViewId, usize),
    /// This leader is in the state of f+1 others again and takes part from now on.
    CaughtUp,
    /// The members are asked.
    MotionOpened(Motion),
    /// The members have decided: whether for it, and how they voted here.
    MotionDecided(Motion, bool, Count),
    /// A member signed two messages under one number, and somebody showed both.
    Convicted(MemberId),
    /// A leader asks for more than its share of this one's work: it is not listened to for so long.
    CutOff(LeaderId, Duration),
    /// A peer did wrong.
    Blamed(Culprit, Fault),
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
    pub(super) fn tell_peer(&mut self, peer: LeaderId, message: &PeerMessage) {
        self.effects.push(Effect::SendPeer(peer, wire::plain(message)));
    }

    pub(super) fn tell_peers(&mut self, peers: &BTreeSet<LeaderId>, message: &PeerMessage) {
        let frame = wire::plain(message);
        self.effects.extend(peers.iter().map(|peer| Effect::SendPeer(*peer, frame.clone())));
    }

    pub(super) fn blame(&mut self, culprit: Culprit, fault: Fault) {
        self.events.push(Event::Blamed(culprit, fault));
    }
}
