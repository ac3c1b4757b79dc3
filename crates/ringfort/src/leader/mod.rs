//! The driver of a leader: moves frames between links and the protocol core, and makes durable what
//! the core asks to be.
//!
//! Architecture invariant: no protocol decision is taken here.

mod core;
mod links;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringfort_protocol::leader::{Class, Command, Effect, Event, Leader, Record, Step};
use ringfort_protocol::{Cx, GroupInfo, LeaderId, LinkId, Rejected};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

pub use self::core::LeaderCore;
use self::links::{Input, Links};
use crate::clock::{Clock, unix_s};
use crate::files::{OpenLeader, OperatorRequest, read_requests};
use crate::link::{self, AcceptLimits, LinkError, LinkLimits, LinkSender};
use crate::os_rng;
use crate::store::{Store, StoreError};

/// Inputs waiting for the core. Readers wait when it is full, and TCP makes their peers wait.
const INPUTS_MAX: usize = 1024;
/// Inputs whose records share one durable commit.
const BATCH_MAX: usize = 64;
/// How often the operator's inbox is looked at.
const INBOX_PERIOD: Duration = Duration::from_millis(500);
/// How long an order to expel somebody waits whom this leader does not know: it may still be catching up.
const ORDER_PATIENCE: Duration = Duration::from_secs(30);

/// How a leader runs.
#[derive(Clone, Debug, Default)]
pub struct LeaderOptions {
    /// Where to listen, if not at the address in the group file (behind a forwarder, say).
    pub listen: Option<SocketAddr>,
    /// Bounds for peers that have not logged in.
    pub accept: AcceptLimits,
    /// Bounds of one link.
    pub link: LinkLimits,
}

/// Why a leader stopped or could not start.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// The address is taken, or not this machine's.
    #[error(
        "cannot listen at {address}: {cause}. Stop the program that uses the port, or choose another with --listen"
    )]
    Listen {
        /// The address.
        address: String,
        /// Why.
        cause: LinkError,
    },
    /// The store failed: a leader that cannot remember must not speak.
    #[error("the leader stopped, because its state could not be made durable: {0}")]
    Store(#[from] StoreError),
    /// The address in the group file means nothing here.
    #[error("the leader's address {0} in the group file cannot be resolved: use --listen HOST:PORT")]
    Address(String),
}

/// Runs a leader until `shutdown` completes, telling `observe` what happens.
///
/// # Errors
/// When it cannot listen or can no longer remember.
pub async fn run_leader(
    folder: OpenLeader,
    options: LeaderOptions,
    observe: impl FnMut(&Event) + Send,
    shutdown: impl Future<Output = ()>,
) -> Result<(), LeaderError> {
    let build = |cx: &mut Cx<'_>, group, secrets, records| -> Box<dyn LeaderCore> {
        Box::new(Leader::new(cx, group, secrets, records))
    };
    run_core(folder, options, build, observe, shutdown).await
}

/// Runs whatever `build` makes of a leader's folder.
///
/// # Errors
/// As [`run_leader`].
pub async fn run_core(
    folder: OpenLeader,
    options: LeaderOptions,
    build: impl FnOnce(
        &mut Cx<'_>,
        Arc<GroupInfo>,
        ringfort_protocol::group::LeaderSecrets,
        Vec<Record>,
    ) -> Box<dyn LeaderCore>,
    mut observe: impl FnMut(&Event) + Send,
    shutdown: impl Future<Output = ()>,
) -> Result<(), LeaderError> {
    let clock = Clock::start();
    let id = folder.secrets.id;
    let group = folder.group.clone();
    let (inputs, mut received) = mpsc::channel(INPUTS_MAX);
    let links = Links::start(&group, &folder.secrets, &options, inputs).await?;
    info!(leader = id.number(), address = %links.address(), group = %group.fingerprint(), "listening");

    let mut rng = os_rng();
    let records = folder.store.load()?;
    let core = build(&mut Cx { now: clock.now(), unix_s: unix_s(), rng: &mut rng }, group, folder.secrets, records);
    let mut driver = Driver {
        core,
        store: folder.store,
        folder: folder.path,
        members: BTreeMap::new(),
        peers: BTreeMap::new(),
        links,
    };

    let mut inbox = tokio::time::interval(INBOX_PERIOD);
    tokio::pin!(shutdown);
    loop {
        let due = driver.core.next_wakeup().map_or_else(far_away, |time| clock.instant(time));
        let mut steps = Vec::new();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            // Before the network's inputs: no flood of those keeps the operator waiting.
            _ = inbox.tick() => {
                let mut cx = Cx { now: clock.now(), unix_s: unix_s(), rng: &mut rng };
                driver.on_inbox(&mut cx, &mut observe)?;
            }
            input = received.recv() => {
                let mut next = input;
                while let Some(input) = next {
                    let mut cx = Cx { now: clock.now(), unix_s: unix_s(), rng: &mut rng };
                    steps.extend(driver.on_input(&mut cx, input));
                    next = (steps.len() < BATCH_MAX).then(|| received.try_recv().ok()).flatten();
                }
            }
            () = tokio::time::sleep_until(due) => {}
        }
        if driver.core.next_wakeup().is_some_and(|time| time <= clock.now()) {
            let mut cx = Cx { now: clock.now(), unix_s: unix_s(), rng: &mut rng };
            steps.push(driver.core.on_wakeup(&mut cx));
        }
        driver.carry_out(steps, &mut observe)?;
    }
    driver.links.shutdown().await;
    info!(leader = id.number(), "stopped");
    Ok(())
}

