//! Files from member to member, inside a group's ordinary end-to-end encrypted messages: leaders see nothing of them.
//!
//! `core` is a value without sockets, files and clocks: who has how much of which file, what is sent next, what is
//! believed. [`Files`] drives it over a [`ringfort::Group`] and a folder.
//!
//! ```no_run
//! # async fn run(group: ringfort::Group, mut events: ringfort::Events) -> Result<(), Box<dyn std::error::Error>> {
//! use ringfort_files::{Files, FilesOptions};
//!
//! let files = Files::start(group, FilesOptions::default())?;
//! files.send_path("files", &[], "report.pdf".as_ref())?;
//! while let Some(event) = events.next().await {
//!     if !files.on_event(&event) { /* an event of one's own */ }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Architecture invariant: the core knows no I/O, and the driver takes no decision about a transfer.

mod core;
mod disk;
mod driver;
mod folder;
mod partners;
mod upload;

pub use crate::core::limits::Limits;
pub use crate::core::{Action, Number, PeerProgress, Refused, Transfer};
pub use driver::{Files, FilesError, FilesOptions};
pub use upload::Upload;

/// What a fuzzer needs.
pub mod testing {
    pub use crate::core::message::{Malformed, Message};
    pub use crate::core::name::safe;
}
