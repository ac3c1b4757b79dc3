//! The driver: the core of a stay's transfers behind a lock, one task that sends, and a thread for each file in the making.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ringfort::protocol::policy::Service;
use ringfort::protocol::{Rejected, Role, Time, UserName};
use ringfort::{Event, Group, SendError};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::debug;

use crate::core::limits::Limits;
use crate::core::{Action, Effect, Exchange, Job, Number, Outbound, Refused, To, Transfer, What};
use crate::disk::{self, Ask};
use crate::folder::Folder;
use crate::partners::{partners, takes_part};

/// Behind a topic: what this service says on its behalf. No page and no program can send there.
const MARK: &str = "=file";
/// After something could not be sent.
const SEND_AGAIN: Duration = Duration::from_millis(100);
/// The list is told anew at most this often.
const TICK: Duration = Duration::from_millis(250);
/// Read at once from a file that is sent.
const READ_BYTES: u64 = 512 * 1024;

/// How files are exchanged.
#[derive(Clone, Debug)]
pub struct FilesOptions {
    /// Where complete files go; the user's own folder of downloads if it is missing.
    pub folder: Option<PathBuf>,
    /// Every bound.
    pub limits: Limits,
    /// Topics on whose behalf files are exchanged; what comes for others is thrown away. Default: `files`.
    pub topics: Vec<String>,
}

impl Default for FilesOptions {
    fn default() -> Self {
        FilesOptions { folder: None, limits: Limits::default(), topics: vec!["files".to_owned()] }
    }
}

/// Why something about files did not work.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// No folder to put files in.
    #[error("there is no folder for files: say which")]
    NoFolder,
    /// The folder.
    #[error("the folder {0} cannot be used for files: {1}")]
    Folder(PathBuf, std::io::Error),
    /// A file.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// What was to be sent did not come as it was announced.
    #[error("the file did not come whole: {0}")]
    Upload(String),
    /// A file goes between members that send and receive.
    #[error("{0} has the role {1} in this group, and only members that send and receive exchange files")]
    Role(UserName, Role),
    /// The core.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// All transfers of a stay. Dropping it ends them; parts stay on the disk.
#[derive(Debug)]
pub struct Files {
    pub(crate) shared: Arc<Shared>,
    topics: Vec<String>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub group: Group,
    pub folder: Arc<Folder>,
    start: Instant,
    exchange: Mutex<Exchange>,
    jobs: Mutex<BTreeMap<Job, UnboundedSender<Ask>>>,
    sources: Mutex<BTreeMap<Number, Arc<File>>>,
    /// There may be something to send.
    work: Notify,
    changed: watch::Sender<u64>,
}

impl Files {
    /// Starts with the folder of the options.
    ///
    /// # Errors
    /// [`FilesError`], if there is no folder or it cannot be used.
    pub fn start(group: Group, options: FilesOptions) -> Result<Self, FilesError> {
        let folder = options.folder.or_else(dirs::download_dir).or_else(|| Some(dirs::home_dir()?.join("Downloads")));
        let folder = folder.ok_or(FilesError::NoFolder)?;
        let owner = *blake3::hash(format!("{} {}", group.info().fingerprint(), group.user()).as_bytes()).as_bytes();
        let folder = Folder::open(&folder, owner).map_err(|error| FilesError::Folder(folder, error))?;
        let bytes_max = group.info().policy.message_bytes_max;
        let mut exchange = Exchange::new(group.user().clone(), bytes_max, options.limits);
        // There are no transfers yet, so nothing follows from it.
        drop(exchange.on_members(Time::ZERO, partners(&group)));
        let shared = Arc::new(Shared {
            group,
            folder: Arc::new(folder),
            start: Instant::now(),
            exchange: Mutex::new(exchange),
            jobs: Mutex::default(),
            sources: Mutex::default(),
            work: Notify::new(),
            changed: watch::Sender::new(0),
        });
        let tasks = [tokio::spawn(send_all(shared.clone())), tokio::spawn(tick(shared.clone()))];
        Ok(Files { shared, topics: options.topics, tasks })
    }

