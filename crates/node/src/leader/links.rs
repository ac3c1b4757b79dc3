//! A leader's links: one listener for members and leaders, and links to the leaders with a higher number.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rand_core::Rng;
use ringfort_kernel::inbox::{PoolLimits, Urgency};
use ringfort_protocol::group::LeaderSecrets;
use ringfort_protocol::{GroupInfo, LeaderId, LinkId};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::debug;

use super::lookup::Way;
use super::{LeaderError, LeaderOptions};
use crate::order::Door;
use ringfort_documents::os_rng;
use ringfort_link::{
    Accepted, Backoff, ConnectOptions, LinkKey, LinkPublicKey, LinkReceiver, LinkSender, Listener, PeerKind,
};
use ringfort_runtime::{Barred, Inputs};

/// Whose inputs share one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    Leader(LeaderId),
    Member(LinkId),
}

/// The pools of a leader's inbox: nobody of one of them can keep those of another waiting.
pub(super) mod pool {
    use ringfort_kernel::inbox::PoolId;

    pub const LEADERS: PoolId = PoolId(0);
    pub const MEMBERS: PoolId = PoolId(1);
    /// Links that have not logged in: one account for all of them.
    pub const STRANGERS: PoolId = PoolId(2);
    /// Their parts of the leader's time, while all of them want it.
    pub const SHARES: [u32; 3] = [4, 4, 2];
}

/// What links tell the driver.
pub(super) enum Input {
    MemberUp(LinkId, [u8; 32], LinkSender),
    MemberFrame(LinkId, Bytes),
    MemberDown(LinkId),
    PeerUp(LeaderId, u64, LinkSender),
    PeerFrame(LeaderId, u64, Bytes),
    PeerDown(LeaderId, u64),
    Retired(LeaderId),
}

impl Input {
    /// What it brought, bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Input::MemberFrame(_, frame) | Input::PeerFrame(_, _, frame) => frame.len(),
            Input::MemberUp(..) | Input::MemberDown(_) | Input::PeerUp(..) | Input::PeerDown(..) => 0,
            Input::Retired(_) => 0,
        }
    }
}

/// The tasks that read, and what they share with the driver.
pub(super) struct Links {
    address: SocketAddr,
    pub inputs: Inputs<Peer, Input>,
    pub barred: Barred,
    stop_listening: Arc<Notify>,
    tasks: JoinSet<()>,
}

impl Links {
    pub async fn start(
        group: &Arc<GroupInfo>,
        secrets: &LeaderSecrets,
        options: &LeaderOptions,
        order: Option<Door>,
    ) -> Result<Self, LeaderError> {
        let me = secrets.id;
        let key = Arc::new(LinkKey::from_seed(*secrets.link.expose()));
        let wanted = listen_address(group, me, options)?;
        // Those that were replaced finish their handshake, so that it can be told who was refused.
        let retired = group.retired().into_iter().map(|(_, key)| LinkPublicKey(key));
        let allowed = group.leaders.iter().map(|l| LinkPublicKey(l.link_key)).chain(retired);
        let listener = Listener::bind(wanted, &key, allowed, options.accept.clone(), options.link.clone())
            .await
            .map_err(|cause| LeaderError::Listen { address: wanted.to_string(), cause })?;
        let address = listener.local_addr();

        let inputs = Inputs::new(pools(options, group.leaders.len()));
        let barred = Barred::default();
        group.rules.leaders().for_each(|peer| inputs.open(Peer::Leader(peer), pool::LEADERS));
        let generations = Arc::new(AtomicU64::new(1));
        let mut tasks = JoinSet::new();
        let stop_listening = Arc::new(Notify::new());
        let accepting = Accepting {
            group: group.clone(),
            me,
            inputs: inputs.clone(),
            barred: barred.clone(),
            generations: generations.clone(),
            stop: stop_listening.clone(),
            order: order.clone(),
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
                barred: barred.clone(),
                generations: generations.clone(),
                order: order.clone(),
                options: ConnectOptions { limits: options.link.clone(), ..ConnectOptions::default() },
            };
            tasks.spawn(connecting.run());
        }
        Ok(Links { address, inputs, barred, stop_listening, tasks })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// No link is taken from here on; those that are open go on.
    pub fn stop_listening(&self) {
        self.stop_listening.notify_one();
    }

    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

fn pools(options: &LeaderOptions, leaders: usize) -> [PoolLimits; 3] {
    let limits = &options.inputs;
    let [leader, member, stranger] = pool::SHARES;
    let lane = limits.leader_bytes_max;
    [
        PoolLimits { share: leader, lane_bytes_max: lane, bytes_max: lane.saturating_mul(leaders) },
        PoolLimits { share: member, lane_bytes_max: limits.member_bytes_max, bytes_max: limits.members_bytes_max },
        PoolLimits {
            share: stranger,
            lane_bytes_max: options.link.frame_unauthenticated_bytes_max,
            bytes_max: limits.strangers_bytes_max,
        },
    ]
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
    inputs: Inputs<Peer, Input>,
    barred: Barred,
    generations: Arc<AtomicU64>,
    stop: Arc<Notify>,
    order: Option<Door>,
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
        let retired: BTreeMap<LinkPublicKey, LeaderId> =
            self.group.retired().into_iter().map(|(id, key)| (LinkPublicKey(key), id)).collect();
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
                    Some(id) if self.barred.left(*id).is_none() => {
                        sender.authenticated();
                        readers.spawn(read_peer(
                            (*id, number),
                            sender,
                            receiver,
                            self.inputs.clone(),
                            self.order.clone(),
                        ));
                    }
                    _ => {
                        sender.close();
                        if let Some(id) = retired.get(&key) {
                            readers.spawn(tell_retired(self.inputs.clone(), *id));
                        }
                    }
                },
                PeerKind::Anonymous => {
                    debug!(%remote, link = number, "a member's link");
                    readers.spawn(read_member(LinkId(number), exporter, sender, receiver, self.inputs.clone()));
                }
            }
        }
        listener.shutdown().await;
        // Dropping a reader would close its link, and the driver closes them in its own order.
        while readers.join_next().await.is_some() {}
    }
}

