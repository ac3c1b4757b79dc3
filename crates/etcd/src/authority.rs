//! Clients of etcd 3.4 name a socket's path as the host that they talk to, which is no host, and HTTP/2 refuses that. On a socket
//! nobody asks for the host, so it is replaced, in each block of headers, before it is read.
//!
//! This works because a block stands for itself: the front announces a table of size 0, so what was named in one block is never
//! referred to in another.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How an HTTP/2 connection begins.
const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;
/// The longest frame that is looked into; a longer one breaks the protocol's own bound.
const FRAME_BYTES_MAX: usize = 16 * 1024;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;
const READ_BYTES: usize = 16 * 1024;
const HOST: &[u8] = b"localhost";

/// A connection of which the blocks of headers name `localhost`.
pub struct Mended<IO> {
    inner: IO,
    /// What was read and is not whole.
    begun: Vec<u8>,
    /// What can be given out, from here on.
    ready: Vec<u8>,
    given: usize,
    /// Of a frame that needs no mending, or of the preface, so much passes as it is.
    passing: usize,
}

impl<IO> Mended<IO> {
    pub fn new(inner: IO) -> Self {
        Mended { inner, begun: Vec::new(), ready: Vec::new(), given: 0, passing: PREFACE_BYTES }
    }

    /// Mends what is whole of what was read.
    fn mend(&mut self) {
        let begun = std::mem::take(&mut self.begun);
        let mut rest = begun.as_slice();
        loop {
            let (passing, after) = rest.split_at(self.passing.min(rest.len()));
            self.ready.extend_from_slice(passing);
            self.passing -= passing.len();
            rest = after;
            let Some((head, after)) = rest.split_first_chunk::<FRAME_HEAD_BYTES>() else { break };
            let [a, b, c, kind, flags, ..] = *head;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if kind != HEADERS || length > FRAME_BYTES_MAX {
                self.passing = FRAME_HEAD_BYTES + length;
                continue;
            }
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            let payload = mend_payload(flags, payload).unwrap_or_else(|| payload.to_vec());
            let [_, a, b, c] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
            let [_, _, _, tail @ ..] = *head;
            self.ready.extend([a, b, c].into_iter().chain(tail).chain(payload));
            rest = after;
        }
        self.begun = rest.to_vec();
    }
}

/// The payload of a HEADERS frame with another host; `None` if it names none, or is broken.
fn mend_payload(flags: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let padding = if flags & PADDED == 0 { 0 } else { usize::from(*payload.first()?) };
    let before = usize::from(flags & PADDED != 0) + if flags & PRIORITY == 0 { 0 } else { 5 };
    let end = payload.len().checked_sub(padding)?;
    let (before, block) = payload.get(..end)?.split_at_checked(before)?;
    let (start, after) = authority(block)?;
    let (kept, rest) = (block.get(..start)?, block.get(after..)?);
    let length = u8::try_from(HOST.len()).ok()?;
    Some([before, kept, &[length], HOST, rest, payload.get(end..)?].concat())
}

/// From where to where a block has the value of `:authority`, its length included.
fn authority(block: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    loop {
        let first = *block.get(at)?;
        let (bits, is_literal) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            // The size of the table.
            0x20.. => (5, false),
            _ => (4, true),
        };
        let (name, next) = integer(block, at, bits)?;
        at = next;
        if !is_literal {
            continue;
        }
        if name == 0 {
            at = string(block, at)?;
        }
        let end = string(block, at)?;
        // In HPACK's table of headers it is the first.
        if name == 1 {
            return Some((at, end));
        }
        at = end;
    }
}

/// Where a string ends.
fn string(block: &[u8], at: usize) -> Option<usize> {
    let (length, start) = integer(block, at, 7)?;
    let end = start.checked_add(length)?;
    (end <= block.len()).then_some(end)
}

/// An integer whose first byte has so many bits of it, and where it ends.
fn integer(block: &[u8], at: usize, bits: u32) -> Option<(usize, usize)> {
    let mask = (1_usize << bits) - 1;
    let first = usize::from(*block.get(at)?) & mask;
    if first < mask {
        return Some((first, at + 1));
    }
    let (mut value, mut at) = (first, at + 1);
    // Longer ones are above every bound.
    for shift in [0, 7, 14] {
        let byte = usize::from(*block.get(at)?);
        value += (byte & 0x7f) << shift;
        at += 1;
        if byte & 0x80 == 0 {
            return Some((value, at));
        }
    }
    None
}

impl<IO: AsyncRead + Unpin> AsyncRead for Mended<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.given == this.ready.len() {
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.ready.clear();
            this.given = 0;
            this.begun.extend_from_slice(read.filled());
            this.mend();
        }
        let given = this.ready.get(this.given..).unwrap_or_default();
        let given = given.get(..given.len().min(buf.remaining())).unwrap_or_default();
        buf.put_slice(given);
        this.given += given.len();
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Mended<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// POST, http, the authority as a literal with its name from the table, and a header with a name of its own.
    fn block(authority: &[u8]) -> Vec<u8> {
        let length = u8::try_from(authority.len()).unwrap();
        [&[0x83, 0x86, 0x41, length], authority, &[0x40, 1, b'k', 1, b'v']].concat()
    }

    async fn through(sent: &[u8], step: usize) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let sent = sent.to_vec();
        tokio::spawn(async move {
            for part in sent.chunks(step) {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let mut read = Vec::new();
        Mended::new(server).read_to_end(&mut read).await.unwrap();
        read
    }

    #[tokio::test]
    async fn a_path_becomes_a_host_wherever_the_parts_end() {
        let preface = [b'p'; PREFACE_BYTES];
        let padded = [&[2][..], &block(b"/run/a.sock"), &[0, 0]].concat();
        let mended = [&[2][..], &block(HOST), &[0, 0]].concat();
        let with_priority = |block: Vec<u8>| [vec![0; 5], block].concat();
        let data = frame(0, 0, &[HEADERS; 700]);
        let sent = [
            &preface[..],
            &frame(HEADERS, 0, &block(b"/run/a.sock")),
            &data,
            &frame(HEADERS, PADDED, &padded),
            &frame(HEADERS, PRIORITY, &with_priority(block(b""))),
        ]
        .concat();
        let wanted = [
            &preface[..],
            &frame(HEADERS, 0, &block(HOST)),
            &data,
            &frame(HEADERS, PADDED, &mended),
            &frame(HEADERS, PRIORITY, &with_priority(block(HOST))),
        ]
        .concat();
        for step in [1, 7, 30, 4096] {
            assert_eq!(through(&sent, step).await, wanted, "in parts of {step} bytes");
        }
    }

    #[tokio::test]
    async fn what_is_broken_passes_as_it_is() {
        let preface = [b'p'; PREFACE_BYTES];
        let broken: [&[u8]; 6] =
            [&[], &[0x41], &[0x41, 0x7f, 0xff, 0xff, 0xff, 0xff], &[0x41, 9, b'a'], &[0xff; 9], &[0x83]];
        for payload in broken {
            for flags in [0, PADDED, PRIORITY, PADDED | PRIORITY] {
                let sent = [&preface[..], &frame(HEADERS, flags, payload)].concat();
                assert_eq!(through(&sent, 5).await, sent);
            }
        }
        let long = [&preface[..], &[0xff, 0xff, 0xff, HEADERS, 0, 0, 0, 0, 1], &[7; 30_000]].concat();
        assert_eq!(through(&long, 4096).await, long);
    }
}
