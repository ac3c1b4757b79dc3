//! A bench for directed attacks: real leaders and members, no delays, and hands on every wire.

mod hands;
mod wires;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::group::{GroupInfo, LeaderSecrets};
use ringfort_protocol::leader::{self, Command, Leader};
use ringfort_protocol::log::{Head, LOG_MAGIC};
use ringfort_protocol::login::Registration;
use ringfort_protocol::member::{self, Member, Secret};
use ringfort_protocol::rules::Rule;
use ringfort_protocol::{Cx, LeaderId, LinkId, Policy, Time, UserName};

use crate::dice::Dice;
use crate::network::Wire;
use crate::setup::{Setup, copy_secrets};
use crate::strategy::Vice;
use crate::world::{Store, unix_ms};

pub use hands::{Hands, answer, topic};
pub use wires::{Lane, Node, Route, Wires};

/// Whether a frame on its way is held back.
pub type Hold = Box<dyn Fn(&Route, &Bytes) -> bool>;

/// A member on the bench.
pub struct Seat {
    /// The real thing.
    pub member: Member,
    /// Its links.
    pub links: BTreeMap<LeaderId, LinkId>,
    /// What it reported.
    pub events: Vec<member::Event>,
    /// The membership log that it keeps.
    pub log: Vec<u8>,
    dice: Dice,
}

/// Leaders, some of them in the attacker's hands whenever an attack says so.
pub struct Bench {
    /// The public document.
    pub group: Arc<GroupInfo>,
    /// All leaders' secrets: attacks say whose they use.
    pub secrets: Vec<LeaderSecrets>,
    leaders: Vec<(Leader, Dice)>,
    disks: BTreeMap<LeaderId, Store>,
    /// Members.
    pub seats: Vec<Seat>,
    /// The time.
    pub now: Time,
    /// The attacker's chance, and that of whatever is not a leader or a member.
    pub dice: Dice,
    /// What leaders reported.
    pub events: Vec<(LeaderId, leader::Event)>,
    /// What is under way.
    pub wires: Wires,
    /// Frames that an attack holds back: true keeps them in `held`.
    pub hold: Hold,
    /// What is held back.
    pub held: Vec<(Route, Bytes)>,
    /// Frames that were delivered, for replays.
    pub passed: Vec<(Route, Bytes)>,
    /// What leaders sent on links that no seat owns.
    pub mail: BTreeMap<LinkId, Vec<Bytes>>,
    /// Links that a member's driver or a leader's wants closed and opened again.
    broken: BTreeSet<(usize, LeaderId)>,
    /// Machines that are off: nothing wakes them and nothing arrives there.
    pub stopped: BTreeSet<Node>,
    next_link: u64,
    seed: u64,
    /// Nodes talked on for ever.
    pub restless: bool,
}

/// A leader's number.
pub fn l(number: u8) -> LeaderId {
    LeaderId::new(number).expect("a leader's number")
}

/// A user's name.
pub fn user(name: &str) -> UserName {
    name.parse().expect("a name")
}

/// A context for one step.
pub fn cx(now: Time, dice: &mut Dice) -> Cx<'_> {
    Cx { now, unix_ms: unix_ms(now), rng: &mut dice.0 }
}

impl Bench {
    /// Four leaders, one of which may be hostile.
    pub fn new(seed: u64, rule: Option<Rule>, change: impl FnOnce(&mut Policy)) -> Bench {
        Bench::of(seed, (4, 1), rule, change)
    }

    /// `n` leaders with links to each other.
    pub fn of(seed: u64, (n, f): (u8, u8), rule: Option<Rule>, change: impl FnOnce(&mut Policy)) -> Bench {
        let mut setup = Setup { key_threshold: f + 1, wire: Wire::Tls, ..Setup::with(seed, n, f, Vice::Honest) };
        setup.mutation = rule;
        setup.policy = crate::setup::policy();
        setup.policy.rekey_period_ms = 0;
        change(&mut setup.policy);
        let (group, secrets) = setup.deal();
        let mut bench = Bench {
            now: Time::from_start(Duration::from_secs(1)),
            dice: Dice::new(seed, "bench"),
            leaders: Vec::new(),
            disks: BTreeMap::new(),
            seats: Vec::new(),
            events: Vec::new(),
            wires: Wires::default(),
            hold: Box::new(|_, _| false),
            held: Vec::new(),
            passed: Vec::new(),
            mail: BTreeMap::new(),
            broken: BTreeSet::new(),
            stopped: BTreeSet::new(),
            next_link: 1,
            restless: false,
            seed,
            group,
            secrets,
        };
        for secrets in bench.secrets.iter().map(copy_secrets) {
            let mut dice = Dice::new(seed, &format!("bench leader {}", secrets.id));
            let leader = Leader::new(&mut cx(bench.now, &mut dice), bench.group.clone(), secrets, Vec::new());
            bench.leaders.push((leader, dice));
        }
        for a in LeaderId::all(n) {
            for b in LeaderId::all(n).filter(|b| *b != a) {
                bench.on_leader(a, |leader, _| leader.on_peer_up(b));
            }
        }
        bench.pump();
        bench
    }

