//! One stay in the group, shared by all sockets: its records, its state, what plugins keep.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use ringfort::protocol::fault::Culprit;
use ringfort::protocol::ids::BadName;
use ringfort::protocol::member::{Confirmation, OpenMotion};
use ringfort::protocol::view::Cause;
use ringfort::protocol::{Fault, Role, UserName, ViewId};
use ringfort::{Event, Events, Group, Message};
use ringfort_files::Files;
use tokio::sync::watch;

use crate::absence::Absence;
use crate::log::{Bounds, Log, SYSTEM};
use crate::observer::{Observer, Sending};
use crate::store::Store;
use crate::wire::{Departure, Leader, MotionFacts, MotionWord, Record, ServiceWord, State, What};
use crate::words;

/// How often the state is looked at while nothing happens.
const TICK: Duration = Duration::from_millis(250);
/// Different blames told once each.
const BLAMES_MAX: usize = 256;
/// What members say to each other through the page itself: requests to expel somebody.
pub const SHELL: &str = "ringfort";
/// Messages on `topic~anything` are handed on and not kept.
const VOLATILE: char = '~';

/// The stay and what is remembered of it.
#[derive(Debug)]
pub struct Hub {
    /// The stay.
    pub group: Group,
    /// Its files, if they are exchanged.
    pub files: Option<Files>,
    memory: Arc<Memory>,
    state: watch::Sender<State>,
    /// Kept while the key is the same, so that it does not wander with the clock.
    key_since: Mutex<Option<(ViewId, u64)>>,
    absence: Mutex<Absence>,
}

/// What outlasts a stay: the same user may log in again.
#[derive(Debug)]
struct Memory {
    run: String,
    log: Mutex<Log>,
    head: watch::Sender<u64>,
    stores: Mutex<BTreeMap<String, Store>>,
    observer: Option<Arc<dyn Observer>>,
}

/// The topic's first part: whose it is. `chat/seen` and `chat~typing` are chat's.
pub fn owner(topic: &str) -> &str {
    topic.split(['/', VOLATILE]).next().unwrap_or_default()
}

impl Hub {
    /// Remembers what comes on these topics. `run` names this memory: another one numbers its records differently.
    pub fn new(
        stay: (Group, Option<Files>),
        run: String,
        topics: Vec<String>,
        bounds: Bounds,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        let log = Mutex::new(Log::new(topics, bounds));
        let memory = Memory { run, log, head: watch::Sender::new(0), stores: Mutex::default(), observer };
        Hub::with(stay, Arc::new(memory))
    }

    /// The next stay of the same user, who has seen what was seen in this one.
    pub fn again(&self, stay: (Group, Option<Files>)) -> Self {
        Hub::with(stay, self.memory.clone())
    }

    fn with((group, files): (Group, Option<Files>), memory: Arc<Memory>) -> Self {
        let state = watch::Sender::new(state_of(&group, None));
        let hub = Hub { group, files, memory, state, key_since: Mutex::default(), absence: Mutex::default() };
        hub.look();
        hub
    }

    /// The name of the memory.
    pub fn run(&self) -> &str {
        &self.memory.run
    }

