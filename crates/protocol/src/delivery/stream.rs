//! One repaired stream at its receiver: which numbers came, which are missing, what waits for its turn.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::delivery::{Delivery, REPAIR_RANGES_MAX, REPAIR_SPAN_MAX};
use crate::ids::{LeaderId, Seq};
use crate::time::Time;

/// How long a hole may be mere reordering.
pub(super) const ASK_AFTER: Duration = Duration::from_millis(50);

/// How long what leaders say was sent may still be on its way: their word overtakes it.
pub(super) const ASK_AFTER_HEAD: Duration = Duration::from_millis(500);

/// A stream that may not ask yet looks again when the next of these is full, so that all that waits is then asked for at once.
const POSTPONED_MS: u64 = 100;

/// Wait after the first request; it doubles up to [`RETRY_MAX`].
const RETRY: Duration = Duration::from_millis(150);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Requests for one hole before it is given up, some ten seconds in all.
pub(super) const ATTEMPTS_MAX: u32 = 8;

/// How long what comes renews the patience with the rest, and how much longer for each number that comes: whoever has what is
/// missing must supply it at some pace. A hole that was asked for at all is then given up, too, if there were not the means to
/// ask for it more often.
const RENEWED: Duration = Duration::from_secs(30);
const RENEWED_PER_NUMBER: Duration = Duration::from_millis(100);

/// Holes of one stream. Above, the oldest is given up.
pub(super) const HOLES_MAX: usize = 256;
/// Messages that wait behind a hole of one stream. Above, the newest are let go, and asked for when there is room.
pub(super) const HELD_MAX: usize = 1024;
pub(super) const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a waiting message costs besides its bytes.
const OVERHEAD_BYTES: usize = 256;

/// What a stream tells its inbox.
#[derive(Debug)]
pub(super) enum Told {
    Deliver(Delivery),
    Gap { first: Seq, count: u64 },
    Ask { attempt: u32, ranges: Vec<(Seq, Seq)> },
}

/// Every number below `known` was received, is in a hole, or was given up.
#[derive(Debug)]
pub(super) struct InStream {
    ordered: bool,
    /// The first number that is for this receiver, as far as it knows.
    first: u64,
    known: u64,
    /// Something was told: an earlier message would come out of order.
    has_told: bool,
    /// All numbers below exist; those from `known` on were let go for want of room.
    announced: u64,
    /// Missing ranges, by their first number; disjoint.
    holes: BTreeMap<u64, Hole>,
    /// FIFO: what waits behind the first hole, gaps in their turn.
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    /// Through whom the last message came: asked first.
    pub(super) relay: LeaderId,
}

#[derive(Debug)]
enum Held {
    Message(Delivery),
    Gap(u64),
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    last: u64,
    attempts: u32,
    at: Time,
    /// As long as what comes gives the rest of it full patience again.
    renewed_until: Time,
    /// When it is given up, if it was asked for at all.
    given_up_at: Time,
}

impl Hole {
    fn new(now: Time, last: u64, wait: Duration) -> Self {
        let end = now + RENEWED;
        Hole { last, attempts: 0, at: now + wait, renewed_until: end, given_up_at: end }
    }

    /// One of its numbers came: what is left of it behind that number.
    fn rest(self, now: Time) -> Self {
        let rest = self.longer();
        if now < self.renewed_until { Hole { attempts: 0, at: now + ASK_AFTER, ..rest } } else { rest }
    }

    /// A number came: whoever has the others may still supply them.
    fn longer(self) -> Self {
        let (renewed_until, given_up_at) =
            (self.renewed_until + RENEWED_PER_NUMBER, self.given_up_at + RENEWED_PER_NUMBER);
        Hole { renewed_until, given_up_at, ..self }
    }

    fn is_hopeless(&self, now: Time) -> bool {
        self.attempts >= ATTEMPTS_MAX || self.attempts > 0 && now >= self.given_up_at
    }
}

impl InStream {
    /// A stream whose first expected number is `baseline`.
    pub(super) fn new(ordered: bool, baseline: Seq, relay: LeaderId) -> Self {
        InStream {
            ordered,
            first: baseline.0,
            known: baseline.0,
            has_told: false,
            announced: baseline.0,
            holes: BTreeMap::new(),
            held: BTreeMap::new(),
            held_bytes: 0,
            relay,
        }
    }

    /// Whether `seq` is still to come.
    pub(super) fn is_new(&self, seq: Seq) -> bool {
        seq.0 >= self.known || seq.0 < self.first || self.hole_with(seq.0).is_some()
    }

