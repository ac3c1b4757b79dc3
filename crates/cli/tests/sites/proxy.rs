//! The network between sites: a proxy in front of each, which knows who sends to whom, can cut either way, and is an attacker:
//! it sends what it saw again, as it was and altered.
//!
//! Datagrams are told apart by the address that they come from; links by the process that holds the other end.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// What is cut, and who is who.
#[derive(Clone, Default)]
pub struct Network {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// From, to.
    cut: BTreeSet<(usize, usize)>,
    /// The same, for datagrams only.
    deaf: BTreeSet<(usize, usize)>,
    processes: [u32; 3],
}

impl Network {
    /// Proxies at `addresses` in front of sites that listen at `sites`.
    pub async fn start(addresses: [SocketAddr; 3], sites: [SocketAddr; 3]) -> Self {
        let network = Network::default();
        for to in 0..3 {
            let udp = UdpSocket::bind(addresses[to]).await.unwrap();
            let tcp = TcpListener::bind(addresses[to]).await.unwrap();
            tokio::spawn(network.clone().datagrams(udp, to, sites));
            tokio::spawn(network.clone().links(tcp, to, sites[to]));
        }
        network
    }

    pub fn is(&self, site: usize, process: u32) {
        self.shared.lock().unwrap().processes[site] = process;
    }

    pub fn cut(&self, from: usize, to: usize) {
        self.shared.lock().unwrap().cut.insert((from, to));
    }

    /// A firewall that lets no datagram through.
    pub fn cut_datagrams(&self, from: usize, to: usize) {
        self.shared.lock().unwrap().deaf.insert((from, to));
    }

    /// One side hears nothing of the other.
    pub fn split(&self, part: &[usize]) {
        let mut shared = self.shared.lock().unwrap();
        for from in 0..3 {
            for to in 0..3 {
                if part.contains(&from) != part.contains(&to) {
                    shared.cut.insert((from, to));
                }
            }
        }
    }

    pub fn heal(&self) {
        self.shared.lock().unwrap().cut.clear();
    }

    fn carries(&self, from: usize, to: usize) -> bool {
        !self.shared.lock().unwrap().cut.contains(&(from, to))
    }

    async fn datagrams(self, socket: UdpSocket, to: usize, sites: [SocketAddr; 3]) {
        let mut buffer = vec![0; 65_536];
        let mut kept: VecDeque<Vec<u8>> = VecDeque::new();
        for number in 0u64.. {
            let Ok((bytes, source)) = socket.recv_from(&mut buffer).await else { continue };
            let Some(from) = sites.iter().position(|site| *site == source) else { continue };
            if !self.carries(from, to) || self.shared.lock().unwrap().deaf.contains(&(from, to)) {
                continue;
            }
            let datagram = &mut buffer[..bytes];
            let _ = socket.send_to(datagram, sites[to]).await;
            // An attacker on the way copies what it sees, and sends it again as it is or altered, whatever is cut.
            if number % 7 == 0 {
                kept.push_back(datagram.to_vec());
                let old = kept.get((number / 7 % 64) as usize).unwrap_or(&kept[0]);
                let _ = socket.send_to(old, sites[to]).await;
                datagram[bytes - 1 - (number % 16) as usize] ^= 1 << (number % 8);
                let _ = socket.send_to(datagram, sites[to]).await;
            }
            if kept.len() > 64 {
                kept.pop_front();
            }
        }
    }

    async fn links(self, listener: TcpListener, to: usize, site: SocketAddr) {
        loop {
            let Ok((stream, source)) = listener.accept().await else { continue };
            let network = self.clone();
            tokio::spawn(async move {
                // Whoever is slow to be found out holds up nobody else.
                let Some(from) = network.whose(source).await else { return };
                network.wait(from, to).await;
                let Ok(onward) = TcpStream::connect(site).await else { return };
                let ((a, b), (c, d)) = (stream.into_split(), onward.into_split());
                tokio::join!(network.copy(a, d, from, to), network.copy(c, b, to, from));
            });
        }
    }

    /// A link stands still while datagrams are cut either way: what is sent is not acknowledged.
    async fn wait(&self, from: usize, to: usize) {
        while !self.carries(from, to) || !self.carries(to, from) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn copy(
        &self,
        mut reader: tokio::net::tcp::OwnedReadHalf,
        mut writer: tokio::net::tcp::OwnedWriteHalf,
        from: usize,
        to: usize,
    ) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(bytes @ 1..) = reader.read(&mut buffer).await {
            self.wait(from, to).await;
            if writer.write_all(&buffer[..bytes]).await.is_err() {
                break;
            }
        }
        let _ = writer.shutdown().await;
    }

    /// Which site's process holds the other end of a connection.
    async fn whose(&self, source: SocketAddr) -> Option<usize> {
        let processes = self.shared.lock().unwrap().processes;
        for _ in 0..20 {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
            let end = format!("0100007F:{:04X}", source.port());
            let inode = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let inode = inode
                .filter(|words| words.get(1) == Some(&end.as_str()))
                .find_map(|words| words.get(9).map(|n| (*n).to_owned()));
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
}

fn holds(process: u32, socket: &str) -> bool {
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|target| target.as_os_str() == socket)
}
