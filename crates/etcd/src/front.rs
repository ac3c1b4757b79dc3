//! What all services of the front share.

use std::sync::Arc;
use std::time::Duration;

use ringfort::protocol::{GroupInfo, UserName};
use ringfort_crypto::hash::digest;
use ringfort_services::kv::{self, KvReply, KvRequest, Outcome, Revision, Transacted, Transaction};
use tokio::sync::{Mutex, Semaphore};
use tonic::Status;

use crate::door::Door;
use crate::error::Refusal;
use crate::hub::Hub;
use crate::pb::Header;
use crate::store::{Store, Unanswered};

/// Requests at once: as many as may wait of one member.
const CALLS_MAX: usize = 256;
/// Streams, and requests that wait for a lock, at once.
const ENDLESS_MAX: usize = 128;
/// Answers at once that are put together from several replies.
const WIDE_MAX: usize = 4;
/// How long a reply of the store is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// Who answers, as far as etcd's clients ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The group.
    pub cluster: u64,
    /// This front: the member.
    pub member: u64,
    /// The group's leaders.
    pub leaders: Vec<Leader>,
}

/// A leader, as etcd's clients see it: a member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it listens for members.
    pub address: String,
}

impl Identity {
    /// Of a member of a group. The numbers are the same each time.
    pub fn of(group: &GroupInfo, user: &UserName) -> Self {
        let id = group.id();
        let number = |what: &[u8], whose: &[u8]| {
            let [a, b, c, d, e, f, g, h, ..] = digest("ringfort etcd number", &[&id.0, what, whose]);
            // 0 is nobody.
            u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1)
        };
        let leader = |(index, address): (u64, &String)| {
            let name = format!("leader {index}");
            Leader { id: number(b"leader", &index.to_be_bytes()), name, address: address.clone() }
        };
        let addresses = group.leaders.iter().map(|leader| &leader.address);
        Identity {
            cluster: number(b"group", b""),
            member: number(b"member", user.as_str().as_bytes()),
            leaders: (1..).zip(addresses).map(leader).collect(),
        }
    }
}

/// The term that is told: an order of leaders without a leader has no other.
pub const TERM: u64 = 1;

pub struct Front<S> {
    pub store: S,
    pub identity: Identity,
    pub door: Door,
    /// Where clients reach it.
    pub endpoint: String,
    pub hub: Hub,
    pub calls: Arc<Semaphore>,
    pub streams: Arc<Semaphore>,
    pub wide: Semaphore,
    now: Mutex<Now>,
    tickets: std::sync::atomic::AtomicU64,
}

/// The last reading of the store's revision.
#[derive(Default)]
struct Now {
    /// Whoever drew a ticket below this one asked before the reading began.
    covers: u64,
    revision: Revision,
}

impl<S: Store> Front<S> {
    pub fn new(store: S, identity: Identity, door: Door, endpoint: String) -> Self {
        Front {
            store,
            identity,
            door,
            endpoint,
            hub: Hub::new(),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            streams: Arc::new(Semaphore::new(ENDLESS_MAX)),
            wide: Semaphore::new(WIDE_MAX),
            now: Mutex::default(),
            tickets: std::sync::atomic::AtomicU64::new(0),
        }
    }

    pub fn header(&self, revision: Revision) -> Option<Header> {
        let Identity { cluster, member, .. } = self.identity;
        Some(Header { cluster_id: cluster, member_id: member, revision: signed(revision), raft_term: TERM })
    }

    /// Asks the store, and makes etcd's errors of what it refuses.
    pub async fn ask(&self, request: KvRequest) -> Result<(Revision, Outcome), Status> {
        match self.ask_plainly(request).await? {
            (_, Outcome::Refused(refusal)) => Err(refused(refusal)),
            done => Ok(done),
        }
    }

    /// Asks the store, and leaves what it refuses to the caller.
    pub async fn ask_plainly(&self, request: KvRequest) -> Result<(Revision, Outcome), Status> {
        match tokio::time::timeout(PATIENCE, self.store.ask(request)).await {
            Ok(Ok(KvReply { revision, outcome })) => Ok((revision, outcome)),
            Ok(Err(unanswered)) => Err(unanswered.into()),
            Err(_) => Err(Refusal::Timeout.into()),
        }
    }

    /// Asks for a transaction.
    pub async fn transact(&self, transaction: Transaction) -> Result<(Revision, Transacted), Status> {
        transaction.check().map_err(refused)?;
        match self.ask(KvRequest::Transact(transaction)).await? {
            (revision, Outcome::Transacted(came)) => Ok((revision, came)),
            _ => Err(Unanswered::Version.into()),
        }
    }

    /// The store's revision, not older than this call. Calls at the same time share one reading.
    pub async fn revision(&self) -> Result<Revision, Status> {
        tokio::time::timeout(PATIENCE, self.read_revision()).await.unwrap_or_else(|_| Err(Refusal::Timeout.into()))
    }

    async fn read_revision(&self) -> Result<Revision, Status> {
        let tickets = &self.tickets;
        let ticket = tickets.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut now = self.now.lock().await;
        if ticket >= now.covers {
            let covers = tickets.load(std::sync::atomic::Ordering::SeqCst);
            let (revision, _) = self.transact(Transaction::default()).await?;
            *now = Now { covers, revision };
        }
        Ok(now.revision)
    }
}

/// Revisions and counts as etcd writes them.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What the store refuses, in etcd's words where it has some.
pub fn refused(refusal: kv::Refusal) -> Status {
    match refusal {
        kv::Refusal::Key | kv::Refusal::Value => Refusal::TooLarge.into(),
        kv::Refusal::Role => Refusal::Denied.into(),
        kv::Refusal::StoreFull | kv::Refusal::UserFull => Refusal::NoSpace.into(),
        kv::Refusal::Many => Refusal::TooManyOps.into(),
        kv::Refusal::Twice => Refusal::DuplicateKey.into(),
        kv::Refusal::NoKey => Refusal::KeyNotFound.into(),
        kv::Refusal::NoLease => Refusal::LeaseNotFound.into(),
        kv::Refusal::LeaseExists => Refusal::LeaseExists.into(),
        kv::Refusal::Lease => Refusal::LeaseTooLong.into(),
        kv::Refusal::Unknown => Status::failed_precondition(format!("ringfort: {refusal}")),
        _ => Status::resource_exhausted(format!("ringfort: {refusal}")),
    }
}

impl From<Unanswered> for Status {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Stopped => Refusal::Stopped.into(),
            Unanswered::Busy => Refusal::TooManyRequests.into(),
            Unanswered::TooLarge => Refusal::TooLarge.into(),
            Unanswered::Version => Status::failed_precondition(format!("ringfort: {unanswered}")),
        }
    }
}
