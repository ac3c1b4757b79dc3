//! The demonstration on two pages: four leaders to attack, with the pages of three members beside each other; and a
//! network to be cut, with people on both sides.
//!
//! They are served on loopback through the same door as a member's own page. They show what members, sites and
//! honest leaders report, and pass on orders; everything else is done elsewhere.

mod facts;
mod http;
mod peers;
mod words;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use ringfort::Event;
use ringfort_agent::door::Door;
use ringfort_agent::{Agent, Observer, Options, Sending, listener};
use ringfort_attack::real::Witness;
use ringfort_attack::real::ledger::Post;
use ringfort_attack::real::members::CHAT;
use ringfort_attack::real::stage::Watched;
use ringfort_protocol::policy::Service;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::desk::Desk;
use crate::order::Order;
use crate::peers::Peers;

/// Whose pages are shown.
pub const SHOWN: [&str; 3] = ["ana", "ben", "eva"];
/// What they draw on.
const BOARD: &str = "whiteboard";
/// Demo pages open at once.
const SOCKETS_MAX: usize = 8;

/// What the members say to each other until somebody speaks in their place.
const TALK: [(&str, &str); 8] = [
    ("ana", "The river is at four metres and rising."),
    ("ben", "Two boats are ready at the mill."),
    ("eva", "The school has forty beds and a kitchen."),
    ("ana", "Take the north road, the bridge is closed."),
    ("ben", "On my way with blankets."),
    ("eva", "Who fetches the doctor from the station?"),
    ("ana", "I do. Ten minutes."),
    ("ben", "The radio is dead here. This still works."),
];

/// What the requests of all pages share.
pub struct House {
    door: Arc<Door>,
    desk: Arc<Desk>,
    orders: mpsc::Sender<Order>,
    sockets: Arc<Semaphore>,
    peers: Arc<Peers>,
    shown: Mutex<Shown>,
}

/// What the page shows and the desk does not know.
#[derive(Debug, Default)]
struct Shown {
    /// The address of each member's page.
    pages: BTreeMap<String, String>,
    /// Whether members talk by themselves.
    talks: bool,
    /// Whether somebody wrote or drew in a member's place.
    wrote: bool,
    /// What one of them says right now.
    saying: &'static str,
}

impl House {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server and the members' agents. Dropping it ends them.
pub struct Web {
    house: Arc<House>,
    agents: BTreeMap<String, Arc<Agent>>,
    said: usize,
    serve: JoinHandle<()>,
}

impl Web {
    /// Starts to serve on this port of loopback, 0 for any.
    ///
    /// # Errors
    /// The port is taken, or the system gives no random numbers.
    pub async fn start(port: u16, desk: Arc<Desk>, orders: mpsc::Sender<Order>) -> anyhow::Result<Self> {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(wanted).await.with_context(|| format!("cannot listen on {wanted}"))?;
        let door = Door::new(listener.local_addr()?).context("the system gives no random numbers")?;
        let shown = Mutex::new(Shown { talks: true, ..Shown::default() });
        let sockets = Arc::new(Semaphore::new(SOCKETS_MAX));
        let program = std::env::current_exe().context("this program's own file")?;
        let peers = Arc::new(Peers::new(program));
        let house = Arc::new(House { door: Arc::new(door), desk, orders, sockets, peers, shown });
        let router = http::router(house.clone());
        let serve = tokio::spawn(listener::serve(listener, router));
        Ok(Web { house, agents: BTreeMap::new(), said: 0, serve })
    }

    /// Ends what runs for the other page.
    pub async fn close(self) {
        self.house.peers.close().await;
    }

    /// The address to open.
    pub fn url(&self) -> String {
        self.house.door.url()
    }

    /// The same for a browser's command line: it opens once, within half a minute.
    ///
    /// # Errors
    /// When the system has no entropy.
    pub fn ticket_url(&self) -> std::io::Result<String> {
        self.house.door.ticket_url()
    }

    /// Serves a member's page, which nobody but this page may frame.
    ///
    /// # Errors
    /// There is no port.
    pub async fn serve(&mut self, watched: Watched) -> anyhow::Result<()> {
        let Watched { name, group, events, witness } = watched;
        let observer = Arc::new(Eyes { witness, house: self.house.clone() });
        let parent = Some(self.house.door.origin().to_owned());
        let options = Options { parent, observer: Some(observer), ..Options::default() };
        let agent = Agent::start(group, events, options).await?;
        self.house.shown().pages.insert(name.clone(), agent.url());
        self.agents.insert(name, Arc::new(agent));
        Ok(())
    }

    /// A member's agent, if its page is shown.
    pub fn agent(&self, name: &str) -> Option<Arc<Agent>> {
        self.agents.get(name).cloned()
    }

    /// Members talk by themselves, or no longer do.
    pub fn talk(&self, talks: bool) {
        self.house.shown().talks = talks;
    }

    /// Lets the next member say its line, if they talk by themselves and all are there.
    pub fn chatter(&mut self) {
        let (name, text) = TALK.get(self.said % TALK.len()).copied().unwrap_or_default();
        let Some(agent) = self.agent(name).filter(|_| self.agents.len() == SHOWN.len()) else { return };
        {
            let mut shown = self.house.shown();
            if !shown.talks {
                return;
            }
            shown.saying = text;
        }
        self.said += 1;
        // What cannot be said is told by the member's own page.
        tokio::spawn(async move { drop(agent.say(CHAT, text).await) });
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.serve.abort();
    }
}

/// Looks on at a member's page, and keeps the books.
struct Eyes {
    witness: Witness,
    house: Arc<House>,
}

impl std::fmt::Debug for Eyes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Eyes")
    }
}

fn post<'a>(sending: &Sending<'a>) -> Post<'a> {
    let Sending { topic, to, payload, .. } = *sending;
    Post { topic, payload, to: to.iter().map(ToString::to_string).collect() }
}

impl Observer for Eyes {
    fn on_event(&self, event: &Event) {
        self.witness.on_event(event);
    }

    fn on_sending(&self, sending: &Sending<'_>) {
        // Whoever speaks in a member's place wants it quiet.
        let mut shown = self.house.shown();
        match sending.topic {
            CHAT if sending.payload != shown.saying.as_bytes() => (shown.talks, shown.wrote) = (false, true),
            BOARD => shown.wrote = true,
            _ => {}
        }
        drop(shown);
        let owed = sending.service != Service::BestEffort && !sending.topic.contains('~');
        self.witness.on_sending(&post(sending), owed);
    }

    fn on_unsent(&self, sending: &Sending<'_>) {
        self.witness.on_unsent(&post(sending));
    }
}
