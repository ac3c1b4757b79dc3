//! The sender's part: number, seal, remember, remind.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ringfort_crypto::CryptoRng;
use ringfort_kernel::Budget;

use crate::data::{
    DataFrame, Identity, Keyring, RECIPIENTS_MAX, Shape, seal_mark, seal_multicast, seal_private, seal_private_mark,
};
use crate::delivery::heads::STARTS_MAX;
use crate::delivery::history::History;
use crate::delivery::underway::{Due, UnderWay};
use crate::delivery::{
    Channel, HEADS_MAX, Head, REPAIR_BYTES_MAX, Receipt, RepairRequest, Since, StreamKey, numbers_of,
};
use crate::fault::Rejected;
use crate::ids::{LeaderId, MemberId, Seq, Topic, UserName, ViewDigest};
use crate::policy::{Policy, Service};
use crate::time::{Time, earliest};
use crate::view::{MemberEntry, MemberSet};

/// How long after its last message an idle stream is marked, once each.
const MARK_AFTER: [Duration; 4] =
    [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];

/// The same frame is not sent again sooner than this.
const RESEND_AFTER: Duration = Duration::from_millis(200);

/// What one leader may have sent again at once, and in each second after: a little of what a link carries.
const RESEND_BYTES_PER_S: u64 = 1024 * 1024;
const RESEND_BYTES_BURST: u64 = 2 * 1024 * 1024;

/// The same frame goes to the same leader again so often over one link. One that goes on asking is no offender: others may
/// make it ask for what it had no room to keep.
const RESENDS_MAX: u32 = 3;

/// Bytes that may be under way at most: what a link to a leader takes.
const AHEAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Private streams that one report tells of, the group's besides.
const PRIVATE_HEADS_MAX: usize = HEADS_MAX - 4 * STARTS_MAX;

/// Recipients of private messages whose streams are remembered one by one.
const PRIVATE_STREAMS_MAX: usize = 20_000;

/// What a sender seals with.
#[derive(Debug)]
pub struct Writing<'a> {
    /// Its own keys.
    pub me: &'a Identity,
    /// Its views; the current one is sent under.
    pub keyring: &'a mut Keyring,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What it is about.
    pub topic: &'a Topic,
    /// The message.
    pub payload: &'a [u8],
}

/// A message that too few leaders have acknowledged.
#[derive(Clone, Debug)]
pub struct Again {
    /// What they are to be given.
    pub frame: Bytes,
    /// The leaders that have it already.
    pub has: BTreeSet<LeaderId>,
    /// Whether the others had time enough to say that they have it.
    pub is_late: bool,
}

/// The sending side of one stay of a member. A new stay takes a new one: numbers are never used twice.
#[derive(Debug)]
pub struct Outbox {
    shape: Shape,
    /// Under which view `Group` streams last noted where they start.
    view: Option<ViewDigest>,
    streams: BTreeMap<Channel, OutStream>,
    /// Where a private stream starts that was forgotten: above all that were.
    private_floor: Seq,
    history: History,
    under_way: UnderWay,
    /// Messages under way, and their bytes, above which a sender waits: half of what is kept, so that private messages and
    /// who sends without waiting have the other half.
    ahead_max: (usize, usize),
    resends: BTreeMap<LeaderId, Budget>,
    /// The least of all [`OutStream::mark_at`], or earlier.
    mark_at: Option<Time>,
    /// Changes of private streams are counted, so that each leader is told those that it has not heard of.
    changes: u64,
    changed: BTreeMap<u64, UserName>,
}

#[derive(Debug)]
struct OutStream {
    next: Seq,
    /// First number in this view, or to this stay of the recipient.
    start: Seq,
    /// Of a stream to the group: where it began in views before in which something was said.
    before: VecDeque<(ViewDigest, Seq)>,
    /// Of a private stream.
    peer: Option<MemberEntry>,
    sent: Time,
    /// Marks made since the last message.
    marks: usize,
    /// Of a private stream: its last change.
    change: u64,
}

impl OutStream {
    fn new(next: Seq, peer: Option<MemberEntry>) -> Self {
        OutStream {
            next,
            start: next,
            before: VecDeque::new(),
            peer,
            sent: Time::ZERO,
            marks: MARK_AFTER.len(),
            change: 0,
        }
    }

    fn advance(&mut self, now: Time) -> Seq {
        let seq = self.next;
        self.next = Seq(seq.0 + 1);
        self.sent = now;
        self.marks = 0;
        seq
    }

