//! The side that is called: one port for members and leaders.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tracing::{debug, info, warn};

use super::admission::{Admissions, SlotGuard};
use super::socket::Socket;
use super::{AcceptLimits, Link, LinkError, LinkKey, LinkLimits, LinkPublicKey, tls};

/// Finished handshakes that wait for the driver.
const ACCEPTED_MAX: usize = 64;
/// Out of descriptors or memory: accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a refused peer gets to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(200);

/// Who is at the other end, as far as TLS can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerKind {
    /// Showed no key: a member about to log in, or a stranger.
    Anonymous,
    /// Proved possession of this key, which is in the allowed set.
    Leader(LinkPublicKey),
}

/// A connection whose handshake is complete. It counts as not logged in until
/// [`Link::authenticated`], also for a leader.
pub struct Accepted {
    /// Who it is.
    pub peer: PeerKind,
    /// See [`Link::exporter`].
    pub exporter: [u8; 32],
    /// The peer's address.
    pub remote: SocketAddr,
    /// The link.
    pub link: Link,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("peer", &self.peer).field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// Accepts links. Dropping it stops accepting and ends unfinished handshakes; links already handed out
/// live on.
#[derive(Debug)]
pub struct Listener {
    local: SocketAddr,
    accepted: mpsc::Receiver<Accepted>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Listens on `address`, proving possession of `key`, for members and for the `leaders`.
    ///
    /// # Errors
    /// `Local` if the address cannot be bound.
    pub async fn bind(
        address: SocketAddr,
        key: &LinkKey,
        leaders: impl IntoIterator<Item = LinkPublicKey>,
        accept: AcceptLimits,
        limits: LinkLimits,
    ) -> Result<Self, LinkError> {
        let config = tls::server_config(key, leaders.into_iter().collect::<BTreeSet<_>>())
            .map_err(|error| LinkError::Local(io::Error::other(error)))?;
        let tcp = TcpListener::bind(address).await.map_err(LinkError::Local)?;
        let local = tcp.local_addr().map_err(LinkError::Local)?;
        let (done, accepted) = mpsc::channel(ACCEPTED_MAX);
        let door = Door { config: Arc::new(config), handshake_timeout: accept.handshake_timeout, limits, done };
        let task = tokio::spawn(accept_all(tcp, Admissions::new(accept), Arc::new(door)));
        info!(%local, key = ?key.public(), "listening");
        Ok(Self { local, accepted, task })
    }

    /// The address listened on, with the port the system chose if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next completed handshake; `None` after `shutdown`. Cancel safe.
    pub async fn accept(&mut self) -> Option<Accepted> {
        self.accepted.recv().await
    }

    /// Stops accepting and ends every unfinished handshake; resolves when the port is free. Links
    /// already handed out live on.
    pub async fn shutdown(&mut self) {
        self.accepted.close();
        self.task.abort();
        let _ = (&mut self.task).await;
        while self.accepted.recv().await.is_some() {}
        info!(local = %self.local, "stopped listening");
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What every handshake needs.
struct Door {
    config: Arc<ServerConfig>,
    handshake_timeout: Duration,
    limits: LinkLimits,
    done: mpsc::Sender<Accepted>,
}

async fn accept_all(tcp: TcpListener, admissions: Arc<Admissions>, door: Arc<Door>) {
    // Aborting this task drops the set, which aborts the handshakes in it.
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = handshakes.join_next() => {}
            incoming = tcp.accept() => match incoming {
                Ok((stream, remote)) => match admissions.admit(remote.ip(), Instant::now()) {
                    Ok(slot) => {
                        handshakes.spawn(welcome(door.clone(), stream, remote, slot));
                    }
                    Err(full) => debug!(%remote, %full, "connection dropped"),
                },
                Err(error) => {
                    warn!(%error, "cannot accept connections");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn welcome(door: Arc<Door>, stream: TcpStream, remote: SocketAddr, slot: SlotGuard) {
    let login_deadline = slot.slot().login_deadline;
    match handshake(&door, stream, remote, slot).await {
        Ok(accepted) => {
            debug!(%remote, peer = ?accepted.peer, "link accepted");
            // Fails when nobody takes it in time; dropping it closes it.
            let _ = timeout_at(login_deadline, door.done.send(accepted)).await;
        }
        Err(error) => debug!(%remote, %error, "handshake failed"),
    }
}

async fn handshake(
    door: &Door,
    stream: TcpStream,
    remote: SocketAddr,
    guard: SlotGuard,
) -> Result<Accepted, LinkError> {
    let slot = guard.slot().clone();
    let socket = Socket::new(stream, Some(guard)).map_err(LinkError::Local)?;
    let accept = TlsAcceptor::from(door.config.clone()).accept(socket).into_fallible();
    let accepted = tokio::select! {
        accepted = timeout(door.handshake_timeout, accept) => accepted,
        () = slot.made_way() => return Err(LinkError::Timeout),
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err((error, socket))) => {
            refuse(socket).await;
            return Err(tls::link_error(error));
        }
        Err(_) => return Err(LinkError::Timeout),
    };
    slot.handshaken();
    let (_, session) = stream.get_ref();
    tls::check_version(session)?;
    let exporter = tls::exporter(session)?;
    let peer = match tls::peer_key(session) {
        Some(key) => PeerKind::Leader(key),
        None => PeerKind::Anonymous,
    };
    let link = Link::new(TlsStream::Server(stream), exporter, remote, door.limits.clone(), Some(slot));
    Ok(Accepted { peer, exporter, remote, link })
}

/// Closing with unread bytes would reset the connection and lose the alert that explains the refusal.
async fn refuse(mut socket: Socket) {
    let drain = async {
        let _ = socket.shutdown().await;
        let mut sink = [0; 1024];
        while matches!(socket.read(&mut sink).await, Ok(1..)) {}
    };
    let _ = timeout(REFUSAL_TIMEOUT, drain).await;
}
