//! The driver of a leader: moves frames between links and the protocol core, and makes durable what
//! the core asks to be.
//!
//! Architecture invariant: no protocol decision is taken here.

mod core;
mod links;
mod lookup;
mod meter;
mod told;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfort_protocol::leader::{Class, Command, Effect, Leader, Record, Step};
use ringfort_protocol::{Cx, GroupInfo, LeaderId, LinkId, Rejected};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

pub use self::core::LeaderCore;
use self::links::{Input, Links};
pub use self::lookup::{Found, Lookup};
use self::meter::Meter;
pub use self::told::{PeerReport, Report, Told, Traffic};
use crate::clock::{Clock, unix_ms};
use crate::files::{OpenLeader, OperatorRequest, OsRng, read_requests};
use crate::link::{self, AcceptLimits, LinkError, LinkLimits, LinkSender, SendError};
use crate::os_rng;
use crate::store::{Store, StoreError};

/// Beyond the grace of links that close.
const CLOSE_MARGIN: Duration = Duration::from_millis(250);

/// How a leader runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderOptions {
    /// Where to listen, if not at the address in the group file (behind a forwarder, say).
    pub listen: Option<SocketAddr>,
    /// Bounds for peers that have not logged in.
    pub accept: AcceptLimits,
    /// Bounds of one link.
    pub link: LinkLimits,
    /// Inputs waiting for the core. Readers wait when it is full, and TCP makes their peers wait. Default 1024.
    pub inputs_max: usize,
    /// Inputs whose records share one durable commit. Default 64.
    pub batch_max: usize,
    /// How often the operator's inbox is looked at. Default 500 ms.
    pub inbox_period: Duration,
    /// How long an order to expel somebody waits whom this leader does not know: it may still be catching up.
    /// Default 30 s.
    pub order_patience: Duration,
    /// How often a [`Report`] is told. Default 1 s.
    pub report_period: Duration,
    /// Who looks up the host names of other leaders. Default: the system, in this process.
    pub lookup: Option<Lookup>,
}

impl Default for LeaderOptions {
    fn default() -> Self {
        LeaderOptions {
            listen: None,
            accept: AcceptLimits::default(),
            link: LinkLimits::default(),
            inputs_max: 1024,
            batch_max: 64,
            inbox_period: Duration::from_millis(500),
            order_patience: Duration::from_secs(30),
            report_period: Duration::from_secs(1),
            lookup: None,
        }
    }
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
    observe: impl FnMut(&Told<'_>) + Send,
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
    mut observe: impl FnMut(&Told<'_>) + Send,
    shutdown: impl Future<Output = ()>,
) -> Result<(), LeaderError> {
    let clock = Clock::start();
    let id = folder.secrets.id;
    let group = folder.group.clone();
    let (inputs, mut received) = mpsc::channel(options.inputs_max.max(1));
    let links = Links::start(&group, &folder.secrets, &options, inputs).await?;
    info!(leader = id.number(), address = %links.address(), group = %group.fingerprint(), "listening");
    observe(&Told::Listening(links.address()));

    let mut rng = os_rng();
    let records = folder.store.load()?;
    let core = build(&mut Cx { now: clock.now(), unix_ms: unix_ms(), rng: &mut rng }, group, folder.secrets, records);
    let mut driver = Driver {
        core,
        clock,
        meter: Meter::start(),
        order_patience: options.order_patience,
        store: folder.store,
        folder: folder.path,
        members: BTreeMap::new(),
        peers: BTreeMap::new(),
        links,
    };

    let mut inbox = tokio::time::interval(options.inbox_period);
    inbox.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reports = tokio::time::interval(options.report_period);
    reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        let due = driver.core.next_wakeup().map_or_else(far_away, |time| clock.instant(time));
        let mut steps = Vec::new();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            // Before the network's inputs: no flood of those keeps the operator waiting.
            _ = inbox.tick() => {
                let mut cx = Cx { now: clock.now(), unix_ms: unix_ms(), rng: &mut rng };
                driver.on_inbox(&mut cx, &mut observe)?;
            }
            _ = reports.tick() => observe(&Told::Report(&driver.report(received.len()))),
            input = received.recv() => {
                let mut next = input;
                while let Some(input) = next {
                    let mut cx = Cx { now: clock.now(), unix_ms: unix_ms(), rng: &mut rng };
                    steps.extend(driver.on_input(&mut cx, input, &mut observe));
                    next = (steps.len() < options.batch_max).then(|| received.try_recv().ok()).flatten();
                }
            }
            () = tokio::time::sleep_until(due) => {}
        }
        if driver.core.next_wakeup().is_some_and(|time| time <= clock.now()) {
            let mut cx = Cx { now: clock.now(), unix_ms: unix_ms(), rng: &mut rng };
            steps.push(driver.core.on_wakeup(&mut cx));
        }
        driver.carry_out(steps, &mut observe)?;
    }
    observe(&Told::Stopping);
    driver.stop(&mut received, &mut rng, options.link.close_grace, &mut observe).await?;
    info!(leader = id.number(), "stopped");
    Ok(())
}

fn far_away() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(3600)
}

struct Driver {
    core: Box<dyn LeaderCore>,
    clock: Clock,
    meter: Meter,
    order_patience: Duration,
    store: Store,
    folder: PathBuf,
    members: BTreeMap<LinkId, LinkSender>,
    peers: BTreeMap<LeaderId, (u64, LinkSender)>,
    links: Links,
}

