//! How many connections may exist, what one costs before it has logged in, and who makes way when all places
//! before login are taken.
//!
//! A newcomer is not turned away then: of the address with the most waiting connections the oldest makes way, first
//! one that has not even finished its handshake. So who fills the door gives way to himself, and whoever comes from
//! elsewhere has the time of a login. An attacker with very many addresses can still hold it up.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::AcceptLimits;

/// All counts of one listener.
#[derive(Debug)]
pub(super) struct Admissions {
    limits: AcceptLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    /// Connections that have not logged in, oldest first.
    waiting: BTreeMap<u64, Arc<Slot>>,
    /// Never holds a zero, so it is no longer than `waiting`.
    waiting_by_address: HashMap<IpAddr, usize>,
    /// Told to make way, and not gone yet.
    leaving: usize,
    admitted: u64,
}

/// Which limit a connection would have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Full {
    #[error("too many connections have not logged in, and those that make way are not gone yet")]
    Leaving,
    #[error("too many connections")]
    Connections,
}

#[derive(Debug, Error)]
#[error("too many bytes before login")]
pub(super) struct BytesBeforeLogin;

#[derive(Debug, Error)]
#[error("too many frames before login")]
pub(super) struct FramesBeforeLogin;

impl Admissions {
    pub(super) fn new(limits: AcceptLimits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// Counts a connection in; it is counted out when the returned guard is dropped.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<SlotGuard, Full> {
        let address = counted_address(address);
        let mut counts = self.counts();
        if counts.connections >= self.limits.connections_max {
            return Err(Full::Connections);
        }
        if let Some(crowd) = self.crowd(&counts, address) {
            if counts.leaving >= self.limits.unauthenticated_max {
                return Err(Full::Leaving);
            }
            counts.make_way(crowd);
        }
        counts.connections += 1;
        counts.admitted += 1;
        let slot = Arc::new(Slot {
            admissions: self.clone(),
            id: counts.admitted,
            address,
            login_deadline: now + self.limits.login_timeout,
            bytes: AtomicUsize::new(0),
            frames: AtomicUsize::new(0),
            handshaken: AtomicBool::new(false),
            unauthenticated: AtomicBool::new(true),
            leaving: AtomicBool::new(false),
            way: Notify::new(),
        });
        counts.waiting.insert(slot.id, slot.clone());
        *counts.waiting_by_address.entry(address).or_default() += 1;
        Ok(SlotGuard(slot))
    }

    /// The address of which a connection must make way for one from `newcomer`, if one must.
    fn crowd(&self, counts: &Counts, newcomer: IpAddr) -> Option<IpAddr> {
        let own = counts.waiting_by_address.get(&newcomer).copied().unwrap_or_default();
        if own >= self.limits.unauthenticated_per_address_max {
            return Some(newcomer);
        }
        if counts.waiting.len() < self.limits.unauthenticated_max {
            return None;
        }
        let largest = counts.waiting_by_address.iter().max_by_key(|(_, count)| **count);
        largest.filter(|(_, count)| **count > own).map(|(address, _)| *address).or(Some(newcomer))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// The oldest connection of an address is told to go, first one that has not finished its handshake.
    fn make_way(&mut self, address: IpAddr) {
        let of_address = || self.waiting.values().filter(|slot| slot.address == address);
        let greeting = of_address().find(|slot| !slot.handshaken.load(Ordering::Acquire));
        // Where all places are taken by single connections of many addresses, the oldest of all goes.
        let chosen = greeting.or_else(|| of_address().next()).or_else(|| self.waiting.values().next()).cloned();
        if let Some(slot) = chosen {
            self.forget(&slot);
            self.leaving += 1;
            slot.leaving.store(true, Ordering::Release);
            slot.way.notify_one();
        }
    }

    /// The connection waits no longer; false if it did not.
    fn forget(&mut self, slot: &Slot) -> bool {
        if self.waiting.remove(&slot.id).is_none() {
            return false;
        }
        if let Some(count) = self.waiting_by_address.get_mut(&slot.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.waiting_by_address.remove(&slot.address);
            }
        }
        true
    }
}

/// One connection's place among the counted.
#[derive(Debug)]
pub(super) struct Slot {
    admissions: Arc<Admissions>,
    id: u64,
    address: IpAddr,
    pub(super) login_deadline: Instant,
    bytes: AtomicUsize,
    frames: AtomicUsize,
    handshaken: AtomicBool,
    unauthenticated: AtomicBool,
    leaving: AtomicBool,
    way: Notify,
}

impl Slot {
    pub(super) fn is_authenticated(&self) -> bool {
        !self.unauthenticated.load(Ordering::Acquire)
    }

    /// The handshake is complete: others make way first.
    pub(super) fn handshaken(&self) {
        self.handshaken.store(true, Ordering::Release);
    }

    /// Resolves when this connection must make way. One waiter at a time.
    pub(super) async fn made_way(&self) {
        while !self.leaving.load(Ordering::Acquire) {
            self.way.notified().await;
        }
    }

    /// Stops counting this connection against those that have not logged in. Idempotent; too late for one that was
    /// told to make way.
    pub(super) fn authenticated(&self) {
        if self.is_authenticated() {
            return;
        }
        if self.admissions.counts().forget(self) {
            self.unauthenticated.store(false, Ordering::Release);
        }
    }

