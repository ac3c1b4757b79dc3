//! The last changes, so that nobody has to look again and again.

use std::collections::{BTreeMap, VecDeque};

use borsh::{BorshDeserialize, BorshSerialize};

use super::{
    Change, ENTRY_BYTES, Event, HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX, KeyValue, PREVIOUS_BYTES_MAX, Position,
    READ_BYTES_MAX, Range, Revision, cost,
};

/// Whole revisions, the last ones, as many as there is room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    events: VecDeque<Remembered>,
    /// The number of the first change that is here: so many were forgotten.
    first: u64,
    /// The last change that is not here: the last of its revision.
    oldest: Position,
    /// Follow from the events: what they take, and the number of the last one of each key.
    bytes: u64,
    last: BTreeMap<Vec<u8>, u64>,
}

/// A change, and what its key was before.
#[derive(Debug)]
pub(super) struct Made {
    pub change: Change,
    pub previous: Option<KeyValue>,
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Remembered {
    position: Position,
    change: Change,
    /// What the key was before, if the change that made it so is not here.
    previous: Option<KeyValue>,
    /// Follow from the others: the numbers of the key's last change before this one, and of its next.
    #[borsh(skip)]
    before: Option<u64>,
    #[borsh(skip)]
    next: Option<u64>,
}

/// A part of the changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub events: Vec<Event>,
    /// Up to where everything is told.
    pub upto: Position,
    pub more: bool,
    /// How many were looked at.
    pub looked_at: usize,
}

impl History {
    /// What has one revision: each key once.
    pub fn push(&mut self, revision: Revision, changes: Vec<Made>) {
        let mut room = PREVIOUS_BYTES_MAX;
        for (Made { change, previous }, number) in changes.into_iter().zip(1..) {
            let is_here = self.last.contains_key(change.key());
            let previous = previous.filter(|previous| !is_here && entry_cost(previous) <= room);
            room -= previous.as_ref().map_or(0, entry_cost);
            self.add(Remembered {
                position: Position { revision, changes: number },
                change,
                previous,
                before: None,
                next: None,
            });
        }
        while self.events.len() > HISTORY_EVENTS_MAX || self.bytes > HISTORY_BYTES_MAX {
            if self.events.front().is_none_or(|first| first.position.revision == revision) {
                // Without what was before, whatever has one revision has room.
                self.events.iter_mut().for_each(|event| event.previous = None);
                self.bytes = self.events.iter().map(Remembered::cost).sum();
                return;
            }
            self.forget_first();
        }
    }

    fn add(&mut self, mut event: Remembered) {
        let number = self.first + self.events.len() as u64;
        event.before = self.last.insert(event.change.key().to_vec(), number);
        if let Some(before) = event.before.and_then(|before| self.numbered_mut(before)) {
            before.next = Some(number);
        }
        self.bytes += event.cost();
        self.events.push_back(event);
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    fn numbered_mut(&mut self, number: u64) -> Option<&mut Remembered> {
        self.index(number).and_then(|index| self.events.get_mut(index))
    }

    fn forget_first(&mut self) {
        let Some(revision) = self.events.front().map(|event| event.position.revision) else { return };
        let count = self.events.partition_point(|event| event.position.revision <= revision);
        self.first += count as u64;
        for event in self.events.drain(..count).collect::<Vec<_>>() {
            self.oldest = event.position;
            self.bytes -= event.cost();
            match event.next {
                Some(next) => self.hand_on(event.change, next),
                None => drop(self.last.remove(event.change.key())),
            }
        }
    }

    /// What a change made of its key is what the next one was made from.
    fn hand_on(&mut self, change: Change, next: u64) {
        let previous = match change {
            Change::Put(entry) => Some(entry),
            Change::Deleted { .. } => None,
        };
        let bytes = previous.as_ref().map_or(0, entry_cost);
        if let Some(next) = self.numbered_mut(next) {
            next.before = None;
            next.previous = previous;
            self.bytes += bytes;
        }
    }

    fn previous<'a>(&'a self, event: &'a Remembered) -> Option<&'a KeyValue> {
        let Some(before) = event.before else { return event.previous.as_ref() };
        match &self.events.get(self.index(before)?)?.change {
            Change::Put(entry) => Some(entry),
            Change::Deleted { .. } => None,
        }
    }

    /// Where in the list the changes behind a position begin; or behind which revision all are remembered.
    fn behind(&self, after: Position) -> Result<usize, Revision> {
        // Also a position within the revision that was forgotten last: what has that revision behind it is not here.
        if after < self.oldest {
            return Err(self.oldest.revision);
        }
        Ok(self.events.partition_point(|event| event.position <= after))
    }

    /// Whether something in a range has changed behind a revision, or that is not remembered; and how much was looked at.
    pub fn has_changed(&self, range: &Range, after: Revision) -> (bool, usize) {
        let Ok(first) = self.behind(Position { revision: after, changes: u32::MAX }) else { return (true, 0) };
        let changed = self.events.iter().skip(first).any(|event| range.contains(event.change.key()));
        (changed, self.events.len() - first)
    }

    /// What has changed in a range behind a position.
    ///
    /// # Errors
    /// The revision behind which all is remembered, if it is a later one.
    pub fn changes(&self, range: &Range, after: Position, limit: u32, previous: bool) -> Result<Part, Revision> {
        let first = self.behind(after)?;
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let (mut part, mut bytes) = (Part { events: Vec::new(), upto: after, more: false, looked_at: 0 }, 0);
        for event in self.events.iter().skip(first) {
            part.looked_at += 1;
            if range.contains(event.change.key()) {
                let was = if previous { self.previous(event) } else { None };
                bytes += change_cost(&event.change) + was.map_or(0, entry_cost);
                if part.events.len() >= limit || bytes > READ_BYTES_MAX && !part.events.is_empty() {
                    part.more = true;
                    break;
                }
                let (position, change) = (event.position, event.change.clone());
                part.events.push(Event { position, change, previous: was.cloned() });
            }
            part.upto = event.position;
        }
        Ok(part)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    #[cfg(test)]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Remembered {
    fn cost(&self) -> u64 {
        change_cost(&self.change) + self.previous.as_ref().map_or(0, entry_cost)
    }
}

impl BorshSerialize for History {
    fn serialize<W: std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        (self.first, self.oldest, &self.events).serialize(writer)
    }
}

impl BorshDeserialize for History {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        let (first, oldest, events): (u64, Position, VecDeque<Remembered>) =
            BorshDeserialize::deserialize_reader(reader)?;
        let mut history = History { first, oldest, ..History::default() };
        events.into_iter().for_each(|event| history.add(event));
        Ok(history)
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
