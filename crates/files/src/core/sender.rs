//! The sending side of one offer: who has how much, and which piece goes to whom next.
//!
//! Receivers that were sent the same pieces form a group, and the next piece goes to all of a group at once. Within a window of
//! unreported pieces a group goes at the speed of its slowest member, unless that one is less than half as fast as the others
//! could be: then they go on, and it is served by itself until it has caught up. Who reports nothing is left out until it does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringfort::protocol::{Time, UserName};

use super::limits::{HOLD_UP_MAX, OFFER_AGAIN, OFFERS_MAX, RESEND_AFTER, RETRY, RETRY_MAX, SILENT_AFTER};
use super::message::{Offer, Report, Stand};
use super::rate::Rate;

/// Where a receiver is, as its sender sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// It has not said that it knows of the offer.
    Offered,
    /// The offer was made often enough and nothing came back: its program takes no files, it seems.
    Unanswered,
    /// Its user decides.
    Asked,
    /// It is being sent the file.
    Receiving,
    /// It pauses.
    Paused,
    /// It has said nothing for a while.
    Silent,
    /// It does not want the file.
    Declined,
    /// It has the file, and the hash is right.
    Complete,
    /// It could not keep the file.
    Failed,
    /// It has left the group; it is offered the file again should it come back.
    Left,
}

impl PeerState {
    /// Whether nothing more is to come.
    pub fn is_over(self) -> bool {
        matches!(self, PeerState::Declined | PeerState::Complete | PeerState::Failed)
    }
}

#[derive(Debug)]
pub(super) struct Peer {
    pub state: PeerState,
    /// Pieces before this one were sent to it, or need not be.
    sent: u32,
    /// Pieces before this one are on its disk.
    pub acked: u32,
    heard: Time,
    progressed: Time,
    retry: Duration,
    offers: u32,
    /// Since when the others of its group wait for it.
    holds_up: Option<Time>,
    /// When it stopped doing so.
    let_go: Time,
    /// How long it held them up, less the time in which it did not.
    held_up: Duration,
    resend: BTreeSet<u32>,
    resent: BTreeMap<u32, Time>,
    rate: Rate,
}

impl Peer {
    fn new(now: Time) -> Self {
        Peer {
            state: PeerState::Offered,
            sent: 0,
            acked: 0,
            heard: now,
            progressed: now,
            retry: RETRY,
            offers: 1,
            holds_up: None,
            let_go: now,
            held_up: Duration::ZERO,
            resend: BTreeSet::new(),
            resent: BTreeMap::new(),
            rate: Rate::default(),
        }
    }

    fn in_flight(&self) -> u32 {
        self.sent.saturating_sub(self.acked)
    }

    /// Sends from here on; what was on its way does not count any more.
    fn restart(&mut self, now: Time, from: u32) {
        self.sent = from;
        self.acked = self.acked.min(from);
        self.progressed = now;
        self.resend.clear();
        self.resent.clear();
    }

    fn begin_hold_up(&mut self, now: Time) {
        if self.holds_up.is_none() {
            self.held_up = self.held_up.saturating_sub(now.since(self.let_go));
            self.holds_up = Some(now);
        }
    }

    fn end_hold_up(&mut self, now: Time) {
        if let Some(since) = self.holds_up.take() {
            self.held_up += now.since(since);
            self.let_go = now;
        }
    }

    fn too_slow_at(&self) -> Option<Time> {
        self.holds_up.map(|since| since + HOLD_UP_MAX.saturating_sub(self.held_up))
    }

    fn due(&self) -> Time {
        self.progressed + self.retry
    }

    pub fn per_s(&self, now: Time) -> u64 {
        self.rate.per_s(now)
    }
}

/// What is due to receivers that have not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nudge {
    /// Make the offer again.
    Offer,
    /// Ask where it is.
    Probe,
}

/// The sending side of one offer.
#[derive(Debug)]
pub(super) struct Sender {
    pub offer: Offer,
    /// Whether it was offered to the whole group.
    pub to_group: bool,
    pub peers: BTreeMap<UserName, Peer>,
    pub paused: bool,
    /// Whose group was served last.
    turn: u32,
}

