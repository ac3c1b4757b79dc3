//! The clocks that drivers lend to protocol cores.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringfort_protocol::Time;

/// A monotonic clock that starts with its owner.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at a millisecond, since zero means "never" in places.
    pub fn start() -> Self {
        Clock { start: Instant::now() - Duration::from_millis(1) }
    }

    /// What it shows.
    pub fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    /// When it shows this.
    pub fn instant(&self, time: Time) -> tokio::time::Instant {
        (self.start + time.since_start()).into()
    }
}

/// The wall clock, in milliseconds since 1970.
pub fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
