//! What the log says of clients: whoever connects again and again to be refused must not fill a disk.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ringfort_kernel::{Budget, Time};

/// Lines a second, and at once.
const LINES_PER_SECOND: u64 = 1;
const LINES_AT_ONCE: u64 = 32;

/// How much may be said of the clients of one door.
#[derive(Debug)]
pub(crate) struct Telling {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    budget: Budget,
    unsaid: u64,
}

impl Default for Telling {
    fn default() -> Self {
        let budget = Budget::new(Time::ZERO, LINES_PER_SECOND, LINES_AT_ONCE);
        Telling { started: Instant::now(), state: Mutex::new(State { budget, unsaid: 0 }) }
    }
}

impl Telling {
    /// Whether a line may be said now: if so, how many were not since the last one.
    pub fn may(&self) -> Option<u64> {
        self.may_at(Time::from_start(self.started.elapsed()))
    }

    fn may_at(&self, now: Time) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.budget.take(now, 1) {
            return Some(std::mem::take(&mut state.unsaid));
        }
        state.unsaid += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thousand_refusals_are_told_in_some_lines_and_a_number() {
        let telling = Telling::default();
        let at = |seconds| Time::from_start(Duration::from_secs(seconds));
        let said = (0..1000).filter(|_| telling.may_at(at(1)) == Some(0)).count();
        assert_eq!(said as u64, LINES_AT_ONCE);
        assert_eq!(telling.may_at(at(2)), Some(1000 - LINES_AT_ONCE), "what was not said is counted");
        assert_eq!(telling.may_at(at(2)), None);
    }
}
