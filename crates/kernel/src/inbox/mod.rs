//! A fair inbox: what many peers send to one worker, bounded in bytes, served in turn by what it costs.
//!
//! Each peer has a *lane*, a queue of its own. Lanes belong to *pools*, kinds of peers that must not be in each
//! other's way: leaders, members, strangers. The worker takes one input after the other ([`Inbox::pop`]) and says
//! afterwards what it cost ([`Inbox::charge`]): time, as a rule.
//!
//! What it promises:
//! - *Nobody waits for the loud.* A peer that has not used more than its share waits for at most one input of
//!   every other peer of its pool, whatever those cost and however much of it waits, and for the share of other
//!   pools.
//! - *Bytes are bounded.* A lane holds at most its pool's `lane_bytes_max`, a pool at most its `bytes_max`, and
//!   besides at most one input of each lane: whoever has nothing in its lane is always heard. A full lane is
//!   its own sender's trouble, who waits.
//! - *Order is kept*, for each peer and [`Urgency`].
//! - *Debts stay.* A peer that is quiet for a while comes back with what it owes, and with nothing saved up.
//!
//! The method is start-time fair queueing (Goyal, Vin, Cheng 1996) over two levels, pools and lanes, where
//! deficit round robin would do as well. Each of them has a count of what it has used; who has used least goes
//! next; who comes back is set to the count of those who were served meanwhile. A cost that is known only
//! afterwards makes no difference to it.

mod lane;
mod pool;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use lane::Lane;
use pool::Pool;

/// What an input takes beside its own bytes: its place in the queue.
pub const INPUT_OVERHEAD_BYTES: usize = 64;

/// Costs are counted in this many parts for the shares of pools.
const PARTS: u64 = 840;

/// A kind of peers, by its place in the list that [`Inbox::new`] was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolId(pub usize);

/// What the peers of one kind may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Its share of the worker while others want it too, as parts of all pools' shares together.
    pub share: u32,
    /// What may wait of one peer, bytes.
    pub lane_bytes_max: usize,
    /// What may wait of all of them, bytes.
    pub bytes_max: usize,
}

/// Which of one peer's inputs go first. In debt, a peer's urgent inputs wait like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Signs of life, leaves, logins: before bulk, also that of others.
    Prompt,
    /// Everything that comes in quantity.
    Bulk,
}

/// Why an input was not taken; it is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// The lane or its pool is full. The lane is not empty then, so there is room again after one more
    /// [`Inbox::pop`] of this very peer.
    Full(T),
    /// There is no such lane.
    NoLane(T),
}

/// The inbox of one worker. `K` names a peer, `T` is an input.
#[derive(Debug)]
pub struct Inbox<K, T> {
    pools: Vec<Pool<K, T>>,
    homes: BTreeMap<K, PoolId>,
    /// What the pool served last had used before: where a pool that comes back starts.
    clock: u64,
    waiting: usize,
}

impl<K: Ord + Clone, T> Inbox<K, T> {
    /// An empty inbox with these pools.
    pub fn new(pools: impl IntoIterator<Item = PoolLimits>) -> Self {
        let pools = pools.into_iter().map(Pool::new).collect();
        Inbox { pools, homes: BTreeMap::new(), clock: 0, waiting: 0 }
    }

    /// Opens a lane. One that is open already moves to `pool`, with all that waits in it.
    pub fn open(&mut self, peer: K, pool: PoolId) {
        let mut lane = Lane::default();
        match self.homes.get(&peer) {
            Some(home) if *home == pool => return,
            Some(home) => {
                let home = *home;
                lane = self.pool(home).and_then(|pool| pool.remove(&peer)).unwrap_or_default();
                lane.used = 0;
            }
            None => {}
        }
        let clock = self.clock;
        if let Some(to) = self.pool(pool) {
            to.insert(peer.clone(), lane, clock);
            self.homes.insert(peer, pool);
        }
    }

    /// Closes a lane; what waits in it is gone.
    pub fn close(&mut self, peer: &K) {
        if let Some(lane) = self.homes.remove(peer).and_then(|home| self.pool(home)?.remove(peer)) {
            self.waiting -= lane.len();
        }
    }

    /// Takes an input of `bytes` bytes.
    ///
    /// # Errors
    /// There is no room for it, or no lane.
    pub fn push(&mut self, peer: &K, urgency: Urgency, bytes: usize, input: T) -> Result<(), Refused<T>> {
        let (home, clock) = (self.homes.get(peer).copied(), self.clock);
        let Some(pool) = home.and_then(|home| self.pool(home)) else { return Err(Refused::NoLane(input)) };
        pool.push(peer, urgency, bytes.saturating_add(INPUT_OVERHEAD_BYTES), input, clock)?;
        self.waiting += 1;
        Ok(())
    }

    /// The next input, and whose it is. To be followed by [`Inbox::charge`] with what it cost.
    pub fn pop(&mut self) -> Option<(K, T)> {
        let busy = self.pools.iter_mut().filter(|pool| pool.has_work());
        let pool = busy.min_by_key(|pool| pool.used)?;
        self.clock = self.clock.max(pool.used);
        let served = pool.pop()?;
        self.waiting -= 1;
        Some(served)
    }

    /// A peer has used this much of the worker. Pool and peer pay.
    pub fn charge(&mut self, peer: &K, cost: u64) {
        self.at_home(peer, |pool, _| pool.charge(peer, cost));
    }

    /// Holds a peer's bulk back until [`Inbox::release`]: those it is for cannot take more. What is prompt goes on.
    pub fn hold(&mut self, peer: &K) {
        self.at_home(peer, |pool, clock| pool.set_held(peer, true, clock));
    }

    /// Lets a peer's bulk go on.
    pub fn release(&mut self, peer: &K) {
        self.at_home(peer, |pool, clock| pool.set_held(peer, false, clock));
    }

    /// Whether [`Inbox::pop`] has something to give.
    pub fn has_work(&self) -> bool {
        self.pools.iter().any(Pool::has_work)
    }

    /// Inputs that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Bytes that wait, with [`INPUT_OVERHEAD_BYTES`] for each input.
    pub fn bytes(&self) -> usize {
        self.pools.iter().map(|pool| pool.bytes).sum()
    }

    /// Bytes that wait of one peer.
    pub fn bytes_of(&self, peer: &K) -> usize {
        let pool = self.homes.get(peer).and_then(|home| self.pools.get(home.0));
        pool.and_then(|pool| pool.lanes.get(peer)).map_or(0, |lane| lane.bytes)
    }

    fn pool(&mut self, id: PoolId) -> Option<&mut Pool<K, T>> {
        self.pools.get_mut(id.0)
    }

    fn at_home<R>(&mut self, peer: &K, change: impl FnOnce(&mut Pool<K, T>, u64) -> R) -> Option<R> {
        let (home, clock) = (*self.homes.get(peer)?, self.clock);
        Some(change(self.pool(home)?, clock))
    }
}