    pub(super) fn count_bytes(&self, bytes: usize) -> io::Result<()> {
        if self.is_authenticated() {
            return Ok(());
        }
        let total = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if total > self.admissions.limits.unauthenticated_bytes_max {
            return Err(io::Error::other(BytesBeforeLogin));
        }
        Ok(())
    }

    pub(super) fn count_frame(&self) -> Result<(), FramesBeforeLogin> {
        let earlier = if self.is_authenticated() { 0 } else { self.frames.fetch_add(1, Ordering::Relaxed) };
        if earlier >= self.admissions.limits.unauthenticated_frames_max {
            return Err(FramesBeforeLogin);
        }
        Ok(())
    }
}

/// Held by the socket itself, so that a connection counts exactly as long as it costs a descriptor.
#[derive(Debug)]
pub(super) struct SlotGuard(Arc<Slot>);

impl SlotGuard {
    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.0
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        let mut counts = self.0.admissions.counts();
        counts.forget(&self.0);
        counts.connections = counts.connections.saturating_sub(1);
        if self.0.leaving.load(Ordering::Acquire) {
            counts.leaving = counts.leaving.saturating_sub(1);
        }
    }
}

/// A host usually owns a whole IPv6 /64, so that is what counts as one address.
fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admissions() -> Arc<Admissions> {
        Admissions::new(AcceptLimits {
            unauthenticated_max: 3,
            unauthenticated_per_address_max: 2,
            connections_max: 6,
            unauthenticated_bytes_max: 10,
            ..AcceptLimits::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn goes(guard: &SlotGuard) -> bool {
        guard.slot().leaving.load(Ordering::Acquire)
    }

    #[test]
    fn an_address_makes_way_for_itself_and_the_largest_for_others() {
        let all = admissions();
        let now = Instant::now();
        let (a, mapped, b) = (ip("192.0.2.1"), ip("::ffff:192.0.2.1"), ip("2001:db8::1"));
        let first = all.admit(a, now).unwrap();
        let second = all.admit(mapped, now).unwrap();
        let third = all.admit(a, now).unwrap();
        assert!(goes(&first) && !goes(&second) && !goes(&third), "the oldest of the same address");
        let fourth = all.admit(b, now).unwrap();
        second.slot().handshaken();
        let fifth = all.admit(ip("203.0.113.9"), now).unwrap();
        assert!(goes(&third) && !goes(&second) && !goes(&fourth), "of the largest, one still in its handshake");
        assert_eq!(all.counts().waiting.len(), 3);
        assert_eq!(all.counts().leaving, 2);
        drop((first, second, third, fourth, fifth));
        let counts = all.counts();
        assert_eq!((counts.connections, counts.waiting.len(), counts.leaving), (0, 0, 0));
        assert!(counts.waiting_by_address.is_empty());
    }

    #[test]
    fn one_host_counts_as_one_address() {
        let all = admissions();
        let first = all.admit(ip("2001:db8::1"), Instant::now()).unwrap();
        let _second = all.admit(ip("2001:db8::ffff"), Instant::now()).unwrap();
        let _third = all.admit(ip("2001:db8::2"), Instant::now()).unwrap();
        assert!(goes(&first));
    }

    #[test]
    fn those_who_make_way_are_bounded_too() {
        let all = admissions();
        let held: Vec<_> = (0..5).map(|_| all.admit(ip("192.0.2.1"), Instant::now()).unwrap()).collect();
        assert_eq!(all.counts().leaving, 3);
        assert_eq!(all.admit(ip("192.0.2.1"), Instant::now()).unwrap_err(), Full::Leaving);
        let other = all.admit(ip("192.0.2.2"), Instant::now()).unwrap();
        assert!(!goes(&other), "there was a place");
        assert_eq!(all.admit(ip("192.0.2.3"), Instant::now()).unwrap_err(), Full::Connections);
        drop(held);
        assert!(all.admit(ip("192.0.2.1"), Instant::now()).is_ok());
    }

    #[test]
    fn who_has_logged_in_makes_way_for_nobody() {
        let all = admissions();
        let member = all.admit(ip("192.0.2.1"), Instant::now()).unwrap();
        member.slot().authenticated();
        member.slot().authenticated();
        let _held: Vec<_> = (0..4).map(|_| all.admit(ip("192.0.2.1"), Instant::now()).unwrap()).collect();
        assert!(!goes(&member) && member.slot().is_authenticated());
        let late = all.admit(ip("192.0.2.7"), Instant::now()).unwrap();
        all.counts().make_way(ip("192.0.2.7"));
        late.slot().authenticated();
        assert!(!late.slot().is_authenticated(), "too late");
    }

    #[test]
    fn bytes_count_until_login() {
        let guard = admissions().admit([127, 0, 0, 1].into(), Instant::now()).unwrap();
        let slot = guard.slot();
        assert!(slot.count_bytes(10).is_ok());
        assert!(slot.count_bytes(1).is_err());
        slot.authenticated();
        assert!(slot.count_bytes(1 << 40).is_ok());
    }
}
