//! Timers that adapt to the ring, and the pause of a site that was not scheduled. Monotonic time only.

use std::time::Duration;

use ringfort_kernel::Time;

use crate::limits::Timers;

/// However slow a ring is, a lost token is noticed after this.
const TOKEN_LOSS_MAX: Duration = Duration::from_secs(5);

/// How long the token's rotation takes, smoothed as a round-trip time is (Jacobson 1988).
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    timers: Timers,
    smoothed: Duration,
    deviation: Duration,
    last: Option<Time>,
}

impl Rotation {
    /// No rotation was seen yet.
    pub fn new(timers: Timers) -> Self {
        Rotation { timers, smoothed: Duration::ZERO, deviation: Duration::ZERO, last: None }
    }

    /// The token came.
    pub fn visited(&mut self, now: Time) {
        if let Some(last) = self.last {
            let sample = now.since(last).min(TOKEN_LOSS_MAX);
            self.deviation = (self.deviation * 3 + sample.abs_diff(self.smoothed)) / 4;
            self.smoothed = (self.smoothed * 7 + sample) / 8;
        }
        self.last = Some(now);
    }

    /// After how long without a sign of it the token is lost.
    pub fn token_loss(&self) -> Duration {
        let adapted = self.smoothed * 6 + self.deviation * 4;
        (self.timers.token_loss_min.max(adapted) + self.timers.idle_hold).min(TOKEN_LOSS_MAX)
    }

    /// After how long without a sign of it the same token is sent again.
    pub fn token_resend(&self) -> Duration {
        self.token_loss() / 10
    }
}

/// Whether this site was asleep: woken later than it asked to be, by more than the ring waits for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sleep {
    wanted: Option<Time>,
}

impl Sleep {
    /// The site asks to be woken then.
    pub fn expect(&mut self, wakeup: Option<Time>) {
        self.wanted = wakeup;
    }

    /// How long it overslept, if that is longer than `limit`.
    pub fn overslept(&mut self, now: Time, limit: Duration) -> Option<Duration> {
        let late = now.since(self.wanted?);
        self.wanted = None;
        (late > limit).then_some(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_slow_ring_waits_longer_for_its_token_and_a_fast_one_never_less_than_the_least() {
        let timers = Timers::default();
        let mut rotation = Rotation::new(timers);
        (0..100).for_each(|visit| rotation.visited(at(visit)));
        assert_eq!(rotation.token_loss(), timers.token_loss_min + timers.idle_hold);
        (1..100).for_each(|visit| rotation.visited(at(100 + visit * 200)));
        assert!(rotation.token_loss() > Duration::from_millis(1150), "{:?}", rotation.token_loss());
        (1..100).for_each(|visit| rotation.visited(at(40_000 + visit * 60_000)));
        assert_eq!(rotation.token_loss(), TOKEN_LOSS_MAX);
    }

    #[test]
    fn who_is_woken_much_later_than_asked_was_asleep() {
        let mut sleep = Sleep::default();
        assert_eq!(sleep.overslept(at(10_000), Duration::from_millis(300)), None, "nothing was asked for");
        sleep.expect(Some(at(1000)));
        assert_eq!(sleep.overslept(at(1200), Duration::from_millis(300)), None);
        sleep.expect(Some(at(2000)));
        assert_eq!(sleep.overslept(at(2301), Duration::from_millis(300)), Some(Duration::from_millis(301)));
    }
}
