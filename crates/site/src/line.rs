//! The way to one client: a queue bounded in bytes, and the task that writes what waits in it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tracing::debug;

/// What a client may be behind, bytes.
pub const BEHIND_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a frame that waits costs beside its bytes.
const FRAME_OVERHEAD_BYTES: usize = 64;
/// Small frames are put together up to this size before they are written.
const WRITE_BYTES: usize = 64 * 1024;

/// The way to one client, shared by all who write to it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    frames: mpsc::UnboundedSender<Bytes>,
    pub shared: Arc<Shared>,
}

/// What the way's two ends know of it.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    bytes: AtomicUsize,
    /// Bytes that were written, so far.
    written: AtomicUsize,
    cut: AtomicBool,
    wake: Notify,
    /// The last thing that a client is told which is cut off.
    farewell: Mutex<Option<Bytes>>,
}

impl Line {
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Bytes>) {
        let (frames, queued) = mpsc::unbounded_channel();
        (Line { frames, shared: Arc::default() }, queued)
    }

    /// Queues a frame; false when the client is too far behind, and has to be cut off.
    pub fn send(&self, frame: Bytes) -> bool {
        if self.is_cut() {
            return true;
        }
        let bytes = frame.len() + FRAME_OVERHEAD_BYTES;
        if self.shared.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > BEHIND_BYTES_MAX {
            return false;
        }
        // A client that is gone tells so itself.
        let _ = self.frames.send(frame);
        true
    }

    /// Whether the connection is being ended.
    pub fn is_cut(&self) -> bool {
        self.shared.cut.load(Ordering::Relaxed)
    }

    /// Ends the connection. What waits is dropped; a last frame is written, if the client comes to read it.
    pub fn cut_with(&self, farewell: Bytes) {
        *self.shared.farewell.lock().unwrap_or_else(PoisonError::into_inner) = Some(farewell);
        self.cut();
    }

    /// Ends the connection.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::Relaxed);
        self.shared.wake.notify_waiters();
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that the client has taken, so far.
    pub fn written_bytes(&self) -> usize {
        self.shared.written.load(Ordering::Relaxed)
    }
}

/// Waits until the connection is being ended.
pub(crate) async fn cut(shared: &Shared) {
    loop {
        let woken = shared.wake.notified();
        tokio::pin!(woken);
        // Two wait for this: none must come between the look and the waiting.
        woken.as_mut().enable();
        if shared.cut.load(Ordering::Relaxed) {
            return;
        }
        woken.await;
    }
}

/// Writes what is queued, many small frames at once; for a client that is cut off, a last word in its place.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut queued: mpsc::UnboundedReceiver<Bytes>,
    shared: Arc<Shared>,
) {
    let mut together = BytesMut::with_capacity(WRITE_BYTES);
    while let Some(frame) = queued.recv().await {
        let is_cut = shared.cut.load(Ordering::Relaxed);
        if is_cut && shared.farewell.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            break;
        }
        together.clear();
        together.extend_from_slice(&frame);
        let mut frames = 1;
        while together.len() < WRITE_BYTES
            && let Ok(more) = queued.try_recv()
        {
            together.extend_from_slice(&more);
            frames += 1;
        }
        let outcome = {
            let writing = writer.write_all(&together);
            tokio::pin!(writing);
            tokio::select! {
                outcome = &mut writing => outcome,
                () = cut(&shared), if !is_cut => {
                    // Nothing that waits is kept for whoever does not read.
                    if shared.farewell.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                        while queued.try_recv().is_ok() {}
                    }
                    writing.await
                }
            }
        };
        shared.bytes.fetch_sub(together.len() + frames * FRAME_OVERHEAD_BYTES, Ordering::Relaxed);
        shared.written.fetch_add(together.len(), Ordering::Relaxed);
        if let Err(error) = outcome {
            debug!(%error, "a client is gone");
            return;
        }
    }
    drop(queued);
    let farewell = shared.farewell.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(farewell) = farewell {
        // It may be gone.
        let _ = writer.write_all(&farewell).await;
    }
    let _ = writer.shutdown().await;
}
