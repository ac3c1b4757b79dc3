//! A deterministic world: components, entities and a hostile network under one seed.

mod hacked;
mod locals;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_kernel::{Cx, Time};

use crate::core::call::Verdict;
use crate::core::entities::Channel;
use crate::core::frame::{BODY_BYTES, Body, FRAME_BYTES, HEADER_BYTES, Header, Proposals, Record};
use crate::core::group::{Group, Secrets};
use crate::core::ids::{Block, Epoch, Index, Tag};
use crate::core::instance::Terms;
use crate::core::peers::{key_of, nonce};
use crate::core::rules::{ROUND, Rules};
use crate::core::{Component, Setup};

/// By how much clocks of different components may differ when the world judges whether something was late.
/// A steady clock is within 20 ms of a majority's, and one that has just settled within 25 ms of theirs.
const SLACK_US: u64 = 50_000;
const ROUND_US: u64 = ROUND.as_micros() as u64;

/// What happens in a world.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub components: usize,
    /// Of 1,000 frames, how many are lost.
    pub lost: u64,
    /// How long a frame may take, in microseconds.
    pub delay_us: u64,
    /// Of 1,000 rounds of a component, how many make it sleep; for how long at most.
    pub stalls: (u64, u64),
    /// Of 1,000 rounds of a component, how many end it; it is started again.
    pub crashes: u64,
    /// Whether the network is cut in two now and then.
    pub cuts: bool,
    /// Whether the network records, repeats, alters and forges.
    pub hostile_network: bool,
    /// Whether other local processes of each host do what they can.
    pub hostile_entities: bool,
    /// How long it lasts, in milliseconds.
    pub millis: u64,
}

impl Weather {
    pub const FAIR: Weather = Weather {
        components: 4,
        lost: 0,
        delay_us: 800,
        stalls: (0, 0),
        crashes: 0,
        cuts: false,
        hostile_network: false,
        hostile_entities: false,
        millis: 2_500,
    };
}

enum Event {
    Round(Index, u32),
    Deliver(Index, Vec<u8>),
    Entity(Index, u32),
    Restart(Index),
    Cut,
}

struct Host {
    component: Option<Component>,
    started_us: u64,
    epoch: u32,
    drift_ppm: i64,
    asleep_until_us: u64,
    entity: KemSecret,
    session: Option<(usize, Channel, u64)>,
    hostile: Option<(usize, KemSecret, Channel, u64)>,
}

/// What the world knows of one agreement that honest entities make.
struct Known {
    terms: Terms,
    /// When its result is late, by the world's time.
    deadline_real_us: u64,
    /// What each entity was told was taken.
    proposed: BTreeMap<u8, Block>,
    /// The first result that anybody was told of.
    verdict: Option<Verdict>,
    told_late: BTreeMap<u8, bool>,
}

pub struct World {
    pub weather: Weather,
    pub now_us: u64,
    pub rng: ChaCha20Rng,
    rules: Rules,
    group: Group,
    secrets: Vec<Secrets>,
    hosts: Vec<Host>,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    known: BTreeMap<Tag, Known>,
    order: VecDeque<Tag>,
    last_made_us: u64,
    recorded: Vec<(u64, Index, Vec<u8>)>,
    /// The front of what each component sent last, which anybody reads.
    heads: BTreeMap<u8, Header>,
    /// Honest entities make and propose nothing.
    pub quiet: bool,
    cut: Vec<bool>,
    seen: BTreeSet<(Tag, u8, u32)>,
    pub decided: usize,
    pub in_time: usize,
    pub timing_failures: usize,
    pub violation: Option<String>,
}

