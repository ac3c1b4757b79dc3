//! Reading keys: in whatever order, and as much as a reply holds.

use std::cmp::Ordering;

use super::{By, Item, Kv, OperationResult, READ_BYTES_MAX, Read, Shows, Turn, cost};

/// Bytes in one value that are as much work to compare or to copy as one key is to look at.
pub(super) const COMPARED_BYTES: usize = 128;

/// What one reply has room for.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Whether something is in it.
    used: bool,
    bytes: u64,
}

impl Room {
    /// Whether there is room for so much more: there is for one entry, however long.
    pub fn take(&mut self, bytes: u64) -> bool {
        let fits = !self.used || self.bytes + bytes <= READ_BYTES_MAX;
        if fits {
            self.used = true;
            self.bytes += bytes;
        }
        fits
    }
}

type Found<'a> = (&'a Vec<u8>, &'a Item);

impl Kv {
    pub(super) fn read(&self, read: &Read, room: &mut Room, turn: &mut Turn) -> OperationResult {
        let found = read.range.bounds().map(|bounds| self.keys.range::<[u8], _>(bounds));
        let found = found.into_iter().flatten();
        if !read.is_wide() {
            return if read.order.descending {
                shown(read, found.rev(), room, turn)
            } else {
                shown(read, found, room, turn)
            };
        }
        let mut looked_at = 0;
        let is_meant = |(_, item): &Found<'_>| {
            looked_at += 1 + if read.order.by == By::Value { item.value.len() / COMPARED_BYTES } else { 0 };
            read.created.contains(item.created) && read.modified.contains(item.modified)
        };
        let found = found.filter(is_meant);
        if read.shows == Shows::Count {
            let count = found.count() as u64;
            turn.look_at(looked_at);
            return OperationResult::Count(count);
        }
        let mut found: Vec<Found<'_>> = found.collect();
        turn.look_at(looked_at);
        // To sort them takes as many comparisons for each as their number has binary digits.
        turn.look_at(found.len() * (found.len() | 1).ilog2() as usize / 8);
        found.sort_by(|one, other| compared(read, *one, *other));
        shown(read, found.into_iter(), room, turn)
    }
}

/// Keys that are equal in what they are ordered by are in the order of their bytes, in both directions.
fn compared(read: &Read, (one_key, one): Found<'_>, (other_key, other): Found<'_>) -> Ordering {
    let order = match read.order.by {
        By::Key => one_key.cmp(other_key),
        By::Created => one.created.cmp(&other.created),
        By::Modified => one.modified.cmp(&other.modified),
        By::Version => one.version.cmp(&other.version),
        By::Value => one.value.cmp(&other.value),
    };
    let order = if read.order.descending { order.reverse() } else { order };
    order.then_with(|| one_key.cmp(other_key))
}

fn shown<'a>(
    read: &Read,
    mut found: impl Iterator<Item = Found<'a>>,
    room: &mut Room,
    turn: &mut Turn,
) -> OperationResult {
    let limit = usize::try_from(read.limit).unwrap_or(usize::MAX);
    let mut entries = Vec::new();
    let more = loop {
        let Some((key, item)) = found.next() else { break false };
        let value: &[u8] = if read.shows == Shows::Keys { &[] } else { &item.value };
        if entries.len() >= limit || !room.take(cost(key, value)) {
            break true;
        }
        entries.push(item.shown_with(key, value.to_vec()));
    };
    turn.look_at(entries.len());
    OperationResult::Read { entries, more }
}
