//! A bench for directed attacks: real leaders and members, no delays, and hands on every wire.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::group::{GroupInfo, LeaderSecrets};
use ringfort_protocol::leader::{self, Command, Leader};
use ringfort_protocol::login::Registration;
use ringfort_protocol::member::{self, Member, Secret};
use ringfort_protocol::rules::Rule;
use ringfort_protocol::wire::{self, PeerMessage};
use ringfort_protocol::{Cx, LeaderId, LinkId, Policy, Time, UserName};

use crate::dice::Dice;
use crate::network::Wire;
use crate::setup::{Setup, copy_secrets};
use crate::strategy::Vice;
use crate::world::UNIX_START_S;

/// A frame under way.
#[derive(Clone, Debug)]
pub enum Route {
    /// Between leaders.
    Peer(LeaderId, LeaderId),
    /// From a seat to a leader.
    Up(usize, LeaderId),
    /// From a leader to whoever is at the other end of a link.
    Down(LeaderId, LinkId),
}

/// A member on the bench.
pub struct Seat {
    /// The real thing.
    pub member: Member,
    /// Its links.
    pub links: BTreeMap<LeaderId, LinkId>,
    /// What it reported.
    pub events: Vec<member::Event>,
}

/// Four leaders, one of them in the attacker's hands whenever a scenario says so.
pub struct Bench {
    /// The public document.
    pub group: Arc<GroupInfo>,
    /// All leaders' secrets: scenarios say whose they use.
    pub secrets: Vec<LeaderSecrets>,
    leaders: Vec<Leader>,
    /// Members.
    pub seats: Vec<Seat>,
    /// The time.
    pub now: Time,
    /// Chance.
    pub dice: Dice,
    /// What leaders reported.
    pub events: Vec<(LeaderId, leader::Event)>,
    /// Frames under way.
    queue: VecDeque<(Route, Bytes)>,
    /// Frames that a scenario holds back: true keeps them in `held`.
    pub hold: Box<dyn Fn(&Route) -> bool>,
    /// What is held back.
    pub held: Vec<(Route, Bytes)>,
    /// Frames that were delivered, for replays.
    pub passed: Vec<(Route, Bytes)>,
    /// What leaders sent on links that no seat owns.
    pub mail: BTreeMap<LinkId, Vec<Bytes>>,
    next_link: u64,
    /// Nodes talked on for ever.
    pub restless: bool,
}

/// Frames without time passing, above which nodes will never come to rest.
const ROUNDS_MAX: usize = 20_000;

/// A leader's number.
pub fn l(number: u8) -> LeaderId {
    LeaderId::new(number).expect("a leader's number")
}

/// A user's name.
pub fn user(name: &str) -> UserName {
    name.parse().expect("a name")
}

impl Bench {
    /// Four leaders with links to each other.
    pub fn new(rule: Option<Rule>, change: impl FnOnce(&mut Policy)) -> Bench {
        let mut setup = Setup { key_threshold: 2, wire: Wire::Tls, ..Setup::with(7, 4, 1, Vice::Honest) };
        setup.mutation = rule;
        setup.policy = crate::setup::policy();
        setup.policy.rekey_period_ms = 0;
        change(&mut setup.policy);
        let (group, secrets) = setup.deal();
        let mut bench = Bench {
            now: Time::from_start(Duration::from_secs(1)),
            dice: Dice::new(7, "bench"),
            leaders: Vec::new(),
            seats: Vec::new(),
            events: Vec::new(),
            queue: VecDeque::new(),
            hold: Box::new(|_| false),
            held: Vec::new(),
            passed: Vec::new(),
            mail: BTreeMap::new(),
            next_link: 1,
            restless: false,
            group,
            secrets,
        };
        for place in 0..bench.secrets.len() {
            let secrets = bench.secrets.get(place).map(copy_secrets).expect("in range");
            let group = bench.group.clone();
            let leader = Leader::new(&mut cx(bench.now, &mut bench.dice), group, secrets, Vec::new());
            bench.leaders.push(leader);
        }
        for a in LeaderId::all(4) {
            for b in LeaderId::all(4).filter(|b| *b != a) {
                bench.on_leader(a, |leader, _| leader.on_peer_up(b));
            }
        }
        bench.pump();
        bench
    }

    /// A leader.
    pub fn leader(&self, id: LeaderId) -> &Leader {
        self.leaders.get(usize::from(id.number()) - 1).expect("four leaders")
    }

    /// A leader's secrets.
    pub fn secrets_of(&self, id: LeaderId) -> &LeaderSecrets {
        self.secrets.get(usize::from(id.number()) - 1).expect("four leaders")
    }

    /// A seat.
    pub fn seat(&self, seat: usize) -> &Seat {
        self.seats.get(seat).expect("the scenario made it")
    }

