//! `v3lockpb.Lock`.

use std::sync::Arc;

use ringfort_services::kv::{Range, Read};
use tonic::Status;

use crate::error::Refusal;
use crate::front::Front;
use crate::kv;
use crate::pb;
use crate::queue::{self, Waiting};
use crate::store::Store;

/// `Lock`: answers once the lock is this client's. A client that goes away before gives its place up.
pub async fn lock<S: Store>(front: Arc<Front<S>>, asked: pb::LockRequest) -> Result<pb::LockResponse, Status> {
    let lease = queue::lease(&front, asked.lease).await?;
    let place = queue::stand(&front, &asked.name, b"", lease).await?;
    let waiting = Waiting::at(&front, &place);
    queue::turn(&front, &place).await?;
    // The lease may have ended meanwhile, and the key with it.
    let (revision, held) = queue::one(&front, Read::all(Range::key(&place.key))).await?;
    if held.is_none_or(|held| held.created != place.since) {
        return Err(Refusal::SessionExpired.into());
    }
    waiting.has_turn();
    Ok(pb::LockResponse { header: front.header(revision), key: place.key })
}

/// `Unlock`.
pub async fn unlock<S: Store>(front: Arc<Front<S>>, asked: pb::UnlockRequest) -> Result<pb::Done, Status> {
    let delete = pb::DeleteRangeRequest { key: asked.key, ..pb::DeleteRangeRequest::default() };
    let pb::DeleteRangeResponse { header, .. } = kv::delete_range(front, delete).await?;
    Ok(pb::Done { header })
}
