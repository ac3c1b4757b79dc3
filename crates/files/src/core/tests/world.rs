//! Some members, a bad network, and disks in memory. One seed gives one run.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ringfort::protocol::{Time, UserName};

use crate::core::limits::Limits;
use crate::core::message::OfferId;
use crate::core::{Action, Effect, Exchange, Job, Number, Part, To, Transfer, What};

pub const TOPIC: &str = "files";
pub const MESSAGE_BYTES_MAX: u32 = 256 * 1024;

pub fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

/// What a bad network does, in percent.
#[derive(Clone, Copy, Default)]
pub struct Network {
    pub loses: u64,
    pub doubles: u64,
    /// Up to so long, in milliseconds.
    pub delays_ms: u64,
}

#[derive(Default)]
pub struct Disk {
    pub parts: BTreeMap<Part, Vec<u8>>,
    jobs: BTreeMap<Job, Part>,
    pub complete: Vec<(String, Vec<u8>)>,
    pub fails: bool,
}

pub struct Node {
    pub exchange: Exchange,
    pub disk: Disk,
    sources: BTreeMap<Number, Vec<u8>>,
    /// Nothing goes to it or comes from it, as when its links are down.
    pub cut: bool,
    /// Bytes a millisecond that it can take; 0 for any number.
    pub slow: u64,
    free_at: u64,
}

pub struct World {
    pub now_ms: u64,
    pub nodes: BTreeMap<UserName, Node>,
    network: Network,
    random: u64,
    /// When, in what order, from whom, to whom.
    wire: BTreeMap<(u64, u64), (UserName, UserName, Bytes)>,
    sent: u64,
    /// Bytes of pieces that were put on the wire, once for each message.
    pub chunk_bytes_sent: u64,
}

impl World {
    pub fn new(names: &[&str], network: Network, seed: u64, limits: &Limits) -> World {
        let mut world = World {
            now_ms: 0,
            nodes: BTreeMap::new(),
            network,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            wire: BTreeMap::new(),
            sent: 0,
            chunk_bytes_sent: 0,
        };
        for name in names {
            world.nodes.insert(user(name), Node::new(name, limits));
        }
        world.meet();
        world
    }

    pub fn dice(&mut self, sides: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % sides
    }

    pub fn now(&self) -> Time {
        Time::from_start(Duration::from_millis(self.now_ms))
    }

    /// Everybody learns who is here.
    pub fn meet(&mut self) {
        let members: Vec<UserName> = self.nodes.keys().cloned().collect();
        for name in members.clone() {
            self.step(&name, |exchange, now| exchange.on_members(now, members.clone()));
        }
    }

    /// Starts again with what is on the disk.
    pub fn restart(&mut self, name: &str, limits: &Limits) {
        let old = self.nodes.remove(&user(name)).unwrap();
        self.meet();
        let mut node = Node::new(name, limits);
        node.disk.parts = old.disk.parts;
        node.disk.complete = old.disk.complete;
        self.nodes.insert(user(name), node);
        self.meet();
    }

    pub fn send(&mut self, from: &str, to: &[&str], name: &str, content: &[u8]) -> Number {
        let to: Vec<UserName> = to.iter().map(|name| user(name)).collect();
        let id = OfferId(std::array::from_fn(|_| self.dice(256) as u8));
        let node = self.nodes.get_mut(&user(from)).unwrap();
        let number = node.exchange.prepare(TOPIC, &to, name, content.len() as u64).unwrap();
        node.sources.insert(number, content.to_vec());
        let root = *blake3::hash(content).as_bytes();
        self.step(&user(from), |x, now| x.on_prepared(now, number, id, content.len() as u64, root));
        number
    }

    pub fn act(&mut self, name: &str, number: Number, action: Action) {
        self.step(&user(name), |exchange, now| exchange.act(now, TOPIC, number, action).unwrap());
    }

    pub fn list(&self, name: &str) -> Vec<Transfer> {
        self.nodes[&user(name)].exchange.list(self.now(), TOPIC)
    }

    /// The newest transfer.
    pub fn last(&self, name: &str) -> Transfer {
        self.list(name).pop().expect("a transfer")
    }

    pub fn step(&mut self, name: &UserName, work: impl FnOnce(&mut Exchange, Time) -> Vec<Effect>) {
        let now = self.now();
        let node = self.nodes.get_mut(name).unwrap();
        let mut effects: std::collections::VecDeque<Effect> = work(&mut node.exchange, now).into();
        while let Some(effect) = effects.pop_front() {
            effects.extend(node.carry_out(now, effect));
        }
    }

