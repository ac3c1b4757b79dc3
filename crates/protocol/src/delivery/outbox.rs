//! The sender's part: number, seal, remember, remind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ringfort_crypto::CryptoRng;

use crate::data::{
    DataFrame, Identity, Keyring, RECIPIENTS_MAX, Shape, seal_mark, seal_multicast, seal_private, seal_private_mark,
};
use crate::delivery::history::History;
use crate::delivery::{Channel, REPAIR_BYTES_MAX, RepairRequest, numbers_of};
use crate::fault::Rejected;
use crate::ids::{Seq, Topic, UserName, ViewDigest};
use crate::policy::{Policy, Service};
use crate::time::{Time, earliest};
use crate::view::{MemberEntry, MemberSet};

/// How long after its last message an idle stream is marked, once each.
const MARK_AFTER: [Duration; 4] =
    [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];

/// The same frame is not sent again sooner than this.
const RESEND_AFTER: Duration = Duration::from_millis(200);

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
}

#[derive(Debug)]
struct OutStream {
    next: Seq,
    /// First number in this view, or to this stay of the recipient.
    start: Seq,
    /// Of a private stream.
    peer: Option<MemberEntry>,
    sent: Time,
    /// Marks made since the last message.
    marks: usize,
}

impl OutStream {
    fn new(next: Seq, peer: Option<MemberEntry>) -> Self {
        OutStream { next, start: next, peer, sent: Time::ZERO, marks: MARK_AFTER.len() }
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
        Outbox {
            shape: Shape::of(policy),
            view: None,
            streams: BTreeMap::new(),
            private_floor: Seq(1),
            history: History::new(policy.history_frames_max, policy.history_bytes_max),
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
        let numbered: Vec<_> = entries
            .into_iter()
            .map(|entry| {
                let stream = self.private_stream(entry, members);
                (entry, stream.advance(now), stream.start)
            })
            .collect();
        let content = (message.topic, message.payload);
        let frame = seal_private(&self.shape, writing.me, view, &numbered, content, rng)
            .expect("names are sorted and few, numbers grow, and session keys in a view are of high order");
        self.keep(now, &frame);
        Ok(frame)
    }

    /// A leader asks for frames that it lacks: those still kept and not sent just now.
    pub fn on_wanted(&mut self, now: Time, request: &RepairRequest) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let mut bytes = 0;
        for seq in request.numbers() {
            let Some(kept) = self.history.get_mut(&request.stream, Seq(seq)) else { continue };
            if now.since(kept.sent) < RESEND_AFTER {
                continue;
            }
            if !frames.is_empty() && bytes + kept.frame.len() > REPAIR_BYTES_MAX {
                break;
            }
            kept.sent = now;
            bytes += kept.frame.len();
            frames.push(kept.frame.clone());
        }
        frames
    }

    /// When [`Outbox::on_wakeup`] next has something to do.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.streams.values().map(OutStream::mark_at).fold(None, earliest)
    }

    /// Makes the marks that are due. The caller gives them to the leaders like messages.
    pub fn on_wakeup(&mut self, now: Time, writing: &mut Writing<'_>) -> Vec<Bytes> {
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

    fn due(&mut self, now: Time) -> impl Iterator<Item = (&Channel, &mut OutStream)> {
        self.streams.iter_mut().filter(move |(_, stream)| stream.mark_at().is_some_and(|at| at <= now))
    }

    /// In a new view, streams to the group note where they start in it.
    fn enter(&mut self, view: ViewDigest) {
        if self.view.replace(view) != Some(view) {
            let group = self.streams.iter_mut().filter(|(channel, _)| matches!(channel, Channel::Group(_)));
            group.for_each(|(_, stream)| stream.start = stream.next);
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
        let floor = &mut self.private_floor;
        self.streams.retain(|channel, stream| {
            let stays = match channel {
                Channel::Group(_) => true,
                Channel::Private(user) => members.get(user).is_some(),
            };
            if !stays {
                *floor = (*floor).max(stream.next);
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
        self.history.insert(now, frame.clone(), numbers_of(&parsed));
    }

    #[cfg(test)]
    pub(super) fn forget_history_for_testing_only(&mut self) {
        self.history = History::new(1, u32::MAX);
    }
}