impl Sender {
    pub fn new(now: Time, offer: Offer, to_group: bool, to: impl IntoIterator<Item = UserName>) -> Self {
        let peers = to.into_iter().map(|user| (user, Peer::new(now))).collect();
        Sender { offer, to_group, peers, paused: false, turn: 0 }
    }

    /// Whether nobody is left who could want a piece.
    pub fn is_over(&self) -> bool {
        self.peers.values().all(|peer| peer.state.is_over())
    }

    /// Whether pieces are being sent.
    pub fn is_busy(&self) -> bool {
        !self.paused && self.peers.values().any(|peer| peer.state == PeerState::Receiving)
    }

    /// Which piece goes to whom now, with `window` pieces at most on their way to each.
    pub fn next_chunk(&mut self, now: Time, window: u32) -> Option<(u32, Vec<UserName>)> {
        if self.paused {
            return None;
        }
        self.next_resent(now).or_else(|| self.next_of_groups(now, window.max(1)))
    }

    fn next_resent(&mut self, now: Time) -> Option<(u32, Vec<UserName>)> {
        let receiving = self.peers.iter_mut().filter(|(_, peer)| peer.state == PeerState::Receiving);
        receiving.into_iter().find_map(|(user, peer)| {
            let index = peer.resend.pop_first()?;
            peer.resent.insert(index, now);
            Some((index, vec![user.clone()]))
        })
    }

    fn next_of_groups(&mut self, now: Time, window: u32) -> Option<(u32, Vec<UserName>)> {
        let total = self.offer.chunks();
        let wanting = |peer: &Peer| peer.state == PeerState::Receiving && peer.sent < total;
        let places: BTreeSet<u32> = self.peers.values().filter(|peer| wanting(peer)).map(|peer| peer.sent).collect();
        // Each group in its turn, so that none starves.
        let order: Vec<u32> = places.range(self.turn..).chain(places.range(..self.turn)).copied().collect();
        for place in order {
            let mut ready = Vec::new();
            let (mut any_ready, mut waits) = (false, false);
            let group = |peer: &Peer| wanting(peer) && peer.sent == place;
            for peer in self.peers.values().filter(|peer| group(peer)) {
                any_ready |= peer.in_flight() < window;
            }
            for (user, peer) in self.peers.iter_mut().filter(|(_, peer)| group(peer)) {
                if peer.in_flight() < window {
                    ready.push(user.clone());
                } else if any_ready {
                    peer.begin_hold_up(now);
                    waits |= peer.too_slow_at().is_some_and(|at| now < at);
                }
            }
            if ready.is_empty() || waits {
                continue;
            }
            ready.truncate(super::RECIPIENTS_MAX);
            for user in &ready {
                let Some(peer) = self.peers.get_mut(user) else { continue };
                if peer.in_flight() == 0 {
                    peer.progressed = now;
                }
                peer.sent = place + 1;
            }
            self.turn = place + 1;
            return Some((place, ready));
        }
        None
    }

    /// A piece was not sent after all.
    pub fn unsent(&mut self, now: Time, index: u32, to: &[UserName]) {
        for user in to {
            if let Some(peer) = self.peers.get_mut(user).filter(|peer| peer.sent > index) {
                peer.restart(now, index.max(peer.acked));
            }
        }
    }

    /// A receiver tells where it is.
    pub fn on_report(&mut self, now: Time, from: &UserName, report: &Report) {
        let total = self.offer.chunks();
        let Some(peer) = self.peers.get_mut(from).filter(|_| report.next <= total) else { return };
        peer.heard = now;
        peer.retry = RETRY;
        let was = peer.state;
        peer.state = match report.stand {
            Stand::Asked => PeerState::Asked,
            Stand::Receiving => PeerState::Receiving,
            Stand::Paused => PeerState::Paused,
            Stand::Declined => PeerState::Declined,
            Stand::Complete => PeerState::Complete,
            Stand::Failed => PeerState::Failed,
        };
        if was != PeerState::Receiving || report.next < peer.acked || report.next > peer.sent {
            // It begins, goes on, or has lost what it had: from where it says.
            peer.restart(now, report.next);
            peer.rate.stop();
            peer.acked = report.next;
        } else if report.next > peer.acked {
            peer.acked = report.next;
            peer.progressed = now;
            peer.resend = peer.resend.split_off(&report.next);
            peer.resent = peer.resent.split_off(&report.next);
        }
        peer.end_hold_up(now);
        peer.rate.note(now, self.offer.bytes_of(peer.acked));
        if peer.state == PeerState::Receiving {
            peer.note_missing(now, &report.missing);
        }
    }

