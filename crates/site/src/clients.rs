//! The sockets of local programs: one task for each, which moves bytes and understands the client protocol.
//!
//! A client is read one chunk at a time, and the next chunk only when the site has taken the last: whoever sends much
//! waits for itself. What a client is sent waits in a queue bounded in bytes; one that does not read is cut off, and
//! the log says so.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use ringfort_spread::{Ended, Input, Name, READ_BYTES_MAX, Refusal, Session};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::audit::{Decision, Observer};
use crate::doors::{Doors, Networks, Users};
use crate::line::{Line, cut, write};
use crate::telling::Telling;

/// A client has this long to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long what is queued may take to be written when a client goes, and the last word when it is cut off.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of one door that have not said who they are. For a further one the oldest makes way: silent ones keep
/// nobody out.
const STRANGERS_MAX: usize = 64;
/// How often a silent client over TCP is asked by the system whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// What one connection asks of the site.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Which connection: numbers never repeat.
    pub connection: u64,
    /// What, in order.
    pub inputs: VecDeque<Request>,
    /// Dropped when the site has taken all of it.
    pub _taken: oneshot::Sender<()>,
}

/// A request of a connection.
#[derive(Debug)]
pub(crate) enum Request {
    /// It wants to connect: the answer is its private name, or why not.
    Connect {
        wanted: Option<Vec<u8>>,
        wants_membership: bool,
        line: Line,
        /// Whose program it is, as far as the system tells.
        from: Arc<str>,
        answer: oneshot::Sender<Result<Name, Refusal>>,
    },
    /// What an open session asks for.
    Input(Input),
    /// It is gone.
    Gone,
}

/// The listeners.
#[derive(Debug)]
pub(crate) struct Clients {
    tasks: JoinSet<()>,
    unix: Option<PathBuf>,
}

impl Clients {
    pub fn start(doors: Doors, observer: &Observer) -> io::Result<(Self, mpsc::Receiver<Batch>)> {
        let (batches, received) = mpsc::channel(STRANGERS_MAX);
        let numbers = Arc::new(AtomicUsize::new(1));
        let mut tasks = JoinSet::new();
        let mut socket = None;
        // Each door has its own places for strangers: those of the network keep nobody of this machine out.
        let mut open = |listening| {
            let strangers = Arc::new(Strangers::default());
            tasks.spawn(serve(listening, numbers.clone(), strangers, batches.clone(), observer.clone()));
        };
        if let Some((listener, path, users)) = doors.unix {
            open(Listening::Unix(UnixListener::from_std(listener)?, users));
            socket = Some(path);
        }
        if let Some((listener, networks)) = doors.tcp {
            open(Listening::Tcp(TcpListener::from_std(listener)?, networks));
        }
        Ok((Clients { tasks, unix: socket }, received))
    }

    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
        if let Some(path) = self.unix {
            let _ = fs::remove_file(path);
        }
    }
}

/// Those that have not said who they are, the oldest first. Whose entry is gone has to go.
#[derive(Debug, Default)]
struct Strangers(Mutex<BTreeMap<u64, oneshot::Sender<()>>>);

impl Strangers {
    fn enter(&self, connection: u64) -> oneshot::Receiver<()> {
        let (stay, pushed_out) = oneshot::channel();
        let mut all = self.lock();
        while all.len() >= STRANGERS_MAX {
            all.pop_first();
        }
        all.insert(connection, stay);
        pushed_out
    }

