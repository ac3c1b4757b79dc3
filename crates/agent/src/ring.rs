//! What is kept of one topic. Who holds most of it makes room, with its oldest: who talks most pushes out nobody else.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use crate::log::Record;

/// Records with their senders.
#[derive(Debug, Default)]
pub struct Ring {
    records: BTreeMap<u64, Record>,
    shares: BTreeMap<String, Share>,
    bytes: usize,
    /// The newest record that was dropped for want of room.
    pub trimmed: u64,
}

/// What is kept of one sender, the oldest first.
#[derive(Debug, Default)]
struct Share {
    numbers: VecDeque<u64>,
    bytes: usize,
}

impl Ring {
    /// Keeps a record, and drops what there is no room for.
    pub fn push(&mut self, from: &str, record: Record, (records_max, bytes_max): (usize, usize)) {
        let bytes = record.line.len();
        let share = self.shares.entry(from.to_owned()).or_default();
        share.numbers.push_back(record.n);
        share.bytes += bytes;
        self.bytes += bytes;
        self.records.insert(record.n, record);
        while self.records.len() > records_max || self.bytes > bytes_max {
            self.make_room(self.bytes > bytes_max);
        }
    }

    fn make_room(&mut self, by_bytes: bool) {
        let holds = |share: &Share| if by_bytes { share.bytes } else { share.numbers.len() };
        let Some(from) = self.shares.iter().max_by_key(|(_, share)| holds(share)).map(|(from, _)| from.clone()) else {
            return;
        };
        let Some(share) = self.shares.get_mut(&from) else { return };
        if let Some(old) = share.numbers.pop_front().and_then(|n| self.records.remove(&n)) {
            share.bytes -= old.line.len();
            self.bytes -= old.line.len();
            self.trimmed = self.trimmed.max(old.n);
        }
        if share.numbers.is_empty() {
            self.shares.remove(&from);
        }
    }

    /// The records after this number, in order.
    pub fn newer(&self, after: u64) -> impl Iterator<Item = &Record> {
        self.records.range((Bound::Excluded(after), Bound::Unbounded)).map(|(_, record)| record)
    }
}
