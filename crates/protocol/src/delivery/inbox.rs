//! The receiver's part: take each message once, in order, and notice what is missing.

mod ends;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ringfort_kernel::Budget;

use super::claims::Claims;
use crate::data::{DEPARTED_MAX, DataFrame, DataHeader, FrameKind, Identity, Lookup, Opened, Shape, open, signed_by};
use crate::delivery::pending::{BadCopies, Waiting};
use crate::delivery::recent::Recent;
use crate::delivery::stream::{InStream, Told};
use crate::delivery::{Channel, Delivery, InboxEvent, Reading, RepairRequest, StreamKey};
use crate::fault::{Culprit, Fault};
use crate::ids::{LeaderId, MemberId, Seq, ViewDigest};
use crate::policy::{Origin, Policy, Protection, Service};
use crate::rules::{Rule, Rules};
use crate::time::{Time, earliest};
use crate::view::MemberEntry;
use crate::window::ReplayWindow;

/// Bytes of all messages that wait for their turn.
const HELD_TOTAL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Streams of one sender at one receiver: three services and the private one.
const STREAMS_PER_SENDER: usize = 4;

/// Repair requests of one member, and of these for one sender's streams, at once and in a second: fewer than a leader
/// answers. So a sender that leaves out numbers has them looked for at the cost of its own messages.
const REPAIRS_BURST: u64 = 64;
const REPAIRS_PER_S: u64 = 24;
const REPAIRS_BURST_PER_SENDER: u64 = 16;
const REPAIRS_PER_S_PER_SENDER: u64 = 6;

/// The receiving side of one stay of a member.
///
/// Whom it blames, so that the honest never blame the honest:
/// * a relay, at once, for what an honest leader checks before it relays: a frame that is none, lengths
///   that the policy rules out, a private message that is not to this member, what a role forbids;
/// * a relay, as one of two who may be the one and so of no deviation, for a frame that does not open, when an authentic
///   one comes with the very same header and another body: a leader cannot check a seal, and a hacked sender can give two
///   leaders two bodies;
/// * a sender, for a message without a topic, or for two messages of one number, readable or not, only if its signature is
///   on them;
/// * nobody for replays, unknown senders and views, and late copies.
#[derive(Debug)]
pub struct Inbox {
    shape: Shape,
    policy: Policy,
    streams_max: usize,
    streams: BTreeMap<StreamKey, Stream>,
    /// Streams with holes, by when they next have something to do: a wakeup looks at no others.
    troubled: BTreeMap<StreamKey, Time>,
    due: BTreeSet<(Time, StreamKey)>,
    repairs: Budget,
    repairs_by_sender: BTreeMap<MemberId, Budget>,
    /// What leaders say of how far streams go.
    claims: Claims,
    /// Where streams begin for this member, by the word of any one leader.
    earliest: BTreeMap<StreamKey, Seq>,
    /// Expelled: their messages end at once, and no end of theirs is awaited.
    closed: BTreeSet<MemberId>,
    /// Who joined while this member was in: their streams begin at 1.
    seen_joining: BTreeSet<MemberId>,
    /// Whose stay has other keys than it had, since a view of this place: another program's words are none of its.
    renewed: BTreeMap<MemberId, u64>,
    held_bytes: usize,
    waiting: Waiting,
    bad_copies: BadCopies,
    recent: Recent,
}

#[derive(Debug)]
enum Stream {
    BestEffort(Box<ReplayWindow>),
    Repaired(InStream),
}

/// A frame and how it came.
struct Arrival {
    now: Time,
    from: LeaderId,
    frame: DataFrame,
}

/// What a header says to this member.
struct Place {
    key: StreamKey,
    service: Service,
    /// The number of the message, or the next one of a mark.
    seq: Seq,
    is_mark: bool,
    baseline: Seq,
}

impl Inbox {
    /// An inbox that has received nothing.
    pub fn new(policy: &Policy) -> Self {
        let members = usize::try_from(policy.members_max).unwrap_or(usize::MAX);
        Inbox {
            shape: Shape::of(policy),
            policy: policy.clone(),
            streams_max: STREAMS_PER_SENDER.saturating_mul(members.saturating_add(DEPARTED_MAX)),
            streams: BTreeMap::new(),
            troubled: BTreeMap::new(),
            due: BTreeSet::new(),
            repairs: Budget::new(Time::ZERO, REPAIRS_PER_S, REPAIRS_BURST),
            repairs_by_sender: BTreeMap::new(),
            claims: Claims::default(),
            earliest: BTreeMap::new(),
            closed: BTreeSet::new(),
            seen_joining: BTreeSet::new(),
            renewed: BTreeMap::new(),
            held_bytes: 0,
            waiting: Waiting::default(),
            bad_copies: BadCopies::default(),
            recent: Recent::default(),
        }
    }

