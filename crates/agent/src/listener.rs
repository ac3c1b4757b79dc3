//! Connections from this machine, bounded in number and in patience: nobody who only connects keeps the user out.
//!
//! A connection has a few seconds for the head of each request, and for each step of taking its answer. When all places
//! are taken, the oldest connection that has not yet asked for anything it may have makes way. Sockets of pages and programs
//! have places of their own.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at once.
pub const CONNECTIONS_MAX: usize = 128;
/// How long the head of a request may take; also how long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a reader may take nothing of an answer.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// After the system could not accept: it has no file handles, say.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until it is dropped, and then no connection is left.
pub async fn serve(listener: TcpListener, router: Router) {
    let mut connections = Connections { tasks: JoinSet::new(), known: VecDeque::new() };
    loop {
        connections.make_room().await;
        match listener.accept().await {
            Ok((stream, _)) => connections.add(stream, router.clone()),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

struct Connections {
    tasks: JoinSet<()>,
    /// The oldest first.
    known: VecDeque<Known>,
}

struct Known {
    task: AbortHandle,
    /// Whether it has asked for something that it may have.
    welcome: Arc<AtomicBool>,
}

impl Connections {
    async fn make_room(&mut self) {
        loop {
            while self.tasks.try_join_next().is_some() {}
            self.known.retain(|known| !known.task.is_finished());
            if self.known.len() < CONNECTIONS_MAX {
                return;
            }
            let stranger = self.known.iter().position(|known| !known.welcome.load(Ordering::Relaxed));
            match stranger.and_then(|place| self.known.remove(place)) {
                Some(stranger) => stranger.task.abort(),
                None => drop(self.tasks.join_next().await),
            }
        }
    }

    fn add(&mut self, stream: TcpStream, router: Router) {
        // Small records are wanted at once; without it they come a little later.
        let _ = stream.set_nodelay(true);
        let welcome = Arc::new(AtomicBool::new(false));
        let task = self.tasks.spawn(converse(stream, router, welcome.clone()));
        self.known.push_back(Known { task, welcome });
    }
}

async fn converse(stream: TcpStream, router: Router, welcome: Arc<AtomicBool>) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        let (answer, welcome) = (hyper::service::Service::call(&router, request), welcome.clone());
        async move {
            let answer = answer.await?;
            // The door is in the router: what it refuses has such a status.
            if !answer.status().is_client_error() {
                welcome.store(true, Ordering::Relaxed);
            }
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let io = TokioIo::new(Patient { stream, stalled: None });
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    // However it ends, there is nobody to tell.
    let _ = protocol.serve_connection(io, service).with_upgrades().await;
}

/// A stream whose reader must go on reading.
struct Patient {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// Waits no longer than it should for the other side to take something.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let until =
            self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + STALLED_AFTER)));
        match until.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