    /// One millisecond: what is due arrives, and everybody sends a few messages.
    pub fn tick(&mut self) {
        self.now_ms += 1;
        let now = self.now();
        let due: Vec<_> = self.wire.range(..(self.now_ms, 0)).map(|(key, _)| *key).collect();
        for key in due {
            let (from, to, bytes) = self.wire.remove(&key).unwrap();
            if self.nodes.get(&to).is_some_and(|node| !node.cut) {
                self.step(&to, |exchange, now| exchange.on_message(now, &from, TOPIC, &bytes));
            }
        }
        for name in self.nodes.keys().cloned().collect::<Vec<_>>() {
            let node = self.nodes.get_mut(&name).unwrap();
            if node.cut {
                continue;
            }
            if node.exchange.next_wakeup().is_some_and(|at| at <= now) {
                node.exchange.on_wakeup(now);
            }
            for _ in 0..8 {
                let node = self.nodes.get_mut(&name).unwrap();
                let Some(outbound) = node.exchange.next_outbound(now) else { break };
                let bytes: Bytes = match &outbound.what {
                    What::Message(bytes) => bytes.clone().into(),
                    What::Chunk { number, head, offset, len, .. } => {
                        let start = *offset as usize;
                        let piece = &node.sources[number][start..start + len];
                        self.chunk_bytes_sent += piece.len() as u64;
                        [head.as_slice(), piece].concat().into()
                    }
                };
                assert!(bytes.len() <= MESSAGE_BYTES_MAX as usize);
                let to: Vec<UserName> = match outbound.to {
                    To::Group => self.nodes.keys().filter(|other| **other != name).cloned().collect(),
                    To::Only(to) => to,
                };
                to.iter().for_each(|to| self.put(&name, to, &bytes));
            }
        }
    }

    /// Messages that are no pieces are the group's to repair, and to keep in order: they are only late.
    fn put(&mut self, from: &UserName, to: &UserName, bytes: &Bytes) {
        let chunk = bytes.first() == Some(&2);
        let copies = match () {
            () if chunk && self.dice(100) < self.network.loses => 0,
            () if chunk && self.dice(100) < self.network.doubles => 2,
            () => 1,
        };
        for _ in 0..copies {
            let late = if chunk { self.dice(self.network.delays_ms + 1) } else { self.network.delays_ms };
            let mut at = self.now_ms + 1 + late;
            if let Some(node) = self.nodes.get_mut(to).filter(|node| node.slow > 0) {
                node.free_at = node.free_at.max(at) + bytes.len() as u64 / node.slow;
                at = node.free_at;
            }
            self.sent += 1;
            self.wire.insert((at, self.sent), (from.clone(), to.clone(), bytes.clone()));
        }
    }

    pub fn run(&mut self, ms: u64) {
        (0..ms).for_each(|_| self.tick());
    }

    /// Runs until something is so; fails after a minute of the world's time.
    pub fn until(&mut self, what: &str, so: impl Fn(&World) -> bool) {
        let end = self.now_ms + 60_000;
        while !so(self) {
            assert!(
                self.now_ms < end,
                "{what}: not within a minute\n{:#?}",
                self.nodes.values().map(|n| n.exchange.all(self.now())).collect::<Vec<_>>()
            );
            self.tick();
        }
    }
}

impl Node {
    fn new(name: &str, limits: &Limits) -> Node {
        let exchange = Exchange::new(user(name), MESSAGE_BYTES_MAX, limits.clone());
        Node { exchange, disk: Disk::default(), sources: BTreeMap::new(), cut: false, slow: 0, free_at: 0 }
    }

    fn carry_out(&mut self, now: Time, effect: Effect) -> Vec<Effect> {
        let (x, disk) = (&mut self.exchange, &mut self.disk);
        match effect {
            Effect::Find(number, part) if disk.parts.contains_key(&part) => x.on_found(number),
            Effect::Find(..) => Vec::new(),
            Effect::Open(job, part, chunk_bytes) => {
                let content = disk.parts.entry(part.clone()).or_default();
                if content.len() as u64 != part.bytes {
                    content.truncate(content.len() - content.len() % chunk_bytes as usize);
                }
                let chunks = content.len().div_ceil(chunk_bytes as usize) as u32;
                disk.jobs.insert(job, part);
                x.on_opened(now, job, chunks)
            }
            Effect::Write(job, _) if disk.fails => x.on_disk_failed(job, "the disk is full".into()),
            Effect::Write(job, pieces) => {
                let content = disk.parts.get_mut(&disk.jobs[&job]).unwrap();
                pieces.iter().for_each(|piece| content.extend_from_slice(piece));
                x.on_written(now, job, pieces.len() as u32)
            }
            Effect::Hash(job) => x.on_hashed(job, *blake3::hash(&disk.parts[&disk.jobs[&job]]).as_bytes()),
            Effect::Publish(job, name) => {
                let part = disk.jobs.remove(&job).unwrap();
                disk.complete.push((name.clone(), disk.parts.remove(&part).unwrap()));
                x.on_published(job, name)
            }
            Effect::Close(job) => {
                disk.jobs.remove(&job);
                Vec::new()
            }
            Effect::Discard(job) => {
                disk.parts.remove(&disk.jobs.remove(&job).unwrap());
                Vec::new()
            }
            Effect::Release(number) => {
                self.sources.remove(&number);
                Vec::new()
            }
        }
    }
}
