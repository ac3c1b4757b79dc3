//! The front before a store in memory, asked over real connections.

mod concurrency;
mod etcd;
mod keys;
mod leaders;
mod leases;
mod limits;
mod watches;

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use prost::Message;
use ringfort::protocol::codec::{decode, encode};
use ringfort::protocol::{Role, UserName};
use ringfort_services::kv::{Kv, KvReply, KvRequest, Revision, Transaction};
use ringfort_services::{Machine, Ordered, Reply};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::door::{Door, Password};
use crate::front::{Identity, Leader};
use crate::pb;
use crate::server::{Address, Listener};
use crate::store::{Store, Unanswered};

/// How long something that has to happen is waited for.
const DEADLINE: Duration = Duration::from_secs(60);

/// The leaders' machine by itself, with a clock that can be put forward.
#[derive(Clone)]
pub struct Memory(Arc<Mutex<Inner>>);

struct Inner {
    machine: Kv,
    place: u64,
    begun: Instant,
    forward: Duration,
    user: UserName,
    role: Role,
    /// There are no replies.
    silent: bool,
    /// How often changes were read.
    changes_read: usize,
}

impl Memory {
    fn new() -> Self {
        let user = "ana".parse().unwrap();
        let (machine, begun, forward) = (Kv::default(), Instant::now(), Duration::ZERO);
        Memory(Arc::new(Mutex::new(Inner {
            machine,
            place: 0,
            begun,
            forward,
            user,
            role: Role::Member,
            silent: false,
            changes_read: 0,
        })))
    }

    fn apply(&self, request: &KvRequest) -> KvReply {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.place += 1;
        inner.changes_read += usize::from(matches!(request, KvRequest::Changes { .. }));
        let time_us = u64::try_from((inner.begun.elapsed() + inner.forward).as_micros()).unwrap() + 1_000_000;
        let Inner { machine, place, user, role, .. } = &mut *inner;
        let order = Ordered { place: *place, time_us, user, role: *role, may_wait: false };
        match machine.apply(&order, &encode(request)).reply {
            Reply::Now { reply, .. } => decode(&reply).unwrap(),
            Reply::Later { .. } => panic!("nothing here may wait"),
        }
    }

    fn changes_read(&self) -> usize {
        self.0.lock().unwrap().changes_read
    }

    fn put_forward(&self, by: Duration) {
        self.0.lock().unwrap().forward += by;
    }

    fn take_role(&self, role: Role) {
        self.0.lock().unwrap().role = role;
    }

    fn fall_silent(&self, silent: bool) {
        self.0.lock().unwrap().silent = silent;
    }
}

impl Store for Memory {
    async fn ask(&self, request: KvRequest) -> Result<KvReply, Unanswered> {
        tokio::task::yield_now().await;
        if self.0.lock().unwrap().silent {
            return Err(Unanswered::Stopped);
        }
        Ok(self.apply(&request))
    }