    /// Gives a leader an input.
    pub fn on_leader(&mut self, id: LeaderId, input: impl FnOnce(&mut Leader, &mut Cx<'_>) -> leader::Step) {
        let now = self.now;
        let leader = self.leaders.get_mut(usize::from(id.number()) - 1).expect("four leaders");
        let step = input(leader, &mut cx(now, &mut self.dice));
        self.events.extend(step.events.into_iter().map(|e| (id, e)));
        for effect in step.effects {
            match effect {
                leader::Effect::Send(link, _, frame) => self.queue.push_back((Route::Down(id, link), frame)),
                leader::Effect::Relay(links, frame) => {
                    self.queue.extend(links.into_iter().map(|link| (Route::Down(id, link), frame.clone())));
                }
                leader::Effect::SendPeer(to, frame) => self.queue.push_back((Route::Peer(id, to), frame)),
                leader::Effect::Persist(_) | leader::Effect::Authenticated(_) | leader::Effect::Close(_) => {}
            }
        }
    }

    /// Gives a member an input.
    pub fn on_seat(&mut self, seat: usize, input: impl FnOnce(&mut Member, &mut Cx<'_>) -> member::Step) {
        let now = self.now;
        let node = self.seats.get_mut(seat).expect("the scenario made it");
        let step = input(&mut node.member, &mut cx(now, &mut self.dice));
        node.events.extend(step.events);
        for effect in step.effects {
            if let member::Effect::Send(leader, _, frame) = effect {
                self.queue.push_back((Route::Up(seat, leader), frame));
            }
        }
    }

    /// Registers a user by key, everywhere.
    pub fn register(&mut self, name: &str) -> SigningKey {
        let key = SigningKey::generate(&mut self.dice.0);
        for id in LeaderId::all(4) {
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

    /// A registered user joins; everything is delivered.
    pub fn join(&mut self, name: &str, key: &SigningKey) -> usize {
        let seat = self.sit(name, key, &[1, 2, 3, 4]);
        self.pass(1_000);
        seat
    }

    /// A user's program with links to some leaders.
    pub fn sit(&mut self, name: &str, key: &SigningKey, leaders: &[u8]) -> usize {
        let member =
            Member::new(&mut cx(self.now, &mut self.dice), self.group.clone(), user(name), Secret::Key(key.clone()));
        self.seats.push(Seat { member, links: BTreeMap::new(), events: Vec::new() });
        let seat = self.seats.len() - 1;
        leaders.iter().for_each(|leader| self.link(seat, l(*leader)));
        self.pump();
        seat
    }

    /// A new link of a seat, in place of the one before.
    pub fn link(&mut self, seat: usize, leader: LeaderId) {
        let exporter = self.dice.bytes();
        let old = self.seats.get(seat).and_then(|s| s.links.get(&leader).copied());
        if let Some(old) = old {
            self.on_leader(leader, |core, _| {
                core.on_link_down(old);
                leader::Step::default()
            });
        }
        let link = self.open(leader, exporter);
        if let Some(node) = self.seats.get_mut(seat) {
            node.links.insert(leader, link);
        }
        self.on_seat(seat, |member, cx| member.on_link_up(cx, leader, exporter));
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

    /// Bytes into a leader's end of a link; what it answers there.
    pub fn push_up(&mut self, leader: LeaderId, link: LinkId, frame: &Bytes) -> Vec<Bytes> {
        self.mail.remove(&link);
        self.on_leader(leader, |core, cx| core.on_member_frame(cx, link, frame));
        self.pump();
        self.mail.remove(&link).unwrap_or_default()
    }

    /// Bytes into a seat's end of its link to a leader.
    pub fn push_down(&mut self, seat: usize, leader: LeaderId, frame: &Bytes) {
        self.on_seat(seat, |member, cx| member.on_frame(cx, leader, frame));
        self.pump();
    }

    /// A message into a leader, over its link from another: the wire between leaders is in the attacker's hands,
    /// or the sender is.
    pub fn push_peer(&mut self, from: LeaderId, to: LeaderId, message: &PeerMessage) {
        let frame = wire::plain(message);
        self.on_leader(to, |core, cx| core.on_peer_frame(cx, from, &frame));
        self.pump();
    }

    /// Delivers all that is not held back.
    pub fn pump(&mut self) {
        let mut rounds = 0;
        while let Some((route, frame)) = self.queue.pop_front() {
            rounds += 1;
            if rounds > ROUNDS_MAX {
                self.restless = true;
                self.queue.clear();
                return;
            }
            if (self.hold)(&route) {
                self.held.push((route, frame));
                continue;
            }
            self.deliver(route, frame);
        }
    }

    /// Delivers one frame.
    pub fn deliver(&mut self, route: Route, frame: Bytes) {
        self.passed.push((route.clone(), frame.clone()));
        match route {
            Route::Peer(from, to) => self.on_leader(to, |core, cx| core.on_peer_frame(cx, from, &frame)),
            Route::Up(seat, leader) => {
                let link = self.seats.get(seat).and_then(|s| s.links.get(&leader).copied());
                if let Some(link) = link {
                    self.on_leader(leader, |core, cx| core.on_member_frame(cx, link, &frame));
                }
            }
            Route::Down(leader, link) => match self.seats.iter().position(|s| s.links.get(&leader) == Some(&link)) {
                Some(seat) => self.on_seat(seat, |member, cx| member.on_frame(cx, leader, &frame)),
                None => self.mail.entry(link).or_default().push(frame),
            },
        }
    }

    /// Time passes.
    pub fn pass(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while self.now < end {
            self.now = self.now + Duration::from_millis(10);
            for id in LeaderId::all(4) {
                if self.leader(id).next_wakeup().is_some_and(|at| at <= self.now) {
                    self.on_leader(id, Leader::on_wakeup);
                }
            }
            for seat in 0..self.seats.len() {
                self.on_seat(seat, Member::on_wakeup);
            }
            self.pump();
        }
    }

    /// Whether any of the leaders `honest` admitted `name`.
    pub fn admitted(&self, honest: &[u8], name: &str) -> bool {
        honest.iter().any(|id| self.leader(l(*id)).members().get(&user(name)).is_some())
    }
}

/// A context for one step.
pub fn cx(now: Time, dice: &mut Dice) -> Cx<'_> {
    Cx { now, unix_s: UNIX_START_S + now.since_start().as_secs(), rng: &mut dice.0 }
}
