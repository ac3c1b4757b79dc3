//! Back-pressure from many receivers to one fast sender.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::LinkSender;
use super::outbox::{Outbox, Stage};

/// Tells a relay when it may read on. Cheap to clone; all clones watch the same links.
///
/// A reader that awaits [`Gate::ready`] before each read stops a fast sender while a receiver is still
/// draining, instead of overflowing that receiver's queue. A receiver that makes no progress stalls
/// after its `patience`, stops counting, and loses data instead of holding up the others.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    links: Arc<Mutex<Vec<Arc<Outbox>>>>,
}

impl Gate {
    /// A gate without links, always ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches this link until it closes.
    pub fn register(&self, sender: LinkSender) {
        let mut links = self.links();
        links.retain(|link| link.stage() == Stage::Open);
        links.push(sender.outbox);
    }

    /// Resolves when the data queue of every registered link is below its mark, closed and stalled
    /// links excepted.
    pub async fn ready(&self) {
        while let Some(link) = self.first_holding() {
            link.ready().await;
        }
    }

    fn first_holding(&self) -> Option<Arc<Outbox>> {
        let links = self.links();
        links.iter().find(|link| link.is_holding()).cloned()
    }

    /// How many open links are watched; forgets the closed ones.
    pub fn len(&self) -> usize {
        let mut links = self.links();
        links.retain(|link| link.stage() == Stage::Open);
        links.len()
    }

    /// Whether no open link is watched.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn links(&self) -> MutexGuard<'_, Vec<Arc<Outbox>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
