//! Sites and the datagrams between them, on a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ringfort_peer::ring::window::Pace;
use ringfort_peer::site::{ClientId, Durable, Effect, Event, Multicast, Site, Step};
use ringfort_peer::{Config, Name, Service, SiteId, SiteSet, Time};
use ringfort_trace_check::Record;
use ringfort_trace_check::record;

use crate::dice::Dice;
use crate::trace;

/// Datagrams that the socket of a sleeping site keeps.
const SOCKET_FRAMES: usize = 256;

/// Whether a frame, from one site to another, is dropped.
pub type Filter = fn(SiteId, SiteId, &[u8]) -> bool;

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Datagrams lost, in a thousand.
    pub loss: u64,
    /// Datagrams doubled, in a thousand.
    pub doubled: u64,
    /// Datagrams that are late, and so out of order, in a thousand.
    pub late: u64,
    /// The shortest and the longest time on the way, in microseconds.
    pub delay_us: (u64, u64),
}

impl Default for Network {
    fn default() -> Self {
        Network { loss: 0, doubled: 0, late: 0, delay_us: (40, 160) }
    }
}

enum Item {
    Frame(SiteId, SiteId, Bytes),
    Wake(SiteId),
}

struct Node {
    site: Option<Site>,
    durable: Durable,
    asleep: bool,
    socket: Vec<(SiteId, Bytes)>,
    wake_at: Option<Time>,
    clients: BTreeMap<ClientId, String>,
}

/// What one step of time did, for scenarios.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that sites sent, by receiver.
    pub frames: u64,
    /// Rings that sites installed.
    pub rings: u64,
    /// Times that sites began to gather.
    pub gatherings: u64,
    /// Sites that overslept.
    pub overslept: u64,
    /// The largest frame.
    pub largest: usize,
}

/// The world.
pub struct World {
    /// The clock.
    pub now: Time,
    /// The network's faults.
    pub network: Network,
    /// Links that carry nothing, each way by itself.
    pub cut: BTreeSet<(SiteId, SiteId)>,
    /// Links that carry no larger frames.
    pub mtu: BTreeMap<(SiteId, SiteId), usize>,
    /// Frames that a scenario drops, by looking at them.
    pub filter: Option<Filter>,
    /// What clients saw.
    pub records: Vec<Record>,
    /// What was counted.
    pub counts: Counts,
    config: Config,
    nodes: BTreeMap<SiteId, Node>,
    items: BTreeMap<(Time, u64), Item>,
    next_item: u64,
    next_message: u64,
    next_client: u64,
    dice: Dice,
}

impl World {
    /// `sites` sites with `config`'s timers and rules; they start at once.
    pub fn new(seed: u64, sites: u8, config: Config) -> Self {
        let all: SiteSet = (0..sites).filter_map(SiteId::new).collect();
        let mut world = World {
            now: Time::from_start(Duration::from_secs(1)),
            network: Network::default(),
            cut: BTreeSet::new(),
            mtu: BTreeMap::new(),
            filter: None,
            records: Vec::new(),
            counts: Counts::default(),
            config: Config { sites: all, ..config },
            nodes: BTreeMap::new(),
            items: BTreeMap::new(),
            next_item: 0,
            next_message: 0,
            next_client: 0,
            dice: Dice::new(seed, 1),
        };
        for site in all.iter() {
            let node = Node {
                site: None,
                durable: Durable::default(),
                asleep: false,
                socket: Vec::new(),
                wake_at: None,
                clients: BTreeMap::new(),
            };
            world.nodes.insert(site, node);
            world.start(site);
        }
        world
    }

    /// All sites, running or not.
    pub fn sites(&self) -> Vec<SiteId> {
        self.nodes.keys().copied().collect()
    }

    /// The core of a site that runs.
    pub fn site(&self, site: SiteId) -> Option<&Site> {
        self.nodes.get(&site)?.site.as_ref()
    }

    /// Whether `site` runs and is awake.
    pub fn is_awake(&self, site: SiteId) -> bool {
        self.nodes.get(&site).is_some_and(|node| node.site.is_some() && !node.asleep)
    }

    /// The clients of a site.
    pub fn clients(&self, site: SiteId) -> Vec<ClientId> {
        self.nodes.get(&site).map(|node| node.clients.keys().copied().collect()).unwrap_or_default()
    }

    /// A client's name in the trace.
    pub fn name(&self, site: SiteId, client: ClientId) -> Option<String> {
        self.nodes.get(&site)?.clients.get(&client).cloned()
    }

    /// Whether all sites that run are in one ring, and no others.
    pub fn is_whole(&self) -> bool {
        let running: SiteSet =
            self.nodes.iter().filter(|(_, node)| node.site.is_some()).map(|(site, _)| *site).collect();
        running.iter().all(|site| self.ring_of(site) == Some(running))
    }

    /// The members of the ring that `site` is in.
    pub fn ring_of(&self, site: SiteId) -> Option<SiteSet> {
        Some(self.site(site)?.ring()?.1)
    }

