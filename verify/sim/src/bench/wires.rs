//! The wires of the bench: what is under way, on which lane, and who was touched by what arrived.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use ringfort_protocol::wire::{self, PeerMessage};
use ringfort_protocol::{LeaderId, LinkId};

use super::Bench;

/// A frame's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Between leaders.
    Peer(LeaderId, LeaderId),
    /// From a seat to a leader.
    Up(usize, LeaderId),
    /// From a leader to whoever is at the other end of a link.
    Down(LeaderId, LinkId),
}

/// What keeps its order: one direction of one link, what the attacker adds, the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Between leaders.
    Peer(LeaderId, LeaderId),
    /// From a seat to a leader.
    Up(usize, LeaderId),
    /// From a leader to the other end of a link.
    Down(LeaderId, LinkId),
    /// What the attacker adds, in an order of its own.
    Attacker(u8),
    /// Pauses.
    Clock,
}

/// Who can be touched by a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A leader.
    Leader(LeaderId),
    /// A seat.
    Seat(usize),
    /// Everybody, by the passing of time.
    All,
}

enum Parcel {
    Frame(Route, Bytes),
    Pause(u64),
}

/// All that is under way.
#[derive(Default)]
pub struct Wires {
    queue: VecDeque<(Lane, Parcel)>,
    touched: BTreeSet<Node>,
}

/// Frames without time passing, above which nodes will never come to rest.
const ROUNDS_MAX: usize = 5_000;

impl Wires {
    pub(super) fn send(&mut self, route: Route, frame: Bytes) {
        let lane = match route {
            Route::Peer(from, to) => Lane::Peer(from, to),
            Route::Up(seat, leader) => Lane::Up(seat, leader),
            Route::Down(leader, link) => Lane::Down(leader, link),
        };
        self.queue.push_back((lane, Parcel::Frame(route, frame)));
    }

    pub(super) fn lose(&mut self, lost: impl Fn(&Route) -> bool) {
        self.queue.retain(|(_, parcel)| !matches!(parcel, Parcel::Frame(route, _) if lost(route)));
    }

    pub(super) fn touch(&mut self, node: Node) {
        self.touched.insert(node);
    }

    /// Who was touched since this was asked last.
    pub fn take_touched(&mut self) -> BTreeSet<Node> {
        std::mem::take(&mut self.touched)
    }

    /// Lanes on which something is under way, the one that waits longest first.
    pub fn lanes(&self) -> Vec<Lane> {
        let mut lanes = Vec::new();
        for (lane, _) in &self.queue {
            if !lanes.contains(lane) {
                lanes.push(*lane);
            }
        }
        lanes
    }

    /// The first frame of each lane that satisfies a condition, taken off.
    fn take_first(&mut self, wanted: impl Fn(&Lane, Option<(&Route, &Bytes)>) -> bool) -> Option<(Lane, Parcel)> {
        let mut blocked = BTreeSet::new();
        let place = self.queue.iter().position(|(lane, parcel)| {
            let content = match parcel {
                Parcel::Frame(route, frame) => Some((route, frame)),
                Parcel::Pause(_) => None,
            };
            let found = !blocked.contains(lane) && wanted(lane, content);
            blocked.insert(*lane);
            found
        })?;
        self.queue.remove(place)
    }
}

impl Bench {
    /// The attacker puts a frame on a wire, in one of its own lanes.
    pub fn inject(&mut self, lane: u8, route: Route, frame: Bytes) {
        self.wires.queue.push_back((Lane::Attacker(lane), Parcel::Frame(route, frame)));
    }

    /// The same for a frame that was held back before.
    pub fn inject_held(&mut self, lane: u8, route: Route, frame: Bytes) {
        self.held.retain(|held| *held != (route.clone(), frame.clone()));
        self.inject(lane, route, frame);
    }

    /// The attacker holds everything for a while, at a moment of its choice.
    pub fn inject_pause(&mut self, milliseconds: u64) {
        self.wires.queue.push_back((Lane::Clock, Parcel::Pause(milliseconds)));
    }

    /// Delivers all that is not held back, in the order it was sent; what the attacker added waits for a window.
    pub fn pump(&mut self) {
        self.pump_where(|lane, _| !matches!(lane, Lane::Attacker(_) | Lane::Clock));
    }

    /// Delivers what is under way outside the window, and all that follows from it.
    pub(crate) fn pump_outside(&mut self, inside: impl Fn(&Route, &Bytes) -> bool) {
        self.pump_where(|lane, content| {
            !matches!(lane, Lane::Attacker(_) | Lane::Clock)
                && content.is_some_and(|(route, frame)| !inside(route, frame))
        });
    }

