//! What can go wrong on a link, in words for a person.

use std::io;
use std::time::Duration;

use thiserror::Error;

/// Why a link could not be made, or why it ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The address could not be reached at all.
    #[error("the server could not be reached: {0}")]
    Unreachable(#[source] io::Error),
    /// The peer answered but turned this link away: it is full, or does not accept our key.
    #[error("the peer refused this link: it may be full, or may not accept our key")]
    Refused,
    /// The peer did not do its part in time.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The server does not hold the key that was expected of it.
    ///
    /// # Security
    /// Somebody may be standing in for the server; do not retry elsewhere with less checking.
    #[error("the server at this address does not hold the expected key: it may be an impostor")]
    WrongKey,
    /// The peer speaks another version of the link protocol.
    #[error("the peer speaks another version of Ringfort")]
    Version,
    /// The peer broke the rules of TLS or of framing.
    #[error("the peer broke the link protocol: {0}")]
    Protocol(String),
    /// The peer announced a frame longer than allowed; nothing was allocated for it.
    #[error("the peer announced a frame of {length} bytes where at most {limit} are allowed")]
    FrameTooLarge {
        /// Announced length, bytes.
        length: usize,
        /// Longest length allowed at that moment, bytes.
        limit: usize,
    },
    /// The peer does not read: control frames filled their queue.
    #[error("the peer does not read what it is sent")]
    NotReading,
    /// The link was cut here, for what the peer did on it.
    #[error("the peer deviated ({fault}), and is cut off for {} s", length.as_secs())]
    Deviated {
        /// What it did, in a word.
        fault: &'static str,
        /// For how long.
        length: Duration,
    },
    /// The link ended without the peer saying goodbye.
    #[error("the link was cut")]
    Closed,
    /// This side could not set the link up (no socket, address in use, no randomness).
    #[error("this machine could not set up the link: {0}")]
    Local(#[source] io::Error),
}

/// Why a frame was not queued. The frame is dropped; only `Overflow` and `Closed` end the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The data queue is full; the receiver will notice a gap.
    #[error("the peer is slow: its data queue is full")]
    Full,
    /// The control queue is full; the link has been closed.
    #[error("the peer does not read: its control queue is full and the link was closed")]
    Overflow,
    /// The link is closed.
    #[error("the link is closed")]
    Closed,
    /// The frame is empty or longer than `frame_authenticated_bytes_max`.
    #[error("a frame of {0} bytes cannot be sent")]
    Length(usize),
}
