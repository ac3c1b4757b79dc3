//! From a method's path to what answers it.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Incoming;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::server::{Grpc, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::door::Visitor;
use crate::error::Refusal;
use crate::front::Front;
use crate::store::Store;
use crate::{election, kv, lease, lock, system, watch};

/// The longest request, in bytes: the store takes far less, and says so in etcd's words.
const REQUEST_BYTES_MAX: usize = 512 * 1024;
/// The longest request in a stream, and the longest login.
const WISH_BYTES_MAX: usize = 16 * 1024;

type Answered = http::Response<Body>;
/// What goes back in a stream.
pub type Replies<R> = ReceiverStream<Result<R, Status>>;

/// Answers one request.
pub async fn answer<S: Store>(front: Arc<Front<S>>, visitor: Visitor, request: http::Request<Incoming>) -> Answered {
    let path = request.uri().path().to_owned();
    let (service, method) = path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
    if service == "etcdserverpb.Auth" && method == "Authenticate" {
        let logins = visitor.logins.clone();
        let login = move |front, asked| system::authenticate(front, visitor.clone(), asked);
        return unary(front, Room(&logins, WISH_BYTES_MAX), request, login).await;
    }
    if let Err(refusal) = front.door.check(request.headers(), &visitor) {
        return Status::from(refusal).into_http();
    }
    let (soon, endless) = (front.calls.clone(), front.streams.clone());
    let (soon, endless) = (|| Room(&soon, REQUEST_BYTES_MAX), || Room(&endless, REQUEST_BYTES_MAX));
    match service {
        "etcdserverpb.KV" => match method {
            "Range" => unary(front, soon(), request, kv::range).await,
            "Put" => unary(front, soon(), request, kv::put).await,
            "DeleteRange" => unary(front, soon(), request, kv::delete_range).await,
            "Txn" => unary(front, soon(), request, kv::txn).await,
            "Compact" => unary(front, soon(), request, kv::compact).await,
            _ => unknown(&path),
        },
        "etcdserverpb.Watch" if method == "Watch" => streaming(front, request, watch::watch).await,
        "etcdserverpb.Lease" => match method {
            "LeaseGrant" => unary(front, soon(), request, lease::grant).await,
            "LeaseRevoke" => unary(front, soon(), request, lease::revoke).await,
            "LeaseKeepAlive" => streaming(front, request, lease::keep_alive).await,
            "LeaseTimeToLive" => unary(front, soon(), request, lease::time_to_live).await,
            "LeaseLeases" => unary(front, soon(), request, lease::leases).await,
            _ => unknown(&path),
        },
        "v3lockpb.Lock" => match method {
            "Lock" => unary(front, endless(), request, lock::lock).await,
            "Unlock" => unary(front, soon(), request, lock::unlock).await,
            _ => unknown(&path),
        },
        "v3electionpb.Election" => match method {
            "Campaign" => unary(front, endless(), request, election::campaign).await,
            "Proclaim" => unary(front, soon(), request, election::proclaim).await,
            "Leader" => unary(front, soon(), request, election::leader).await,
            "Observe" => streaming(front, request, election::observe).await,
            "Resign" => unary(front, soon(), request, election::resign).await,
            _ => unknown(&path),
        },
        _ => of_the_system(front, soon(), (service, method), request).await,
    }
}

async fn of_the_system<S: Store>(
    front: Arc<Front<S>>,
    room: Room<'_>,
    (service, method): (&str, &str),
    request: http::Request<Incoming>,
) -> Answered {
    match (service, method) {
        ("etcdserverpb.Cluster", "MemberList") => unary(front, room, request, system::member_list).await,
        ("etcdserverpb.Maintenance", "Status") => unary(front, room, request, system::status).await,
        ("etcdserverpb.Maintenance", "Alarm") => unary(front, room, request, system::alarm).await,
        ("etcdserverpb.Auth", "AuthStatus") => unary(front, room, request, system::auth_status).await,
        _ => unknown(request.uri().path()),
    }
}

