//! The leader's part: relay, keep, repair.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::data::{DEPARTED_MAX, DataFrame, FrameKind, Shape};
use crate::delivery::history::History;
use crate::delivery::{Channel, LIVE_BYTES_MAX, REPAIR_BYTES_MAX, RepairRequest, numbers_of};
use crate::fault::Fault;
use crate::ids::{MemberId, Seq, UserName};
use crate::policy::{Policy, Service};
use crate::time::{Time, earliest};

/// What one requester may have repaired at once, and in each second after.
const BUDGET_BYTES: u64 = 2 * 1024 * 1024;

/// What a request costs besides the frames it gets.
const REQUEST_BYTES: u64 = 512;

/// Relays members' frames without reading them (K29), and keeps them for repair (P9).
///
/// Trusts no member with another's name: a frame must name the member whose link it came over. Everything
/// else about it is judged by its receivers, who hold the keys.
#[derive(Debug)]
pub struct Relay {
    shape: Shape,
    history: History,
    budgets: BTreeMap<MemberId, Budget>,
    departing: BTreeMap<MemberId, Time>,
}

#[derive(Debug)]
struct Budget {
    bytes: u64,
    at: Time,
}

/// What to do with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayAction {
    /// Send the same bytes on.
    Forward(Audience),
    /// Send the same bytes on, ahead of the rest: short best effort, which is worth nothing later.
    ForwardLive(Audience),
    /// Drop it, and note the sender's fault if there is one.
    Ignore(Option<Fault>),
}

/// Whom a frame goes to, never its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All other members.
    Group,
    /// These, if they are members.
    Only(Vec<UserName>),
}

/// What a leader has of what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairAnswer {
    /// For the requester.
    pub frames: Vec<Bytes>,
    /// Missing here: to be asked of the sender.
    pub wanted: Option<RepairRequest>,
}

impl Relay {
    /// A relay with an empty history.
    pub fn new(policy: &Policy) -> Self {
        Relay {
            shape: Shape::of(policy),
            history: History::new(policy.history_frames_max, policy.history_bytes_max),
            budgets: BTreeMap::new(),
            departing: BTreeMap::new(),
        }
    }

    /// A frame over the link of member `from`.
    pub fn on_frame(&mut self, now: Time, from: &MemberId, frame: &Bytes) -> RelayAction {
        let Ok(frame) = DataFrame::parse(frame) else {
            return RelayAction::Ignore(Some(Fault::Malformed));
        };
        if !self.shape.fits(&frame) {
            return RelayAction::Ignore(Some(Fault::Malformed));
        }
        if frame.header().sender != *from {
            return RelayAction::Ignore(Some(Fault::BadData));
        }
        let audience = match &frame.header().kind {
            FrameKind::Multicast { .. } | FrameKind::Mark { .. } => Audience::Group,
            FrameKind::Private { to } => Audience::Only(to.names()),
            FrameKind::PrivateMark { to, .. } => Audience::Only(vec![to.clone()]),
        };
        if let FrameKind::Multicast { service: Service::BestEffort, .. } = frame.header().kind {
            let live = frame.bytes().len() <= LIVE_BYTES_MAX;
            return if live { RelayAction::ForwardLive(audience) } else { RelayAction::Forward(audience) };
        }
        let numbers = numbers_of(&frame);
        if let Some(kept) = numbers.iter().find_map(|(stream, seq)| self.history.get(stream, *seq)) {
            // One number, one message: only a deviating sender makes two.
            let fault = (kept.frame != *frame.bytes()).then_some(Fault::Equivocated);
            return RelayAction::Ignore(fault);
        }
        // A copy: frames that arrived together share a buffer, which one kept frame would hold.
        self.history.insert(now, Bytes::copy_from_slice(frame.bytes()), numbers);
        RelayAction::Forward(audience)
    }

    /// Member `by` asks for frames again. It gets private frames only if they are to it.
    pub fn on_repair(&mut self, now: Time, by: &MemberId, request: &RepairRequest) -> RepairAnswer {
        let mut answer = RepairAnswer::default();
        let stream = &request.stream;
        let allowed = match &stream.channel {
            Channel::Group(service) => *service != Service::BestEffort,
            Channel::Private(to) => *to == by.user,
        };
        if !allowed || !self.spend(now, by, REQUEST_BYTES) {
            return answer;
        }
        let mut bytes = 0;
        let mut missing: Option<(u64, u64)> = None;
        for seq in request.numbers() {
            let Some(kept) = self.history.get(stream, Seq(seq)) else {
                missing = Some((missing.map_or(seq, |(first, _)| first), seq));
                continue;
            };
            let frame = kept.frame.clone();
            let length = frame.len();
            let full = !answer.frames.is_empty() && bytes + length > REPAIR_BYTES_MAX;
            if full || !self.spend(now, by, u64::try_from(length).unwrap_or(u64::MAX)) {
                break;
            }
            bytes += length;
            answer.frames.push(frame);
        }
        if !self.departing.contains_key(&stream.sender) {
            answer.wanted = missing.and_then(|(a, b)| RepairRequest::new(stream.clone(), Seq(a), Seq(b)));
        }
        answer
    }

    /// A member is gone: its frames are served until `keep_until`, and nothing is asked of it any more.
    pub fn forget(&mut self, member: &MemberId, keep_until: Time) {
        self.budgets.remove(member);
        self.departing.insert(member.clone(), keep_until);
        if self.departing.len() > DEPARTED_MAX {
            let first = self.departing.iter().min_by_key(|(_, until)| **until).map(|(id, _)| id.clone());
            first.iter().for_each(|id| self.drop_member(id));
        }
    }

    /// Drops the frames of members gone for long enough.
    pub fn expire(&mut self, now: Time) {
        let over: Vec<_> =
            self.departing.iter().filter(|(_, until)| **until <= now).map(|(id, _)| id.clone()).collect();
        over.iter().for_each(|member| self.drop_member(member));
        // After a second of rest a budget is full again, as a new one is.
        self.budgets.retain(|_, budget| now.since(budget.at) < Duration::from_secs(1));
    }

    /// When [`Relay::expire`] next has something to do.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.departing.values().map(|until| Some(*until)).fold(None, earliest)
    }

    fn drop_member(&mut self, member: &MemberId) {
        self.history.forget(member);
        self.departing.remove(member);
    }

    /// Token bucket: [`BUDGET_BYTES`] at once and per second.
    fn spend(&mut self, now: Time, by: &MemberId, bytes: u64) -> bool {
        let budget = self.budgets.entry(by.clone()).or_insert(Budget { bytes: BUDGET_BYTES, at: now });
        let earned = BUDGET_BYTES.saturating_mul(millis(now.since(budget.at))) / 1000;
        if earned > 0 {
            budget.bytes = budget.bytes.saturating_add(earned).min(BUDGET_BYTES);
            budget.at = now;
        }
        let enough = budget.bytes >= bytes;
        if enough {
            budget.bytes -= bytes;
        }
        enough
    }

    /// Frames kept for repair, and what they take, bytes.
    pub fn size(&self) -> (usize, usize) {
        self.history.size()
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
