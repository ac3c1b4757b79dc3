//! Members of one group over the model of the sites, on a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringfort_crypto::sign::SigningKey;
use ringfort_kernel::{Cx, Time};
use ringfort_peer::{Name, Service};
use ringfort_peer_keys::ids::{Context, Round};
use ringfort_peer_keys::peer::{Arrival, Config, SecureView};
use ringfort_peer_keys::wire::{Body, FlushOk, Frame, KeyPayload};
use ringfort_peer_keys::{Effect, Event, Group, KeyProtocol, Peer, Policy, Ristretto, Rules, Step};

use super::choices::Choices;
use super::sites::{Entry, Sites, Told};
use super::symbolic::{self, Secret, Symbolic};

/// A group that can be asked what happened in it.
pub trait Observed: Group {
    fn act_as(_who: &Name) {}
    fn last_secret(_who: &Name) -> Option<Secret> {
        None
    }
}

impl Observed for Ristretto {}

impl Observed for Symbolic {
    fn act_as(who: &Name) {
        symbolic::act_as(&text(who));
    }
    fn last_secret(who: &Name) -> Option<Secret> {
        symbolic::last_secret(&text(who))
    }
}

pub fn name(text: &str) -> Name {
    Name::new(text.to_owned()).unwrap()
}

pub fn text(name: &Name) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}

/// What a process saw or did, each with its place among everything that happened.
#[derive(Clone, Debug)]
pub enum Seen {
    Secure {
        view: SecureView,
        secret: Option<Secret>,
        in_transition: bool,
        site: BTreeSet<Name>,
        out: BTreeSet<Name>,
    },
    Sent {
        message: u64,
        context: Context,
        private: bool,
    },
    Got {
        message: u64,
        from: Name,
        private: bool,
    },
    FlushRequest,
    FlushOk,
    Answered(Round),
    Transitional,
    /// Its stay ended: it crashed, left or was put out.
    Ended,
    Other(Event),
}

/// How an application answers a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    Prompt,
    Slow,
    Never,
}

pub struct Process<G: Group> {
    pub peer: Option<Peer<G>>,
    pub key: SigningKey,
    pub manners: Manners,
    pub log: Vec<(u64, Seen)>,
    rng: ChaCha12Rng,
    asked: bool,
    finished: bool,
    /// The sites' view as it was told last, and who of it is out.
    site: BTreeSet<Name>,
    out: BTreeSet<Name>,
    in_transition: bool,
    /// Whose confirmations it was given, by view.
    pub confirmations: BTreeMap<Context, BTreeSet<Name>>,
}

type Tamper = Box<dyn FnMut(&Name, &Name, Bytes) -> Vec<(Name, Bytes)>>;
type Insider = Box<dyn FnMut(Bytes) -> Vec<Bytes>>;

pub struct World<G: Group> {
    pub now: Time,
    pub sites: Sites,
    pub processes: BTreeMap<Name, Process<G>>,
    pub policy: Arc<Policy>,
    pub rules: Rules,
    pub complaints: Vec<String>,
    /// A hostile site: what becomes of a message (sender, receiver, bytes) on its way.
    pub tamper: Option<Tamper>,
    /// A hostile member: what becomes of what it sends.
    pub insider: Option<(Name, Insider)>,
    /// Every frame that was ever put into the order, with its sender.
    pub frames: Vec<(Name, Bytes)>,
    stamp: u64,
    next_message: u64,
}

