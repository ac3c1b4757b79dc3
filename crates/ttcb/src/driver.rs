//! The process around a component: one thread, its sockets and its clock. It decides nothing.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use ringfort_kernel::{Cx, Time};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;

use crate::core::call::{CALL_BYTES, is_busy};
use crate::core::entities::CONNECTIONS_MAX;
use crate::core::rules::ROUND;
use crate::core::{Alarm, Component, Setup};
use crate::files::GroupFile;
use crate::system::{HostClock, OsRng, os_rng, unix_ms};

/// Datagrams that are read before anything else has its turn.
const DATAGRAMS_MAX: usize = 64;
/// Processes that are let in, or sent away, in one round: more wait.
const ACCEPTS_MAX: usize = 64;
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A component that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its address is not to be had.
    #[error(
        "{0} cannot be used ({1}): the group's file gives it to this component, so it has to be this host's, and free"
    )]
    Address(SocketAddr, io::Error),
    /// Somebody listens.
    #[error("a process listens at {0} already: stop it, or name another path with --socket")]
    Occupied(PathBuf),
    /// Something else lies there.
    #[error("{0} is there and is no socket, so it was left alone: move it away, or name another path with --socket")]
    NotSocket(PathBuf),
    /// It cannot be made, or what is there cannot be looked at.
    #[error("no socket can be made at {0} ({1}): processes of this host would connect there")]
    Socket(PathBuf, io::Error),
}

/// What a component's process needs.
pub struct Options {
    /// The component.
    pub setup: Setup,
    /// Where each component is.
    pub addresses: Vec<SocketAddr>,
    /// Where local processes connect.
    pub socket: PathBuf,
    /// The users whose processes may.
    pub users: Vec<u32>,
}

impl Options {
    /// For the component at a place of the group's file.
    pub fn new(file: GroupFile, setup: Setup, socket: PathBuf, users: Vec<u32>) -> Self {
        Options { setup, addresses: file.addresses, socket, users }
    }
}

/// A local process: its request as far as it has come, and the answer as far as it has not gone.
struct Connection {
    stream: UnixStream,
    request: [u8; CALL_BYTES],
    read: usize,
    answer: [u8; CALL_BYTES],
    /// Bytes of the answer that have gone; all of them if there is none.
    written: usize,
    /// Its user asks too much: nothing is read from it until the next round.
    parked: bool,
}

/// A component with its sockets open.
pub struct Driver {
    component: Component,
    clock: HostClock,
    rng: OsRng,
    channel: UdpSocket,
    addresses: Vec<SocketAddr>,
    listener: UnixListener,
    users: Vec<u32>,
    connections: [Option<Connection>; CONNECTIONS_MAX],
    next_round: Time,
    /// Processes that were let in, or sent away, since the last round.
    accepted: usize,
}

/// Listens at this path, and removes nothing that is there but a socket that nobody listens at.
fn listen(path: &Path) -> Result<UnixListener, OpenError> {
    let failed = |error| OpenError::Socket(path.to_path_buf(), error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(OpenError::NotSocket(path.to_path_buf())),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(OpenError::Occupied(path.to_path_buf())),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed)?,
            Err(error) => return Err(failed(error)),
        },
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Who may use it is asked of the system for each connection.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

