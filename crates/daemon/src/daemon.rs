//! A leader with all that is around it: prepared first, put into its sandbox, run at last.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringfort::protocol::leader::Event;
use ringfort_node::folder::OpenLeader;
use ringfort_node::leader::{LeaderError, LeaderOptions, Told, run_leader};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::audit::{Audit, Decision};
use crate::config::Config;
use crate::hooks::Hooks;
use crate::http::Doors;
use crate::names::Names;
use crate::notify::Notifier;
use crate::places;
use crate::sandbox::{self, Needs};
use crate::state::{Facts, State};

/// Why a leader's daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration asks for what cannot be.
    #[error("{0}")]
    Config(String),
    /// The configuration requires a sandbox.
    #[error(
        "the configuration requires a sandbox, and there is none ({0}): use a newer kernel, or set required = false"
    )]
    Sandbox(String),
    /// The leader itself.
    #[error(transparent)]
    Leader(#[from] LeaderError),
    /// The system.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// The commands that start what runs outside a leader's sandbox.
#[derive(Debug)]
pub struct Helpers {
    /// Runs [`hooks::run`](crate::hooks::run).
    pub hooks: Command,
    /// Runs [`names::run`](crate::names::run).
    pub names: Command,
}

/// A leader that has everything open that it will need, and does not run yet.
pub struct Daemon {
    config: Config,
    open: OpenLeader,
    options: LeaderOptions,
    needs: Needs,
    sandbox: String,
    audit: Audit,
    hooks: Hooks,
    names: Option<Names>,
    doors: Doors,
    notifier: Notifier,
}

impl Daemon {
    /// Opens what a leader will need. `path` is where its configuration was read.
    ///
    /// # Errors
    /// What the configuration names cannot be had.
    pub fn prepare(
        (config, path): (Config, &Path),
        open: OpenLeader,
        listen: Option<SocketAddr>,
        helpers: Helpers,
    ) -> Result<Self, DaemonError> {
        config.check_for(&open.group, path, &open.path).map_err(DaemonError::Config)?;
        let me = open.secrets.id;
        let listen = match listen.or(config.listen_address().map_err(io::Error::other)?) {
            Some(address) => Some(address),
            None => own_address(&open),
        };
        let folder = open.path.canonicalize()?;
        let audit = Audit::open(&config, &folder, me.number(), &open.group.name).map_err(DaemonError::Config)?;
        let doors = Doors::open(&config.status, &folder).map_err(DaemonError::Config)?;
        let hooks = Hooks::start(&config.hooks, helpers.hooks)?;
        let names = Names::start(&open.group, me, helpers.names)?;
        let mut needs = Needs { folders: places::written(&config, &folder), ..Needs::default() };
        needs.listens.extend(listen.map(|address| address.port()));
        needs.connect_to_leaders(&open.group, me);
        let options = config.options(listen);
        let notifier = Notifier::from_environment()?;
        Ok(Daemon { config, open, options, needs, sandbox: "off".to_owned(), audit, hooks, names, doors, notifier })
    }

    /// The leader's number and its group's fingerprint.
    pub fn identity(&self) -> (u8, String) {
        (self.open.secrets.id.number(), self.open.group.fingerprint())
    }

    /// Where it answers over HTTP.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.doors.http_address()
    }

    /// How the sandbox is, in a word.
    pub fn sandbox(&self) -> &str {
        &self.sandbox
    }

    /// Puts this thread, and those that it starts from then on, into the sandbox, unless the configuration says no.
    ///
    /// # Errors
    /// A sandbox that is required and not all there.
    pub fn enter_sandbox(&mut self, wanted: bool) -> Result<(), DaemonError> {
        if !wanted || !self.config.sandbox.enabled {
            let told = "no sandbox: whoever takes this process over has all that its user may do on this machine";
            return if self.config.sandbox.required {
                Err(DaemonError::Sandbox("it was switched off".to_owned()))
            } else {
                warn!("{told}");
                Ok(())
            };
        }
        let enforcement = sandbox::enter(&self.needs);
        self.sandbox = enforcement.word().to_owned();
        match enforcement.word() {
            "enforced" => info!(%enforcement, "sandbox"),
            _ if self.config.sandbox.required => return Err(DaemonError::Sandbox(enforcement.to_string())),
            _ => warn!(%enforcement, "sandbox"),
        }
        Ok(())
    }

    /// Runs the leader until `shutdown` completes.
    ///
    /// # Errors
    /// As [`run_leader`].
    pub async fn run(
        self,
        mut observe: impl FnMut(&Told<'_>) + Send,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), DaemonError> {
        let Daemon { config, open, mut options, sandbox, audit, hooks, names, doors, notifier, .. } = self;
        let facts = Facts::new(&open.group, open.secrets.id.number(), sandbox.clone(), options.report_period);
        let state = Arc::new(State::new(facts));
        // It ends with the driver, which then asks for nothing more.
        options.lookup = names.map(Names::serve).transpose()?;
        let serving = doors.serve(&config.status, state.clone())?;
        let audit = Arc::new(Mutex::new(audit));
        lock(&audit).write(&Decision::Started { version: env!("CARGO_PKG_VERSION"), sandbox });
        // A file that may not grow is an error to be told, and not the end without a word.
        let _told = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
        let reopening = reopen_on_hangup(audit.clone())?;
        let mut watcher = Watcher { state, audit, hooks, notifier };
        let observe = |told: &Told<'_>| {
            watcher.take(told);
            observe(told);
        };
        let outcome = run_leader(open, options, observe, shutdown).await;
        reopening.abort();
        drop(serving);
        Ok(outcome?)
    }
}

/// The address in the group file, looked up while that is still possible.
fn own_address(open: &OpenLeader) -> Option<SocketAddr> {
    let address = &open.group.leader(open.secrets.id)?.address;
    address.to_socket_addrs().ok()?.next()
}

fn reopen_on_hangup(audit: Arc<Mutex<Audit>>) -> io::Result<tokio::task::JoinHandle<()>> {
    let mut hangups = signal(SignalKind::hangup())?;
    Ok(tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            lock(&audit).reopen();
        }
    }))
}

/// Passes on what the leader tells, in its order.
struct Watcher {
    state: Arc<State>,
    audit: Arc<Mutex<Audit>>,
    hooks: Hooks,
    notifier: Notifier,
}

impl Watcher {
    fn take(&mut self, told: &Told<'_>) {
        self.state.take(told);
        if let Some(decision) = Decision::of(told) {
            lock(&self.audit).write(&decision);
        }
        match told {
            Told::Listening(_) => self.notifier.ready(),
            Told::Stopping => self.notifier.stopping(),
            Told::Event(Event::Blamed(culprit, fault)) if self.hooks.wants(culprit, *fault) => {
                if let Ok(line) = serde_json::to_string(&Decision::blamed(culprit, *fault)) {
                    self.hooks.run(culprit, &line);
                }
            }
            Told::Report(report) => {
                let up = report.peers.values().filter(|peer| peer.up).count();
                self.notifier.alive(&format!("{} members, {up} links to other leaders", report.core.members));
                let (lost, bytes) = {
                    let audit = lock(&self.audit);
                    (audit.lost(), audit.bytes())
                };
                self.state.take_counts(lost, bytes, self.hooks.counts());
            }
            _ => {}
        }
    }
}

fn lock(audit: &Mutex<Audit>) -> MutexGuard<'_, Audit> {
    audit.lock().unwrap_or_else(PoisonError::into_inner)
}