    fn leave(&self, connection: u64) {
        self.lock().remove(&connection);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, oneshot::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Listening {
    Unix(UnixListener, Users),
    Tcp(TcpListener, Networks),
}

/// A stream of either kind, from somebody who may connect, and who that is.
enum Accepted {
    Unix(UnixStream, Arc<str>),
    Tcp(TcpStream, Arc<str>),
}

impl Listening {
    /// The next client that may connect, if it is one.
    async fn accept(&self, connection: u64, telling: &Telling, observer: &Observer) -> io::Result<Option<Accepted>> {
        match self {
            Listening::Unix(listener, users) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred()?.uid();
                let allowed = users.allow(user);
                let from = format!("user {user}");
                if !allowed {
                    let why = "a program of this user may not connect".to_owned();
                    observer.tell(&Decision::ClientRefused { from: from.clone(), why });
                }
                if allowed {
                    debug!(connection, user, "a client connects");
                } else if let Some(unsaid) = telling.may() {
                    warn!(
                        user,
                        unsaid,
                        "a program of this user may not connect: the site was not started with --allow-user for it"
                    );
                }
                Ok(allowed.then(|| Accepted::Unix(stream, from.into())))
            }
            Listening::Tcp(listener, networks) => {
                let (stream, from) = listener.accept().await?;
                let allowed = networks.allow(from.ip());
                if !allowed {
                    let why = "a program at this address may not connect".to_owned();
                    observer.tell(&Decision::ClientRefused { from: from.ip().to_string(), why });
                }
                if allowed {
                    debug!(connection, %from, "a client connects");
                    let _ = stream.set_nodelay(true);
                    // Of a client whose machine has died, nothing else is ever heard.
                    let alive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
                    let _ = SockRef::from(&stream).set_tcp_keepalive(&alive);
                } else if let Some(unsaid) = telling.may() {
                    warn!(%from, unsaid, "a program there may not connect: the site was not started with --tcp-from for it");
                }
                Ok(allowed.then(|| Accepted::Tcp(stream, from.ip().to_string().into())))
            }
        }
    }
}

async fn serve(
    listening: Listening,
    numbers: Arc<AtomicUsize>,
    strangers: Arc<Strangers>,
    batches: mpsc::Sender<Batch>,
    observer: Observer,
) {
    let mut open = JoinSet::new();
    let telling = Arc::new(Telling::default());
    loop {
        while open.try_join_next().is_some() {}
        let number = numbers.fetch_add(1, Ordering::Relaxed) as u64;
        // Large messages are for programs of this machine: whoever comes over TCP has proven nothing.
        let session = match &listening {
            Listening::Unix(..) => Session::with_large_messages(),
            Listening::Tcp(..) => Session::default(),
        };
        let (batches, telling, observer) = (batches.clone(), telling.clone(), observer.clone());
        let accepted = listening.accept(number, &telling, &observer).await;
        let connection = |from| Connection { number, batches, session, from, telling, observer };
        match accepted {
            Ok(Some(Accepted::Unix(stream, from))) => {
                drop(open.spawn(connection(from).run(stream, strangers.clone())));
            }
            Ok(Some(Accepted::Tcp(stream, from))) => {
                drop(open.spawn(connection(from).run(stream, strangers.clone())));
            }
            Ok(None) => {}
            Err(error) => {
                warn!(%error, "a client could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

struct Connection {
    number: u64,
    batches: mpsc::Sender<Batch>,
    session: Session,
    from: Arc<str>,
    telling: Arc<Telling>,
    observer: Observer,
}

/// Why a connection's reading ended.
enum Stop {
    Ended(Ended),
    Left,
    /// The site ends it.
    Cut,
}

impl Connection {
    async fn run<S: AsyncRead + AsyncWrite + Send + 'static>(mut self, stream: S, strangers: Arc<Strangers>) {
        let (mut reader, writer) = tokio::io::split(stream);
        let (line, queued) = Line::new();
        let mut writing = tokio::spawn(write(writer, queued, line.shared.clone()));
        let pushed_out = strangers.enter(self.number);
        let hello = tokio::time::timeout(HELLO_TIMEOUT, async {
            tokio::select! {
                hello = self.greet(&mut reader, &line) => hello,
                _ = pushed_out => Err(Stop::Left),
            }
        });
        let hello = hello.await;
        strangers.leave(self.number);
        let stop = match hello {
            Ok(Ok(())) => {
                tokio::select! {
                    stop = self.read(&mut reader, &line) => stop,
                    () = cut(&line.shared) => Stop::Cut,
                }
            }
            Ok(Err(stop)) => stop,
            Err(_) => Stop::Left,
        };
        if let Stop::Ended(ended) = &stop {
            self.observer.tell(&Decision::SessionEnded { from: self.from.to_string(), why: ended.to_string() });
        }
        if let Stop::Ended(ended) = &stop
            && let Some(unsaid) = self.telling.may()
        {
            info!(connection = self.number, unsaid, "a client's session ends: {ended}");
        }
        let farewell = self.session.take_outgoing();
        if !farewell.is_empty() {
            line.send(farewell);
        }
        let _ = self.ask([Request::Gone].into()).await;
        drop(line);
        // What is queued is written unless the client does not read.
        let patience = if matches!(stop, Stop::Cut) { FAREWELL_TIMEOUT } else { FLUSH_TIMEOUT };
        if tokio::time::timeout(patience, &mut writing).await.is_err() {
            writing.abort();
        }
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
                        from: self.from.clone(),
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
        let batch = Batch { connection: self.number, inputs, _taken: taken };
        self.batches.send(batch).await.map_err(|_| Stop::Left)?;
        // The sender is dropped when all of it is taken: there is no value to wait for.
        let _ = done.await;
        Ok(())
    }
}
