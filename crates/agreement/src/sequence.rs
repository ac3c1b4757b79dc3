//! The log: what committed blocks have before them, in one order.
//!
//! Each committed block brings its history that is not in the log yet, sorted by round, author and hash. How far back it
//! reaches is counted from the block committed *before* it, so it is the same at every leader; and whatever a quorum of
//! the next round names is in the history of the first block committed two rounds later, above that floor. So a block that
//! was delivered as reliable before it had its place is never lost to clean-up.
//!
//! An equivocator's blocks for one round may all be in the log. To take only the first of them would be wrong: the other
//! one may be what was delivered as reliable.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_kernel::codec;

use crate::block::Sealed;
use crate::dag::Dag;
use crate::ids::{Author, Digest, Reference, Slot};
use crate::limits::HISTORY_ROUNDS;
use crate::rules::{Rule, Rules};

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log, from 0.
    pub index: u64,
    /// The committed block that brought it, counted from 1.
    pub position: u64,
    /// The time of that, Unix time in microseconds: between the clocks of honest leaders, and rising with `position`.
    pub time_us: u64,
    /// The block.
    pub block: Sealed,
}

/// What a committed block brought; its entries are the blocks that are behind the log's end from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The block's number among the committed ones, from 1.
    pub position: u64,
    /// The committed block.
    pub block: Reference,
    /// New entries, in order.
    pub entries: Vec<Entry>,
    /// Authors convicted by evidence in the entries, for the first time.
    pub convicted: Vec<Author>,
    /// Whether a checkpoint is due behind it.
    pub checkpoint_due: bool,
}

/// The log's end: all that is needed to go on from it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Log {
    /// Committed blocks so far.
    pub position: u64,
    /// Entries so far.
    pub index: u64,
    /// Hash over all entries and committed blocks so far.
    pub head: Digest,
    /// Time of the last committed block.
    pub time_us: u64,
    /// Round of the last committed block.
    pub round: u64,
    /// The first slot that is not decided.
    pub next: Slot,
    /// Committed blocks and bytes of payload since the last checkpoint was due.
    pub since_checkpoint: (u64, u64),
    /// Equivocators that are on record.
    pub convicted: BTreeSet<Author>,
    /// Blocks above the floor that are in the log, with their authors' clocks.
    pub consumed: BTreeMap<Reference, u64>,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            position: 0,
            index: 0,
            head: Digest::default(),
            time_us: 0,
            round: 0,
            next: Slot { round: 1, index: 0 },
            since_checkpoint: (0, 0),
            convicted: BTreeSet::new(),
            consumed: BTreeMap::new(),
        }
    }
}

/// The lowest place in the order that comes after `slot`, whether or not the round has such a slot.
fn behind(slot: Slot) -> Slot {
    Slot { index: slot.index.saturating_add(1), ..slot }
}

impl Log {
    /// Blocks of rounds up to this come into the log no more.
    pub fn floor(&self) -> u64 {
        self.round.saturating_sub(HISTORY_ROUNDS)
    }

    /// Whether a block is behind the end, or can never come before it.
    pub fn is_past(&self, reference: &Reference) -> bool {
        reference.round <= self.floor() || self.consumed.contains_key(reference)
    }

    /// The slot was decided and brings nothing.
    pub fn skip(&mut self, slot: Slot) {
        self.next = behind(slot);
    }

    /// The block of `slot` is committed. A checkpoint is due after `every` so many committed blocks or bytes of payload.
    pub fn commit(&mut self, dag: &Dag, rules: &Rules, slot: Slot, block: Reference, every: (u64, u64)) -> Committed {
        let floor = if rules.enforces(Rule::CommonFloor) { self.floor() } else { dag.highest().saturating_sub(8) };
        let fresh =
            dag.history(&[block], |reference, _| reference.round > floor && !self.consumed.contains_key(reference));
        self.position += 1;
        let mut sequenced = Vec::new();
        for reference in &fresh {
            let node = dag.get(reference).expect("a history is made of accepted blocks");
            self.consumed.insert(*reference, node.sealed().body().clock_us);
            sequenced.push(node.sealed().clone());
        }
        // A block that two slots of a round commit brings nothing the second time, wherever it is still held.
        let again = fresh.is_empty();
        self.time_us = if again { self.time_us.saturating_add(1) } else { self.time_at(dag, rules, &block) };
        self.head = self.head_after(&block, &sequenced);
        let convicted = self.convict(&sequenced);
        let bytes: usize = sequenced.iter().map(|sealed| sealed.body().payload.len()).sum();
        let checkpoint_due = self.count_to_checkpoint(bytes as u64, every);
        let first = self.index;
        self.index += sequenced.len() as u64;
        let (position, time_us) = (self.position, self.time_us);
        let entry = |(index, block)| Entry { index, position, time_us, block };
        let entries = (first..).zip(sequenced).map(entry).collect();
        (self.next, self.round) = (behind(slot), block.round.max(self.round));
        self.consumed = self.consumed.split_off(&Reference::lowest(self.floor() + 1));
        Committed { position, block, entries, convicted, checkpoint_due }
    }

    /// The lower median of the clocks in the committed block's parents: a quorum's, so between those of honest leaders.
    fn time_at(&self, dag: &Dag, rules: &Rules, block: &Reference) -> u64 {
        let body = dag.get(block).map(|node| node.sealed().body());
        let clock = |parent| self.consumed.get(&parent).copied();
        let mut clocks: Vec<u64> = body.into_iter().flat_map(|body| body.parents()).filter_map(clock).collect();
        clocks.sort_unstable();
        let median = clocks.get(clocks.len().saturating_sub(1) / 2).copied();
        let time = if rules.enforces(Rule::MedianTime) { median } else { body.map(|body| body.clock_us) };
        time.unwrap_or(0).max(self.time_us.saturating_add(1))
    }

    fn head_after(&self, block: &Reference, sequenced: &[Sealed]) -> Digest {
        let names: Vec<Reference> = sequenced.iter().map(Sealed::reference).collect();
        Digest::of("ringfort agreement log v1", &codec::encode(&(self.head, self.time_us, block, names)))
    }

    fn convict(&mut self, sequenced: &[Sealed]) -> Vec<Author> {
        let named = sequenced.iter().flat_map(|sealed| &sealed.body().evidence).map(|evidence| evidence.author);
        named.filter(|author| self.convicted.insert(*author)).collect()
    }

    fn count_to_checkpoint(&mut self, bytes: u64, (slots_every, bytes_every): (u64, u64)) -> bool {
        let (slots, sum) = self.since_checkpoint;
        self.since_checkpoint = (slots + 1, sum.saturating_add(bytes));
        let due = slots + 1 >= slots_every || self.since_checkpoint.1 >= bytes_every;
        if due {
            self.since_checkpoint = (0, 0);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_after_so_many_committed_blocks_or_so_many_bytes() {
        let mut log = Log::default();
        let due = |log: &mut Log, bytes: u64| log.count_to_checkpoint(bytes, (4, 1000));
        assert_eq!([10, 10, 10, 10].map(|bytes| due(&mut log, bytes)), [false, false, false, true]);
        assert_eq!([500, 499, 1, 999].map(|bytes| due(&mut log, bytes)), [false, false, true, false]);
        assert_eq!([1, 1000, u64::MAX, 0].map(|bytes| due(&mut log, bytes)), [true, true, true, false]);
        assert!(due(&mut log, u64::MAX));
    }
}