    /// Takes the events of the stay until it ends, and keeps the state fresh.
    pub async fn follow(&self, mut events: Events) {
        let mut tick = tokio::time::interval(TICK);
        let mut blames = BTreeSet::new();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.on_event(event, &mut blames),
                    None => break,
                },
                _ = tick.tick() => {}
            }
            self.look();
        }
        self.look();
    }

    fn on_event(&self, event: Event, blames: &mut BTreeSet<(Culprit, Fault)>) {
        if self.files.as_ref().is_some_and(|files| files.on_event(&event)) {
            return;
        }
        if let Some(observer) = &self.memory.observer {
            observer.on_event(&event);
        }
        match event {
            Event::Message(message) => self.on_message(message),
            Event::View { view, joined, left } => {
                let left = left
                    .into_iter()
                    .map(|(user, cause)| Departure { user: user.to_string(), how: words::departure(cause) });
                self.record(What::View { epoch: view.epoch.0, joined: strings(&joined), left: left.collect() });
            }
            Event::Gap { sender, count, .. } => self.record(What::Gap { from: sender.to_string(), count }),
            Event::UnknownTail { sender } => self.notice(
                format!("{sender} went without a last word: whether you have all that {sender} said, nobody knows."),
                true,
            ),
            Event::Missed => {
                self.notice("What the others said at the end of your stay may be missing here.".into(), true);
            }
            Event::Unsent(count) => self.notice(
                format!(
                    "Too few leaders acknowledged your last messages ({count}): whether they arrive, nobody knows."
                ),
                true,
            ),
            Event::Lagged(missed) => self.notice(format!("This agent was too slow and missed {missed} events."), true),
            Event::Confirmation(now) => {
                let unsure = words::unsure(self.group.info(), now);
                let sure = || "Enough leaders confirm who is in the group again.".into();
                self.notice(unsure.clone().unwrap_or_else(sure), unsure.is_some());
            }
            Event::LeaderAnswers(..) => {} // The state shows it.
            Event::Asked(motion) => self.notice(words::motion(&motion, self.group.user()), true),
            Event::Blamed(culprit, fault) => {
                if blames.len() < BLAMES_MAX && blames.insert((culprit.clone(), fault)) {
                    let (words, warning) = words::blame(&culprit, fault);
                    self.notice(words, warning);
                }
            }
            Event::Ended(cause) => {
                self.notice(format!("Your stay has ended: you {}.", departed(cause)), true);
            }
        }
    }

    fn on_message(&self, message: Message) {
        let (text, base64) = text_or_base64(&message.payload);
        let to = strings(&message.recipients);
        let (topic, epoch) = (message.topic, Some(message.view.epoch.0));
        self.message(What::Message { from: message.sender.to_string(), to, topic, text, base64, own: false, epoch });
    }

    /// Sends, and records what was sent. `Ok` tells the record's number, if it has one.
    ///
    /// # Errors
    /// Why it was not sent, in words.
    pub async fn send(
        &self,
        topic: &str,
        to: &[String],
        payload: &[u8],
        service: Option<ServiceWord>,
    ) -> Result<Option<u64>, String> {
        let names: Result<Vec<UserName>, _> = to.iter().map(|name| name.parse()).collect();
        let names = names.map_err(|error| error.to_string())?;
        let service = service.map_or(self.group.info().policy.service, Into::into);
        let sending = Sending { topic, to: &names, payload, service };
        if let Some(observer) = &self.memory.observer {
            observer.on_sending(&sending);
        }
        let sent = match names.as_slice() {
            [] => self.group.multicast_with(service, topic, payload).await,
            names => self.group.send_to(names, topic, payload).await,
        };
        if let (Err(_), Some(observer)) = (&sent, &self.memory.observer) {
            observer.on_unsent(&sending);
        }
        sent.map_err(|error| error.to_string())?;
        let (text, base64) = text_or_base64(payload);
        let from = self.group.user().to_string();
        let epoch = self.group.snapshot().view.map(|view| view.epoch.0);
        let (to, topic) = (strings(&names), topic.to_owned());
        Ok(self.message(What::Message { from, to, topic, text, base64, own: true, epoch }))
    }

    /// Votes, and notes it in the journal.
    ///
    /// # Errors
    /// Why not, in words.
    pub async fn vote(&self, motion: MotionWord, user: &str, yes: bool) -> Result<(), String> {
        let user: UserName = user.parse().map_err(|error: BadName| error.to_string())?;
        self.group.vote(motion.into(), &user, yes).await.map_err(|error| error.to_string())?;
        self.notice(words::voted(motion, &user, yes), false);
        self.look();
        Ok(())
    }

    /// How the stay ended, if it has.
    pub fn ended(&self) -> Option<Cause> {
        self.group.snapshot().ended
    }

    /// Since when this member is out of touch, as a clock says it; now, if nothing is known of it.
    pub fn away_since(&self) -> u64 {
        lock(&self.absence).since().unwrap_or_else(now_ms)
    }

    /// Says that what was said from then to now is not here.
    pub fn was_away(&self, since_ms: u64) {
        self.record(What::Away { since_ms, until_ms: now_ms() });
    }

    fn message(&self, what: What) -> Option<u64> {
        let What::Message { topic, from, .. } = &what else { return None };
        let (volatile, topic, from) = (topic.contains(VOLATILE), owner(topic).to_owned(), from.clone());
        self.append((&topic, &from), volatile, what)
    }

    /// Says something in the journal.
    pub fn notice(&self, words: String, warning: bool) {
        self.record(What::Notice { words, warning });
    }

    fn record(&self, what: What) {
        self.append((SYSTEM, SYSTEM), false, what);
    }

    fn append(&self, (topic, from): (&str, &str), volatile: bool, what: What) -> Option<u64> {
        let at_ms = now_ms();
        let line = |n| serde_json::to_string(&Record { kind: "record", n, at_ms, what }).unwrap_or_default();
        let n = lock(&self.memory.log).append(topic, from, volatile, line)?;
        self.memory.head.send_replace(n);
        Some(n)
    }

    /// The records.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.memory.log)
    }

    /// What one plugin keeps.
    pub fn with_store<T>(&self, plugin: &str, work: impl FnOnce(&mut Store) -> T) -> T {
        work(lock(&self.memory.stores).entry(plugin.to_owned()).or_default())
    }

    /// Changes with each new record.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.memory.head.subscribe()
    }

    /// The state, and its changes.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Looks at the stay, and tells if anything is new.
    fn look(&self) {
        let snapshot = self.group.snapshot();
        if snapshot.ended.is_none() {
            lock(&self.absence).look(now_ms(), snapshot.confirmation != Confirmation::Unconfirmed);
        }
        let since = {
            let mut since = lock(&self.key_since);
            let known = since.as_ref().map(|(view, _)| *view);
            if let (true, Some(view), Some(age)) = (known != snapshot.view, snapshot.view, snapshot.key_age()) {
                *since = Some((view, now_ms().saturating_sub(age_ms(age))));
            }
            since.as_ref().map(|(_, since_ms)| *since_ms)
        };
        let state = state_of(&self.group, since);
        self.state.send_if_modified(|old| {
            let new = *old != state;
            *old = state;
            new
        });
    }
}

