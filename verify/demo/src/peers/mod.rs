//! The other page: three sites, two people at each, and a network that somebody cuts and mends.
//!
//! The sites are processes of their own; the people live in this process and use nothing but
//! [`ringfort_site::SecureGroup`]. Nothing runs until the page is first opened.

mod facts;
mod halves;
mod person;
mod room;
mod spoken;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use ringfort_attack::real::sites::{NAMES, Sites};
use ringfort_crypto::sign::SigningKey;
use ringfort_site::secure::file;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

pub use facts::{Facts, PersonFacts};
use room::{Presence, Room};

/// Who is at which site.
const PEOPLE: [(&str, usize); 6] = [("ana", 0), ("ben", 0), ("cleo", 1), ("dan", 1), ("eva", 2), ("finn", 2)];
/// The group that all of them are in.
const GROUP: &str = "talk";
/// How long somebody who does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two lines of people that talk by themselves.
const CHATTER: Duration = Duration::from_millis(1_800);
/// Between two looks at the sites.
const LOOK: Duration = Duration::from_millis(100);
/// How long the sites may take to find each other at the start.
const TOGETHER_WITHIN: Duration = Duration::from_secs(40);
/// Orders that wait.
const ORDERS_MAX: usize = 16;

/// What they say until somebody speaks in their place.
const TALK: [&str; 6] = [
    "The north bridge is closed.",
    "Two boats are ready at the mill.",
    "The school has forty beds.",
    "I bring blankets to the station.",
    "The radio is dead here. This still works.",
    "Who fetches the doctor?",
];

/// What somebody at the page may order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A site is cut off from the two others.
    Cut(usize),
    /// The network is whole again.
    Mend,
    /// A person says something.
    Say(usize, String),
    /// A person leaves the group.
    Leave(usize),
    /// A person's program freezes.
    Freeze(usize),
    /// A person who has left, or whose program froze, comes back.
    Return(usize),
    /// People talk by themselves, or no longer do.
    Talk(bool),
}

/// The sites and people, once somebody wants to see them.
pub struct Peers {
    program: PathBuf,
    room: Arc<Room>,
    running: Mutex<Run>,
}

#[derive(Default)]
enum Run {
    #[default]
    NotYet,
    Now(mpsc::Sender<Order>, JoinHandle<()>),
    /// The demo ends: a page that comes now starts nothing.
    Over,
}

impl Peers {
    /// Nothing runs yet. `program` knows the hidden command of sites.
    pub fn new(program: PathBuf) -> Self {
        Peers { program, room: Arc::new(Room::new(&PEOPLE)), running: Mutex::default() }
    }

    /// Starts everything, if it does not run.
    pub fn open(&self) {
        let mut running = self.running();
        if matches!(*running, Run::NotYet) {
            let (orders, received) = mpsc::channel(ORDERS_MAX);
            let (room, program) = (self.room.clone(), self.program.clone());
            let task = tokio::spawn(async move {
                if let Err(error) = run(program, &room, received).await {
                    room.fail(&format!("{error:#}"));
                }
            });
            *running = Run::Now(orders, task);
        }
    }

    /// Passes an order on.
    ///
    /// # Errors
    /// Why it cannot be followed, in a person's words.
    pub fn order(&self, order: Order) -> Result<(), String> {
        let Run::Now(orders, _) = &*self.running() else { return Err("nothing runs yet".to_owned()) };
        orders.try_send(order).map_err(|_| "too much at once: try again".to_owned())
    }

    fn running(&self) -> MutexGuard<'_, Run> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How everything is.
    pub fn facts(&self) -> Facts {
        self.room.facts()
    }

    /// Ends everything and removes its files.
    pub async fn close(&self) {
        let running = std::mem::replace(&mut *self.running(), Run::Over);
        if let Run::Now(orders, task) = running {
            drop(orders);
            // A task that failed has said so on the page.
            let _ = task.await;
        }
    }
}

