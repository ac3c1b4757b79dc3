//! A listener whose connections are bounded in number and in time.
//!
//! Nobody waits for a place: when all are taken, the oldest connection of whoever has the most makes way. So one that opens
//! connections and says nothing keeps no probe from its answer.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

/// A connection lives no longer: whoever asks again connects again.
const LIFETIME: Duration = Duration::from_secs(2);

/// Who connects, as far as that can be told apart; none on a socket of this machine.
pub type Origin = Option<IpAddr>;

/// Whom an address counts for: one network has as many addresses of IPv6 as it likes.
pub fn origin(address: &SocketAddr) -> Origin {
    Some(match address.ip().to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip @ IpAddr::V4(_) => ip,
    })
}

/// Accepts no more than so many connections at once; for a further one another makes way.
#[derive(Debug)]
pub struct Bounded<L: Listener> {
    listener: L,
    origin: fn(&L::Addr) -> Origin,
    places: Arc<Mutex<Places>>,
}

impl<L: Listener> Bounded<L> {
    /// Bounds a listener. `origin` says who an address counts for.
    pub fn new(listener: L, connections_max: usize, origin: fn(&L::Addr) -> Origin) -> Self {
        let places = Places { max: connections_max.max(1), next: 0, taken: BTreeMap::new() };
        Bounded { listener, origin, places: Arc::new(Mutex::new(places)) }
    }
}

/// The connections that there are, the oldest first. Who loses its place sees the sender dropped.
#[derive(Debug)]
struct Places {
    max: usize,
    next: u64,
    taken: BTreeMap<u64, (Origin, oneshot::Sender<()>)>,
}

impl Places {
    fn take(&mut self, origin: Origin) -> (u64, oneshot::Receiver<()>) {
        while self.taken.len() >= self.max {
            self.make_way();
        }
        let (sender, lost) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.taken.insert(number, (origin, sender));
        (number, lost)
    }

    fn make_way(&mut self) {
        let mut counts: BTreeMap<Origin, usize> = BTreeMap::new();
        for (origin, _) in self.taken.values() {
            *counts.entry(*origin).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let oldest = self.taken.iter().find(|(_, (origin, _))| counts.get(origin) == Some(&most));
        if let Some(number) = oldest.map(|(number, _)| *number) {
            self.taken.remove(&number);
        }
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Connection<L::Io>, L::Addr) {
        let (stream, peer) = self.listener.accept().await;
        let (number, lost) = lock(&self.places).take((self.origin)(&peer));
        let place = Place { number, places: self.places.clone() };
        (Connection { stream, over: Box::pin(sleep(LIFETIME)), lost, _place: place }, peer)
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.listener.local_addr()
    }
}

/// One place, given back at the end.
#[derive(Debug)]
struct Place {
    number: u64,
    places: Arc<Mutex<Places>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places).taken.remove(&self.number);
    }
}

/// A connection, its place and its end.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    over: Pin<Box<Sleep>>,
    lost: oneshot::Receiver<()>,
    _place: Place,
}

impl<S> Connection<S> {
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if Pin::new(&mut self.lost).poll(cx).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        match self.over.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}
impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(address: &str) -> Origin {
        origin(&SocketAddr::new(address.parse().unwrap(), 80))
    }

    #[test]
    fn whoever_has_the_most_connections_makes_way() {
        let mut places = Places { max: 16, next: 0, taken: BTreeMap::new() };
        let (_, mut probe) = places.take(at("192.0.2.1"));
        let mut flood: Vec<_> = (0..1000).map(|_| places.take(at("198.51.100.7")).1).collect();
        assert_eq!(places.taken.len(), 16);
        assert!(probe.try_recv() == Err(oneshot::error::TryRecvError::Empty), "the probe keeps its place");
        let kept = |held: &mut oneshot::Receiver<()>| held.try_recv() == Err(oneshot::error::TryRecvError::Empty);
        assert_eq!(flood.iter_mut().map(kept).filter(|kept| *kept).count(), 15);
        assert!(kept(flood.last_mut().unwrap()), "the newest has a place");
    }

    #[test]
    fn a_network_counts_once() {
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    }
}
