//! Who waits for what.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_protocol::UserName;

use super::{Range, Revision};

/// What is waited for, by the place of the request.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    by_place: BTreeMap<u64, Wait>,
    /// Follow from the others. Those of which the revision is still to come are in no index.
    by_slot: BTreeMap<(UserName, u8), u64>,
    future: BTreeSet<(Revision, u64)>,
    index: Index,
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Wait {
    pub user: UserName,
    pub slot: u8,
    pub range: Range,
    pub after: Revision,
}

/// How it is looked up says nothing of what is waited for.
impl PartialEq for Waits {
    fn eq(&self, other: &Self) -> bool {
        self.by_place == other.by_place
    }
}

impl Eq for Waits {}

impl Waits {
    /// Returns the place of what was waited for in the same slot.
    pub fn take_slot(&mut self, user: &UserName, slot: u8) -> Option<u64> {
        let place = self.by_slot.get(&(user.clone(), slot)).copied()?;
        self.forget(place);
        Some(place)
    }

    pub fn insert(&mut self, place: u64, wait: Wait) {
        self.by_slot.insert((wait.user.clone(), wait.slot), place);
        self.future.insert((wait.after, place));
        self.by_place.insert(place, wait);
    }

    pub fn forget(&mut self, place: u64) {
        let Some(wait) = self.by_place.remove(&place) else { return };
        if !self.future.remove(&(wait.after, place)) {
            self.index.remove(&wait.range, place);
        }
        // Another may have taken the slot.
        let slot = (wait.user, wait.slot);
        if self.by_slot.get(&slot) == Some(&place) {
            self.by_slot.remove(&slot);
        }
    }

    /// Keys have changed, which are in their order: whoever waited for one of them waits no more.
    pub fn on_changed(&mut self, revision: Revision, keys: &[&[u8]]) -> Vec<u64> {
        while let Some((after, place)) = self.future.first().copied().filter(|(after, _)| *after < revision) {
            self.future.remove(&(after, place));
            let range = self.by_place.get(&place).map(|wait| &wait.range);
            range.into_iter().for_each(|range| self.index.insert(range, place));
        }
        let mut met = self.index.met(keys).0;
        met.sort_unstable();
        met.iter().for_each(|place| self.forget(*place));
        met
    }
}

/// The most ranges in one block.
const BLOCK_MAX: usize = 64;

/// Ranges by where they begin, in blocks: a change looks only into blocks that reach so far, and of those that have no range with
/// its key there is one at most.
#[derive(Clone, Debug, Default)]
struct Index {
    blocks: Vec<Block>,
}

#[derive(Clone, Debug, Default)]
struct Block {
    /// By start and place; where each ends.
    ranges: BTreeMap<(Vec<u8>, u64), Reach>,
    furthest: Reach,
}

/// Up to where a range reaches: before a key, or to the last one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Before(Vec<u8>),
    Last,
}

impl Default for Reach {
    fn default() -> Self {
        Reach::Before(Vec::new())
    }
}

impl Reach {
    fn of(range: &Range) -> Self {
        range.end_key().map_or(Reach::Last, Reach::Before)
    }

    fn is_behind(&self, key: &[u8]) -> bool {
        match self {
            Reach::Before(end) => key < end.as_slice(),
            Reach::Last => true,
        }
    }
}

impl Block {
    fn first(&self) -> Option<&(Vec<u8>, u64)> {
        self.ranges.keys().next()
    }

    fn measure(&mut self) {
        self.furthest = self.ranges.values().max().cloned().unwrap_or_default();
    }
}

impl Index {
    /// The block in which a range lies or would lie.
    fn of(&mut self, at: &(Vec<u8>, u64)) -> Option<(usize, &mut Block)> {
        let behind = self.blocks.partition_point(|block| block.first().is_some_and(|first| first <= at));
        let number = behind.saturating_sub(1);
        self.blocks.get_mut(number).map(|block| (number, block))
    }

    fn insert(&mut self, range: &Range, place: u64) {
        let (at, reach) = ((range.start.clone(), place), Reach::of(range));
        if self.blocks.is_empty() {
            self.blocks.push(Block::default());
        }
        let Some((number, block)) = self.of(&at) else { return };
        block.furthest = block.furthest.clone().max(reach.clone());
        block.ranges.insert(at, reach);
        if block.ranges.len() <= BLOCK_MAX {
            return;
        }
        let Some(middle) = block.ranges.keys().nth(BLOCK_MAX / 2).cloned() else { return };
        let mut rest = Block { ranges: block.ranges.split_off(&middle), furthest: Reach::default() };
        block.measure();
        rest.measure();
        self.blocks.insert(number + 1, rest);
    }