fn unknown(path: &str) -> Answered {
    let told = format!("{path}: Ringfort's front for etcd does not offer this (docs/etcd.md says what it offers)");
    Status::unimplemented(told.replace(|c: char| !(' '..='~').contains(&c), "?")).into_http()
}

/// Room for requests: how many at once, and how long they may be.
struct Room<'a>(&'a Arc<Semaphore>, usize);

/// One request, and one answer.
async fn unary<S, Q, R, F, A>(front: Arc<Front<S>>, room: Room<'_>, request: http::Request<Incoming>, f: F) -> Answered
where
    S: Store,
    Q: Message + Default + Send + 'static,
    R: Message + Default + Send + 'static,
    F: Fn(Arc<Front<S>>, Q) -> A + Send,
    A: Future<Output = Result<R, Status>> + Send + 'static,
{
    let Room(permits, bytes_max) = room;
    let Ok(_permit) = permits.clone().try_acquire_owned() else {
        return Status::from(Refusal::TooManyRequests).into_http();
    };
    let codec = ProstCodec::<R, Q>::default();
    let mut grpc = Grpc::new(codec).max_decoding_message_size(bytes_max);
    grpc.unary(Once { front, f, of: PhantomData }, request).await
}

/// Requests and answers until one side ends.
async fn streaming<S, Q, R, F, A>(front: Arc<Front<S>>, request: http::Request<Incoming>, f: F) -> Answered
where
    S: Store,
    Q: Message + Default + Send + 'static,
    R: Message + Default + Send + 'static,
    F: Fn(Arc<Front<S>>, OwnedSemaphorePermit, Streaming<Q>) -> A + Send,
    A: Future<Output = Result<Replies<R>, Status>> + Send + 'static,
{
    let Ok(permit) = front.streams.clone().try_acquire_owned() else {
        return Status::from(Refusal::TooManyRequests).into_http();
    };
    let codec = ProstCodec::<R, Q>::default();
    let mut grpc = Grpc::new(codec).max_decoding_message_size(WISH_BYTES_MAX);
    grpc.streaming(Many { front, permit: Some(permit), f, of: PhantomData }, request).await
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

struct Once<S, F, R> {
    front: Arc<Front<S>>,
    f: F,
    of: PhantomData<fn() -> R>,
}

impl<S, Q, R, F, A> UnaryService<Q> for Once<S, F, R>
where
    F: Fn(Arc<Front<S>>, Q) -> A,
    A: Future<Output = Result<R, Status>> + Send + 'static,
{
    type Response = R;
    type Future = Boxed<R>;

    fn call(&mut self, request: Request<Q>) -> Boxed<R> {
        let answer = (self.f)(self.front.clone(), request.into_inner());
        Box::pin(async { answer.await.map(Response::new) })
    }
}

struct Many<S, F, R> {
    front: Arc<Front<S>>,
    /// Goes with the stream.
    permit: Option<OwnedSemaphorePermit>,
    f: F,
    of: PhantomData<fn() -> R>,
}

impl<S, Q, R, F, A> StreamingService<Q> for Many<S, F, R>
where
    R: Send + 'static,
    F: Fn(Arc<Front<S>>, OwnedSemaphorePermit, Streaming<Q>) -> A,
    A: Future<Output = Result<Replies<R>, Status>> + Send + 'static,
{
    type Response = R;
    type ResponseStream = Replies<R>;
    type Future = Boxed<Replies<R>>;

    fn call(&mut self, request: Request<Streaming<Q>>) -> Boxed<Replies<R>> {
        let Some(permit) = self.permit.take() else {
            return Box::pin(async { Err(Status::internal("a stream is answered once")) });
        };
        let answer = (self.f)(self.front.clone(), permit, request.into_inner());
        Box::pin(async { answer.await.map(Response::new) })
    }
}
