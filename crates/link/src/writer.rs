//! The task that empties a link's queues into its socket.

use std::future::pending;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_rustls::TlsStream;
use tracing::debug;

use super::outbox::{BATCH_BYTES_MAX, Batch, End, Outbox, Stage};
use super::socket::Socket;

/// Frames up to this length are gathered; a longer one goes out from where it is.
const GATHERED_BYTES_MAX: usize = 16 * 1024;
/// An idle link keeps no more buffer than this.
const IDLE_BUFFER_BYTES: usize = 4 * 1024;

pub(super) async fn run(mut io: WriteHalf<TlsStream<Socket>>, outbox: Arc<Outbox>) {
    let end = tokio::select! {
        result = pump(&mut io, &outbox) => match result {
            Ok(()) => End::Goodbye,
            Err(_) => End::Broken,
        },
        end = told_to_end(&outbox) => end,
        () = login_overdue(&outbox) => End::LoginTimeout,
        () = made_way(&outbox) => End::MadeWay,
    };
    // Frees the queues now; the goodbye may take a little longer.
    outbox.advance(Stage::Aborting(end));
    let goodbye = async {
        io.shutdown().await?;
        // Closing with unread bytes would reset the connection and could lose our last frames.
        if end == End::Goodbye {
            outbox.hung_up().await;
        }
        io::Result::Ok(())
    };
    if !matches!(end, End::Broken | End::MadeWay) {
        let _ = timeout(outbox.limits.close_grace, goodbye).await;
    }
    outbox.advance(Stage::Ended(end));
    debug!(end = ?outbox.stage().end(), "link ended");
}

/// Returns when the link is closing and everything is written.
async fn pump(io: &mut (impl AsyncWrite + Unpin), outbox: &Outbox) -> io::Result<()> {
    let mut batch = Batch::default();
    let mut buffer = Vec::new();
    loop {
        if outbox.take(&mut batch) {
            for frame in &batch.frames {
                gather(io, outbox, &mut buffer, frame).await?;
            }
            write_all(io, outbox, &buffer).await?;
            buffer.clear();
            io.flush().await?;
            outbox.written(&mut batch);
        } else if outbox.stage() != Stage::Open {
            return Ok(());
        } else {
            buffer.shrink_to(IDLE_BUFFER_BYTES);
            batch.frames.shrink_to(IDLE_BUFFER_BYTES / size_of::<Bytes>());
            outbox.work().await;
        }
    }
}

/// Appends a frame to the buffer, writing the buffer out first when it is full.
async fn gather(
    io: &mut (impl AsyncWrite + Unpin),
    outbox: &Outbox,
    buffer: &mut Vec<u8>,
    frame: &[u8],
) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    if buffer.len() + size_of::<u32>() + frame.len().min(GATHERED_BYTES_MAX) > BATCH_BYTES_MAX {
        write_all(io, outbox, buffer).await?;
        buffer.clear();
    }
    buffer.extend_from_slice(&length.to_be_bytes());
    if frame.len() <= GATHERED_BYTES_MAX {
        buffer.extend_from_slice(frame);
    } else {
        write_all(io, outbox, buffer).await?;
        buffer.clear();
        write_all(io, outbox, frame).await?;
    }
    Ok(())
}

async fn write_all(io: &mut (impl AsyncWrite + Unpin), outbox: &Outbox, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = io.write(bytes).await?;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        outbox.progressed(taken);
        bytes = bytes.get(taken..).unwrap_or_default();
    }
    Ok(())
}

/// Resolves when the link must stop at once, or has had its grace to send the rest.
async fn told_to_end(outbox: &Outbox) -> End {
    let mut stage = outbox.watch_stage();
    let first = stage.wait_for(|stage| *stage != Stage::Open).await.map(|stage| *stage);
    let Ok(Stage::Closing(end)) = first else {
        return first.ok().and_then(Stage::end).unwrap_or(End::Broken);
    };
    tokio::select! {
        () = sleep(outbox.limits.close_grace) => {}
        _ = stage.wait_for(|stage| !matches!(stage, Stage::Closing(_))) => {}
    }
    end
}

/// Resolves when another connection needs this one's place. A link that has logged in keeps it.
async fn made_way(outbox: &Outbox) {
    match &outbox.slot {
        Some(slot) => slot.made_way().await,
        None => pending().await,
    }
}

async fn login_overdue(outbox: &Outbox) {
    if let Some(slot) = &outbox.slot {
        sleep_until(slot.login_deadline).await;
        if !slot.is_authenticated() {
            return;
        }
    }
    pending().await
}