    /// An event of the stay. True if it was about files, and for nobody else.
    pub fn on_event(&self, event: &Event) -> bool {
        match event {
            Event::Message(message) => {
                let Some(topic) = message.topic.strip_suffix(MARK) else { return false };
                if takes_part(&self.shared.group, self.shared.group.user())
                    && self.topics.iter().any(|known| known == topic)
                {
                    self.shared.step(|x, now| x.on_message(now, &message.sender, topic, &message.payload));
                }
                true
            }
            Event::View { left, .. } => {
                let members = partners(&self.shared.group);
                // Who logged in anew is not who was there: it knows of no offer, and is told again.
                let stay = members.iter().filter(|user| left.iter().all(|(gone, _)| gone != *user)).cloned();
                let stay: Vec<UserName> = stay.collect();
                if stay.len() < members.len() {
                    self.shared.step(|exchange, now| exchange.on_members(now, stay));
                }
                self.shared.step(|exchange, now| exchange.on_members(now, members));
                false
            }
            Event::Lagged(_) => {
                let members = partners(&self.shared.group);
                self.shared.step(|exchange, now| exchange.on_members(now, members));
                false
            }
            Event::Ended(_) => {
                self.shared.step(|exchange, now| exchange.on_members(now, []));
                false
            }
            _ => false,
        }
    }

    /// Offers a file of this machine on a topic, to all (`to` is empty) or to some. It is read in the background.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn send_path(&self, topic: &str, to: &[UserName], path: &Path) -> Result<Number, FilesError> {
        self.check_roles(to)?;
        let failed = |error| FilesError::File(path.to_owned(), error);
        // Looked at before it is opened: opening a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(failed(std::io::Error::other("it is no file")));
        }
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let number = self.shared.exchange().prepare(topic, to, &name, metadata.len())?;
        let (shared, file) = (self.shared.clone(), Arc::new(file));
        tokio::task::spawn_blocking(move || crate::upload::hash(&shared, number, &file, metadata.len()));
        self.shared.tell();
        Ok(number)
    }

    /// The user does something with a transfer of a topic.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn act(&self, topic: &str, number: Number, action: Action) -> Result<(), Refused> {
        let now = self.shared.now();
        let effects = self.shared.exchange().act(now, topic, number, action)?;
        self.shared.carry_out(effects);
        self.shared.tell();
        Ok(())
    }

    /// The transfers of a topic, the oldest first.
    pub fn list(&self, topic: &str) -> Vec<Transfer> {
        let now = self.shared.now();
        self.shared.exchange().list(now, topic)
    }

    /// Changes when a list may have changed.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// A complete file of a topic: its path.
    pub fn path(&self, topic: &str, number: Number) -> Option<PathBuf> {
        self.shared.exchange().path(topic, number).map(PathBuf::from)
    }

    /// The folder of complete files.
    pub fn folder(&self) -> &Path {
        self.shared.folder.complete()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        // The threads of the jobs end with their channels.
        lock(&self.shared.jobs).clear();
    }
}

impl Shared {
    pub fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    pub fn exchange(&self) -> MutexGuard<'_, Exchange> {
        lock(&self.exchange)
    }

    /// Lets the core work, and does what it wants.
    pub fn step(self: &Arc<Self>, work: impl FnOnce(&mut Exchange, Time) -> Vec<Effect>) {
        let now = self.now();
        let effects = work(&mut self.exchange(), now);
        self.carry_out(effects);
    }

    pub fn carry_out(self: &Arc<Self>, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Find(number, part) if self.folder.finds(&part) => {
                    self.step(|exchange, _| exchange.on_found(number));
                }
                Effect::Find(..) => {}
                Effect::Open(job, part, chunk_bytes) => {
                    // Known before its thread runs: that has something to ask of itself at once if the file is empty.
                    let (asks, asked) = unbounded_channel();
                    lock(&self.jobs).insert(job, asks);
                    disk::start(self, job, part, chunk_bytes, asked);
                }
                Effect::Write(job, pieces) => self.ask(job, Ask::Write(pieces)),
                Effect::Hash(job) => self.ask(job, Ask::Hash),
                Effect::Publish(job, name) => self.ask(job, Ask::Publish(name)),
                Effect::Discard(job) => {
                    self.ask(job, Ask::Discard);
                    lock(&self.jobs).remove(&job);
                }
                Effect::Close(job) => drop(lock(&self.jobs).remove(&job)),
                Effect::Release(number) => drop(lock(&self.sources).remove(&number)),
            }
        }
        self.work.notify_one();
    }

    fn ask(&self, job: Job, ask: Ask) {
        if let Some(asks) = lock(&self.jobs).get(&job) {
            // A thread that has ended has told why.
            let _ = asks.send(ask);
        }
    }

    /// A file is ready to be read from.
    pub fn keep_source(&self, number: Number, file: Arc<File>) {
        lock(&self.sources).insert(number, file);
    }

    /// The list may have changed.
    pub fn tell(&self) {
        self.changed.send_modify(|version| *version += 1);
    }
}

