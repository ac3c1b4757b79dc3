//! Links between leaders that are being made: the keys are those of the introductions.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rand_core::Rng;
use ringfort_protocol::LeaderId;
use ringfort_setup::Terms;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;

use super::SetupError;
use crate::folder::Making;
use ringfort_documents::os_rng;
use ringfort_link::{
    AcceptLimits, Accepted, Backoff, ConnectOptions, LinkKey, LinkLimits, LinkPublicKey, LinkReceiver, LinkSender,
    Listener, PeerKind, connect,
};

/// What links tell the driver.
pub(super) enum Input {
    Up(LeaderId, u64, LinkSender),
    Frame(LeaderId, Bytes),
    Down(LeaderId, u64),
}

/// The tasks that read.
pub(super) struct Links {
    tasks: JoinSet<()>,
}

/// What every task needs.
#[derive(Clone)]
struct Shared {
    inputs: mpsc::Sender<Input>,
    numbers: Arc<AtomicU64>,
}

impl Links {
    /// Listens for the leaders with a lower number, and calls those with a higher one.
    pub async fn start(
        terms: &Arc<Terms>,
        making: &Making,
        listen: Option<SocketAddr>,
        inputs: mpsc::Sender<Input>,
    ) -> Result<Self, SetupError> {
        let own = making.introduction();
        let key = Arc::new(LinkKey::from_seed(*making.link_seed().expose()));
        let address = match listen {
            Some(address) => address,
            None => resolve(&own.info.address).ok_or_else(|| SetupError::Address(own.info.address.clone()))?,
        };
        let peers: BTreeMap<LinkPublicKey, LeaderId> = terms
            .introductions()
            .iter()
            .filter(|i| i.leader < own.leader)
            .map(|i| (LinkPublicKey(i.info.link_key), i.leader))
            .collect();
        let listener =
            Listener::bind(address, &key, peers.keys().copied(), AcceptLimits::default(), LinkLimits::default())
                .await
                .map_err(|cause| SetupError::Listen { address: address.to_string(), cause })?;
        let shared = Shared { inputs, numbers: Arc::new(AtomicU64::new(1)) };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, peers, shared.clone()));
        for peer in terms.introductions().iter().filter(|i| i.leader > own.leader) {
            let (id, address, server) = (peer.leader, peer.info.address.clone(), LinkPublicKey(peer.info.link_key));
            tasks.spawn(call(id, address, server, key.clone(), shared.clone()));
        }
        Ok(Links { tasks })
    }

    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

fn resolve(address: &str) -> Option<SocketAddr> {
    address.to_socket_addrs().ok().and_then(|mut found| found.next())
}

async fn accept(mut listener: Listener, peers: BTreeMap<LinkPublicKey, LeaderId>, shared: Shared) {
    let mut readers = JoinSet::new();
    while let Some(Accepted { peer, link, .. }) = listener.accept().await {
        while readers.try_join_next().is_some() {}
        let (sender, receiver) = link.split();
        let known = match peer {
            PeerKind::Leader(key) => peers.get(&key),
            PeerKind::Anonymous => None,
        };
        match known {
            Some(id) => {
                sender.authenticated();
                readers.spawn(read(*id, sender, receiver, shared.clone()));
            }
            // Nobody logs in here.
            None => sender.close(),
        }
    }
}

async fn call(peer: LeaderId, address: String, server: LinkPublicKey, key: Arc<LinkKey>, shared: Shared) {
    let mut backoff = Backoff::default();
    while !shared.inputs.is_closed() {
        match connect(&address, server, Some(&key), &ConnectOptions::default()).await {
            Ok(link) => {
                backoff.reset();
                let (sender, receiver) = link.split();
                sender.authenticated();
                read(peer, sender, receiver, shared.clone()).await;
            }
            Err(error) => debug!(peer = peer.number(), %error, "no link to leader"),
        }
        tokio::time::sleep(backoff.next(os_rng().next_u64())).await;
    }
}

async fn read(peer: LeaderId, sender: LinkSender, mut receiver: LinkReceiver, shared: Shared) {
    let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
    if shared.inputs.send(Input::Up(peer, number, sender)).await.is_err() {
        return;
    }
    while let Ok(Some(frame)) = receiver.recv().await {
        if shared.inputs.send(Input::Frame(peer, frame)).await.is_err() {
            return;
        }
    }
    drop(shared.inputs.send(Input::Down(peer, number)).await);
}
