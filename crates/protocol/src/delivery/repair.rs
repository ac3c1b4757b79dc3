//! What is asked for again.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};

use super::StreamKey;
use crate::data::SEQ_MAX;
use crate::ids::{Seq, invalid};

/// The most numbers one repair request names.
pub const REPAIR_SPAN_MAX: u64 = 256;

/// The most ranges one repair request names.
pub const REPAIR_RANGES_MAX: usize = 64;

/// Asks for messages of one stream again: a few ranges of numbers, at most [`REPAIR_SPAN_MAX`] numbers together.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct RepairRequest {
    stream: StreamKey,
    ranges: Vec<(Seq, Seq)>,
}

impl RepairRequest {
    /// One range, both ends included. `None` if it is empty or too long.
    pub fn new(stream: StreamKey, first: Seq, last: Seq) -> Option<Self> {
        RepairRequest::of(stream, vec![(first, last)])
    }

    /// Several ranges, both ends included. `None` for none, too many, empty or too long ones, and such that are not in
    /// order or overlap.
    pub fn of(stream: StreamKey, ranges: Vec<(Seq, Seq)>) -> Option<Self> {
        let sound = |(first, last): &(Seq, Seq)| 1 <= first.0 && first <= last && last.0 <= SEQ_MAX;
        let ordered = ranges.iter().zip(ranges.iter().skip(1)).all(|((_, last), (first, _))| last < first);
        if ranges.is_empty() || ranges.len() > REPAIR_RANGES_MAX || !ordered || !ranges.iter().all(sound) {
            return None;
        }
        let numbers = ranges.iter().fold(0u64, |sum, (first, last)| sum.saturating_add(last.0 - first.0 + 1));
        (numbers <= REPAIR_SPAN_MAX).then_some(RepairRequest { stream, ranges })
    }

    /// The request for some numbers in rising order; `None` for none.
    pub(super) fn for_numbers(stream: StreamKey, numbers: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut ranges: Vec<(Seq, Seq)> = Vec::new();
        for number in numbers {
            let full = ranges.len() >= REPAIR_RANGES_MAX;
            match ranges.last_mut() {
                Some((_, last)) if last.0 + 1 == number => last.0 = number,
                _ if full => break,
                _ => ranges.push((Seq(number), Seq(number))),
            }
        }
        RepairRequest::of(stream, ranges)
    }

    /// Of which stream.
    pub fn stream(&self) -> &StreamKey {
        &self.stream
    }

    /// What is missing, in rising order, both ends of each range included.
    pub fn ranges(&self) -> &[(Seq, Seq)] {
        &self.ranges
    }

    /// The numbers asked for, never more than the bound.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.ranges.iter().flat_map(|(first, last)| first.0..=last.0)
    }
}

impl BorshDeserialize for RepairRequest {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let stream = StreamKey::deserialize_reader(reader)?;
        let count = usize::try_from(u32::deserialize_reader(reader)?).map_err(|_| invalid("repair ranges"))?;
        if count > REPAIR_RANGES_MAX {
            return Err(invalid("repair ranges"));
        }
        let ranges = (0..count).map(|_| <(Seq, Seq)>::deserialize_reader(reader)).collect::<io::Result<_>>()?;
        RepairRequest::of(stream, ranges).ok_or_else(|| invalid("repair ranges"))
    }
}