    /// A message shows that the stream is for this receiver from an earlier number on than it knew: the word of leaders, or
    /// a message of a later view, was faster. What can no longer come in its turn is a gap.
    pub(super) fn reach_back(&mut self, now: Time, start: Seq, told: &mut Vec<Told>) {
        if start.0 >= self.first {
            return;
        }
        let last = self.first - 1;
        if self.ordered && self.has_told {
            told.push(Told::Gap { first: start, count: last - start.0 + 1 });
        } else {
            self.holes.insert(start.0, Hole::new(now, last, ASK_AFTER));
        }
        self.first = start.0;
        self.bound(told);
    }

    /// Whether a mark that names `next` tells anything.
    pub(super) fn is_behind(&self, next: Seq) -> bool {
        next.0 > self.known
    }

    /// All numbers below `next` exist.
    pub(super) fn extend(&mut self, now: Time, next: Seq, told: &mut Vec<Told>) {
        self.extend_after(now, ASK_AFTER, next, told);
    }

    /// As [`InStream::extend`], with another wait before what is missing is asked for.
    pub(super) fn extend_after(&mut self, now: Time, wait: Duration, next: Seq, told: &mut Vec<Told>) {
        self.announced = self.announced.max(next.0);
        if next.0 > self.known && !self.is_full() {
            self.holes.insert(self.known, Hole::new(now, next.0 - 1, wait));
            self.known = next.0;
            self.bound(told);
        }
    }

    /// A message came; `None` for an authentic frame that holds none. It is new: the caller checked.
    pub(super) fn take(&mut self, now: Time, seq: Seq, delivery: Option<Delivery>, told: &mut Vec<Told>) {
        self.extend(now, seq, told);
        self.announced = self.announced.max(seq.0.saturating_add(1));
        if seq.0 > self.known {
            return;
        }
        if seq.0 == self.known {
            self.known += 1;
        } else if let Some((first, hole)) = self.hole_with(seq.0) {
            self.holes.remove(&first);
            if first < seq.0 {
                self.holes.insert(first, Hole { last: seq.0 - 1, ..hole.longer() });
            }
            if seq.0 < hole.last {
                // What came shows that the repair works: the rest gets its full patience again, for a while.
                self.holes.insert(seq.0 + 1, hole.rest(now));
            }
        }
        match delivery {
            Some(delivery) if self.ordered => {
                let held = Held::Message(delivery);
                self.held_bytes += held.cost();
                self.held.insert(seq.0, held);
            }
            Some(delivery) => told.push(Told::Deliver(delivery)),
            None => {}
        }
        self.release(told);
        self.bound(told);
        self.resume(now, told);
    }

    /// Gives up what was asked for often enough, and asks for what is due, in one request; if it may not ask now, later.
    pub(super) fn on_wakeup(&mut self, now: Time, may_ask: bool, told: &mut Vec<Told>) {
        while let Some((first, _)) = self.holes.iter().find(|(_, h)| h.at <= now && h.is_hopeless(now)) {
            let first = *first;
            self.give_up(first, told);
        }
        self.resume(now, told);
        let (mut attempt, mut room, mut ranges) = (0, REPAIR_SPAN_MAX, Vec::new());
        for (first, hole) in self.holes.iter_mut().filter(|(_, hole)| hole.at <= now) {
            if !may_ask || room == 0 || ranges.len() >= REPAIR_RANGES_MAX {
                hole.at = next_look(now);
                continue;
            }
            let wait = RETRY.saturating_mul(1 << hole.attempts.min(8)).min(RETRY_MAX);
            hole.at = now + wait;
            hole.attempts += 1;
            attempt = hole.attempts.max(attempt);
            let last = hole.last.min(first.saturating_add(room - 1));
            room -= last - first + 1;
            ranges.push((Seq(*first), Seq(last)));
        }
        if !ranges.is_empty() {
            told.push(Told::Ask { attempt, ranges });
        }
    }

    /// Whether something is to be asked for now.
    pub(super) fn would_ask(&self, now: Time) -> bool {
        self.holes.values().any(|hole| hole.at <= now && !hole.is_hopeless(now))
    }

    /// The first number that is for this receiver, as far as it knows.
    pub(super) fn first(&self) -> Seq {
        Seq(self.first)
    }

    /// All numbers below are known to exist.
    pub(super) fn announced(&self) -> Seq {
        Seq(self.announced)
    }

