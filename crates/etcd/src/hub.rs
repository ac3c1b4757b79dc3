//! Watches: who is told what of the store's changes.
//!
//! The front follows the store once for all of its watches: it waits until anything changes, reads what did, and tells each watch
//! its part. A watch that begins in the past, or whose client does not read, is *behind*: it reads for itself, as fast as its
//! client does, until it has caught up. So a slow client costs no memory, and is told `compacted` if the store has forgotten what
//! comes next; what it is told has no gap.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringfort_services::kv::{Change, Event, KvRequest, Outcome, Position, Range, Revision};
use tokio::sync::{Notify, mpsc};
use tonic::Status;

use crate::front::Front;
use crate::kv::behind;
use crate::store::{Store, Unanswered};

/// Watches at once, of all clients.
const WATCHES_MAX: usize = 4096;
/// Changes in one reply.
const CHANGES_MAX: u32 = 1024;
/// Between two tries when there is no reply.
const PAUSE: Duration = Duration::from_secs(1);

/// Names a watch of the front.
pub type WatchKey = u64;

/// What a watch is told.
#[derive(Debug)]
pub enum Told {
    /// Changes, whole revisions, and the revision up to which everything is told.
    Changed { watch: WatchKey, events: Vec<Event>, upto: Revision },
    /// What comes next is forgotten; what is behind this revision is not.
    Compacted { watch: WatchKey, oldest: Revision },
    /// Nothing else has changed up to this revision.
    Progress { watch: Option<WatchKey>, upto: Revision },
}

/// A watch.
#[derive(Clone)]
pub struct Watch {
    key: WatchKey,
    range: Range,
    /// Which kinds of changes it is told: puts, deletes.
    kinds: (bool, bool),
    previous: bool,
    /// The next revision that it is to be told of.
    next: Revision,
    to: mpsc::Sender<Told>,
    alive: Arc<AtomicBool>,
}

#[derive(Default)]
pub struct Hub {
    state: Mutex<State>,
    wanted: Notify,
}

#[derive(Default)]
struct State {
    keys: WatchKey,
    /// Of all watches, those that are behind too.
    count: usize,
    /// Up to here the watches below have been told everything.
    seen: Revision,
    watches: BTreeMap<WatchKey, Watch>,
}

/// What a new watch is to be told.
pub struct Wish {
    pub range: Range,
    pub kinds: (bool, bool),
    pub previous: bool,
    /// From which revision on.
    pub next: Revision,
}

/// A watch, until it is dropped.
pub struct Following {
    pub key: WatchKey,
    alive: Arc<AtomicBool>,
    hub: HubOf,
}

type HubOf = Arc<dyn Forgets>;

/// Something that lets go of watches.
trait Forgets: Send + Sync {
    fn forget(&self, key: WatchKey);
}

impl<S: Store> Forgets for Front<S> {
    fn forget(&self, key: WatchKey) {
        let mut state = self.hub.lock();
        state.watches.remove(&key);
        state.count -= 1;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::SeqCst);
        self.hub.forget(self.key);
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how far watches of one client are, if none of them is behind. Comes behind what they are told before.
    pub fn tell_progress(&self, watches: &[WatchKey], together: bool, to: &mpsc::Sender<Told>) {
        let state = self.lock();
        let here = |key: &WatchKey| state.watches.get(key).map(|watch| state.seen.max(watch.next.saturating_sub(1)));
        if together {
            if let Some(upto) = watches.iter().map(here).min().flatten() {
                // A client that does not read asks again.
                let _ = to.try_send(Told::Progress { watch: None, upto });
            }
            return;
        }
        for key in watches {
            if let Some(upto) = here(key) {
                let _ = to.try_send(Told::Progress { watch: Some(*key), upto });
            }
        }
    }
}