/// It waits for its place as what that leader sends does.
async fn tell_retired(inputs: Inputs<Peer, Input>, leader: LeaderId) {
    drop(inputs.push(&Peer::Leader(leader), Urgency::Bulk, 0, Input::Retired(leader)).await);
}

/// Reads a member's link. A lane that is full stops it, and by TCP its member, alone.
async fn read_member(
    link: LinkId,
    exporter: [u8; 32],
    sender: LinkSender,
    mut receiver: LinkReceiver,
    inputs: Inputs<Peer, Input>,
) {
    let peer = Peer::Member(link);
    inputs.open(peer, pool::STRANGERS);
    if inputs.push(&peer, Urgency::Prompt, 0, Input::MemberUp(link, exporter, sender)).await.is_err() {
        return;
    }
    while let Ok(Some(frame)) = receiver.recv().await {
        if inputs.push_frame(&peer, frame, |frame| Input::MemberFrame(link, frame)).await.is_err() {
            return;
        }
    }
    // After everything else of it.
    drop(inputs.push(&peer, Urgency::Bulk, 0, Input::MemberDown(link)).await);
}

/// Reads a leader's link. What belongs to the order goes there, and waits there.
async fn read_peer(
    (leader, generation): (LeaderId, u64),
    sender: LinkSender,
    mut receiver: LinkReceiver,
    inputs: Inputs<Peer, Input>,
    order: Option<Door>,
) {
    let peer = Peer::Leader(leader);
    if inputs.push(&peer, Urgency::Prompt, 0, Input::PeerUp(leader, generation, sender)).await.is_err() {
        return;
    }
    while let Ok(Some(frame)) = receiver.recv().await {
        if let Some(order) = &order
            && order.takes(leader, &frame).await
        {
            continue;
        }
        if inputs.push_frame(&peer, frame, |frame| Input::PeerFrame(leader, generation, frame)).await.is_err() {
            return;
        }
    }
    drop(inputs.push(&peer, Urgency::Bulk, 0, Input::PeerDown(leader, generation)).await);
}

struct Connecting {
    way: Way,
    key: Arc<LinkKey>,
    inputs: Inputs<Peer, Input>,
    barred: Barred,
    generations: Arc<AtomicU64>,
    order: Option<Door>,
    options: ConnectOptions,
}

impl Connecting {
    async fn run(mut self) {
        let peer = self.way.peer;
        let mut backoff = Backoff::default();
        loop {
            self.barred.over(peer).await;
            match self.way.open(&self.key, &self.options).await {
                Ok(link) => {
                    backoff.reset();
                    let generation = self.generations.fetch_add(1, Ordering::Relaxed);
                    let (sender, receiver) = link.split();
                    sender.authenticated();
                    let order = self.order.clone();
                    read_peer((peer, generation), sender, receiver, self.inputs.clone(), order).await;
                }
                Err(error) => debug!(peer = peer.number(), %error, "no link to leader"),
            }
            tokio::time::sleep(backoff.next(os_rng().next_u64())).await;
        }
    }
}
