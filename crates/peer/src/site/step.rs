//! What a site asks of its driver, and what it tells its clients.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::evs::configuration::Transitional;
use crate::ids::{GroupViewId, Name, RingId, Service, SiteId, SiteSet};
use crate::membership::Reason;

/// What a site must not forget: both numbers grow only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// The life of the site's process: one more with every start.
    pub incarnation: u64,
    /// The highest counter of any ring that the site took part in forming.
    pub counter: u64,
}

/// How a driver treats a frame on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The token and what wakes it: by a socket of its own, so that no queue of data delays or drops it.
    Token,
    /// Packets.
    Data,
    /// Hellos, commits, states of recovery.
    Membership,
}

/// An order to the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make durable before any later effect.
    Persist(Durable),
    /// Send the frame to each of these sites. It names its sender and all that makes it fresh.
    Send {
        /// To whom; never this site itself.
        to: SiteSet,
        /// How.
        class: Class,
        /// The frame's bytes, in the clear: sealing is the driver's.
        frame: Bytes,
    },
}

impl Effect {
    /// A frame for one site.
    pub fn send(to: SiteId, class: Class, frame: Bytes) -> Self {
        Effect::Send { to: SiteSet::EMPTY.with(to), class, frame }
    }
}

/// A local client's number. A number is never given twice by one [`Site`](super::Site).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// A message as its receivers get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The sender's private name.
    pub sender: Name,
    /// The service that it asked for.
    pub service: Service,
    /// The groups it went to, as the sender named them.
    pub groups: Arc<[Name]>,
    /// Whether the sender's own session was left out.
    pub self_discard: bool,
    /// A word for the sender's codec, passed on unread.
    pub mark: u32,
    /// The application's type of message, passed on unread.
    pub message_type: i16,
    /// The message.
    pub payload: Bytes,
}

/// Why a view of a group came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// One client joined.
    Join(Name),
    /// One client left.
    Leave(Name),
    /// One client's connection ended.
    Disconnect(Name),
    /// Sites came or went. The sets divide the members by the view that they come from: who is in one set with a
    /// client has moved along with it.
    Network(Arc<[Vec<Name>]>),
}

/// What happened. Where clients are named, it is for each of them, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message for these clients: once for each, however many of its groups they are in.
    Message(Vec<ClientId>, Arc<Delivery>),
    /// A regular view of a group.
    Membership {
        /// To whom.
        to: Vec<ClientId>,
        /// The group.
        group: Name,
        /// The view's id: it grows at every client.
        id: GroupViewId,
        /// All members, by site and then by name.
        members: Arc<[Name]>,
        /// Why.
        cause: Cause,
    },
    /// Members of the group are gone, or messages of the ring that ended are lost; what follows up to the next view is delivered to those that move along.
    Transitional {
        /// To whom.
        to: Vec<ClientId>,
        /// The group.
        group: Name,
        /// The view that ends.
        old: GroupViewId,
    },
    /// The client is out of the group: nothing of it follows until it joins again.
    SelfLeave(ClientId, Name),
    /// A join could not be done: the client is in as many groups as one may be, or the tables are full.
    JoinRefused(ClientId, Name),
    /// The client is gone everywhere: its name is free.
    Disconnected(ClientId),
    /// Sites of the ring are gone. For status and metrics.
    SitesLost(Transitional),
    /// The site is in a ring. For status and metrics.
    Ring(RingId, SiteSet),
    /// The site looks for others to form a ring with. For status and metrics.
    Gathering(Reason),
    /// The site was not scheduled for so long that the others will have gone on; it rejoins.
    Overslept(Duration),
}

/// What a step brings.
#[must_use = "effects must be carried out and events told"]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// For the driver, in order.
    pub effects: Vec<Effect>,
    /// For the clients, in order.
    pub events: Vec<Event>,
}

/// A command that cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// There is no such client here.
    #[error("no such client is connected to this site")]
    NoSuchClient,
    /// Another client of this site has the name.
    #[error("another client of this site has this name")]
    NameInUse,
    /// The site has as many clients as it may.
    #[error("this site serves as many clients as it may")]
    TooManyClients,
    /// The message is larger than allowed.
    #[error("a message of {0} bytes is too large")]
    TooLarge(usize),
    /// More groups than one message may go to.
    #[error("a message to {0} groups is more than allowed")]
    TooManyGroups(usize),
    /// Messages wait for the token; read no more from clients until [`Site::has_room`](super::Site::has_room).
    #[error("too many messages wait to be sent")]
    Busy,
}