/// Begins a watch; `None` if there are too many. `now` is the store's revision, not older than the wish.
pub fn follow<S: Store>(front: &Arc<Front<S>>, wish: Wish, now: Revision, to: mpsc::Sender<Told>) -> Option<Following> {
    let Wish { range, kinds, previous, next } = wish;
    let alive = Arc::new(AtomicBool::new(true));
    let key = {
        let mut state = front.hub.lock();
        if state.count >= WATCHES_MAX {
            return None;
        }
        state.count += 1;
        state.keys += 1;
        state.keys
    };
    let watch = Watch { key, range, kinds, previous, next, to, alive: alive.clone() };
    if next <= now || !attach(front, &watch, now) {
        tokio::spawn(catch_up(front.clone(), watch));
    }
    Some(Following { key, alive, hub: front.clone() })
}

/// Lets a watch be told by all the others' reading, if that is not ahead of it. It knows all up to `known`.
fn attach<S: Store>(front: &Front<S>, watch: &Watch, known: Revision) -> bool {
    let mut state = front.hub.lock();
    if state.watches.is_empty() {
        // Nobody has followed for a while, and nobody misses what was in between.
        state.seen = state.seen.max(known);
    }
    if state.seen >= watch.next {
        return false;
    }
    if watch.alive.load(Ordering::SeqCst) {
        state.watches.insert(watch.key, watch.clone());
        front.hub.wanted.notify_one();
    }
    true
}

