//! Which keys are meant: one, those with a beginning, or those from one on.

use std::ops::Bound;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_kernel::codec::read_bytes;

use super::{KEY_BYTES_MAX, Refusal};

/// Some keys, in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Range {
    /// The first one that may be in it.
    #[borsh(deserialize_with = "read_bytes")]
    pub start: Vec<u8>,
    /// Where it ends.
    pub end: End,
}

/// Where a range ends.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum End {
    /// With its first key.
    Start = 1,
    /// Before this one.
    Before(#[borsh(deserialize_with = "read_bytes")] Vec<u8>) = 2,
    /// With the last key that there is.
    Last = 3,
}

/// For a map.
type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

impl Range {
    /// One key.
    pub fn key(key: &[u8]) -> Self {
        Range { start: key.to_vec(), end: End::Start }
    }

    /// All keys that begin so.
    pub fn prefix(prefix: &[u8]) -> Self {
        let kept = prefix.iter().rposition(|byte| *byte < u8::MAX).map_or(0, |last| last + 1);
        let mut end = prefix.iter().copied().take(kept).collect::<Vec<u8>>();
        match end.last_mut() {
            Some(last) => *last += 1,
            None => return Range::from(prefix),
        }
        Range { start: prefix.to_vec(), end: End::Before(end) }
    }

    /// All keys from `start` on, and before `end`.
    pub fn between(start: &[u8], end: &[u8]) -> Self {
        Range { start: start.to_vec(), end: End::Before(end.to_vec()) }
    }

    /// All keys from `start` on.
    pub fn from(start: &[u8]) -> Self {
        Range { start: start.to_vec(), end: End::Last }
    }

    /// All keys.
    pub fn all() -> Self {
        Range::from(&[])
    }

    /// The part of it that is behind a key.
    #[must_use]
    pub fn behind(&self, key: &[u8]) -> Self {
        let next = [key, &[0]].concat();
        match &self.end {
            _ if next <= self.start => self.clone(),
            End::Start => Range::between(&self.start, &self.start),
            end => Range { start: next, end: end.clone() },
        }
    }

    /// The shortest range that has all keys of both.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        if self == other {
            return self.clone();
        }
        let end = match (self.end_key(), other.end_key()) {
            (Some(one), Some(other)) => End::Before(one.max(other)),
            _ => End::Last,
        };
        Range { start: self.start.clone().min(other.start.clone()), end }
    }

    /// The first key behind it; `None` if there is none.
    pub(super) fn end_key(&self) -> Option<Vec<u8>> {
        match &self.end {
            End::Start => Some([&self.start, &[0][..]].concat()),
            End::Before(end) => Some(end.clone()),
            End::Last => None,
        }
    }

    /// Whether a key is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Start => key == self.start,
            End::Before(end) => key >= self.start.as_slice() && key < end.as_slice(),
            End::Last => key >= self.start.as_slice(),
        }
    }

    /// Bounds for a map; `None` if no key is in it.
    pub(super) fn bounds(&self) -> Option<Bounds<'_>> {
        let start = self.start.as_slice();
        let end = match &self.end {
            End::Start => Bound::Included(start),
            End::Before(end) if end.as_slice() > start => Bound::Excluded(end.as_slice()),
            End::Before(_) => return None,
            End::Last => Bound::Unbounded,
        };
        Some((Bound::Included(start), end))
    }

    /// Its ends are keys, or lie directly behind one.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let end = match &self.end {
            End::Start => return check_key(&self.start),
            End::Before(end) => end.len(),
            End::Last => 0,
        };
        if self.start.len().max(end) > KEY_BYTES_MAX + 1 { Err(Refusal::Key) } else { Ok(()) }
    }
}

pub(super) fn check_key(key: &[u8]) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX { Err(Refusal::Key) } else { Ok(()) }
}
