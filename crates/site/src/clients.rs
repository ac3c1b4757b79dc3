//! The sockets of local programs: one task for each, which moves bytes and understands the client protocol.
//!
//! A client is read one chunk at a time, and the next chunk only when the site has taken the last: whoever sends much
//! waits for itself. What a client is sent waits in a queue bounded in bytes; one that does not read is cut off, and
//! the log says so.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ringfort_spread::{Ended, Input, Name, READ_BYTES_MAX, Refusal, Session};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

/// A client has this long to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// What a client may be behind, bytes.
pub const BEHIND_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Connections that have not said who they are. The oldest is not disturbed: further ones wait in the system's queue.
const STRANGERS_MAX: usize = 64;
/// Small frames are put together up to this size before they are written.
const WRITE_BYTES: usize = 64 * 1024;

/// What one connection asks of the site.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Which connection: numbers never repeat.
    pub connection: u64,
    /// What, in order.
    pub inputs: VecDeque<Request>,
    /// Dropped when the site has taken all of it.
    pub taken: oneshot::Sender<()>,
}

/// A request of a connection.
#[derive(Debug)]
pub(crate) enum Request {
    /// It wants to connect: the answer is its private name, or why not.
    Connect { wanted: Option<Vec<u8>>, wants_membership: bool, line: Line, answer: oneshot::Sender<Result<Name, Refusal>> },
    /// What an open session asks for.
    Input(Input),
    /// It is gone.
    Gone(Option<Ended>),
}

/// The way to one client, shared by all who write to it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    frames: mpsc::UnboundedSender<Bytes>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicUsize,
    cut: AtomicBool,
    wake: Notify,
}

impl Line {
    fn new() -> (Self, mpsc::UnboundedReceiver<Bytes>) {
        let (frames, queued) = mpsc::unbounded_channel();
        (Line { frames, shared: Arc::default() }, queued)
    }

    /// Queues a frame; false when the client is too far behind, and is cut off.
    pub fn send(&self, frame: Bytes) -> bool {
        let bytes = frame.len();
        if self.shared.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > BEHIND_BYTES_MAX {
            self.cut();
            return false;
        }
        // A client that is gone tells so itself.
        let _ = self.frames.send(frame);
        true
    }

    /// Ends the connection.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::Relaxed);
        self.shared.wake.notify_one();
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }
}

/// Where clients connect.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    /// A unix socket.
    pub unix: Option<PathBuf>,
    /// Who may connect to the unix socket: its mode.
    pub unix_mode: u32,
    /// A TCP address. Whoever reaches it is served: keep it on loopback.
    pub tcp: Option<SocketAddr>,
}

/// The listeners.
#[derive(Debug)]
pub(crate) struct Clients {
    tasks: JoinSet<()>,
    unix: Option<PathBuf>,
    tcp: Option<SocketAddr>,
}

impl Clients {
    pub async fn start(doors: &Doors) -> io::Result<(Self, mpsc::Receiver<Batch>)> {
        let (batches, received) = mpsc::channel(STRANGERS_MAX);
        let numbers = Arc::new(AtomicUsize::new(1));
        let strangers = Arc::new(tokio::sync::Semaphore::new(STRANGERS_MAX));
        let mut tasks = JoinSet::new();
        if let Some(path) = &doors.unix {
            let listener = bind_unix(path, doors.unix_mode)?;
            tasks.spawn(serve(Listening::Unix(listener), numbers.clone(), strangers.clone(), batches.clone()));
        }
        let mut tcp = None;
        if let Some(address) = doors.tcp {
            let listener = TcpListener::bind(address).await?;
            tcp = listener.local_addr().ok();
            tasks.spawn(serve(Listening::Tcp(listener), numbers, strangers, batches));
        }
        Ok((Clients { tasks, unix: doors.unix.clone(), tcp }, received))
    }

    /// The TCP address, with the port that the system chose if 0 was asked for.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp
    }

    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
        if let Some(path) = self.unix {
            let _ = fs::remove_file(path);
        }
    }
}

