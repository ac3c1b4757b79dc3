//! How many connections may exist, and what one costs before it has logged in.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
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
    unauthenticated: usize,
    /// Never holds a zero, so it is no longer than `unauthenticated`.
    unauthenticated_by_address: HashMap<IpAddr, usize>,
}

/// Which limit a connection would have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Full {
    #[error("too many connections from this address have not logged in")]
    Address,
    #[error("too many connections have not logged in")]
    Unauthenticated,
    #[error("too many connections")]
    Connections,
}

#[derive(Debug, Error)]
#[error("too many bytes before login")]
pub(super) struct BytesBeforeLogin;

impl Admissions {
    pub(super) fn new(limits: AcceptLimits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// Counts a connection in; it is counted out when the returned guard is dropped.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<SlotGuard, Full> {
        let address = counted_address(address);
        let mut counts = self.counts();
        let from_address = counts.unauthenticated_by_address.get(&address);
        let from_address = from_address.copied().unwrap_or(0);
        if from_address >= self.limits.unauthenticated_per_address_max {
            return Err(Full::Address);
        }
        if counts.unauthenticated >= self.limits.unauthenticated_max {
            return Err(Full::Unauthenticated);
        }
        if counts.connections >= self.limits.connections_max {
            return Err(Full::Connections);
        }
        counts.connections += 1;
        counts.unauthenticated += 1;
        counts.unauthenticated_by_address.insert(address, from_address + 1);
        Ok(SlotGuard(Arc::new(Slot {
            admissions: self.clone(),
            address,
            login_deadline: now + self.limits.login_timeout,
            bytes: AtomicUsize::new(0),
            unauthenticated: AtomicBool::new(true),
        })))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place among the counted.
#[derive(Debug)]
pub(super) struct Slot {
    admissions: Arc<Admissions>,
    address: IpAddr,
    pub(super) login_deadline: Instant,
    bytes: AtomicUsize,
    unauthenticated: AtomicBool,
}

impl Slot {
    pub(super) fn is_authenticated(&self) -> bool {
        !self.unauthenticated.load(Ordering::Acquire)
    }

    /// Stops counting this connection against those that have not logged in. Idempotent.
    pub(super) fn authenticated(&self) {
        let mut counts = self.admissions.counts();
        if !self.unauthenticated.swap(false, Ordering::AcqRel) {
            return;
        }
        counts.unauthenticated = counts.unauthenticated.saturating_sub(1);
        if let Some(count) = counts.unauthenticated_by_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.unauthenticated_by_address.remove(&self.address);
            }
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
        self.0.authenticated();
        let mut counts = self.0.admissions.counts();
        counts.connections = counts.connections.saturating_sub(1);
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
            connections_max: 4,
            unauthenticated_bytes_max: 10,
            ..AcceptLimits::default()
        })
    }

    #[test]
    fn every_limit_is_kept_and_nothing_leaks() {
        let all = admissions();
        let now = Instant::now();
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let b: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::ffff".parse().unwrap();
        let first = all.admit(a, now).unwrap();
        let second = all.admit(mapped, now).unwrap();
        assert_eq!(all.admit(a, now).unwrap_err(), Full::Address);
        let third = all.admit(b, now).unwrap();
        assert_eq!(all.admit(neighbour, now).unwrap_err(), Full::Unauthenticated);
        first.slot().authenticated();
        first.slot().authenticated();
        let fourth = all.admit(a, now).unwrap();
        second.slot().authenticated();
        assert_eq!(all.admit(a, now).unwrap_err(), Full::Connections);
        drop((first, second, third, fourth));
        let counts = all.counts();
        assert_eq!((counts.connections, counts.unauthenticated), (0, 0));
        assert!(counts.unauthenticated_by_address.is_empty());
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
