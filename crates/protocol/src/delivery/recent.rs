//! What a receiver keeps of the messages it took, to notice a sender that made two under one number (A18).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::data::DataFrame;
use crate::delivery::StreamKey;
use crate::ids::{LeaderId, MemberId, Seq, ViewDigest};
use crate::time::Time;

/// Frames and bytes that are kept.
const KEPT_MAX: usize = 512;
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Other copies of one relay are looked at no more often: each may cost a signature's check.
const LOOK_SPACING: Duration = Duration::from_millis(100);

/// The frames taken last.
#[derive(Debug, Default)]
pub(super) struct Recent {
    frames: BTreeMap<(StreamKey, Seq), (ViewDigest, Bytes)>,
    order: VecDeque<(StreamKey, Seq)>,
    bytes: usize,
    looked: BTreeMap<LeaderId, Time>,
}

impl Recent {
    /// Keeps an authentic frame.
    pub fn keep(&mut self, stream: &StreamKey, seq: Seq, frame: &DataFrame) {
        let number = (stream.clone(), seq);
        // A copy: frames that arrived together share a buffer, which one kept frame would hold.
        let kept = Bytes::copy_from_slice(frame.bytes());
        self.bytes += kept.len();
        if let Some((_, old)) = self.frames.insert(number.clone(), (frame.header().view, kept)) {
            self.bytes -= old.len();
        } else {
            self.order.push_back(number);
        }
        while self.frames.len() > KEPT_MAX || self.bytes > KEPT_BYTES_MAX {
            let Some((_, old)) = self.order.pop_front().and_then(|number| self.frames.remove(&number)) else { return };
            self.bytes -= old.len();
        }
    }

    /// Drops the frames of a member.
    pub fn forget(&mut self, member: &MemberId) {
        let of = |number: &(StreamKey, Seq)| number.0.sender == *member;
        self.order.retain(|number| !of(number));
        let bytes = &mut self.bytes;
        self.frames.retain(|number, (_, frame)| {
            *bytes -= if of(number) { frame.len() } else { 0 };
            !of(number)
        });
    }

    /// The frame that another one under the same number conflicts with, if it is time to look at one of this relay.
    pub fn conflicting(
        &mut self,
        now: Time,
        from: LeaderId,
        number: (StreamKey, Seq),
        other: &DataFrame,
    ) -> Option<Bytes> {
        let (view, first) = self.frames.get(&number)?;
        if *view != other.header().view || first == other.bytes() {
            return None;
        }
        if self.looked.get(&from).is_some_and(|at| now.since(*at) < LOOK_SPACING) {
            return None;
        }
        self.looked.insert(from, now);
        Some(first.clone())
    }
}