    /// A frame from a leader. Copies of what was received cost one look-up.
    pub fn on_frame(&mut self, now: Time, from: LeaderId, frame: &Bytes, reading: &mut Reading<'_>) -> Vec<InboxEvent> {
        let mut events = Vec::new();
        match DataFrame::parse(frame) {
            Ok(frame) if self.shape.fits(&frame) => self.accept(Arrival { now, from, frame }, reading, &mut events),
            _ => events.push(blame(from, Fault::Malformed)),
        }
        events
    }

    /// A view has become readable, or the current one: frames that waited for it are read now.
    pub fn on_view_readable(&mut self, now: Time, digest: &ViewDigest, reading: &mut Reading<'_>) -> Vec<InboxEvent> {
        let mut events = Vec::new();
        for (from, frame) in self.waiting.take(now, digest) {
            self.accept(Arrival { now, from, frame }, reading, &mut events);
        }
        events
    }

    /// A member came while this one was already in: all its messages are expected, from the first.
    ///
    /// Of those that were in before, a stream is expected from the first frame's view on.
    pub fn on_joined(&mut self, member: &MemberId) {
        if self.seen_joining.len() < self.streams_max {
            self.seen_joining.insert(member.clone());
        }
    }

    /// A member is expelled: what of it was asked for in vain is told, and nothing more is waited for. Which of its
    /// numbers came stays known until [`Inbox::forget`], so that no copy counts as new.
    pub fn close(&mut self, member: &MemberId) -> Vec<InboxEvent> {
        let mut events = Vec::new();
        for key in self.streams_of(member) {
            self.with_stream(&key, &mut events, InStream::cut_off);
        }
        self.closed.insert(member.clone());
        self.waiting.forget(member);
        events
    }

    /// This member's own stay is over: what still waited will not come. Who leaves of its own will is not told of what was
    /// only just on its way.
    pub fn end(&mut self, leaves: bool) -> Vec<InboxEvent> {
        let mut events = Vec::new();
        for key in self.troubled.keys().cloned().collect::<Vec<_>>() {
            let end = if leaves { InStream::cut_off } else { InStream::give_up_all };
            self.with_stream(&key, &mut events, end);
        }
        events
    }

    fn streams_of(&self, member: &MemberId) -> Vec<StreamKey> {
        let first = StreamKey { sender: member.clone(), channel: Channel::Group(Service::BestEffort) };
        let streams = self.streams.range(first..).map(|(key, _)| key);
        streams.take_while(|key| key.sender == *member).cloned().collect()
    }

    /// When [`Inbox::on_wakeup`] next has something to do.
    pub fn next_wakeup(&self) -> Option<Time> {
        earliest(self.waiting.next_wakeup(), self.due.first().map(|(at, _)| *at))
    }

