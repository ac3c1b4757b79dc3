//! `etcdserverpb.Watch`: one stream with several watches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use ringfort_services::kv::{Change, End, Event, KEY_BYTES_MAX, KvRequest, Range, Revision};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::error::Refusal;
use crate::front::{Front, signed};
use crate::hub::{self, Filter, Following, Outlet, Told, WatchKey};
use crate::kv::{behind, keys, shown};
use crate::pb;
use crate::rpc::Replies;
use crate::store::Store;

/// Watches of one stream.
const WATCHES_MAX: usize = 1024;
/// What waits for a client that does not read, each up to some reply of the store: beyond that its watches are behind.
const TOLD_MAX: usize = 4;
const ANSWERS_MAX: usize = 1;
/// An answer that is longer comes in parts, for a client that takes such.
const FRAGMENT_BYTES: usize = 1024 * 1024;
/// How often whoever wants to know is told that nothing has changed.
const PROGRESS: Duration = Duration::from_secs(60);
/// The name of no watch.
const NO_WATCH: i64 = -1;

/// `Watch`.
pub async fn watch<S: Store>(
    front: Arc<Front<S>>,
    permit: OwnedSemaphorePermit,
    asked: Streaming<pb::WatchRequest>,
) -> Result<Replies<pb::WatchResponse>, Status> {
    let (answers, replies) = mpsc::channel(ANSWERS_MAX);
    let (outlet, told) = front.hub.outlet(TOLD_MAX);
    let stream =
        Stream { front, answers, outlet, watches: BTreeMap::new(), names: BTreeMap::new(), next: 0, reads: false };
    tokio::spawn(stream.run(permit, asked, told));
    Ok(ReceiverStream::new(replies))
}

struct Stream<S> {
    front: Arc<Front<S>>,
    answers: mpsc::Sender<Result<pb::WatchResponse, Status>>,
    outlet: Outlet,
    watches: BTreeMap<WatchKey, Watched>,
    names: BTreeMap<i64, WatchKey>,
    next: i64,
    /// Whether it is known that the member may read.
    reads: bool,
}

struct Watched {
    name: i64,
    /// Whether it wants to know that nothing has changed, and whether it was told something since it was last asked.
    progress: bool,
    told: bool,
    /// Whether it takes answers in parts.
    fragment: bool,
    _following: Following,
}

/// The client has gone, or is to go.
struct Over;

impl<S: Store> Stream<S> {
    async fn run(
        mut self,
        permit: OwnedSemaphorePermit,
        mut asked: Streaming<pb::WatchRequest>,
        mut told: mpsc::Receiver<Told>,
    ) {
        let _permit = permit;
        let mut progress = tokio::time::interval(PROGRESS);
        loop {
            let done = tokio::select! {
                asked = asked.message() => match asked {
                    Ok(Some(pb::WatchRequest { request })) => self.wish(request).await,
                    Ok(None) | Err(_) => Err(Over),
                },
                Some(told) = told.recv() => self.tell(told).await,
                _ = progress.tick() => {
                    self.tell_progress();
                    Ok(())
                }
                () = self.answers.closed() => Err(Over),
            };
            if done.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, answer: pb::WatchResponse) -> Result<(), Over> {
        self.answers.send(Ok(answer)).await.map_err(|_| Over)
    }

    async fn wish(&mut self, wish: Option<pb::Wish>) -> Result<(), Over> {
        match wish {
            Some(pb::Wish::Create(wish)) => self.create(wish).await,
            Some(pb::Wish::Cancel(pb::WatchCancelRequest { watch_id })) => self.cancel(watch_id).await,
            Some(pb::Wish::Progress(_)) => {
                let watches: Vec<WatchKey> = self.watches.keys().copied().collect();
                self.front.hub.tell_progress(&watches, true, &self.outlet);
                Ok(())
            }
            // etcd says nothing either.
            None => Ok(()),
        }
    }

    async fn create(&mut self, wish: pb::WatchCreateRequest) -> Result<(), Over> {
        let now = match self.front.revision().await {
            Ok(now) => now,
            Err(status) => {
                let _ = self.answers.send(Err(status)).await;
                return Err(Over);
            }
        };
        let header = self.front.header(now);
        let refused = |reason: &str| pb::WatchResponse {
            header,
            watch_id: NO_WATCH,
            created: true,
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..pb::WatchResponse::default()
        };
        if let Err(status) = self.check_role().await {
            return self.answer(refused(status.message())).await;
        }
        let (name, range) = match self.check(&wish) {
            Ok(checked) => checked,
            Err(reason) => return self.answer(refused(reason)).await,
        };
        let next = match u64::try_from(wish.start_revision) {
            Ok(0) => now + 1,
            Ok(next) => next,
            Err(_) => return self.answer(refused(Refusal::Compacted.told().1)).await,
        };
        let created = pb::WatchResponse { header, watch_id: name, created: true, ..pb::WatchResponse::default() };
        let kinds = (!wish.filters.contains(&0), !wish.filters.contains(&1));
        let wanted = hub::Wish { filter: Filter { range, kinds, previous: wish.prev_kv }, next };
        let Some(following) = hub::follow(&self.front, wanted, now, self.outlet.clone()) else {
            return self.answer(refused(Refusal::TooManyRequests.told().1)).await;
        };
        let key = following.key;
        self.names.insert(name, key);
        let (progress, fragment) = (wish.progress_notify, wish.fragment);
        self.watches.insert(key, Watched { name, progress, told: false, fragment, _following: following });
        // What it is told waits until this function is done.
        self.answer(created).await
    }

    /// Whoever may not read is told so, rather than nothing for ever.
    async fn check_role(&mut self) -> Result<(), Status> {
        if !self.reads {
            let request =
                KvRequest::Changes { range: Range::all(), after: behind(u64::MAX - 1), limit: 1, previous: false };
            self.front.ask(request).await?;
            self.reads = true;
        }
        Ok(())
    }

    fn check(&mut self, wish: &pb::WatchCreateRequest) -> Result<(i64, Range), &'static str> {
        // As in etcd, no key is the smallest one.
        let key: &[u8] = if wish.key.is_empty() { &[0] } else { &wish.key };
        let range = keys(key, &wish.range_end);
        if matches!(&range.end, End::Before(end) if *end <= range.start) {
            return Err("mvcc: watcher range is empty");
        }
        // No key is there, or begins a part of them, that is longer.
        let (start, end) = match &range.end {
            End::Start => (range.start.len() + 1, 0),
            End::Before(end) => (range.start.len(), end.len()),
            End::Last => (range.start.len(), 0),
        };
        if start.max(end) > KEY_BYTES_MAX + 1 {
            return Err(Refusal::TooLarge.told().1);
        }
        if self.watches.len() >= WATCHES_MAX {
            return Err(Refusal::TooManyRequests.told().1);
        }
        if wish.watch_id != 0 {
            let taken = self.names.contains_key(&wish.watch_id);
            return if taken {
                Err("mvcc: duplicate watch ID provided on the WatchStream")
            } else {
                Ok((wish.watch_id, range))
            };
        }
        while self.names.contains_key(&self.next) {
            self.next += 1;
        }
        let name = self.next;
        self.next += 1;
        Ok((name, range))
    }

