//! Times out of the room, each longer than the last: what deviating costs a peer.

use std::time::Duration;

use crate::time::Time;

/// How many lengths of the last time out a peer must behave for before it is forgotten.
const FORGOTTEN_AFTER: u32 = 10;

/// One peer's record: the first offence costs `first`, each further one twice the last, up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Penalty {
    first: Duration,
    max: Duration,
    last: Option<(Time, Duration)>,
}

impl Penalty {
    /// A clean record.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Penalty { first, max, last: None }
    }

    /// The peer deviated: for how long it is out from now. Offences during a time out change nothing.
    pub fn punish(&mut self, now: Time) -> Duration {
        if let Some(left) = self.left(now) {
            return left;
        }
        let length = match self.last {
            Some((end, length)) if now.since(end) < length.saturating_mul(FORGOTTEN_AFTER) => length.saturating_mul(2),
            _ => self.first,
        };
        let length = length.min(self.max);
        self.last = Some((now + length, length));
        length
    }

    /// How much longer the peer is out; `None` if it is not.
    pub fn left(&self, now: Time) -> Option<Duration> {
        self.last.map(|(end, _)| end.since(now)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_start(Duration::from_secs(secs))
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn each_time_out_is_twice_the_last_up_to_the_longest() {
        let mut penalty = Penalty::new(secs(1), secs(5));
        let (mut now, mut lengths) = (0, Vec::new());
        for _ in 0..5 {
            let length = penalty.punish(at(now));
            assert_eq!(penalty.punish(at(now)), length, "once for each time out");
            lengths.push(length);
            now += length.as_secs();
            assert_eq!(penalty.left(at(now)), None, "over when it said");
        }
        assert_eq!(lengths, [1, 2, 4, 5, 5].map(secs));
    }

    #[test]
    fn who_behaves_for_long_starts_over_and_who_does_not_does_not() {
        let mut penalty = Penalty::new(secs(1), secs(60));
        penalty.punish(at(0));
        assert_eq!(penalty.punish(at(10)), secs(2), "nine seconds after the first of one second");
        assert_eq!(penalty.punish(at(12 + 20)), secs(1), "twenty seconds after one of two");
    }
}
