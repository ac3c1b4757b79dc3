//! Order within one ring: who holds the token sends, and every packet has one number.
//!
//! The accelerated ring of Babay and Amir (*Fast total ordering for modern data centers*): a site decides what it
//! sends, updates the token as if that were sent, and lets the token go before the last packets. So a packet may
//! still be on its way when the token that counts it is here, and what is lacking is asked for one rotation later.
//!
//! A [`Ring`] knows its members and nothing of who they should be, of groups or of clients.

pub mod fragment;
pub mod order;
pub mod pack;
pub mod repair;
pub mod token;
pub mod window;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ringfort_kernel::Time;
use ringfort_kernel::time::earliest;

use crate::evs::recovery::Held;
use crate::ids::{RingId, SiteId, SiteSet};
use crate::limits::{Config, GAP_PACKETS_MAX};
use crate::membership::timeouts::Rotation;
use crate::ring::order::{Message, Order};
use crate::ring::pack::Outbox;
use crate::ring::window::Pace;
use crate::site::step::{Class, Effect};
use crate::wire::{Frame, Hurry, Packet, Token};

/// Bytes of a packet's frame beside its parts.
const PACKET_OVERHEAD: usize = 48;
/// Visits without progress on what this site lacks, after which the ring is given up.
const STUCK_VISITS_MAX: u32 = 60;

/// What a step of the ring brings.
#[derive(Debug, Default)]
pub struct Output {
    /// Frames to send, in order.
    pub effects: Vec<Effect>,
    /// Messages to deliver, in order.
    pub delivered: Vec<Message>,
}

/// Why a ring is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No sign of the token for longer than a ring of this pace takes.
    TokenLost,
    /// Packets that this site lacks do not come, however often it asks.
    CannotReceive,
}

/// One ring, from its first token to its end.
#[derive(Debug)]
pub struct Ring {
    config: Config,
    id: RingId,
    members: Vec<SiteId>,
    place: usize,
    /// This site's newest visit, and the newest that any frame showed.
    visit: u64,
    visit_seen: u64,
    /// The newest packet that the token before this site's last visit counted.
    seq_before: u64,
    packets: BTreeMap<u64, (SiteId, Bytes)>,
    holds_to: u64,
    highest: u64,
    held_by_all: u64,
    delivered_to: u64,
    own_before: u64,
    order: Order,
    obligations: SiteSet,
    rotation: Rotation,
    quiet: u16,
    idle: Option<(Token, Time)>,
    /// How much slower the ring goes for readers who are behind; and whether the token is kept for them now.
    pace: Pace,
    paced: bool,
    forwarded: Option<(SiteId, Bytes)>,
    resend_at: Option<Time>,
    hurry_at: Option<Time>,
    sign_at: Time,
    stuck: (u64, u32),
    closed: bool,
}

impl Ring {
    /// Ring `id` of `members`, this site among them.
    pub fn new(config: &Config, id: RingId, members: SiteSet, now: Time) -> Self {
        let members: Vec<SiteId> = members.with(config.me).iter().collect();
        Ring {
            config: config.clone(),
            id,
            place: members.iter().position(|site| *site == config.me).unwrap_or(0),
            members,
            visit: 0,
            visit_seen: 0,
            seq_before: 0,
            packets: BTreeMap::new(),
            holds_to: 0,
            highest: 0,
            held_by_all: 0,
            delivered_to: 0,
            own_before: 0,
            order: Order::default(),
            obligations: SiteSet::EMPTY,
            rotation: Rotation::new(config.timers),
            quiet: 0,
            idle: None,
            pace: Pace::default(),
            paced: false,
            forwarded: None,
            resend_at: None,
            hurry_at: None,
            sign_at: now,
            stuck: (0, 0),
            closed: false,
        }
    }

    /// The first site of the ring makes its first token.
    pub fn start(&mut self, now: Time, outbox: &mut Outbox) -> Output {
        let mut out = Output::default();
        if self.place == 0 {
            self.visit(now, Token::first(self.id, self.config.me, self.members.len()), outbox, &mut out);
        }
        out
    }

    /// The ring's id.
    pub fn id(&self) -> RingId {
        self.id
    }

    /// The ring's members.
    pub fn members(&self) -> SiteSet {
        self.members.iter().copied().collect()
    }

