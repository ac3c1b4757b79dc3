//! From packets to messages: each sender's stream, the agreed order, and what is delivered when.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::ids::{Service, SiteId};
use crate::ring::fragment::Assembly;
use crate::wire::{Packet, Part};

/// A message on the ring, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The site that sent it.
    pub origin: SiteId,
    /// The site's lane that it came by.
    pub lane: u32,
    /// How it is delivered.
    pub service: Service,
    /// Its place: the packet that completed it, and the part in that.
    pub place: Place,
    /// Its bytes.
    pub content: Bytes,
}

/// A place in the agreed order: a packet's number and a part's.
pub type Place = (u64, u32);

/// The messages of one ring, from packets in any order.
#[derive(Debug, Default)]
pub struct Order {
    streams: BTreeMap<SiteId, Stream>,
    ready: BTreeMap<Place, Message>,
    /// Ordered messages that wait, by lane: a reliable message does not overtake those of its own sender.
    waiting: BTreeMap<(SiteId, u32), u32>,
    holds_back: bool,
}

#[derive(Debug, Default)]
struct Stream {
    /// The last packet that was taken.
    at: u64,
    /// Packets behind one that is not there yet, by the number of that one.
    behind: BTreeMap<u64, (u64, Vec<Part>)>,
    assembly: Assembly,
}

impl Order {
    /// While held back, unordered messages wait for their place like all others.
    pub fn hold_back(&mut self, held: bool) {
        self.holds_back = held;
    }

    /// Takes a packet that is new here. Messages that need not wait go to `out`.
    pub fn insert(&mut self, packet: Packet, out: &mut Vec<Message>) {
        let Packet { origin, seq, before, parts, .. } = packet;
        self.streams.entry(origin).or_default().behind.insert(before, (seq, parts));
        while let Some((seq, parts)) = self.next_of(origin) {
            for (index, part) in (0u32..).zip(parts) {
                self.take(origin, (seq, index), part, out);
            }
        }
    }

    /// Delivers in order: everything up to packet `holds_to`, stopping at a safe message above `held_by_all`.
    pub fn deliver(&mut self, holds_to: u64, held_by_all: u64, out: &mut Vec<Message>) {
        while let Some(entry) = self.ready.first_entry() {
            let message = entry.get();
            if message.place.0 > holds_to || (message.service == Service::Safe && message.place.0 > held_by_all) {
                break;
            }
            let message = entry.remove();
            self.release(&message);
            out.push(message);
        }
        // Below what is held without a hole no packet can be missing: what still waits for one is bogus.
        self.streams.values_mut().for_each(|stream| stream.behind.retain(|_, (seq, _)| *seq > holds_to));
    }

    /// Takes the first message that waits, whatever it waits for.
    pub fn pop(&mut self) -> Option<Message> {
        let (_, message) = self.ready.pop_first()?;
        self.release(&message);
        Some(message)
    }

    /// The first message that waits.
    pub fn peek(&self) -> Option<&Message> {
        self.ready.first_key_value().map(|(_, message)| message)
    }

    fn next_of(&mut self, origin: SiteId) -> Option<(u64, Vec<Part>)> {
        let stream = self.streams.get_mut(&origin)?;
        let (seq, parts) = stream.behind.remove(&stream.at)?;
        stream.at = seq;
        Some((seq, parts))
    }

    fn take(&mut self, origin: SiteId, place: Place, part: Part, out: &mut Vec<Message>) {
        let (lane, service) = (part.lane, part.service);
        let whole = self.streams.get_mut(&origin).and_then(|stream| stream.assembly.take(part));
        let Some(content) = whole else { return };
        let message = Message { origin, lane, service, place, content };
        let may_overtake = !service.is_ordered() && !self.holds_back;
        if may_overtake && (service == Service::Unreliable || !self.waiting.contains_key(&(origin, lane))) {
            out.push(message);
            return;
        }
        *self.waiting.entry((origin, lane)).or_default() += 1;
        self.ready.insert(place, message);
    }

    fn release(&mut self, message: &Message) {
        let lane = (message.origin, message.lane);
        if let Some(count) = self.waiting.get_mut(&lane) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&lane);
            }
        }
    }
}