impl<G: Observed> World<G> {
    pub fn new(members: &[&str], protocol: KeyProtocol, rules: Rules) -> Self {
        symbolic::reset();
        let names: Vec<Name> = members.iter().map(|text| name(text)).collect();
        let mut processes = BTreeMap::new();
        let mut admitted = BTreeMap::new();
        for (n, name) in names.iter().enumerate() {
            let mut rng = ChaCha12Rng::seed_from_u64(1000 + n as u64);
            let key = SigningKey::generate(&mut rng);
            admitted.insert(key.verifying_key().to_bytes(), text(name));
            let process = Process {
                peer: None,
                key,
                manners: Manners::Prompt,
                log: Vec::new(),
                rng,
                asked: false,
                finished: false,
                site: BTreeSet::new(),
                out: BTreeSet::new(),
                in_transition: false,
                confirmations: BTreeMap::new(),
            };
            processes.insert(name.clone(), process);
        }
        let policy = Policy { protocol, refresh_every: Duration::ZERO, ..Policy::new("talk", admitted) };
        World {
            now: Time::from_start(Duration::from_secs(1)),
            sites: Sites::new(&names),
            processes,
            policy: Arc::new(policy),
            rules,
            complaints: Vec::new(),
            tamper: None,
            insider: None,
            frames: Vec::new(),
            stamp: 0,
            next_message: 0,
        }
    }

    pub fn names(&self) -> Vec<Name> {
        self.processes.keys().cloned().collect()
    }

    // What the processes do.

    pub fn join(&mut self, who: &Name) {
        self.join_with(who, self.policy.clone());
    }

    pub fn join_with(&mut self, who: &Name, policy: Arc<Policy>) {
        let process = self.processes.get_mut(who).unwrap();
        if process.peer.is_some() || !self.sites.is_connected(who) || self.sites.group_of(who).contains(who) {
            return;
        }
        let config = Config { policy, me: who.clone(), key: process.key.clone(), rules: self.rules };
        process.peer = Some(Peer::new(config, self.now));
        (process.asked, process.finished, process.in_transition) = (false, false, false);
        process.out.clear();
        self.sites.post(Entry::Join(who.clone()));
    }

    pub fn leave(&mut self, who: &Name) {
        if self.processes.get_mut(who).unwrap().peer.take().is_some() {
            self.see(who, Seen::Ended);
            self.sites.post(Entry::Leave(who.clone()));
        }
    }

    pub fn crash(&mut self, who: &Name, choices: &mut Choices) {
        self.processes.get_mut(who).unwrap().peer = None;
        self.see(who, Seen::Ended);
        self.sites.crash(who, &mut || choices.chance(50));
        self.hand_over();
    }

    pub fn start(&mut self, who: &Name) {
        self.sites.start(who);
        self.hand_over();
    }

    pub fn split(&mut self, at: usize, part: &BTreeSet<Name>, choices: &mut Choices) {
        self.sites.split(at, part, &mut || choices.chance(50));
        self.hand_over();
    }

    pub fn merge(&mut self, a: usize, b: usize) {
        self.sites.merge(a, b);
        self.hand_over();
    }

    /// Sends a message, to all or to one; whether it could.
    pub fn send(&mut self, who: &Name, service: Service, to: Option<&Name>) -> bool {
        let message = self.next_message;
        let Some(context) = self.context(who) else { return false };
        let outcome = self.with_peer(who, |peer, _| match to {
            Some(to) => peer.send_to(to.clone(), &message.to_le_bytes()),
            None => peer.send(service, &message.to_le_bytes()),
        });
        let Some(Ok(step)) = outcome else { return false };
        self.next_message += 1;
        if self.processes[who].finished {
            self.complaints.push(format!("V2: {who:?} sent between its flush-ok and the next view"));
        }
        self.see(who, Seen::Sent { message, context, private: to.is_some() });
        self.carry_out(who, step);
        true
    }

    pub fn refresh(&mut self, who: &Name) {
        if let Some(Ok(step)) = self.with_peer(who, |peer, _| peer.refresh()) {
            self.carry_out(who, step);
        }
    }

    /// A slow application gives its word.
    pub fn answer(&mut self, who: &Name) {
        let process = self.processes.get_mut(who).unwrap();
        if !std::mem::take(&mut process.asked) {
            return;
        }
        process.finished = true;
        self.see(who, Seen::FlushOk);
        if let Some(step) = self.with_peer(who, Peer::flush_ok) {
            self.carry_out(who, step);
        }
    }

