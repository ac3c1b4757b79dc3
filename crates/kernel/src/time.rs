//! Time and randomness, as arguments.

use std::ops::Add;
use std::time::Duration;

use rand_core::CryptoRng;

/// A moment on a monotonic clock whose zero is the start of the process (or of the simulation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The clock's zero.
    pub const ZERO: Time = Time(Duration::ZERO);

    /// The moment `elapsed` after the clock's zero.
    pub const fn from_start(elapsed: Duration) -> Self {
        Time(elapsed)
    }

    /// Time since the clock's zero.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, length: Duration) -> Time {
        Time(self.0.saturating_add(length))
    }
}

/// What the outside world lends to a component for one step.
pub struct Cx<'a> {
    /// The monotonic clock, for every timer.
    pub now: Time,
    /// The wall clock, Unix time in milliseconds: for the expiry of certificates and for what is written down of
    /// views. It may jump; nothing is decided by it but those.
    pub unix_ms: u64,
    /// The only source of randomness.
    pub rng: &'a mut dyn CryptoRng,
}

/// The earlier of two optional deadlines.
pub fn earliest(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