impl Driver {
    /// Opens the sockets and starts the component.
    ///
    /// # Errors
    /// A socket cannot be opened.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let own = options.addresses.get(options.setup.me.place()).copied().expect("each component has an address");
        let failed = |error| OpenError::Address(own, error);
        let channel = UdpSocket::bind(own).map_err(failed)?;
        channel.set_nonblocking(true).map_err(failed)?;
        let listener = listen(&options.socket)?;
        let (mut clock, mut rng) = (HostClock::start(), os_rng());
        let mut cx = Cx { now: clock.read().0, unix_ms: unix_ms(), rng: &mut rng };
        let component = Component::new(options.setup, &mut cx);
        let next_round = cx.now;
        Ok(Driver {
            component,
            clock,
            rng,
            channel,
            addresses: options.addresses,
            listener,
            users: options.users,
            connections: [const { None }; CONNECTIONS_MAX],
            next_round,
            accepted: 0,
        })
    }

    /// Runs for ever.
    ///
    /// # Errors
    /// The system no longer lets it wait for its sockets.
    pub fn run(mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            self.read_channel();
            self.accept();
            (0..CONNECTIONS_MAX).for_each(|place| self.serve(place));
            let now = self.now();
            if now >= self.next_round {
                self.round(now);
                self.tell();
            }
        }
    }

    fn now(&mut self) -> Time {
        let (now, woke) = self.clock.read();
        if woke {
            self.component.on_wake(now);
        }
        now
    }

    fn wait(&mut self) -> io::Result<()> {
        let left = self.next_round.since(self.now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut waited = Vec::with_capacity(CONNECTIONS_MAX + 2);
        waited.push(PollFd::new(&self.channel, PollFlags::IN));
        if self.accepted < ACCEPTS_MAX {
            waited.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        for connection in self.connections.iter().flatten().filter(|connection| connection.is_served()) {
            let wanted = if connection.written < CALL_BYTES { PollFlags::OUT } else { PollFlags::IN };
            waited.push(PollFd::new(&connection.stream, wanted));
        }
        match poll(&mut waited, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read_channel(&mut self) {
        let mut datagram = [0; 2048];
        for _ in 0..DATAGRAMS_MAX {
            match self.channel.recv_from(&mut datagram) {
                Ok((length, from)) => {
                    // Who sends from elsewhere costs no more than being counted.
                    let known = self.addresses.iter().any(|at| (at.ip(), at.port()) == (from.ip(), from.port()));
                    let frame = datagram.get(..length).filter(|_| known).unwrap_or_default();
                    let now = self.now();
                    self.component.on_frame(now, frame);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Somebody's port is closed, or the like: it says so, and the next datagram may come.
                Err(_) => {}
            }
        }
    }

    fn accept(&mut self) {
        if self.accepted >= ACCEPTS_MAX {
            return;
        }
        let Ok((stream, _)) = self.listener.accept() else { return };
        self.accepted += 1;
        let Ok(user) = socket_peercred(&stream).map(|peer| peer.uid.as_raw()) else { return };
        if !self.users.contains(&user) || stream.set_nonblocking(true).is_err() {
            return;
        }
        let now = self.now();
        let Some(place) = self.component.connected(now, user) else { return };
        if let Some(free) = self.connections.get_mut(place) {
            let (request, answer) = ([0; CALL_BYTES], [0; CALL_BYTES]);
            *free = Some(Connection { stream, request, read: 0, answer, written: CALL_BYTES, parked: false });
        }
    }

    /// At most one request of one process, and the rest of its answer.
    fn serve(&mut self, place: usize) {
        let now = self.now();
        let served = self.connections.get_mut(place).and_then(Option::as_mut).filter(|one| one.is_served());
        let Some(connection) = served else { return };
        let alive = match connection.exchange() {
            Ok(false) => true,
            Ok(true) => {
                let mut cx = Cx { now, unix_ms: 0, rng: &mut self.rng };
                connection.answer = self.component.on_request(&mut cx, place, &connection.request);
                (connection.read, connection.written, connection.parked) = (0, 0, is_busy(&connection.answer));
                connection.write().is_ok()
            }
            Err(_) => false,
        };
        if !alive {
            self.connections.iter_mut().skip(place).take(1).for_each(|connection| *connection = None);
            self.component.closed(place);
        }
    }

    fn round(&mut self, now: Time) {
        let (channel, addresses) = (&self.channel, &self.addresses);
        self.component.on_round(now, &mut |to, frame| {
            if let Some(address) = addresses.get(to.place()) {
                // What is lost is said again in the next round.
                let _ = channel.send_to(frame, address);
            }
        });
        let planned = self.next_round + ROUND;
        self.next_round = if planned.since(now) == Duration::ZERO { now + ROUND } else { planned };
        self.accepted = 0;
        self.connections.iter_mut().flatten().for_each(|connection| connection.parked = false);
    }

    /// Writes alarms, as long as whoever reads them keeps up: the component waits for nobody.
    fn tell(&mut self) {
        let output = io::stderr();
        let takes =
            |output| poll(&mut [PollFd::new(output, PollFlags::OUT)], Some(&AT_ONCE)).is_ok_and(|ready| ready > 0);
        while takes(&output)
            && let Some(alarm) = self.component.next_alarm()
        {
            // Somebody may have closed it. The status still counts them.
            let _ = writeln!(&output, "{}", told(&alarm));
        }
    }
}

fn told(alarm: &Alarm) -> String {
    let Alarm { number, user, key, at_us, hash } = alarm;
    let [key, hash] = [key.as_slice(), hash].map(|bytes| HEXLOWER.encode(bytes));
    format!("ringfort-ttcb: alarm {number}: at {at_us} us, for entity {key} of user {user}, about {hash}")
}

impl Connection {
    /// Whether anything is read from it or written to it now.
    fn is_served(&self) -> bool {
        !self.parked || self.written < CALL_BYTES
    }

    /// Writes what is left, or else reads: true once a request is whole.
    fn exchange(&mut self) -> io::Result<bool> {
        if self.written < CALL_BYTES {
            self.write()?;
            return Ok(false);
        }
        let room = self.request.get_mut(self.read..).unwrap_or_default();
        match self.stream.read(room) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.read += count;
                Ok(self.read == CALL_BYTES)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        match self.stream.write(self.answer.get(self.written..).unwrap_or_default()) {
            Ok(count) => {
                self.written += count;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}
