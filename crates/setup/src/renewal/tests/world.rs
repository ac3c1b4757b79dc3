//! Leaders on a network that delivers in any order, with hacked ones that say what a test wants, and crashes between saying and sending.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::group::{LeaderInfo, LeaderSecrets, deal_group};
use ringfort_protocol::introduction::{Facts, Introduction};
use ringfort_protocol::succession::Generation;
use ringfort_protocol::{Cx, GroupInfo, LeaderId, Policy, Rules, Time};

use crate::renewal::message::{Body, Post};
use crate::renewal::{Effect, Event, Limits, Package, Renewal, Step};

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub fn leader(number: u8) -> LeaderId {
    LeaderId::new(number).unwrap()
}

/// What a hacked leader sends to whom in place of a post of its own.
pub type Deviation = Box<dyn FnMut(LeaderId, &Post) -> Vec<Post>>;

pub struct World {
    pub group: Arc<GroupInfo>,
    pub secrets: BTreeMap<LeaderId, Arc<LeaderSecrets>>,
    pub rooms: BTreeMap<LeaderId, Renewal>,
    pub events: BTreeMap<LeaderId, Vec<Event>>,
    pub hacked: BTreeMap<LeaderId, Deviation>,
    /// Who crashes, before its nth word is sent.
    pub crash: Option<(LeaderId, u32)>,
    disks: BTreeMap<LeaderId, Vec<u8>>,
    queue: Vec<(LeaderId, LeaderId, Vec<u8>)>,
    dice: ChaCha20Rng,
    now_ms: u64,
}

impl World {
    pub fn new(n: u8, seed: u64) -> World {
        let f = (n - 1) / 3;
        let addresses: Vec<String> = (1..=n).map(|i| format!("leader-{i}.example:7400")).collect();
        let rules = Rules::new(n, f, f + 1).unwrap();
        let (group, secrets) = deal_group("garden", rules, &addresses, Policy::default(), &mut rng(seed));
        let secrets = secrets.into_iter().map(|secrets| (secrets.id, Arc::new(secrets))).collect();
        let mut world = World {
            group: Arc::new(group),
            secrets,
            rooms: BTreeMap::new(),
            events: BTreeMap::new(),
            hacked: BTreeMap::new(),
            crash: None,
            disks: BTreeMap::new(),
            queue: Vec::new(),
            dice: rng(seed ^ 0xd1ce),
            now_ms: 1,
        };
        LeaderId::all(n).for_each(|leader| world.start(leader));
        world
    }

    /// Starts a leader on what its disk holds, and links it to all.
    pub fn start(&mut self, me: LeaderId) {
        let saved = self.disks.get(&me).cloned().unwrap_or_default();
        let secrets = self.secrets[&me].clone();
        let now = at(self.now_ms);
        self.rooms.insert(me, Renewal::new(self.group.clone(), secrets, &saved, Limits::default(), now));
        let others: Vec<LeaderId> = self.rooms.keys().copied().filter(|other| *other != me).collect();
        for other in others {
            let step = self.rooms.get_mut(&other).unwrap().on_peer_up(me);
            self.carry_out(other, step);
            let step = self.rooms.get_mut(&me).unwrap().on_peer_up(other);
            self.carry_out(me, step);
        }
    }

    pub fn stop(&mut self, me: LeaderId) {
        self.rooms.remove(&me);
        self.rooms.values_mut().for_each(|room| room.on_peer_down(me));
        self.queue.retain(|(from, to, _)| *from != me && *to != me);
    }

    pub fn order(&mut self, by: &[u8], newcomer: Option<&Introduction>, coordinator: u8, attempt: Generation) {
        for number in by {
            let me = leader(*number);
            let mut dice = rng(u64::from(*number));
            let mut cx = Cx { now: at(self.now_ms), unix_ms: 0, rng: &mut dice };
            let room = self.rooms.get_mut(&me).unwrap();
            let step = room.on_order(&mut cx, newcomer.cloned(), leader(coordinator), attempt).unwrap();
            self.carry_out(me, step);
        }
    }