    async fn cancel(&mut self, name: i64) -> Result<(), Over> {
        let Some(key) = self.names.remove(&name) else { return Ok(()) };
        self.watches.remove(&key);
        match self.front.revision().await {
            Ok(now) => {
                let header = self.front.header(now);
                self.answer(pb::WatchResponse {
                    header,
                    watch_id: name,
                    canceled: true,
                    ..pb::WatchResponse::default()
                })
                .await
            }
            Err(status) => {
                let _ = self.answers.send(Err(status)).await;
                Err(Over)
            }
        }
    }

    async fn tell(&mut self, told: Told) -> Result<(), Over> {
        let answer = match told {
            Told::Changed(changed) => {
                for (watch, events) in changed.parts() {
                    self.tell_changes(watch, events, changed.upto).await?;
                }
                return Ok(());
            }
            Told::Compacted { watch, oldest } => {
                let Some(watched) = self.watches.remove(&watch) else { return Ok(()) };
                self.names.remove(&watched.name);
                pb::WatchResponse {
                    header: self.front.header(oldest),
                    watch_id: watched.name,
                    canceled: true,
                    // The first revision from which a watch can begin.
                    compact_revision: signed(oldest + 1),
                    ..pb::WatchResponse::default()
                }
            }
            Told::Progress { watch, upto } => {
                let name = match watch {
                    None => NO_WATCH,
                    Some(watch) => match self.watches.get(&watch) {
                        Some(watched) => watched.name,
                        None => return Ok(()),
                    },
                };
                pb::WatchResponse { header: self.front.header(upto), watch_id: name, ..pb::WatchResponse::default() }
            }
        };
        self.answer(answer).await
    }

    async fn tell_changes(&mut self, watch: WatchKey, events: Vec<Event>, upto: Revision) -> Result<(), Over> {
        let Some(watched) = self.watches.get_mut(&watch) else { return Ok(()) };
        watched.told = true;
        let (header, watch_id, fragment) = (self.front.header(upto), watched.name, watched.fragment);
        let mut parts = in_parts(events.into_iter().map(event).collect(), fragment).into_iter().peekable();
        while let Some(events) = parts.next() {
            let fragment = parts.peek().is_some();
            self.answer(pb::WatchResponse { header, watch_id, fragment, events, ..pb::WatchResponse::default() })
                .await?;
        }
        Ok(())
    }

    /// Those that were told of a change know how far they are.
    fn tell_progress(&mut self) {
        let asks = |(key, watched): (&WatchKey, &mut Watched)| {
            let told = std::mem::replace(&mut watched.told, false);
            (watched.progress && !told).then_some(*key)
        };
        let watches: Vec<WatchKey> = self.watches.iter_mut().filter_map(asks).collect();
        if !watches.is_empty() {
            self.front.hub.tell_progress(&watches, false, &self.outlet);
        }
    }
}

/// Changes in parts that are not long, where one change alone is not.
fn in_parts(events: Vec<pb::Event>, fragment: bool) -> Vec<Vec<pb::Event>> {
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for event in events {
        bytes += event.encoded_len();
        match parts.last_mut() {
            Some(last) if last.is_empty() || !fragment || bytes <= FRAGMENT_BYTES => last.push(event),
            _ => {
                bytes = event.encoded_len();
                parts.push(vec![event]);
            }
        }
    }
    parts
}

/// A change as etcd tells it.
pub fn event(event: Event) -> pb::Event {
    let prev_kv = event.previous.map(shown);
    match event.change {
        Change::Put(entry) => pb::Event { kind: pb::PUT, kv: Some(shown(entry)), prev_kv },
        Change::Deleted { key } => {
            let mod_revision = signed(event.position.revision);
            let kv = pb::KeyValue { key, mod_revision, ..pb::KeyValue::default() };
            pb::Event { kind: pb::DELETE, kv: Some(kv), prev_kv }
        }
    }
}
