//! The leader's part: relay, keep, repair.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringfort_kernel::Budget;

use crate::data::{DEPARTED_MAX, DataFrame, FrameKind, Shape};
use crate::delivery::heads::Heads;
use crate::delivery::history::History;
use crate::delivery::owing::Owing;
use crate::delivery::{
    Channel, Head, LIVE_BYTES_MAX, REPAIR_BYTES_MAX, RepairRequest, Since, StreamKey, Tail, numbers_of,
};
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
    heads: Heads,
    owing: Owing,
    budgets: BTreeMap<MemberId, Budget>,
    departing: BTreeMap<MemberId, Time>,
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
            heads: Heads::default(),
            owing: Owing::default(),
            budgets: BTreeMap::new(),
            departing: BTreeMap::new(),
        }
    }

    /// A frame over the link of member `from`.
    pub fn on_frame(&mut self, now: Time, from: &MemberId, frame: &Bytes) -> RelayAction {
        match DataFrame::parse(frame) {
            Ok(frame) => self.on_parsed(now, from, &frame),
            Err(_) => RelayAction::Ignore(Some(Fault::Malformed)),
        }
    }

    /// As [`Relay::on_frame`], for a frame whose header was read before.
    pub fn on_parsed(&mut self, now: Time, from: &MemberId, frame: &DataFrame) -> RelayAction {
        if !self.shape.fits(frame) {
            return RelayAction::Ignore(Some(Fault::Malformed));
        }
        if frame.header().sender != *from {
            return RelayAction::Ignore(Some(Fault::BadData));
        }
        self.note_heads(from, frame);
        let audience = match &frame.header().kind {
            FrameKind::Multicast { .. } | FrameKind::Mark { .. } => Audience::Group,
            FrameKind::Private { to } => Audience::Only(to.names()),
            FrameKind::PrivateMark { to, .. } => Audience::Only(vec![to.clone()]),
        };
        if let FrameKind::Multicast { service: Service::BestEffort, .. } = frame.header().kind {
            let live = frame.bytes().len() <= LIVE_BYTES_MAX;
            return if live { RelayAction::ForwardLive(audience) } else { RelayAction::Forward(audience) };
        }
        let numbers = numbers_of(frame);
        self.owing.on_frame(now, &numbers);
        if let Some(kept) = numbers.iter().find_map(|(stream, seq)| self.history.get(stream, *seq)) {
            // One number, one message: only a deviating sender makes two.
            let fault = (kept.frame != *frame.bytes()).then_some(Fault::Equivocated);
            return RelayAction::Ignore(fault);
        }
        // A copy: frames that arrived together share a buffer, which one kept frame would hold.
        self.history.insert(now, Bytes::copy_from_slice(frame.bytes()), numbers);
        RelayAction::Forward(audience)
    }

    /// A frame tells how far its streams go, whatever becomes of it.
    fn note_heads(&mut self, from: &MemberId, frame: &DataFrame) {
        let after = |seq: Seq| Seq(seq.0.saturating_add(1));
        let in_view = Since::View(frame.header().view);
        match &frame.header().kind {
            FrameKind::Multicast { service: Service::BestEffort, .. } => {}
            FrameKind::Multicast { service, seq, view_start } => {
                self.heads.on_frame(from, Channel::Group(*service), (in_view, *view_start), after(*seq));
            }
            FrameKind::Mark { service, view_start, next } => {
                self.heads.on_frame(from, Channel::Group(*service), (in_view, *view_start), *next);
            }
            FrameKind::Private { to } => {
                for r in to.iter() {
                    self.heads.on_frame(from, Channel::Private(r.user.clone()), (Since::Unsaid, r.start), after(r.seq));
                }
            }
            FrameKind::PrivateMark { to, start, next } => {
                self.heads.on_frame(from, Channel::Private(to.clone()), (Since::Unsaid, *start), *next);
            }
        }
    }

    /// A member says, over its own link, how far its streams go; and, at the end, that this was all.
    pub fn on_heads(&mut self, from: &MemberId, heads: Vec<Head>, complete: bool) {
        heads.into_iter().for_each(|head| self.heads.on_head(from, head));
        if complete {
            self.heads.on_complete(from);
        }
    }

    /// Whether a member is gone and its frames are still served.
    pub fn is_departing(&self, member: &MemberId) -> bool {
        self.departing.contains_key(member)
    }

    /// How far streams go that a user may know of, as far as it changed since a version of what this leader knows; and the
    /// version that this takes the user to.
    ///
    /// Of those who have said nothing, as far as this was known at version `came`; of where streams began before, as far as
    /// the user does not know it from version `whole`.
    pub fn heads_since(&self, version: u64, (came, whole): (u64, u64), to: &UserName) -> (Vec<Tail>, u64) {
        self.heads.since(version, (came, whole), to)
    }

    /// The newest version of what this leader knows of how far streams go.
    pub fn heads_version(&self) -> u64 {
        self.heads.version()
    }

    /// All that this leader knows of how far one member's streams go.
    pub fn tails_of(&self, member: &MemberId) -> Vec<Tail> {
        self.heads.of(member)
    }

    /// The numbers of a frame under which its sender awaits an acknowledgement; `None` for what is not repaired.
    pub fn place_of(frame: &DataFrame) -> Option<(Channel, Seq)> {
        match &frame.header().kind {
            FrameKind::Multicast { service, seq, .. } if *service != Service::BestEffort => {
                Some((Channel::Group(*service), *seq))
            }
            FrameKind::Private { to } => to.iter().next().map(|r| (Channel::Private(r.user.clone()), r.seq)),
            _ => None,
        }
    }

    /// What the sender is to be asked for now, of what is missing here: it is not asked again and again.
    pub fn ask_sender(&mut self, now: Time, wanted: &RepairRequest) -> Option<RepairRequest> {
        self.owing.ask(now, wanted)
    }

    /// Members that do not supply what they say they have: they make holes for others to look for.
    pub fn withheld(&mut self, now: Time) -> Vec<MemberId> {
        let heads = &self.heads;
        self.owing.withheld(now, |stream, seq| heads.can_be_sent_again(stream).contains(&seq.0))
    }

    /// A member is out of reach.
    pub fn on_link_down(&mut self, member: &MemberId) {
        self.owing.forget(member);
    }

    /// Member `by` asks for frames again. It gets private frames only if they are to it.
    pub fn on_repair(&mut self, now: Time, by: &MemberId, request: &RepairRequest) -> RepairAnswer {
        let mut answer = RepairAnswer::default();
        let stream = request.stream();
        let allowed = match &stream.channel {
            Channel::Group(service) => *service != Service::BestEffort,
            Channel::Private(to) => *to == by.user,
        };
        if !allowed || !self.spend(now, by, REQUEST_BYTES) {
            return answer;
        }
        let mut bytes = 0;
        let mut missing = Vec::new();
        for seq in request.numbers() {
            let Some(kept) = self.history.get(stream, Seq(seq)) else {
                missing.push(seq);
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
            answer.wanted = self.wanted(stream, missing);
        }
        answer
    }

    /// Of what is missing, what its sender says it still has: nobody is asked for what it never sent.
    fn wanted(&self, stream: &StreamKey, missing: Vec<u64>) -> Option<RepairRequest> {
        let there = self.heads.can_be_sent_again(stream);
        RepairRequest::for_numbers(stream.clone(), missing.into_iter().filter(|seq| there.contains(seq)))
    }

    /// A member is gone: its frames are served until `keep_until`, and nothing is asked of it any more.
    pub fn forget(&mut self, member: &MemberId, keep_until: Time) {
        self.budgets.remove(member);
        self.owing.forget(member);
        self.departing.insert(member.clone(), keep_until);
        if self.departing.len() > DEPARTED_MAX {
            let first = self.departing.iter().min_by_key(|(_, until)| **until).map(|(id, _)| id.clone());
            first.iter().for_each(|id| self.drop_member(id));
        }
    }

    /// A stay has other keys than it had: another program of the same user holds it, whose streams begin anew.
    pub fn begin_anew(&mut self, member: &MemberId) {
        self.budgets.remove(member);
        self.owing.forget(member);
        self.drop_member(member);
    }

    /// Drops the frames of members gone for long enough.
    pub fn expire(&mut self, now: Time) {
        let over: Vec<_> =
            self.departing.iter().filter(|(_, until)| **until <= now).map(|(id, _)| id.clone()).collect();
        over.iter().for_each(|member| self.drop_member(member));
        // A full budget is as good as a new one.
        self.budgets.retain(|_, budget| budget.left(now) < BUDGET_BYTES);
    }

    /// When [`Relay::expire`] next has something to do.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.departing.values().map(|until| Some(*until)).fold(None, earliest)
    }

    fn drop_member(&mut self, member: &MemberId) {
        self.history.forget(member);
        self.heads.forget(member);
        self.departing.remove(member);
    }

    fn spend(&mut self, now: Time, by: &MemberId, bytes: u64) -> bool {
        let budget = self.budgets.entry(by.clone()).or_insert_with(|| Budget::new(now, BUDGET_BYTES, BUDGET_BYTES));
        budget.take(now, bytes)
    }

    /// Frames kept for repair, and what they take, bytes.
    pub fn size(&self) -> (usize, usize) {
        self.history.size()
    }

    #[cfg(test)]
    pub(super) fn kept_for_tests(&self, stream: &StreamKey) -> usize {
        (1..10_000).filter(|seq| self.history.get(stream, Seq(*seq)).is_some()).count()
    }
}
