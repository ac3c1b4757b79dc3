//! Links between members and leaders, and between leaders.

use std::time::Duration;

use bytes::Bytes;
use ringfort_protocol::leader::Class;
use ringfort_protocol::{LeaderId, LinkId};

use super::work::Place;
use super::{ClientId, Happening, World};

/// A link that lasted this long starts the back-off over.
const LASTING: Duration = Duration::from_secs(2);

/// One link of a member.
#[derive(Debug)]
pub struct LinkState {
    /// Whose.
    pub client: ClientId,
    /// To whom.
    pub leader: LeaderId,
    exporter: [u8; 32],
    /// Broken: nothing is carried any more.
    broken: bool,
    at_leader: bool,
    at_client: bool,
    /// Something was lost or altered in it.
    tainted: bool,
    /// Reset: what is under way in it never arrives.
    lost: bool,
}

impl World {
    /// The port of a client in the network.
    pub fn port(&self, client: ClientId) -> usize {
        self.leaders.len() + client.0
    }

    pub(crate) fn leader_port(leader: LeaderId) -> usize {
        usize::from(leader.number()) - 1
    }

    pub(super) fn connect(&mut self, client: ClientId, leader: LeaderId) {
        let reaches = self.network.reaches(Self::leader_port(leader), self.port(client))
            && !self.network.deaf.contains(&Self::leader_port(leader))
            && !self.network.deaf.contains(&self.port(client));
        let up = self.leader(leader).core.is_some();
        let Some(uplink) = self.client_mut(client).uplink(leader) else { return };
        if uplink.link.is_some() || uplink.closed {
            return;
        }
        if !reaches || !up {
            self.reconnect(client, leader);
            return;
        }
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let exporter: [u8; 32] = self.dice.bytes();
        let now = self.now;
        if let Some(uplink) = self.client_mut(client).uplink(leader) {
            uplink.link = Some(link);
            uplink.since = Some(now);
        }
        let state = LinkState {
            client,
            leader,
            exporter,
            broken: false,
            at_leader: true,
            at_client: false,
            tainted: false,
            lost: false,
        };
        self.links.insert(link, state);
        if let Some(core) = self.leader_mut(leader).core.as_mut() {
            core.on_link_up(link, exporter);
        }
        self.trace.bytes(self.now, "link", [link.0, client.0 as u64], &exporter);
        let delay = self.network.delay();
        self.schedule(delay, Happening::Arrived { link });
    }

    pub(super) fn arrived(&mut self, link: LinkId) {
        let Some(state) = self.links.get(&link).filter(|s| !s.broken) else { return };
        let (client, leader, exporter) = (state.client, state.leader, state.exporter);
        if self.client_mut(client).uplink(leader).is_none_or(|u| u.link != Some(link)) {
            // The client gave it up before it came about, and may have another by now.
            return;
        }
        if let Some(state) = self.links.get_mut(&link) {
            state.at_client = true;
        }
        self.with_member(client, |member, cx| member.on_link_up(cx, leader, exporter));
    }

    /// Tries again later, with back-off.
    pub(super) fn reconnect(&mut self, client: ClientId, leader: LeaderId) {
        let now = self.now;
        let node = self.client_mut(client);
        let Some(uplink) = node.uplink(leader) else { return };
        if uplink.closed || node.member.is_none() {
            return;
        }
        let Some(uplink) = node.uplink(leader) else { return };
        // As the driver does: a link that ends at once does not start the back-off over.
        if std::mem::take(&mut uplink.since).is_some_and(|since| now.since(since) > LASTING) {
            uplink.attempts = 0;
        }
        let base = (100u64 << uplink.attempts.min(6)).min(5_000);
        uplink.attempts += 1;
        let wait = self.dice.between_ms(base / 2, base);
        self.schedule(wait, Happening::Connect { client, leader });
    }

    /// A client sends to a leader.
    pub(super) fn send_up(&mut self, client: ClientId, leader: LeaderId, class: Class, frame: Bytes) {
        let Some(link) = self.client_mut(client).uplink(leader).and_then(|u| u.link) else { return };
        if self.links.get(&link).is_none_or(|s| s.broken || !s.at_client) {
            return;
        }
        self.carry(link, true, class, frame);
    }

    /// A leader sends to a client.
    pub(super) fn send_down(&mut self, link: LinkId, class: Class, frame: Bytes) {
        if self.links.get(&link).is_none_or(|s| s.broken || !s.at_leader) {
            return;
        }
        self.carry(link, false, class, frame);
    }

