//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with jitter: the wait is drawn from the upper half of a window that doubles
/// up to a maximum. Pure: the caller brings the randomness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    window: Duration,
}

impl Backoff {
    /// Windows from `first` to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        let first = first.min(max);
        Self { first, max, window: first }
    }

    /// The wait before the next attempt: between half the window and the window, by `random`, which
    /// should be uniform. The window then doubles.
    pub fn next(&mut self, random: u64) -> Duration {
        let half = self.window / 2;
        let fraction = random as f64 / u64::MAX as f64;
        let wait = half.saturating_add(half.mul_f64(fraction)).min(self.window);
        self.window = self.window.saturating_mul(2).min(self.max);
        wait
    }

    /// Starts over; call it after a success.
    pub fn reset(&mut self) {
        self.window = self.first;
    }
}

impl Default for Backoff {
    /// 100 ms to 5 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_maximum_and_starts_over() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..8).map(|_| backoff.next(u64::MAX).as_millis() as u64).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.next(0), Duration::from_millis(50));
    }

    #[test]
    fn jitter_stays_in_the_upper_half_and_never_overflows() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::MAX);
        for step in 0..200_u64 {
            let window = backoff.window;
            let wait = backoff.next(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            assert!(wait >= window / 2 && wait <= window, "{wait:?} of {window:?}");
        }
    }
}
