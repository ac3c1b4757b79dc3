//! Counts for a leader's report.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringfort_protocol::{LeaderId, Time};

use super::driver::Driver;
use super::links::{Input, Peer};
use super::told::{PeerReport, Report, Traffic};

/// What the driver counts beside its work.
pub(super) struct Meter {
    started: Instant,
    heard: BTreeMap<LeaderId, Instant>,
    busy: BTreeMap<LeaderId, Duration>,
    pub traffic: Traffic,
}

impl Meter {
    pub fn start() -> Self {
        Meter { started: Instant::now(), heard: BTreeMap::new(), busy: BTreeMap::new(), traffic: Traffic::default() }
    }

    pub fn count(&mut self, input: &Input) {
        match input {
            Input::MemberFrame(..) => self.traffic.member_frames_in += 1,
            Input::PeerFrame(peer, ..) => {
                self.traffic.peer_frames_in += 1;
                self.heard.insert(*peer, Instant::now());
            }
            Input::PeerUp(peer, ..) => {
                self.heard.insert(*peer, Instant::now());
            }
            Input::MemberUp(..) | Input::MemberDown(_) | Input::PeerDown(..) | Input::Retired(_) => {}
        }
    }
}

impl Meter {
    /// Time that was spent on a peer.
    pub fn spent(&mut self, peer: Peer, time: Duration) {
        if let Peer::Leader(leader) = peer {
            *self.busy.entry(leader).or_default() += time;
        }
    }
}

impl Driver {
    pub(super) fn report(&self, now: Time) -> Report {
        let (inputs_waiting, inputs_bytes) = self.links.inputs.waiting();
        let queued = || self.members.values().map(ringfort_link::LinkSender::queued_bytes);
        let peer = |(peer, heard): (&LeaderId, &Instant)| {
            let sender = self.peers.get(peer).map(|(_, sender)| sender);
            let queued_bytes = sender.map_or(0, ringfort_link::LinkSender::queued_bytes);
            let busy = self.meter.busy.get(peer).copied().unwrap_or_default();
            (*peer, PeerReport { up: sender.is_some(), heard: heard.elapsed(), queued_bytes, busy })
        };
        Report {
            uptime: self.meter.started.elapsed(),
            core: self.core.figures(now),
            peers: self.meter.heard.iter().map(peer).collect(),
            links: self.members.len(),
            queued_bytes: queued().sum(),
            queued_bytes_largest: queued().max().unwrap_or_default(),
            inputs_waiting,
            inputs_bytes,
            traffic: self.meter.traffic,
            store_bytes: self.store.bytes(),
            order: self.order.as_ref().map(crate::order::Order::figures),
        }
    }
}
