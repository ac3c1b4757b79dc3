//! What both drivers are made of: the inbox that readers fill, the outside world lent to a core, and the
//! peers that are kept out for a while.

mod barred;
pub mod clock;
mod inputs;

use std::time::{Duration, Instant};

use ringfort_documents::{OsRng, os_rng};
use ringfort_protocol::Cx;

pub use barred::Barred;
pub use inputs::Inputs;

use crate::clock::{Clock, unix_ms};

/// How long a driver serves inputs before it looks at everything else, and sends what came of them.
pub const SERVE_FOR: Duration = Duration::from_millis(5);
/// The same in bytes: what it relays before it looks whether receivers keep up.
pub const SERVE_BYTES: usize = 1024 * 1024;

/// Clocks and randomness.
pub struct Outside {
    /// The monotonic one.
    pub clock: Clock,
    rng: OsRng,
}

impl Outside {
    /// The clock starts now.
    pub fn start() -> Self {
        Outside { clock: Clock::start(), rng: os_rng() }
    }

    /// What a core is lent for one step.
    pub fn cx(&mut self) -> Cx<'_> {
        Cx { now: self.clock.now(), unix_ms: unix_ms(), rng: &mut self.rng }
    }

    /// When to wake a core that asked for this time; much later, if it asked for none.
    pub fn due(&self, wakeup: Option<ringfort_protocol::Time>) -> tokio::time::Instant {
        let far_away = || tokio::time::Instant::now() + Duration::from_secs(3600);
        wakeup.map_or_else(far_away, |time| self.clock.instant(time))
    }
}

/// What something took since it began, as a cost: nanoseconds.
pub fn cost_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
