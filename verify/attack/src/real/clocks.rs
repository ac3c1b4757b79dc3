//! A leader whose wall clock is wrong: everything else of it is honest.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use ringfort_node::leader::LeaderCore;
use ringfort_protocol::leader::{Command, Figures, Leader, Step};
use ringfort_protocol::view::MemberEntry;
use ringfort_protocol::{Cx, LeaderId, LinkId, MemberId, Rejected, Time};

/// The leader, and by how many seconds its wall clock is ahead. It may jump at any time.
pub struct OffClock {
    /// The leader.
    pub leader: Leader,
    /// Seconds; negative if it is behind.
    pub ahead_s: Arc<AtomicI64>,
}

impl OffClock {
    fn with<T>(&mut self, cx: &mut Cx<'_>, act: impl FnOnce(&mut Leader, &mut Cx<'_>) -> T) -> T {
        let ahead_ms = self.ahead_s.load(Ordering::Acquire).saturating_mul(1_000);
        let unix_ms = cx.unix_ms.saturating_add_signed(ahead_ms);
        act(&mut self.leader, &mut Cx { now: cx.now, unix_ms, rng: cx.rng })
    }
}

impl LeaderCore for OffClock {
    fn on_peer_up(&mut self, cx: &mut Cx<'_>, peer: LeaderId) -> Step {
        self.with(cx, |leader, cx| LeaderCore::on_peer_up(leader, cx, peer))
    }

    fn on_peer_down(&mut self, peer: LeaderId) {
        self.leader.on_peer_down(peer);
    }

    fn on_peer_frame(&mut self, cx: &mut Cx<'_>, peer: LeaderId, frame: &Bytes) -> Step {
        self.with(cx, |leader, cx| leader.on_peer_frame(cx, peer, frame))
    }

    fn on_link_up(&mut self, link: LinkId, exporter: [u8; 32]) {
        self.leader.on_link_up(link, exporter);
    }

    fn on_link_down(&mut self, link: LinkId) {
        self.leader.on_link_down(link);
    }

    fn on_member_frame(&mut self, cx: &mut Cx<'_>, link: LinkId, frame: &Bytes) -> Step {
        self.with(cx, |leader, cx| leader.on_member_frame(cx, link, frame))
    }

    fn on_command(&mut self, cx: &mut Cx<'_>, command: Command) -> Result<Step, Rejected> {
        self.with(cx, |leader, cx| leader.on_command(cx, command))
    }

    fn next_wakeup(&self) -> Option<Time> {
        self.leader.next_wakeup()
    }

    fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step {
        self.with(cx, |leader, cx| leader.on_wakeup(cx))
    }

    fn figures(&self, now: Time) -> Figures {
        self.leader.figures(now)
    }

    fn answer(&mut self, cx: &mut Cx<'_>, member: &MemberId, answer: &Bytes) -> Step {
        self.with(cx, |leader, cx| LeaderCore::answer(leader, cx, member, answer))
    }

    fn stays(&self) -> Option<Vec<MemberEntry>> {
        LeaderCore::stays(&self.leader)
    }
}
