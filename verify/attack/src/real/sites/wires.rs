//! The wires between three sites on loopback: proxies that know who sends to whom.
//!
//! Datagrams are told apart by the port that they come from; links by the process that holds the other end.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::NAMES;

/// Datagrams that are remembered.
const SEEN_MAX: usize = 512;
/// How often a wire that is cut is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A datagram that went by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The place of the site that sent it.
    pub from: usize,
    /// The place of the site that it was for.
    pub to: usize,
    /// What it was.
    pub bytes: Vec<u8>,
}

/// The wires. They are cut when this is dropped.
pub struct Wires {
    addresses: Vec<SocketAddr>,
    sockets: Vec<Arc<UdpSocket>>,
    shared: Arc<Mutex<Shared>>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    /// From, to.
    cut: BTreeSet<(usize, usize)>,
    ports: [u16; NAMES.len()],
    processes: [u32; NAMES.len()],
    seen: VecDeque<Datagram>,
}

type Common = Arc<Mutex<Shared>>;

fn lock(shared: &Common) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A port of loopback, for datagrams and links.
async fn both() -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if tries == 20 => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

impl Wires {
    /// Lays them; nobody is connected yet.
    ///
    /// # Errors
    /// There are no ports.
    pub async fn lay() -> io::Result<Self> {
        let shared = Common::default();
        let (mut addresses, mut sockets, mut tasks) = (Vec::new(), Vec::new(), JoinSet::new());
        for to in 0..NAMES.len() {
            let (udp, tcp) = both().await?;
            let udp = Arc::new(udp);
            addresses.push(tcp.local_addr()?);
            tasks.spawn(carry_datagrams(shared.clone(), udp.clone(), to));
            tasks.spawn(carry_links(shared.clone(), tcp, to));
            sockets.push(udp);
        }
        Ok(Wires { addresses, sockets, shared, _tasks: tasks })
    }

    /// Where each site is found by the others.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Which port and process a site has now.
    pub fn knows(&self, place: usize, port: u16, process: u32) {
        let mut shared = lock(&self.shared);
        if let Some(spot) = shared.ports.get_mut(place) {
            *spot = port;
        }
        if let Some(spot) = shared.processes.get_mut(place) {
            *spot = process;
        }
    }

    /// Nothing gets from one site to another; the other direction stays as it is.
    pub fn cut(&self, from: usize, to: usize) {
        lock(&self.shared).cut.insert((from, to));
    }

    /// Nothing gets from these sites to the others, nor back.
    pub fn split(&self, part: &[usize]) {
        let mut shared = lock(&self.shared);
        for from in 0..NAMES.len() {
            let others = (0..NAMES.len()).filter(|to| part.contains(&from) != part.contains(to));
            shared.cut.extend(others.map(|to| (from, to)));
        }
    }

    /// All is mended.
    pub fn heal(&self) {
        lock(&self.shared).cut.clear();
    }

    /// What is cut: from, to.
    pub fn cuts(&self) -> Vec<(usize, usize)> {
        lock(&self.shared).cut.iter().copied().collect()
    }

    /// What went from one site to another of late, the oldest first.
    pub fn seen(&self, from: usize, to: usize) -> Vec<Datagram> {
        lock(&self.shared).seen.iter().filter(|seen| (seen.from, seen.to) == (from, to)).cloned().collect()
    }

    /// Sends a site a datagram that comes from where the true ones come from.
    ///
    /// # Errors
    /// As of the socket.
    pub async fn inject(&self, to: usize, bytes: &[u8]) -> io::Result<()> {
        let port = lock(&self.shared).ports.get(to).copied().unwrap_or_default();
        let socket = self.sockets.get(to).ok_or(io::ErrorKind::NotFound)?;
        socket.send_to(bytes, ("127.0.0.1", port)).await.map(drop)
    }
}

fn carries(shared: &Common, from: usize, to: usize) -> bool {
    !lock(shared).cut.contains(&(from, to))
}

async fn carry_datagrams(shared: Common, socket: Arc<UdpSocket>, to: usize) {
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((bytes, source)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(datagram) = buffer.get(..bytes) else { continue };
        let port = {
            let mut shared = lock(&shared);
            let from = shared.ports.iter().position(|port| *port == source.port());
            let Some(from) = from.filter(|from| !shared.cut.contains(&(*from, to))) else { continue };
            if shared.seen.len() == SEEN_MAX {
                shared.seen.pop_front();
            }
            shared.seen.push_back(Datagram { from, to, bytes: datagram.to_vec() });
            shared.ports.get(to).copied().unwrap_or_default()
        };
        // A site that does not run hears nothing.
        let _ = socket.send_to(datagram, ("127.0.0.1", port)).await;
    }
}

async fn carry_links(shared: Common, listener: TcpListener, to: usize) {
    let mut links = JoinSet::new();
    loop {
        while links.try_join_next().is_some() {}
        let Ok((stream, source)) = listener.accept().await else { continue };
        let Some(from) = whose(&shared, source).await else { continue };
        let shared = shared.clone();
        links.spawn(async move {
            mended(&shared, from, to).await;
            let port = lock(&shared).ports.get(to).copied().unwrap_or_default();
            let Ok(onward) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            let ((a, b), (c, d)) = (stream.into_split(), onward.into_split());
            tokio::join!(copy(&shared, a, d, from, to), copy(&shared, c, b, to, from));
        });
    }
}

/// A link stands still while either way is cut: what is sent is not acknowledged.
async fn mended(shared: &Common, from: usize, to: usize) {
    while !carries(shared, from, to) || !carries(shared, to, from) {
        tokio::time::sleep(LOOK).await;
    }
}

async fn copy(
    shared: &Common,
    mut reader: tokio::net::tcp::OwnedReadHalf,
    mut writer: tokio::net::tcp::OwnedWriteHalf,
    from: usize,
    to: usize,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(bytes @ 1..) = reader.read(&mut buffer).await {
        mended(shared, from, to).await;
        let Some(read) = buffer.get(..bytes) else { break };
        if writer.write_all(read).await.is_err() {
            break;
        }
    }
    // The other end may have gone first.
    let _ = writer.shutdown().await;
}

/// Which site's process holds the other end of a connection.
async fn whose(shared: &Common, source: SocketAddr) -> Option<usize> {
    for _ in 0..20 {
        // A site that has just started may dial before it is known.
        let processes = lock(shared).processes;
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let end = format!("0100007F:{:04X}", source.port());
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let inode = rows
            .filter(|words| words.get(1) == Some(&end.as_str()))
            .find_map(|words| words.get(9).map(|inode| (*inode).to_owned()));
        if let Some(inode) = inode {
            let socket = format!("socket:[{inode}]");
            if let Some(site) = processes.iter().position(|process| holds(*process, &socket)) {
                return Some(site);
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    None
}

fn holds(process: u32, socket: &str) -> bool {
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|target| target.as_os_str() == socket)
}
