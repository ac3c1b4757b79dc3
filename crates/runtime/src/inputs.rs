//! The fair inbox between the tasks that read links and the one task that owns a core.
//!
//! A reader whose lane is full waits for this lane alone, and with it TCP makes its peer wait, and nobody else.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ringfort_kernel::inbox::{Inbox, PoolId, PoolLimits, Refused, Urgency};
use ringfort_protocol::wire::{self, Sorted};
use tokio::sync::Notify;

/// A frame up to this length may share its memory with many others that arrived with it.
const SHARED_BYTES_MAX: usize = 64 * 1024;

/// The lane is closed, or the driver is gone.
#[derive(Debug)]
pub struct Shut;

/// Many hold it; all clones are one inbox.
pub struct Inputs<K, T> {
    shared: Arc<Shared<K, T>>,
}

struct Shared<K, T> {
    state: Mutex<State<K, T>>,
    work: Notify,
}

struct State<K, T> {
    inbox: Inbox<K, T>,
    /// Lanes that a reader waits for, or has waited for.
    bells: BTreeMap<K, Arc<Notify>>,
}

impl<K, T> Clone for Inputs<K, T> {
    fn clone(&self) -> Self {
        Inputs { shared: self.shared.clone() }
    }
}

impl<K: Ord + Clone, T> Inputs<K, T> {
    /// With these bounds of its pools.
    pub fn new(pools: impl IntoIterator<Item = PoolLimits>) -> Self {
        let state = State { inbox: Inbox::new(pools), bells: BTreeMap::new() };
        Inputs { shared: Arc::new(Shared { state: Mutex::new(state), work: Notify::new() }) }
    }

    /// See [`Inbox::open`].
    pub fn open(&self, peer: K, pool: PoolId) {
        self.state().inbox.open(peer, pool);
    }

    /// See [`Inbox::close`]. Readers of the lane end.
    pub fn close(&self, peer: &K) {
        let mut state = self.state();
        state.inbox.close(peer);
        if let Some(bell) = state.bells.remove(peer) {
            bell.notify_waiters();
        }
    }

    /// Puts in an input of so many bytes, once there is room for it in this very peer's lane.
    pub async fn push(&self, peer: &K, urgency: Urgency, bytes: usize, mut input: T) -> Result<(), Shut> {
        loop {
            let bell = {
                let mut state = self.state();
                match state.inbox.push(peer, urgency, bytes, input) {
                    Ok(()) => {
                        drop(state);
                        self.shared.work.notify_one();
                        return Ok(());
                    }
                    Err(Refused::NoLane(_)) => return Err(Shut),
                    Err(Refused::Full(back)) => input = back,
                }
                state.bells.entry(peer.clone()).or_default().clone()
            };
            let mut rung = pin!(bell.notified());
            // Between the lock and here, the lane may have been emptied (a permit is kept) or closed (none is).
            rung.as_mut().enable();
            if !self.state().bells.contains_key(peer) {
                return Err(Shut);
            }
            rung.await;
        }
    }

    /// Puts in a frame. One that will wait keeps no more memory than it is counted with.
    pub async fn push_frame(&self, peer: &K, frame: Bytes, input: impl FnOnce(Bytes) -> T) -> Result<(), Shut> {
        let waits = frame.len() <= SHARED_BYTES_MAX && self.state().inbox.bytes_of(peer) > 0;
        let frame = if waits { Bytes::copy_from_slice(&frame) } else { frame };
        self.push(peer, urgency(&frame), frame.len(), input(frame)).await
    }

    /// Resolves when [`Inputs::pop`] has something to give.
    pub async fn ready(&self) {
        loop {
            let mut work = pin!(self.shared.work.notified());
            work.as_mut().enable();
            if self.state().inbox.has_work() {
                return;
            }
            work.await;
        }
    }

    /// See [`Inbox::pop`].
    pub fn pop(&self) -> Option<(K, T)> {
        let mut state = self.state();
        let (peer, input) = state.inbox.pop()?;
        if let Some(bell) = state.bells.get(&peer) {
            bell.notify_one();
        }
        Some((peer, input))
    }