/// Reads for one watch until it is where the others are.
async fn catch_up<S: Store>(front: Arc<Front<S>>, mut watch: Watch) {
    let mut reading = Reading::new(watch.next.saturating_sub(1));
    while watch.alive.load(Ordering::SeqCst) && !watch.to.is_closed() {
        let read = reading.read(&front, &watch.range, watch.previous).await;
        let (events, upto) = match read {
            Ok(Read::Whole { events, upto }) => (events, upto),
            Ok(Read::Compacted(oldest)) => {
                let _ = watch.to.send(Told::Compacted { watch: watch.key, oldest }).await;
                return;
            }
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if let Some(told) = watch.part_of(&events, upto)
            && watch.to.send(told).await.is_err()
        {
            return;
        }
        watch.next = watch.next.max(upto + 1);
        if !reading.more && attach(&front, &watch, upto) {
            return;
        }
    }
}

/// Follows the store for all watches that are not behind, for ever.
pub async fn run<S: Store>(front: Arc<Front<S>>) {
    loop {
        let wanted = front.hub.wanted.notified();
        let seen = {
            let state = front.hub.lock();
            (!state.watches.is_empty()).then_some(state.seen)
        };
        let Some(seen) = seen else {
            wanted.await;
            continue;
        };
        if tell_changes(&front, seen).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn tell_changes<S: Store>(front: &Arc<Front<S>>, seen: Revision) -> Result<(), Status> {
    front.store.changed(seen).await.map_err(Status::from)?;
    let mut reading = Reading::new(seen);
    loop {
        let previous = front.hub.lock().watches.values().any(|watch| watch.previous);
        match reading.read(front, &Range::all(), previous).await? {
            Read::Whole { events, upto } => tell(front, &events, upto, previous),
            Read::Compacted(_) => {
                // Each reads for itself, and finds out what of its part is forgotten.
                let watches = std::mem::take(&mut front.hub.lock().watches);
                watches.into_values().for_each(|watch| drop(tokio::spawn(catch_up(front.clone(), watch))));
                return Ok(());
            }
        }
        if !reading.more {
            return Ok(());
        }
    }
}

/// `previous`: whether the changes come with what was before.
fn tell<S: Store>(front: &Arc<Front<S>>, events: &[Event], upto: Revision, previous: bool) {
    let mut state = front.hub.lock();
    state.seen = state.seen.max(upto);
    let behind: Vec<WatchKey> =
        state.watches.values_mut().filter_map(|watch| watch.tell(events, upto, previous)).collect();
    for key in behind {
        if let Some(watch) = state.watches.remove(&key) {
            tokio::spawn(catch_up(front.clone(), watch));
        }
    }
}

impl Watch {
    /// Returns its key if it has to read for itself: its client does not read, or it came when the changes were asked for already
    /// without what was before, which it wants.
    fn tell(&mut self, events: &[Event], upto: Revision, previous: bool) -> Option<WatchKey> {
        if self.previous && !previous {
            return Some(self.key);
        }
        if let Some(told) = self.part_of(events, upto) {
            match self.to.try_send(told) {
                // Whoever has gone takes its watches along.
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                Err(mpsc::error::TrySendError::Full(_)) => return Some(self.key),
            }
        }
        self.next = self.next.max(upto + 1);
        None
    }

    fn part_of(&self, events: &[Event], upto: Revision) -> Option<Told> {
        let events: Vec<Event> =
            events.iter().filter(|event| self.wants(event)).map(|event| self.shown(event)).collect();
        (!events.is_empty()).then_some(Told::Changed { watch: self.key, events, upto })
    }

    fn wants(&self, event: &Event) -> bool {
        let (kind, key) = match &event.change {
            Change::Put(entry) => (self.kinds.0, &entry.key),
            Change::Deleted { key } => (self.kinds.1, key),
        };
        kind && event.position.revision >= self.next && self.range.contains(key)
    }

    fn shown(&self, event: &Event) -> Event {
        let previous = event.previous.as_ref().filter(|_| self.previous).cloned();
        Event { previous, ..Event { position: event.position, change: event.change.clone(), previous: None } }
    }
}

/// Reads changes one part after the other, and gives out whole revisions.
struct Reading {
    after: Position,
    /// Changes of a revision of which others may be in the next part.
    begun: Vec<Event>,
    more: bool,
}

enum Read {
    Whole { events: Vec<Event>, upto: Revision },
    Compacted(Revision),
}

impl Reading {
    fn new(after: Revision) -> Self {
        Reading { after: behind(after), begun: Vec::new(), more: true }
    }

    async fn read<S: Store>(&mut self, front: &Front<S>, range: &Range, previous: bool) -> Result<Read, Status> {
        let request = KvRequest::Changes { range: range.clone(), after: self.after, limit: CHANGES_MAX, previous };
        match front.ask(request).await? {
            (_, Outcome::Changes { events, upto, more }) => {
                self.begun.extend(events);
                (self.after, self.more) = (upto, more);
                Ok(self.whole(upto.revision))
            }
            (_, Outcome::Compacted { oldest }) => Ok(Read::Compacted(oldest)),
            _ => Err(Unanswered::Version.into()),
        }
    }

    /// If there is more, the last revision that is told may have other changes in the next part.
    fn whole(&mut self, told: Revision) -> Read {
        let upto = if self.more { told.saturating_sub(1) } else { told };
        let whole = self.begun.partition_point(|event| event.position.revision <= upto);
        let rest = self.begun.split_off(whole);
        Read::Whole { events: std::mem::replace(&mut self.begun, rest), upto }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: Revision, changes: u32) -> Event {
        let change = Change::Deleted { key: vec![u8::try_from(changes).unwrap()] };
        Event { position: Position { revision, changes }, change, previous: None }
    }

    fn revisions(read: Read) -> (Vec<(Revision, u32)>, Revision) {
        let Read::Whole { events, upto } = read else { panic!("nothing is compacted") };
        (events.iter().map(|event| (event.position.revision, event.position.changes)).collect(), upto)
    }

    #[test]
    fn a_revision_is_told_whole() {
        let mut reading = Reading::new(4);
        reading.begun.extend([event(5, 1), event(6, 1), event(6, 2)]);
        reading.more = true;
        assert_eq!(revisions(reading.whole(6)), (vec![(5, 1)], 5));
        reading.begun.extend([event(6, 3), event(7, 1)]);
        reading.more = false;
        assert_eq!(revisions(reading.whole(7)), (vec![(6, 1), (6, 2), (6, 3), (7, 1)], 7));
    }
}
