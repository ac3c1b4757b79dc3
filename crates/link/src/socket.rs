//! The TCP connection under TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

#[cfg(any(target_os = "android", target_os = "linux"))]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::admission::SlotGuard;

/// How much the kernel may hold that it has not sent yet. More would only queue control frames behind
/// data where their class no longer counts.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// A TCP connection that counts what it reads before login.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    /// `None` on the calling side.
    admission: Option<SlotGuard>,
}

impl Socket {
    /// # Errors
    /// The connection is already broken.
    pub(super) fn new(tcp: TcpStream, admission: Option<SlotGuard>) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        #[cfg(any(target_os = "android", target_os = "linux"))]
        SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        Ok(Self { tcp, admission })
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.tcp).poll_read(cx, buffer))?;
        let bytes = buffer.filled().len().saturating_sub(before);
        Poll::Ready(match &this.admission {
            Some(guard) => guard.slot().count_bytes(bytes),
            None => Ok(()),
        })
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