    /// Asks for what is missing, gives up what nobody supplied, drops what waited too long.
    pub fn on_wakeup(&mut self, now: Time, rules: &Rules) -> Vec<InboxEvent> {
        self.waiting.expire(now);
        let mut events = Vec::new();
        let mut due: Vec<StreamKey> =
            self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| key.clone()).collect();
        // Whose losses have cost least of late comes first.
        let budgets = &mut self.repairs_by_sender;
        due.sort_by_cached_key(|key| Reverse(budgets.get_mut(&key.sender).map_or(u64::MAX, |budget| budget.left(now))));
        for key in due {
            let Some(Stream::Repaired(stream)) = self.streams.get(&key) else { continue };
            let unlimited = !rules.enforces(Rule::RepairBudget);
            let may_ask = unlimited || !stream.would_ask(now) || self.take_repair(now, &key.sender);
            self.with_stream(&key, &mut events, |stream, told| stream.on_wakeup(now, may_ask, told));
        }
        events
    }

    fn take_repair(&mut self, now: Time, sender: &MemberId) -> bool {
        let full = || Budget::new(now, REPAIRS_PER_S_PER_SENDER, REPAIRS_BURST_PER_SENDER);
        let own = self.repairs_by_sender.entry(sender.clone()).or_insert_with(full);
        own.left(now) > 0 && self.repairs.take(now, 1) && own.take(now, 1)
    }

    fn accept(&mut self, arrival: Arrival, reading: &mut Reading<'_>, events: &mut Vec<InboxEvent>) {
        let Arrival { now, from, .. } = arrival;
        let header = arrival.frame.header();
        if header.sender == reading.me.id {
            return;
        }
        let allowed = self.policy.may_send(header) && self.policy.role(&reading.me.id.user).receives();
        let place = self.place(header, reading.me);
        let Some(place) = place.filter(|_| allowed || !reading.rules.enforces(Rule::SenderRole)) else {
            return events.push(blame(from, Fault::BadRelay));
        };
        if !self.is_new(&place) && (place.is_mark || reading.rules.enforces(Rule::DataReplay)) {
            return self.compare(&arrival, place, reading, events);
        }
        let digest = header.view;
        match reading.keyring.lookup(&digest, now) {
            Lookup::Readable if self.is_of_other_keys(&header.sender, &digest, reading) => return,
            Lookup::Readable => {}
            Lookup::Ended => return events.push(blame(from, Fault::OldView)),
            Lookup::Unknown => {
                let sender = header.sender.user.clone();
                if self.waiting.push(now, from, arrival.frame) {
                    events.push(InboxEvent::NeedView(digest, from, sender));
                }
                return;
            }
        }
        let Some(sender) = reading.peers.entry(&header.sender) else {
            if reading.keyring.is_ahead(&digest) {
                // It may have joined with the view that is about to be installed.
                self.waiting.push(now, from, arrival.frame);
            }
            return;
        };
        if let Some(delivery) = self.read(&arrival, &place, sender, reading, events) {
            self.commit(now, from, place, delivery, events);
        }
    }

    /// A frame whose number came before: its sender may have made another message of that number.
    fn compare(
        &mut self,
        Arrival { now, from, frame }: &Arrival,
        place: Place,
        reading: &mut Reading<'_>,
        events: &mut Vec<InboxEvent>,
    ) {
        if place.is_mark {
            return;
        }
        let Some(first) = self.recent.conflicting(*now, *from, (place.key, place.seq), frame) else { return };
        let sender = reading.peers.entry(&frame.header().sender);
        if sender.is_some_and(|sender| signed_by(&self.shape, sender, frame)) {
            events.push(blame_member(&frame.header().sender, Fault::Equivocated));
            if self.policy.expel_on_evidence {
                events.push(InboxEvent::Conflict(first, frame.bytes().clone()));
            }
        }
    }

    /// Authenticates a frame. `None` if it is not its sender's; `Some(None)` if it holds no message.
    fn read(
        &mut self,
        Arrival { now, from, frame }: &Arrival,
        place: &Place,
        sender: &MemberEntry,
        reading: &mut Reading<'_>,
        events: &mut Vec<InboxEvent>,
    ) -> Option<Option<Delivery>> {
        let view = reading.keyring.readable(&frame.header().view, *now)?;
        let opened = open(&self.shape, reading.rules, reading.me, view, sender, frame);
        if opened.is_err() && !place.is_mark {
            self.bad_copies.note(*from, &place.key, place.seq, frame);
        }
        let opened = opened.ok()?;
        let altered = if place.is_mark { Vec::new() } else { self.bad_copies.proven(&place.key, place.seq, frame) };
        self.judge(altered, sender, frame, events);
        if !place.is_mark {
            self.recent.keep(&place.key, place.seq, frame);
        }
        match opened {
            Opened::Mark => Some(None),
            Opened::Unreadable => match self.shape {
                Shape { origin: Origin::Signature, .. } => {
                    events.push(blame_member(&sender.id, Fault::BadData));
                    Some(None)
                }
                Shape { protection: Protection::None, .. } => None,
                _ => Some(None),
            },
            Opened::Message { topic, payload } => {
                // Who cannot read speaks to all receivers, to each under the key of the pair.
                let to_all = !self.policy.role(&sender.id.user).receives();
                let recipients = match &frame.header().kind {
                    FrameKind::Private { to } if !to_all => to.names(),
                    _ => Vec::new(),
                };
                Some(Some(Delivery {
                    sender: sender.id.clone(),
                    view: view.id(),
                    topic,
                    payload,
                    seq: place.seq,
                    service: place.service,
                    private: !recipients.is_empty(),
                    recipients,
                }))
            }
        }
    }

    /// Other bodies came under the header of an authentic frame. If the sender signed one of them too, it made both;
    /// otherwise the relay altered it, or the sender gave that relay another one: nobody can know which.
    fn judge(
        &self,
        altered: Vec<(LeaderId, DataFrame)>,
        sender: &MemberEntry,
        frame: &DataFrame,
        events: &mut Vec<InboxEvent>,
    ) {
        for (from, other) in altered {
            if !signed_by(&self.shape, sender, &other) {
                events.push(blame(from, Fault::Altered));
                continue;
            }
            events.push(blame_member(&sender.id, Fault::Equivocated));
            if self.policy.expel_on_evidence {
                events.push(InboxEvent::Conflict(frame.bytes().clone(), other.bytes().clone()));
            }
        }
    }

    /// Takes an authentic frame's number, and what it holds.
    fn commit(
        &mut self,
        now: Time,
        from: LeaderId,
        place: Place,
        delivery: Option<Delivery>,
        events: &mut Vec<InboxEvent>,
    ) {
        let Place { key, service, seq, is_mark, baseline } = place;
        if !self.streams.contains_key(&key) {
            if self.streams.len() >= self.streams_max {
                return;
            }
            let stream = match service {
                Service::BestEffort => Stream::BestEffort(Box::default()),
                _ => Stream::Repaired(InStream::new(service == Service::Fifo, baseline, from)),
            };
            self.streams.insert(key.clone(), stream);
        }
        match self.streams.get_mut(&key) {
            Some(Stream::BestEffort(window)) => {
                window.accept(seq.0);
                events.extend(delivery.map(InboxEvent::Deliver));
            }
            Some(Stream::Repaired(stream)) if !is_mark && !stream.is_new(seq) => {
                // Only where the replay rule is not in force.
                events.extend(delivery.map(InboxEvent::Deliver));
            }
            _ => self.with_stream(&key, events, |stream, told| {
                stream.relay = from;
                if is_mark {
                    return stream.extend(now, seq, told);
                }
                stream.reach_back(now, baseline, told);
                if stream.is_new(seq) {
                    stream.take(now, seq, delivery, told);
                }
            }),
        }
    }

    /// Lets a repaired stream work, then brings the inbox's accounts up to date.
    fn with_stream(
        &mut self,
        key: &StreamKey,
        events: &mut Vec<InboxEvent>,
        work: impl FnOnce(&mut InStream, &mut Vec<Told>),
    ) {
        let Some(Stream::Repaired(stream)) = self.streams.get_mut(key) else { return };
        let mut told = Vec::new();
        self.held_bytes -= stream.held_bytes();
        work(stream, &mut told);
        while self.held_bytes + stream.held_bytes() > HELD_TOTAL_BYTES_MAX && stream.let_go_newest() {}
        self.held_bytes += stream.held_bytes();
        let (relay, at) = (stream.relay, stream.next_wakeup());
        if self.troubled.get(key).copied() != at {
            if let Some(old) = self.troubled.remove(key) {
                self.due.remove(&(old, key.clone()));
            }
            if let Some(at) = at {
                self.troubled.insert(key.clone(), at);
                self.due.insert((at, key.clone()));
            }
        }
        events.extend(told.into_iter().filter_map(|told| event(key, Some(relay), told)));
    }

    fn is_new(&self, place: &Place) -> bool {
        match self.streams.get(&place.key) {
            None => true,
            Some(Stream::BestEffort(window)) => window.is_new(place.seq.0),
            Some(Stream::Repaired(stream)) if place.is_mark => stream.is_behind(place.seq),
            Some(Stream::Repaired(stream)) => stream.is_new(place.seq),
        }
    }

    /// Where a frame belongs; `None` if it is private and not to this member.
    fn place(&self, header: &DataHeader, me: &Identity) -> Option<Place> {
        let sender = &header.sender;
        let group_baseline = |start| if self.seen_joining.contains(sender) { Seq(1) } else { start };
        let place = |channel, service, seq, is_mark, baseline| {
            Some(Place { key: StreamKey { sender: sender.clone(), channel }, service, seq, is_mark, baseline })
        };
        match &header.kind {
            FrameKind::Multicast { service, seq, view_start } => {
                place(Channel::Group(*service), *service, *seq, false, group_baseline(*view_start))
            }
            FrameKind::Mark { service, next, view_start } => {
                place(Channel::Group(*service), *service, *next, true, group_baseline(*view_start))
            }
            FrameKind::Private { to } => {
                let (_, r) = to.find(&me.id.user)?;
                place(Channel::Private(me.id.user.clone()), Service::Fifo, r.seq, false, r.start)
            }
            FrameKind::PrivateMark { to, start, next } => {
                let channel = (*to == me.id.user).then(|| Channel::Private(to.clone()))?;
                place(channel, Service::Fifo, *next, true, *start)
            }
        }
    }

    #[cfg(test)]
    pub(super) fn held_bytes_for_tests(&self) -> usize {
        self.held_bytes
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, (usize, usize), (usize, usize)) {
        (self.streams.len(), self.waiting.size(), self.bad_copies.size())
    }
}

fn event(key: &StreamKey, relay: Option<LeaderId>, told: Told) -> Option<InboxEvent> {
    Some(match told {
        Told::Deliver(delivery) => InboxEvent::Deliver(delivery),
        Told::Gap { first, count } => InboxEvent::Gap { stream: key.clone(), first, count },
        Told::Ask { attempt, ranges } => InboxEvent::Repair {
            attempt,
            to: relay.filter(|_| attempt == 1),
            request: RepairRequest::of(key.clone(), ranges)?,
        },
    })
}

fn blame(leader: LeaderId, fault: Fault) -> InboxEvent {
    InboxEvent::Blame(Culprit::Leader(leader), fault)
}

fn blame_member(member: &MemberId, fault: Fault) -> InboxEvent {
    InboxEvent::Blame(Culprit::Member(member.clone()), fault)
}