fn state_of(group: &Group, key_since_ms: Option<u64>) -> State {
    let (snapshot, info) = (group.snapshot(), group.info());
    let leaders = snapshot.leaders.iter().map(|leader| {
        let number = leader.leader.number();
        let address = info.leaders.get(usize::from(number).wrapping_sub(1)).map(|known| known.address.clone());
        let (mood, word, detail) = words::leader(leader);
        Leader { number, address: address.unwrap_or_default(), mood, word, detail }
    });
    let named = |user: &UserName| (user.to_string(), info.policy.role(user));
    let roles = snapshot.members.iter().chain([group.user()]).map(named);
    let roles = roles.filter(|(_, role)| *role != Role::Member).map(|(user, role)| (user, role.word()));
    State {
        epoch: snapshot.view.map(|view| view.epoch.0),
        view: snapshot.view.map(|view| view.digest.to_string()),
        members: strings(&snapshot.members),
        roles: roles.collect(),
        confirmed: snapshot.confirmation.is_current(),
        confirmation: snapshot.confirmation.word(),
        warning: words::unsure(info, snapshot.confirmation)
            .filter(|_| snapshot.view.is_some() && snapshot.ended.is_none()),
        confirming: snapshot.leaders.iter().filter(|leader| leader.confirms).count(),
        needed: usize::from(info.rules.n() - info.rules.f()),
        key_since_ms,
        leaders: leaders.collect(),
        motions: snapshot.motions.iter().map(motion_facts).collect(),
        ended: snapshot.ended.map(departed),
    }
}

fn motion_facts(open: &OpenMotion) -> MotionFacts {
    MotionFacts { motion: open.motion.kind.into(), user: open.motion.user.to_string(), vote: open.vote }
}

/// How one's own stay ended.
fn departed(cause: Cause) -> &'static str {
    match cause {
        Cause::Expelled => "were expelled from the group",
        Cause::Expired => "have to log in again: the group's policy limits how long a stay lasts",
        Cause::Elsewhere => {
            "logged in somewhere else, and that login took the place of this one. Was it not you? Then tell the operators"
        }
        Cause::SessionOver => "are out, since the operators have ended the session",
        other => words::departure(other),
    }
}

fn text_or_base64(payload: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(payload) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(payload))),
    }
}

fn strings(names: &[UserName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn age_ms(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, age_ms)
}

/// A thread that panicked leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