    // Faults.

    /// A site starts, with what it kept.
    pub fn start(&mut self, site: SiteId) {
        let config = Config { me: site, ..self.config.clone() };
        let Some(node) = self.nodes.get_mut(&site).filter(|node| node.site.is_none()) else { return };
        let (core, step) = Site::new(config, node.durable, self.now);
        node.site = Some(core);
        self.carry_out(site, step);
    }

    /// A site's process dies, and its clients' connections with it.
    pub fn crash(&mut self, site: SiteId) {
        let Some(node) = self.nodes.get_mut(&site) else { return };
        (node.site, node.asleep, node.wake_at) = (None, false, None);
        node.socket.clear();
        let clients = std::mem::take(&mut node.clients);
        self.records.extend(clients.values().map(|name| trace::record(name, record::Event::Crash)));
    }

    /// A site is not scheduled until it is woken; its socket keeps some of what comes.
    pub fn sleep(&mut self, site: SiteId) {
        if let Some(node) = self.nodes.get_mut(&site).filter(|node| node.site.is_some()) {
            node.asleep = true;
        }
    }

    /// A sleeping site goes on: with what its socket kept, or with its timers first.
    pub fn wake(&mut self, site: SiteId, timers_first: bool) {
        let Some(node) = self.nodes.get_mut(&site).filter(|node| node.asleep) else { return };
        node.asleep = false;
        let socket = std::mem::take(&mut node.socket);
        if timers_first {
            self.on_wakeup(site);
        }
        for (from, frame) in socket {
            self.on_frame(from, site, &frame);
        }
        self.on_wakeup(site);
    }

    /// The readers of a site are behind, or follow again.
    pub fn pace(&mut self, site: SiteId, pace: Pace) {
        if let Some(core) = self.nodes.get_mut(&site).and_then(|node| node.site.as_mut()) {
            core.pace(pace);
        }
    }

    /// Nothing goes between these sites and all others.
    pub fn split(&mut self, part: SiteSet) {
        for (a, b) in self.pairs() {
            if part.has(a) != part.has(b) {
                self.cut.insert((a, b));
            }
        }
    }