impl Driver {
    fn on_input(&mut self, cx: &mut Cx<'_>, input: Input, observe: &mut impl FnMut(&Told<'_>)) -> Option<Step> {
        self.meter.count(&input);
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
                observe(&Told::PeerUp(peer));
                if let Some((_, old)) = self.peers.insert(peer, (generation, sender)) {
                    old.close();
                }
                Some(self.core.on_peer_up(cx, peer))
            }
            Input::PeerFrame(peer, frame) => Some(self.core.on_peer_frame(cx, peer, &frame)),
            Input::PeerDown(peer, generation) => {
                if self.peers.get(&peer).is_some_and(|(current, _)| *current == generation) {
                    info!(peer = peer.number(), "link to leader down");
                    observe(&Told::PeerDown(peer));
                    self.peers.remove(&peer);
                    self.core.on_peer_down(peer);
                }
                None
            }
        }
    }

    /// Does what the operator left in the inbox; a request is deleted once its outcome is durable.
    fn on_inbox(&mut self, cx: &mut Cx<'_>, observe: &mut impl FnMut(&Told<'_>)) -> Result<(), LeaderError> {
        let inbox = match read_requests(&self.folder) {
            Ok(inbox) => inbox,
            Err(error) => {
                warn!(%error, "the operator's inbox cannot be read");
                return Ok(());
            }
        };
        for error in &inbox.refused {
            warn!(%error, "a file in the operator's inbox was refused");
            observe(&Told::OrderUnreadable(error));
        }
        for waiting in inbox.waiting {
            let young = cx.now.since_start().min(waiting.age()) < self.order_patience;
            let outcome = match self.on_request(cx, waiting.request.clone()) {
                Err(Rejected::NotAMember(_) | Rejected::OtherSession { .. }) if young => continue,
                // After so long the others know no more of the user than this one.
                Err(Rejected::NotAMember(user)) => self.core.on_command(cx, Command::Revoke(user)),
                outcome => outcome,
            };
            let step = match outcome {
                Err(error) => {
                    warn!(%error, "operator's request rejected");
                    observe(&Told::Order(&waiting.request, Err(&error)));
                    None
                }
                Ok(step) => Some(step),
            };
            if let Some(step) = step {
                self.carry_out(vec![step], observe)?;
                observe(&Told::Order(&waiting.request, Ok(())));
            }
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
            OperatorRequest::Session(order) => Command::Session(order),
        };
        self.core.on_command(cx, command)
    }

    /// Carries out steps in order; what they persist is durable before anything of them is sent.
    fn carry_out(&mut self, steps: Vec<Step>, observe: &mut impl FnMut(&Told<'_>)) -> Result<(), LeaderError> {
        let records: Vec<&Record> = steps
            .iter()
            .flat_map(|step| &step.effects)
            .filter_map(|effect| match effect {
                Effect::Persist(record) => Some(record),
                _ => None,
            })
            .collect();
        if !records.is_empty() {
            let started = Instant::now();
            self.store.persist(&records)?;
            self.meter.traffic.commits += 1;
            self.meter.traffic.commit_time += started.elapsed();
        }
        for step in steps {
            step.effects.into_iter().for_each(|effect| self.execute(effect));
            step.events.iter().for_each(|event| {
                debug!(?event);
                observe(&Told::Event(event));
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
                    self.meter.traffic.peer_frames_out += 1;
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

    fn send(&mut self, link: LinkId, class: Class, frame: Bytes) {
        let class = match class {
            Class::Control => link::Class::Control,
            Class::Data => link::Class::Data,
            Class::Live => link::Class::Live,
        };
        if let Some(sender) = self.members.get(&link) {
            // A full data queue means a slow member, which will notice its gap; a dead link reports itself.
            match sender.send(class, frame) {
                Err(SendError::Full) => self.meter.traffic.member_frames_dropped += 1,
                _ => self.meter.traffic.member_frames_out += 1,
            }
        }
    }

    /// Ends in order: no new links, what has come is answered, then members' links and leaders' links close, and the
    /// store is closed last. A peer that does not read holds it up for no longer than twice `grace` and a little.
    async fn stop(
        mut self,
        received: &mut mpsc::Receiver<Input>,
        rng: &mut OsRng,
        grace: Duration,
        observe: &mut impl FnMut(&Told<'_>),
    ) -> Result<(), LeaderError> {
        self.links.stop_listening();
        for _ in 0..received.len() {
            let Ok(input) = received.try_recv() else { break };
            let mut cx = Cx { now: self.clock.now(), unix_ms: unix_ms(), rng };
            let step = self.on_input(&mut cx, input, observe);
            self.carry_out(step.into_iter().collect(), observe)?;
        }
        close_all(self.members.values(), grace).await;
        close_all(self.peers.values().map(|(_, sender)| sender), grace).await;
        self.links.shutdown().await;
        Ok(())
    }
}

/// Closes links, and waits until the other ends have had what was queued for them, or time is up.
async fn close_all<'a>(links: impl Iterator<Item = &'a LinkSender>, grace: Duration) {
    let mut ending = JoinSet::new();
    for link in links {
        link.close();
        ending.spawn(link.ended());
    }
    // Who is late is cut off with the process.
    let _ = tokio::time::timeout(grace + CLOSE_MARGIN, ending.join_all()).await;
}
