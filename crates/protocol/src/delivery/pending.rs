//! What a receiver keeps, within bounds, about frames it cannot use: those under views it cannot read yet,
//! and the offences they may turn out to be.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::data::DataFrame;
use crate::delivery::StreamKey;
use crate::ids::{LeaderId, MemberId, Seq, ViewDigest};
use crate::time::{Time, earliest};

/// How long a frame waits for its view.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(10);

/// Frames and bytes that wait, for each relay, so that a hacked one crowds out only itself.
pub(super) const WAITING_MAX: usize = 256;
pub(super) const WAITING_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Of these, frames in one sender's name.
const WAITING_PER_SENDER_MAX: usize = 64;

/// A view is asked for once in this time because of each relay, and so many views at most because of one.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
const ASKED_PER_RELAY_MAX: usize = 8;

/// Bad copies, and bytes of them unless it is only one, that are remembered for each relay.
const BAD_COPIES_MAX: usize = 64;
const BAD_COPIES_BYTES_MAX: usize = 256 * 1024;

/// Frames under unknown views.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    relays: BTreeMap<LeaderId, Queue>,
    asked: BTreeMap<(ViewDigest, LeaderId), Time>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<(Time, DataFrame)>,
    bytes: usize,
}

impl Waiting {
    /// Keeps a frame; true if its view should be asked for.
    pub(super) fn push(&mut self, now: Time, from: LeaderId, frame: DataFrame) -> bool {
        self.expire(now);
        let view = frame.header().view;
        self.relays.entry(from).or_default().push(now, frame);
        let because = self.asked.keys().filter(|(_, relay)| *relay == from).count();
        let ask = !self.asked.contains_key(&(view, from)) && because < ASKED_PER_RELAY_MAX;
        if ask {
            self.asked.insert((view, from), now);
        }
        ask
    }

    /// Takes out the frames under a view, relay by relay as they came.
    pub(super) fn take(&mut self, now: Time, view: &ViewDigest) -> Vec<(LeaderId, DataFrame)> {
        self.expire(now);
        self.asked.retain(|(asked, _), _| asked != view);
        let mut taken = Vec::new();
        for (from, queue) in &mut self.relays {
            let frames = queue.take(|frame| frame.header().view == *view);
            taken.extend(frames.into_iter().map(|frame| (*from, frame)));
        }
        taken
    }

    /// Drops the frames in one sender's name.
    pub(super) fn forget(&mut self, sender: &MemberId) {
        for queue in self.relays.values_mut() {
            drop(queue.take(|frame| frame.header().sender == *sender));
        }
    }

    /// Drops what waited too long.
    pub(super) fn expire(&mut self, now: Time) {
        for queue in self.relays.values_mut() {
            while queue.frames.front().is_some_and(|(at, _)| now.since(*at) >= WAIT_MAX) {
                queue.pop();
            }
        }
        self.asked.retain(|_, at| now.since(*at) < ASK_AGAIN_AFTER);
    }

    /// When the first frame has waited too long.
    pub(super) fn next_wakeup(&self) -> Option<Time> {
        self.relays.values().map(|q| q.frames.front().map(|(at, _)| *at + WAIT_MAX)).fold(None, earliest)
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let queues = self.relays.values();
        queues.fold((0, 0), |(frames, bytes), q| (frames + q.frames.len(), bytes + q.bytes))
    }
}

impl Queue {
    fn push(&mut self, now: Time, frame: DataFrame) {
        let sender = &frame.header().sender;
        let same = |f: &DataFrame| f.header().sender == *sender;
        if self.frames.iter().filter(|(_, f)| same(f)).count() >= WAITING_PER_SENDER_MAX
            && let Some(place) = self.frames.iter().position(|(_, f)| same(f))
            && let Some((_, old)) = self.frames.remove(place)
        {
            self.bytes -= old.bytes().len();
        }
        self.bytes += frame.bytes().len();
        self.frames.push_back((now, frame));
        while self.frames.len() > WAITING_MAX || self.bytes > WAITING_BYTES_MAX {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, frame)) = self.frames.pop_front() {
            self.bytes -= frame.bytes().len();
        }
    }

    fn take(&mut self, pick: impl Fn(&DataFrame) -> bool) -> Vec<DataFrame> {
        let (taken, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.frames).into_iter().partition(|(_, frame)| pick(frame));
        self.frames = kept;
        let taken: Vec<_> = taken.into_iter().map(|(_, frame)| frame).collect();
        self.bytes -= taken.iter().map(|frame| frame.bytes().len()).sum::<usize>();
        taken
    }
}

/// Copies that did not open, until an authentic one tells that they were altered.
#[derive(Debug, Default)]
pub(super) struct BadCopies {
    relays: BTreeMap<LeaderId, BadOfRelay>,
}

#[derive(Debug, Default)]
struct BadOfRelay {
    copies: VecDeque<(StreamKey, Seq, DataFrame)>,
    bytes: usize,
}

impl BadCopies {
    pub(super) fn note(&mut self, from: LeaderId, stream: &StreamKey, seq: Seq, frame: &DataFrame) {
        // A copy: frames that arrived together share a buffer, which one kept frame would hold.
        let Ok(kept) = DataFrame::parse(&Bytes::copy_from_slice(frame.bytes())) else { return };
        let relay = self.relays.entry(from).or_default();
        relay.bytes += kept.bytes().len();
        relay.copies.push_back((stream.clone(), seq, kept));
        while relay.copies.len() > BAD_COPIES_MAX || relay.bytes > BAD_COPIES_BYTES_MAX && relay.copies.len() > 1 {
            let Some((_, _, old)) = relay.copies.pop_front() else { return };
            relay.bytes -= old.bytes().len();
        }
    }

    /// An authentic copy came: the other bodies under the very same header, one of each relay, once.
    pub(super) fn proven(&mut self, stream: &StreamKey, seq: Seq, frame: &DataFrame) -> Vec<(LeaderId, DataFrame)> {
        let mut altered = Vec::new();
        self.relays.retain(|from, relay| {
            let of_number = |(s, number, _): &(StreamKey, Seq, DataFrame)| *number == seq && s == stream;
            if relay.copies.iter().any(of_number) {
                let all = std::mem::take(&mut relay.copies);
                let (settled, left): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(of_number);
                relay.copies = left;
                relay.bytes -= settled.iter().map(|(_, _, copy)| copy.bytes().len()).sum::<usize>();
                let same = settled.into_iter().map(|(_, _, copy)| copy).find(|copy| copy.prefix() == frame.prefix());
                altered.extend(same.map(|copy| (*from, copy)));
            }
            !relay.copies.is_empty()
        });
        altered
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let relays = self.relays.values();
        relays.fold((0, 0), |(copies, bytes), relay| (copies + relay.copies.len(), bytes + relay.bytes))
    }
}
