//! Frames kept for repair, within explicit bounds.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::delivery::StreamKey;
use crate::ids::{LeaderId, MemberId, Seq, UserName};
use crate::time::Time;

/// What a kept frame costs besides its bytes, for each number it has.
const OVERHEAD_BYTES: usize = 256;

/// Bounded in frames per sender and in bytes of all senders together.
///
/// Whoever takes most of the bytes makes room, whoever adds: so one loud sender pushes out nobody else's frames, however
/// early it began. All stays of a user are one sender, so that a new stay is no new share.
#[derive(Debug)]
pub(super) struct History {
    frames_max: usize,
    bytes_max: usize,
    bytes: usize,
    arrivals: u64,
    kept: BTreeMap<u64, Kept>,
    streams: BTreeMap<StreamKey, BTreeMap<Seq, u64>>,
    senders: BTreeMap<UserName, Account>,
    /// The same accounts by their bytes.
    by_bytes: BTreeSet<(usize, UserName)>,
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) frame: Bytes,
    /// When it was last sent, to whom, and how often they asked for it again.
    pub(super) sent: Time,
    pub(super) resent: BTreeMap<LeaderId, (Time, u32)>,
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
            by_bytes: BTreeSet::new(),
        }
    }

    /// Keeps a frame under all its numbers, which belong to one sender and are not kept yet.
    pub(super) fn insert(&mut self, now: Time, frame: Bytes, numbers: Vec<(StreamKey, Seq)>) {
        let Some((StreamKey { sender, .. }, _)) = numbers.first() else { return };
        let user = sender.user.clone();
        let arrival = self.arrivals;
        self.arrivals += 1;
        for (stream, seq) in &numbers {
            self.streams.entry(stream.clone()).or_default().insert(*seq, arrival);
        }
        let kept = Kept { frame, sent: now, resent: BTreeMap::new(), numbers };
        let cost = kept.cost();
        let account = self.senders.entry(user.clone()).or_default();
        account.arrivals.insert(arrival);
        self.bytes += cost;
        self.kept.insert(arrival, kept);
        self.charge(&user, |bytes| bytes + cost);
        self.make_room(&user);
    }

    /// An account's bytes change.
    fn charge(&mut self, user: &UserName, change: impl FnOnce(usize) -> usize) {
        let Some(account) = self.senders.get_mut(user) else { return };
        self.by_bytes.remove(&(account.bytes, user.clone()));
        account.bytes = change(account.bytes);
        if account.arrivals.is_empty() {
            self.senders.remove(user);
        } else {
            self.by_bytes.insert((account.bytes, user.clone()));
        }
    }

    pub(super) fn get_mut(&mut self, stream: &StreamKey, seq: Seq) -> Option<&mut Kept> {
        self.kept.get_mut(self.streams.get(stream)?.get(&seq)?)
    }

    pub(super) fn get(&self, stream: &StreamKey, seq: Seq) -> Option<&Kept> {
        self.kept.get(self.streams.get(stream)?.get(&seq)?)
    }

    /// The first number of a stream that is kept; `None` if none is.
    pub(super) fn first(&self, stream: &StreamKey) -> Option<Seq> {
        self.streams.get(stream)?.first_key_value().map(|(seq, _)| *seq)
    }

    /// A leader is linked anew: what was sent to it before does not count.
    pub(super) fn forget_resends(&mut self, leader: LeaderId) {
        for kept in self.kept.values_mut() {
            kept.resent.remove(&leader);
        }
    }

    /// Drops all frames of a stay.
    pub(super) fn forget(&mut self, sender: &MemberId) {
        let of_stay = |arrival: &&u64| {
            let first = self.kept.get(arrival).and_then(|kept| kept.numbers.first());
            first.is_some_and(|(stream, _)| stream.sender == *sender)
        };
        let account = self.senders.get(&sender.user);
        let arrivals: Vec<u64> =
            account.map(|a| a.arrivals.iter().filter(of_stay).copied().collect()).unwrap_or_default();
        arrivals.into_iter().for_each(|arrival| self.evict(arrival));
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.kept.len(), self.bytes)
    }

    fn make_room(&mut self, user: &UserName) {
        let first = |account: &Account| account.arrivals.first().copied();
        while let Some(account) = self.senders.get(user)
            && account.arrivals.len() > self.frames_max
            && let Some(arrival) = first(account)
        {
            self.evict(arrival);
        }
        while self.bytes > self.bytes_max
            && let Some((_, loudest)) = self.by_bytes.last()
            && let Some(arrival) = self.senders.get(loudest).and_then(first)
        {
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
        if let Some(account) = self.senders.get_mut(&sender.user) {
            account.arrivals.remove(&arrival);
        }
        self.charge(&sender.user.clone(), |bytes| bytes - cost);
    }
}