/// Tells the list while something moves, and once after.
async fn tick(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(TICK);
    let mut last = Vec::new();
    loop {
        ticks.tick().await;
        let now = shared.now();
        let all = shared.exchange().all(now);
        if all != last {
            last = all;
            shared.tell();
        }
    }
}

/// Sends whatever the core has to send, for as long as the stay lasts.
async fn send_all(shared: Arc<Shared>) {
    let mut ahead = Ahead::default();
    loop {
        let now = shared.now();
        let (outbound, wakeup) = {
            let mut exchange = shared.exchange();
            if exchange.next_wakeup().is_some_and(|at| at <= now) {
                exchange.on_wakeup(now);
            }
            (exchange.next_outbound(now), exchange.next_wakeup())
        };
        let Some(outbound) = outbound else {
            let rest = wakeup.map_or(Duration::from_secs(60), |at| at.since(now)).max(Duration::from_millis(5));
            let _ = tokio::time::timeout(rest, shared.work.notified()).await;
            continue;
        };
        match send(&shared, &mut ahead, &outbound).await {
            Ok(()) => {}
            Err(SendError::Ended) => return,
            Err(error) => {
                debug!(%error, "a message about files was not sent");
                // Somebody who has just left is soon out of the core's sight too.
                let (gone, rest) = match error {
                    SendError::Rejected(Rejected::NotAMember(user)) => (Some(user), SEND_AGAIN / 20),
                    _ => (None, SEND_AGAIN),
                };
                shared.exchange().on_unsent(shared.now(), outbound, gone.as_ref());
                tokio::time::sleep(rest).await;
            }
        }
    }
}

async fn send(shared: &Arc<Shared>, ahead: &mut Ahead, outbound: &Outbound) -> Result<(), SendError> {
    let topic = format!("{}{MARK}", outbound.topic);
    // A lost piece is asked for again by whoever needs it; nobody keeps it for that.
    let (payload, service) = match &outbound.what {
        What::Message(bytes) => (bytes.clone(), Service::Fifo),
        What::Chunk { number, head, offset, len, .. } => {
            let read = ahead.read(shared, *number, *offset, *len).await;
            let Some(bytes) = read else { return Ok(()) };
            ([head.as_slice(), &bytes].concat(), Service::BestEffort)
        }
    };
    match &outbound.to {
        To::Group => shared.group.multicast_with(service, &topic, &payload).await,
        To::Only(to) => shared.group.send_to(to, &topic, &payload).await,
    }
}

/// What was read of the file that is sent, beyond the piece in hand.
#[derive(Default)]
struct Ahead {
    number: Number,
    offset: u64,
    bytes: Bytes,
}

impl Ahead {
    /// A piece of a file; `None`, and the file is given up, if it cannot be read.
    async fn read(&mut self, shared: &Arc<Shared>, number: Number, offset: u64, len: usize) -> Option<Bytes> {
        if let Some(piece) = self.get(number, offset, len) {
            return Some(piece);
        }
        let source = lock(&shared.sources).get(&number).cloned()?;
        let read = tokio::task::spawn_blocking(move || read_at(&source, offset, len)).await;
        match read {
            Ok(Ok(bytes)) => {
                *self = Ahead { number, offset, bytes };
                self.get(number, offset, len)
            }
            _ => {
                let why = "the file cannot be read any more: it has changed, or its disk is gone".to_owned();
                shared.step(|exchange, _| exchange.on_unprepared(number, why));
                None
            }
        }
    }

    fn get(&self, number: Number, offset: u64, len: usize) -> Option<Bytes> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        let end = start.checked_add(len)?;
        (self.number == number && end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }
}

/// At least `len` bytes, and what follows if it is there.
fn read_at(file: &File, offset: u64, len: usize) -> std::io::Result<Bytes> {
    let left = file.metadata()?.len().saturating_sub(offset);
    let wanted = usize::try_from(left.min(READ_BYTES)).unwrap_or(len).max(len);
    let mut bytes = vec![0; wanted];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.into())
}

/// A thread that panicked leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
