//! A site: one daemon on each machine of a peer network.
//!
//! Sites order messages among themselves and serve the programs on their machines. This crate moves the bytes;
//! what they mean is decided elsewhere. Datagrams between two sites are sealed under keys that only those two hold
//! ([`channel`]); who the sites are stands in a [`network`] file that all of them have.
//!
//! A site is trusted by its clients, as a server is: one that is hacked can reorder, drop and invent the messages of
//! plain groups, and those of secure groups ([`secure`]) it can only drop. What a network attacker can do is drop datagrams.

pub mod audit;
pub mod channel;
pub mod client;
mod clients;
mod daemon;
pub mod doors;
pub mod folder;
mod hub;
mod line;
mod links;
mod lookup;
pub mod network;
mod report;
pub mod secure;
pub mod status;
mod telling;
pub mod trace;
mod transport;

pub use daemon::{Options, Prepared, Running, SiteError, prepare};
pub use doors::{DoorError, DoorOptions};
pub use folder::{Folder, FolderError};
pub use line::BEHIND_BYTES_MAX;
pub use lookup::{Find, Found};
pub use network::{BadNetwork, Network, SiteInfo};
pub use report::{Report, Unreachable};
pub use secure::{SecureError, SecureGroup, SecureOptions, Speaker};
