//! Counts for a leader's report.

use std::collections::BTreeMap;
use std::time::Instant;

use ringfort_protocol::LeaderId;

use super::told::{PeerReport, Report, Traffic};
use super::{Driver, Input};

/// What the driver counts beside its work.
pub(super) struct Meter {
    started: Instant,
    heard: BTreeMap<LeaderId, Instant>,
    pub traffic: Traffic,
}

impl Meter {
    pub fn start() -> Self {
        Meter { started: Instant::now(), heard: BTreeMap::new(), traffic: Traffic::default() }
    }

    pub fn count(&mut self, input: &Input) {
        match input {
            Input::MemberFrame(..) => self.traffic.member_frames_in += 1,
            Input::PeerFrame(peer, _) => {
                self.traffic.peer_frames_in += 1;
                self.heard.insert(*peer, Instant::now());
            }
            Input::PeerUp(peer, ..) => {
                self.heard.insert(*peer, Instant::now());
            }
            Input::MemberUp(..) | Input::MemberDown(_) | Input::PeerDown(..) => {}
        }
    }
}

impl Driver {
    pub(super) fn report(&self, inputs_waiting: usize) -> Report {
        let queued = || self.members.values().map(crate::link::LinkSender::queued_bytes);
        let peer = |(peer, heard): (&LeaderId, &Instant)| {
            let sender = self.peers.get(peer).map(|(_, sender)| sender);
            let queued_bytes = sender.map_or(0, crate::link::LinkSender::queued_bytes);
            (*peer, PeerReport { up: sender.is_some(), heard: heard.elapsed(), queued_bytes })
        };
        Report {
            uptime: self.meter.started.elapsed(),
            core: self.core.figures(self.clock.now()),
            peers: self.meter.heard.iter().map(peer).collect(),
            links: self.members.len(),
            queued_bytes: queued().sum(),
            queued_bytes_largest: queued().max().unwrap_or_default(),
            inputs_waiting,
            traffic: self.meter.traffic,
            store_bytes: self.store.bytes(),
        }
    }
}