/// Takes the place of a socket that a killed site left behind, and of nothing else.
fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_err()
        && fs::symlink_metadata(path).is_ok_and(|m| std::os::unix::fs::FileTypeExt::is_socket(&m.file_type()))
    {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

enum Listening {
    Unix(UnixListener),
    Tcp(TcpListener),
}

async fn serve(
    listening: Listening,
    numbers: Arc<AtomicUsize>,
    strangers: Arc<tokio::sync::Semaphore>,
    batches: mpsc::Sender<Batch>,
) {
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let Ok(place) = strangers.clone().acquire_owned().await else { return };
        let connection = numbers.fetch_add(1, Ordering::Relaxed) as u64;
        let accepted = match &listening {
            Listening::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                info!(connection, user = ?stream.peer_cred().ok().map(|cred| cred.uid()), "a client connects");
                open.spawn(Connection::new(connection, batches.clone()).run(stream, place));
            }),
            Listening::Tcp(listener) => listener.accept().await.map(|(stream, from)| {
                info!(connection, %from, "a client connects");
                let _ = stream.set_nodelay(true);
                open.spawn(Connection::new(connection, batches.clone()).run(stream, place));
            }),
        };
        if let Err(error) = accepted {
            warn!(%error, "a client could not be accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

struct Connection {
    number: u64,
    batches: mpsc::Sender<Batch>,
    session: Session,
}

/// Why a connection's reading ended.
enum Stop {
    Ended(Ended),
    Left,
}

impl Connection {
    fn new(number: u64, batches: mpsc::Sender<Batch>) -> Self {
        Connection { number, batches, session: Session::default() }
    }

    async fn run<S: AsyncRead + AsyncWrite + Send + 'static>(
        mut self,
        stream: S,
        place: tokio::sync::OwnedSemaphorePermit,
    ) {
        let (mut reader, writer) = tokio::io::split(stream);
        let (line, queued) = Line::new();
        let writing = tokio::spawn(write(writer, queued, line.shared.clone()));
        let hello = tokio::time::timeout(HELLO_TIMEOUT, self.greet(&mut reader, &line)).await;
        drop(place);
        let stop = match hello {
            Ok(Ok(())) => {
                tokio::select! {
                    stop = self.read(&mut reader, &line) => stop,
                    () = cut(&line.shared) => Stop::Left,
                }
            }
            Ok(Err(stop)) => stop,
            Err(_) => Stop::Left,
        };
        let ended = match stop {
            Stop::Ended(ended) => {
                info!(connection = self.number, "a client's session ends: {ended}");
                Some(ended)
            }
            Stop::Left => None,
        };
        let farewell = self.session.take_outgoing();
        if !farewell.is_empty() {
            line.send(farewell);
        }
        let _ = self.ask([Request::Gone(ended)].into()).await;
        drop(line);
        // What is queued is written unless the client does not read.
        let _ = tokio::time::timeout(Duration::from_millis(500), writing).await;
    }

    /// Up to the moment at which the session is open.
    async fn greet<R: AsyncRead + Unpin>(&mut self, reader: &mut R, line: &Line) -> Result<(), Stop> {
        loop {
            match self.session.poll().map_err(Stop::Ended)? {
                Some(Input::Hello(hello)) => {
                    let (answer, answered) = oneshot::channel();
                    let request = Request::Connect {
                        wanted: hello.name.map(|name| name.text().to_vec()),
                        wants_membership: hello.wants_membership,
                        line: line.clone(),
                        answer,
                    };
                    self.ask([request].into()).await?;
                    match answered.await {
                        Ok(Ok(name)) => self.session.welcome(name),
                        Ok(Err(refusal)) => self.session.refuse(refusal),
                        Err(_) => return Err(Stop::Left),
                    }
                    line.send(self.session.take_outgoing());
                    // Clients before 3.16 are in at once.
                    if !hello.version.authenticates() && self.session.private_name().is_some() {
                        return Ok(());
                    }
                }
                Some(_) => {
                    line.send(self.session.take_outgoing());
                    return Ok(());
                }
                None => self.fill(reader).await?,
            }
        }
    }

    async fn read<R: AsyncRead + Unpin>(&mut self, reader: &mut R, line: &Line) -> Stop {
        loop {
            let mut inputs = VecDeque::new();
            let ended = loop {
                match self.session.poll() {
                    Ok(Some(Input::Disconnect)) => break Some(Stop::Left),
                    Ok(Some(input)) => inputs.push_back(Request::Input(input)),
                    Ok(None) => break None,
                    Err(ended) => break Some(Stop::Ended(ended)),
                }
            };
            let answer = self.session.take_outgoing();
            if !answer.is_empty() {
                line.send(answer);
            }
            if !inputs.is_empty()
                && let Err(stop) = self.ask(inputs).await
            {
                return stop;
            }
            if let Some(stop) = ended {
                return stop;
            }
            if let Err(stop) = self.fill(reader).await {
                return stop;
            }
        }
    }

    async fn fill<R: AsyncRead + Unpin>(&mut self, reader: &mut R) -> Result<(), Stop> {
        let mut chunk = BytesMut::with_capacity(READ_BYTES_MAX);
        match reader.read_buf(&mut chunk).await {
            Ok(0) | Err(_) => Err(Stop::Left),
            Ok(_) => {
                self.session.feed(&chunk);
                Ok(())
            }
        }
    }

    /// Gives the site a batch, and waits until it has taken it.
    async fn ask(&self, inputs: VecDeque<Request>) -> Result<(), Stop> {
        let (taken, done) = oneshot::channel();
        let batch = Batch { connection: self.number, inputs, taken };
        self.batches.send(batch).await.map_err(|_| Stop::Left)?;
        // The sender is dropped when all of it is taken: there is no value to wait for.
        let _ = done.await;
        Ok(())
    }
}

async fn cut(shared: &Shared) {
    while !shared.cut.load(Ordering::Relaxed) {
        shared.wake.notified().await;
    }
}

/// Writes what is queued, many small frames at once.
async fn write<W: AsyncWrite + Unpin>(mut writer: W, mut queued: mpsc::UnboundedReceiver<Bytes>, shared: Arc<Shared>) {
    let mut together = BytesMut::with_capacity(WRITE_BYTES);
    while let Some(frame) = queued.recv().await {
        together.clear();
        together.extend_from_slice(&frame);
        while together.len() < WRITE_BYTES
            && let Ok(more) = queued.try_recv()
        {
            together.extend_from_slice(&more);
        }
        let outcome = writer.write_all(&together).await;
        shared.bytes.fetch_sub(together.len(), Ordering::Relaxed);
        if let Err(error) = outcome {
            debug!(%error, "a client is gone");
            break;
        }
    }
    let _ = writer.shutdown().await;
}
