//! What a process has of its machine: randomness, clocks, memory that stays.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand_core::UnwrapErr;
use ringfort_kernel::Time;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::time::{ClockId, clock_gettime};

/// The system's randomness. A process that cannot get any ends.
pub type OsRng = UnwrapErr<getrandom::SysRng>;

/// The system's randomness.
pub fn os_rng() -> OsRng {
    UnwrapErr(getrandom::SysRng)
}

/// A clock whose zero is now. Nobody sets it, and it goes on while the process is stopped.
#[derive(Clone, Copy, Debug)]
pub struct Monotonic {
    start: Duration,
}

impl Monotonic {
    /// From now on.
    pub fn start() -> Self {
        // A second is added, so that no moment is the zero that stands for none.
        Monotonic { start: raw().saturating_sub(Duration::from_secs(1)) }
    }

    /// This moment.
    pub fn now(&self) -> Time {
        Time::from_start(raw().saturating_sub(self.start))
    }
}

fn raw() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

/// The wall clock, Unix time in milliseconds.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Keeps the memory that the process has from being paged out; otherwise why not. What it takes later is little, and
/// must not fail for a limit on locked memory.
///
/// # Errors
/// What the system says.
pub fn lock_memory() -> Result<(), String> {
    mlockall(MlockAllFlags::CURRENT).map_err(|error| error.to_string())
}
