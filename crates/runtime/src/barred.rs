//! Leaders that no link is wanted with, and until when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringfort_protocol::LeaderId;
use tokio::time::Instant;

/// Shared by the driver, which bars, and the tasks that make links.
#[derive(Clone, Debug, Default)]
pub struct Barred {
    until: Arc<Mutex<BTreeMap<LeaderId, Instant>>>,
}

impl Barred {
    /// Bars a leader for so long from now on.
    pub fn bar(&self, leader: LeaderId, length: Duration) {
        self.until().insert(leader, Instant::now() + length);
    }

    /// How much longer a leader is barred; `None` if it is not.
    pub fn left(&self, leader: LeaderId) -> Option<Duration> {
        let until = self.until().get(&leader).copied();
        until.map(|until| until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// Resolves when a leader is not barred.
    pub async fn over(&self, leader: LeaderId) {
        while let Some(left) = self.left(leader) {
            tokio::time::sleep(left).await;
        }
    }

    fn until(&self) -> MutexGuard<'_, BTreeMap<LeaderId, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