fn far_away() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(3600)
}

struct Driver {
    core: Box<dyn LeaderCore>,
    store: Store,
    folder: PathBuf,
    members: BTreeMap<LinkId, LinkSender>,
    peers: BTreeMap<LeaderId, (u64, LinkSender)>,
    links: Links,
}

impl Driver {
    fn on_input(&mut self, cx: &mut Cx<'_>, input: Input) -> Option<Step> {
        match input {
            Input::MemberUp(link, exporter, sender) => {
                self.members.insert(link, sender);
                self.core.on_link_up(link, exporter);
                None
            }
            Input::MemberFrame(link, frame) => Some(self.core.on_member_frame(cx, link, &frame)),
            Input::MemberDown(link) => {
                if let Some(sender) = self.members.remove(&link) {
                    sender.close();
                }
                self.core.on_link_down(link);
                None
            }
            Input::PeerUp(peer, generation, sender) => {
                info!(peer = peer.number(), "link to leader up");
                if let Some((_, old)) = self.peers.insert(peer, (generation, sender)) {
                    old.close();
                }
                Some(self.core.on_peer_up(cx, peer))
            }
            Input::PeerFrame(peer, frame) => Some(self.core.on_peer_frame(cx, peer, &frame)),
            Input::PeerDown(peer, generation) => {
                if self.peers.get(&peer).is_some_and(|(current, _)| *current == generation) {
                    info!(peer = peer.number(), "link to leader down");
                    self.peers.remove(&peer);
                    self.core.on_peer_down(peer);
                }
                None
            }
        }
    }

    /// Does what the operator left in the inbox; a request is deleted once its outcome is durable.
    fn on_inbox(&mut self, cx: &mut Cx<'_>, observe: &mut impl FnMut(&Event)) -> Result<(), LeaderError> {
        let inbox = match read_requests(&self.folder) {
            Ok(inbox) => inbox,
            Err(error) => {
                warn!(%error, "the operator's inbox cannot be read");
                return Ok(());
            }
        };
        inbox.refused.iter().for_each(|error| warn!(%error, "a file in the operator's inbox was refused"));
        for waiting in inbox.waiting {
            let young = cx.now.since_start().min(waiting.age()) < ORDER_PATIENCE;
            let step = match self.on_request(cx, waiting.request.clone()) {
                Err(Rejected::NotAMember(_)) if young => continue,
                outcome => outcome.inspect_err(|error| warn!(%error, "operator's request rejected")).ok(),
            };
            self.carry_out(step.into_iter().collect(), observe)?;
            if let Err(error) = waiting.done() {
                warn!(%error, "a request of the operator stays in the inbox");
            }
        }
        Ok(())
    }

    fn on_request(&mut self, cx: &mut Cx<'_>, request: OperatorRequest) -> Result<Step, Rejected> {
        let command = match request {
            OperatorRequest::Accept(record) => Command::Enrol(record),
            OperatorRequest::Expel(user) => Command::Expel(user),
            OperatorRequest::Refresh => Command::Refresh,
        };
        self.core.on_command(cx, command)
    }

    /// Carries out steps in order; what they persist is durable before anything of them is sent.
    fn carry_out(&mut self, steps: Vec<Step>, observe: &mut impl FnMut(&Event)) -> Result<(), LeaderError> {
        let records: Vec<&Record> = steps
            .iter()
            .flat_map(|step| &step.effects)
            .filter_map(|effect| match effect {
                Effect::Persist(record) => Some(record),
                _ => None,
            })
            .collect();
        if !records.is_empty() {
            self.store.persist(&records)?;
        }
        for step in steps {
            step.effects.into_iter().for_each(|effect| self.execute(effect));
            step.events.iter().for_each(|event| {
                debug!(?event);
                observe(event);
            });
        }
        Ok(())
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(_) => {}
            Effect::Send(link, class, frame) => self.send(link, class, frame),
            Effect::Relay(links, class, frame) => {
                for link in links {
                    self.send(link, class, frame.clone());
                }
            }
            Effect::SendPeer(peer, frame) => {
                if let Some((_, sender)) = self.peers.get(&peer) {
                    let _ = sender.send(link::Class::Control, frame);
                }
            }
            Effect::Authenticated(link) => {
                if let Some(sender) = self.members.get(&link) {
                    sender.authenticated();
                    self.links.register(sender);
                }
            }
            Effect::Close(link) => {
                if let Some(sender) = self.members.get(&link) {
                    sender.close();
                }
            }
        }
    }

    fn send(&self, link: LinkId, class: Class, frame: Bytes) {
        let class = match class {
            Class::Control => link::Class::Control,
            Class::Data => link::Class::Data,
            Class::Live => link::Class::Live,
        };
        if let Some(sender) = self.members.get(&link) {
            // A full data queue means a slow member, which will notice its gap; a dead link reports itself.
            let _ = sender.send(class, frame);
        }
    }
}
