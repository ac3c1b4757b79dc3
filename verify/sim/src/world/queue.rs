//! What will happen, in order of time and then of its being scheduled.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringfort_protocol::{LeaderId, LinkId, Time};

use super::ClientId;
use crate::workload::Work;

/// One thing that will happen.
#[derive(Debug)]
pub enum Happening {
    /// A frame reaches a leader.
    ToLeader {
        /// Which.
        leader: LeaderId,
        /// Over which link.
        link: LinkId,
        /// The bytes.
        frame: Bytes,
    },
    /// A frame reaches a client.
    ToClient {
        /// Over which link.
        link: LinkId,
        /// The bytes.
        frame: Bytes,
    },
    /// A frame between leaders arrives.
    ToPeer {
        /// From.
        from: LeaderId,
        /// To.
        to: LeaderId,
        /// Of which connection.
        number: u64,
        /// The bytes.
        frame: Bytes,
    },
    /// A client tries to reach a leader.
    Connect {
        /// Which client.
        client: ClientId,
        /// Which leader.
        leader: LeaderId,
    },
    /// The client learns that its link is up.
    Arrived {
        /// Which link.
        link: LinkId,
    },
    /// The leader learns that a link is gone.
    DownAtLeader {
        /// Which link.
        link: LinkId,
    },
    /// The client learns that a link is gone.
    DownAtClient {
        /// Which link.
        link: LinkId,
    },
    /// A leader's timer.
    WakeLeader {
        /// Which.
        leader: LeaderId,
    },
    /// A client's timer.
    WakeClient {
        /// Which.
        client: ClientId,
    },
    /// Leaders without a link to each other try again.
    ConnectPeers,
    /// A leader that crashed comes back.
    Restart {
        /// Which.
        leader: LeaderId,
        /// Without its accepted state.
        forget: bool,
    },
    /// A hostile leader may do something of its own accord.
    Scheme {
        /// Which.
        leader: LeaderId,
    },
    /// Those who judge look at the world.
    Look,
    /// Users and operators do something.
    Work(Work),
}

/// The future.
#[derive(Debug, Default)]
pub struct Queue {
    happenings: BTreeMap<(Time, u64), Happening>,
    next: u64,
}

impl Queue {
    /// Adds something.
    pub fn push(&mut self, at: Time, happening: Happening) {
        self.happenings.insert((at, self.next), happening);
        self.next += 1;
    }

    /// The next thing not after `until`.
    pub fn pop_before(&mut self, until: Time) -> Option<(Time, Happening)> {
        let first = self.happenings.first_entry()?;
        if first.key().0 > until {
            return None;
        }
        let ((at, _), happening) = first.remove_entry();
        Some((at, happening))
    }
}
