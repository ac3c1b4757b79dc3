//! What waits for the token, and how it is packed: many small messages a packet, one large message at a time.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use crate::ids::Service;
use crate::rules::{Rule, Rules};
use crate::wire::{Part, Piece};

/// Bytes of a part beside its content, at most.
const PART_OVERHEAD: usize = 14;
/// A fragment of fewer bytes is not worth its header.
const FRAGMENT_BYTES_MIN: usize = 64;
/// How far ahead of the first waiting message one is looked for that fits.
const SCAN: usize = 64;
/// The lane of the site itself.
pub const SITE_LANE: u32 = 0;

#[derive(Clone, Debug)]
struct Waiting {
    lane: u32,
    service: Service,
    content: Bytes,
}

/// What a site will send, over ring changes too: a message leaves it when its last byte is in a packet.
///
/// The messages of one lane keep their order. A large message is cut into one chain of fragments at a time, and
/// messages of other lanes go between its fragments.
#[derive(Debug)]
pub struct Outbox {
    rules: Rules,
    control: VecDeque<Waiting>,
    data: VecDeque<Waiting>,
    chain: Option<(Waiting, usize)>,
    bytes: usize,
    held: bool,
}

impl Outbox {
    /// Nothing waits.
    pub fn new(rules: Rules) -> Self {
        let (control, data) = (VecDeque::new(), VecDeque::new());
        Outbox { rules, control, data, chain: None, bytes: 0, held: false }
    }

    /// A client's message.
    pub fn push(&mut self, lane: u32, service: Service, content: Bytes) {
        self.bytes += content.len() + PART_OVERHEAD;
        self.data.push_back(Waiting { lane, service, content });
    }

    /// The site's own message: it goes before every client's.
    pub fn push_control(&mut self, content: Bytes) {
        self.bytes += content.len() + PART_OVERHEAD;
        self.control.push_back(Waiting { lane: SITE_LANE, service: Service::Agreed, content });
    }

    /// Forgets what the site itself would have sent: it was for a ring that is gone.
    pub fn drop_control(&mut self) {
        self.bytes -= self.control.drain(..).map(|waiting| waiting.content.len() + PART_OVERHEAD).sum::<usize>();
    }

    /// While held, clients' messages wait and the site's own go.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// A chain that the end of a ring cut starts again from its first byte on the next.
    pub fn restart(&mut self) {
        if let Some((waiting, _)) = self.chain.take() {
            let queue = if waiting.lane == SITE_LANE { &mut self.control } else { &mut self.data };
            queue.push_front(waiting);
        }
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether something could be sent now.
    pub fn has_work(&self) -> bool {
        let data = !self.held && (!self.data.is_empty() || self.chain.as_ref().is_some_and(|c| c.0.lane != SITE_LANE));
        data || !self.control.is_empty() || self.chain.as_ref().is_some_and(|chain| chain.0.lane == SITE_LANE)
    }

    /// Packets of `room` bytes that wait, about.
    pub fn packets(&self, room: usize) -> u16 {
        if !self.has_work() {
            return 0;
        }
        u16::try_from(self.bytes.div_ceil(room.max(1)).max(1)).unwrap_or(u16::MAX)
    }

    /// The parts of the next packet, at most `room` bytes; none if nothing may go.
    pub fn fill(&mut self, room: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut left = room;
        let share = if self.find(room).is_some() { room / 2 } else { room };
        self.add_fragment(&mut parts, share, &mut left);
        while let Some(index) = self.find(left) {
            let queue = if index.is_control { &mut self.control } else { &mut self.data };
            let Some(waiting) = queue.remove(index.place) else { break };
            self.bytes -= waiting.content.len() + PART_OVERHEAD;
            left -= waiting.content.len() + PART_OVERHEAD;
            let Waiting { lane, service, content } = waiting;
            parts.push(Part { lane, service, piece: Piece::Whole, bytes: content.to_vec() });
        }
        self.begin_chain(room);
        let rest = left;
        self.add_fragment(&mut parts, rest, &mut left);
        parts
    }

    /// The first message that may go and fits whole.
    fn find(&self, room: usize) -> Option<Index> {
        let fits = |waiting: &Waiting| waiting.content.len() + PART_OVERHEAD <= room;
        let chained = self.chain.as_ref().map(|chain| chain.0.lane);
        if chained != Some(SITE_LANE)
            && let Some(front) = self.control.front()
        {
            return fits(front).then_some(Index { is_control: true, place: 0 });
        }
        if self.held {
            return None;
        }
        let mut blocked: BTreeSet<u32> = chained.into_iter().collect();
        for (place, waiting) in self.data.iter().take(SCAN).enumerate() {
            if !blocked.contains(&waiting.lane) && fits(waiting) {
                return Some(Index { is_control: false, place });
            }
            if self.rules.enforces(Rule::LaneOrder) {
                blocked.insert(waiting.lane);
            }
        }
        None
    }

    /// The first waiting message becomes the chain if it fits in no packet.
    fn begin_chain(&mut self, room: usize) {
        if self.chain.is_some() {
            return;
        }
        let large = |waiting: &Waiting| waiting.content.len() + PART_OVERHEAD > room;
        let queue = match (self.control.front(), self.data.front()) {
            (Some(front), _) if large(front) => &mut self.control,
            (None, Some(front)) if large(front) && !self.held => &mut self.data,
            _ => return,
        };
        self.chain = queue.pop_front().map(|waiting| (waiting, 0));
    }

    fn add_fragment(&mut self, parts: &mut Vec<Part>, share: usize, left: &mut usize) {
        let Some((waiting, sent)) = &mut self.chain else { return };
        if share < PART_OVERHEAD + FRAGMENT_BYTES_MIN || (self.held && waiting.lane != SITE_LANE) {
            return;
        }
        let total = waiting.content.len();
        let end = total.min(*sent + share - PART_OVERHEAD);
        let piece = match (*sent == 0, end == total) {
            (true, true) => Piece::Whole,
            (true, false) => Piece::First(u32::try_from(total).unwrap_or(u32::MAX)),
            (false, false) => Piece::Middle,
            (false, true) => Piece::Last,
        };
        let bytes = waiting.content.slice(*sent..end).to_vec();
        *left -= bytes.len() + PART_OVERHEAD;
        parts.push(Part { lane: waiting.lane, service: waiting.service, piece, bytes });
        *sent = end;
        if end == total {
            self.bytes -= total + PART_OVERHEAD;
            self.chain = None;
        }
    }
}

struct Index {
    is_control: bool,
    place: usize,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ring::fragment::Assembly;