    fn carry(&mut self, link: LinkId, up: bool, class: Class, frame: Bytes) {
        let favoured = self.links.get(&link).is_some_and(|s| !up && self.leader(s.leader).hostile);
        let fate = self.network.carry(self.now, link.0, (up, favoured), class, frame);
        let Some(state) = self.links.get_mut(&link) else { return };
        state.tainted |=
            fate.arrivals.len() != 1 || self.network.hostile && self.setup.wire == crate::network::Wire::Raw;
        let leader = state.leader;
        for (at, frame) in fate.arrivals {
            let happening =
                if up { Happening::ToLeader { leader, link, frame } } else { Happening::ToClient { link, frame } };
            self.queue.push(at, happening);
        }
        if fate.cut {
            self.break_link(link);
        }
    }

    pub(super) fn frame_to_leader(&mut self, leader: LeaderId, link: LinkId, frame: &Bytes) {
        let Some(state) = self.links.get(&link).filter(|s| s.at_leader && !s.lost) else { return };
        let client = state.client;
        self.trace.bytes(self.now, "up", [link.0, 0], frame);
        self.note_heard(leader, client);
        let cost = self.with_leader(leader, |core, cx| core.on_member_frame(cx, link, frame));
        self.note_work(Place::Leader(leader), Place::Client(client), cost, frame);
    }

    pub(super) fn frame_to_client(&mut self, link: LinkId, frame: &Bytes) {
        let Some(state) = self.links.get(&link).filter(|s| s.at_client && !s.lost) else { return };
        let (client, leader) = (state.client, state.leader);
        self.trace.bytes(self.now, "down", [link.0, 0], frame);
        let cost = self.with_member(client, |member, cx| member.on_frame(cx, leader, frame));
        self.note_work(Place::Client(client), Place::Leader(leader), cost, frame);
    }

    /// A link is reset: what is under way in it is lost, both ways.
    pub(crate) fn reset_link(&mut self, link: LinkId) {
        if let Some(state) = self.links.get_mut(&link) {
            state.lost = true;
        }
        self.break_link(link);
    }

    /// The links that satisfy a condition.
    pub(crate) fn links_where(&self, which: impl Fn(&LinkState) -> bool) -> Vec<LinkId> {
        self.links.iter().filter(|(_, state)| !state.broken && which(state)).map(|(id, _)| *id).collect()
    }

    /// The pairs of leaders with a link to each other.
    pub(crate) fn linked_peers(&self) -> Vec<(LeaderId, LeaderId)> {
        self.peers.keys().copied().collect()
    }

    /// A link breaks; each end learns of it in its own time.
    pub(crate) fn break_link(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if std::mem::replace(&mut state.broken, true) {
            return;
        }
        let (a, b) = (self.network.delay(), self.network.delay());
        self.schedule(a, Happening::DownAtLeader { link });
        self.schedule(b, Happening::DownAtClient { link });
    }

    /// The leader closes a link: what it sent before still arrives.
    pub(super) fn close_from_leader(&mut self, link: LinkId) {
        if let Some(state) = self.links.get_mut(&link) {
            state.at_leader = false;
            self.schedule(Duration::from_millis(250), Happening::DownAtClient { link });
        }
    }

    /// The client closes a link.
    pub(super) fn close_from_client(&mut self, client: ClientId, leader: LeaderId) {
        let Some(link) = self.client_mut(client).uplink(leader).and_then(|u| u.link.take()) else { return };
        if let Some(state) = self.links.get_mut(&link) {
            state.at_client = false;
            let delay = self.network.delay();
            self.schedule(delay, Happening::DownAtLeader { link });
        }
    }

    pub(super) fn down_at_leader(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.broken = true;
        let (was_up, leader) = (std::mem::replace(&mut state.at_leader, false), state.leader);
        if was_up && let Some(core) = self.leader_mut(leader).core.as_mut() {
            core.on_link_down(link);
        }
        self.drop_if_gone(link);
    }

    pub(super) fn down_at_client(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.broken = true;
        state.at_client = false;
        let (client, leader) = (state.client, state.leader);
        let uplink = self.client_mut(client).uplink(leader);
        if let Some(uplink) = uplink.filter(|u| u.link == Some(link)) {
            uplink.link = None;
            let now = self.now;
            self.with_member(client, |member, _| member.on_link_down(now, leader));
            self.reconnect(client, leader);
        }
        self.drop_if_gone(link);
    }

