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

/// What counts the time: on Linux the oscillator, which nothing that sets or slews clocks drives.
#[cfg(target_os = "linux")]
const TICKS: ClockId = ClockId::MonotonicRaw;
#[cfg(not(target_os = "linux"))]
const TICKS: ClockId = ClockId::Monotonic;
/// Goes on while the machine sleeps, where there is such a clock.
#[cfg(target_os = "linux")]
const SLEEPLESS: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const SLEEPLESS: ClockId = ClockId::Monotonic;
/// More than this and the machine has slept. Less is how well it is known for how long.
const SLEEP_MIN: Duration = Duration::from_micros(50);

/// A clock whose zero is now. Nobody sets it, and it goes on while the process is stopped or the machine sleeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostClock {
    start: Duration,
    slept: Duration,
}

impl HostClock {
    /// From now on.
    pub fn start() -> Self {
        let mut clock = HostClock::default();
        // The first readings say how long the machine had slept before; of several, the closest counts.
        let zero = (0..32).map(|_| clock.read().0).max().unwrap_or_default();
        // A second is added, so that no moment is the zero that stands for none.
        clock.start = zero.since_start().saturating_sub(Duration::from_secs(1));
        clock
    }

    /// This moment, and whether the machine has slept since the last one that was asked for.
    pub fn read(&mut self) -> (Time, bool) {
        // In this order, what comes between two readings makes the sleep seem shorter, and it never is longer.
        let sleepless = read(SLEEPLESS);
        self.at(sleepless.saturating_sub(read(ClockId::Monotonic)), read(TICKS))
    }

    fn at(&mut self, slept: Duration, ticks: Duration) -> (Time, bool) {
        let woke = slept > self.slept + SLEEP_MIN;
        self.slept = self.slept.max(slept);
        (Time::from_start((ticks + self.slept).saturating_sub(self.start)), woke)
    }
}

fn read(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_sleep_is_counted_and_noticed_once_and_no_reading_goes_back() {
        let mut clock = HostClock { start: millis(1_000), slept: millis(500) };
        let slept = |micros| millis(500) + Duration::from_micros(micros);
        for (read, expected) in [
            // Ticks and sleep so far, what is told, and whether it has slept.
            ((slept(0), millis(900)), (millis(400), false)),
            // Something came between two readings.
            ((millis(480), millis(901)), (millis(401), false)),
            ((slept(2_000_000), millis(902)), (millis(2_402), true)),
            ((slept(2_000_000), millis(903)), (millis(2_403), false)),
            ((slept(2_000_010), millis(904)), (millis(2_404) + Duration::from_micros(10), false)),
        ] {
            assert_eq!(clock.at(read.0, read.1), (Time::from_start(expected.0), expected.1));
        }
    }

    #[test]
    fn a_host_that_is_awake_has_not_slept_and_its_clock_begins_at_a_second() {
        let mut clock = HostClock::start();
        let mut last = Time::from_start(millis(999));
        for _ in 0..10_000 {
            let (now, woke) = clock.read();
            assert!(now >= last && !woke, "{last:?}, then {now:?}");
            last = now;
        }
        assert!(last < Time::from_start(Duration::from_secs(30)));
    }
}
