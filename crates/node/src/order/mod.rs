//! The driver of the ordering service: moves frames between links and the agreement core, and makes durable what the core
//! asks to be, before it sends what stands on it.
//!
//! It runs on a thread of its own beside the leader's loop, on the same links, and is there where the group's policy says
//! `order`. What takes the entries of the log is a [`Machine`]: the group's services, unless whoever runs a leader gives
//! another, which puts messages in by a [`Submitter`]. A group that has nothing to order costs a status of some bytes every
//! two seconds, and no disk.
//!
//! Architecture invariant: no protocol decision is taken here.

mod core;
mod inbox;
mod journal;
mod services;
mod thread;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use ringfort_agreement::keys::LeaderKeys;
use ringfort_agreement::limits::Config;
use ringfort_agreement::rules::Rules;
use ringfort_agreement::sequence::Entry;
use ringfort_agreement::{Author, Digest};
use ringfort_protocol::group::{GroupInfo, LeaderSecrets};
use ringfort_protocol::{LeaderId, wire};

pub use self::core::{CoreFigures, OrderCore};
use self::inbox::{Change, Inbox};
pub use self::journal::{Journal, Opened};
pub(crate) use self::services::{Answered, Services};
use crate::folder::STATE_FOLDER;
use ringfort_link::LinkSender;

/// The folder of the journal, below a leader's `state/`.
const FOLDER: &str = "order";
/// Frames up to this length may share their memory with many others that arrived with them.
const SHARED_BYTES_MAX: usize = 64 * 1024;

/// Takes the log of a group, entry after entry: the same at every honest leader.
///
/// What it does must depend on the entries alone: leaders compare their states.
pub trait Machine: Send {
    /// The next entry.
    fn on_entry(&mut self, entry: &Entry);
    /// The state behind all entries so far, at most some tens of megabytes.
    fn state(&mut self) -> Vec<u8>;
    /// The state behind entries that are not shown: the next entry is `index`.
    fn install(&mut self, index: u64, state: Vec<u8>);
    /// Own messages of which nobody knows whether they are in the log or will be.
    fn on_uncertain(&mut self, _messages: Vec<Vec<u8>>) {}
}

/// Puts messages into the order. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Submitter {
    inbox: Arc<Inbox>,
}

impl Submitter {
    /// Takes messages as far as there is room; the others come back, to be tried again later. One that is longer than
    /// [`MESSAGE_BYTES_MAX`](ringfort_agreement::limits::MESSAGE_BYTES_MAX) always comes back.
    ///
    /// What is taken is in the log of every honest leader some day, once, unless this leader stops before.
    #[must_use = "what comes back was not taken"]
    pub fn submit(&self, messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        self.inbox.submit(messages)
    }
}

/// How the ordering service of a leader is: numbers, no names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The highest round of which a quorum's blocks are here.
    pub round: u64,
    /// Committed blocks in the log.
    pub position: u64,
    /// Entries in the log.
    pub entries: u64,
    /// Bytes held in blocks, states and queues.
    pub bytes: u64,
    /// Whether this leader comes to its peers' state first.
    pub is_catching_up: bool,
    /// Frames from leaders.
    pub frames_in: u64,
    /// Frames for leaders.
    pub frames_out: u64,
    /// Frames that a leader was too slow for: it asks for what it needs.
    pub frames_dropped: u64,
    /// Times that something was made durable.
    pub syncs: u64,
    /// What they took together.
    pub sync_time: Duration,
    /// What leaders did wrong.
    pub faults: u64,
}

/// Why the ordering service stopped.
#[derive(Debug, thiserror::Error)]
#[error("{path}: what was ordered could not be made durable: {source}. Look whether the disk is full or failing")]
pub struct OrderError {
    /// The journal.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Makes a machine.
pub type MakeMachine = Box<dyn FnOnce(Submitter) -> Box<dyn Machine> + Send>;

/// What runs beside a leader: how to build it.
pub struct Ordering {
    /// Makes the machine, given the way to submit; `None` for the group's services, which members ask.
    pub machine: Option<MakeMachine>,
    /// Puts something in the core's place, in tests.
    pub core: Box<dyn FnOnce(ringfort_agreement::Agreement, Arc<LeaderKeys>) -> Box<dyn OrderCore> + Send>,
    /// Changes the configuration, in tests.
    pub config: Box<dyn FnOnce(&mut Config) + Send>,
}

impl Default for Ordering {
    fn default() -> Self {
        Ordering { machine: None, core: Box::new(|core, _| Box::new(core)), config: Box::new(|_| {}) }
    }
}

impl Ordering {
    /// The service with a machine.
    pub fn with(machine: impl FnOnce(Submitter) -> Box<dyn Machine> + Send + 'static) -> Self {
        Ordering { machine: Some(Box::new(machine)), ..Ordering::default() }
    }
}

/// The place of a leader among the authors.
fn author(leader: LeaderId) -> Option<Author> {
    Author::new(leader.number().checked_sub(1)?)
}

/// The order of a group has its name.
fn epoch(group: &GroupInfo) -> Digest {
    Digest::of("ringfort agreement epoch v1", &group.id().0)
}

/// Makes the journal of a leader that has never run, below its new `state/`.
pub(crate) fn create(state: &Path, group: &GroupInfo) -> io::Result<()> {
    Journal::create(&state.join(FOLDER), epoch(group))
}

/// The way from a leader's links to the thread that orders. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    inbox: Arc<Inbox>,
}

