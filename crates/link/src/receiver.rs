//! Cutting frames out of the bytes that arrive.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, ReadHalf};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_rustls::TlsStream;
use tracing::debug;

use super::LinkError;
use super::outbox::{End, Outbox, Stage};
use super::socket::Socket;
use super::tls::link_error;

/// One read asks for this much at first, and for up to the maximum while reads come back full.
const CHUNK_BYTES_MIN: usize = 4 * 1024;
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Receives frames. Dropping it closes the link.
#[derive(Debug)]
pub struct LinkReceiver {
    /// `None` once the link has ended.
    io: Option<ReadHalf<TlsStream<Socket>>>,
    outbox: Arc<Outbox>,
    stage: watch::Receiver<Stage>,
    buffer: BytesMut,
    chunk_bytes: usize,
}

impl LinkReceiver {
    pub(super) fn new(io: ReadHalf<TlsStream<Socket>>, outbox: Arc<Outbox>) -> Self {
        Self {
            io: Some(io),
            stage: outbox.watch_stage(),
            outbox,
            buffer: BytesMut::new(),
            chunk_bytes: CHUNK_BYTES_MIN,
        }
    }

    /// The next frame, in the order sent within each class; `None` once the link was ended cleanly by
    /// either side. Cancel safe.
    ///
    /// Frames that arrived together share one buffer of up to 64 KiB; copy what is kept for long.
    ///
    /// # Errors
    /// The link is over: the peer broke the framing or its limits, took too long to log in, does not
    /// read, or went away without a goodbye. Later calls say `Closed` or `None`.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, LinkError> {
        loop {
            match self.next_frame() {
                Ok(None) => {}
                Ok(frame) => return Ok(frame),
                Err(error) => return self.fail(error),
            }
            let Some(io) = &mut self.io else {
                let end = self.outbox.stage().end().unwrap_or(End::Broken);
                return end.outcome();
            };
            // At most doubles what has been received.
            self.buffer.reserve(self.chunk_bytes.max(self.buffer.len().min(CHUNK_BYTES_MAX)));
            let room = self.buffer.capacity() - self.buffer.len();
            let read = tokio::select! {
                biased;
                // First, so that a peer which never stops sending cannot keep an ended link.
                end = ended(&mut self.stage, self.outbox.limits.close_grace) => {
                    self.io = None;
                    return end.outcome();
                }
                read = io.read_buf(&mut self.buffer) => read,
            };
            match read {
                Ok(0) => return self.end_of_stream(),
                Ok(bytes) if bytes == room => {
                    self.chunk_bytes = (self.chunk_bytes * 2).min(CHUNK_BYTES_MAX);
                }
                Ok(_) => {}
                Err(error) => return self.fail(link_error(error)),
            }
        }
    }

    /// A complete frame of the buffer, without copying; its length is checked as soon as it is known.
    fn next_frame(&mut self) -> Result<Option<Bytes>, LinkError> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
        let limit = self.outbox.frame_bytes_max.load(Ordering::Acquire);
        if length == 0 {
            return Err(LinkError::Protocol("an empty frame".into()));
        }
        if length > limit {
            return Err(LinkError::FrameTooLarge { length, limit });
        }
        if rest.len() < length {
            return Ok(None);
        }
        if let Some(slot) = &self.outbox.slot {
            slot.count_frame().map_err(|error| LinkError::Protocol(error.to_string()))?;
        }
        self.buffer.advance(header.len());
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    fn end_of_stream(&mut self) -> Result<Option<Bytes>, LinkError> {
        self.outbox.set_hung_up();
        if !self.buffer.is_empty() {
            return self.fail(LinkError::Closed);
        }
        self.io = None;
        self.outbox.advance(Stage::Closing(End::Goodbye));
        Ok(None)
    }

    fn fail(&mut self, error: LinkError) -> Result<Option<Bytes>, LinkError> {
        debug!(%error, "link failed");
        self.outbox.set_hung_up();
        self.io = None;
        self.buffer = BytesMut::new();
        let known = self.outbox.stage().end();
        self.outbox.advance(Stage::Aborting(End::Broken));
        match known {
            // Our own end of the link explains what the socket then reports.
            Some(end) if matches!(error, LinkError::Closed) => end.outcome(),
            _ => Err(error),
        }
    }
}

/// Resolves when the writer is gone. If the connection broke under it, what the peer said before can
/// still be read: its reason, for one.
async fn ended(stage: &mut watch::Receiver<Stage>, grace: Duration) -> End {
    let ended = stage.wait_for(|stage| matches!(stage, Stage::Ended(_))).await;
    let end = ended.ok().and_then(|stage| stage.end()).unwrap_or(End::Broken);
    if end == End::Broken {
        sleep(grace).await;
    }
    end
}

impl Drop for LinkReceiver {
    fn drop(&mut self) {
        self.outbox.advance(Stage::Closing(End::Goodbye));
    }
}

#[cfg(test)]
impl LinkReceiver {
    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    pub(super) fn raise_limit(&self) {
        super::LinkSender { outbox: self.outbox.clone() }.authenticated();
    }
}
