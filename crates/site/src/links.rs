//! The links between sites: TLS 1.3 with the keys of the network file. They give datagrams their keys, and carry frames
//! where no datagram passes. Of two sites the one whose name comes first calls.
//!
//! The first frame each way says which network file the sender has. Sites whose files differ do nothing together: a
//! number means another site to each of them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_core::Rng;
use ringfort_documents::os_rng;
use ringfort_link::{
    AcceptLimits, Accepted, Backoff, Class, ConnectOptions, LinkError, LinkKey, LinkLimits, LinkPublicKey,
    LinkReceiver, LinkSender, Listener, PeerKind, connect,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;

use crate::lookup::Lookup;
use crate::network::Network;

/// After so long a link is made anew, for new keys.
const KEYS_AGE_MAX: Duration = Duration::from_secs(3600);

/// Frames that wait for the site's task, from all links together.
const FRAMES_MAX: usize = 256;

/// How long a site has to say which network file it has.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// The greeting's first bytes: what follows is a network file's digest.
const GREETING: &[u8; 16] = b"ringfort site 1\n";

/// Between two calls of a site that cannot be reached, at the least and at the most: a site that comes back is linked
/// again within half a second.
const CALL_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));

/// How long a site may take to accept a call, and to prove its key: a call that began while the network was cut must not
/// stand in the way of the next for long.
const CALL_TIMEOUTS: (Duration, Duration) = (Duration::from_millis(1500), Duration::from_secs(3));

/// Why there is no link to a site.
#[derive(Debug)]
pub enum NoLink {
    /// It could not be made.
    Link(LinkError),
    /// The site has another network file, with this digest.
    OtherNetwork([u8; 32]),
    /// It took the call, and hung up before it had proved who it is: it is busy, or its machine starts or ends.
    HungUp,
    /// The site's address cannot be looked up.
    Lookup(io::Error),
}

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
    Failed(usize, NoLink),
}

/// What every task of a link knows.
#[derive(Clone)]
struct Shared {
    network: Arc<Network>,
    lookup: Lookup,
    events: mpsc::Sender<LinkEvent>,
}

/// The tasks that keep the links.
#[derive(Debug)]
pub struct Links {
    tasks: JoinSet<()>,
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
        lookup: Lookup,
    ) -> Result<(Self, mpsc::Receiver<LinkEvent>), LinkError> {
        let (events, received) = mpsc::channel(FRAMES_MAX);
        let allowed = network.sites().iter().map(|site| LinkPublicKey(site.key));
        let listener = Listener::bind(address, &key, allowed, AcceptLimits::default(), LinkLimits::default()).await?;
        let shared = Shared { network: network.clone(), lookup, events };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, shared.clone(), me));
        for place in me + 1..network.sites().len() {
            tasks.spawn(call(shared.clone(), place, key.clone()));
        }
        Ok((Links { tasks }, received))
    }

    /// Ends all of them.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn accept(mut listener: Listener, shared: Shared, me: usize) {
    let mut readers = JoinSet::new();
    while let Some(Accepted { peer, exporter, link, .. }) = listener.accept().await {
        while readers.try_join_next().is_some() {}
        let (sender, receiver) = link.split();
        let place = match peer {
            PeerKind::Leader(key) => shared.network.place_of(&key.0),
            PeerKind::Anonymous => None,
        };
        match place.filter(|place| *place < me) {
            Some(place) => {
                let shared = shared.clone();
                readers.spawn(async move {
                    // Datagrams go to the address in the network file, not to wherever this link comes from.
                    let address = shared.lookup.find(place).await.ok();
                    if let Err(why) = read(&shared, place, exporter, address, &sender, receiver).await {
                        tell(&shared, place, why).await;
                    }
                    sender.close();
                });
            }
            None => sender.close(),
        }
    }
}

async fn call(shared: Shared, place: usize, key: Arc<LinkKey>) {
    let mut backoff = Backoff::new(CALL_AGAIN.0, CALL_AGAIN.1);
    while !shared.events.is_closed() {
        match call_once(&shared, place, &key).await {
            Ok(()) => backoff.reset(),
            Err(why) => tell(&shared, place, why).await,
        }
        tokio::time::sleep(backoff.next(os_rng().next_u64())).await;
    }
}

/// One link, from the call to its end.
async fn call_once(shared: &Shared, place: usize, key: &LinkKey) -> Result<(), NoLink> {
    let Some(site) = shared.network.sites().get(place) else { return Ok(()) };
    let address = shared.lookup.find(place).await.map_err(NoLink::Lookup)?;
    let options = ConnectOptions {
        connect_timeout: CALL_TIMEOUTS.0,
        handshake_timeout: CALL_TIMEOUTS.1,
        ..ConnectOptions::default()
    };
    let link = connect(address, LinkPublicKey(site.key), Some(key), &options).await;
    // A refused key shows behind the handshake: the called site learns this one's key last.
    let link = link.map_err(|error| match error {
        LinkError::Refused | LinkError::Closed => NoLink::HungUp,
        other => NoLink::Link(other),
    })?;
    let exporter = link.exporter();
    let (sender, receiver) = link.split();
    let reading = read(shared, place, exporter, Some(address), &sender, receiver);
    let read = tokio::time::timeout(KEYS_AGE_MAX, reading).await;
    sender.close();
    // A link that has grown old is made anew.
    read.unwrap_or(Ok(()))
}

async fn tell(shared: &Shared, place: usize, why: NoLink) {
    debug!(place, ?why, "no link to a site");
    // A site that has ended is told nothing.
    drop(shared.events.send(LinkEvent::Failed(place, why)).await);
}

/// Reads a link to its end: an error before the greeting is one of the link's, an end after it is none.
async fn read(
    shared: &Shared,
    place: usize,
    exporter: [u8; 32],
    address: Option<SocketAddr>,
    sender: &LinkSender,
    mut receiver: LinkReceiver,
) -> Result<(), NoLink> {
    let mine = shared.network.id();
    let greeting: Vec<u8> = GREETING.iter().chain(&mine).copied().collect();
    if sender.send(Class::Control, greeting.into()).is_err() {
        return Err(NoLink::Link(LinkError::Closed));
    }
    let greeting = tokio::time::timeout(GREETING_TIMEOUT, receiver.recv()).await;
    let greeting = greeting.map_err(|_| NoLink::Link(LinkError::Timeout))?.map_err(NoLink::Link)?;
    let greeting = greeting.ok_or(NoLink::Link(LinkError::Closed))?;
    let theirs: [u8; 32] = greeting
        .strip_prefix(GREETING)
        .and_then(|theirs| theirs.try_into().ok())
        .ok_or(NoLink::Link(LinkError::Version))?;
    if theirs != mine {
        return Err(NoLink::OtherNetwork(theirs));
    }
    sender.authenticated();
    let up = LinkEvent::Up(place, exporter, address, sender.clone());
    if shared.events.send(up).await.is_err() {
        return Ok(());
    }
    while let Ok(Some(frame)) = receiver.recv().await {
        if shared.events.send(LinkEvent::Frame(place, frame)).await.is_err() {
            return Ok(());
        }
    }
    drop(shared.events.send(LinkEvent::Down(place)).await);
    Ok(())
}
