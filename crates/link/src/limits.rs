//! Every bound of this module, with its default.

use std::time::Duration;

/// Bounds of one link. Queue sizes count 64 bytes of overhead for each frame, so that many tiny
/// frames are bounded too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkLimits {
    /// Longest frame accepted before `authenticated()`, bytes. Default 8 KiB.
    pub frame_unauthenticated_bytes_max: usize,
    /// Longest frame accepted afterwards, and longest frame sent, bytes. Default 1 MiB + 4 KiB.
    pub frame_authenticated_bytes_max: usize,
    /// Control queue; overflow closes the link, bytes. Default 4 MiB.
    pub control_queue_bytes_max: usize,
    /// Data queue; overflow drops the frame, bytes. Its high-water mark is half of this. Default 8 MiB.
    pub data_queue_bytes_max: usize,
    /// Live queue; overflow drops its oldest frames, bytes. Default 256 KiB.
    pub live_queue_bytes_max: usize,
    /// How long a data queue may stay above its mark without progress before the link is stalled.
    /// Default 1 s.
    pub patience: Duration,
    /// What counts as progress within `patience`, bytes taken by the socket. Default 64 KiB, so that a
    /// peer reading one byte a second does not pass for a slow one.
    pub progress_bytes_min: usize,
    /// How long at once a peer that reads, but too slowly, may hold up those who send to it, while most others keep up; and
    /// a sixth of the time, if it is not zero: on all links together that a message to it goes through. Beyond that its
    /// queue fills up, and then it loses data. Default 1 s. What one link has of it should be less than after what time a
    /// sender gives a message to another leader.
    pub hold_max: Duration,
    /// Links that a message to the peer goes through, each of which has its part of what it may hold up. Default 2; leaders
    /// take it from their group.
    pub relays: usize,
    /// How long `close()` goes on sending what is queued. Default 500 ms.
    pub close_grace: Duration,
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            frame_unauthenticated_bytes_max: 8 * 1024,
            frame_authenticated_bytes_max: 1024 * 1024 + 4 * 1024,
            control_queue_bytes_max: 4 * 1024 * 1024,
            data_queue_bytes_max: 8 * 1024 * 1024,
            live_queue_bytes_max: 256 * 1024,
            patience: Duration::from_secs(1),
            progress_bytes_min: 64 * 1024,
            hold_max: Duration::from_secs(1),
            relays: 2,
            close_grace: Duration::from_millis(500),
        }
    }
}

impl LinkLimits {
    /// The level of the data queue below which a sender may go on, bytes.
    pub fn data_mark_bytes(&self) -> usize {
        self.data_queue_bytes_max / 2
    }
}

/// Bounds of a listener against peers that have not logged in. A connection counts from TCP accept
/// until `authenticated()`, whatever it does meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptLimits {
    /// Connections not yet logged in, all addresses; above it, one of the address with the most makes way. At most
    /// as many again are on their way out. Default 256.
    pub unauthenticated_max: usize,
    /// Connections not yet logged in from one address (IPv6: one /64); above it, the oldest makes way. Default 64.
    pub unauthenticated_per_address_max: usize,
    /// All connections. Default 16,384.
    pub connections_max: usize,
    /// From TCP accept to the end of the TLS handshake. Default 5 s.
    pub handshake_timeout: Duration,
    /// From TCP accept to `authenticated()`. Default 15 s.
    pub login_timeout: Duration,
    /// Bytes read from the socket before `authenticated()`, handshake included. Default 64 KiB; the
    /// read that passes it ends the link.
    pub unauthenticated_bytes_max: usize,
    /// Frames read before `authenticated()`: a login takes four. Default 32; the frame that passes it ends the link.
    pub unauthenticated_frames_max: usize,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        Self {
            unauthenticated_max: 256,
            unauthenticated_per_address_max: 64,
            connections_max: 16 * 1024,
            handshake_timeout: Duration::from_secs(5),
            login_timeout: Duration::from_secs(15),
            unauthenticated_bytes_max: 64 * 1024,
            unauthenticated_frames_max: 32,
        }
    }
}

/// How [`connect`](super::connect) goes about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Name resolution and TCP. Default 5 s.
    pub connect_timeout: Duration,
    /// TLS handshake. Default 5 s.
    pub handshake_timeout: Duration,
    /// Bounds of the link made.
    pub limits: LinkLimits,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            limits: LinkLimits::default(),
        }
    }
}
