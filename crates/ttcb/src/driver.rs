//! The process around a component: one thread, its sockets and its clock. It decides nothing.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use ringfort_kernel::{Cx, Time};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;

use crate::core::call::CALL_BYTES;
use crate::core::entities::CONNECTIONS_MAX;
use crate::core::rules::ROUND;
use crate::core::{Component, Setup};
use crate::files::GroupFile;
use crate::system::{Monotonic, OsRng, os_rng, unix_ms};

/// Datagrams that are read before anything else has its turn.
const DATAGRAMS_MAX: usize = 64;

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
}

/// A component with its sockets open.
pub struct Driver {
    component: Component,
    clock: Monotonic,
    rng: OsRng,
    channel: UdpSocket,
    addresses: Vec<SocketAddr>,
    listener: UnixListener,
    users: Vec<u32>,
    connections: [Option<Connection>; CONNECTIONS_MAX],
    next_round: Time,
}

impl Driver {
    /// Opens the sockets and starts the component.
    ///
    /// # Errors
    /// A socket cannot be opened.
    pub fn open(options: Options) -> io::Result<Self> {
        let own = options.addresses.get(options.setup.me.place()).copied().ok_or(ErrorKind::InvalidInput)?;
        let channel = UdpSocket::bind(own)?;
        channel.set_nonblocking(true)?;
        if UnixStream::connect(&options.socket).is_ok() {
            return Err(io::Error::new(ErrorKind::AddrInUse, "a component listens there already"));
        }
        match fs::remove_file(&options.socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&options.socket)?;
        // Who may use it is asked of the system for each connection.
        fs::set_permissions(&options.socket, fs::Permissions::from_mode(0o666))?;
        listener.set_nonblocking(true)?;
        let (clock, mut rng) = (Monotonic::start(), os_rng());
        let mut cx = Cx { now: clock.now(), unix_ms: unix_ms(), rng: &mut rng };
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
            let now = self.clock.now();
            if now >= self.next_round {
                self.round(now);
            }
        }
    }

    fn wait(&self) -> io::Result<()> {
        let left = self.next_round.since(self.clock.now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut waited = Vec::with_capacity(CONNECTIONS_MAX + 2);
        waited.push(PollFd::new(&self.channel, PollFlags::IN));
        waited.push(PollFd::new(&self.listener, PollFlags::IN));
        for connection in self.connections.iter().flatten() {
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
                Ok((length, _)) => {
                    let now = self.clock.now();
                    self.component.on_frame(now, datagram.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Somebody's port is closed, or the like: it says so, and the next datagram may come.
                Err(_) => {}
            }
        }
    }

    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        let Ok(user) = socket_peercred(&stream).map(|peer| peer.uid.as_raw()) else { return };
        if !self.users.contains(&user) || stream.set_nonblocking(true).is_err() {
            return;
        }
        let Some(place) = self.component.connected(self.clock.now(), user) else { return };
        if let Some(free) = self.connections.get_mut(place) {
            let (request, answer) = ([0; CALL_BYTES], [0; CALL_BYTES]);
            *free = Some(Connection { stream, request, read: 0, answer, written: CALL_BYTES });
        }
    }

    /// At most one request of one process, and the rest of its answer.
    fn serve(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) else { return };
        let alive = match connection.exchange() {
            Ok(false) => true,
            Ok(true) => {
                let mut cx = Cx { now: self.clock.now(), unix_ms: 0, rng: &mut self.rng };
                connection.answer = self.component.on_request(&mut cx, place, &connection.request);
                (connection.read, connection.written) = (0, 0);
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
    }
}

impl Connection {
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
