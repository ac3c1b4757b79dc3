//! Links: authenticated, framed bytes between two parties, and nothing else.
//!
//! A link is TLS 1.3 over TCP. Each side is known by an Ed25519 raw public key (RFC 7250) that the
//! other side already has; there are no certificates, names, expiry dates or resumed sessions. The
//! key exchange is X25519MLKEM768 only, so recorded traffic stays closed to a later quantum
//! computer.
//!
//! One [`Listener`] serves two kinds of peers: *members*, who show no key here and log in inside the
//! link, and *leaders*, who show a key of the allowed set. [`connect`] is the other end of both.
//! A [`Link`] splits into a [`LinkReceiver`] and a cloneable [`LinkSender`].
//!
//! Guarantees:
//! - Frames of one class arrive in order, whole, and only from the authenticated peer, or the link ends.
//! - Nothing blocks in [`LinkSender::send`]: every queue is bounded in bytes and says when it is full.
//! - A peer that has not logged in costs little: its frames, bytes, time and number are limited.
//!
//! Architecture invariant: this module knows no message, no member and no view. It is told when a
//! peer has logged in ([`LinkSender::authenticated`]) and draws no conclusion of its own.

mod admission;
mod backoff;
mod connect;
mod error;
mod handle;
mod hold;
mod key;
mod limits;
mod listener;
mod outbox;
pub mod pace;
mod receiver;
mod socket;
mod tls;
mod writer;

#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use connect::connect;
pub use error::{LinkError, SendError};
pub use handle::{Class, Link, LinkSender};
pub use key::{LinkKey, LinkPublicKey};
pub use limits::{AcceptLimits, ConnectOptions, LinkLimits};
pub use listener::{Accepted, Listener, PeerKind};
pub use receiver::LinkReceiver;
