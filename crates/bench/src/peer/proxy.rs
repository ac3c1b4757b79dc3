//! The network between the sites, which can be cut before the last of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use crate::{BenchError, setup};

/// The site that can be cut off: the last one calls nobody, so that its links all come in here.
const LAST: usize = 2;

pub(super) struct Proxy {
    is_cut: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Stands at `addresses`, in front of sites that listen at `sites`.
    pub async fn start(addresses: [SocketAddr; 3], sites: [SocketAddr; 3]) -> Result<Self, BenchError> {
        let is_cut = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for (to, (address, site)) in addresses.into_iter().zip(sites).enumerate() {
            let socket = UdpSocket::bind(address).await.map_err(setup)?;
            let listener = TcpListener::bind(address).await.map_err(setup)?;
            let last = sites.get(LAST).copied();
            tasks.spawn(datagrams(socket, site, to == LAST, last, is_cut.clone()));
            tasks.spawn(links(listener, site, to == LAST, is_cut.clone()));
        }
        Ok(Proxy { is_cut, _tasks: tasks })
    }

    /// Cuts the last site off, or mends that.
    pub fn cut(&self, cut: bool) {
        self.is_cut.store(cut, Ordering::Relaxed);
    }
}

async fn datagrams(
    socket: UdpSocket,
    site: SocketAddr,
    to_last: bool,
    last: Option<SocketAddr>,
    is_cut: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((bytes, from)) = socket.recv_from(&mut buffer).await else { continue };
        let crosses = to_last || Some(from) == last;
        if crosses && is_cut.load(Ordering::Relaxed) {
            continue;
        }
        let _ = socket.send_to(buffer.get(..bytes).unwrap_or_default(), site).await;
    }
}

async fn links(listener: TcpListener, site: SocketAddr, to_last: bool, is_cut: Arc<AtomicBool>) {
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else { continue };
        let stops = to_last.then(|| is_cut.clone());
        open.spawn(async move {
            wait(stops.as_deref()).await;
            let Ok(onward) = TcpStream::connect(site).await else { return };
            let ((a, b), (c, d)) = (stream.into_split(), onward.into_split());
            tokio::join!(copy(a, d, stops.clone()), copy(c, b, stops));
        });
    }
}

/// A link that is cut stands still.
async fn wait(is_cut: Option<&AtomicBool>) {
    while is_cut.is_some_and(|is_cut| is_cut.load(Ordering::Relaxed)) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn copy(mut reader: OwnedReadHalf, mut writer: OwnedWriteHalf, is_cut: Option<Arc<AtomicBool>>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(bytes @ 1..) = reader.read(&mut buffer).await {
        wait(is_cut.as_deref()).await;
        if writer.write_all(buffer.get(..bytes).unwrap_or_default()).await.is_err() {
            break;
        }
    }
    let _ = writer.shutdown().await;
}
