//! Since when this member has been out of touch: the network is away, or this machine sleeps.

use std::time::Duration;

/// Looks come several times a second. Whoever has not looked for so long was not running.
const SLEPT_MS: u64 = 8_000;
/// After a sleep, what is known is old for a moment.
const WAKING_MS: u64 = 8_000;

/// Times are milliseconds since the Unix epoch, of a clock that goes on while the machine sleeps.
#[derive(Debug, Default)]
pub struct Absence {
    last_look: Option<u64>,
    since: Option<u64>,
    woke: Option<u64>,
}

impl Absence {
    /// A look at the stay: whether enough leaders confirm it, by what is known here.
    pub fn look(&mut self, now: u64, in_touch: bool) {
        let before = self.last_look.replace(now).unwrap_or(now);
        if now.saturating_sub(before) >= SLEPT_MS {
            self.since.get_or_insert(before);
            self.woke = Some(now);
        }
        let waking = self.woke.is_some_and(|woke| now.saturating_sub(woke) < WAKING_MS);
        if !in_touch {
            self.since.get_or_insert(now);
        } else if !waking {
            self.since = None;
        }
    }

    /// Since when it lasts, if it does.
    pub fn since(&self) -> Option<u64> {
        self.since
    }
}

/// A time in words: `77 s`, `12 min`, `3 h`.
pub fn about(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7199 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(absence: &mut Absence, times: std::ops::Range<u64>, in_touch: bool) {
        times.step_by(250).for_each(|now| absence.look(now, in_touch));
    }

    #[test]
    fn a_sleep_begins_with_the_last_look_before_it() {
        let mut absence = Absence::default();
        looks(&mut absence, 0..10_000, true);
        assert_eq!(absence.since(), None);
        // What is known after the sleep is what was known before it.
        looks(&mut absence, 87_000..88_000, true);
        assert_eq!(absence.since(), Some(9_750));
        looks(&mut absence, 88_000..90_000, false);
        assert_eq!(absence.since(), Some(9_750));
    }

    #[test]
    fn who_is_in_touch_again_was_not_away_for_ever() {
        let mut absence = Absence::default();
        looks(&mut absence, 0..1_000, true);
        looks(&mut absence, 1_000..5_000, false);
        assert_eq!(absence.since(), Some(1_000));
        looks(&mut absence, 5_000..5_500, true);
        assert_eq!(absence.since(), None);
        looks(&mut absence, 60_000..70_000, true);
        assert_eq!(absence.since(), None);
    }

    #[test]
    fn times_are_told_shortly() {
        assert_eq!(about(Duration::from_secs(77)), "77 s");
        assert_eq!(about(Duration::from_secs(720)), "12 min");
        assert_eq!(about(Duration::from_secs(7_200)), "2 h");
    }
}
