//! Ringfort keeps a group talking privately, with the right members only, while an attacker fully
//! controls some of its servers.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use ringfort::{Credentials, Event, Group};
//!
//! let (group, mut events) = Group::join("demo/group.toml", Credentials::password("ana", "correct horse")?).await?;
//! group.multicast("chat", b"hello").await?;
//! while let Some(event) = events.next().await {
//!     if let Event::Message(message) = event {
//!         println!("{}: {}", message.sender, String::from_utf8_lossy(&message.payload));
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! This crate drives the pure protocol core of a member over real links. It takes no protocol decisions. Leaders are in
//! `ringfort-node`, which programs of members need not build.

mod group;

pub use group::{
    Asked, CallError, Changes, Committed, Credentials, Event, Events, Group, GroupEnded, JoinError, JoinOptions, Kv,
    KvError, LeaderState, Leased, Message, Page, Reply, SendError, Snapshot, Waiting, Watch,
};
pub use ringfort_crypto::BACK_ENDS;
pub use ringfort_crypto::sign::SigningKey;
pub use ringfort_documents::{FileError, FileErrorKind, LogOptions};
pub use ringfort_link::{LinkError, LinkLimits};
pub use ringfort_protocol as protocol;
/// What the key-value store is asked and replies.
pub mod kv {
    pub use ringfort_services::kv::{
        Between, By, Change, Condition, DELETED_MAX, Delete, End, Event, Failed, KeyValue, LEASE_TTL_S, LeaseId,
        LeaseInfo, Operation, OperationResult, Order, Position, Put, Range, Read, Refusal, Relation, Revision, Shows,
        TRANSACTION_MAX, Target, Transaction, WAIT_SLOTS,
    };
}