    /// When a hole is next due.
    pub(super) fn next_wakeup(&self) -> Option<Time> {
        self.holes.values().map(|hole| hole.at).min()
    }

    /// Gives up the oldest hole, if there is one.
    pub(super) fn give_up_first(&mut self, told: &mut Vec<Told>) -> bool {
        let first = self.holes.keys().next().copied();
        first.is_some_and(|first| {
            self.give_up(first, told);
            true
        })
    }

    /// The receiver leaves, or the sender is expelled. What is at the end and was not asked for again and again in vain is on
    /// its way rather than lost, and not told.
    pub(super) fn cut_off(&mut self, told: &mut Vec<Told>) {
        if let Some((first, hole)) = self.holes.last_key_value().map(|(first, hole)| (*first, *hole))
            && hole.attempts < ATTEMPTS_MAX / 2
            && hole.last + 1 == self.known
            && self.held.keys().all(|held| *held < first)
        {
            (self.known, self.announced) = (first, first);
            self.holes.pop_last();
        }
        self.give_up_all(told);
    }

    /// Gives up all that is missing, what was let go for want of room too: nobody will ask for it any more.
    pub(super) fn give_up_all(&mut self, told: &mut Vec<Told>) {
        while self.give_up_first(told) {}
        if self.known < self.announced {
            told.push(Told::Gap { first: Seq(self.known), count: self.announced - self.known });
            self.known = self.announced;
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn hole_with(&self, seq: u64) -> Option<(u64, Hole)> {
        self.holes.range(..=seq).next_back().map(|(first, hole)| (*first, *hole)).filter(|(_, hole)| seq <= hole.last)
    }

    /// One explicit gap, told in its turn where there is an order.
    fn give_up(&mut self, first: u64, told: &mut Vec<Told>) {
        let Some(hole) = self.holes.remove(&first) else { return };
        let count = hole.last - first + 1;
        if self.ordered {
            self.held.insert(first, Held::Gap(count));
            self.release(told);
        } else {
            told.push(Told::Gap { first: Seq(first), count });
        }
    }

    /// Tells what waits before the first hole.
    fn release(&mut self, told: &mut Vec<Told>) {
        let open = self.holes.keys().next().copied().unwrap_or(u64::MAX);
        while let Some(entry) = self.held.first_entry().filter(|entry| *entry.key() < open) {
            let (first, held) = entry.remove_entry();
            self.held_bytes -= held.cost();
            self.has_told = true;
            told.push(match held {
                Held::Message(delivery) => Told::Deliver(delivery),
                Held::Gap(count) => Told::Gap { first: Seq(first), count },
            });
        }
    }

    fn bound(&mut self, told: &mut Vec<Told>) {
        while self.holes.len() > HOLES_MAX && self.give_up_first(told) {}
        while (self.held.len() > HELD_MAX || self.held_bytes > HELD_BYTES_MAX) && self.let_go_newest() {}
    }

    /// Lets the newest message that waits go, and forgets what was known behind it: a copy counts as new.
    /// What waits last loses nothing by waiting longer; a gap would lose what could still be repaired.
    pub(super) fn let_go_newest(&mut self) -> bool {
        let Some((newest, held)) = self.held.pop_last() else { return false };
        self.held_bytes -= held.cost();
        self.holes.split_off(&newest);
        self.known = newest;
        true
    }

    /// Nothing more may wait for its turn.
    fn is_full(&self) -> bool {
        self.held.len() >= HELD_MAX || self.held_bytes >= HELD_BYTES_MAX
    }

    /// There is room again: what was let go is missing.
    fn resume(&mut self, now: Time, told: &mut Vec<Told>) {
        if self.held.len() <= HELD_MAX / 2 && self.held_bytes <= HELD_BYTES_MAX / 2 {
            self.extend(now, Seq(self.announced), told);
        }
    }
}

/// When a stream looks again that may not ask yet.
fn next_look(now: Time) -> Time {
    let passed = u64::try_from(now.since(Time::ZERO).as_millis()).unwrap_or(u64::MAX);
    Time::from_start(Duration::from_millis((passed / POSTPONED_MS).saturating_add(1).saturating_mul(POSTPONED_MS)))
}

impl Held {
    fn cost(&self) -> usize {
        match self {
            Held::Message(delivery) => delivery.payload.len() + OVERHEAD_BYTES,
            Held::Gap(_) => 0,
        }
    }
}
