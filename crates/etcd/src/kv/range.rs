//! `Range`: in one reply of the store if it fits, otherwise put together from several.

use std::cmp::Ordering;
use std::sync::Arc;

use ringfort_services::kv::{
    Between, By, End, KeyValue, Operation, OperationResult, Order, Read, Revision, Shows, Transaction,
};
use tonic::Status;

use super::ask::{self, shown};
use super::snapshot;
use crate::error::Refusal;
use crate::front::{Front, signed};
use crate::pb;
use crate::store::{Store, Unanswered};

/// How often a read is asked again of which the reply was lost.
const LOST_MAX: usize = 3;

/// What a range comes to.
struct Found {
    entries: Vec<KeyValue>,
    more: bool,
    count: u64,
}

/// `Range`.
pub async fn range<S: Store>(front: Arc<Front<S>>, asked: pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
    let read = ask::read(&asked)?;
    let (revision, short) = at_once(&front, &read).await?;
    // Below 1 it is the present.
    let wanted = u64::try_from(asked.revision).ok().filter(|wanted| *wanted > 0);
    let past = match wanted {
        Some(wanted) if wanted > revision => return Err(Refusal::FutureRevision.into()),
        wanted => wanted.filter(|wanted| *wanted < revision),
    };
    let (revision, found) = match short {
        Some(found) if past.is_none() => (revision, found),
        _ => {
            // Whatever waits here holds nothing yet.
            let _room = front.wide.acquire().await;
            let (revision, all) = snapshot::take(&front, &read.range, wanted).await?;
            (revision, arrange(&read, all))
        }
    };
    Ok(pb::RangeResponse {
        header: front.header(revision),
        kvs: found.entries.into_iter().map(shown).collect(),
        more: found.more,
        count: signed(found.count),
    })
}

/// What the store finds, if one reply holds it.
async fn at_once<S: Store>(front: &Front<S>, read: &Read) -> Result<(Revision, Option<Found>), Status> {
    let limited = read.limit < u32::MAX;
    let filtered = read.created != Between::ALL || read.modified != Between::ALL;
    let counted = read.shows != Shows::Count && (filtered || (limited && read.range.end != End::Start));
    let mut operations = vec![Operation::Read(read.clone())];
    if counted {
        operations.push(Operation::Read(Read::count(read.range.clone())));
    }
    let (revision, results) = reading(front, operations).await?;
    let found = match results.as_slice() {
        [OperationResult::Count(count)] => Some(Found { entries: Vec::new(), more: false, count: *count }),
        [OperationResult::Read { entries, more }, rest @ ..] => {
            let count = match rest {
                [OperationResult::Count(count)] => *count,
                _ => entries.len() as u64,
            };
            let cut = *more && entries.len() < read.limit as usize;
            (!cut).then(|| Found { entries: entries.clone(), more: *more, count })
        }
        _ => return Err(Unanswered::Version.into()),
    };
    Ok((revision, found))
}

/// Reads, and asks again if the reply was lost.
pub async fn reading<S: Store>(
    front: &Front<S>,
    operations: Vec<Operation>,
) -> Result<(Revision, Vec<OperationResult>), Status> {
    for _ in 0..LOST_MAX {
        let (revision, came) = front.transact(Transaction::of(operations.clone())).await?;
        if let Some(results) = came.results {
            return Ok((revision, results));
        }
    }
    Err(Refusal::Timeout.into())
}

/// Of all keys of a range those that are asked for, as the store would.
fn arrange(read: &Read, all: Vec<KeyValue>) -> Found {
    let count = all.len() as u64;
    if read.shows == Shows::Count {
        return Found { entries: Vec::new(), more: false, count };
    }
    let wanted = |entry: &KeyValue| within(read.created, entry.created) && within(read.modified, entry.modified);
    let mut entries: Vec<KeyValue> = all.into_iter().filter(wanted).collect();
    entries.sort_by(|a, b| compare(read.order, a, b));
    let limit = read.limit as usize;
    let more = entries.len() > limit;
    entries.truncate(limit);
    if read.shows == Shows::Keys {
        entries.iter_mut().for_each(|entry| entry.value.clear());
    }
    Found { entries, more, count }
}

fn within(between: Between, revision: Revision) -> bool {
    (between.first..=between.last).contains(&revision)
}

/// Keys that are equal stay in the order of their bytes.
fn compare(order: Order, a: &KeyValue, b: &KeyValue) -> Ordering {
    let ascending = match order.by {
        By::Key => a.key.cmp(&b.key),
        By::Created => a.created.cmp(&b.created),
        By::Modified => a.modified.cmp(&b.modified),
        By::Version => a.version.cmp(&b.version),
        By::Value => a.value.cmp(&b.value),
    };
    if order.descending { ascending.reverse() } else { ascending }
}
