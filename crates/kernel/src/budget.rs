//! A budget that refills with time: what one peer may cost.

use std::time::Duration;

use crate::time::Time;

/// A token bucket: up to `burst` units at once, refilled at `per_second` units a second.
///
/// Units are what the caller counts in: requests, bytes, signatures to verify. Fractions of a unit are kept, so a
/// budget that is asked often refills as fast as one that is asked rarely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    per_second: u64,
    burst: u64,
    /// Units left, in nano-units.
    left: u128,
    refilled: Time,
}

const NANOS: u128 = 1_000_000_000;

impl Budget {
    /// A full budget.
    pub const fn new(now: Time, per_second: u64, burst: u64) -> Self {
        Budget { per_second, burst, left: burst as u128 * NANOS, refilled: now }
    }

    /// Takes `units` if they are there; otherwise takes nothing and answers false.
    ///
    /// A cost above the whole burst is never paid.
    pub fn take(&mut self, now: Time, units: u64) -> bool {
        self.refill(now);
        let cost = u128::from(units) * NANOS;
        let paid = self.left >= cost;
        if paid {
            self.left -= cost;
        }
        paid
    }

    /// Units that could be taken now.
    pub fn left(&mut self, now: Time) -> u64 {
        self.refill(now);
        u64::try_from(self.left / NANOS).unwrap_or(u64::MAX)
    }

    /// When `units` can be taken: now at the earliest, `None` if never.
    pub fn ready_at(&mut self, now: Time, units: u64) -> Option<Time> {
        self.refill(now);
        let lacking = (u128::from(units) * NANOS).saturating_sub(self.left);
        if lacking == 0 {
            return Some(now);
        }
        if units > self.burst || self.per_second == 0 {
            return None;
        }
        let nanos = lacking.div_ceil(u128::from(self.per_second));
        Some(now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    fn refill(&mut self, now: Time) {
        let gained = now.since(self.refilled).as_nanos().saturating_mul(u128::from(self.per_second));
        self.left = self.left.saturating_add(gained).min(u128::from(self.burst) * NANOS);
        self.refilled = self.refilled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_is_spent_and_refills() {
        let mut budget = Budget::new(at(0), 10, 5);
        assert!((0..5).all(|_| budget.take(at(0), 1)));
        assert!(!budget.take(at(99), 1));
        assert!(budget.take(at(100), 1));
        assert_eq!(budget.ready_at(at(100), 5), Some(at(600)));
        assert_eq!(budget.ready_at(at(100), 6), None, "more than the burst is never there");
        assert_eq!(budget.left(at(60_000)), 5, "no more than the burst is saved up");
    }

    #[test]
    fn time_that_goes_back_gives_nothing() {
        let mut budget = Budget::new(at(1000), 1000, 1);
        assert!(budget.take(at(1000), 1));
        assert!(!budget.take(at(0), 1));
        assert!(!budget.take(at(1000), 1));
        assert!(budget.take(at(1001), 1));
    }

    proptest! {
        /// Whoever asks, however often: no more than the burst and the rate is ever paid.
        #[test]
        fn never_more_than_the_rate(asks in prop::collection::vec((0u64..50, 0u64..20), 1..200)) {
            let mut budget = Budget::new(at(0), 40, 16);
            let (mut now, mut paid) = (0, 0);
            for (wait, units) in asks {
                now += wait;
                if budget.take(at(now), units) { paid += units; }
                prop_assert!(paid * 1000 <= 16 * 1000 + now * 40);
            }
        }

        /// What is ready when it says so can be taken then, and not a millisecond before.
        #[test]
        fn ready_means_ready(spent in 0u64..=16, units in 1u64..=16) {
            let mut budget = Budget::new(at(0), 40, 16);
            prop_assert!(budget.take(at(0), spent));
            let ready = budget.ready_at(at(0), units).unwrap();
            prop_assert!(budget.clone().take(ready, units));
            if ready > at(0) {
                let before = Time::from_start(ready.since_start() - Duration::from_nanos(1));
                prop_assert!(!budget.take(before, units));
            }
        }
    }
}
