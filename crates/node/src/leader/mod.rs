//! The driver of a leader: moves frames between links and the protocol core, and makes durable what
//! the core asks to be.
//!
//! Architecture invariant: no protocol decision is taken here.

mod core;
mod driver;
mod links;
mod lookup;
mod meter;
mod orders;
mod renewing;
mod told;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringfort_protocol::leader::{Leader, Record};
use ringfort_protocol::time::earliest;
use ringfort_protocol::{Cx, GroupInfo};
use tokio::time::MissedTickBehavior;
use tracing::info;

pub use self::core::LeaderCore;
use self::driver::Driver;
use self::links::Links;
pub use self::lookup::{Found, Lookup};
use self::meter::Meter;
pub use self::told::{PeerReport, Report, Told, Traffic};
use crate::folder::OpenLeader;
use crate::order::{Answered, Order, OrderError, Ordering};
use crate::store::StoreError;
use ringfort_documents::FileError;
use ringfort_link::{AcceptLimits, LinkError, LinkLimits};
use ringfort_runtime::Outside;
/// What a renewal of the leaders' shares tells.
pub use ringfort_setup::renewal;

/// How a leader runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderOptions {
    /// Where to listen, if not at the address in the group file (behind a forwarder, say).
    pub listen: Option<SocketAddr>,
    /// Bounds for peers that have not logged in.
    pub accept: AcceptLimits,
    /// Bounds of one link.
    pub link: LinkLimits,
    /// Bounds of what waits for the core.
    pub inputs: InputLimits,
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
            inputs: InputLimits::default(),
            batch_max: 64,
            inbox_period: Duration::from_millis(500),
            order_patience: Duration::from_secs(30),
            report_period: Duration::from_secs(1),
            lookup: None,
        }
    }
}

/// What may wait for the leader's core, in bytes, with 64 for each input. Whoever fills its own queue waits, by TCP,
/// and nobody else. Beyond these bounds, one frame of each link may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputLimits {
    /// Of each other leader. Default 2 MiB.
    pub leader_bytes_max: usize,
    /// Of each member. Default 1 MiB.
    pub member_bytes_max: usize,
    /// Of all members together. Default 32 MiB.
    pub members_bytes_max: usize,
    /// Of all links together that have not logged in. Default 1 MiB.
    pub strangers_bytes_max: usize,
}

impl Default for InputLimits {
    fn default() -> Self {
        InputLimits {
            leader_bytes_max: 2 * 1024 * 1024,
            member_bytes_max: 1024 * 1024,
            members_bytes_max: 32 * 1024 * 1024,
            strangers_bytes_max: 1024 * 1024,
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
    /// What was kept of renewals cannot be read or written.
    #[error(transparent)]
    Renewal(#[from] FileError),
    /// The order could not be kept: a leader that cannot remember its blocks must not make any.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The address in the group file means nothing here.
    #[error("the leader's address {0} in the group file cannot be looked up now: try again, or use --listen HOST:PORT")]
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
    run_leader_ordering(folder, options, Ordering::default(), observe, shutdown).await
}

/// Runs a leader that has a machine of its own, in place of the group's services, for what the group puts into one order
/// if its policy says so. All leaders need the same.
///
/// # Errors
/// As [`run_leader`].
pub async fn run_leader_ordering(
    folder: OpenLeader,
    options: LeaderOptions,
    ordering: Ordering,
    observe: impl FnMut(&Told<'_>) + Send,
    shutdown: impl Future<Output = ()>,
) -> Result<(), LeaderError> {
    let build = |cx: &mut Cx<'_>, group, secrets, records| -> Box<dyn LeaderCore> {
        Box::new(Leader::new(cx, group, secrets, records))
    };
    run_parts(folder, options, build, ordering, observe, shutdown).await
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
    observe: impl FnMut(&Told<'_>) + Send,
    shutdown: impl Future<Output = ()>,
) -> Result<(), LeaderError> {
    run_parts(folder, options, build, Ordering::default(), observe, shutdown).await
}

async fn run_parts(
    folder: OpenLeader,
    mut options: LeaderOptions,
    build: impl FnOnce(
        &mut Cx<'_>,
        Arc<GroupInfo>,
        ringfort_protocol::group::LeaderSecrets,
        Vec<Record>,
    ) -> Box<dyn LeaderCore>,
    ordering: Ordering,
    mut observe: impl FnMut(&Told<'_>) + Send,
    shutdown: impl Future<Output = ()>,
) -> Result<(), LeaderError> {
    let mut outside = Outside::start();
    let id = folder.secrets.id;
    let group = folder.group.clone();
    let order = match group.policy.order {
        true => Some(Order::start(&folder.path, &group, &folder.secrets, ordering)?),
        false => None,
    };
    options.link.relays = match group.policy.relays {
        0 => group.rules.relays(),
        relays => usize::from(relays),
    };
    let links = Links::start(&group, &folder.secrets, &options, order.as_ref().map(Order::door)).await?;
    info!(leader = id.number(), address = %links.address(), group = %group.fingerprint(), "listening");
    observe(&Told::Listening(links.address()));

    let records = folder.store.load()?;
    let renewal = renewing::start(&folder.path, &group, &folder.secrets, outside.clock.now())?;
    let core = build(&mut outside.cx(), group, folder.secrets, records);
    let mut driver = Driver {
        core,
        meter: Meter::start(),
        order_patience: options.order_patience,
        store: folder.store,
        folder: folder.path,
        members: BTreeMap::new(),
        asides: BTreeMap::new(),
        peers: BTreeMap::new(),
        links,
        renewal_due: renewal.next_wakeup(outside.clock.now()),
        renewal,
        renewed: Vec::new(),
        retired: BTreeMap::new(),
        order,
        stays_changed: true,
    };

    let mut inbox = every(options.inbox_period);
    let mut reports = every(options.report_period);
    tokio::pin!(shutdown);
    loop {
        let mut answered = None;
        let due = outside.due(earliest(driver.core.next_wakeup(), driver.renewal_due));
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            // Before the network's inputs: no flood of those keeps the operator waiting.
            _ = inbox.tick() => driver.on_inbox(&mut outside.cx(), &mut observe)?,
            _ = reports.tick() => {
                // A leader that cannot remember its blocks ends.
                driver.order.as_mut().map_or(Ok(()), Order::check)?;
                observe(&Told::Report(&driver.report(outside.clock.now())));
            }
            () = driver.links.inputs.ready() => tokio::task::consume_budget().await,
            answer = next_answer(&mut driver.order) => answered = Some(answer),
            () = tokio::time::sleep_until(due) => {}
        }
        let mut outcomes = Vec::new();
        if driver.core.next_wakeup().is_some_and(|time| time <= outside.clock.now()) {
            outcomes.push(driver.core.on_wakeup(&mut outside.cx()).into());
        }
        driver.answer(&mut outside.cx(), answered, &mut outcomes, options.batch_max);
        driver.serve(&mut outside, options.batch_max, &mut outcomes, &mut observe);
        driver.carry_out(outcomes, &mut observe)?;
        driver.tell_stays();
        driver.renew_if_due(&mut outside.cx());
        driver.carry_out_renewal(&mut observe)?;
    }
    observe(&Told::Stopping);
    driver.stop(&mut outside, options.batch_max, options.link.close_grace, &mut observe).await?;
    info!(leader = id.number(), "stopped");
    Ok(())
}

/// What the services answer next; never, where nothing is ordered.
async fn next_answer(order: &mut Option<Order>) -> Answered {
    match order.as_mut().and_then(Order::services) {
        Some(services) => services.answer().await,
        None => std::future::pending().await,
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
