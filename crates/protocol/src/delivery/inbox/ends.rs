//! Where streams end, as leaders say: what a receiver lacks that no later message tells of.

use super::{Inbox, Stream};
use crate::data::Lookup;
use crate::delivery::stream::{ASK_AFTER_HEAD, InStream};
use crate::delivery::{Channel, InboxEvent, Reading, Since, StreamKey, Tail};
use crate::ids::{LeaderId, Seq};
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
            if let Some(stream) = self.claims.note(from, tail, &reading.me.id.user) {
                self.believe(now, from, &stream, enough, reading, &mut events);
            }
        }
        events
    }

    /// The view has changed: what leaders said of members that came with it can be used now.
    pub fn on_members(&mut self, now: Time, enough: usize, reading: &Reading<'_>) -> Vec<InboxEvent> {
        let mut events = Vec::new();
        for (stream, from) in self.claims.streams() {
            self.believe(now, from, &stream, enough, reading, &mut events);
        }
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
        }
        let Some(next) = self.claims.agreed_next(key, enough) else { return };
        self.with_stream(key, events, |stream, told| stream.extend_after(now, ASK_AFTER_HEAD, next, told));
        if let Some(Stream::Repaired(stream)) = self.streams.get(key) {
            self.claims.settle(key, stream.announced());
        }
    }

    /// From which number on a stream is for this member, as leaders say: from the first in a view that it can read, or to
    /// this stay of its own. What went before was for others, or for an earlier stay.
    fn start(&self, now: Time, key: &StreamKey, enough: usize, reading: &Reading<'_>) -> Option<Seq> {
        if matches!(key.channel, Channel::Group(_)) && self.seen_joining.contains(&key.sender) {
            return self.claims.agreed_next(key, enough).map(|_| Seq(1));
        }
        let any = !reading.rules.enforces(Rule::StreamSince);
        self.claims.agreed_start(key, enough, |since| match since {
            _ if any => true,
            Since::View(view) => reading.keyring.lookup(view, now) == Lookup::Readable,
            Since::Stay(stay) => *stay == reading.me.id.incarnation,
            Since::Unsaid => false,
        })
    }
}
