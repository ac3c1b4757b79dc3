//! The rule of recovery, whole.
//!
//! When a ring ends, the sites that come from it to the same new ring (the *movers*) do this, each by itself and all
//! with the same result:
//!
//! 1. They exchange what any of them holds ([`Held`], [`missing`], [`is_complete`]).
//! 2. They deliver in order up to the first hole, or to the first safe message that is not known to be held by all
//!    sites of the old ring.
//! 3. They deliver the transitional configuration of the movers.
//! 4. They deliver the rest in order. After the first hole that is only what comes from sites whose every message
//!    they hold: the movers, and those toward whom one of them has an obligation. A message of somebody else may
//!    depend on what is lost.
//! 5. They deliver the regular configuration of the new ring.
//!
//! Whoever says that it is complete undertakes to deliver what the movers of that moment sent ([`Ring::undertake`]
//! (crate::ring::Ring)): one of them may go on to (5) on the strength of that word, and this site may not. The
//! obligation lasts until the next regular configuration, through any number of attempts.
//!
//! Source: cf. Moser, Amir, Melliar-Smith and Agarwal 1994 (deviation: the order is ended by one function at the
//! moment of installation, so no crash falls between its steps).

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Service, SiteId, SiteSet};
use crate::limits::GAP_PACKETS_MAX;
use crate::ring::order::{Message, Order};
use crate::rules::{Rule, Rules};
use crate::wire::Recovering;

/// The packets that a site holds of one ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    to: u64,
    above: BTreeSet<u64>,
}

impl Held {
    /// All up to `to`, and those above.
    pub fn new(to: u64, above: impl IntoIterator<Item = u64>) -> Self {
        let mut held = Held { to, above: above.into_iter().collect() };
        held.settle();
        held
    }

    /// What a site's state says that it holds.
    pub fn of(state: &Recovering) -> Self {
        let bits = (0..GAP_PACKETS_MAX).filter(|bit| {
            let byte = state.holds_above.get((bit / 8) as usize).copied().unwrap_or(0);
            byte & 1 << (bit % 8) != 0
        });
        Held::new(state.holds_to, bits.map(|bit| state.holds_to + 1 + bit))
    }

    /// Up to which packet all are held, and the bits for those above.
    pub fn to_bits(&self) -> (u64, Vec<u8>) {
        let mut bits = Vec::new();
        for seq in self.above.iter().filter(|seq| **seq - self.to <= GAP_PACKETS_MAX) {
            let bit = seq - self.to - 1;
            let byte = (bit / 8) as usize;
            if bits.len() <= byte {
                bits.resize(byte + 1, 0);
            }
            if let Some(byte) = bits.get_mut(byte) {
                *byte |= 1 << (bit % 8);
            }
        }
        (self.to, bits)
    }

    /// Whether it holds packet `seq`.
    pub fn has(&self, seq: u64) -> bool {
        seq <= self.to || self.above.contains(&seq)
    }

    /// Adds what another holds.
    pub fn join(&mut self, other: &Held) {
        self.to = self.to.max(other.to);
        self.above.extend(&other.above);
        self.settle();
    }

    /// The packets that `other` holds and this does not; at most `packets_max`.
    pub fn lacks(&self, other: &Held, packets_max: usize) -> Vec<u64> {
        let below = (self.to + 1..=other.to).filter(|seq| !self.has(*seq));
        let above = other.above.iter().copied().filter(|seq| !self.has(*seq));
        below.chain(above).take(packets_max).collect()
    }

    fn settle(&mut self) {
        while self.above.remove(&(self.to + 1)) {
            self.to += 1;
        }
        self.above = self.above.split_off(&(self.to + 1));
    }
}

/// What any of the movers holds, once each of them has said; `mine` is this site's.
pub fn union(mine: &Held, movers: SiteSet, me: SiteId, states: &BTreeMap<SiteId, Recovering>) -> Option<Held> {
    let mut all = mine.clone();
    for mover in movers.without(me).iter() {
        all.join(&Held::of(states.get(&mover)?));
    }
    Some(all)
}

/// Packets that this site sends to the movers: each that one of them lacks, by the lowest site that holds it.
pub fn missing(
    mine: &Held,
    movers: SiteSet,
    me: SiteId,
    states: &BTreeMap<SiteId, Recovering>,
    packets_max: usize,
) -> Vec<u64> {
    let others: Vec<(SiteId, Held)> =
        movers.without(me).iter().filter_map(|mover| Some((mover, Held::of(states.get(&mover)?)))).collect();
    let mut wanted = BTreeSet::new();
    for (_, other) in &others {
        let lacking = other.lacks(mine, GAP_PACKETS_MAX as usize);
        wanted
            .extend(lacking.into_iter().filter(|seq| !others.iter().any(|(site, held)| *site < me && held.has(*seq))));
    }
    wanted.into_iter().take(packets_max).collect()
}

/// Whether this site holds all that any of the movers holds.
pub fn is_complete(
    rules: Rules,
    mine: &Held,
    movers: SiteSet,
    me: SiteId,
    states: &BTreeMap<SiteId, Recovering>,
) -> bool {
    match union(mine, movers, me, states) {
        Some(all) => all == *mine || !rules.enforces(Rule::RecoverAll),
        None => false,
    }
}

/// What the end of a ring delivers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Before the transitional configuration.
    pub regular: Vec<Message>,
    /// Behind it, and before the first hole.
    pub transitional: Vec<Message>,
    /// Behind the first hole.
    pub behind_a_hole: Vec<Message>,
}