    /// Forgets a link once both ends know that it is gone.
    fn drop_if_gone(&mut self, link: LinkId) {
        let Some(state) = self.links.get(&link).filter(|s| !s.at_leader && !s.at_client) else { return };
        let (client, leader) = (state.client, state.leader);
        if self.client_mut(client).uplink(leader).and_then(|u| u.link) != Some(link) {
            self.links.remove(&link);
            self.network.forget(link.0);
        }
    }

    /// Breaks every link of a client, or of a leader, or those that lost something.
    pub(crate) fn break_links(&mut self, which: impl Fn(&LinkState) -> bool) {
        let links: Vec<LinkId> = self.links.iter().filter(|(_, s)| which(s)).map(|(id, _)| *id).collect();
        links.into_iter().for_each(|link| self.break_link(link));
    }

    /// The network becomes kind: partitions heal, and links that lost something end and come again.
    pub(crate) fn stabilise(&mut self) {
        self.trace.line(self.now, &"the network is stable now");
        self.network.hostile = false;
        self.network.heal();
        self.break_links(|state| state.tainted);
        let all: Vec<_> = self.peers.keys().copied().collect();
        for (a, b) in all {
            self.cut_peers(a, b);
        }
        self.facts.stable = true;
    }

    /// Parts a leader from a client or another leader, whose link breaks.
    pub(crate) fn part(&mut self, leader: LeaderId, other: usize) {
        self.network.part(Self::leader_port(leader), other);
        let clients = self.leaders.len();
        if other < clients {
            let other = self.leaders.get(other).map(|l| l.id);
            other.into_iter().for_each(|other| self.cut_peers(leader, other));
        } else {
            let client = ClientId(other - clients);
            self.break_links(|state| state.client == client && state.leader == leader);
        }
    }

    /// Every pair of leaders without a link gets one, if the network lets it.
    pub(super) fn connect_peers(&mut self) {
        let ids: Vec<LeaderId> = self.leaders.iter().filter(|l| l.core.is_some()).map(|l| l.id).collect();
        for (place, a) in ids.iter().enumerate() {
            for b in ids.iter().skip(place + 1) {
                let reaches = self.network.reaches(Self::leader_port(*a), Self::leader_port(*b));
                // A leader may crash over what another's link makes it say.
                let up = self.leader(*a).core.is_some() && self.leader(*b).core.is_some();
                if up && reaches && !self.peers.contains_key(&(*a, *b)) {
                    self.peers.insert((*a, *b), self.next_link);
                    self.next_link += 1;
                    self.with_leader(*a, |core, _| core.on_peer_up(*b));
                    if self.peers.contains_key(&(*a, *b)) {
                        self.with_leader(*b, |core, _| core.on_peer_up(*a));
                    }
                }
            }
        }
        self.schedule(Duration::from_millis(150), Happening::ConnectPeers);
    }

    pub(crate) fn cut_peers(&mut self, a: LeaderId, b: LeaderId) {
        if let Some(number) = self.peers.remove(&(a.min(b), a.max(b))) {
            self.network.forget(number);
            for (one, other) in [(a, b), (b, a)] {
                if let Some(core) = self.leader_mut(one).core.as_mut() {
                    core.on_peer_down(other);
                }
            }
        }
    }

    pub(super) fn send_peer(&mut self, from: LeaderId, to: LeaderId, frame: Bytes) {
        let Some(number) = self.peers.get(&(from.min(to), from.max(to))).copied() else { return };
        let favoured = self.leader(from).hostile;
        let fate = self.network.carry(self.now, number, (from < to, favoured), Class::Control, frame);
        for (at, frame) in fate.arrivals {
            self.queue.push(at, Happening::ToPeer { from, to, number, frame });
        }
        if fate.cut {
            self.cut_peers(from, to);
        }
    }

    pub(super) fn frame_to_peer(&mut self, from: LeaderId, to: LeaderId, number: u64, frame: &Bytes) {
        if self.peers.get(&(from.min(to), from.max(to))) != Some(&number) {
            return;
        }
        self.trace.bytes(self.now, "peer", [from.number().into(), to.number().into()], frame);
        self.overhear(to, frame);
        let cost = self.with_leader(to, |core, cx| core.on_peer_frame(cx, from, frame));
        self.note_work(Place::Leader(to), Place::Leader(from), cost, frame);
    }
}
