//! Frames kept for repair, within explicit bounds.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::delivery::StreamKey;
use crate::ids::{MemberId, Seq};
use crate::time::Time;

/// What a kept frame costs besides its bytes, for each number it has.
const OVERHEAD_BYTES: usize = 256;

/// Bounded in frames per sender and in bytes of all senders together.
///
/// A sender that uses more than an even share of the bytes makes room out of its own frames, so that one
/// loud sender does not push out everybody else's.
#[derive(Debug)]
pub(super) struct History {
    frames_max: usize,
    bytes_max: usize,
    bytes: usize,
    arrivals: u64,
    kept: BTreeMap<u64, Kept>,
    streams: BTreeMap<StreamKey, BTreeMap<Seq, u64>>,
    senders: BTreeMap<MemberId, Account>,
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) frame: Bytes,
    /// When it was last sent.
    pub(super) sent: Time,
    numbers: Vec<(StreamKey, Seq)>,
}

#[derive(Debug, Default)]
struct Account {
    arrivals: BTreeSet<u64>,
    bytes: usize,
}

impl Kept {
    fn cost(&self) -> usize {
        self.frame.len() + OVERHEAD_BYTES * self.numbers.len()
    }
}

impl History {
    pub(super) fn new(frames_max: u32, bytes_max: u32) -> Self {
        let size = |max| usize::try_from(max).unwrap_or(usize::MAX);
        History {
            frames_max: size(frames_max),
            bytes_max: size(bytes_max),
            bytes: 0,
            arrivals: 0,
            kept: BTreeMap::new(),
            streams: BTreeMap::new(),
            senders: BTreeMap::new(),
        }
    }

    /// Keeps a frame under all its numbers, which belong to one sender and are not kept yet.
    pub(super) fn insert(&mut self, now: Time, frame: Bytes, numbers: Vec<(StreamKey, Seq)>) {
        let Some((StreamKey { sender, .. }, _)) = numbers.first() else { return };
        let sender = sender.clone();
        let arrival = self.arrivals;
        self.arrivals += 1;
        for (stream, seq) in &numbers {
            self.streams.entry(stream.clone()).or_default().insert(*seq, arrival);
        }
        let kept = Kept { frame, sent: now, numbers };
        let account = self.senders.entry(sender.clone()).or_default();
        account.arrivals.insert(arrival);
        account.bytes += kept.cost();
        self.bytes += kept.cost();
        self.kept.insert(arrival, kept);
        self.make_room(&sender);
    }

    pub(super) fn get_mut(&mut self, stream: &StreamKey, seq: Seq) -> Option<&mut Kept> {
        self.kept.get_mut(self.streams.get(stream)?.get(&seq)?)
    }

    pub(super) fn get(&self, stream: &StreamKey, seq: Seq) -> Option<&Kept> {
        self.kept.get(self.streams.get(stream)?.get(&seq)?)
    }

    /// Drops all frames of a sender.
    pub(super) fn forget(&mut self, sender: &MemberId) {
        let arrivals = self.senders.get(sender).map(|account| account.arrivals.clone()).unwrap_or_default();
        arrivals.into_iter().for_each(|arrival| self.evict(arrival));
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.kept.len(), self.bytes)
    }

    fn make_room(&mut self, sender: &MemberId) {
        let first = |account: &Account| account.arrivals.first().copied();
        while let Some(account) = self.senders.get(sender)
            && account.arrivals.len() > self.frames_max
            && let Some(arrival) = first(account)
        {
            self.evict(arrival);
        }
        while self.bytes > self.bytes_max {
            let share = self.bytes_max / self.senders.len().max(1);
            let loud = self.senders.get(sender).filter(|account| account.bytes > share).and_then(first);
            let Some(arrival) = loud.or_else(|| self.kept.keys().next().copied()) else { break };
            self.evict(arrival);
        }
    }

    fn evict(&mut self, arrival: u64) {
        let Some(kept) = self.kept.remove(&arrival) else { return };
        let cost = kept.cost();
        self.bytes -= cost;
        for (stream, seq) in &kept.numbers {
            if let Some(frames) = self.streams.get_mut(stream) {
                frames.remove(seq);
                if frames.is_empty() {
                    self.streams.remove(stream);
                }
            }
        }
        let Some((StreamKey { sender, .. }, _)) = kept.numbers.first() else { return };
        if let Some(account) = self.senders.get_mut(sender) {
            account.arrivals.remove(&arrival);
            account.bytes -= cost;
            if account.arrivals.is_empty() {
                self.senders.remove(sender);
            }
        }
    }
}
