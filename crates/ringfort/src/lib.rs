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
//! This crate drives the pure protocol cores of `ringfort-protocol` over real links and a real store.
//! It takes no protocol decisions.

mod clock;
pub mod files;
mod group;
pub mod leader;
pub mod link;
pub mod order;
pub mod password;
mod runtime;
pub mod seal;
pub mod setup;
pub mod store;

pub use files::os_rng;
pub use group::{
    Credentials, Event, Events, Group, GroupEnded, JoinError, JoinOptions, LeaderState, Message, SendError, Snapshot,
};
pub use ringfort_agreement as agreement;
pub use ringfort_crypto::BACK_ENDS;
pub use ringfort_protocol as protocol;