    async fn changed(&self, after: Revision) -> Result<(), Unanswered> {
        while self.ask(KvRequest::Transact(Transaction::default())).await?.revision <= after {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// A front, and what it stands before.
struct Running {
    memory: Memory,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Running {
    async fn start() -> Self {
        Running::behind(Door::new(None).unwrap()).await
    }

    async fn locked(name: &str, password: &str) -> Self {
        let password = Password { name: name.to_owned(), password: password.to_owned().into() };
        Running::behind(Door::new(Some(password)).unwrap()).await
    }

    async fn behind(door: Door) -> Self {
        let memory = Memory::new();
        let (address, serving) = serve(memory.clone(), door).await;
        Running { memory, address, serving }
    }

    async fn client(&self) -> Client {
        Client::connect(self.address).await
    }
}

/// Serves before a store at a port of its own.
async fn serve<S: Store>(store: S, door: Door) -> (SocketAddr, JoinHandle<()>) {
    let listener = Listener::open(&Address::Tcp("127.0.0.1:0".parse().unwrap())).await.unwrap();
    let address = listener.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    (address, tokio::spawn(crate::serve(store, identity(), door, listener)))
}

fn identity() -> Identity {
    let leader = |id: u64| Leader { id, name: format!("leader {id}"), address: format!("127.0.0.1:{id}") };
    Identity { cluster: 7, member: 8, leaders: (1..=4).map(leader).collect() }
}

/// A client, of the front or of etcd.
#[derive(Clone)]
struct Client {
    channel: Channel,
    token: Option<String>,
}

/// A stream of requests and one of answers.
struct Talk<Q, R> {
    asks: mpsc::Sender<Q>,
    answers: Streaming<R>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Client { channel, token: None }
    }

    fn request<T>(&self, asked: T) -> Request<T> {
        let mut request = Request::new(asked);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.parse().unwrap());
        }
        request
    }

    async fn ask<Q, R>(&self, method: &'static str, asked: Q) -> Result<R, Status>
    where
        Q: Message + Default + 'static,
        R: Message + Default + 'static,
    {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let (path, codec) = (PathAndQuery::from_static(method), ProstCodec::<Q, R>::default());
        tokio::time::timeout(DEADLINE, grpc.unary(self.request(asked), path, codec))
            .await
            .unwrap_or_else(|_| panic!("{method} has no answer"))
            .map(tonic::Response::into_inner)
    }

    async fn talk<Q, R>(&self, method: &'static str) -> Result<Talk<Q, R>, Status>
    where
        Q: Message + Default + 'static,
        R: Message + Default + 'static,
    {
        self.begin(method, None).await
    }

    /// A stream in which something is asked at once: etcd says nothing before.
    async fn begin<Q, R>(&self, method: &'static str, first: Option<Q>) -> Result<Talk<Q, R>, Status>
    where
        Q: Message + Default + 'static,
        R: Message + Default + 'static,
    {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let (asks, asked) = mpsc::channel(64);
        first.into_iter().for_each(|first| drop(asks.try_send(first)));
        let (path, codec) = (PathAndQuery::from_static(method), ProstCodec::<Q, R>::default());
        let begun = grpc.streaming(self.request(ReceiverStream::new(asked)), path, codec);
        let begun = tokio::time::timeout(DEADLINE, begun).await.unwrap_or_else(|_| panic!("{method} does not begin"));
        Ok(Talk { asks, answers: begun?.into_inner() })
    }

    async fn range(&self, asked: pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
        self.ask("/etcdserverpb.KV/Range", asked).await
    }

    async fn put(&self, asked: pb::PutRequest) -> Result<pb::PutResponse, Status> {
        self.ask("/etcdserverpb.KV/Put", asked).await
    }

    async fn delete(&self, asked: pb::DeleteRangeRequest) -> Result<pb::DeleteRangeResponse, Status> {
        self.ask("/etcdserverpb.KV/DeleteRange", asked).await
    }

    async fn txn(&self, asked: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        self.ask("/etcdserverpb.KV/Txn", asked).await
    }

    async fn grant(&self, id: i64, ttl: i64) -> Result<pb::LeaseGrantResponse, Status> {
        self.ask("/etcdserverpb.Lease/LeaseGrant", pb::LeaseGrantRequest { ttl, id }).await
    }

    async fn revoke(&self, id: i64) -> Result<pb::Done, Status> {
        self.ask("/etcdserverpb.Lease/LeaseRevoke", pb::LeaseRequest { id }).await
    }

    async fn time_to_live(&self, id: i64, keys: bool) -> Result<pb::LeaseTimeToLiveResponse, Status> {
        self.ask("/etcdserverpb.Lease/LeaseTimeToLive", pb::LeaseTimeToLiveRequest { id, keys }).await
    }

    async fn watch(&self) -> Talk<pb::WatchRequest, pb::WatchResponse> {
        self.talk("/etcdserverpb.Watch/Watch").await.unwrap()
    }

    /// Puts a value, and returns its revision.
    async fn set(&self, key: &str, value: &str) -> i64 {
        revision(self.put(put(key, value)).await.unwrap().header)
    }

    async fn get(&self, key: &str) -> Option<String> {
        let found = self.range(range(key)).await.unwrap().kvs.pop();
        found.map(|found| String::from_utf8(found.value).unwrap())
    }
}

impl<Q, R: Debug> Talk<Q, R> {
    async fn next(&mut self) -> Option<R> {
        let next = tokio::time::timeout(DEADLINE, self.answers.message()).await;
        next.expect("there is no answer").expect("the stream has not failed")
    }
}

fn revision(header: Option<pb::Header>) -> i64 {
    header.unwrap().revision
}

fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: value.into(), ..pb::PutRequest::default() }
}

fn range(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: key.into(), ..pb::RangeRequest::default() }
}

/// All keys from one on and before another.
fn between(key: &str, end: &str) -> pb::RangeRequest {
    pb::RangeRequest { range_end: end.into(), ..range(key) }
}

fn delete(key: &str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: key.into(), ..pb::DeleteRangeRequest::default() }
}

fn op(request: pb::Asked) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// What etcd's clients look at.
fn refusal<T: Debug>(outcome: Result<T, Status>) -> (tonic::Code, String) {
    let status = outcome.expect_err("it is refused");
    (status.code(), status.message().to_owned())
}

fn told(refusal: crate::error::Refusal) -> (tonic::Code, String) {
    let (code, text) = refusal.told();
    (code, text.to_owned())
}
