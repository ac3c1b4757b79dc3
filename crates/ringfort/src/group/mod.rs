//! The group API: join, multicast, send to some, leave (I5).

mod calls;
mod credentials;
mod driver;
mod error;
mod event;
mod kv;
mod links;
mod succession;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringfort_protocol::motion::{Motion, MotionKind};
use ringfort_protocol::policy::Service;
use ringfort_protocol::view::Cause;
use ringfort_protocol::{GroupInfo, Topic, UserName};
use tokio::sync::watch::Receiver;
use tokio::sync::{mpsc, oneshot};

pub use calls::{Asked, CallError, Reply, Waiting};
pub use credentials::Credentials;
pub use error::{GroupEnded, JoinError, SendError};
pub use event::{Event, Events, LeaderState, Message, Snapshot};
pub use kv::{Changes, Committed, Kv, KvError, Leased, Page};
pub use watch::Watch;

use driver::{Command, Sent, Started};
use ringfort_documents::{LogFile, LogOptions};
use ringfort_link::{LinkLimits, LinkSender, pace};

/// How long a leave waits for what is under way.
const FLUSH_PATIENCE: Duration = Duration::from_secs(15);

/// How a member joins.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// How long to try before giving up, a vote of the members not counted. Default 20 s.
    pub timeout: Duration,
    /// Bounds of the links.
    pub link: LinkLimits,
    /// Where to keep a membership log, if anywhere. Default: nowhere.
    pub log: Option<LogOptions>,
}

impl Default for JoinOptions {
    fn default() -> Self {
        JoinOptions { timeout: Duration::from_secs(20), link: LinkLimits::default(), log: None }
    }
}

/// A member's place in a group. Cheap to clone; the stay ends when all clones are dropped.
#[derive(Clone, Debug)]
pub struct Group {
    user: UserName,
    info: Arc<GroupInfo>,
    commands: mpsc::Sender<Command>,
    state: Receiver<Snapshot>,
    room: Receiver<bool>,
    slots: kv::Slots,
}

impl Group {
    /// Joins the group that a public group file describes, and returns once the first view is installed.
    ///
    /// # Errors
    /// [`JoinError`]: a bad file, a wrong name or password, fewer than f+1 leaders in reach.
    pub async fn join(file: impl AsRef<Path>, credentials: Credentials) -> Result<(Group, Events), JoinError> {
        let info = ringfort_documents::read_group(file.as_ref())?;
        Group::join_with(info, credentials, JoinOptions::default()).await
    }

