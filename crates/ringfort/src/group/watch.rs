//! Following what changes in the group's key-value store.

use std::collections::VecDeque;

use ringfort_services::kv::{Event, Position, Range, Revision};

use super::kv::{Changes, Kv, KvError, Slot};

/// Changes that are asked for at once.
const CHANGES_MAX: u32 = 512;

/// The changes of a range, one after the other: each once, in the order of the revisions, and none is left out unless that is
/// told. Ends nothing when it is dropped but its own waiting.
#[derive(Debug)]
pub struct Watch {
    kv: Kv,
    slot: Slot,
    range: Range,
    upto: Position,
    previous: bool,
    come: VecDeque<Event>,
}

impl Watch {
    pub(super) fn new(kv: Kv, slot: Slot, range: Range, after: Revision, previous: bool) -> Self {
        let upto = Position { revision: after, changes: u32::MAX };
        Watch { kv, slot, range, upto, previous, come: VecDeque::new() }
    }

    /// The next change. Dropping the future loses none.
    ///
    /// # Errors
    /// [`KvError`]. [`KvError::Compacted`] tells that changes were missed, because more came than the store remembers; the next
    /// one is then behind the revision that it names. Any other error may go away: ask again.
    pub async fn next(&mut self) -> Result<Event, KvError> {
        loop {
            if let Some(event) = self.come.pop_front() {
                return Ok(event);
            }
            let came = self.kv.changes(&self.range, self.upto, CHANGES_MAX, self.previous).await;
            if let Err(KvError::Compacted { oldest }) = came {
                self.upto = Position { revision: oldest, changes: u32::MAX };
            }
            let Changes { events, upto, more, .. } = came?;
            (self.come, self.upto) = (events.into(), upto);
            if self.come.is_empty() && !more {
                self.kv.wait_in(&self.slot, &self.range, self.upto.revision).await?;
            }
        }
    }

    /// Up to where changes are told or at hand: there are none before it that [`Watch::next`] has still to ask for.
    pub fn revision(&self) -> Revision {
        self.upto.revision
    }
}
