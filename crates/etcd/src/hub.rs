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

use ringfort_services::kv::{Change, Event, Range, Revision};
use tokio::sync::{Notify, Semaphore, mpsc};
use tonic::Status;

use crate::front::Front;
use crate::reading::{Read, Reading};
use crate::store::Store;

/// Watches at once, of all clients.
const WATCHES_MAX: usize = 4096;
/// Readings at once for those that are behind.
const CATCHING_UP_MAX: usize = 4;
/// Between two tries when there is no reply.
const PAUSE: Duration = Duration::from_secs(1);

/// Names a watch of the front.
pub type WatchKey = u64;

/// What a client's stream is told.
#[derive(Debug)]
pub enum Told {
    /// Changes, of which some of its watches want some.
    Changed(Changed),
    /// What comes next is forgotten; what is behind this revision is not.
    Compacted { watch: WatchKey, oldest: Revision },
    /// Nothing else has changed up to this revision.
    Progress { watch: Option<WatchKey>, upto: Revision },
}

/// Changes, whole revisions, which all streams have together; and which watches of one stream want some of them.
#[derive(Debug)]
pub struct Changed {
    events: Arc<Vec<Event>>,
    parts: Vec<(WatchKey, Arc<Filter>, Revision)>,
    /// Up to here these watches are told everything.
    pub upto: Revision,
}

impl Changed {
    /// For each of the watches what it wants: made when it is asked for, so that what waits is there once.
    pub fn parts(&self) -> impl Iterator<Item = (WatchKey, Vec<Event>)> {
        self.parts.iter().map(|(key, filter, next)| {
            let wanted = self.events.iter().filter(|event| filter.wants(event, *next));
            (*key, wanted.map(|event| filter.shown(event)).collect())
        })
    }
}

/// Which changes a watch wants.
#[derive(Debug)]
pub struct Filter {
    pub range: Range,
    /// Which kinds of changes: puts, deletes.
    pub kinds: (bool, bool),
    pub previous: bool,
}

impl Filter {
    fn wants(&self, event: &Event, next: Revision) -> bool {
        let (kind, key) = match &event.change {
            Change::Put(entry) => (self.kinds.0, &entry.key),
            Change::Deleted { key } => (self.kinds.1, key),
        };
        kind && event.position.revision >= next && self.range.contains(key)
    }

    fn shown(&self, event: &Event) -> Event {
        let previous = event.previous.as_ref().filter(|_| self.previous).cloned();
        Event { previous, ..Event { position: event.position, change: event.change.clone(), previous: None } }
    }
}

/// Where what watches of one client are told goes.
#[derive(Clone)]
pub struct Outlet {
    stream: u64,
    to: mpsc::Sender<Told>,
}

/// A watch.
#[derive(Clone)]
struct Watch {
    key: WatchKey,
    filter: Arc<Filter>,
    /// The next revision that it is to be told of.
    next: Revision,
    outlet: Outlet,
    alive: Arc<AtomicBool>,
}

pub struct Hub {
    state: Mutex<State>,
    wanted: Notify,
    catching_up: Semaphore,
}

#[derive(Default)]
struct State {
    streams: u64,
    keys: WatchKey,
    /// Of all watches, those that are behind too.
    count: usize,
    /// Up to here the watches below have been told everything.
    seen: Revision,
    watches: BTreeMap<WatchKey, Watch>,
}