    /// As [`Group::join`], for a group file that was read before, and with options.
    ///
    /// # Errors
    /// As [`Group::join`].
    pub async fn join_with(
        info: Arc<GroupInfo>,
        credentials: Credentials,
        options: JoinOptions,
    ) -> Result<(Group, Events), JoinError> {
        let (user, secret) = credentials.into_parts();
        let timeout = options.timeout;
        let log = options.log.map(|log| LogFile::open(log, info.id(), &user)).transpose()?;
        let Started { commands, mut joined, state, room, events } =
            driver::start(info.clone(), user.clone(), secret, options.link, log);
        let group = Group { user, info, commands, state, room, slots: kv::Slots::default() };
        let mut tried = tokio::time::timeout(timeout, &mut joined).await;
        if let (Err(_), Some(vote), true) = (&tried, group.info.policy.admission_vote, group.snapshot().awaits_vote) {
            tried = tokio::time::timeout(vote.wait() + timeout, joined).await;
        }
        match tried {
            Ok(Ok(Ok(()))) => Ok((group, events)),
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) => Err(JoinError::Stopped),
            Err(_) => Err(group.explain_timeout(timeout)),
        }
    }

    /// Sends to every member of the current view, on a topic, with the policy's service.
    ///
    /// Returns once the message is queued to its relays and there is room for the next: a fast sender waits here, also for
    /// leaders to acknowledge what it has sent, so that all of it can be sent again if need be. While fewer than f+1 leaders
    /// can be reached it waits for them. Best effort of up to about 4 kB waits for no room: it overtakes the others, and
    /// the oldest of it is dropped.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn multicast(&self, topic: &str, payload: &[u8]) -> Result<(), SendError> {
        self.multicast_with(self.info.policy.service, topic, payload).await
    }

    /// As [`Group::multicast`], with a service of one's own choice.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn multicast_with(&self, service: Service, topic: &str, payload: &[u8]) -> Result<(), SendError> {
        let topic: Topic = topic.parse()?;
        let payload = payload.to_vec();
        self.send(|reply| Command::Multicast { service, topic, payload, reply }).await
    }

    /// Sends to some members of the current view; nobody else can read it (C5).
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send_to(&self, to: &[UserName], topic: &str, payload: &[u8]) -> Result<(), SendError> {
        let topic: Topic = topic.parse()?;
        let (to, payload) = (to.to_vec(), payload.to_vec());
        self.send(|reply| Command::SendTo { to, topic, payload, reply }).await
    }

    /// Votes on letting a user in, or on sending one away (A17, A24). A vote for an expulsion that nobody has asked for
    /// asks for it. The last vote counts.
    ///
    /// # Errors
    /// [`SendError`], if policy asks members nothing of the kind, or there is no such member.
    pub async fn vote(&self, kind: MotionKind, user: &UserName, yes: bool) -> Result<(), SendError> {
        let motion = Motion { kind, user: user.clone() };
        self.send(|reply| Command::Vote { motion, yes, reply }).await
    }

    /// Asks the group's services something, and returns what f+1 leaders reply. The request is done once and in one order with
    /// all others; requests that are asked while others of this program wait may be done before those. [`Group::kv`] asks
    /// the key-value store, which is what leaders run.
    ///
    /// Waits for as long as it takes: put a limit around it. The request may be done after the future is dropped.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call(&self, request: &[u8]) -> Result<Reply, CallError> {
        match self.ask(request).await? {
            Asked::Replied(reply) => Ok(reply),
            Asked::Waiting(waiting) => waiting.reply().await,
        }
    }

    /// As [`Group::call`], but returns also if f+1 leaders say that the reply comes later, when something happens.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn ask(&self, request: &[u8]) -> Result<Asked, CallError> {
        let (reply, called) = oneshot::channel();
        let request = request.to_vec();
        self.commands.send(Command::Call { request, reply }).await.map_err(|_| CallError::Ended)?;
        called.await.unwrap_or(Err(CallError::Ended))
    }

    /// The group's key-value store.
    pub fn kv(&self) -> Kv {
        Kv { group: self.clone() }
    }

    /// Returns once everything sent so far has been acknowledged by f+1 leaders, so that one honest leader has it: then it
    /// reaches whoever stays in the group, or its loss is told. By policy it may be fewer leaders. Best effort is not
    /// waited for. Dropping the future is no harm.
    ///
    /// Waits for as long as it takes: put a limit around it.
    ///
    /// # Errors
    /// [`SendError::Unacknowledged`], if the stay ended before, with the number of messages of which nobody knows.
    pub async fn flush(&self) -> Result<(), SendError> {
        let (reply, flushed) = oneshot::channel();
        self.commands.send(Command::Flush { reply }).await.map_err(|_| SendError::Ended)?;
        match flushed.await {
            Ok(0) => Ok(()),
            Ok(count) => Err(SendError::Unacknowledged(count)),
            Err(_) => Err(SendError::Ended),
        }
    }

    async fn send(&self, command: impl FnOnce(oneshot::Sender<Sent>) -> Command) -> Result<(), SendError> {
        let (reply, sent) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| SendError::Ended)?;
        let relays: Vec<LinkSender> = sent.await.map_err(|_| SendError::Ended)??;
        if !relays.is_empty() {
            pace::ready(&relays).await;
            // It fails if the stay is over: then nobody waits.
            let _ = self.room.clone().wait_for(|has_room| *has_room).await;
        }
        Ok(())
    }

    /// Who is in the current view, by name.
    pub fn members(&self) -> Vec<UserName> {
        self.state.borrow().members.as_ref().clone()
    }

    /// Everything there is to show: view, members, leaders, whether the view is confirmed, the key's age.
    pub fn snapshot(&self) -> Snapshot {
        self.state.borrow().clone()
    }

    /// This member's user name.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// The group's public document.
    pub fn info(&self) -> &Arc<GroupInfo> {
        &self.info
    }

    /// Leaves, and returns once f+1 leaders have said that the stay is over (A15). What is still under way is waited for
    /// first, for a quarter of a minute at most.
    ///
    /// # Errors
    /// [`GroupEnded`] if they do not say so within a few seconds; they will then miss this member's heartbeats. And if
    /// messages were not acknowledged in time.
    pub async fn leave(self) -> Result<Cause, GroupEnded> {
        let unsent = match tokio::time::timeout(FLUSH_PATIENCE, self.flush()).await {
            Ok(Err(SendError::Unacknowledged(count))) => count,
            Ok(_) => 0,
            Err(_) => self.under_way().await,
        };
        let cause = self.say_goodbye().await?;
        if unsent > 0 { Err(GroupEnded::Unsent(unsent)) } else { Ok(cause) }
    }

    async fn under_way(&self) -> u64 {
        let (reply, counted) = oneshot::channel();
        if self.commands.send(Command::CountUnderWay { reply }).await.is_err() {
            return 0;
        }
        counted.await.unwrap_or(0)
    }

    async fn say_goodbye(self) -> Result<Cause, GroupEnded> {
        let (reply, left) = oneshot::channel();
        self.commands.send(Command::Leave { reply }).await.map_err(|_| GroupEnded::Stopped)?;
        match tokio::time::timeout(Duration::from_secs(5), left).await {
            Ok(Ok(cause)) => Ok(cause),
            Ok(Err(_)) => Err(GroupEnded::Stopped),
            Err(_) => Err(GroupEnded::Unacknowledged),
        }
    }

    fn explain_timeout(&self, timeout: Duration) -> JoinError {
        let snapshot = self.snapshot();
        let (believed, needed) = (self.info.rules.confirm(), usize::from(self.info.rules.n() - self.info.rules.f()));
        let problems: Vec<String> = snapshot.leaders.iter().filter_map(LeaderState::problem).collect();
        let wrong_keys = snapshot.leaders.iter().filter(|l| l.wrong_key).count();
        let versions = snapshot.leaders.iter().filter(|l| l.wrong_version).count();
        if versions >= believed {
            return JoinError::Version;
        }
        if wrong_keys >= believed {
            return JoinError::WrongKeys;
        }
        JoinError::Timeout { timeout, needed, problems: problems.join("; ") }
    }
}
