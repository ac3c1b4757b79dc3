//! What this stay has seen, numbered and bounded, so that a page that reloads or reconnects misses nothing.
//!
//! Every record has one number `n`, in one order for all readers. Each topic has a ring of its own, so that a busy plugin
//! cannot push out what another one received, and in it each sender a share, so that a busy sender cannot either. Volatile records (a moving cursor) are handed to whoever is
//! connected and never replayed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ring::Ring;

/// The ring of what is not a message: views, warnings.
pub const SYSTEM: &str = "";

/// What one ring keeps at most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Records of one topic.
    pub records_max: usize,
    /// Bytes of one topic's records.
    pub bytes_max: usize,
    /// Volatile records of one topic.
    pub volatile_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { records_max: 20_000, bytes_max: 16 * 1024 * 1024, volatile_max: 256 }
    }
}

/// One numbered line for the readers.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its place in the order.
    pub n: u64,
    /// The line, ready to be sent.
    pub line: Arc<str>,
}

/// What there is of one topic.
#[derive(Debug, Default)]
struct Rings {
    kept: Ring,
    volatile: Ring,
}

/// The numbered records of a stay.
#[derive(Debug)]
pub struct Log {
    bounds: Bounds,
    rings: BTreeMap<String, Rings>,
    head: u64,
}

/// Where a reader stands.
#[derive(Clone, Debug)]
pub struct Cursor {
    after: u64,
    /// Volatile records up to here are from before the reader came.
    live_after: u64,
    /// It has been told that records up to here are missing.
    told: u64,
    /// The only topic it reads besides [`SYSTEM`]; `None` for all.
    topic: Option<String>,
}

impl Cursor {
    /// The last record that it has been given.
    pub fn after(&self) -> u64 {
        self.after
    }
}

/// What there is for a reader next.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order.
    pub records: Vec<Record>,
    /// Whether records between the reader's place and the first of these were dropped for want of room.
    pub skipped: bool,
}

impl Log {
    /// A log for these topics; it keeps nothing of others.
    pub fn new(topics: impl IntoIterator<Item = String>, bounds: Bounds) -> Self {
        let rings = topics.into_iter().chain([SYSTEM.to_owned()]).map(|topic| (topic, Rings::default())).collect();
        Log { bounds, rings, head: 0 }
    }

    /// The number of the newest record.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Whether records of this topic are kept.
    pub fn keeps(&self, topic: &str) -> bool {
        self.rings.contains_key(topic)
    }

    /// Adds a record of a sender; `line` is told its number. `None` if nobody reads this topic.
    pub fn append(&mut self, topic: &str, from: &str, volatile: bool, line: impl FnOnce(u64) -> String) -> Option<u64> {
        let ring = self.rings.get_mut(topic)?;
        self.head += 1;
        let record = Record { n: self.head, line: line(self.head).into() };
        let Bounds { records_max, bytes_max, volatile_max } = self.bounds;
        if volatile {
            ring.volatile.push(from, record, (volatile_max, bytes_max));
        } else {
            ring.kept.push(from, record, (records_max, bytes_max));
        }
        Some(self.head)
    }

    /// A reader that has seen everything up to `after`.
    pub fn cursor(&self, after: u64, topic: Option<String>) -> Cursor {
        Cursor { after: after.min(self.head), live_after: self.head, told: 0, topic }
    }

    /// The next records for a reader, at most `count`, and moves it behind them.
    pub fn next(&self, cursor: &mut Cursor, count: usize) -> Batch {
        let mut batch = Batch::default();
        for (topic, ring) in &self.rings {
            if cursor.topic.as_ref().is_some_and(|only| topic != SYSTEM && topic != only) {
                continue;
            }
            if ring.kept.trimmed > cursor.after.max(cursor.told) {
                (batch.skipped, cursor.told) = (true, ring.kept.trimmed);
            }
            batch.records.extend(ring.kept.newer(cursor.after).take(count).cloned());
            let live = cursor.after.max(cursor.live_after);
            batch.records.extend(ring.volatile.newer(live).take(count).cloned());
        }
        batch.records.sort_by_key(|record| record.n);
        batch.records.truncate(count);
        cursor.after = match batch.records.last() {
            Some(last) if batch.records.len() == count => last.n,
            _ => self.head,
        };
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(bounds: Bounds) -> Log {
        Log::new(["chat".to_owned(), "board".to_owned()], bounds)
    }

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.records.iter().map(|r| r.n).collect()
    }

