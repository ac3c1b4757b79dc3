//! A leader's links: one listener for members and leaders, and links to the leaders with a higher number.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rand_core::Rng;
use ringfort_protocol::data::DATA_TAG;
use ringfort_protocol::group::LeaderSecrets;
use ringfort_protocol::{GroupInfo, LeaderId, LinkId};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tracing::debug;

use super::lookup::Way;
use super::{LeaderError, LeaderOptions};
use crate::link::{
    Accepted, Backoff, ConnectOptions, Gate, LinkKey, LinkPublicKey, LinkReceiver, LinkSender, Listener, PeerKind,
};
use crate::os_rng;

/// What links tell the driver.
pub(super) enum Input {
    MemberUp(LinkId, [u8; 32], LinkSender),
    MemberFrame(LinkId, Bytes),
    MemberDown(LinkId),
    PeerUp(LeaderId, u64, LinkSender),
    PeerFrame(LeaderId, Bytes),
    PeerDown(LeaderId, u64),
}

/// The tasks that read, and what they share.
pub(super) struct Links {
    address: SocketAddr,
    gate: Gate,
    stop_listening: Arc<Notify>,
    tasks: JoinSet<()>,
}

impl Links {
    pub async fn start(
        group: &Arc<GroupInfo>,
        secrets: &LeaderSecrets,
        options: &LeaderOptions,
        inputs: mpsc::Sender<Input>,
    ) -> Result<Self, LeaderError> {
        let me = secrets.id;
        let key = Arc::new(LinkKey::from_seed(*secrets.link.expose()));
        let wanted = listen_address(group, me, options)?;
        let allowed = group.leaders.iter().map(|l| LinkPublicKey(l.link_key));
        let listener = Listener::bind(wanted, &key, allowed, options.accept.clone(), options.link.clone())
            .await
            .map_err(|cause| LeaderError::Listen { address: wanted.to_string(), cause })?;
        let address = listener.local_addr();

        let gate = Gate::default();
        let generations = Arc::new(AtomicU64::new(1));
        let mut tasks = JoinSet::new();
        let stop_listening = Arc::new(Notify::new());
        let accepting = Accepting {
            group: group.clone(),
            me,
            gate: gate.clone(),
            inputs: inputs.clone(),
            generations: generations.clone(),
            stop: stop_listening.clone(),
        };
        tasks.spawn(accepting.run(listener));
        for peer in group.rules.leaders().filter(|peer| *peer > me) {
            let Some(info) = group.leader(peer) else { continue };
            let connecting = Connecting {
                way: Way {
                    peer,
                    address: info.address.clone(),
                    key: LinkPublicKey(info.link_key),
                    lookup: options.lookup.clone(),
                    is_unknown: false,
                },
                key: key.clone(),
                inputs: inputs.clone(),
                generations: generations.clone(),
                options: ConnectOptions { limits: options.link.clone(), ..ConnectOptions::default() },
            };
            tasks.spawn(connecting.run());
        }
        Ok(Links { address, gate, stop_listening, tasks })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn register(&self, sender: &LinkSender) {
        self.gate.register(sender.clone());
    }

    /// No link is taken from here on; those that are open go on.
    pub fn stop_listening(&self) {
        self.stop_listening.notify_one();
    }

    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

fn listen_address(group: &GroupInfo, me: LeaderId, options: &LeaderOptions) -> Result<SocketAddr, LeaderError> {
    if let Some(address) = options.listen {
        return Ok(address);
    }
    let address = group.leader(me).map(|l| l.address.clone()).unwrap_or_default();
    let resolved = address.to_socket_addrs().ok().and_then(|mut found| found.next());
    resolved.ok_or(LeaderError::Address(address))
}

struct Accepting {
    group: Arc<GroupInfo>,
    me: LeaderId,
    gate: Gate,
    inputs: mpsc::Sender<Input>,
    generations: Arc<AtomicU64>,
    stop: Arc<Notify>,
}

impl Accepting {
    async fn run(self, mut listener: Listener) {
        let peers: BTreeMap<LinkPublicKey, LeaderId> = self
            .group
            .rules
            .leaders()
            .filter_map(|id| Some((LinkPublicKey(self.group.leader(id)?.link_key), id)))
            .filter(|(_, id)| *id < self.me)
            .collect();
        let mut readers = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.notified() => None,
            };
            let Some(Accepted { peer, exporter, remote, link }) = accepted else { break };
            while readers.try_join_next().is_some() {}
            let number = self.generations.fetch_add(1, Ordering::Relaxed);
            let (sender, receiver) = link.split();
            match peer {
                PeerKind::Leader(key) => match peers.get(&key) {
                    Some(id) => {
                        sender.authenticated();
                        readers.spawn(read_peer(*id, number, sender, receiver, self.inputs.clone()));
                    }
                    None => sender.close(),
                },
                PeerKind::Anonymous => {
                    debug!(%remote, link = number, "a member's link");
                    let (gate, inputs) = (self.gate.clone(), self.inputs.clone());
                    readers.spawn(read_member(LinkId(number), exporter, sender, receiver, gate, inputs));
                }
            }
        }
        listener.shutdown().await;
        // Dropping a reader would close its link, and the driver closes them in its own order.
        while readers.join_next().await.is_some() {}
    }
}

/// Reads a member's link. A sender of data waits while members that keep up have full queues.
async fn read_member(
    link: LinkId,
    exporter: [u8; 32],
    sender: LinkSender,
    mut receiver: LinkReceiver,
    gate: Gate,
    inputs: mpsc::Sender<Input>,
) {
    if inputs.send(Input::MemberUp(link, exporter, sender)).await.is_err() {
        return;
    }
    while let Ok(Some(frame)) = receiver.recv().await {
        if frame.get(1) == Some(&DATA_TAG) {
            gate.ready().await;
        }
        if inputs.send(Input::MemberFrame(link, frame)).await.is_err() {
            return;
        }
    }
    drop(inputs.send(Input::MemberDown(link)).await);
}

async fn read_peer(
    peer: LeaderId,
    generation: u64,
    sender: LinkSender,
    mut receiver: LinkReceiver,
    inputs: mpsc::Sender<Input>,
) {
    if inputs.send(Input::PeerUp(peer, generation, sender)).await.is_err() {
        return;
    }
    while let Ok(Some(frame)) = receiver.recv().await {
        if inputs.send(Input::PeerFrame(peer, frame)).await.is_err() {
            return;
        }
    }
    drop(inputs.send(Input::PeerDown(peer, generation)).await);
}

struct Connecting {
    way: Way,
    key: Arc<LinkKey>,
    inputs: mpsc::Sender<Input>,
    generations: Arc<AtomicU64>,
    options: ConnectOptions,
}

impl Connecting {
    async fn run(mut self) {
        let peer = self.way.peer;
        let mut backoff = Backoff::default();
        loop {
            match self.way.open(&self.key, &self.options).await {
                Ok(link) => {
                    backoff.reset();
                    let generation = self.generations.fetch_add(1, Ordering::Relaxed);
                    let (sender, receiver) = link.split();
                    sender.authenticated();
                    read_peer(peer, generation, sender, receiver, self.inputs.clone()).await;
                }
                Err(error) => debug!(peer = peer.number(), %error, "no link to leader"),
            }
            if self.inputs.is_closed() {
                return;
            }
            tokio::time::sleep(backoff.next(os_rng().next_u64())).await;
        }
    }
}
