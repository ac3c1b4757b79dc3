//! What locks and elections share: keys of one beginning stand in a queue, in the order in which they came to be, each with the
//! lease of whoever waits. The first has its turn; whoever ends, by will or with its lease, lets the next one in. These are etcd's
//! own recipes, so programs that keep to them without these services stand in the same queues.

use std::sync::Arc;

use ringfort_services::kv::{
    Between, By, Change, Condition, KeyValue, Operation, OperationResult, Order, Put, Range, Read, Relation, Revision,
    Target, Transaction,
};
use tokio::sync::mpsc;
use tonic::Status;

use crate::error::Refusal;
use crate::front::Front;
use crate::hub::{self, Filter, Told, Wish};
use crate::kv::reading;
use crate::lease;
use crate::pb;
use crate::store::{Store, Unanswered};

/// The lease that whoever brings none is given, in seconds, as in etcd.
const LEASE_S: i64 = 60;
/// What waits of what a watch is told.
const TOLD_MAX: usize = 4;

/// A lease that is there: the one that was brought, or a new one.
pub async fn lease<S: Store>(front: &Arc<Front<S>>, id: i64) -> Result<u64, Status> {
    let id = match id {
        0 => lease::grant(front.clone(), pb::LeaseGrantRequest { ttl: LEASE_S, id: 0 }).await?.id,
        id => {
            let (_, ttl_s) = lease::renew(front, id).await?;
            ttl_s.map(|_| id).ok_or(Refusal::LeaseNotFound)?
        }
    };
    u64::try_from(id).map_err(|_| Refusal::LeaseNotFound.into())
}

/// A place in a queue.
pub struct Place {
    /// Where the queue's keys begin.
    pub prefix: Vec<u8>,
    pub key: Vec<u8>,
    pub lease: u64,
    /// The revision at which the key came to be.
    pub since: Revision,
    /// What it has if it was there before.
    pub found: Option<KeyValue>,
    /// The store's revision then.
    pub revision: Revision,
}

/// Takes a place in a queue, or the one that this lease has.
pub async fn stand<S: Store>(front: &Front<S>, name: &[u8], value: &[u8], lease: u64) -> Result<Place, Status> {
    let prefix = [name, b"/"].concat();
    let key = [prefix.as_slice(), format!("{lease:x}").as_bytes()].concat();
    let absent = Condition::new(&key, Relation::Equal, Target::Created(0));
    let put = Operation::Put(Put::leased(&key, value, lease));
    let transaction = Transaction { conditions: vec![absent], then: vec![put], otherwise: vec![Operation::get(&key)] };
    let (revision, came) = front.transact(transaction).await?;
    let found = match (came.failed, came.results.and_then(|mut results| results.pop())) {
        (None, _) => None,
        (Some(_), Some(OperationResult::Read { mut entries, .. })) => entries.pop(),
        (Some(_), None) => return Err(Refusal::Timeout.into()),
        (Some(_), Some(_)) => return Err(Unanswered::Version.into()),
    };
    let since = found.as_ref().map_or(revision, |entry| entry.created);
    Ok(Place { prefix, key, lease, since, found, revision })
}

/// The condition that a place is still there.
pub fn holds(key: &[u8], since: Revision) -> Condition {
    Condition::new(key, Relation::Equal, Target::Created(since))
}

/// Whoever is first in a queue, and the store's revision.
pub async fn first<S: Store>(front: &Front<S>, prefix: &[u8]) -> Result<(Revision, Option<KeyValue>), Status> {
    one(front, Read::first_created(Range::prefix(prefix))).await
}

/// One key that a read shows.
pub async fn one<S: Store>(front: &Front<S>, read: Read) -> Result<(Revision, Option<KeyValue>), Status> {
    let (revision, mut results) = reading(front, vec![Operation::Read(read)]).await?;
    match results.pop() {
        Some(OperationResult::Read { mut entries, .. }) => Ok((revision, entries.pop())),
        _ => Err(Unanswered::Version.into()),
    }
}

/// Returns once nobody stands before a place.
pub async fn turn<S: Store>(front: &Arc<Front<S>>, place: &Place) -> Result<(), Status> {
    loop {
        let before = Read {
            limit: 1,
            order: Order { by: By::Created, descending: true },
            created: Between { first: 0, last: place.since - 1 },
            ..Read::all(Range::prefix(&place.prefix))
        };
        match one(front, before).await? {
            (_, None) => return Ok(()),
            (revision, Some(ahead)) => gone(front, &ahead.key, revision).await?,
        }
    }
}

/// Returns once a key has been deleted behind a revision, or once that cannot be told: look again then.
async fn gone<S: Store>(front: &Arc<Front<S>>, key: &[u8], after: Revision) -> Result<(), Status> {
    let (outlet, mut told) = front.hub.outlet(TOLD_MAX);
    let filter = Filter { range: Range::key(key), kinds: (false, true), previous: false };
    let _following =
        hub::follow(front, Wish { filter, next: after + 1 }, after, outlet).ok_or(Refusal::TooManyRequests)?;
    // Deletions alone are told.
    let _ = told.recv().await;
    Ok(())
}

/// What has changed of a key or of a queue, one part after the other; nothing more if the store has forgotten some of it.
pub struct Changes {
    told: mpsc::Receiver<Told>,
    _following: hub::Following,
}

impl Changes {
    pub fn follow<S: Store>(front: &Arc<Front<S>>, range: Range, after: Revision) -> Result<Self, Status> {
        let (outlet, told) = front.hub.outlet(TOLD_MAX);
        let filter = Filter { range, kinds: (true, true), previous: false };
        let following =
            hub::follow(front, Wish { filter, next: after + 1 }, after, outlet).ok_or(Refusal::TooManyRequests)?;
        Ok(Changes { told, _following: following })
    }

    pub async fn next(&mut self) -> Option<Vec<(Revision, Change)>> {
        loop {
            match self.told.recv().await? {
                Told::Changed(changed) => {
                    let events = changed.parts().flat_map(|(_, events)| events);
                    return Some(events.map(|event| (event.position.revision, event.change)).collect());
                }
                Told::Compacted { .. } => return None,
                Told::Progress { .. } => {}
            }
        }
    }
}

/// Gives up a place if its client goes away before it has its turn.
pub struct Waiting<S: Store> {
    front: Arc<Front<S>>,
    /// The key and since when, until the turn has come.
    place: Option<(Vec<u8>, Revision)>,
}

impl<S: Store> Waiting<S> {
    pub fn at(front: &Arc<Front<S>>, place: &Place) -> Self {
        Waiting { front: front.clone(), place: Some((place.key.clone(), place.since)) }
    }

    pub fn has_turn(mut self) {
        self.place = None;
    }
}

impl<S: Store> Drop for Waiting<S> {
    fn drop(&mut self) {
        if let Some((key, since)) = self.place.take() {
            let front = self.front.clone();
            tokio::spawn(async move {
                // If there is no reply the lease ends it.
                let _ = leave(&front, &key, since).await;
            });
        }
    }
}

/// Gives up a place, if it is still there. Returns the store's revision.
pub async fn leave<S: Store>(front: &Front<S>, key: &[u8], since: Revision) -> Result<Revision, Status> {
    let then = vec![Operation::delete(key)];
    let transaction = Transaction { conditions: vec![holds(key, since)], then, otherwise: Vec::new() };
    Ok(front.transact(transaction).await?.0)
}
