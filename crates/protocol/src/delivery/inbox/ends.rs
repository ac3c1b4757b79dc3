//! Where streams end, as leaders say: what a receiver lacks that no later message tells of.

use super::{Inbox, Stream};
use crate::delivery::stream::{ASK_AFTER_HEAD, InStream};
use crate::delivery::{Channel, InboxEvent, Reading, StreamKey, Tail};
use crate::ids::{Epoch, LeaderId, Seq};
use crate::policy::Service;
use crate::time::Time;

impl Inbox {
    /// The first view is installed: what was said before it is not for this member.
    pub fn on_first_view(&mut self, epoch: Epoch) {
        self.since.get_or_insert(epoch);
    }

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
            let joined = self.seen_joining.contains(&key.sender);
            let since = self.since.filter(|_| !joined && matches!(key.channel, Channel::Group(_)));
            let Some((start, next)) = self.claims.agreed(key, enough, since.unwrap_or_default()) else { return };
            let ordered = key.channel != Channel::Group(Service::Reliable);
            let start = if joined && matches!(key.channel, Channel::Group(_)) { Seq(1) } else { start };
            if next <= start || self.streams.len() >= self.streams_max {
                return;
            }
            self.streams.insert(key.clone(), Stream::Repaired(InStream::new(ordered, start, from)));
        }
        let Some((_, next)) = self.claims.agreed(key, enough, Epoch(0)) else { return };
        self.with_stream(key, events, |stream, told| stream.extend_after(now, ASK_AFTER_HEAD, next, told));
        if let Some(Stream::Repaired(stream)) = self.streams.get(key) {
            self.claims.settle(key, stream.announced());
        }
    }
}
