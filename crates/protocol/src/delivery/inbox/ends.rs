//! Where streams end, as leaders say: what a receiver lacks that no later message tells of.

use super::{Inbox, Stream};
use crate::data::Lookup;
use crate::delivery::stream::{ASK_AFTER_HEAD, InStream};
use crate::delivery::{Channel, Head, InboxEvent, Reading, Since, StreamKey, Tail};
use crate::ids::{Incarnation, LeaderId, MemberId, Seq, ViewDigest};
use crate::policy::Service;
use crate::rules::Rule;
use crate::time::Time;

impl Inbox {
    /// A leader tells how far streams go. What `enough` leaders say is believed: one of them is honest.
    pub fn on_tails(
        &mut self,
        now: Time,
        from: LeaderId,
        tails: Vec<Tail>,
        enough: usize,
        reading: &Reading<'_>,
    ) -> Vec<InboxEvent> {
        let mut events = Vec::new();
        for tail in tails.into_iter().filter(|tail| *tail.sender() != reading.me.id) {
            if let Tail::Stream(sender, Head { since: Since::View(view), .. }) = &tail
                && self.is_of_other_keys(sender, view, reading)
            {
                continue;
            }
            if let Some(stream) = self.claims.note(from, tail, &reading.me.id.user) {
                self.believe(now, from, &stream, enough, reading, &mut events);
            }
        }
        events
    }

    /// A member's stay has other keys since the view of this place: another program of the same user holds it, whose streams
    /// begin anew. What is missing of the one before will not come.
    pub fn begin_anew(&mut self, member: &MemberId, place: u64) -> Vec<InboxEvent> {
        let mut events = Vec::new();
        for key in self.streams_of(member) {
            self.with_stream(&key, &mut events, InStream::give_up_all);
            self.streams.remove(&key);
            self.earliest.remove(&key);
        }
        self.claims.forget(member);
        self.recent.forget(member);
        self.renewed.insert(member.clone(), place);
        events
    }

    /// Whether what was said in a view was said by another program, which had the stay before.
    pub(super) fn is_of_other_keys(&self, sender: &MemberId, view: &ViewDigest, reading: &Reading<'_>) -> bool {
        self.renewed.get(sender).is_some_and(|place| reading.keyring.is_before(view, *place))
    }

    /// The view has changed: what leaders said of members that came with it can be used now.
    pub fn on_members(&mut self, now: Time, enough: usize, reading: &Reading<'_>) -> Vec<InboxEvent> {
        let mut events = Vec::new();
        for (stream, from) in self.claims.streams() {
            self.believe(now, from, &stream, enough, reading, &mut events);
        }
        events
    }