    /// How long the ring waits for its token.
    pub fn token_loss(&self) -> Duration {
        self.rotation.token_loss()
    }

    /// Up to which packet every member holds all, as far as this site knows.
    pub fn held_by_all(&self) -> u64 {
        self.held_by_all
    }

    /// Packets that this site keeps for repair.
    pub fn kept(&self) -> usize {
        self.packets.len()
    }

    /// Slows the ring down: who sends to a slow reader is held back everywhere. However many sites do that, nobody takes
    /// the token for lost.
    pub fn pace(&mut self, pace: Pace) {
        let sites = u32::try_from(self.members.len()).unwrap_or(u32::MAX).max(1);
        let hold = pace.hold.min(self.config.timers.token_loss_min / (2 * sites));
        self.pace = Pace { hold, ..pace };
    }

    /// While held back, unordered messages wait for their place.
    pub fn hold_back(&mut self, held: bool) {
        self.order.hold_back(held);
    }

    /// A token of this ring. True if it shows that the ring is alive.
    pub fn on_token(&mut self, now: Time, token: Token, outbox: &mut Outbox, out: &mut Output) -> bool {
        let places = self.members.len();
        let from_before = self.members.get((self.place + places - 1) % places) == Some(&token.sender);
        let plausible = token.acknowledged.len() == places && token.visit > self.visit && from_before;
        let lowest = token.acknowledged.iter().min().copied().unwrap_or(0);
        let bounded = token.seq >= self.highest && token.seq.saturating_sub(lowest) <= GAP_PACKETS_MAX;
        let honest = token.acknowledged.iter().all(|acknowledged| *acknowledged <= token.seq)
            && token.seq <= self.holds_to + GAP_PACKETS_MAX;
        if self.closed || token.ring != self.id || !plausible || !bounded || !honest {
            return false;
        }
        self.sign(now, token.visit);
        self.rotation.visited(now);
        let idle = self.place == 0 && usize::from(token.quiet) >= 2 * places && !outbox.has_work();
        self.paced = !idle && !self.pace.hold.is_zero();
        if idle || self.paced {
            self.visit = token.visit;
            self.quiet = token.quiet;
            self.forwarded = None;
            self.resend_at = None;
            let hold = if idle { self.config.timers.idle_hold } else { self.pace.hold };
            self.idle = Some((token, now + hold));
        } else {
            self.visit(now, token, outbox, out);
        }
        true
    }

    /// A packet of this ring, from its own site or from another that holds it.
    pub fn on_packet(&mut self, now: Time, packet: Packet, out: &mut Output) {
        let is_member = self.members.contains(&packet.origin);
        if packet.ring != self.id || !is_member || packet.origin == self.config.me {
            return;
        }
        if !self.closed {
            self.sign(now, packet.visit);
        }
        if self.keep(packet, &mut out.delivered) {
            self.deliver(out);
        }
    }

    /// Another site has something to send.
    pub fn on_hurry(&mut self, now: Time, hurry: &Hurry, outbox: &mut Outbox, out: &mut Output) {
        if hurry.ring == self.id && self.members.contains(&hurry.sender) && !self.paced {
            self.release_idle(now, outbox, out);
        }
    }

    /// Something may have come into the outbox.
    pub fn poke(&mut self, now: Time, outbox: &mut Outbox, out: &mut Output) {
        if self.closed || !outbox.has_work() {
            return;
        }
        if !self.paced {
            self.release_idle(now, outbox, out);
        }
        let asleep = usize::from(self.quiet) >= self.members.len() && self.members.len() > 1 && self.place != 0;
        if asleep && self.hurry_at.is_none_or(|at| now >= at) {
            let hurry = Hurry { ring: self.id, sender: self.config.me, visit: self.visit };
            let first = self.members.first().copied().unwrap_or(self.config.me);
            out.effects.push(Effect::send(first, Class::Token, Frame::Hurry(hurry).encode()));
            self.hurry_at = Some(now + self.config.timers.idle_hold / 5);
        }
    }

    /// When this ring next wants to be woken.
    pub fn next_wakeup(&self) -> Option<Time> {
        if self.closed {
            return None;
        }
        let alone = self.members.len() == 1;
        let idle = self.idle.as_ref().map(|(_, until)| *until);
        let lost = (!alone).then(|| self.sign_at + self.rotation.token_loss());
        let hurry = self.hurry_at;
        [idle, lost, hurry].into_iter().fold(self.resend_at, earliest)
    }

