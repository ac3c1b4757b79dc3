//! `etcdserverpb.Cluster`, `Maintenance` and `Auth`: what the front says of itself.

use std::sync::Arc;

use tonic::Status;

use crate::door::Visitor;
use crate::front::{Front, TERM};
use crate::pb;
use crate::store::Store;

/// The version of etcd whose interface this is.
const VERSION: &str = "3.4.0";

/// `MemberList`: the leaders. Clients reach each of them by the front alone, so it is the address of all: clients that go on with
/// the addresses that they find here come back to it.
pub async fn member_list<S: Store>(front: Arc<Front<S>>, _: pb::Nothing) -> Result<pb::MemberListResponse, Status> {
    let members = front.identity.leaders.iter().map(|leader| pb::Member {
        id: leader.id,
        name: leader.name.clone(),
        peer_urls: vec![leader.address.clone()],
        client_urls: vec![front.endpoint.clone()],
    });
    Ok(pb::MemberListResponse { header: front.header(front.revision().await?), members: members.collect() })
}

/// `Status`. Each leader has a part in each answer, so the front stands for all: it names itself the leader.
pub async fn status<S: Store>(front: Arc<Front<S>>, _: pb::Nothing) -> Result<pb::StatusResponse, Status> {
    let revision = front.revision().await?;
    Ok(pb::StatusResponse {
        header: front.header(revision),
        version: VERSION.to_owned(),
        leader: front.identity.member,
        raft_index: revision,
        raft_applied_index: revision,
        raft_term: TERM,
        ..pb::StatusResponse::default()
    })
}

/// `Alarm`: there are none.
pub async fn alarm<S: Store>(front: Arc<Front<S>>, asked: pb::AlarmRequest) -> Result<pb::Done, Status> {
    match asked.action {
        0 => Ok(pb::Done { header: front.header(front.revision().await?) }),
        _ => Err(Status::unimplemented("ringfort: a group has no alarms that clients set (docs/etcd.md)")),
    }
}

/// `Authenticate`.
pub async fn authenticate<S: Store>(
    front: Arc<Front<S>>,
    visitor: Visitor,
    asked: pb::AuthenticateRequest,
) -> Result<pb::AuthenticateResponse, Status> {
    let token = front.door.authenticate(&asked.name, &asked.password, &visitor).await?;
    Ok(pb::AuthenticateResponse { header: front.header(0), token })
}

/// `AuthStatus`.
pub async fn auth_status<S: Store>(front: Arc<Front<S>>, _: pb::Nothing) -> Result<pb::AuthStatusResponse, Status> {
    let (header, enabled) = (front.header(front.revision().await?), front.door.is_locked());
    Ok(pb::AuthStatusResponse { header, enabled, auth_revision: 1 })
}