    /// A member is gone for good, its overlap included: tells what of it still waited, and forgets it. If it spoke, and
    /// fewer than `enough` leaders have its word that this was all, the end of it is not known. Nor is it if too few have said
    /// anything of it, be it that it was silent. `me` is this member's own stay.
    ///
    /// Of `enough` leaders that have it, one alone may be honest and say how much it was. So if one says that it was more
    /// than is known here, at the end or at the beginning, all is known only once `enough` honest ones must be among those that
    /// have the last word, `with_liars` in all: then whoever says more than they do invents it.
    pub fn forget(
        &mut self,
        member: &MemberId,
        me: Incarnation,
        (enough, with_liars): (usize, usize),
    ) -> Vec<InboxEvent> {
        let mut events = Vec::new();
        let streams = self.streams_of(member);
        let spoken =
            |key| matches!(self.streams.get(key), Some(Stream::Repaired(stream)) if stream.announced() > Seq(1));
        let known = |key: &StreamKey| match self.streams.get(key) {
            Some(Stream::Repaired(stream)) => Some(stream.announced()),
            _ => None,
        };
        let begins = |key: &StreamKey| match (self.streams.get(key), self.earliest.get(key)) {
            (Some(Stream::Repaired(stream)), Some(earliest)) => *earliest < stream.first(),
            _ => false,
        };
        let is_repaired = |key: &StreamKey| known(key).is_some();
        let open = self.claims.is_open(member, me, known) || streams.iter().any(begins);
        let disputed = open && !self.claims.is_complete(member, with_liars);
        let spoke = self.claims.names(member) || streams.iter().any(spoken);
        // All that it said is known, but not what of it was for this member: it spoke in views that were skipped here.
        let unplaced = self.claims.spoken(member, me, enough).any(|key| !streams.contains(key));
        // Not even that it said nothing is known: this member was out of reach while leaders told of its end.
        let unheard_of = !spoke && !streams.iter().any(is_repaired) && !self.claims.tells_of(member, enough);
        for key in streams {
            self.with_stream(&key, &mut events, InStream::give_up_all);
            self.streams.remove(&key);
            self.earliest.remove(&key);
        }
        let complete = self.claims.is_complete(member, enough);
        let closed = self.closed.remove(member);
        let sends = self.policy.role(&member.user).sends();
        if (spoke && (unplaced || disputed) || (spoke || unheard_of && sends) && !complete) && !closed {
            events.push(InboxEvent::UnknownTail(member.clone()));
        }
        self.claims.forget(member);
        self.seen_joining.remove(member);
        self.renewed.remove(member);
        self.repairs_by_sender.remove(member);
        self.waiting.forget(member);
        events
    }

    /// A stream goes as far as `enough` leaders say.
    fn believe(
        &mut self,
        now: Time,
        from: LeaderId,
        key: &StreamKey,
        enough: usize,
        reading: &Reading<'_>,
        events: &mut Vec<InboxEvent>,
    ) {
        let receives = self.policy.role(&reading.me.id.user).receives();
        if !receives || reading.peers.entry(&key.sender).is_none() || self.closed.contains(&key.sender) {
            return;
        }
        if !self.streams.contains_key(key) {
            let Some(start) = self.start(now, key, enough, reading).filter(|_| self.streams.len() < self.streams_max)
            else {
                return;
            };
            let ordered = key.channel != Channel::Group(Service::Reliable);
            self.streams.insert(key.clone(), Stream::Repaired(InStream::new(ordered, start, from)));
        } else if matches!(key.channel, Channel::Group(_))
            && let Some(start) = self.start(now, key, enough, reading)
        {
            // A message of a later view, or the word of a leader that lacks the earlier start, was faster.
            self.with_stream(key, events, |stream, told| stream.reach_back(now, start, told));
        }
        if matches!(key.channel, Channel::Group(_))
            && let Some(start) = self.start(now, key, 1, reading)
        {
            self.earliest.insert(key.clone(), start);
        }
        let Some(next) = self.claims.agreed_next(key, enough) else { return };
        self.with_stream(key, events, |stream, told| stream.extend_after(now, ASK_AFTER_HEAD, next, told));
        if let Some(Stream::Repaired(stream)) = self.streams.get(key) {
            self.claims.settle(key, stream.announced());
        }
    }

    /// From which number on a stream is for this member, as leaders say: from the first in a view that it can read or could,
    /// or to this stay of its own. What went before was for others, or for an earlier stay.
    fn start(&self, now: Time, key: &StreamKey, enough: usize, reading: &Reading<'_>) -> Option<Seq> {
        if matches!(key.channel, Channel::Group(_)) && self.seen_joining.contains(&key.sender) {
            return self.claims.agreed_next(key, enough).map(|_| Seq(1));
        }
        let any = !reading.rules.enforces(Rule::StreamSince);
        self.claims.agreed_start(key, enough, |since| match since {
            _ if any => true,
            Since::View(view) => reading.keyring.lookup(view, now) != Lookup::Unknown,
            Since::Stay(stay) => *stay == reading.me.id.incarnation,
            Since::Unsaid => false,
        })
    }
}
