//! The listener and its connections.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::authority::Mended;
use crate::door::Visitor;
use crate::front::Front;
use crate::rpc;
use crate::store::Store;

/// Connections at once.
const CONNECTIONS_MAX: usize = 64;
/// Requests and streams of one connection at once.
const STREAMS_MAX: u32 = 256;
/// What waits of one request, and of one connection, until it is read.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// What waits for a client that does not read, of one of its streams.
const SEND_BYTES_MAX: usize = 256 * 1024;
const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// How often a silent client is asked whether it is there, and how long it has to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(20);
/// How long a stranger has to show who it is before the connection is closed.
const STRANGER_STAYS: Duration = Duration::from_secs(10);
/// Between two tries if the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket in a folder of the user alone.
    Unix(PathBuf),
    /// A port of this machine.
    Tcp(SocketAddr),
}

/// An address that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no address of this machine: give unix:PATH, or a loopback address with a port such as 127.0.0.1:2379"
)]
pub struct BadAddress(String);

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(bad()) } else { Ok(Address::Unix(PathBuf::from(path))) };
        }
        let address: SocketAddr = text.parse().map_err(|_| bad())?;
        // Passwords and values travel in the clear.
        if address.ip().is_loopback() { Ok(Address::Tcp(address)) } else { Err(bad()) }
    }
}

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Others could come in.
    #[error(
        "{path}: others may use this folder, so they could use the group in your name: run `chmod 700 {path}`, or name a path in a \
         folder of yours",
        path = .0.display()
    )]
    Folder(PathBuf),
    /// Something is there that is no socket.
    #[error("{}: there is something that is no socket: name another path", .0.display())]
    NoSocket(PathBuf),
    /// Another program listens.
    #[error("{0}: another program listens here: end it, or name another address")]
    Busy(String),
    /// The system says no.
    #[error("{0}: cannot listen: {1}")]
    System(String, #[source] io::Error),
}

/// A listener that is ready.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    shown: String,
}

#[derive(Debug)]
enum Kind {
    /// With the path, which goes with the listener.
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener),
}

impl Listener {
    /// Listens. A folder that is missing is made, for the user alone.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn open(address: &Address) -> Result<Self, ListenError> {
        match address {
            Address::Unix(path) => {
                let shown = format!("unix://{}", path.display());
                let listener = open_socket(path).await?;
                Ok(Listener { kind: Kind::Unix(listener, path.clone()), shown })
            }
            Address::Tcp(address) => {
                let listener =
                    TcpListener::bind(address).await.map_err(|error| refused(&address.to_string(), error))?;
                let bound = listener.local_addr().map_err(|error| refused(&address.to_string(), error))?;
                Ok(Listener { kind: Kind::Tcp(listener), shown: format!("http://{bound}") })
            }
        }
    }

    /// The address as clients take it: the value of `--endpoints`.
    pub fn endpoint(&self) -> &str {
        &self.shown
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Kind::Unix(_, path) = &self.kind {
            // Nobody is to wait at a socket that nobody listens on.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn refused(shown: &str, error: io::Error) -> ListenError {
    match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::Busy(shown.to_owned()),
        _ => ListenError::System(shown.to_owned(), error),
    }
}

async fn open_socket(path: &Path) -> Result<UnixListener, ListenError> {
    let shown = path.display().to_string();
    let failed = |error| refused(&shown, error);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::DirBuilder::new().mode(0o700).create(parent) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let folder = std::fs::metadata(parent).map_err(failed)?;
    if folder.permissions().mode() & 0o077 != 0 {
        return Err(ListenError::Folder(parent.to_owned()));
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NoSocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).await.is_ok() => return Err(ListenError::Busy(shown)),
        // Of a program that was killed.
        Ok(_) => std::fs::remove_file(path).map_err(failed)?,
        Err(_) => {}
    }
    UnixListener::bind(path).map_err(failed)
}

/// A connection, of whatever kind.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Wire for IO {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Wire>> {
        Ok(match &self.kind {
            Kind::Unix(unix, _) => Box::new(Mended::new(unix.accept().await?.0)),
            Kind::Tcp(tcp) => {
                let (stream, _) = tcp.accept().await?;
                let _ = stream.set_nodelay(true);
                Box::new(stream)
            }
        })
    }
}

/// Room for connections. At a locked port strangers have it until others want it, those that came first the shortest.
struct Hall {
    room: Arc<Semaphore>,
    /// Who has not shown who it is, the first to come first; what is dropped sends it away.
    strangers: VecDeque<(Visitor, oneshot::Sender<()>)>,
}

impl Hall {
    async fn admit(&mut self) -> Option<OwnedSemaphorePermit> {
        loop {
            self.strangers.retain(|(visitor, goes)| !visitor.is_known() && !goes.is_closed());
            if let Ok(permit) = self.room.clone().try_acquire_owned() {
                return Some(permit);
            }
            let Some(first) = self.strangers.pop_front() else { return self.room.clone().acquire_owned().await.ok() };
            drop(first);
            let made = tokio::time::timeout(PAUSE, self.room.clone().acquire_owned()).await;
            if let Ok(permit) = made {
                return permit.ok();
            }
        }
    }

    fn note(&mut self, visitor: &Visitor) -> oneshot::Receiver<()> {
        let (stays, goes) = oneshot::channel();
        self.strangers.push_back((visitor.clone(), stays));
        goes
    }
}

/// Serves for ever. What it serves ends when the future is dropped.
pub async fn serve<S: Store>(front: Arc<Front<S>>, listener: Listener) {
    let mut hall = Hall { room: Arc::new(Semaphore::new(CONNECTIONS_MAX)), strangers: VecDeque::new() };
    let mut connections = JoinSet::new();
    loop {
        let Ok(wire) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let Some(permit) = hall.admit().await else { return };
        let visitor = Visitor::default();
        let goes = front.door.is_locked().then(|| hall.note(&visitor));
        connections.spawn(attend(front.clone(), wire, (visitor, goes), permit));
    }
}

type Guest = (Visitor, Option<oneshot::Receiver<()>>);

async fn attend<S: Store>(
    front: Arc<Front<S>>,
    wire: Box<dyn Wire>,
    (visitor, goes): Guest,
    permit: OwnedSemaphorePermit,
) {
    let service = {
        let visitor = visitor.clone();
        service_fn(move |request| {
            let answered = rpc::answer(front.clone(), visitor.clone(), request);
            async { Ok::<_, std::convert::Infallible>(answered.await) }
        })
    };
    let mut served = std::pin::pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .header_table_size(0)
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BYTES_MAX)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_WITHIN)
            .serve_connection(TokioIo::new(wire), service)
    );
    let has_to_go = async {
        let Some(goes) = goes else { return std::future::pending().await };
        // Sent away, or there for too long.
        let _ = tokio::time::timeout(STRANGER_STAYS, goes).await;
    };
    let ended = tokio::select! {
        ended = served.as_mut() => Some(ended),
        () = has_to_go => None,
    };
    // A stranger goes, with what it has begun.
    let ended = match ended {
        None if !visitor.is_known() => return drop(permit),
        None => served.await,
        Some(ended) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
