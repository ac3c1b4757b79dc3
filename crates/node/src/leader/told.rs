//! What a running leader tells whoever runs it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ringfort_protocol::leader::{Event, Figures};
use ringfort_protocol::{LeaderId, Rejected};
use ringfort_setup::renewal;

use crate::folder::OperatorRequest;
use ringfort_documents::FileError;

/// Something that whoever runs a leader may want to know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Told<'a> {
    /// The leader takes links at this address.
    Listening(SocketAddr),
    /// What happened in the protocol core.
    Event(&'a Event),
    /// The link to another leader is up.
    PeerUp(LeaderId),
    /// The link to another leader is gone.
    PeerDown(LeaderId),
    /// What a renewal of the leaders' shares has come to.
    Renewal(&'a renewal::Event),
    /// Somebody showed the link key of a leader that was replaced, and was refused.
    Retired(LeaderId),
    /// An order of the operator was carried out, or rejected.
    Order(&'a OperatorRequest, Result<(), &'a Rejected>),
    /// A file in the operator's inbox that was no order.
    OrderUnreadable(&'a FileError),
    /// How the leader is, once in every [`report_period`](super::LeaderOptions::report_period): while it comes, the
    /// leader's loop turns.
    Report(&'a Report),
    /// The leader was asked to end, and closes its links.
    Stopping,
}

/// How a running leader is: numbers, no names.
#[derive(Clone, Debug)]
pub struct Report {
    /// Since the leader listens.
    pub uptime: Duration,
    /// What the protocol core counts.
    pub core: Figures,
    /// The other leaders that there ever was a link to in this run.
    pub peers: BTreeMap<LeaderId, PeerReport>,
    /// Links of members, logged in or not, that are open.
    pub links: usize,
    /// What waits for all members together, bytes.
    pub queued_bytes: usize,
    /// What waits for the slowest of them, bytes.
    pub queued_bytes_largest: usize,
    /// What links have brought and not been looked at.
    pub inputs_waiting: usize,
    /// The same in bytes.
    pub inputs_bytes: usize,
    /// Traffic since the start.
    pub traffic: Traffic,
    /// The store's files, bytes.
    pub store_bytes: u64,
    /// The ordering service, if the group has it.
    pub order: Option<crate::order::Figures>,
}

/// The link to another leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerReport {
    /// Whether there is one.
    pub up: bool,
    /// Since its last frame.
    pub heard: Duration,
    /// What waits for it, bytes.
    pub queued_bytes: usize,
    /// How long this leader has worked on what it sent, since the start.
    pub busy: Duration,
}

/// What a driver has moved since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames from members.
    pub member_frames_in: u64,
    /// Frames for members.
    pub member_frames_out: u64,
    /// Frames that a member was too slow for: they are repaired later.
    pub member_frames_dropped: u64,
    /// Frames from leaders.
    pub peer_frames_in: u64,
    /// Frames for leaders.
    pub peer_frames_out: u64,
    /// Commits of the store.
    pub commits: u64,
    /// What all of them took together.
    pub commit_time: Duration,
}
