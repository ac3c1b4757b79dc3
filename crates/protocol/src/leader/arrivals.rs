//! How often a user may come in for a new stay: whoever logs in pays, and not the leader that tells the others of it.

use std::collections::BTreeMap;

use ringfort_kernel::Budget;

use crate::ids::UserName;
use crate::time::Time;

/// New stays of one user, in a second and at once. A script that logs in for every message stays below.
const STAYS_PER_S: u64 = 8;
const STAYS_BURST: u64 = 64;
/// Users whose logins are counted apart: full budgets are forgotten beyond.
const USERS_MAX: usize = 4_096;

/// What is left to each user that has come in lately.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    budgets: BTreeMap<UserName, Budget>,
}

impl Arrivals {
    /// Whether a user may come in for one more stay now.
    pub fn take(&mut self, now: Time, user: &UserName) -> bool {
        if self.budgets.len() >= USERS_MAX {
            self.budgets.retain(|_, budget| budget.left(now) < STAYS_BURST);
        }
        let full = || Budget::new(now, STAYS_PER_S, STAYS_BURST);
        self.budgets.entry(user.clone()).or_insert_with(full).take(now, 1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_users_logins_are_bounded_and_cost_nobody_elses() {
        let mut arrivals = Arrivals::default();
        let (mal, ana): (UserName, UserName) = ("mal".parse().unwrap(), "ana".parse().unwrap());
        let at = |ms| Time::from_start(Duration::from_millis(ms));
        let taken = (0..10_000).filter(|ms| arrivals.take(at(*ms), &mal)).count();
        assert!((100..=(STAYS_BURST + 10 * STAYS_PER_S) as usize).contains(&taken), "{taken} in ten seconds");
        assert!(arrivals.take(at(10_000), &ana));
    }
}