    fn mark_at(&self) -> Option<Time> {
        MARK_AFTER.get(self.marks).map(|after| self.sent + *after)
    }
}

impl Outbox {
    /// An outbox that has sent nothing.
    pub fn new(policy: &Policy) -> Self {
        let half = |max: u32| usize::try_from(max / 2).unwrap_or(usize::MAX).max(1);
        Outbox {
            shape: Shape::of(policy),
            view: None,
            streams: BTreeMap::new(),
            private_floor: Seq(1),
            history: History::new(policy.history_frames_max, policy.history_bytes_max),
            under_way: UnderWay::default(),
            ahead_max: (half(policy.history_frames_max), half(policy.history_bytes_max).min(AHEAD_BYTES_MAX)),
            resends: BTreeMap::new(),
            mark_at: None,
            changes: 0,
            changed: BTreeMap::new(),
        }
    }

    /// Makes the frame of a message to the whole current view. The caller gives it to the leaders.
    ///
    /// # Errors
    /// [`Rejected::NotJoined`] without a current view and its key, [`Rejected::TooLarge`] above the policy's bound.
    pub fn multicast(
        &mut self,
        now: Time,
        writing: &mut Writing<'_>,
        service: Service,
        message: Message<'_>,
    ) -> Result<Bytes, Rejected> {
        self.check_size(message)?;
        let view = writing.keyring.current_mut().filter(|view| view.has_key()).ok_or(Rejected::NotJoined)?;
        self.enter(view.id().digest);
        let channel = Channel::Group(service);
        let stream = self.streams.entry(channel).or_insert_with(|| OutStream::new(Seq(1), None));
        let seq = stream.advance(now);
        if service == Service::BestEffort {
            stream.marks = MARK_AFTER.len();
        }
        self.mark_at = earliest(self.mark_at, stream.mark_at());
        let numbers = (service, seq, stream.start);
        let frame = seal_multicast(&self.shape, writing.me, view, numbers, message.topic, message.payload);
        if service != Service::BestEffort {
            self.keep(now, &frame);
        }
        Ok(frame)
    }