    #[test]
    fn a_reader_that_returns_misses_nothing() {
        let mut log = log(Bounds::default());
        for _ in 0..5 {
            log.append("chat", "ana", false, |n| n.to_string());
            log.append("board", "ana", false, |n| n.to_string());
        }
        let mut reader = log.cursor(0, None);
        assert_eq!(numbers(&log.next(&mut reader, 4)), [1, 2, 3, 4]);
        assert_eq!(numbers(&log.next(&mut reader, 100)), [5, 6, 7, 8, 9, 10]);
        assert!(log.next(&mut reader, 100).records.is_empty());
        let mut returned = log.cursor(7, Some("chat".into()));
        let batch = log.next(&mut returned, 100);
        assert_eq!(numbers(&batch), [9]);
        assert!(!batch.skipped);
    }

    #[test]
    fn a_busy_topic_pushes_out_only_itself_and_says_so() {
        let mut log = log(Bounds { records_max: 3, bytes_max: 1000, volatile_max: 2 });
        log.append("chat", "ana", false, |n| n.to_string());
        for _ in 0..10 {
            log.append("board", "ana", false, |n| n.to_string());
        }
        let mut chat = log.cursor(0, Some("chat".into()));
        let batch = log.next(&mut chat, 100);
        assert_eq!((numbers(&batch), batch.skipped), (vec![1], false));
        let mut all = log.cursor(0, None);
        let batch = log.next(&mut all, 100);
        assert_eq!((numbers(&batch), batch.skipped), (vec![1, 9, 10, 11], true));
        assert!(!log.next(&mut all, 100).skipped);
    }

    #[test]
    fn who_talks_most_pushes_out_only_itself() {
        for bounds in [
            Bounds { records_max: 6, bytes_max: 1000, volatile_max: 6 },
            Bounds { records_max: 1000, bytes_max: 60, volatile_max: 6 },
        ] {
            for volatile in [false, true] {
                let mut log = log(bounds);
                let mut reader = log.cursor(0, None);
                for from in ["ana", "ben"] {
                    log.append("chat", from, volatile, |_| "x".repeat(10));
                }
                for _ in 0..200 {
                    log.append("chat", "mal", volatile, |_| "x".repeat(10));
                }
                let batch = log.next(&mut reader, 100);
                assert_eq!(numbers(&batch), [1, 2, 199, 200, 201, 202]);
                assert_eq!(batch.skipped, !volatile);
            }
        }
    }

    #[test]
    fn a_reader_is_told_once_that_records_are_missing() {
        let mut log = log(Bounds { records_max: 20, bytes_max: 1000, volatile_max: 2 });
        for n in 0..30 {
            log.append("chat", if n < 10 { "ana" } else { "mal" }, false, |n| n.to_string());
        }
        let mut reader = log.cursor(0, None);
        let skipped = (0..8).filter(|_| log.next(&mut reader, 4).skipped).count();
        assert_eq!((skipped, reader.after()), (1, 30));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut log = log(Bounds { records_max: 100, bytes_max: 10, volatile_max: 2 });
        for _ in 0..4 {
            log.append("chat", "ana", false, |_| "1234".into());
        }
        let mut reader = log.cursor(0, None);
        assert_eq!(numbers(&log.next(&mut reader, 100)), [3, 4]);
        assert_eq!(log.append("nobody", "ana", false, |_| "x".into()), None);
    }

    #[test]
    fn volatile_records_are_for_those_who_are_there() {
        let mut log = log(Bounds { records_max: 9, bytes_max: 1000, volatile_max: 2 });
        log.append("board", "ana", true, |n| n.to_string());
        let mut reader = log.cursor(0, None);
        assert!(log.next(&mut reader, 10).records.is_empty());
        for _ in 0..3 {
            log.append("board", "ana", true, |n| n.to_string());
        }
        let batch = log.next(&mut reader, 10);
        assert_eq!((numbers(&batch), batch.skipped), (vec![3, 4], false));
    }

    #[test]
    fn a_reader_from_the_future_starts_at_the_end() {
        let mut log = log(Bounds::default());
        let mut reader = log.cursor(99, None);
        log.append("chat", "ana", false, |n| n.to_string());
        assert_eq!(numbers(&log.next(&mut reader, 10)), [1]);
    }
}
