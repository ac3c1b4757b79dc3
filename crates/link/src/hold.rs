//! How long a receiver that is behind may hold up those who send to it.

use std::time::Duration;

use ringfort_kernel::{Budget, Time};
use tokio::time::Instant;

/// Of all time a receiver may hold up senders for a sixth, beside [`hold_max`](super::LinkLimits::hold_max) at once. A message
/// goes through several leaders, and one receiver may hold up each of them at another time: so each has its part of both.
/// With two of them, whoever reads eleven twelfths as fast as the others is given everything.
const PARTS: u64 = 6;
/// A link that has used up what it may hold up senders holds up none for so long.
const AGAIN: Duration = Duration::from_millis(50);

/// The account of one link.
#[derive(Debug)]
pub(super) struct Hold {
    /// Microseconds for which it may hold up senders.
    allowance: Budget,
    /// What it could not pay yet.
    debt: u64,
    /// When time starts for the allowance.
    start: Instant,
    /// Up to here it has paid.
    paid: Instant,
    holds: bool,
    loses: bool,
}

impl Hold {
    /// Of one of so many links that a message goes through.
    pub(super) fn new(hold_max: Duration, relays: usize) -> Self {
        let relays = u64::try_from(relays.max(1)).unwrap_or(u64::MAX);
        let (burst, start) = (micros(hold_max) / relays, Instant::now());
        let per_second = if burst == 0 { 0 } else { micros(Duration::from_secs(1)) / PARTS / relays };
        let allowance = Budget::new(Time::ZERO, per_second, burst);
        Hold { allowance, debt: 0, start, paid: start, holds: false, loses: false }
    }

    /// Senders waited for it in this time. Several that waited at once are paid for once.
    pub(super) fn pay(&mut self, from: Instant, until: Instant) {
        let time = self.time(until);
        self.debt += micros(until.saturating_duration_since(from.max(self.paid)));
        self.settle(time);
        self.paid = self.paid.max(until);
    }

    /// Senders look at it now and then, so they may have waited for longer than it had left: it owes them that.
    fn settle(&mut self, time: Time) {
        let part = self.debt.min(self.allowance.left(time));
        self.allowance.take(time, part);
        self.debt -= part;
    }

    /// Whether senders wait for it, now that it is behind.
    pub(super) fn holds(&mut self, now: Instant) -> bool {
        let (time, least) = (self.time(now), if self.holds { 1 } else { micros(AGAIN) });
        self.settle(time);
        self.holds = !self.loses && self.debt == 0 && self.allowance.left(time) >= least;
        self.holds
    }

    /// There was no room for a frame: it is too slow, and nobody waits for it until it has caught up.
    pub(super) fn lost(&mut self) {
        self.loses = true;
    }

    /// Whether it loses data.
    pub(super) fn loses(&self) -> bool {
        self.loses
    }

    /// It has read almost all that was there for it.
    pub(super) fn caught_up(&mut self) {
        self.loses = false;
    }

    fn time(&self, now: Instant) -> Time {
        Time::from_start(now.saturating_duration_since(self.start))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(5);

    /// How long a receiver that never keeps up holds up senders on so many links, one after the other whenever it may.
    fn held(relays: usize, lasting: Duration) -> Duration {
        let mut links: Vec<Hold> = (0..relays).map(|_| Hold::new(Duration::from_secs(1), relays)).collect();
        let (mut now, mut held) = (Instant::now(), Duration::ZERO);
        let end = now + lasting;
        while now < end {
            if let Some(link) = links.iter_mut().find_map(|link| link.holds(now).then_some(link)) {
                link.pay(now, now + STEP);
                held += STEP;
            }
            now += STEP;
        }
        held
    }

    #[test]
    fn a_receiver_holds_up_senders_for_a_second_and_a_sixth_of_the_time_however_many_links_its_messages_go_through() {
        for relays in 1..=5 {
            for lasting in [12, 20, 120].map(Duration::from_secs) {
                let (held, most) = (held(relays, lasting), Duration::from_secs(1) + lasting / 6);
                assert!(held <= most + STEP * 10, "{relays} links: {held:?} of {lasting:?}");
                assert!(held >= most * 9 / 10, "{relays} links, and it was hardly waited for: {held:?} of {lasting:?}");
            }
        }
    }
}