    /// All links carry everything again.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.mtu.clear();
        self.filter = None;
        self.network = Network { delay_us: self.network.delay_us, ..Network::default() };
    }

    /// All ordered pairs of sites.
    pub fn pairs(&self) -> Vec<(SiteId, SiteId)> {
        let sites = self.sites();
        sites.iter().flat_map(|a| sites.iter().filter(move |b| a != *b).map(move |b| (*a, *b))).collect()
    }

    // Clients.

    /// A client connects to `site` under a name that nobody had before.
    pub fn connect(&mut self, site: SiteId, wants_views: bool) -> Option<ClientId> {
        self.next_client += 1;
        let text = format!("#c{}#s{}", self.next_client, site.get());
        let node = self.nodes.get_mut(&site)?;
        let id = node.site.as_mut()?.connect(Name::new(text.clone())?, wants_views).ok()?;
        node.clients.insert(id, text.clone());
        self.records.push(trace::record(&text, record::Event::Connect));
        Some(id)
    }

    /// A client ends its connection.
    pub fn disconnect(&mut self, site: SiteId, client: ClientId) {
        self.command(site, client, record::Event::Disconnect, |core, now| core.disconnect(now, client));
        if let Some(node) = self.nodes.get_mut(&site) {
            node.clients.remove(&client);
        }
    }

    /// A client asks to join.
    pub fn join(&mut self, site: SiteId, client: ClientId, group: &str) {
        let Some(name) = Name::new(group.to_owned()) else { return };
        let event = record::Event::Join { g: group.to_owned() };
        self.command(site, client, event, |core, now| core.join(now, client, name));
    }

    /// A client asks to leave.
    pub fn leave(&mut self, site: SiteId, client: ClientId, group: &str) {
        let Some(name) = Name::new(group.to_owned()) else { return };
        let event = record::Event::Leave { g: group.to_owned() };
        self.command(site, client, event, |core, now| core.leave(now, client, name));
    }

    /// A client sends a message of about `bytes` bytes.
    pub fn send(
        &mut self,
        site: SiteId,
        client: ClientId,
        service: Service,
        groups: &[&str],
        self_discard: bool,
        bytes: usize,
    ) {
        self.next_message += 1;
        let mut payload = self.next_message.to_le_bytes().to_vec();
        payload.resize(bytes.max(8), (self.next_message % 251) as u8);
        let payload = Bytes::from(payload);
        let event = record::Event::Send {
            m: trace::message_name(&payload),
            svc: trace::service(service),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            discard: self_discard,
            hash: trace::hash(&payload),
        };
        let groups = groups.iter().filter_map(|group| Name::new((*group).to_owned())).collect();
        let message = Multicast { service, groups, self_discard, mark: 7, message_type: 1, payload };
        self.command(site, client, event, |core, now| core.multicast(now, client, message));
    }

    /// Every client that is connected says that it is alive at the end.
    pub fn end(&mut self) {
        for node in self.nodes.values().filter(|node| node.site.is_some()) {
            self.records.extend(node.clients.values().map(|name| trace::record(name, record::Event::End)));
        }
    }

    fn command<E>(
        &mut self,
        site: SiteId,
        client: ClientId,
        event: record::Event,
        does: impl FnOnce(&mut Site, Time) -> Result<Step, E>,
    ) {
        let Some(node) = self.nodes.get_mut(&site).filter(|node| !node.asleep) else { return };
        let (Some(core), Some(name)) = (node.site.as_mut(), node.clients.get(&client)) else { return };
        if core.has_room()
            && let Ok(step) = does(core, self.now)
        {
            // The request stands before what it brings at once.
            self.records.push(trace::record(name, event));
            self.carry_out(site, step);
        }
    }

    // Time.

    /// Goes on for `length`.
    pub fn go(&mut self, length: Duration) {
        let until = self.now + length;
        while let Some(entry) = self.items.first_entry() {
            if entry.key().0 > until {
                break;
            }
            let ((at, _), item) = entry.remove_entry();
            self.now = self.now.max(at);
            match item {
                Item::Frame(from, to, frame) => self.arrive(from, to, frame),
                Item::Wake(site) => {
                    let due = self.nodes.get(&site).is_some_and(|node| node.wake_at == Some(at));
                    if due && self.is_awake(site) {
                        self.on_wakeup(site);
                    }
                }
            }
        }
        self.now = until;
    }

    /// Goes on until `done`, for `length` at most; whether it was.
    pub fn go_until(&mut self, length: Duration, done: impl Fn(&World) -> bool) -> bool {
        let until = self.now + length;
        while self.now < until && !done(self) {
            self.go(Duration::from_millis(5));
        }
        done(self)
    }

    fn arrive(&mut self, from: SiteId, to: SiteId, frame: Bytes) {
        match self.nodes.get_mut(&to) {
            Some(node) if node.asleep && node.socket.len() >= SOCKET_FRAMES => {}
            Some(node) if node.asleep => node.socket.push((from, frame)),
            Some(_) => self.on_frame(from, to, &frame),
            None => {}
        }
    }

    fn on_frame(&mut self, from: SiteId, to: SiteId, frame: &[u8]) {
        if let Some(core) = self.nodes.get_mut(&to).and_then(|node| node.site.as_mut()) {
            let step = core.on_frame(self.now, from, frame);
            self.carry_out(to, step);
        }
    }

    fn on_wakeup(&mut self, site: SiteId) {
        if let Some(core) = self.nodes.get_mut(&site).and_then(|node| node.site.as_mut()) {
            let step = core.on_wakeup(self.now);
            self.carry_out(site, step);
        }
    }

    fn carry_out(&mut self, site: SiteId, step: Step) {
        for effect in step.effects {
            match effect {
                Effect::Persist(durable) => {
                    if let Some(node) = self.nodes.get_mut(&site) {
                        node.durable = durable;
                    }
                }
                Effect::Send { to, frame, .. } => to.iter().for_each(|to| self.post(site, to, frame.clone())),
            }
        }
        let Some(node) = self.nodes.get_mut(&site) else { return };
        for event in &step.events {
            match event {
                Event::Ring(..) => self.counts.rings += 1,
                Event::Gathering(_) => self.counts.gatherings += 1,
                Event::Overslept(_) => self.counts.overslept += 1,
                _ => {}
            }
            self.records.extend(trace::records(site, &node.clients, event));
        }
        let wake_at = node.site.as_ref().and_then(Site::next_wakeup).map(|at| at.max(self.now));
        if wake_at != node.wake_at {
            node.wake_at = wake_at;
            if let Some(at) = wake_at {
                self.put(at, Item::Wake(site));
            }
        }
    }

    fn post(&mut self, from: SiteId, to: SiteId, frame: Bytes) {
        self.counts.frames += 1;
        self.counts.largest = self.counts.largest.max(frame.len());
        let too_large = self.mtu.get(&(from, to)).is_some_and(|mtu| frame.len() > *mtu);
        let filtered = self.filter.is_some_and(|drops| drops(from, to, &frame));
        if self.cut.contains(&(from, to)) || too_large || filtered {
            return;
        }
        let copies = 1 + u64::from(self.dice.chance(self.network.doubled));
        for _ in 0..copies {
            if self.dice.chance(self.network.loss) {
                continue;
            }
            let (low, high) = self.network.delay_us;
            let mut delay = self.dice.between_us(low, high);
            if self.dice.chance(self.network.late) {
                delay += self.dice.between_us(500, 8000);
            }
            self.put(self.now + delay, Item::Frame(from, to, frame.clone()));
        }
    }

    fn put(&mut self, at: Time, item: Item) {
        self.next_item += 1;
        self.items.insert((at, self.next_item), item);
    }
}
