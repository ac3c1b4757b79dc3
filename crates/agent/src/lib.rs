//! A member's own agent: it stays in the group, and serves a page to the browser of the same machine.
//!
//! The member's keys stay in this process. The browser is only its screen, and the code of the page comes from this
//! program, so no server can ship code that steals a key. Plugins run in sandboxed frames of the page, or as
//! programs of their own with a token for one topic; both reach the group through one small interface.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use ringfort::{Credentials, Group};
//! use ringfort_agent::{Agent, Options, Turn};
//!
//! let (group, events) = Group::join("group.toml", Credentials::password("ana", "secret")?).await?;
//! let mut agent = Agent::start(group, events, Options::default()).await?;
//! println!("open {}", agent.url());
//! while let Turn::Entered(user) = agent.turn().await {
//!     println!("{user} is in the group");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Architecture invariant: no protocol decision is taken here, and nothing listens but on loopback.

mod absence;
mod bundled;
pub mod door;
mod entrance;
mod files;
mod http;
mod hub;
pub mod listener;
mod log;
mod observer;
mod plugins;
mod returning;
mod ring;
pub mod site;
mod socket;
mod store;
mod wire;
pub mod words;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringfort::protocol::view::Cause;
use ringfort::protocol::{GroupInfo, UserName};
use ringfort::{Credentials, Events, Group, JoinOptions};
use ringfort_documents::LogOptions;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use log::Bounds;
pub use observer::{Observer, Sending};
pub use plugins::Problem;
pub use ringfort_files::FilesOptions;

use door::{Door, Token};
use entrance::{Entrance, Stay};
use plugins::Plugins;
use wire::PluginFacts;

/// Pages and programs at once.
const SOCKETS_MAX: usize = 32;

/// How an agent runs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The port on loopback; 0 for any.
    pub port: u16,
    /// A folder with further plugins.
    pub plugins: Option<PathBuf>,
    /// Topics that programs get a token for.
    pub programs: Vec<String>,
    /// What is kept for pages that reload.
    pub bounds: Bounds,
    /// How files are exchanged; not at all without.
    pub files: Option<FilesOptions>,
    /// Who is expected to log in on the page.
    pub user: Option<String>,
    /// How long a login on the page may take; 20 s if it is not said.
    pub login_within: Option<Duration>,
    /// The origin of the only page that may show this one in a frame; none if it is missing.
    pub parent: Option<String>,
    /// Who looks on at the stays.
    pub observer: Option<Arc<dyn Observer>>,
    /// Where to keep a membership log of stays that begin on the page, if anywhere.
    pub log: Option<LogOptions>,
    /// With what to take up again a stay that the agent was started with and that is lost. Kept in memory until the stay has
    /// ended otherwise. A stay that began on the page is taken up again with what the user gave there.
    pub credentials: Option<Credentials>,
}

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The port.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        cause: std::io::Error,
    },
    /// The system's entropy.
    #[error("the system gives no random numbers: {0}")]
    Random(std::io::Error),
    /// A program's topic.
    #[error(
        "the topic {0:?} of a program has 1 to 32 characters out of a-z, 0-9, '-' and '.', and is not the page's own"
    )]
    Topic(String),
}

/// A token for a program: it may read and send on one topic.
#[derive(Debug)]
struct Program {
    topic: String,
    token: Token,
}

/// Where a program connects, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramAccess {
    /// The topic.
    pub topic: String,
    /// The address of the socket.
    pub url: String,
    /// The token, for the header `Authorization: Bearer`.
    pub token: String,
}

#[derive(Debug)]
struct Inner {
    info: Arc<GroupInfo>,
    door: Arc<Door>,
    parent: Option<String>,
    observer: Option<Arc<dyn Observer>>,
    /// In the addresses of the plugins' files.
    frames: Token,
    plugins: Plugins,
    programs: Vec<Program>,
    /// What is remembered of a stay: which topics, and how much.
    topics: Vec<String>,
    bounds: Bounds,
    files: Option<FilesOptions>,
    entrance: Entrance,
    login_within: Duration,
    log: Option<LogOptions>,
    sockets: Arc<Semaphore>,
    /// Becomes true when the agent ends: sockets close, and with the last of them the stay.
    closing: watch::Sender<bool>,
}

impl Inner {
    /// Whether there is a stay that goes on.
    fn is_in(&self) -> bool {
        let stay = self.entrance.stay.borrow();
        stay.hub.is_some() && !stay.over
    }

    /// Where a plugin's files are.
    fn folder(&self, id: &str) -> String {
        format!("{}/p/{}/{id}/", self.door.origin(), self.frames.as_str())
    }

    fn plugin_facts(&self) -> Vec<PluginFacts> {
        let facts = |plugin: &plugins::Plugin| PluginFacts {
            id: plugin.manifest.id.clone(),
            name: plugin.manifest.name.clone(),
            topic: plugin.manifest.topic.clone(),
            description: plugin.manifest.description.clone(),
            url: format!("{}{}", self.folder(&plugin.manifest.id), plugin.manifest.entry),
            files: plugin.manifest.files,
            microphone: plugin.manifest.microphone,
        };
        // What exchanges files is of no use where none are.
        let usable = |plugin: &&plugins::Plugin| !plugin.manifest.files || self.files.is_some();
        self.plugins.running.iter().filter(usable).map(facts).collect()
    }
}