    /// All leaders.
    pub fn leader_ids(&self) -> impl Iterator<Item = LeaderId> + use<> {
        LeaderId::all(self.group.rules.n())
    }

    /// A leader.
    pub fn leader(&self, id: LeaderId) -> &Leader {
        &self.leaders.get(usize::from(id.number()) - 1).expect("the group's leaders").0
    }

    /// A leader's secrets.
    pub fn secrets_of(&self, id: LeaderId) -> &LeaderSecrets {
        self.secrets.get(usize::from(id.number()) - 1).expect("the group's leaders")
    }

    /// A seat.
    pub fn seat(&self, seat: usize) -> &Seat {
        self.seats.get(seat).expect("the attack made it")
    }

    /// Gives a leader an input.
    pub fn on_leader(&mut self, id: LeaderId, input: impl FnOnce(&mut Leader, &mut Cx<'_>) -> leader::Step) {
        let now = self.now;
        let (leader, dice) = self.leaders.get_mut(usize::from(id.number()) - 1).expect("the group's leaders");
        let step = input(leader, &mut cx(now, dice));
        self.wires.touch(Node::Leader(id));
        self.events.extend(step.events.into_iter().map(|e| (id, e)));
        for effect in step.effects {
            match effect {
                leader::Effect::Send(link, _, frame) => self.wires.send(Route::Down(id, link), frame),
                leader::Effect::Relay(links, _, frame) => {
                    links.into_iter().for_each(|link| self.wires.send(Route::Down(id, link), frame.clone()));
                }
                leader::Effect::SendPeer(to, frame) => self.wires.send(Route::Peer(id, to), frame),
                leader::Effect::Close(link) => {
                    if let Some(seat) = self.seat_of(id, link) {
                        self.broken.insert((seat, id));
                    }
                }
                leader::Effect::Persist(record) => self.disks.entry(id).or_default().put(record),
                leader::Effect::Authenticated(_) | leader::Effect::Serve(..) => {}
            }
        }
    }

    /// A leader is killed and starts again from its disk: what is under way to and from it is lost, its links are new.
    pub fn restart(&mut self, id: LeaderId) {
        let concerns = |route: &Route| match route {
            Route::Peer(from, to) => *from == id || *to == id,
            Route::Up(_, leader) | Route::Down(leader, _) => *leader == id,
        };
        self.wires.lose(concerns);
        self.held.retain(|(route, _)| !concerns(route));
        let (secrets, group) = (copy_secrets(self.secrets_of(id)), self.group.clone());
        let records = self.disks.get(&id).map(Store::records).unwrap_or_default();
        let now = self.now;
        let (leader, dice) = self.leaders.get_mut(usize::from(id.number()) - 1).expect("the group's leaders");
        *leader = Leader::new(&mut cx(now, dice), group, secrets, records);
        for seat in 0..self.seats.len() {
            if self.seats.get_mut(seat).and_then(|s| s.links.remove(&id)).is_some() {
                self.on_seat(seat, |member, _| member.on_link_down(now, id));
                self.broken.insert((seat, id));
            }
        }
        for other in self.leader_ids().filter(|other| *other != id) {
            self.on_leader(other, |leader, _| {
                leader.on_peer_down(id);
                leader.on_peer_up(id)
            });
            self.on_leader(id, |leader, _| leader.on_peer_up(other));
        }
    }

    /// Gives a member an input.
    pub fn on_seat(&mut self, seat: usize, input: impl FnOnce(&mut Member, &mut Cx<'_>) -> member::Step) {
        let now = self.now;
        let node = self.seats.get_mut(seat).expect("the attack made it");
        let step = input(&mut node.member, &mut cx(now, &mut node.dice));
        node.events.extend(step.events);
        self.wires.touch(Node::Seat(seat));
        for effect in step.effects {
            match effect {
                member::Effect::Send(leader, _, frame) => self.wires.send(Route::Up(seat, leader), frame),
                member::Effect::Reconnect(leader) => drop(self.broken.insert((seat, leader))),
                member::Effect::Log(chunk) => node.log.extend(chunk.bytes),
                member::Effect::Authenticated(_) | member::Effect::Close(_) => {}
            }
        }
    }

    /// Registers a user by key, everywhere.
    pub fn register(&mut self, name: &str) -> SigningKey {
        let key = SigningKey::generate(&mut self.dice.0);
        for id in self.leader_ids() {
            let command = Command::Register(user(name), Registration::Key(key.verifying_key()));
            self.command(id, command);
        }
        key
    }

    /// An operator's order, if the leader takes it.
    pub fn command(&mut self, id: LeaderId, command: Command) {
        self.on_leader(id, |leader, cx| leader.on_command(cx, command).unwrap_or_default());
        self.pump();
    }

    /// f+1 leaders that are on.
    fn operators(&self) -> Vec<LeaderId> {
        let on = self.leader_ids().filter(|id| !self.stopped.contains(&Node::Leader(*id)));
        on.take(usize::from(self.group.rules.f()) + 1).collect()
    }

    /// Operators of f+1 honest leaders expel a user; what follows is under way.
    pub fn expel(&mut self, name: &str) {
        for id in self.operators() {
            self.on_leader(id, |leader, cx| leader.on_command(cx, Command::Expel(user(name))).unwrap_or_default());
        }
    }

    /// Operators of f+1 honest leaders ask for a new key; what follows is under way.
    pub fn refresh(&mut self) {
        for id in self.operators() {
            self.on_leader(id, |leader, cx| leader.on_command(cx, Command::Refresh).unwrap_or_default());
        }
    }

    /// A new user registers and joins; everything is delivered.
    pub fn member(&mut self, name: &str) -> usize {
        let key = self.register(name);
        self.join(name, &key)
    }

    /// A registered user joins; everything is delivered.
    pub fn join(&mut self, name: &str, key: &SigningKey) -> usize {
        let all: Vec<u8> = self.leader_ids().map(LeaderId::number).collect();
        let seat = self.sit(name, key, &all);
        self.pass(700);
        seat
    }

    /// A user's program with links to some leaders; its logins are under way.
    pub fn sit(&mut self, name: &str, key: &SigningKey, leaders: &[u8]) -> usize {
        self.sit_with(name, Secret::Key(key.clone()), leaders)
    }

    /// The same with any secret.
    pub fn sit_with(&mut self, name: &str, secret: Secret, leaders: &[u8]) -> usize {
        let seat = self.seats.len();
        let mut dice = Dice::new(self.seed, &format!("bench seat {seat}"));
        let mut member = Member::new(&mut cx(self.now, &mut dice), self.group.clone(), user(name), secret);
        member.keep_log(Head::default());
        let (links, events, log) = (BTreeMap::new(), Vec::new(), LOG_MAGIC.to_vec());
        self.seats.push(Seat { member, links, events, log, dice });
        leaders.iter().for_each(|leader| self.link(seat, l(*leader)));
        seat
    }

    /// A new link of a seat, in place of the one before.
    pub fn link(&mut self, seat: usize, leader: LeaderId) {
        let exporter = self.dice.bytes();
        self.link_with(seat, leader, exporter);
    }

    /// The same with a given exporter value.
    pub fn link_with(&mut self, seat: usize, leader: LeaderId, exporter: [u8; 32]) {
        self.broken.remove(&(seat, leader));
        self.unlink(seat, leader);
        let link = self.open(leader, exporter);
        if let Some(node) = self.seats.get_mut(seat) {
            node.links.insert(leader, link);
        }
        self.on_seat(seat, |member, cx| member.on_link_up(cx, leader, exporter));
    }

    /// A link is cut, and both ends notice.
    pub fn unlink(&mut self, seat: usize, leader: LeaderId) {
        let Some(old) = self.seats.get_mut(seat).and_then(|s| s.links.remove(&leader)) else { return };
        self.on_leader(leader, |core, _| {
            core.on_link_down(old);
            leader::Step::default()
        });
        let now = self.now;
        self.on_seat(seat, |member, _| member.on_link_down(now, leader));
    }

    /// A link that nobody owns yet.
    pub fn open(&mut self, leader: LeaderId, exporter: [u8; 32]) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.on_leader(leader, |core, _| {
            core.on_link_up(link, exporter);
            leader::Step::default()
        });
        link
    }

    /// Which seat is at the other end of a leader's link.
    pub fn seat_of(&self, leader: LeaderId, link: LinkId) -> Option<usize> {
        self.seats.iter().position(|s| s.links.get(&leader) == Some(&link))
    }

    /// Time passes, and everything that is not held back arrives.
    pub fn pass(&mut self, milliseconds: u64) {
        self.pump();
        let end = self.now + Duration::from_millis(milliseconds);
        while self.now < end {
            self.tick(10);
            self.pump();
            if self.restless {
                return;
            }
        }
    }

    /// Time passes and wakes up whom it concerns; links that broke a while ago are opened again.
    pub(crate) fn tick(&mut self, milliseconds: u64) {
        self.now = self.now + Duration::from_millis(milliseconds);
        for id in self.leader_ids() {
            let on = !self.stopped.contains(&Node::Leader(id));
            if on && self.leader(id).next_wakeup().is_some_and(|at| at <= self.now) {
                self.on_leader(id, Leader::on_wakeup);
            }
        }
        for seat in 0..self.seats.len() {
            let on = !self.stopped.contains(&Node::Seat(seat));
            let member = &self.seat(seat).member;
            if on && member.next_wakeup(self.now).is_some_and(|at| at <= self.now + Duration::from_millis(100)) {
                self.on_seat(seat, Member::on_wakeup);
            }
        }
        if self.now.since_start().as_millis().is_multiple_of(100) {
            for (seat, leader) in std::mem::take(&mut self.broken) {
                if !self.seat(seat).member.has_ended() && !self.stopped.contains(&Node::Seat(seat)) {
                    self.link(seat, leader);
                }
            }
        }
    }
}
