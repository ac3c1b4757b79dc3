//! Peers of one kind, and whose turn it is among them.

use std::collections::{BTreeMap, BTreeSet};

use super::lane::Lane;
use super::{PARTS, PoolLimits, Refused, Urgency};

#[derive(Debug)]
pub(super) struct Pool<K, T> {
    limits: PoolLimits,
    pub lanes: BTreeMap<K, Lane<T>>,
    /// Lanes with an input that may go, by what they have used.
    turns: BTreeSet<(u64, K)>,
    /// Those of them with a prompt one.
    prompt: BTreeSet<(u64, K)>,
    pub bytes: usize,
    /// What it has used of the worker, divided by its share.
    pub used: u64,
    /// What the lane served last had used before: where a lane that comes back starts.
    pub clock: u64,
}

impl<K: Ord + Clone, T> Pool<K, T> {
    pub fn new(limits: PoolLimits) -> Self {
        Pool {
            limits,
            lanes: BTreeMap::new(),
            turns: BTreeSet::new(),
            prompt: BTreeSet::new(),
            bytes: 0,
            used: 0,
            clock: 0,
        }
    }

    pub fn has_work(&self) -> bool {
        !self.turns.is_empty()
    }

    pub fn insert(&mut self, peer: K, lane: Lane<T>, clock: u64) {
        self.bytes += lane.bytes;
        self.lanes.insert(peer.clone(), lane);
        self.line_up(&peer, clock);
    }

    pub fn remove(&mut self, peer: &K) -> Option<Lane<T>> {
        self.step_out(peer);
        let lane = self.lanes.remove(peer)?;
        self.bytes -= lane.bytes;
        Some(lane)
    }

    pub fn push(&mut self, peer: &K, urgency: Urgency, bytes: usize, input: T, clock: u64) -> Result<(), Refused<T>> {
        let Some(lane) = self.lanes.get_mut(peer) else { return Err(Refused::NoLane(input)) };
        let fits = lane.bytes.saturating_add(bytes) <= self.limits.lane_bytes_max
            && self.bytes.saturating_add(bytes) <= self.limits.bytes_max;
        if !fits && lane.bytes > 0 {
            return Err(Refused::Full(input));
        }
        self.bytes += bytes;
        lane.push(urgency, bytes, input);
        self.line_up(peer, clock);
        Ok(())
    }

    /// The input of whoever has used least; a prompt one first, if its peer has used no more than that.
    pub fn pop(&mut self) -> Option<(K, T)> {
        let least = self.turns.first()?;
        let first = self.prompt.first().filter(|(used, _)| *used <= least.0).unwrap_or(least);
        let peer = first.1.clone();
        self.step_out(&peer);
        let lane = self.lanes.get_mut(&peer)?;
        self.clock = self.clock.max(lane.used);
        let (bytes, input) = lane.pop()?;
        self.bytes -= bytes;
        // Whoever forgets to charge still gives others their turn.
        lane.used = lane.used.saturating_add(1);
        self.used = self.used.saturating_add(1);
        let used = self.used;
        self.line_up(&peer, used);
        Some((peer, input))
    }

    pub fn charge(&mut self, peer: &K, cost: u64) {
        self.used = self.used.saturating_add(cost.saturating_mul(PARTS) / u64::from(self.limits.share.max(1)));
        self.step_out(peer);
        if let Some(lane) = self.lanes.get_mut(peer) {
            lane.used = lane.used.saturating_add(cost);
        }
        let used = self.used;
        self.line_up(peer, used);
    }

    pub fn set_held(&mut self, peer: &K, held: bool, clock: u64) {
        self.step_out(peer);
        if let Some(lane) = self.lanes.get_mut(peer) {
            lane.held = held;
        }
        self.line_up(peer, clock);
    }

    /// Gives a lane with work its place in the turns. Whoever was away starts where the others are.
    fn line_up(&mut self, peer: &K, clock: u64) {
        let Some(lane) = self.lanes.get_mut(peer).filter(|lane| lane.has_work()) else { return };
        if self.turns.is_empty() {
            self.used = self.used.max(clock);
        }
        lane.used = lane.used.max(self.clock);
        let place = (lane.used, peer.clone());
        if lane.has_prompt() {
            self.prompt.insert(place.clone());
        }
        self.turns.insert(place);
    }

    fn step_out(&mut self, peer: &K) {
        if let Some(lane) = self.lanes.get(peer) {
            let place = (lane.used, peer.clone());
            self.turns.remove(&place);
            self.prompt.remove(&place);
        }
    }
}
