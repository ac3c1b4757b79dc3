//! What the driver runs: a leader's protocol core, or anything that stands in its place.

use bytes::Bytes;
use ringfort_protocol::leader::{Command, Figures, Leader, Step};
use ringfort_protocol::view::MemberEntry;
use ringfort_protocol::{Cx, LeaderId, LinkId, MemberId, Rejected, Time};

/// The inputs of a leader's root component.
///
/// The driver knows the leader only through this, so that a test can put an adversary in its place.
pub trait LeaderCore: Send {
    /// See [`Leader::on_peer_up`].
    fn on_peer_up(&mut self, cx: &mut Cx<'_>, peer: LeaderId) -> Step;
    /// See [`Leader::on_peer_down`].
    fn on_peer_down(&mut self, peer: LeaderId);
    /// See [`Leader::on_peer_frame`].
    fn on_peer_frame(&mut self, cx: &mut Cx<'_>, peer: LeaderId, frame: &Bytes) -> Step;
    /// See [`Leader::on_link_up`].
    fn on_link_up(&mut self, link: LinkId, exporter: [u8; 32]);
    /// See [`Leader::on_link_down`].
    fn on_link_down(&mut self, link: LinkId);
    /// See [`Leader::on_member_frame`].
    fn on_member_frame(&mut self, cx: &mut Cx<'_>, link: LinkId, frame: &Bytes) -> Step;
    /// See [`Leader::on_command`].
    fn on_command(&mut self, cx: &mut Cx<'_>, command: Command) -> Result<Step, Rejected>;
    /// See [`Leader::next_wakeup`].
    fn next_wakeup(&self) -> Option<Time>;
    /// See [`Leader::on_wakeup`].
    fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step;
    /// See [`Leader::figures`].
    fn figures(&self, now: Time) -> Figures;
    /// See [`Leader::answer`].
    fn answer(&mut self, cx: &mut Cx<'_>, member: &MemberId, answer: &Bytes) -> Step;
    /// See [`Leader::stays`].
    fn stays(&self) -> Option<Vec<MemberEntry>>;
}

impl LeaderCore for Leader {
    fn on_peer_up(&mut self, _cx: &mut Cx<'_>, peer: LeaderId) -> Step {
        Leader::on_peer_up(self, peer)
    }

    fn on_peer_down(&mut self, peer: LeaderId) {
        Leader::on_peer_down(self, peer);
    }

    fn on_peer_frame(&mut self, cx: &mut Cx<'_>, peer: LeaderId, frame: &Bytes) -> Step {
        Leader::on_peer_frame(self, cx, peer, frame)
    }

    fn on_link_up(&mut self, link: LinkId, exporter: [u8; 32]) {
        Leader::on_link_up(self, link, exporter);
    }

    fn on_link_down(&mut self, link: LinkId) {
        Leader::on_link_down(self, link);
    }

    fn on_member_frame(&mut self, cx: &mut Cx<'_>, link: LinkId, frame: &Bytes) -> Step {
        Leader::on_member_frame(self, cx, link, frame)
    }

    fn on_command(&mut self, cx: &mut Cx<'_>, command: Command) -> Result<Step, Rejected> {
        Leader::on_command(self, cx, command)
    }

    fn next_wakeup(&self) -> Option<Time> {
        Leader::next_wakeup(self)
    }

    fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step {
        Leader::on_wakeup(self, cx)
    }

    fn figures(&self, now: Time) -> Figures {
        Leader::figures(self, now)
    }

    fn answer(&mut self, cx: &mut Cx<'_>, member: &MemberId, answer: &Bytes) -> Step {
        Leader::answer(self, cx.now, member, answer)
    }

    fn stays(&self) -> Option<Vec<MemberEntry>> {
        Leader::stays(self).map(|stays| stays.cloned().collect())
    }
}