    fn carry_out(&mut self, me: LeaderId, step: Step) {
        let crashes = |effect: &Effect| matches!(effect, Effect::Persist);
        self.events.entry(me).or_default().extend(step.events);
        for effect in step.effects {
            if crashes(&effect) {
                self.disks.insert(me, self.rooms[&me].saved().to_vec());
                if let Some((who, left)) = &mut self.crash
                    && *who == me
                {
                    *left -= 1;
                    if *left == 0 {
                        self.crash = None;
                        self.stop(me);
                        self.start(me);
                        return;
                    }
                }
            } else if let Effect::Send(to, frame) = effect {
                self.send(me, to, frame);
            }
        }
    }

    fn send(&mut self, me: LeaderId, to: LeaderId, frame: Vec<u8>) {
        let post = Post::from_frame(&frame).unwrap();
        match self.hacked.get_mut(&me).filter(|_| post.author == me) {
            Some(deviation) => {
                let said = deviation(to, &post);
                self.queue.extend(said.iter().map(|post| (me, to, post.to_frame())));
            }
            None => self.queue.push((me, to, frame)),
        }
    }

    /// Delivers in random order, and lets time pass, until nothing more happens.
    pub fn run(&mut self) {
        for _ in 0..200_000 {
            if self.queue.is_empty() {
                let now = at(self.now_ms);
                let Some(due) = self.rooms.values().filter_map(|room| room.next_wakeup(now)).min() else { return };
                self.now_ms += u64::try_from(due.since(now).as_millis()).unwrap().max(1);
                let all: Vec<LeaderId> = self.rooms.keys().copied().collect();
                for me in all {
                    let mut dice = rng(self.dice.next_u64());
                    let mut cx = Cx { now: at(self.now_ms), unix_ms: 0, rng: &mut dice };
                    let step = self.rooms.get_mut(&me).unwrap().on_wakeup(&mut cx);
                    self.carry_out(me, step);
                }
                continue;
            }
            // Any link may be next, each in its own order.
            let pick = usize::try_from(self.dice.next_u64() % self.queue.len() as u64).unwrap();
            let (from, to) = (self.queue[pick].0, self.queue[pick].1);
            let first = self.queue.iter().position(|(a, b, _)| (*a, *b) == (from, to)).unwrap();
            let (_, _, frame) = self.queue.remove(first);
            let mut dice = rng(self.dice.next_u64());
            let mut cx = Cx { now: at(self.now_ms), unix_ms: 0, rng: &mut dice };
            let Some(room) = self.rooms.get_mut(&to) else { continue };
            let step = room.on_frame(&mut cx, from, &frame);
            self.carry_out(to, step);
        }
        panic!("it goes on for ever");
    }

    pub fn saw(&self, me: u8, event: &Event) -> bool {
        self.events.get(&leader(me)).is_some_and(|events| events.contains(event))
    }

    pub fn package(&self, me: u8) -> Option<Package> {
        self.rooms[&leader(me)].package()
    }
}

/// The same post with another body, signed as its author would.
pub fn said_otherwise(post: &Post, key: &SigningKey, change: impl FnOnce(&mut Body)) -> Post {
    let mut body = post.read().unwrap();
    change(&mut body);
    Post::sign(post.plan, post.author, &body, key)
}

/// A fresh machine for a place, with its keys.
pub struct Machine {
    pub introduction: Introduction,
    pub sealing: KemSecret,
}

pub fn machine(number: u8, seed: u64) -> Machine {
    let mut rng = rng(seed);
    let (link, signing, sealing) =
        (Secret32::random(&mut rng), SigningKey::generate(&mut rng), KemSecret::generate(&mut rng));
    let info = LeaderInfo {
        address: format!("machine-{seed}.example:7400"),
        link_key: SigningKey::from_secret(&link).verifying_key().to_bytes(),
        signing_key: signing.verifying_key(),
        sealing_key: sealing.public(),
    };
    let introduction = Introduction::sign("garden", leader(number), info, Facts::default(), &signing);
    Machine { introduction, sealing }
}

pub fn at(ms: u64) -> Time {
    Time::from_start(Duration::from_millis(ms))
}