impl World {
    pub fn new(seed: u64, weather: Weather, rules: Rules) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let secrets: Vec<Secrets> = (0..weather.components)
            .map(|_| Secrets { signing: SigningKey::generate(&mut rng), exchange: KemSecret::generate(&mut rng) })
            .collect();
        let members = secrets.iter().enumerate().map(|(at, secret)| secret.member(&format!("host-{at}"))).collect();
        let group = Group::new(members).unwrap();
        let mut world = World {
            weather,
            now_us: 1_000_000,
            rules,
            group,
            secrets,
            hosts: Vec::new(),
            events: BTreeMap::new(),
            next_event: 0,
            known: BTreeMap::new(),
            order: VecDeque::new(),
            last_made_us: 0,
            recorded: Vec::new(),
            heads: BTreeMap::new(),
            quiet: false,
            cut: vec![false; weather.components],
            seen: BTreeSet::new(),
            decided: 0,
            in_time: 0,
            timing_failures: 0,
            violation: None,
            rng,
        };
        for index in world.group.indices().collect::<Vec<_>>() {
            let host = Host {
                component: None,
                started_us: 0,
                epoch: 0,
                drift_ppm: world.below(160) as i64 - 80,
                asleep_until_us: 0,
                entity: KemSecret::generate(&mut world.rng),
                session: None,
                hostile: None,
            };
            world.hosts.push(host);
            let after = world.below(30_000);
            world.at(after, Event::Restart(index));
        }
        if weather.cuts {
            world.at(400_000, Event::Cut);
        }
        world
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.rng.next_u64() % bound }
    }

    fn chance(&mut self, of_1000: u64) -> bool {
        self.below(1000) < of_1000
    }

    fn at(&mut self, after_us: u64, event: Event) {
        self.next_event += 1;
        self.events.insert((self.now_us + after_us, self.next_event), event);
    }

    fn broken(&mut self, what: String) {
        let at = self.now_us;
        self.violation.get_or_insert(format!("at {at} us: {what}"));
    }

    /// A component's own clock.
    fn local(&self, index: Index) -> Time {
        let host = &self.hosts[index.place()];
        let real = (self.now_us - host.started_us) as i64;
        Time::from_start(Duration::from_micros((real + real * host.drift_ppm / 1_000_000) as u64))
    }

    /// The middle of the clocks that are set: the group's time, as the world sees it.
    fn group_us(&self) -> Option<u64> {
        let mut all: Vec<u64> = self.group.indices().filter_map(|index| self.reading(index)).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }

    fn reading(&self, index: Index) -> Option<u64> {
        let component = self.hosts[index.place()].component.as_ref()?;
        component.clock.is_steady().then(|| component.clock.read(crate::core::micros(self.local(index))))
    }

    /// Runs until the end, or until something is broken.
    pub fn run(&mut self) {
        let end = self.now_us + self.weather.millis * 1000;
        while self.now_us < end && self.violation.is_none() {
            let Some(((at, _), event)) = self.events.pop_first() else { break };
            self.now_us = at;
            self.step(event);
        }
    }

    pub fn run_for(&mut self, millis: u64) {
        self.weather.millis = millis;
        self.run();
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Round(index, epoch) if self.hosts[index.place()].epoch == epoch => self.round(index),
            Event::Entity(index, epoch) if self.hosts[index.place()].epoch == epoch => {
                if let Some(wait) = self.sleeping(index) {
                    return self.at(wait, Event::Entity(index, epoch));
                }
                if !self.quiet {
                    self.entity(index);
                }
                if self.weather.hostile_entities {
                    self.hostile_entity(index);
                }
                let after = 7_000 + self.below(9_000);
                self.at(after, Event::Entity(index, epoch));
            }
            Event::Deliver(index, frame) => {
                if let Some(wait) = self.sleeping(index) {
                    return self.at(wait, Event::Deliver(index, frame));
                }
                let now = self.local(index);
                if let Some(component) = &mut self.hosts[index.place()].component {
                    component.on_frame(now, &frame);
                    self.look(index);
                }
            }
            Event::Restart(index) => self.restart(index),
            Event::Cut => {
                let whole = self.cut.iter().any(|side| *side);
                for side in 0..self.cut.len() {
                    self.cut[side] = !whole && self.below(2) == 0;
                }
                let after = 100_000 + self.below(300_000);
                self.at(after, Event::Cut);
            }
            Event::Round(..) | Event::Entity(..) => {}
        }
    }

    /// How long the host sleeps on; what comes to it waits, as in a socket.
    fn sleeping(&self, index: Index) -> Option<u64> {
        let until = self.hosts[index.place()].asleep_until_us;
        (until > self.now_us).then(|| until - self.now_us + 1)
    }

    pub fn sleep(&mut self, index: Index, micros: u64) {
        self.hosts[index.place()].asleep_until_us = self.now_us + micros;
    }

    pub fn end(&mut self, index: Index) {
        let host = &mut self.hosts[index.place()];
        (host.component, host.session, host.hostile) = (None, None, None);
        host.epoch += 1;
    }

    pub fn restart(&mut self, index: Index) {
        let now_us = self.now_us;
        let mut boot = ChaCha20Rng::seed_from_u64(self.rng.next_u64());
        let setup = Setup {
            group: self.group.clone(),
            me: index,
            secrets: self.secrets[index.place()].clone(),
            epoch: Epoch(self.hosts[index.place()].epoch + 1),
        };
        // Wall clocks are right, or an hour off; they are looked at only where there is nothing else.
        let off_ms = [0, 40, 3_600_000, -3_600_000][self.below(4) as usize] + self.below(30) as i64;
        let host = &mut self.hosts[index.place()];
        host.epoch += 1;
        host.started_us = now_us;
        host.asleep_until_us = 0;
        (host.session, host.hostile) = (None, None);
        let unix_ms = (1_700_000_000_000 + now_us as i64 / 1000 + off_ms) as u64;
        let mut cx = Cx { now: Time::ZERO, unix_ms, rng: &mut boot };
        host.component = Some(Component::with_rules(setup, self.rules, &mut cx));
        let epoch = host.epoch;
        let (round, entity) = (self.below(ROUND_US), self.below(20_000));
        self.at(round, Event::Round(index, epoch));
        self.at(entity, Event::Entity(index, epoch));
    }

    fn round(&mut self, index: Index) {
        let epoch = self.hosts[index.place()].epoch;
        if let Some(wait) = self.sleeping(index) {
            return self.at(wait, Event::Round(index, epoch));
        }
        if self.chance(self.weather.crashes) {
            self.end(index);
            let after = 20_000 + self.below(200_000);
            return self.at(after, Event::Restart(index));
        }
        if self.chance(self.weather.stalls.0) {
            let length = self.below(self.weather.stalls.1);
            self.sleep(index, length);
            return self.at(length + 1, Event::Round(index, epoch));
        }
        let now = self.local(index);
        let mut sent = Vec::new();
        if let Some(component) = &mut self.hosts[index.place()].component {
            component.on_round(now, &mut |to, frame| sent.push((to, frame.to_vec())));
        }
        self.look(index);
        self.check_clock(index);
        for (to, frame) in sent {
            self.post(index, to, frame);
        }
        let late = self.below(1_500);
        self.at(ROUND_US + late / 4, Event::Round(index, epoch));
    }

    fn post(&mut self, from: Index, to: Index, frame: Vec<u8>) {
        let head = frame.first_chunk().and_then(Header::decode);
        self.heads.extend(head.map(|head| (from.get(), head)));
        if self.cut[from.place()] != self.cut[to.place()] {
            return;
        }
        if self.weather.hostile_network {
            self.meddle(from, to, &frame);
        }
        if self.chance(self.weather.lost) {
            return;
        }
        let delay = 50 + self.below(self.weather.delay_us);
        self.at(delay, Event::Deliver(to, frame));
    }

    /// The network keeps frames, and sends old, altered and forged ones.
    fn meddle(&mut self, from: Index, to: Index, frame: &[u8]) {
        if self.recorded.len() < 4_000 {
            self.recorded.push((self.now_us, to, frame.to_vec()));
        }
        if self.chance(100) {
            let mut altered = frame.to_vec();
            let at = self.below(FRAME_BYTES as u64) as usize;
            altered[at] ^= 1 << self.below(8);
            self.at(10, Event::Deliver(to, altered));
        }
        if self.chance(100) && !self.recorded.is_empty() {
            let at = self.below(self.recorded.len() as u64) as usize;
            let (_, whose, old) = self.recorded[at].clone();
            self.at(20, Event::Deliver(whose, old));
        }
        if self.chance(30) {
            let forged = self.forge(from, to, frame);
            self.at(10, Event::Deliver(to, forged));
        }
    }

    /// Plays everything that was ever recorded for a component again.
    pub fn replay_all(&mut self, to: Index) {
        let old: Vec<Vec<u8>> =
            self.recorded.iter().filter(|(_, whose, _)| *whose == to).map(|(.., f)| f.clone()).collect();
        for (place, frame) in old.into_iter().enumerate() {
            self.at(place as u64 * 40, Event::Deliver(to, frame));
        }
    }

    /// Cuts a component off, and plays to it what it was sent when it was started first, at the same pace.
    pub fn replay_start(&mut self, to: Index) {
        self.cut = vec![false; self.cut.len()];
        self.cut[to.place()] = true;
        let first = self.recorded.iter().map(|(at, ..)| *at).min().unwrap_or_default();
        let old: Vec<_> = self.recorded.iter().filter(|(_, whose, _)| *whose == to).cloned().collect();
        for (at, _, frame) in old {
            self.at(at - first, Event::Deliver(to, frame));
        }
    }

    /// A frame that says that an agreement is decided for what nobody proposed, sealed under a key that anybody has.
    fn forge(&mut self, from: Index, to: Index, frame: &[u8]) -> Vec<u8> {
        let head: [u8; HEADER_BYTES] = frame[..HEADER_BYTES].try_into().unwrap();
        let mut header = Header::decode(&head).unwrap();
        header.number += 1;
        // The receiver's start is in clear on its own frames.
        let other =
            self.recorded.iter().rev().filter_map(|(.., f)| Header::decode(f[..HEADER_BYTES].try_into().unwrap()));
        let other = other.into_iter().find(|header| header.from == to);
        let mut proposals = Proposals::default();
        proposals.insert(from, [0xee; 32]);
        let tag = self.order.back().copied();
        let record = tag.and_then(|tag| self.known.get(&tag)).map(|known| Record {
            tag: known.terms.tag(self.group.id()),
            listed: known.terms.listed,
            decision: known.terms.decision,
            start_us: known.terms.start_us,
            epochs: known.terms.epochs(),
            promised: 16,
            accepted: 16,
            decided: true,
            proposals,
        });
        let (echo_epoch, echo_boot) = other.map(|header| (header.epoch, header.boot)).unwrap_or_default();
        let body = Body { echo_epoch, echo_boot, clock: Default::default(), records: [record, None] };
        let key = key_of(&Secret32::new([0; 32]), from, to, header.epoch, &header.boot);
        let sealed = key.seal(&nonce(header.number), &header.encode(), &body.encode());
        assert_eq!(sealed.len(), BODY_BYTES + 16);
        [&header.encode()[..], &sealed].concat()
    }
}
