//! The messages of etcd's interface, with the names and the numbers of its `rpc.proto`, `kv.proto`, `v3lock.proto` and
//! `v3election.proto`. Fields that nothing here reads are left out, which the encoding allows.

mod concurrency;
mod kv;
mod lease;
mod system;
mod watch;

pub use concurrency::*;
pub use kv::*;
pub use lease::*;
pub use system::*;
pub use watch::*;

/// At the head of each answer.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Header {
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    #[prost(int64, tag = "3")]
    pub revision: i64,
    #[prost(uint64, tag = "4")]
    pub raft_term: u64,
}