    /// Makes the frame of a private message. Names given twice, and one's own, count once and not at all.
    ///
    /// # Errors
    /// As for a multicast; [`Rejected::Recipients`] for none or too many, [`Rejected::NotAMember`] for
    /// somebody who is not in `members`, the current view.
    pub fn send_to(
        &mut self,
        now: Time,
        writing: &mut Writing<'_>,
        members: &MemberSet,
        to: &[UserName],
        message: Message<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Bytes, Rejected> {
        self.check_size(message)?;
        let view = writing.keyring.current_mut().ok_or(Rejected::NotJoined)?;
        let names: BTreeSet<_> = to.iter().filter(|user| **user != writing.me.id.user).collect();
        if !(1..=RECIPIENTS_MAX).contains(&names.len()) {
            return Err(Rejected::Recipients { max: RECIPIENTS_MAX });
        }
        let entries: Vec<&MemberEntry> = names
            .into_iter()
            .map(|user| members.get(user).ok_or_else(|| Rejected::NotAMember(user.clone())))
            .collect::<Result<_, _>>()?;
        let mut numbered = Vec::new();
        for entry in entries {
            self.changes += 1;
            let change = self.changes;
            let stream = self.private_stream(entry, members);
            numbered.push((entry, stream.advance(now), stream.start));
            let (old, mark_at) = (std::mem::replace(&mut stream.change, change), stream.mark_at());
            self.changed.remove(&old);
            self.changed.insert(change, entry.id.user.clone());
            self.mark_at = earliest(self.mark_at, mark_at);
        }
        let content = (message.topic, message.payload);
        let frame = seal_private(&self.shape, writing.me, view, &numbered, content, rng)
            .expect("names are sorted and few, numbers grow, and session keys in a view are of high order");
        self.keep(now, &frame);
        Ok(frame)
    }

    /// A leader asks for frames that it lacks: those still kept, within its budget, not sent to it just now and not too
    /// often.
    pub fn on_wanted(&mut self, now: Time, from: LeaderId, request: &RepairRequest) -> Vec<Bytes> {
        let (mut frames, mut bytes) = (Vec::new(), 0);
        let full = || Budget::new(now, RESEND_BYTES_PER_S, RESEND_BYTES_BURST);
        let budget = self.resends.entry(from).or_insert_with(full);
        for seq in request.numbers() {
            let Some(kept) = self.history.get_mut(request.stream(), Seq(seq)) else { continue };
            let (sent, times) = kept.resent.get(&from).copied().unwrap_or((kept.sent, 0));
            if now.since(sent) < RESEND_AFTER || times >= RESENDS_MAX {
                continue;
            }
            let length = kept.frame.len();
            let full = !frames.is_empty() && bytes + length > REPAIR_BYTES_MAX;
            if full || !budget.take(now, u64::try_from(length).unwrap_or(u64::MAX)) {
                break;
            }
            kept.resent.insert(from, (now, times + 1));
            bytes += length;
            frames.push(kept.frame.clone());
        }
        frames
    }

    /// A leader is linked anew: what it was sent before may be lost.
    pub fn on_leader(&mut self, now: Time, leader: LeaderId) {
        self.resends.remove(&leader);
        self.history.forget_resends(leader);
        self.under_way.hurry(now);
    }

    /// A leader has messages of this member's; `enough` leaders that have one settle it.
    pub fn on_received(&mut self, from: LeaderId, receipts: &[Receipt], enough: usize) {
        receipts.iter().for_each(|receipt| self.under_way.on_receipt(from, receipt, enough));
    }

    /// Whether more should be sent now. What too few leaders have acknowledged must stay where it can be sent again: whoever
    /// sends faster than leaders take it loses messages otherwise.
    pub fn has_room(&self) -> bool {
        let (messages, bytes) = self.under_way.size();
        messages < self.ahead_max.0 && bytes < self.ahead_max.1
    }

    /// Messages that too few leaders have acknowledged.
    pub fn under_way(&self) -> u64 {
        self.under_way.count()
    }

    /// The newest message's place in the order of sending.
    pub fn newest(&self) -> u64 {
        self.under_way.newest()
    }

    /// Whether all messages up to a place are acknowledged by enough leaders; and how many, ever, were lost sight of.
    pub fn is_settled(&self, up_to: u64) -> (bool, u64) {
        (self.under_way.is_settled(up_to), self.under_way.lost_sight())
    }

    /// What is to be given to leaders again.
    pub fn again(&mut self, now: Time, me: &MemberId) -> Vec<Again> {
        let mut frames = Vec::new();
        for Due { place: (channel, seq), has, is_late } in self.under_way.due(now) {
            let stream = StreamKey { sender: me.clone(), channel };
            let Some(kept) = self.history.get(&stream, seq) else {
                self.under_way.lose_sight(&(stream.channel, seq));
                continue;
            };
            frames.push(Again { frame: kept.frame.clone(), has, is_late });
        }
        frames
    }

    /// How far all streams to the group go, and the private ones that changed since a change; and the change this goes to.
    /// With `starts`, also where those to the group began in views before, for a leader that may not have heard it.
    pub fn heads(&self, me: &MemberId, view: ViewDigest, since: u64, starts: bool) -> (Vec<Head>, u64) {
        let head = |channel: &Channel, stream: &OutStream| {
            let key = StreamKey { sender: me.clone(), channel: channel.clone() };
            let kept = self.history.first(&key).unwrap_or(stream.next);
            let counted = stream.peer.as_ref().map_or(Since::View(view), |peer| Since::Stay(peer.id.incarnation));
            Head { channel: channel.clone(), since: counted, start: stream.start, next: stream.next, kept }
        };
        // Those too on which nothing was said: so who comes knows from the first message on what it misses.
        let unused = OutStream::new(Seq(1), None);
        let group = [Service::Reliable, Service::Fifo].map(Channel::Group);
        let mut heads = Vec::new();
        for channel in &group {
            let stream = self.streams.get(channel).unwrap_or(&unused);
            let now = head(channel, stream);
            let before = stream.before.iter().filter(|_| starts);
            heads.extend(before.map(|(view, start)| Head { since: Since::View(*view), start: *start, ..now.clone() }));
            heads.push(now);
        }
        let mut reached = since;
        for (change, user) in self.changed.range(since.saturating_add(1)..).take(PRIVATE_HEADS_MAX) {
            reached = *change;
            let channel = Channel::Private(user.clone());
            heads.extend(self.streams.get(&channel).map(|stream| head(&channel, stream)));
        }
        (heads, reached)
    }

    /// Whether a leader that was told up to a change knows how far each stream goes.
    pub fn has_told(&self, change: u64) -> bool {
        self.changed.range(change.saturating_add(1)..).next().is_none()
    }

    /// When [`Outbox::on_wakeup`] or [`Outbox::again`] next has something to do.
    pub fn next_wakeup(&self) -> Option<Time> {
        earliest(self.mark_at, self.under_way.next_wakeup())
    }

    /// Makes the marks that are due. The caller gives them to the leaders like messages.
    pub fn on_wakeup(&mut self, now: Time, writing: &mut Writing<'_>) -> Vec<Bytes> {
        if self.mark_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let frames = self.make_marks(now, writing);
        self.mark_at = self.streams.values().map(OutStream::mark_at).fold(None, earliest);
        frames
    }

    fn make_marks(&mut self, now: Time, writing: &mut Writing<'_>) -> Vec<Bytes> {
        let Some(view) = writing.keyring.current_mut() else {
            // Nobody could read a mark: skip those that are due.
            self.due(now).for_each(|(_, stream)| stream.marks += 1);
            return Vec::new();
        };
        self.enter(view.id().digest);
        let shape = self.shape;
        let mut frames = Vec::new();
        for (channel, stream) in self.due(now) {
            stream.marks += 1;
            match (channel, &stream.peer) {
                (Channel::Group(service), _) => {
                    frames.push(seal_mark(&shape, writing.me, view, (*service, stream.start, stream.next)));
                }
                (Channel::Private(_), Some(peer)) => {
                    frames.extend(seal_private_mark(&shape, writing.me, view, peer, (stream.start, stream.next)));
                }
                (Channel::Private(_), None) => {}
            }
        }
        frames
    }

    /// The current view has changed: streams to the group start anew in it.
    pub fn on_view(&mut self, view: ViewDigest) {
        self.enter(view);
    }

    fn due(&mut self, now: Time) -> impl Iterator<Item = (&Channel, &mut OutStream)> {
        self.streams.iter_mut().filter(move |(_, stream)| stream.mark_at().is_some_and(|at| at <= now))
    }

    /// In a new view, streams to the group note where they start in it.
    fn enter(&mut self, view: ViewDigest) {
        let Some(before) = self.view.replace(view).filter(|before| *before != view) else { return };
        for (_, stream) in self.streams.iter_mut().filter(|(channel, _)| matches!(channel, Channel::Group(_))) {
            if stream.start < stream.next {
                stream.before.push_back((before, stream.start));
            }
            if stream.before.len() >= STARTS_MAX {
                stream.before.pop_front();
            }
            stream.start = stream.next;
        }
    }

    fn private_stream(&mut self, entry: &MemberEntry, members: &MemberSet) -> &mut OutStream {
        if self.streams.len() >= PRIVATE_STREAMS_MAX {
            self.forget_strangers(members);
        }
        let channel = Channel::Private(entry.id.user.clone());
        let floor = self.private_floor;
        let stream = self.streams.entry(channel).or_insert_with(|| OutStream::new(floor, None));
        if stream.peer.as_ref() != Some(entry) {
            stream.start = stream.next;
            stream.peer = Some(entry.clone());
        }
        stream
    }

    /// Forgets private streams to users who are gone; should one come back, its numbers go on above them all.
    fn forget_strangers(&mut self, members: &MemberSet) {
        let (floor, changed) = (&mut self.private_floor, &mut self.changed);
        self.streams.retain(|channel, stream| {
            let stays = match channel {
                Channel::Group(_) => true,
                Channel::Private(user) => members.get(user).is_some(),
            };
            if !stays {
                *floor = (*floor).max(stream.next);
                changed.remove(&stream.change);
            }
            stays
        });
    }

    fn check_size(&self, message: Message<'_>) -> Result<(), Rejected> {
        let (bytes, bytes_max) = (message.payload.len(), self.shape.message_bytes_max);
        if bytes > bytes_max { Err(Rejected::TooLarge { bytes, bytes_max }) } else { Ok(()) }
    }

    fn keep(&mut self, now: Time, frame: &Bytes) {
        let parsed = DataFrame::parse(frame).expect("what was just sealed is a frame");
        let numbers = numbers_of(&parsed);
        if let Some((stream, seq)) = numbers.first() {
            self.under_way.add(now, (stream.channel.clone(), *seq), frame.len());
        }
        self.history.insert(now, frame.clone(), numbers);
    }

    #[cfg(test)]
    pub(super) fn forget_history_for_testing_only(&mut self) {
        self.history = History::new(1, u32::MAX);
    }
}
