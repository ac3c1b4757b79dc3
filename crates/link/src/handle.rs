//! The two ends of a link that a driver holds.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
pub use ringfort_kernel::Class;
use tokio_rustls::TlsStream;

use super::admission::Slot;
use super::outbox::{End, Outbox, Stage};
use super::socket::Socket;
use super::{LinkLimits, LinkReceiver, SendError, pace, writer};

/// An open link: the server is the pinned one, and nobody between can read or change a byte.
///
/// Dropping it, or its receiver once split, closes it.
#[derive(Debug)]
pub struct Link {
    sender: LinkSender,
    receiver: LinkReceiver,
    exporter: Exporter,
    remote: SocketAddr,
}

impl Link {
    pub(super) fn new(
        tls: TlsStream<Socket>,
        exporter: [u8; 32],
        remote: SocketAddr,
        limits: LinkLimits,
        slot: Option<Arc<Slot>>,
    ) -> Self {
        let outbox = Outbox::new(limits, slot);
        let (read, write) = tokio::io::split(tls);
        tokio::spawn(writer::run(write, outbox.clone()));
        Self {
            sender: LinkSender { outbox: outbox.clone() },
            receiver: LinkReceiver::new(read, outbox),
            exporter: Exporter(exporter),
            remote,
        }
    }

    /// 32 bytes that both ends of this connection know and nobody else does; fresh each time.
    ///
    /// # Security
    /// A login bound to it cannot be relayed through another connection. Do not log it.
    pub fn exporter(&self) -> [u8; 32] {
        self.exporter.0
    }

    /// The peer's address.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Another handle for sending.
    pub fn sender(&self) -> LinkSender {
        self.sender.clone()
    }

    /// See [`LinkSender::authenticated`].
    pub fn authenticated(&self) {
        self.sender.authenticated();
    }

    /// See [`LinkSender::close`].
    pub fn close(&self) {
        self.sender.close();
    }

    /// Both directions, for separate tasks.
    pub fn split(self) -> (LinkSender, LinkReceiver) {
        (self.sender, self.receiver)
    }
}

struct Exporter([u8; 32]);

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter(…)")
    }
}

/// Sends frames. Cheap to clone; all clones feed the same three queues.
#[derive(Debug, Clone)]
pub struct LinkSender {
    pub(super) outbox: Arc<Outbox>,
}

impl LinkSender {
    /// Queues a frame without ever blocking; `frame` is shared, not copied.
    ///
    /// # Errors
    /// The frame is dropped: `Full` (data only), `Overflow` (control only: the link is now closed),
    /// `Closed`, or `Length`.
    pub fn send(&self, class: Class, frame: Bytes) -> Result<(), SendError> {
        self.outbox.push(class, frame)
    }

    /// Resolves when the data queue is below its high-water mark, or at once when the link is stalled
    /// or closed. Without progress it takes no longer than `patience`. For a sender to this peer alone; whoever
    /// sends to several asks [`pace`](super::pace).
    pub fn ready(&self) -> impl Future<Output = ()> + Send + 'static {
        let link = self.clone();
        async move { pace::ready(&[link]).await }
    }

    /// Whether the data queue has been above its mark for `patience` without progress in the socket,
    /// and has not been drained below it since.
    pub fn is_stalled(&self) -> bool {
        self.outbox.is_stalled()
    }

    /// Bytes of all queues, with 64 for each frame, including what is being written.
    pub fn queued_bytes(&self) -> usize {
        self.outbox.queued_bytes()
    }

    /// The peer has logged in: raises the frame limit and lifts the limits on strangers. Call it
    /// before sending the answer that tells the peer so. Idempotent.
    pub fn authenticated(&self) {
        self.outbox.frame_bytes_max.store(self.outbox.limits.frame_authenticated_bytes_max, Ordering::Release);
        if let Some(slot) = &self.outbox.slot {
            slot.authenticated();
        }
    }

    /// Sends what is queued within `close_grace`, says goodbye and ends the link. Later sends fail.
    pub fn close(&self) {
        self.outbox.advance(Stage::Closing(End::Goodbye));
    }

    /// Whether sending is over, for whatever reason.
    pub fn is_closed(&self) -> bool {
        self.outbox.stage() != Stage::Open
    }

    /// Resolves when the link has ended and nothing more will be written.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stage = self.outbox.watch_stage();
        async move {
            // An error means that every other handle, and the writer, are gone.
            let _ = stage.wait_for(|stage| matches!(stage, Stage::Ended(_))).await;
        }
    }
}