    /// See [`Inbox::charge`].
    pub fn charge(&self, peer: &K, cost: u64) {
        self.state().inbox.charge(peer, cost);
    }

    /// See [`Inbox::hold`].
    pub fn hold(&self, peer: &K) {
        self.state().inbox.hold(peer);
    }

    /// See [`Inbox::release`].
    pub fn release(&self, peer: &K) {
        self.state().inbox.release(peer);
        self.shared.work.notify_one();
    }

    /// Inputs that wait, and their bytes.
    pub fn waiting(&self) -> (usize, usize) {
        let state = self.state();
        (state.inbox.waiting(), state.inbox.bytes())
    }

    fn state(&self) -> MutexGuard<'_, State<K, T>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What members send each other comes in quantity; all else is what the group needs to go on.
fn urgency(frame: &Bytes) -> Urgency {
    match wire::sort(frame) {
        Ok(Sorted::Plain(_) | Sorted::Sealed(_)) => Urgency::Prompt,
        Ok(Sorted::Data) | Err(_) => Urgency::Bulk,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn inputs() -> Inputs<u8, u32> {
        let inputs = Inputs::new([PoolLimits { share: 1, lane_bytes_max: 1_000, bytes_max: 10_000 }]);
        (0..3).for_each(|peer| inputs.open(peer, PoolId(0)));
        inputs
    }

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        timeout(Duration::from_secs(60), future).await.expect("this should have happened long ago")
    }

    #[tokio::test]
    async fn a_reader_waits_for_its_own_lane_alone_and_goes_on_in_order() {
        let inputs = inputs();
        let loud = tokio::spawn({
            let inputs = inputs.clone();
            async move {
                for n in 0..100 {
                    inputs.push(&0, Urgency::Bulk, 300, n).await.unwrap();
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!loud.is_finished() && inputs.waiting().0 < 4);
        soon(inputs.push(&1, Urgency::Bulk, 300, 1_000)).await.unwrap();
        let (mut next, mut quiet) = (0, None);
        while next < 100 {
            soon(inputs.ready()).await;
            match inputs.pop().unwrap() {
                (0, n) => {
                    assert_eq!(n, next);
                    next += 1;
                    inputs.charge(&0, 1_000);
                }
                (_, _) => quiet = Some(next),
            }
        }
        assert!(quiet.is_some_and(|after| after <= 1), "served after {quiet:?} of the other's");
        soon(loud).await.unwrap();
    }

    #[tokio::test]
    async fn whoever_waits_for_a_lane_that_is_closed_is_told() {
        let inputs = inputs();
        soon(inputs.push(&0, Urgency::Bulk, 2_000, 0)).await.unwrap();
        let waiting = tokio::spawn({
            let inputs = inputs.clone();
            async move { inputs.push(&0, Urgency::Bulk, 10, 1).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        inputs.close(&0);
        assert!(soon(waiting).await.unwrap().is_err());
        assert!(inputs.push(&0, Urgency::Bulk, 10, 2).await.is_err());
        assert_eq!(inputs.waiting(), (0, 0));
    }

    #[tokio::test]
    async fn what_waits_does_not_keep_the_memory_it_came_in() {
        let inputs: Inputs<u8, Bytes> =
            Inputs::new([PoolLimits { share: 1, lane_bytes_max: 10_000, bytes_max: 10_000 }]);
        inputs.open(0, PoolId(0));
        let arrived = Bytes::from(vec![1; 64 * 1024]);
        for _ in 0..2 {
            soon(inputs.push_frame(&0, arrived.slice(..100), |frame| frame)).await.unwrap();
        }
        let place = arrived.as_ptr() as usize..arrived.as_ptr() as usize + arrived.len();
        let shares = |frame: &Bytes| place.contains(&(frame.as_ptr() as usize));
        assert!(shares(&inputs.pop().unwrap().1), "the first is not copied");
        assert!(!shares(&inputs.pop().unwrap().1), "one that waits behind it is");
    }
}
