//! The receiving side of one offer: what has come, what goes to the disk in order, and what is missing.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringfort::protocol::{Time, UserName};

use super::limits::{COMPLAIN, REMIND};
use super::message::{MISSING_MAX, Offer, Report, Stand};
use super::rate::Rate;

/// Where a receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its user decides.
    Asked,
    /// What is on the disk from before is read.
    Opening,
    /// Pieces come.
    Receiving,
    /// It pauses.
    Paused,
    /// All is here, and its hash is computed.
    Verifying,
    /// The hash is right; the file gets its name.
    Publishing,
    /// The file is there under its name.
    Complete,
    /// Not wanted.
    Declined,
    /// The disk, or the hash.
    Failed,
    /// The sender has withdrawn it.
    Cancelled,
    /// The sender has left. It goes on should it offer the same again.
    Interrupted,
}

impl State {
    /// Whether nothing more happens by itself.
    pub fn is_over(self) -> bool {
        use State::{Cancelled, Complete, Declined, Failed, Interrupted};
        matches!(self, Complete | Declined | Failed | Cancelled | Interrupted)
    }

    /// Whether a file on the disk is being made.
    pub fn is_open(self) -> bool {
        use State::{Opening, Paused, Publishing, Receiving, Verifying};
        matches!(self, Opening | Receiving | Paused | Verifying | Publishing)
    }
}

/// The receiving side of one offer.
#[derive(Debug)]
pub(super) struct Receiver {
    pub offer: Offer,
    pub state: State,
    /// Pieces before this one are on the disk.
    pub written: u32,
    /// Pieces before this one were given to the disk.
    queued: u32,
    /// Pieces that came before their turn.
    held: BTreeMap<u32, Bytes>,
    /// Pieces taken beyond those on the disk: what the memory may hold.
    window: u32,
    reported: u32,
    reported_at: Time,
    heard: Time,
    rate: Rate,
    /// The sender pauses.
    pub sender_paused: bool,
    /// What went wrong, in words.
    pub why: Option<String>,
    /// Where the file lies.
    pub path: Option<String>,
}

impl Receiver {
    pub fn new(now: Time, offer: Offer, window_bytes: u32) -> Self {
        // Twice the sender's own window, since its pieces and its reports are both on their way.
        let window = (window_bytes / offer.chunk_bytes).clamp(2, 1 << 16) * 2;
        Receiver {
            offer,
            state: State::Asked,
            written: 0,
            queued: 0,
            held: BTreeMap::new(),
            window,
            reported: 0,
            reported_at: now,
            heard: now,
            rate: Rate::default(),
            sender_paused: false,
            why: None,
            path: None,
        }
    }

    /// The disk holds this much of it already; pieces may come.
    pub fn on_opened(&mut self, now: Time, chunks: u32) {
        self.written = chunks.min(self.offer.chunks());
        self.queued = self.written;
        self.held.clear();
        self.state = State::Receiving;
        self.rate.stop();
        self.rate.note(now, self.bytes());
        self.heard = now;
    }

    /// A piece. Gives what goes to the disk now, in order, and whether the sender should be told of a hole.
    pub fn on_chunk(&mut self, now: Time, index: u32, bytes: Bytes) -> (Vec<Bytes>, bool) {
        let fits = self.offer.chunk_len(index) == Some(bytes.len());
        let near = index >= self.queued && index - self.written < self.window;
        if self.state != State::Receiving || !fits || !near || self.held.contains_key(&index) {
            return (Vec::new(), false);
        }
        self.heard = now;
        if index > self.queued {
            // A copy: pieces that arrived together share a buffer, which one piece would hold.
            self.held.insert(index, Bytes::copy_from_slice(&bytes));
            return (Vec::new(), now >= self.reported_at + COMPLAIN);
        }
        let mut ordered = vec![bytes];
        self.queued += 1;
        while let Some(bytes) = self.held.remove(&self.queued) {
            ordered.push(bytes);
            self.queued += 1;
        }
        (ordered, false)
    }

    /// The disk has so many more. Whether the sender should be told.
    pub fn on_written(&mut self, now: Time, chunks: u32) -> bool {
        self.written = self.written.saturating_add(chunks).min(self.queued);
        self.rate.note(now, self.bytes());
        let all = self.written == self.offer.chunks();
        all || self.written - self.reported.min(self.written) >= (self.window / 8).max(1)
    }

    pub fn has_all(&self) -> bool {
        self.written == self.offer.chunks()
    }

    /// Nothing of what came out of turn is kept.
    pub fn rest(&mut self, state: State) {
        self.state = state;
        self.held.clear();
        self.rate.stop();
    }

    /// What the sender is told.
    pub fn report(&mut self, now: Time) -> Report {
        self.reported_at = now;
        self.reported = self.written;
        let stand = match self.state {
            State::Asked | State::Opening | State::Interrupted => Stand::Asked,
            State::Receiving | State::Verifying | State::Publishing => Stand::Receiving,
            State::Paused => Stand::Paused,
            State::Declined | State::Cancelled => Stand::Declined,
            State::Complete => Stand::Complete,
            State::Failed => Stand::Failed,
        };
        Report { id: self.offer.id, stand, next: self.written, missing: self.missing() }
    }

    /// The holes before what came out of turn.
    fn missing(&self) -> Vec<(u32, u32)> {
        let mut from = self.queued;
        let mut holes = Vec::new();
        for index in self.held.keys() {
            if *index > from {
                holes.push((from, index - 1));
            }
            from = index + 1;
        }
        holes.truncate(MISSING_MAX);
        holes
    }

    /// When the sender should be reminded.
    pub fn next_wakeup(&self) -> Option<Time> {
        let waits = self.state == State::Receiving && !self.sender_paused;
        waits.then(|| self.reported_at.max(self.heard) + REMIND)
    }

    pub fn heard(&mut self, now: Time) {
        self.heard = now;
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        self.offer.bytes_of(self.written)
    }

    pub fn per_s(&self, now: Time) -> u64 {
        self.rate.per_s(now)
    }

    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.held.values().map(Bytes::len).sum()
    }
}

/// Names a file that is being received.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IncomingKey {
    /// Who sends it.
    pub from: UserName,
    /// Its id there.
    pub id: super::message::OfferId,
}