    /// Does what is due.
    pub fn on_wakeup(&mut self, now: Time, outbox: &mut Outbox, out: &mut Output) -> Option<Failure> {
        if self.closed {
            return None;
        }
        if self.idle.as_ref().is_some_and(|(_, until)| now >= *until) {
            self.release_idle(now, outbox, out);
        }
        if self.hurry_at.is_some_and(|at| now >= at) {
            self.hurry_at = None;
            self.poke(now, outbox, out);
        }
        if self.resend_at.is_some_and(|at| now >= at)
            && let Some((next, frame)) = &self.forwarded
        {
            out.effects.push(Effect::send(*next, Class::Token, frame.clone()));
            self.resend_at = Some(now + self.rotation.token_resend());
        }
        if self.members.len() > 1 && now.since(self.sign_at) >= self.rotation.token_loss() {
            return Some(Failure::TokenLost);
        }
        (self.stuck.1 > STUCK_VISITS_MAX).then_some(Failure::CannotReceive)
    }

    /// The ring is over: no token counts any more. Packets are taken until the ring's recovery begins.
    pub fn close(&mut self) {
        self.closed = true;
        (self.idle, self.forwarded, self.resend_at, self.hurry_at) = (None, None, None, None);
    }

    fn sign(&mut self, now: Time, visit: u64) {
        if visit > self.visit_seen {
            self.visit_seen = visit;
            self.sign_at = now;
            if visit > self.visit {
                self.forwarded = None;
                self.resend_at = None;
            }
        }
    }

    fn release_idle(&mut self, now: Time, outbox: &mut Outbox, out: &mut Output) {
        if let Some((token, _)) = self.idle.take() {
            self.paced = false;
            self.visit(now, token, outbox, out);
        }
    }

    /// Keeps a packet that is new and within what may be outstanding; true if it was.
    pub(crate) fn keep(&mut self, packet: Packet, delivered: &mut Vec<Message>) -> bool {
        let seq = packet.seq;
        let is_new = seq > self.holds_to && !self.packets.contains_key(&seq);
        if !is_new || seq > self.holds_to + GAP_PACKETS_MAX {
            return false;
        }
        let origin = packet.origin;
        let frame = Frame::Packet(packet);
        self.packets.insert(seq, (origin, frame.encode()));
        self.highest = self.highest.max(seq);
        while self.packets.contains_key(&(self.holds_to + 1)) {
            self.holds_to += 1;
        }
        if let Frame::Packet(packet) = frame {
            self.order.insert(packet, delivered);
        }
        true
    }

    fn deliver(&mut self, out: &mut Output) {
        self.order.deliver(self.holds_to, self.held_by_all, &mut out.delivered);
        self.delivered_to = self.holds_to;
        // What all hold and this site has taken apart nobody will ask for.
        let gone = self.held_by_all.min(self.delivered_to);
        while self.packets.first_key_value().is_some_and(|(seq, _)| *seq <= gone) {
            self.packets.pop_first();
        }
    }

    // For recovery.

    /// What this site holds of the ring.
    pub(crate) fn held(&self) -> Held {
        let above = self.packets.keys().copied().filter(|seq| *seq > self.holds_to);
        Held::new(self.holds_to, above)
    }

    /// A kept packet, to be relayed.
    pub(crate) fn packet(&self, seq: u64) -> Option<Packet> {
        match Frame::decode(&self.packets.get(&seq)?.1) {
            Ok(Frame::Packet(packet)) => Some(packet),
            _ => None,
        }
    }

    /// Whose messages this site has undertaken to deliver.
    pub(crate) fn obligations(&self) -> SiteSet {
        self.obligations
    }

    /// Undertakes to deliver the messages of `sites`.
    pub(crate) fn undertake(&mut self, sites: SiteSet) {
        self.obligations = self.obligations.or(sites);
    }

    /// The order, to be ended by the rule of recovery.
    pub(crate) fn order_mut(&mut self) -> &mut Order {
        &mut self.order
    }

    /// Up to which packet this site holds all.
    pub fn holds_to(&self) -> u64 {
        self.holds_to
    }
}