impl Door {
    /// Takes a frame if it is one of this service; it waits for room, and with it the link that it came over.
    pub async fn takes(&self, from: LeaderId, frame: &Bytes) -> bool {
        let (Some(frame), Some(author)) = (wire::ordered(frame), author(from)) else { return false };
        let frame = if frame.len() <= SHARED_BYTES_MAX { Bytes::copy_from_slice(&frame) } else { frame };
        self.inbox.push(author, frame).await;
        true
    }
}

/// The running service of one leader.
pub(crate) struct Order {
    inbox: Arc<Inbox>,
    shared: Arc<Mutex<Shared>>,
    services: Option<Services>,
    thread: Option<JoinHandle<Result<(), OrderError>>>,
}

/// What the thread tells.
#[derive(Debug, Default)]
struct Shared {
    figures: Figures,
    failed: bool,
}

impl Order {
    /// Opens the journal of the leader's folder, and starts the thread.
    pub fn start(
        folder: &Path,
        group: &GroupInfo,
        secrets: &LeaderSecrets,
        ordering: Ordering,
    ) -> Result<Self, OrderError> {
        let path = folder.join(STATE_FOLDER).join(FOLDER);
        let failed = |source| OrderError { path: path.clone(), source };
        let epoch = epoch(group);
        let Opened { journal, memory } = Journal::open(&path, epoch).map_err(failed)?;
        let unfit = || failed(io::Error::other("the group has more leaders than can order"));
        let me = author(secrets.id).ok_or_else(unfit)?;
        let rules = Rules::new(group.rules.n(), group.rules.f()).map_err(|error| failed(io::Error::other(error)))?;
        let keys = Arc::new(LeaderKeys::new(
            epoch,
            secrets.signing.clone(),
            group.leaders.iter().map(|leader| leader.signing_key).collect(),
            group.coin_keys.clone(),
            secrets.coin_share.clone(),
        ));
        let mut config = Config::new(me, epoch, rules);
        (ordering.config)(&mut config);
        let inbox = Arc::new(Inbox::new(group.leaders.len()));
        let shared = Arc::new(Mutex::new(Shared::default()));
        let submitter = Submitter { inbox: inbox.clone() };
        let (machine, services) = match ordering.machine {
            Some(make) => (make(submitter), None),
            None => {
                let (machine, services) = services::start(group, secrets.id, submitter);
                (Box::new(machine) as Box<dyn Machine>, Some(services))
            }
        };
        let parts =
            thread::Parts { journal, path: path.clone(), inbox: inbox.clone(), shared: shared.clone(), machine };
        let started = thread::start(parts, (config, keys, memory), ordering.core).map_err(failed)?;
        Ok(Order { inbox, shared, services, thread: Some(started) })
    }

    /// For the tasks that read links.
    pub fn door(&self) -> Door {
        Door { inbox: self.inbox.clone() }
    }

    /// The link to a leader is there.
    pub fn on_peer_up(&self, peer: LeaderId, sender: LinkSender) {
        if let Some(author) = author(peer) {
            self.inbox.change(Change::Up(author, sender));
        }
    }

    /// The link to a leader is gone.
    pub fn on_peer_down(&self, peer: LeaderId) {
        if let Some(author) = author(peer) {
            self.inbox.change(Change::Down(author));
        }
    }

    /// The group's services, if they are what takes the log here.
    pub fn services(&mut self) -> Option<&mut Services> {
        self.services.as_mut()
    }

    /// How it is.
    pub fn figures(&self) -> Figures {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).figures
    }

    /// An error once the service has stopped by itself.
    pub fn check(&mut self) -> Result<(), OrderError> {
        let failed = self.shared.lock().unwrap_or_else(PoisonError::into_inner).failed;
        if failed { self.join() } else { Ok(()) }
    }

    /// Ends, when all that was asked to be durable is.
    pub fn stop(mut self) -> Result<(), OrderError> {
        self.inbox.stop();
        self.join()
    }

    fn join(&mut self) -> Result<(), OrderError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        self.inbox.stop();
    }
}
