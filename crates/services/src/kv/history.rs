//! The last changes, so that nobody has to look again and again.

use std::collections::{BTreeMap, VecDeque};

use borsh::{BorshDeserialize, BorshSerialize};

use super::{
    Change, ENTRY_BYTES, Event, HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX, KeyValue, Position, READ_BYTES_MAX, Range,
    Revision, cost,
};

/// Whole revisions, the last ones, as many as there is room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    events: VecDeque<(Position, Change)>,
    /// The last change that is not here: the last of its revision.
    oldest: Position,
    /// Follows from the events.
    bytes: u64,
}

/// A part of the changes: they, up to where everything is told, and whether there is more.
pub(super) type Part = (Vec<Event>, Position, bool);

impl History {
    /// What has one revision.
    pub fn push(&mut self, revision: Revision, changes: Vec<Change>) {
        for (change, number) in changes.into_iter().zip(1..) {
            self.bytes += change_cost(&change);
            self.events.push_back((Position { revision, changes: number }, change));
        }
        while self.events.len() > HISTORY_EVENTS_MAX || self.bytes > HISTORY_BYTES_MAX {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some(first) = self.events.front().map(|(position, _)| position.revision) else { return };
        let count = self.events.partition_point(|(position, _)| position.revision <= first);
        self.oldest = self.events.get(count - 1).map_or(self.oldest, |(position, _)| *position);
        self.bytes -= self.events.drain(..count).map(|(_, change)| change_cost(&change)).sum::<u64>();
    }

    /// Where in the list the changes behind a position begin; or behind which revision all are remembered.
    fn behind(&self, after: Position) -> Result<usize, Revision> {
        // Also a position within the revision that was forgotten last: what has that revision behind it is not here.
        if after < self.oldest {
            return Err(self.oldest.revision);
        }
        Ok(self.events.partition_point(|(position, _)| *position <= after))
    }

    /// Whether something in a range has changed behind a revision, or that is not remembered; and how much was looked at.
    pub fn has_changed(&self, range: &Range, after: Revision) -> (bool, usize) {
        let Ok(first) = self.behind(Position { revision: after, changes: u32::MAX }) else { return (true, 0) };
        let changed = self.events.iter().skip(first).any(|(_, change)| range.contains(change.key()));
        (changed, self.events.len() - first)
    }

    /// What has changed in a range behind a position.
    ///
    /// # Errors
    /// The revision behind which all is remembered, if it is a later one.
    pub fn changes(&self, range: &Range, after: Position, limit: u32, previous: bool) -> Result<Part, Revision> {
        let first = self.behind(after)?;
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let (mut before, mut told, mut bytes, mut upto): (BTreeMap<&[u8], &KeyValue>, Vec<Event>, u64, Position) =
            (BTreeMap::new(), Vec::new(), 0, after);
        let skipped = if previous { 0 } else { first };
        for (number, (position, change)) in (skipped..).zip(self.events.iter().skip(skipped)) {
            if range.contains(change.key()) {
                let was = before.remove(change.key()).filter(|_| previous && number >= first);
                if let Change::Put(entry) = change {
                    before.insert(&entry.key, entry);
                }
                if number >= first {
                    bytes += change_cost(change) + was.map_or(0, entry_cost);
                    if told.len() >= limit || bytes > READ_BYTES_MAX && !told.is_empty() {
                        return Ok((told, upto, true));
                    }
                    told.push(Event { position: *position, change: change.clone(), previous: was.cloned() });
                }
            }
            if number >= first {
                upto = *position;
            }
        }
        Ok((told, upto, false))
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }
}

impl BorshSerialize for History {
    fn serialize<W: std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        (self.oldest, &self.events).serialize(writer)
    }
}

impl BorshDeserialize for History {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        let (oldest, events): (Position, VecDeque<(Position, Change)>) = BorshDeserialize::deserialize_reader(reader)?;
        let bytes = events.iter().map(|(_, change)| change_cost(change)).sum();
        Ok(History { events, oldest, bytes })
    }
}

impl Change {
    /// Which key has changed.
    pub fn key(&self) -> &[u8] {
        match self {
            Change::Put(KeyValue { key, .. }) | Change::Deleted { key } => key,
        }
    }
}

fn entry_cost(entry: &KeyValue) -> u64 {
    cost(&entry.key, &entry.value)
}

fn change_cost(change: &Change) -> u64 {
    match change {
        Change::Put(entry) => entry_cost(entry),
        Change::Deleted { key } => key.len() as u64 + ENTRY_BYTES,
    }
}