    fn remove(&mut self, range: &Range, place: u64) {
        let at = (range.start.clone(), place);
        let Some((number, block)) = self.of(&at) else { return };
        let reach = block.ranges.remove(&at);
        if block.ranges.is_empty() {
            self.blocks.remove(number);
        } else if reach.as_ref() == Some(&block.furthest) {
            block.measure();
        }
    }

    /// The places of ranges that have one of these keys, which are in their order; and how many blocks and ranges were looked at.
    fn met(&self, keys: &[&[u8]]) -> (Vec<u64>, usize) {
        let (mut met, mut looked_at) = (Vec::new(), 0);
        let has_key = |start: &[u8], reach: &Reach| {
            let next = keys.partition_point(|key| *key < start);
            keys.get(next).is_some_and(|key| reach.is_behind(key))
        };
        for block in &self.blocks {
            looked_at += 1;
            let Some((start, _)) = block.first() else { continue };
            if has_key(start, &block.furthest) {
                looked_at += block.ranges.len();
                let has_key = |((start, _), reach): &(&(Vec<u8>, u64), &Reach)| has_key(start, reach);
                met.extend(block.ranges.iter().filter(has_key).map(|((_, place), _)| *place));
            }
        }
        (met, looked_at)
    }
}

impl BorshSerialize for Waits {
    fn serialize<W: std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        self.by_place.serialize(writer)
    }
}

impl BorshDeserialize for Waits {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        let by_place: BTreeMap<u64, Wait> = BorshDeserialize::deserialize_reader(reader)?;
        let mut waits = Waits::default();
        by_place.into_iter().for_each(|(place, wait)| waits.insert(place, wait));
        Ok(waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: u64) -> Vec<u8> {
        format!("{value:05}").into_bytes()
    }

    /// Numbers that look like chance.
    fn next(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed >> 33
    }

    #[test]
    fn the_index_finds_what_looking_at_all_finds() {
        let (mut index, mut all, mut seed) = (Index::default(), BTreeMap::new(), 1);
        for place in 0..6000 {
            let (start, length) = (next(&mut seed) % 1000, next(&mut seed) % 50);
            let range = match next(&mut seed) % 8 {
                0 => Range::key(&number(start)),
                1 => Range::from(&number(start + 900)),
                2 => Range::between(&number(start), &number(start / 2)),
                3 => Range::prefix(&number(start)[..3]),
                _ => Range::between(&number(start), &number(start + length)),
            };
            index.insert(&range, place);
            all.insert(place, range);
            if place % 3 > 0 {
                let gone = *all.keys().nth(next(&mut seed) as usize % all.len()).unwrap();
                index.remove(&all.remove(&gone).unwrap(), gone);
            }
            if place % 20 == 0 {
                let mut keys: Vec<Vec<u8>> = (0..1 + place % 4).map(|_| number(next(&mut seed) % 1100)).collect();
                keys.sort();
                let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let mut met = index.met(&keys).0;
                met.sort_unstable();
                let naive = all.iter().filter(|(_, range)| keys.iter().any(|key| range.contains(key)));
                assert_eq!(met, naive.map(|(place, _)| *place).collect::<Vec<_>>(), "at {place}");
            }
        }
        assert!(all.len() > 1000 && index.blocks.len() > 20);
    }

    #[test]
    fn a_change_looks_at_few_of_what_others_wait_for() {
        let mut index = Index::default();
        for place in 0..2048 {
            index.insert(&Range::between(&number(place * 2), &number(place * 2 + 1)), place);
        }
        for key in [b"00777".as_slice(), b"00778", b"99999", b""] {
            let (met, looked_at) = index.met(&[key]);
            assert!(met.len() <= 1 && looked_at < 200, "{looked_at}");
        }
    }

    #[test]
    fn what_is_waited_for_in_the_future_is_found_then() {
        let mut waits = Waits::default();
        let wait = |slot, after| Wait { user: "ana".parse().unwrap(), slot, range: Range::all(), after };
        waits.insert(1, wait(0, 5));
        waits.insert(2, wait(1, u64::MAX));
        assert_eq!(waits.on_changed(5, &[b"a"]), []);
        assert_eq!(waits.on_changed(6, &[b"a"]), [1]);
        assert_eq!(waits.index.blocks.len(), 0, "what never comes is not looked at");
        waits.forget(2);
        assert_eq!(waits, Waits::default());
    }
}