async fn run(program: PathBuf, room: &Arc<Room>, mut orders: mpsc::Receiver<Order>) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("ringfort-demo-").tempdir().context("a temporary folder")?;
    let mut sites = Sites::set(dir.path(), &program).await?;
    let started = {
        let starting = start(&mut sites, room);
        tokio::pin!(starting);
        loop {
            tokio::select! {
                biased;
                // Whoever ends the demo does not wait until all has started.
                order = orders.recv() => if order.is_none() {
                    break None;
                },
                outcome = &mut starting => break Some(outcome),
            }
        }
    };
    let outcome = match started {
        Some(Ok(())) => match people(&sites, room) {
            Ok(people) => {
                play(&sites, room, &mut orders).await;
                drop(people);
                Ok(())
            }
            Err(error) => Err(error),
        },
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    sites.close().await;
    outcome
}

async fn start(sites: &mut Sites, room: &Room) -> anyhow::Result<()> {
    for place in 0..NAMES.len() {
        sites.start(place).await?;
    }
    sites.together(&[0, 1, 2], TOGETHER_WITHIN).await?;
    look(sites, room);
    Ok(())
}

/// Everybody makes a key; one file says who is admitted; all join.
fn people(sites: &Sites, room: &Arc<Room>) -> anyhow::Result<JoinSet<()>> {
    let keys: BTreeMap<usize, SigningKey> =
        (0..PEOPLE.len()).map(|person| (person, SigningKey::generate(&mut ringfort_documents::os_rng()))).collect();
    let admitted: Vec<(String, _)> =
        PEOPLE.iter().zip(keys.values()).map(|((name, _), key)| ((*name).to_owned(), key.verifying_key())).collect();
    let mut policy = file::policy(GROUP, &admitted)?;
    policy.patience = PATIENCE;
    let policy = Arc::new(policy);
    let mut tasks = JoinSet::new();
    for ((person, key), (_, place)) in keys.into_iter().zip(PEOPLE) {
        tasks.spawn(person::live(room.clone(), person, sites.door(place), policy.clone(), key));
    }
    Ok(tasks)
}

/// Until whoever could give orders is gone.
async fn play(sites: &Sites, room: &Arc<Room>, orders: &mut mpsc::Receiver<Order>) {
    let mut looks = tokio::time::interval(LOOK);
    let mut chatter = tokio::time::interval(CHATTER);
    let mut said = 0;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => obey(sites, room, order),
                None => return,
            },
            _ = looks.tick() => look(sites, room),
            _ = chatter.tick() => if room.talks() {
                let text = TALK.get(said % TALK.len()).copied().unwrap_or_default();
                say(room, said % PEOPLE.len(), text);
                // Nobody always says the same.
                said += if said % TALK.len() == TALK.len() - 1 { 2 } else { 1 };
            },
        }
    }
}

fn look(sites: &Sites, room: &Room) {
    room.see(&sites.wires().cuts(), std::array::from_fn(|place| sites.report(place)), Instant::now());
}

fn obey(sites: &Sites, room: &Arc<Room>, order: Order) {
    match order {
        Order::Cut(place) => {
            sites.wires().heal();
            sites.wires().split(&[place]);
            room.is_cut(place);
        }
        Order::Mend => {
            sites.wires().heal();
            room.is_mended(Instant::now());
        }
        Order::Say(person, text) => {
            room.is_written_for();
            if !say(room, person, &text) {
                room.told(person, "This was not sent: this person is not in the group.");
            }
        }
        Order::Leave(person) => {
            room.is_to(person, Presence::Away);
        }
        Order::Freeze(person) => {
            if room.is_to(person, Presence::Frozen) {
                is_missed(room, person);
            }
        }
        Order::Return(person) => {
            room.is_to(person, Presence::In);
        }
        Order::Talk(talks) => room.set_talks(talks),
    }
    look(sites, room);
}

/// Nobody notices that a program freezes before it has to answer: whoever has the same key asks for a new one.
fn is_missed(room: &Arc<Room>, person: usize) {
    let Some((companion, voice)) = room.companion(person) else { return };
    room.refreshes(companion, person);
    // Where a new key is coming anyway, all have to answer already.
    tokio::spawn(async move { drop(voice.refresh().await) });
}

/// What is said while a view changes waits for the next one, and so nobody waits for it here. `false` if the person cannot
/// speak.
fn say(room: &Arc<Room>, person: usize, text: &str) -> bool {
    let Some(voice) = room.voice(person) else { return false };
    let (room, message) = (room.clone(), room.seals(text));
    tokio::spawn(async move {
        if let Err(error) = voice.send(ringfort_peer::Service::Agreed, None, message).await {
            room.told(person, &format!("This was not sent: {error}."));
        }
    });
    true
}
