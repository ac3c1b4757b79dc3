//! The links between sites: TLS 1.3 with the keys of the network file. They give datagrams their keys, and carry frames
//! where no datagram passes. Of two sites the one whose name comes first calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_core::Rng;
use ringfort::link::{
    AcceptLimits, Accepted, Backoff, ConnectOptions, LinkError, LinkKey, LinkLimits, LinkPublicKey, LinkReceiver,
    LinkSender, Listener, PeerKind, connect,
};
use ringfort::os_rng;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;

use crate::network::Network;

/// After so long a link is made anew, for new keys.
const KEYS_AGE_MAX: Duration = Duration::from_secs(3600);

/// Frames that wait for the site's task, from all links together.
const FRAMES_MAX: usize = 256;

/// What links tell the site.
#[derive(Debug)]
pub enum LinkEvent {
    /// A link to the site at this place is up: its secret, where it can be reached by datagram, and where to send.
    Up(usize, [u8; 32], Option<SocketAddr>, LinkSender),
    /// A frame came over a link.
    Frame(usize, Bytes),
    /// A link has ended.
    Down(usize),
    /// A site cannot be reached, and why.
    Failed(usize, LinkError),
}

/// The tasks that keep the links.
#[derive(Debug)]
pub struct Links {
    tasks: JoinSet<()>,
    address: SocketAddr,
}

impl Links {
    /// Listens, and calls the sites that come after this one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(
        address: SocketAddr,
        key: Arc<LinkKey>,
        network: Arc<Network>,
        me: usize,
    ) -> Result<(Self, mpsc::Receiver<LinkEvent>), LinkError> {
        let (events, received) = mpsc::channel(FRAMES_MAX);
        let allowed = network.sites().iter().map(|site| LinkPublicKey(site.key));
        let listener = Listener::bind(address, &key, allowed, AcceptLimits::default(), LinkLimits::default()).await?;
        let address = listener.local_addr();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, network.clone(), me, events.clone()));
        for place in me + 1..network.sites().len() {
            tasks.spawn(call(network.clone(), place, key.clone(), events.clone()));
        }
        Ok((Links { tasks, address }, received))
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all of them.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn accept(mut listener: Listener, network: Arc<Network>, me: usize, events: mpsc::Sender<LinkEvent>) {
    let mut readers = JoinSet::new();
    while let Some(Accepted { peer, exporter, link, .. }) = listener.accept().await {
        while readers.try_join_next().is_some() {}
        let (sender, receiver) = link.split();
        let place = match peer {
            PeerKind::Leader(key) => network.place_of(&key.0),
            PeerKind::Anonymous => None,
        };
        match place.filter(|place| *place < me) {
            Some(place) => {
                sender.authenticated();
                readers.spawn(read(place, exporter, None, sender, receiver, events.clone()));
            }
            None => sender.close(),
        }
    }
}

async fn call(network: Arc<Network>, place: usize, key: Arc<LinkKey>, events: mpsc::Sender<LinkEvent>) {
    let Some(site) = network.sites().get(place) else { return };
    let mut backoff = Backoff::default();
    let options = ConnectOptions::default();
    while !events.is_closed() {
        match connect(&site.address, LinkPublicKey(site.key), Some(&key), &options).await {
            Ok(link) => {
                backoff.reset();
                let (exporter, remote) = (link.exporter(), link.remote());
                let (sender, receiver) = link.split();
                sender.authenticated();
                let reading = read(place, exporter, Some(remote), sender.clone(), receiver, events.clone());
                if tokio::time::timeout(KEYS_AGE_MAX, reading).await.is_err() {
                    sender.close();
                    continue;
                }
            }
            Err(error) => {
                debug!(site = site.name, %error, "no link to a site");
                if events.send(LinkEvent::Failed(place, error)).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(backoff.next(os_rng().next_u64())).await;
    }
}

/// Reads a link to its end. `address` is the caller's: a site that is called learns it from the first datagram.
async fn read(
    place: usize,
    exporter: [u8; 32],
    address: Option<SocketAddr>,
    sender: LinkSender,
    mut receiver: LinkReceiver,
    events: mpsc::Sender<LinkEvent>,
) {
    if events.send(LinkEvent::Up(place, exporter, address, sender)).await.is_err() {
        return;
    }
    while let Ok(Some(frame)) = receiver.recv().await {
        if events.send(LinkEvent::Frame(place, frame)).await.is_err() {
            return;
        }
    }
    drop(events.send(LinkEvent::Down(place)).await);
}