    fn pump_where(&mut self, wanted: impl Fn(&Lane, Option<(&Route, &Bytes)>) -> bool) {
        let mut rounds = 0;
        while let Some((lane, parcel)) = self.wires.take_first(&wanted) {
            rounds += 1;
            if rounds > ROUNDS_MAX {
                self.restless = true;
                self.wires.queue.clear();
                return;
            }
            self.arrive(lane, parcel);
        }
    }

    /// Delivers the first frame of a lane.
    pub(crate) fn step_lane(&mut self, lane: Lane) {
        if let Some((lane, parcel)) = self.wires.take_first(|l, _| *l == lane) {
            self.arrive(lane, parcel);
        }
    }

    /// The attacker does not hold back what it added itself.
    fn arrive(&mut self, lane: Lane, parcel: Parcel) {
        let honest = !matches!(lane, Lane::Attacker(_));
        match parcel {
            Parcel::Frame(route, frame) if honest && (self.hold)(&route, &frame) => self.held.push((route, frame)),
            Parcel::Frame(route, frame) => self.deliver(route, frame),
            Parcel::Pause(milliseconds) => {
                self.wires.touch(Node::All);
                for _ in 0..milliseconds.div_ceil(10) {
                    self.tick(10);
                }
            }
        }
    }

    /// Delivers one frame, whatever is under way.
    pub fn deliver(&mut self, route: Route, frame: Bytes) {
        if self.is_off(&route) {
            return;
        }
        self.passed.push((route.clone(), frame.clone()));
        match route {
            Route::Peer(from, to) => self.on_leader(to, |core, cx| core.on_peer_frame(cx, from, &frame)),
            Route::Up(seat, leader) => {
                let link = self.seats.get(seat).and_then(|s| s.links.get(&leader).copied());
                if let Some(link) = link {
                    self.on_leader(leader, |core, cx| core.on_member_frame(cx, link, &frame));
                }
            }
            Route::Down(leader, link) => match self.seat_of(leader, link) {
                Some(seat) => self.on_seat(seat, |member, cx| member.on_frame(cx, leader, &frame)),
                None => self.mail.entry(link).or_default().push(frame),
            },
        }
    }

    /// Whether a machine at either end is off.
    fn is_off(&self, route: &Route) -> bool {
        let ends = match route {
            Route::Peer(from, to) => [Some(Node::Leader(*from)), Some(Node::Leader(*to))],
            Route::Up(seat, leader) => [Some(Node::Seat(*seat)), Some(Node::Leader(*leader))],
            Route::Down(leader, link) => [Some(Node::Leader(*leader)), self.seat_of(*leader, *link).map(Node::Seat)],
        };
        ends.iter().flatten().any(|end| self.stopped.contains(end))
    }

    /// Lets what was held back go, behind what is under way, and holds nothing more.
    pub fn release(&mut self) {
        self.hold = Box::new(|_, _| false);
        for (route, frame) in std::mem::take(&mut self.held) {
            self.wires.send(route, frame);
        }
    }

    /// Bytes into a leader's end of a link; what it answers there.
    pub fn push_up(&mut self, leader: LeaderId, link: LinkId, frame: &Bytes) -> Vec<Bytes> {
        self.mail.remove(&link);
        self.on_leader(leader, |core, cx| core.on_member_frame(cx, link, frame));
        self.pump();
        self.mail.remove(&link).unwrap_or_default()
    }

    /// Bytes into a seat's end of its link to a leader.
    pub fn push_down(&mut self, seat: usize, leader: LeaderId, frame: &Bytes) {
        self.on_seat(seat, |member, cx| member.on_frame(cx, leader, frame));
        self.pump();
    }

    /// A message into a leader, over its link from another: the wire between leaders is in the attacker's hands,
    /// or the sender is.
    pub fn push_peer(&mut self, from: LeaderId, to: LeaderId, message: &PeerMessage) {
        let frame = wire::plain(message);
        self.on_leader(to, |core, cx| core.on_peer_frame(cx, from, &frame));
        self.pump();
    }

    /// Frames that passed from the given place on and satisfy a condition.
    pub fn frames(&self, since: usize, wanted: impl Fn(&Route, &Bytes) -> bool) -> Vec<(Route, Bytes)> {
        self.passed.iter().skip(since).filter(|(route, frame)| wanted(route, frame)).cloned().collect()
    }

    /// How many frames passed each way, for attacks that count.
    pub fn traffic(&self, since: usize) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for (route, _) in self.passed.iter().skip(since) {
            let way = match route {
                Route::Peer(..) => "peer",
                Route::Up(..) => "up",
                Route::Down(..) => "down",
            };
            *counts.entry(way).or_default() += 1;
        }
        counts
    }
}