/// What a new watch is to be told.
pub struct Wish {
    pub filter: Filter,
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
    pub fn new() -> Self {
        let catching_up = Semaphore::new(CATCHING_UP_MAX);
        Hub { state: Mutex::default(), wanted: Notify::new(), catching_up }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a client, of whom so much may wait.
    pub fn outlet(&self, told_max: usize) -> (Outlet, mpsc::Receiver<Told>) {
        let (to, told) = mpsc::channel(told_max);
        let mut state = self.lock();
        state.streams += 1;
        (Outlet { stream: state.streams, to }, told)
    }

    /// Tells how far watches of one client are, if none of them is behind. Comes behind what they are told before.
    pub fn tell_progress(&self, watches: &[WatchKey], together: bool, outlet: &Outlet) {
        let state = self.lock();
        let here = |key: &WatchKey| state.watches.get(key).map(|watch| state.seen.max(watch.next.saturating_sub(1)));
        if together {
            if let Some(upto) = watches.iter().map(here).min().flatten() {
                // A client that does not read asks again.
                let _ = outlet.to.try_send(Told::Progress { watch: None, upto });
            }
            return;
        }
        for key in watches {
            if let Some(upto) = here(key) {
                let _ = outlet.to.try_send(Told::Progress { watch: Some(*key), upto });
            }
        }
    }
}

/// Begins a watch; `None` if there are too many. `now` is the store's revision, not older than the wish.
pub fn follow<S: Store>(front: &Arc<Front<S>>, wish: Wish, now: Revision, outlet: Outlet) -> Option<Following> {
    let Wish { filter, next } = wish;
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
    let watch = Watch { key, filter: Arc::new(filter), next, outlet, alive: alive.clone() };
    let behind = if next <= now { vec![watch] } else { attach(front, vec![watch], now) };
    catch_up(front, behind);
    Some(Following { key, alive, hub: front.clone() })
}

/// Lets watches be told by all the others' reading, where that is not ahead of them, and returns those of which it is. They know
/// all up to `known`.
fn attach<S: Store>(front: &Front<S>, watches: Vec<Watch>, known: Revision) -> Vec<Watch> {
    let mut state = front.hub.lock();
    if state.watches.is_empty() {
        // Nobody has followed for a while, and nobody misses what was in between.
        state.seen = state.seen.max(known);
    }
    let (here, behind): (Vec<Watch>, Vec<Watch>) = watches.into_iter().partition(|watch| state.seen < watch.next);
    for watch in here.into_iter().filter(|watch| watch.alive.load(Ordering::SeqCst)) {
        state.watches.insert(watch.key, watch);
        front.hub.wanted.notify_one();
    }
    behind
}

/// Lets watches of one stream that are behind read for themselves.
fn catch_up<S: Store>(front: &Arc<Front<S>>, watches: Vec<Watch>) {
    let begin = |first: &Watch| drop(tokio::spawn(read_for(front.clone(), first.outlet.to.clone(), watches.clone())));
    watches.first().into_iter().for_each(begin);
}

/// Reads for watches of one stream until they are where the others are.
async fn read_for<S: Store>(front: Arc<Front<S>>, to: mpsc::Sender<Told>, mut watches: Vec<Watch>) {
    let ranges = watches.iter().map(|watch| &watch.filter.range);
    let Some(range) = ranges.cloned().reduce(|one, other| one.with(&other)) else { return };
    let previous = watches.iter().any(|watch| watch.filter.previous);
    let mut reading = Reading::new(first_of(&watches));
    loop {
        // Nothing is read for a client that does not read.
        let Ok(slot) = to.reserve().await else { return };
        watches.retain(|watch| watch.alive.load(Ordering::SeqCst));
        if watches.is_empty() {
            return;
        }
        let read = {
            let _turn = front.hub.catching_up.acquire().await;
            reading.read(&front, &range, previous).await
        };
        match read {
            Ok(Read::Whole { events, upto, .. }) => {
                let changed = Changed::of(watches.iter(), &Arc::new(events), upto);
                if let Some(changed) = changed {
                    slot.send(Told::Changed(changed));
                }
                watches.iter_mut().for_each(|watch| watch.next = watch.next.max(upto + 1));
                if !reading.more {
                    watches = attach(&front, watches, upto);
                }
            }
            Ok(Read::Compacted(oldest)) => {
                drop(slot);
                let (lost, left): (Vec<Watch>, Vec<Watch>) =
                    watches.into_iter().partition(|watch| watch.next <= oldest);
                watches = left;
                for watch in lost {
                    if to.send(Told::Compacted { watch: watch.key, oldest }).await.is_err() {
                        return;
                    }
                }
                reading = Reading::new(first_of(&watches));
            }
            Err(_) => {
                drop(slot);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Behind which revision the first of some watches has to read.
fn first_of(watches: &[Watch]) -> Revision {
    watches.iter().map(|watch| watch.next.saturating_sub(1)).min().unwrap_or(0)
}

impl Changed {
    /// What some watches want, if anything.
    fn of<'a>(watches: impl Iterator<Item = &'a Watch>, events: &Arc<Vec<Event>>, upto: Revision) -> Option<Self> {
        let wants = |watch: &&Watch| watch.wants_any(events);
        let parts: Vec<_> = watches.filter(wants).map(|watch| (watch.key, watch.filter.clone(), watch.next)).collect();
        (!parts.is_empty()).then(|| Changed { events: events.clone(), parts, upto })
    }
}

impl Watch {
    fn wants_any(&self, events: &[Event]) -> bool {
        events.iter().any(|event| self.filter.wants(event, self.next))
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
        let previous = front.hub.lock().watches.values().any(|watch| watch.filter.previous);
        match reading.read(front, &Range::all(), previous).await? {
            Read::Whole { events, upto, previous } => tell(front, Arc::new(events), upto, previous),
            Read::Compacted(_) => {
                // They read for themselves, and find out what of their part is forgotten.
                let watches = std::mem::take(&mut front.hub.lock().watches);
                by_stream(watches.into_values()).into_values().for_each(|watches| catch_up(front, watches));
                return Ok(());
            }
        }
        if !reading.more {
            return Ok(());
        }
    }
}

fn by_stream(watches: impl Iterator<Item = Watch>) -> BTreeMap<u64, Vec<Watch>> {
    watches.fold(BTreeMap::new(), |mut all: BTreeMap<u64, Vec<Watch>>, watch| {
        all.entry(watch.outlet.stream).or_default().push(watch);
        all
    })
}

/// `previous`: whether the changes come with what was before. A stream is told once of what all of its watches want. Watches have
/// to read for themselves whose client does not read, and those that came when the changes were asked for already without what was
/// before, which they want.
fn tell<S: Store>(front: &Arc<Front<S>>, events: Arc<Vec<Event>>, upto: Revision, previous: bool) {
    let mut state = front.hub.lock();
    state.seen = state.seen.max(upto);
    let concerned = state.watches.values().filter(|watch| watch.wants_any(&events)).cloned();
    for (_, watches) in by_stream(concerned) {
        let (blind, told): (Vec<Watch>, Vec<Watch>) =
            watches.into_iter().partition(|watch| watch.filter.previous && !previous);
        let mut behind = blind;
        let changed = Changed::of(told.iter(), &events, upto);
        let outlet = told.first().map(|watch| watch.outlet.to.clone());
        if let Some((changed, to)) = changed.zip(outlet)
            && let Err(mpsc::error::TrySendError::Full(_)) = to.try_send(Told::Changed(changed))
        {
            behind.extend(told);
        }
        behind.iter().for_each(|watch| drop(state.watches.remove(&watch.key)));
        catch_up(front, behind);
    }
    state.watches.values_mut().for_each(|watch| watch.next = watch.next.max(upto + 1));
}
