//! The protocol between a client of the Spread toolkit and its daemon, as a codec without I/O.
//!
//! A [`Session`] is the daemon's side of one connection. It is fed bytes in any split and answers with
//! [`Input`]s: who wants to connect, what it sends, which groups it joins and leaves. What the daemon has to say is
//! made by [`reply`]. [`client`] is the other side, for tests and measurements.
//!
//! Clients of versions 3.16 to 5.0 speak one protocol; older ones, which send no patch number or know no
//! authentication, are served by their version. Every sequence of bytes that the toolkit's daemon accepts is accepted
//! here, and a hello that comes in pieces, slowly, or together with what follows it, too.
//!
//! Everything is bounded: a session holds at most one message, of at most [`MESSAGE_BYTES_MAX`], and no length
//! is believed before it is compared with its limit. No input panics.
//!
//! A client is trusted like the user that runs it. Its messages are not protected end to end.

mod cursor;
mod header;
mod hello;
mod name;
mod session;

pub mod client;
pub mod reply;

pub use header::{ByteOrder, Header, Hint, Kind};
pub use hello::{Hello, Version};
pub use name::{BadName, ConnectName, NAME_BYTES, Name};
pub use session::{Ended, Input, Outgoing, READ_BYTES_MAX, Refusal, Session};

/// The largest message: data and 32 bytes for each group. The toolkit's daemon cuts a message into at most 100 packets
/// of 1,432 bytes, 48 of which are the header; above that it fails. Here it is refused.
pub const MESSAGE_BYTES_MAX: usize = 143_152;

/// Up to this size a message that is too large is read and rejected; the toolkit's library sends none above it.
pub const REJECTED_BYTES_MAX: usize = 144_000;

/// What a message of a client that asks for large ones may have, groups included.
pub const LARGE_BYTES_MAX: usize = 1024 * 1024;

/// Beyond this the session of such a client ends; between the two the message comes back.
pub const LARGE_REJECTED_BYTES_MAX: usize = LARGE_BYTES_MAX + 64 * 1024;

/// The most groups that one message may name.
pub const GROUPS_MAX: usize = 100;