/// A running agent. Dropping it ends it, and with it the stay.
#[derive(Debug)]
pub struct Agent {
    inner: Arc<Inner>,
    serving: JoinHandle<()>,
    stay: watch::Receiver<Stay>,
    /// What [`Agent::turn`] has told: how many stays, and whether the last one has ended.
    told: (u64, bool),
}

/// Somebody came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// This user is in the group.
    Entered(UserName),
    /// The stay has ended; `None` if it ended without a word. The page can still be read, and one can log in again.
    Ended(Option<Cause>),
}

impl Agent {
    /// Starts to serve a stay.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn start(group: Group, events: Events, options: Options) -> Result<Agent, AgentError> {
        let credentials = options.credentials.clone();
        let agent = Agent::open(group.info().clone(), options).await?;
        entrance::enter(&agent.inner, credentials, (group, events)).map_err(AgentError::Random)?;
        Ok(agent)
    }

    /// Starts to serve a page on which a user of this group logs in.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn open(info: Arc<GroupInfo>, options: Options) -> Result<Agent, AgentError> {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let failed = |cause| AgentError::Listen { address: wanted, cause };
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let plugins = Plugins::load(options.plugins.as_deref());
        let programs = options.programs.into_iter().map(Program::new).collect::<Result<Vec<_>, _>>()?;
        let topics = plugins.running.iter().map(|plugin| plugin.manifest.topic.clone());
        let topics = topics.chain(programs.iter().map(|program| program.topic.clone()));
        let topics: Vec<String> = topics.chain([hub::SHELL.to_owned()]).collect();
        let with_files = plugins.running.iter().filter(|plugin| plugin.manifest.files);
        let with_files: Vec<String> = with_files.map(|plugin| plugin.manifest.topic.clone()).collect();
        let token = || Token::fresh().map_err(AgentError::Random);
        let inner = Arc::new(Inner {
            info,
            door: Arc::new(Door::new(address).map_err(AgentError::Random)?),
            parent: options.parent,
            observer: options.observer,
            frames: token()?,
            plugins,
            programs,
            topics,
            bounds: options.bounds,
            files: options.files.map(|files| FilesOptions { topics: with_files, ..files }),
            entrance: Entrance::new(options.user),
            login_within: options.login_within.unwrap_or(JoinOptions::default().timeout),
            log: options.log,
            sockets: Arc::new(Semaphore::new(SOCKETS_MAX)),
            closing: watch::Sender::new(false),
        });
        let router = http::router(inner.clone());
        let serving = tokio::spawn(listener::serve(listener, router));
        let stay = inner.entrance.stay.subscribe();
        Ok(Agent { inner, serving, stay, told: (0, false) })
    }

    /// The address to open in a browser. Whoever has it has the page: it is for the user alone.
    pub fn url(&self) -> String {
        self.inner.door.url()
    }

    /// An address for a browser that is started: it opens once, within half a minute. It is a secret, and not for a command
    /// line, which other users of this machine can read; [`site::leading_to`] makes a file of it.
    ///
    /// # Errors
    /// When the system has no entropy.
    pub fn ticket_url(&self) -> std::io::Result<String> {
        self.inner.door.ticket_url()
    }

    /// Where its page is: `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> &str {
        self.inner.door.origin()
    }

    /// Sends a text to everybody, as the page does.
    ///
    /// # Errors
    /// Why it was not sent, in words.
    pub async fn say(&self, topic: &str, text: &str) -> Result<(), String> {
        let hub = self.stay.borrow().hub.clone().ok_or("nobody is logged in")?;
        hub.send(topic, &[], text.as_bytes(), None).await.map(drop)
    }

    /// What programs connect with.
    pub fn programs(&self) -> Vec<ProgramAccess> {
        let url = format!("{}/program", self.inner.door.origin().replacen("http:", "ws:", 1));
        let access = |program: &Program| ProgramAccess {
            topic: program.topic.clone(),
            url: url.clone(),
            token: program.token.as_str().to_owned(),
        };
        self.inner.programs.iter().map(access).collect()
    }

    /// Plugins that were skipped, and why.
    pub fn skipped_plugins(&self) -> &[Problem] {
        &self.inner.plugins.skipped
    }

    /// The stay, if there is or was one.
    pub fn group(&self) -> Option<Group> {
        self.stay.borrow().hub.as_ref().map(|hub| hub.group.clone())
    }

    /// Waits until somebody comes or goes. Cancel safe.
    pub async fn turn(&mut self) -> Turn {
        loop {
            let stay = self.stay.borrow_and_update().clone();
            if let (Some(hub), true) = (&stay.hub, stay.count != self.told.0) {
                self.told = (stay.count, false);
                return Turn::Entered(hub.group.user().clone());
            }
            if let (Some(hub), true, false) = (&stay.hub, stay.over, self.told.1) {
                self.told.1 = true;
                return Turn::Ended(hub.group.snapshot().ended);
            }
            if self.stay.changed().await.is_err() {
                // The other half is in this agent, so it is never gone.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.inner.closing.send_replace(true);
        self.serving.abort();
    }
}

impl Program {
    fn new(topic: String) -> Result<Self, AgentError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        if !(1..=32).contains(&topic.len()) || !topic.bytes().all(plain) || topic == hub::SHELL {
            return Err(AgentError::Topic(topic));
        }
        Ok(Program { topic, token: Token::fresh().map_err(AgentError::Random)? })
    }
}
