//! `etcdserverpb.KV`.

mod ask;
mod range;
mod snapshot;

use std::sync::Arc;

use ringfort_services::kv::{Operation, OperationResult, Transaction};
use tonic::Status;

use crate::error::Refusal;
use crate::front::{Front, signed};
use crate::pb;
use crate::store::{Store, Unanswered};

pub use ask::{keys, shown};
pub use range::{range, reading};
pub use snapshot::behind;

/// `Put`.
pub async fn put<S: Store>(front: Arc<Front<S>>, asked: pb::PutRequest) -> Result<pb::PutResponse, Status> {
    let wants = asked.prev_kv;
    let (revision, came) = front.transact(Transaction::of(vec![ask::put(asked)?])).await?;
    let prev_kv = match came.results.map(|mut results| results.pop()) {
        Some(Some(OperationResult::Put { previous, .. })) => previous.map(shown),
        // The reply was lost, and it would have told nothing more.
        None if !wants => None,
        None => return Err(Refusal::Timeout.into()),
        Some(_) => return Err(Unanswered::Version.into()),
    };
    Ok(pb::PutResponse { header: front.header(revision), prev_kv })
}

/// `DeleteRange`.
pub async fn delete_range<S: Store>(
    front: Arc<Front<S>>,
    asked: pb::DeleteRangeRequest,
) -> Result<pb::DeleteRangeResponse, Status> {
    let (revision, came) = front.transact(Transaction::of(vec![ask::delete(asked)?])).await?;
    match came.results.map(|mut results| results.pop()) {
        Some(Some(OperationResult::Deleted { count, previous })) => {
            let prev_kvs = previous.into_iter().map(shown).collect();
            Ok(pb::DeleteRangeResponse { header: front.header(revision), deleted: signed(count), prev_kvs })
        }
        // It is done, but nobody knows how many keys there were.
        None => Err(Refusal::Timeout.into()),
        Some(_) => Err(Unanswered::Version.into()),
    }
}

/// `Txn`.
pub async fn txn<S: Store>(front: Arc<Front<S>>, asked: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
    let (transaction, branches) = ask::transaction(asked)?;
    let reads_alone = !transaction.then.iter().chain(&transaction.otherwise).any(changes);
    let (revision, came) = front.transact(transaction).await?;
    let succeeded = came.failed.is_none();
    let branch = if succeeded { branches.then } else { branches.otherwise };
    let header = front.header(revision);
    let responses = match came.results {
        Some(results) => branch.answers(header, results, reads_alone)?,
        // It is done, but what it told is lost.
        None => branch.answers_untold(header).ok_or(Refusal::Timeout)?,
    };
    Ok(pb::TxnResponse { header, succeeded, responses })
}

fn changes(operation: &Operation) -> bool {
    !matches!(operation, Operation::Read(_))
}

/// `Compact`. The store forgets by itself, so there is nothing to do.
pub async fn compact<S: Store>(front: Arc<Front<S>>, asked: pb::CompactionRequest) -> Result<pb::Done, Status> {
    let revision = front.revision().await?;
    if asked.revision > signed(revision) {
        return Err(Refusal::FutureRevision.into());
    }
    Ok(pb::Done { header: front.header(revision) })
}
