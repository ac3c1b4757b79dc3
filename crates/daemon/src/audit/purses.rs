//! A budget of lines for each of those who can cause them, and how many lines each has had to do without.

use std::collections::BTreeMap;
use std::time::Duration;

use ringfort_kernel::{Budget, Time};

/// Between two lines that tell what was not written.
const LOOK_PERIOD: Duration = Duration::from_secs(60);
/// A budget counts in these, so that so many lines a minute are so many units a second.
const UNITS_PER_LINE: u64 = 60;

/// The purses, by owner.
#[derive(Debug)]
pub struct Purses<K> {
    purses: BTreeMap<K, Purse>,
    looked: Time,
}

#[derive(Debug)]
struct Purse {
    budget: Budget,
    burst: u64,
    refused: u64,
}

impl<K> Default for Purses<K> {
    fn default() -> Self {
        Purses { purses: BTreeMap::new(), looked: Time::ZERO }
    }
}

impl<K: Ord + Clone> Purses<K> {
    /// Takes a line out of a purse, which is filled again with so many lines a minute; false if it is empty.
    pub fn pay(&mut self, now: Time, owner: K, per_minute: u64) -> bool {
        let burst = per_minute.saturating_mul(UNITS_PER_LINE);
        let fresh = || Purse { budget: Budget::new(now, per_minute, burst), burst, refused: 0 };
        let purse = self.purses.entry(owner).or_insert_with(fresh);
        let paid = purse.budget.take(now, UNITS_PER_LINE);
        purse.refused += u64::from(!paid);
        paid
    }

    /// Whether somebody has a purse, or there are fewer than so many.
    pub fn has_room_for(&self, owner: &K, purses_max: usize) -> bool {
        self.purses.len() < purses_max || self.purses.contains_key(owner)
    }

    /// How many lines of whom were not written since the last look, once a minute. Purses that are full again go.
    pub fn unsaid(&mut self, now: Time) -> Vec<(K, u64)> {
        if now.since(self.looked) < LOOK_PERIOD {
            return Vec::new();
        }
        self.looked = now;
        let refused = self.purses.iter_mut().filter(|(_, purse)| purse.refused > 0);
        let told = refused.map(|(owner, purse)| (owner.clone(), std::mem::take(&mut purse.refused))).collect();
        self.purses.retain(|_, purse| purse.budget.left(now) < purse.burst);
        told
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.purses.len()
    }
}