/// Steps 2 and 4 of the rule.
///
/// `holds_to` is the last packet before the first hole, `held_by_all` the last that some mover knows every site of
/// the old ring to hold, `whole` the sites whose every message is held.
pub fn end(rules: Rules, order: &mut Order, holds_to: u64, held_by_all: u64, whole: SiteSet) -> Ending {
    let mut ending = Ending::default();
    let mut signalled = false;
    while let Some(message) = order.pop() {
        let behind_a_hole = message.place.0 > holds_to;
        let unsafe_yet = message.service == Service::Safe && message.place.0 > held_by_all;
        signalled |= (behind_a_hole || unsafe_yet) && rules.enforces(Rule::TransitionalSignal);
        let may_depend_on_what_is_lost = behind_a_hole && message.service.is_ordered() && !whole.has(message.origin);
        if may_depend_on_what_is_lost && rules.enforces(Rule::HoleRule) {
            continue;
        }
        match (signalled, behind_a_hole) {
            (false, _) => ending.regular.push(message),
            (true, false) => ending.transitional.push(message),
            (true, true) => ending.behind_a_hole.push(message),
        }
    }
    ending
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::ids::RingId;
    use crate::wire::{Packet, Part, Piece};

    fn site(number: u8) -> SiteId {
        SiteId::new(number).unwrap()
    }

    fn order(packets: &[(u64, u8, u64, Service)]) -> Order {
        let (mut order, mut out) = (Order::default(), Vec::new());
        order.hold_back(true);
        for (seq, origin, before, service) in packets {
            let part = Part { lane: 1, service: *service, piece: Piece::Whole, bytes: vec![*seq as u8] };
            let ring = RingId::default();
            let packet =
                Packet { ring, origin: site(*origin), visit: 1, seq: *seq, before: *before, parts: vec![part] };
            order.insert(packet, &mut out);
        }
        assert!(out.is_empty());
        order
    }

    fn numbers(messages: &[Message]) -> Vec<u64> {
        messages.iter().map(|message| message.place.0).collect()
    }

    #[test]
    fn behind_a_hole_only_the_movers_are_heard() {
        use Service::{Agreed, Reliable};
        let mut order = order(&[(1, 0, 0, Agreed), (3, 1, 0, Agreed), (4, 2, 0, Agreed), (5, 2, 4, Reliable)]);
        let movers = [site(0), site(1)].into_iter().collect();
        let ending = end(Rules::default(), &mut order, 1, 0, movers);
        assert_eq!(numbers(&ending.regular), [1]);
        assert_eq!(numbers(&ending.behind_a_hole), [3, 5], "4 may depend on 2, which is lost; 5 asks for no order");
    }

    #[test]
    fn a_safe_message_that_not_all_are_known_to_hold_waits_for_the_signal() {
        use Service::{Agreed, Safe};
        let mut order = order(&[(1, 0, 0, Safe), (2, 1, 0, Safe), (3, 0, 1, Agreed)]);
        let ending = end(Rules::default(), &mut order, 3, 1, SiteSet::EMPTY);
        assert_eq!(numbers(&ending.regular), [1]);
        assert_eq!(numbers(&ending.transitional), [2, 3]);
        assert_eq!(ending.transitional.first().map(|m| m.content.clone()), Some(Bytes::from_static(&[2])));
    }

    proptest! {
        #[test]
        fn a_state_says_what_is_held(to in 0u64..50, above in prop::collection::btree_set(0u64..300, 0..80)) {
            let held = Held::new(to, above.iter().copied());
            let (holds_to, holds_above) = held.to_bits();
            let state = Recovering {
                ring: RingId::default(), sender: site(0), number: 1, old: RingId::default(), holds_to, holds_above,
                held_by_all: 0, obligations: SiteSet::EMPTY, complete: false,
            };
            prop_assert_eq!(Held::of(&state), held);
        }

        /// Whatever each holds: when each gets what the lowest holder sends, all hold the same, and nothing goes twice.
        #[test]
        fn exchange_ends_with_all_holding_the_union(
            held in prop::collection::vec((0u64..6, prop::collection::btree_set(1u64..30, 0..12)), 2..5),
        ) {
            let sites: Vec<Held> = held.into_iter().map(|(to, above)| Held::new(to, above)).collect();
            let movers: SiteSet = (0..sites.len() as u8).map(site).collect();
            let state = |number: usize, held: &Held| {
                let (holds_to, holds_above) = held.to_bits();
                Recovering {
                    ring: RingId::default(), sender: site(number as u8), number: 1, old: RingId::default(), holds_to,
                    holds_above, held_by_all: 0, obligations: SiteSet::EMPTY, complete: false,
                }
            };
            let states: BTreeMap<SiteId, Recovering> =
                sites.iter().enumerate().map(|(n, held)| (site(n as u8), state(n, held))).collect();
            let mut sent = BTreeSet::new();
            for (number, mine) in sites.iter().enumerate() {
                for seq in missing(mine, movers, site(number as u8), &states, 1000) {
                    prop_assert!(sent.insert(seq), "{} was sent twice", seq);
                }
            }
            let mut after: Vec<Held> = sites.clone();
            after.iter_mut().for_each(|held| held.join(&Held::new(0, sent.iter().copied())));
            let all = union(&sites[0], movers, site(0), &states).unwrap();
            prop_assert!(after.iter().all(|held| *held == all));
        }
    }
}
