//! A front for clients of etcd: etcd's gRPC interface (v3), over the key-value store of a group.
//!
//! It runs beside the member, on the machine of whoever uses it. A client of etcd trusts the server it talks to; here this is the
//! user's own program, which believes what f+1 leaders reply. So `etcdctl` and the libraries of etcd work as they are, and no
//! single server is trusted.
//!
//! ```no_run
//! # async fn run(group: ringfort::Group, identity: ringfort_etcd::Identity) -> Result<(), Box<dyn std::error::Error>> {
//! use ringfort_etcd::{Address, Door, Listener};
//!
//! let listener = Listener::open(&Address::Unix("/run/user/1000/ringfort/etcd.sock".into())).await?;
//! println!("etcdctl --endpoints={}", listener.endpoint());
//! ringfort_etcd::serve(group, identity, Door::new(None)?, listener).await;
//! # Ok(())
//! # }
//! ```
//!
//! Architecture invariant: no protocol decision is taken here. Clients are strangers to it: what they send is bounded before it is
//! read, and so is what waits for them. `docs/etcd.md` says what is offered, and what differs from etcd.

mod authority;
mod door;
mod election;
mod error;
mod front;
mod hub;
mod kv;
mod lease;
mod lock;
mod pb;
mod queue;
mod reading;
mod rpc;
mod server;
mod store;
mod system;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

pub use door::{Door, Password, fresh_secret};
pub use front::{Identity, Leader};
pub use server::{Address, BadAddress, ListenError, Listener};
pub use store::{Store, Unanswered};

use front::Front;

/// Serves clients until the future is dropped.
pub async fn serve<S: Store>(store: S, identity: Identity, door: Door, listener: Listener) {
    let front = Arc::new(Front::new(store, identity, door, listener.endpoint().to_owned()));
    tokio::select! {
        () = hub::run(front.clone()) => {}
        () = server::serve(front, listener) => {}
    }
}
