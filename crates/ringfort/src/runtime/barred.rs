//! Leaders that deviated, and until when no link to them is wanted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringfort_kernel::{Penalty, Time};
use ringfort_protocol::LeaderId;
use tokio::time::Instant;

/// How long a leader's link is cut for the first deviation; each further one costs twice the last.
pub(crate) const DEVIATION_FIRST: Duration = Duration::from_secs(1);
/// The longest.
pub(crate) const DEVIATION_MAX: Duration = Duration::from_secs(60);

/// Shared by the driver, which bars, and the tasks that make links.
#[derive(Clone, Debug)]
pub(crate) struct Barred {
    first: Duration,
    max: Duration,
    start: Instant,
    records: Arc<Mutex<BTreeMap<LeaderId, Penalty>>>,
}

impl Barred {
    pub fn new(first: Duration, max: Duration) -> Self {
        Barred { first, max, start: Instant::now(), records: Arc::default() }
    }

    /// Bars a leader, for longer than the last time; for how long.
    pub fn bar(&self, leader: LeaderId) -> Duration {
        let now = self.now();
        self.records().entry(leader).or_insert(Penalty::new(self.first, self.max)).punish(now)
    }

    /// How much longer a leader is barred; `None` if it is not.
    pub fn left(&self, leader: LeaderId) -> Option<Duration> {
        let now = self.now();
        self.records().get(&leader).and_then(|record| record.left(now))
    }

    /// Resolves when a leader is not barred.
    pub async fn over(&self, leader: LeaderId) {
        while let Some(left) = self.left(leader) {
            tokio::time::sleep(left).await;
        }
    }

    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<LeaderId, Penalty>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
