//! A receipt: the part of a log that answers for one moment, to be checked with the group file alone.

use borsh::BorshDeserialize;

use super::audit::{Audited, Why, verify};
use super::record::{Head, Log, Opening, Refused, Segment, What};
use super::timeline::Answer;
use crate::codec::encode;
use crate::group::GroupInfo;
use crate::ids::UserName;

const MAGIC: &[u8; 19] = b"ringfort receipt 1\n";

/// Who could read at one moment, with the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The moment: Unix time, milliseconds.
    pub at_ms: u64,
    /// About whom it was asked for, if about one user.
    pub user: Option<UserName>,
    log: Vec<u8>,
}

impl Receipt {
    /// Makes one; `None` if the log does not cover the moment.
    ///
    /// It holds the views around the moment, and as many more as it takes for it to say what the whole log says.
    pub fn new(audited: &Audited<'_>, at_ms: u64, user: Option<UserName>) -> Option<Self> {
        let answer = audited.who(at_ms)?;
        let place = |seen| audited.views.iter().position(|view| view == seen);
        let (mut first, mut last) = (place(answer.views.first()?)?, place(answer.views.last()?)?);
        loop {
            let log = audited.excerpt(first, last)?;
            let all = first == 0 && last + 1 >= audited.views.len();
            let same = verify(&log, audited.group).ok().and_then(|part| part.who(at_ms)).is_some_and(|part| {
                let ids = |answer: &Answer| answer.views.iter().map(|seen| seen.view).collect::<Vec<_>>();
                ids(&part) == ids(&answer)
            });
            if same || all {
                return same.then(|| Receipt { at_ms, user, log: log.to_bytes() });
            }
            (first, last) = (first.saturating_sub(1), (last + 1).min(audited.views.len() - 1));
        }
    }

    /// As in a file: what is asked, and then the log up to the end.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&MAGIC[..], &encode(&(self.at_ms, &self.user)), &self.log].concat()
    }

    /// Reads a receipt; nothing is checked but its shape.
    ///
    /// # Errors
    /// [`Refused`]: not a receipt, or malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Refused> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(Refused { record: 0, why: Why::NotALog })?;
        let asked = BorshDeserialize::deserialize(&mut rest);
        let (at_ms, user) = asked.map_err(|_| Refused { record: 0, why: Why::Malformed })?;
        Ok(Receipt { at_ms, user, log: rest.to_vec() })
    }

    /// Whether a file says that it is a receipt.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Checks everything there is to check and gives the answer; `None` where its part of the log says nothing of
    /// the moment.
    ///
    /// # Errors
    /// [`Refused`]: the first thing that is wrong.
    pub fn verify(&self, group: &GroupInfo) -> Result<Option<Answer>, Refused> {
        let log = Log::from_bytes(&self.log)?;
        Ok(verify(&log, group)?.who(self.at_ms))
    }
}

impl Audited<'_> {
    /// The part from one view to the entries of another and the beginning of the next: a log again.
    pub fn excerpt(&self, first: usize, last: usize) -> Option<Log> {
        let (start, end) = (self.views.get(first)?, self.views.get(last)?);
        let mut segments = Vec::new();
        for (place, segment) in self.log.segments.iter().enumerate() {
            if place < start.segment || place > end.segment {
                continue;
            }
            let from = if place == start.segment { start.entry } else { 0 };
            let to = if place == end.segment { self.end_of(segment, end.entry) } else { segment.entries.len() };
            let entries = segment.entries.get(from..to)?.to_vec();
            let mut opening = segment.opening.clone();
            if from > 0 {
                let members = self.members_of(start).into_values().collect();
                let previous = entries.first().map_or(Head::default(), |entry| entry.previous);
                opening = Opening { members, previous, ..opening };
            }
            segments.push(Segment { opening, entries });
        }
        // The view that ends the last one may begin the next segment.
        let next = self.views.get(last + 1).filter(|next| next.segment > end.segment);
        let next = next.and_then(|next| self.log.segments.get(next.segment));
        segments.extend(next.map(|segment| Segment {
            opening: segment.opening.clone(),
            entries: segment.entries.iter().take(self.end_of_view(segment, 0)).cloned().collect(),
        }));
        Some(Log { segments })
    }

    /// One past the entries that belong to the view after the one at `entry`, or the end.
    fn end_of(&self, segment: &Segment, entry: usize) -> usize {
        let next = self.end_of_view(segment, entry);
        self.end_of_view(segment, next)
    }

    /// One past the entries that belong to the view at `entry`.
    fn end_of_view(&self, segment: &Segment, entry: usize) -> usize {
        let mut after = segment.entries.iter().enumerate().skip(entry + 1);
        after.find(|(_, e)| matches!(e.what, What::View { .. })).map_or(segment.entries.len(), |(place, _)| place)
    }
}