    pub fn with_peer<T>(&mut self, who: &Name, does: impl FnOnce(&mut Peer<G>, &mut Cx<'_>) -> T) -> Option<T> {
        G::act_as(who);
        let process = self.processes.get_mut(who)?;
        let mut cx = Cx { now: self.now, unix_ms: 0, rng: &mut process.rng };
        Some(does(process.peer.as_mut()?, &mut cx))
    }

    /// The secure view that a process is in.
    pub fn context(&self, who: &Name) -> Option<Context> {
        self.secure_view(who).map(|view| view.context)
    }

    pub fn secure_view(&self, who: &Name) -> Option<&SecureView> {
        self.processes[who]
            .log
            .iter()
            .rev()
            .take_while(|(_, seen)| !matches!(seen, Seen::Ended))
            .find_map(|(_, seen)| if let Seen::Secure { view, .. } = seen { Some(view) } else { None })
    }

    pub fn see(&mut self, who: &Name, seen: Seen) {
        self.stamp += 1;
        self.processes.get_mut(who).unwrap().log.push((self.stamp, seen));
    }

    // Moves.

    /// One of all the moves that are possible now; false if there is none.
    pub fn step(&mut self, choices: &mut Choices) -> bool {
        let senders = self.sites.senders();
        let receivers = self.sites.receivers();
        let slow: Vec<Name> = self
            .processes
            .iter()
            .filter(|(_, process)| process.asked && process.manners == Manners::Slow)
            .map(|(name, _)| name.clone())
            .collect();
        let moves = senders.len() + receivers.len() + slow.len();
        if moves == 0 {
            return false;
        }
        let at = choices.below(moves);
        if let Some(name) = senders.get(at) {
            self.sites.order_one(name);
        } else if let Some(name) = receivers.get(at - senders.len()) {
            self.sites.receive_one(name);
            self.hand_over();
        } else {
            self.answer(&slow[at - senders.len() - receivers.len()].clone());
        }
        true
    }

    /// Moves until nothing is left to do but wait; then waits, for so long at most.
    pub fn settle(&mut self, length: Duration, choices: &mut Choices) {
        let until = self.now + length;
        let mut moves = 0;
        loop {
            while self.step(choices) {
                moves += 1;
                assert!(moves < 200_000, "no end of messages");
            }
            let next = self.processes.values().filter_map(|process| process.peer.as_ref()?.next_wakeup()).min();
            match next {
                Some(at) if at <= until => {
                    self.now = self.now.max(at);
                    self.wake();
                }
                _ => break,
            }
        }
        self.now = until;
    }

    /// Wakes whoever is due.
    pub fn wake(&mut self) {
        for name in self.names() {
            let due = self.processes[&name].peer.as_ref().and_then(Peer::next_wakeup).is_some_and(|at| at <= self.now);
            if due && let Some(step) = self.with_peer(&name, Peer::on_wakeup) {
                self.carry_out(&name, step);
            }
        }
    }

    fn hand_over(&mut self) {
        while !self.sites.told.is_empty() {
            let (to, told) = self.sites.told.remove(0);
            match told {
                Told::View(view) => {
                    let process = self.processes.get_mut(&to).unwrap();
                    process.in_transition = false;
                    process.out.clear();
                    process.site = view.members.clone();
                    if let Some(step) = self.with_peer(&to, |peer, cx| peer.on_view(cx, view)) {
                        self.carry_out(&to, step);
                    }
                }
                Told::Transitional => {
                    self.processes.get_mut(&to).unwrap().in_transition = true;
                    self.see(&to, Seen::Transitional);
                    if let Some(step) = self.with_peer(&to, |peer, _| peer.on_transitional()) {
                        self.carry_out(&to, step);
                    }
                }
                Told::Message(from, arrival, bytes) => {
                    let all = match &mut self.tamper {
                        Some(tamper) => tamper(&from, &to, bytes),
                        None => vec![(from, bytes)],
                    };
                    for (from, bytes) in all {
                        self.give_as(&to, &from, arrival, &bytes);
                    }
                }
            }
        }
    }

    /// Gives a message to a process, as its site would if it came as it says.
    pub fn give(&mut self, to: &Name, from: &Name, bytes: &[u8]) {
        let arrival = match Frame::decode(bytes) {
            Some(Frame::Data(frame)) => Arrival { service: frame.service, private: frame.to.is_some() },
            _ => Arrival { service: Service::Agreed, private: false },
        };
        self.give_as(to, from, arrival, bytes);
    }

    /// Gives a message to a process, as its site would.
    pub fn give_as(&mut self, to: &Name, from: &Name, arrival: Arrival, bytes: &[u8]) {
        if let Some(Frame::Key(frame)) = Frame::decode(bytes)
            && matches!(frame.payload, KeyPayload::Confirm(_))
        {
            let process = self.processes.get_mut(to).unwrap();
            process.confirmations.entry(frame.context).or_default().insert(from.clone());
        }
        if let Some(step) = self.with_peer(to, |peer, cx| peer.on_message(cx, from, arrival, bytes)) {
            self.carry_out(to, step);
        }
    }

    pub fn carry_out(&mut self, who: &Name, step: Step) {
        for effect in step.effects {
            match effect {
                Effect::Multicast { service, to, bytes } => {
                    if let Some(Frame::FlushOk(signed)) = Frame::decode(&bytes)
                        && let Some(ok) = FlushOk::read(&signed)
                    {
                        self.see(who, Seen::Answered(ok.round));
                    }
                    let all = match &mut self.insider {
                        Some((insider, does)) if insider == who => does(bytes),
                        _ => vec![bytes],
                    };
                    for bytes in all {
                        self.frames.push((who.clone(), bytes.clone()));
                        self.sites.post(Entry::Message { from: who.clone(), service, to: to.clone(), bytes });
                    }
                }
                Effect::Leave => self.leave(who),
            }
        }
        for event in step.events {
            self.on_event(who, event);
        }
    }

    fn on_event(&mut self, who: &Name, event: Event) {
        match event {
            Event::FlushRequest => {
                self.see(who, Seen::FlushRequest);
                let process = self.processes.get_mut(who).unwrap();
                process.asked = true;
                if process.manners == Manners::Prompt {
                    self.answer(who);
                }
            }
            Event::Secure(view) => {
                let process = self.processes.get_mut(who).unwrap();
                process.finished = false;
                let (in_transition, out) = (process.in_transition, process.out.clone());
                let site = process.site.clone();
                self.see(who, Seen::Secure { view, secret: G::last_secret(who), in_transition, site, out });
            }
            Event::Message { from, private, message, .. } => {
                let message = message.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
                self.see(who, Seen::Got { message, from, private });
            }
            Event::Out(name, why) => {
                self.processes.get_mut(who).unwrap().out.insert(name.clone());
                self.see(who, Seen::Other(Event::Out(name, why)));
            }
            other => self.see(who, Seen::Other(other)),
        }
    }

    // At the end.

    /// Everything is mended and everybody joins; until all are together, for a minute at most. How long it took.
    pub fn make_peace(&mut self, choices: &mut Choices) -> Duration {
        for name in self.names() {
            self.processes.get_mut(&name).unwrap().manners = Manners::Prompt;
            self.answer(&name);
            self.start(&name);
        }
        while self.sites.components() > 1 {
            self.merge(0, 1);
        }
        let since = self.now;
        while !self.is_whole() && self.now.since(since) < Duration::from_secs(60) {
            for name in self.names() {
                self.join(&name);
            }
            self.settle(Duration::from_millis(500), choices);
        }
        self.now.since(since)
    }

    /// Whether everybody is in one secure view, and may send.
    pub fn is_whole(&self) -> bool {
        let names: BTreeSet<Name> = self.processes.keys().cloned().collect();
        let first = names.iter().next().and_then(|name| self.context(name));
        first.is_some()
            && names.iter().all(|name| {
                let view = self.secure_view(name);
                view.is_some_and(|view| Some(view.context) == first && view.members.len() == names.len())
                    && self.processes[name].peer.as_ref().is_some_and(Peer::can_send)
            })
    }
}
