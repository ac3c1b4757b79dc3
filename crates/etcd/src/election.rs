//! `v3electionpb.Election`.

use std::sync::Arc;

use ringfort_services::kv::{Change, KeyValue, Operation, Put, Range, Revision, Transaction};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::error::Refusal;
use crate::front::{Front, signed};
use crate::kv::shown;
use crate::pb;
use crate::queue::{self, Changes, Waiting};
use crate::rpc::Replies;
use crate::store::Store;

/// Leaders that wait to be read of.
const LEADERS_MAX: usize = 4;

/// `Campaign`: answers once this client is elected. A client that goes away before gives its place up.
pub async fn campaign<S: Store>(
    front: Arc<Front<S>>,
    asked: pb::CampaignRequest,
) -> Result<pb::CampaignResponse, Status> {
    let lease = queue::lease(&front, asked.lease).await?;
    let place = queue::stand(&front, &asked.name, &asked.value, lease).await?;
    let waiting = Waiting::at(&front, &place);
    if place.found.as_ref().is_some_and(|found| found.value != asked.value) {
        say(&front, &place.key, place.since, &asked.value, lease).await?;
    }
    queue::turn(&front, &place).await?;
    waiting.has_turn();
    let rev = signed(place.since);
    let leader = pb::LeaderKey { name: asked.name, key: place.key, rev, lease: signed(place.lease) };
    Ok(pb::CampaignResponse { header: front.header(place.revision), leader: Some(leader) })
}

/// Puts another value, if the place is still there.
async fn say<S: Store>(
    front: &Front<S>,
    key: &[u8],
    since: Revision,
    value: &[u8],
    lease: u64,
) -> Result<Revision, Status> {
    let then = vec![Operation::Put(Put::leased(key, value, lease))];
    let transaction = Transaction { conditions: vec![queue::holds(key, since)], then, otherwise: Vec::new() };
    match front.transact(transaction).await? {
        (revision, came) if came.failed.is_none() => Ok(revision),
        _ => Err(Refusal::NotElected.into()),
    }
}

/// A leader's key, since when, and its lease.
fn resumed(leader: Option<pb::LeaderKey>) -> Result<(Vec<u8>, Revision, i64), Refusal> {
    let pb::LeaderKey { key, rev, lease, .. } = leader.ok_or(Refusal::NoLeaderKey)?;
    let since = u64::try_from(rev).map_err(|_| Refusal::NotElected)?;
    Ok((key, since, lease))
}

/// `Proclaim`.
pub async fn proclaim<S: Store>(front: Arc<Front<S>>, asked: pb::ProclaimRequest) -> Result<pb::Done, Status> {
    let (key, since, lease) = resumed(asked.leader)?;
    let lease = match queue::lease(&front, lease).await {
        // Who is not elected is told that first.
        Err(status) if status.code() == tonic::Code::NotFound => u64::try_from(lease).unwrap_or(u64::MAX),
        lease => lease?,
    };
    Ok(pb::Done { header: front.header(say(&front, &key, since, &asked.value, lease).await?) })
}

/// `Resign`.
pub async fn resign<S: Store>(front: Arc<Front<S>>, asked: pb::ProclaimRequest) -> Result<pb::Done, Status> {
    let (key, since, _) = resumed(asked.leader)?;
    Ok(pb::Done { header: front.header(queue::leave(&front, &key, since).await?) })
}

fn queue_of(name: &[u8]) -> Vec<u8> {
    [name, b"/"].concat()
}

/// `Leader`.
pub async fn leader<S: Store>(front: Arc<Front<S>>, asked: pb::LeaderRequest) -> Result<pb::LeaderResponse, Status> {
    match queue::first(&front, &queue_of(&asked.name)).await? {
        (revision, Some(leader)) => Ok(told(&front, revision, leader)),
        (_, None) => Err(Refusal::NoElectionLeader.into()),
    }
}

fn told<S: Store>(front: &Front<S>, revision: Revision, leader: KeyValue) -> pb::LeaderResponse {
    pb::LeaderResponse { header: front.header(revision), kv: Some(shown(leader)) }
}

/// `Observe`: every leader from now on, and what each says, as far as the client keeps up.
pub async fn observe<S: Store>(
    front: Arc<Front<S>>,
    permit: OwnedSemaphorePermit,
    mut asked: Streaming<pb::LeaderRequest>,
) -> Result<Replies<pb::LeaderResponse>, Status> {
    let (answers, replies) = mpsc::channel(LEADERS_MAX);
    tokio::spawn(async move {
        let _permit = permit;
        let observed = async {
            let Ok(Some(asked)) = asked.message().await else { return };
            loop {
                if let Err(status) = observe_one(&front, &queue_of(&asked.name), &answers).await {
                    let _ = answers.send(Err(status)).await;
                    return;
                }
            }
        };
        tokio::select! {
            () = observed => {}
            () = answers.closed() => {}
        }
    });
    Ok(ReceiverStream::new(replies))
}

/// Tells of the first in the queue until it is gone, or of when there is one.
async fn observe_one<S: Store>(
    front: &Arc<Front<S>>,
    prefix: &[u8],
    answers: &mpsc::Sender<Result<pb::LeaderResponse, Status>>,
) -> Result<(), Status> {
    let send = |revision, leader| async move {
        let _ = answers.send(Ok(told(front, revision, leader))).await;
    };
    let (revision, leader) = queue::first(front, prefix).await?;
    let Some(leader) = leader else {
        // Whoever comes is looked for anew.
        let mut changes = Changes::follow(front, Range::prefix(prefix), revision)?;
        let _ = changes.next().await;
        return Ok(());
    };
    let mut changes = Changes::follow(front, Range::key(&leader.key), revision)?;
    send(revision, leader).await;
    while let Some(changes) = changes.next().await {
        for (revision, change) in changes {
            match change {
                Change::Put(leader) => send(revision, leader).await,
                Change::Deleted { .. } => return Ok(()),
            }
        }
    }
    Ok(())
}
