//! `etcdserverpb.Lease`.

use std::sync::Arc;

use ringfort_services::kv::{self, KvRequest, LEASE_TTL_S, Outcome, Revision};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::error::Refusal;
use crate::front::{Front, refused, signed};
use crate::pb;
use crate::rpc::Replies;
use crate::store::{Store, Unanswered};

/// Answers in a stream that wait to be read.
const ANSWERS_MAX: usize = 16;

/// `LeaseGrant`.
pub async fn grant<S: Store>(
    front: Arc<Front<S>>,
    asked: pb::LeaseGrantRequest,
) -> Result<pb::LeaseGrantResponse, Status> {
    let ttl_s = match u32::try_from(asked.ttl.max(i64::from(*LEASE_TTL_S.start()))) {
        Ok(ttl_s) if LEASE_TTL_S.contains(&ttl_s) => ttl_s,
        _ => return Err(Refusal::LeaseTooLong.into()),
    };
    match front.ask(KvRequest::LeaseGrant { id: named(asked.id)?, ttl_s }).await? {
        (revision, Outcome::Leased { id, ttl_s }) => Ok(pb::LeaseGrantResponse {
            header: front.header(revision),
            id: signed(id),
            ttl: ttl_s.into(),
            error: String::new(),
        }),
        _ => Err(Unanswered::Version.into()),
    }
}

/// A name that no store has is the name of no lease.
fn named(id: i64) -> Result<u64, Refusal> {
    u64::try_from(id).map_err(|_| Refusal::LeaseNotFound)
}

/// `LeaseRevoke`.
pub async fn revoke<S: Store>(front: Arc<Front<S>>, asked: pb::LeaseRequest) -> Result<pb::Done, Status> {
    match front.ask(KvRequest::LeaseRevoke { id: named(asked.id)? }).await? {
        (revision, Outcome::Revoked) => Ok(pb::Done { header: front.header(revision) }),
        _ => Err(Unanswered::Version.into()),
    }
}

/// Lets a lease last as long again; tells for how long, or nothing if there is no such lease.
pub async fn renew<S: Store>(front: &Front<S>, id: i64) -> Result<(Revision, Option<u32>), Status> {
    let Ok(id) = named(id) else { return Ok((front.revision().await?, None)) };
    match front.ask_plainly(KvRequest::LeaseRenew { id }).await? {
        (revision, Outcome::Leased { ttl_s, .. }) => Ok((revision, Some(ttl_s))),
        (revision, Outcome::Refused(kv::Refusal::NoLease)) => Ok((revision, None)),
        (_, Outcome::Refused(refusal)) => Err(refused(refusal)),
        _ => Err(Unanswered::Version.into()),
    }
}

/// `LeaseKeepAlive`: one request after the other.
pub async fn keep_alive<S: Store>(
    front: Arc<Front<S>>,
    permit: OwnedSemaphorePermit,
    mut asked: Streaming<pb::LeaseRequest>,
) -> Result<Replies<pb::LeaseKeepAliveResponse>, Status> {
    let (answers, replies) = mpsc::channel(ANSWERS_MAX);
    tokio::spawn(async move {
        let _permit = permit;
        loop {
            let asked = tokio::select! {
                asked = asked.message() => asked,
                () = answers.closed() => return,
            };
            let Ok(Some(pb::LeaseRequest { id })) = asked else { return };
            let answer = renew(&front, id).await.map(|(revision, ttl_s)| {
                let ttl = ttl_s.map_or(0, i64::from);
                pb::LeaseKeepAliveResponse { header: front.header(revision), id, ttl }
            });
            let failed = answer.is_err();
            if answers.send(answer).await.is_err() || failed {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(replies))
}

/// `LeaseTimeToLive`.
pub async fn time_to_live<S: Store>(
    front: Arc<Front<S>>,
    asked: pb::LeaseTimeToLiveRequest,
) -> Result<pb::LeaseTimeToLiveResponse, Status> {
    let gone = |revision| pb::LeaseTimeToLiveResponse {
        header: front.header(revision),
        id: asked.id,
        ttl: -1,
        ..pb::LeaseTimeToLiveResponse::default()
    };
    let Ok(id) = named(asked.id) else { return Ok(gone(front.revision().await?)) };
    match front.ask_plainly(KvRequest::LeaseInfo { id, keys: asked.keys }).await? {
        (_, Outcome::LeaseInfo(kv::LeaseInfo { more: true, .. })) => Err(Status::resource_exhausted(
            "ringfort: the names of this lease's keys are longer than a reply of the group's store",
        )),
        (revision, Outcome::LeaseInfo(info)) => Ok(pb::LeaseTimeToLiveResponse {
            header: front.header(revision),
            id: asked.id,
            ttl: signed(info.remaining_us / 1_000_000),
            granted_ttl: info.ttl_s.into(),
            keys: info.keys,
        }),
        (revision, Outcome::Refused(kv::Refusal::NoLease)) => Ok(gone(revision)),
        (_, Outcome::Refused(refusal)) => Err(refused(refusal)),
        _ => Err(Unanswered::Version.into()),
    }
}

/// `LeaseLeases`.
pub async fn leases<S: Store>(front: Arc<Front<S>>, _: pb::Nothing) -> Result<pb::LeaseLeasesResponse, Status> {
    match front.ask(KvRequest::LeaseList).await? {
        (revision, Outcome::Leases(ids)) => {
            let leases = ids.into_iter().map(|id| pb::LeaseStatus { id: signed(id) }).collect();
            Ok(pb::LeaseLeasesResponse { header: front.header(revision), leases })
        }
        _ => Err(Unanswered::Version.into()),
    }
}