    /// Time has passed: what was lost is sent again, and who is silent is left alone. Tells who is to be nudged.
    pub fn on_wakeup(&mut self, now: Time) -> Vec<(UserName, Nudge)> {
        let total = self.offer.chunks();
        let mut nudges = Vec::new();
        let sends = !self.paused;
        for (user, peer) in &mut self.peers {
            match peer.state {
                PeerState::Offered if peer.offers < OFFERS_MAX && now >= peer.progressed + OFFER_AGAIN => {
                    peer.offers += 1;
                    peer.progressed = now;
                    nudges.push((user.clone(), Nudge::Offer));
                }
                PeerState::Offered if now >= peer.progressed + OFFER_AGAIN => peer.state = PeerState::Unanswered,
                PeerState::Receiving if sends && now >= peer.heard + SILENT_AFTER && peer.waits(total) => {
                    peer.state = PeerState::Silent;
                    peer.holds_up = None;
                }
                PeerState::Receiving if sends && now >= peer.due() && peer.waits(total) => {
                    peer.retry = (peer.retry * 2).min(RETRY_MAX);
                    peer.restart(now, peer.acked);
                    nudges.push((user.clone(), Nudge::Probe));
                }
                _ => {}
            }
        }
        nudges
    }

    /// When [`Sender::on_wakeup`] or [`Sender::next_chunk`] next has something to do without being told anything.
    pub fn next_wakeup(&self) -> Option<Time> {
        let total = self.offer.chunks();
        let at = |peer: &Peer| match peer.state {
            PeerState::Offered => Some(peer.progressed + OFFER_AGAIN),
            PeerState::Receiving if peer.waits(total) && !self.paused => {
                let due = peer.due().min(peer.heard + SILENT_AFTER);
                Some(peer.too_slow_at().map_or(due, |slow| due.min(slow)))
            }
            _ => None,
        };
        self.peers.values().filter_map(at).min()
    }

    /// Who is in the group now. Tells who has come back and is to be made the offer again.
    pub fn on_members(&mut self, now: Time, members: &BTreeSet<UserName>) -> Vec<UserName> {
        let mut back = Vec::new();
        for (user, peer) in &mut self.peers {
            match (members.contains(user), peer.state) {
                (false, state) if !state.is_over() => {
                    peer.state = PeerState::Left;
                    peer.holds_up = None;
                }
                (true, PeerState::Left) => {
                    *peer = Peer::new(now);
                    back.push(user.clone());
                }
                _ => {}
            }
        }
        back
    }

    /// Pauses, or goes on.
    pub fn pause(&mut self, now: Time, paused: bool) {
        self.paused = paused;
        for peer in self.peers.values_mut().filter(|peer| peer.state == PeerState::Receiving) {
            // What is on its way still arrives and is reported.
            (peer.heard, peer.progressed) = (now, now);
            peer.rate.stop();
            peer.end_hold_up(now);
        }
    }

    /// To whom the offer still means anything.
    pub fn concerned(&self) -> Vec<UserName> {
        let here = |state: PeerState| !state.is_over() && state != PeerState::Left;
        self.peers.iter().filter(|(_, peer)| here(peer.state)).map(|(user, _)| user.clone()).collect()
    }
}

impl Peer {
    /// Whether an answer of it is outstanding: pieces on their way, or the word that all is right.
    fn waits(&self, total: u32) -> bool {
        self.in_flight() > 0 || self.acked == total
    }

    fn note_missing(&mut self, now: Time, missing: &[(u32, u32)]) {
        for (first, last) in missing {
            // Only what is on its way: the range is no longer than the window.
            let on_way = (*first).max(self.acked)..self.sent.min(last.saturating_add(1));
            for index in on_way {
                let recently = self.resent.get(&index).is_some_and(|at| now < *at + RESEND_AFTER);
                if !recently {
                    self.resend.insert(index);
                }
            }
        }
    }
}