    const ROOM: usize = 200;

    fn drain(outbox: &mut Outbox, room: usize) -> Vec<(u32, Bytes)> {
        let mut assembly = Assembly::default();
        let mut taken = Vec::new();
        while outbox.has_work() {
            let parts = outbox.fill(room);
            assert!(!parts.is_empty(), "what has work fills a packet");
            assert!(parts.iter().map(|part| part.bytes.len() + PART_OVERHEAD).sum::<usize>() <= room);
            for part in parts {
                let lane = part.lane;
                taken.extend(assembly.take(part).map(|bytes| (lane, bytes)));
            }
        }
        taken
    }

    #[test]
    fn a_small_message_does_not_wait_for_a_large_one_of_another_client() {
        let mut outbox = Outbox::new(Rules::default());
        outbox.push(1, Service::Agreed, Bytes::from(vec![1; 5000]));
        assert!(!outbox.fill(ROOM).is_empty());
        outbox.push(1, Service::Agreed, Bytes::from_static(b"behind its own large one"));
        outbox.push(2, Service::Agreed, Bytes::from_static(b"small"));
        let parts = outbox.fill(ROOM);
        let lanes: Vec<_> = parts.iter().map(|part| (part.lane, part.piece)).collect();
        assert!(lanes.contains(&(2, Piece::Whole)) && lanes.contains(&(1, Piece::Middle)), "{lanes:?}");
    }

    #[test]
    fn what_the_end_of_a_ring_cut_goes_whole_on_the_next() {
        let mut outbox = Outbox::new(Rules::default());
        outbox.push(1, Service::Agreed, Bytes::from(vec![7; 1000]));
        assert!(matches!(outbox.fill(ROOM).first(), Some(part) if part.piece == Piece::First(1000)));
        outbox.restart();
        assert_eq!(drain(&mut outbox, ROOM), [(1, Bytes::from(vec![7; 1000]))]);
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn while_held_only_the_sites_own_messages_go() {
        let mut outbox = Outbox::new(Rules::default());
        outbox.push(1, Service::Agreed, Bytes::from_static(b"client"));
        outbox.hold(true);
        assert!(!outbox.has_work() && outbox.fill(ROOM).is_empty());
        outbox.push_control(Bytes::from(vec![3; 700]));
        assert_eq!(drain(&mut outbox, ROOM), [(SITE_LANE, Bytes::from(vec![3; 700]))]);
        outbox.hold(false);
        assert_eq!(drain(&mut outbox, ROOM).len(), 1);
    }

    proptest! {
        /// Everything goes, once, within the room, and each lane in its order.
        #[test]
        fn lanes_keep_their_order(messages in prop::collection::vec((1u32..4, 0usize..900), 1..60), room in 120usize..600) {
            let mut outbox = Outbox::new(Rules::default());
            let mut sent: BTreeMap<u32, Vec<Bytes>> = BTreeMap::new();
            for (number, (lane, length)) in messages.iter().enumerate() {
                let content = Bytes::from(vec![number as u8; *length]);
                outbox.push(*lane, Service::Agreed, content.clone());
                sent.entry(*lane).or_default().push(content);
            }
            let mut got: BTreeMap<u32, Vec<Bytes>> = BTreeMap::new();
            drain(&mut outbox, room).into_iter().for_each(|(lane, bytes)| got.entry(lane).or_default().push(bytes));
            prop_assert_eq!(sent, got);
            prop_assert_eq!(outbox.bytes(), 0);
        }
    }
}
