//! Leaders and members in memory: what one sends, the other has at once; time passes in small steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::coordination::LifeRecord;
use ringfort_protocol::delivery::Delivery;
use ringfort_protocol::group::{LeaderSecrets, deal_group};
use ringfort_protocol::leader::{self, Command, Leader, Record};
use ringfort_protocol::login::{enrol_key, enrol_password};
use ringfort_protocol::member::{self, Member, Secret};
use ringfort_protocol::policy::{Policy, Service};
use ringfort_protocol::time::{Cx, Time};
use ringfort_protocol::view::MemberEntry;
use ringfort_protocol::{GroupInfo, LeaderId, LinkId, Rejected, Rules, UserName, wire};

/// Time from one look at the clocks to the next.
const STEP: Duration = Duration::from_millis(20);

pub fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

pub fn leader_id(number: u8) -> LeaderId {
    LeaderId::new(number).unwrap()
}

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// The keys of a group of four, the same each time they are asked for.
pub fn dealt() -> (GroupInfo, Vec<LeaderSecrets>) {
    dealt_with(Policy::default())
}

fn dealt_with(policy: Policy) -> (GroupInfo, Vec<LeaderSecrets>) {
    let policy = Policy { argon2_memory_kib: 8, argon2_passes: 1, ..policy };
    let addresses: Vec<String> = (1..=4).map(|i| format!("leader-{i}.example:4000")).collect();
    deal_group("root", Rules::new(4, 1, 2).unwrap(), &addresses, policy, &mut rng(4))
}

/// The key of a user that is registered with one.
pub fn key_of(name: &str) -> SigningKey {
    let mut seed = [0; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    SigningKey::from_secret(&Secret32::new(seed))
}

/// A member with its driver.
pub struct Agent {
    pub member: Member,
    pub events: Vec<member::Event>,
    pub links: BTreeMap<LeaderId, LinkId>,
}

impl Agent {
    pub fn messages(&self) -> Vec<(&str, &[u8])> {
        self.deliveries().map(|d| (d.sender.user.as_str(), &d.payload[..])).collect()
    }

    pub fn deliveries(&self) -> impl Iterator<Item = &Delivery> {
        self.events.iter().filter_map(|event| match event {
            member::Event::Message(delivery) => Some(delivery),
            _ => None,
        })
    }

    pub fn names(&self) -> Vec<String> {
        self.member.member_names().iter().map(ToString::to_string).collect()
    }
}

pub enum Packet {
    Up(LinkId, Bytes),
    Down(LinkId, Bytes),
    Between(LeaderId, LeaderId, Bytes),
}

/// A frame as the network saw it: on whose link to which leader, and whether it went to the leader.
pub type Recorded = (usize, LeaderId, bool, Bytes);

pub struct World {
    /// What went over members' links, if anybody listens.
    pub recorded: Option<Vec<Recorded>>,
    pub group: Arc<GroupInfo>,
    pub leaders: BTreeMap<LeaderId, Leader>,
    pub agents: Vec<Agent>,
    pub silent: BTreeSet<LeaderId>,
    /// While it is so, messages on their way to members are lost.
    pub lossy: bool,
    /// Agents that get no new links.
    pub held: BTreeSet<usize>,
    /// Pairs of an agent and a leader between which the network makes no link.
    pub apart: BTreeSet<(usize, LeaderId)>,
    /// Leaders whose words to other leaders are kept back by whoever has hacked them.
    pub mute: BTreeSet<LeaderId>,
    /// From which leader to which other the network holds back what is said, in order.
    pub kept_from: BTreeSet<(LeaderId, LeaderId)>,
    pub kept: VecDeque<(LeaderId, LeaderId, Bytes)>,
    /// To which agents the network holds back what which leaders say, in order.
    pub delayed: BTreeSet<(usize, LeaderId)>,
    pub delayed_mail: VecDeque<(Time, LinkId, Bytes)>,
    /// Of whom the network holds back what they say to which leaders once they have logged in, and what leaders answer then.
    pub held_back: BTreeSet<(usize, LeaderId)>,
    pub held_mail: VecDeque<Packet>,
    pub leader_events: Vec<(LeaderId, leader::Event)>,
    /// What members asked of the services beside leaders.
    pub served: Vec<(LeaderId, MemberEntry, Bytes)>,
    pub now: Time,
    pub rng: ChaCha20Rng,
    pub links: BTreeMap<LinkId, (usize, LeaderId)>,
    links_made: u64,
    pub mail: VecDeque<Packet>,
    records: BTreeMap<LeaderId, Vec<Record>>,
}

macro_rules! cx {
    ($world:expr) => {
        &mut Cx { now: $world.now, unix_ms: 1_800_000_000_000, rng: &mut $world.rng }
    };
}

impl World {
    /// Four linked leaders at which `names` are registered: by password those that start with a `p`, else by key.
    pub fn new(names: &[&str]) -> Self {
        World::with_policy(Policy::default(), names)
    }

    /// The same under another policy.
    pub fn with_policy(policy: Policy, names: &[&str]) -> Self {
        let (group, secrets) = dealt_with(policy);
        let group = Arc::new(group);
        let mut world = World {
            recorded: None,
            group: group.clone(),
            leaders: BTreeMap::new(),
            agents: Vec::new(),
            silent: BTreeSet::new(),
            lossy: false,
            held: BTreeSet::new(),
            apart: BTreeSet::new(),
            mute: BTreeSet::new(),
            kept_from: BTreeSet::new(),
            kept: VecDeque::new(),
            delayed: BTreeSet::new(),
            delayed_mail: VecDeque::new(),
            held_back: BTreeSet::new(),
            held_mail: VecDeque::new(),
            leader_events: Vec::new(),
            served: Vec::new(),
            now: Time::ZERO + STEP,
            rng: rng(5),
            links: BTreeMap::new(),
            links_made: 0,
            mail: VecDeque::new(),
            records: BTreeMap::new(),
        };
        let mut registered = BTreeMap::new();
        for name in names {
            let records = if name.starts_with('p') {
                enrol_password(&group, &user(name), password(name).as_bytes(), &mut world.rng).unwrap().records
            } else {
                enrol_key(&group, &user(name), &key_of(name).verifying_key(), &mut world.rng).records
            };
            for (record, secrets) in records.iter().zip(&secrets) {
                let registration = record.open(&group, secrets).unwrap();
                registered.entry(secrets.id).or_insert_with(Vec::new).push((user(name), registration));
            }
        }
        for secrets in secrets {
            let id = secrets.id;
            let new = Leader::new(cx!(world), group.clone(), secrets, []);
            world.leaders.insert(id, new);
            for (name, registration) in registered.remove(&id).unwrap_or_default() {
                world.command(id.number(), Command::Register(name, registration)).unwrap();
            }
        }
        group.rules.leaders().for_each(|id| world.link_peers(id));
        world
    }

    fn link_peers(&mut self, id: LeaderId) {
        for peer in LeaderId::all(4).filter(|peer| *peer != id) {
            for (one, other) in [(id, peer), (peer, id)] {
                let Some(leader) = self.leaders.get_mut(&one) else { continue };
                let step = leader.on_peer_up(other);
                self.carry_out_leader(one, step);
            }
        }
        self.deliver();
    }

    /// A leader's operator asks for something.
    pub fn command(&mut self, number: u8, command: Command) -> Result<(), Rejected> {
        let id = leader_id(number);
        let step = self.leaders.get_mut(&id).unwrap().on_command(cx!(self), command)?;
        self.carry_out_leader(id, step);
        self.deliver();
        Ok(())
    }

    /// A leader stops and comes back with nothing but its records and secrets.
    pub fn restart(&mut self, number: u8) {
        self.restart_with(number, None);
    }

    /// The same with another record of a user, as whoever has hacked it likes.
    pub fn restart_with(&mut self, number: u8, life: Option<LifeRecord>) {
        let id = leader_id(number);
        let secrets = dealt().1.swap_remove(usize::from(number) - 1);
        let mut lives = BTreeMap::new();
        let mut records = Vec::new();
        for record in self.records.get(&id).cloned().unwrap_or_default() {
            match record {
                Record::Life(life) => drop(lives.insert(life.subject.clone(), life)),
                other => records.push(other),
            }
        }
        lives.extend(life.map(|life| (life.subject.clone(), life)));
        records.extend(lives.into_values().map(Record::Life));
        let new = Leader::new(cx!(self), self.group.clone(), secrets, records);
        self.leaders.insert(id, new);
        self.link_peers(id);
        self.cut_links(number);
    }

    /// A user starts a member with its own password or key; returns its number.
    pub fn start(&mut self, name: &str) -> usize {
        let secret = if name.starts_with('p') {
            Secret::Password(password(name).into_bytes().into())
        } else {
            Secret::Key(key_of(name))
        };
        self.start_with(name, secret)
    }

    pub fn start_with(&mut self, name: &str, secret: Secret) -> usize {
        let member = Member::new(cx!(self), self.group.clone(), user(name), secret);
        self.agents.push(Agent { member, events: Vec::new(), links: BTreeMap::new() });
        self.agents.len() - 1
    }

    /// Starts members and waits until all are in one view.
    pub fn joined(names: &[&str]) -> Self {
        let mut world = World::new(names);
        for name in names {
            world.start(name);
        }
        world.pass(Duration::from_secs(3));
        let view = world.agents[0].member.view();
        for agent in &world.agents {
            assert!(agent.member.view().is_some() && agent.member.view() == view, "all are in one view");
            assert_eq!(agent.names().len(), names.len());
        }
        world
    }

    pub fn multicast(&mut self, who: usize, payload: &[u8]) -> Result<(), Rejected> {
        let topic = "chat".parse().unwrap();
        let step = self.agents[who].member.multicast(cx!(self), Service::Fifo, &topic, payload)?;
        self.carry_out_member(who, step);
        self.deliver();
        Ok(())
    }

    /// How a best-effort message of so many bytes is queued on the links to its relays.
    pub fn classes_of_best_effort(&mut self, who: usize, bytes: usize) -> Vec<leader::Class> {
        let topic = "chat".parse().unwrap();
        let step = self.agents[who].member.multicast(cx!(self), Service::BestEffort, &topic, &vec![7; bytes]).unwrap();
        let class = |effect: &member::Effect| match effect {
            member::Effect::Send(_, class, _) => Some(*class),
            _ => None,
        };
        step.effects.iter().filter_map(class).collect()
    }

    pub fn send_to(&mut self, who: usize, to: &[&str], payload: &[u8]) -> Result<(), Rejected> {
        let topic = "chat".parse().unwrap();
        let to: Vec<_> = to.iter().map(|name| user(name)).collect();
        let step = self.agents[who].member.send_to(cx!(self), &to, &topic, payload)?;
        self.carry_out_member(who, step);
        self.deliver();
        Ok(())
    }

    /// A member votes on somebody's expulsion.
    pub fn vote(&mut self, who: usize, about: &str, yes: bool) {
        let motion = ringfort_protocol::motion::Motion::expel(user(about));
        let step = self.agents[who].member.vote(self.now, motion, yes).unwrap();
        self.carry_out_member(who, step);
        self.deliver();
    }

    pub fn leave(&mut self, who: usize) {
        let step = self.agents[who].member.leave();
        self.carry_out_member(who, step);
        self.deliver();
    }

    /// Lets time pass, link by link and timer by timer.
    pub fn pass(&mut self, length: Duration) {
        let end = self.now + length;
        while self.now < end {
            self.now = self.now + STEP;
            self.connect();
            for id in LeaderId::all(4) {
                if self.silent.contains(&id) {
                    continue;
                }
                let leader = self.leaders.get_mut(&id).unwrap();
                if leader.next_wakeup().is_some_and(|at| at <= self.now) {
                    let step = leader.on_wakeup(cx!(self));
                    self.carry_out_leader(id, step);
                    self.deliver();
                }
            }
            for who in 0..self.agents.len() {
                let step = self.agents[who].member.on_wakeup(cx!(self));
                self.carry_out_member(who, step);
                self.deliver();
            }
        }
    }

    /// Links every member to every leader it has no link to.
    fn connect(&mut self) {
        for who in 0..self.agents.len() {
            for id in LeaderId::all(4) {
                if self.held.contains(&who)
                    || self.apart.contains(&(who, id))
                    || self.agents[who].member.has_ended()
                    || self.agents[who].links.contains_key(&id)
                {
                    continue;
                }
                self.links_made += 1;
                let link = LinkId(self.links_made);
                let mut exporter = [0; 32];
                exporter[..8].copy_from_slice(&self.links_made.to_be_bytes());
                self.links.insert(link, (who, id));
                self.agents[who].links.insert(id, link);
                if let Some(leader) = self.leaders.get_mut(&id) {
                    leader.on_link_up(link, exporter);
                }
                let step = self.agents[who].member.on_link_up(cx!(self), id, exporter);
                self.carry_out_member(who, step);
                self.deliver();
            }
        }
    }

    /// All links of a leader to members break.
    pub fn cut_links(&mut self, number: u8) {
        let id = leader_id(number);
        let cut: Vec<_> = self.links.iter().filter(|(_, (_, l))| *l == id).map(|(link, _)| *link).collect();
        cut.into_iter().for_each(|link| self.cut(link));
    }

    /// A link breaks; both ends notice.
    fn cut(&mut self, link: LinkId) {
        let Some((who, id)) = self.links.remove(&link) else { return };
        self.leaders.get_mut(&id).unwrap().on_link_down(link);
        if self.agents[who].links.get(&id) == Some(&link) {
            self.agents[who].links.remove(&id);
            let step = self.agents[who].member.on_link_down(self.now, id);
            self.carry_out_member(who, step);
        }
    }

    /// The network parts agents from leaders; both ends notice.
    pub fn part(&mut self, agents: &[usize], leaders: &[u8]) {
        let pairs = agents.iter().flat_map(|who| leaders.iter().map(|number| (*who, leader_id(*number))));
        self.apart.extend(pairs);
        let cut: Vec<_> = self.links.iter().filter(|(_, pair)| self.apart.contains(*pair)).map(|(l, _)| *l).collect();
        cut.into_iter().for_each(|link| self.cut(link));
    }

    /// A user's program ends without a word.
    pub fn kill(&mut self, who: usize) {
        self.held.insert(who);
        let cut: Vec<_> = self.links.iter().filter(|(_, pair)| pair.0 == who).map(|(l, _)| *l).collect();
        cut.into_iter().for_each(|link| self.cut(link));
    }

    /// A hacked leader says something to another.
    pub fn say(&mut self, from: u8, to: u8, frame: &Bytes) {
        let (from, to) = (leader_id(from), leader_id(to));
        let step = self.leaders.get_mut(&to).unwrap().on_peer_frame(cx!(self), from, frame);
        self.carry_out_leader(to, step);
        self.deliver();
    }

    /// The attacker puts a frame on the link between an agent and a leader.
    pub fn inject(&mut self, who: usize, id: LeaderId, to_leader: bool, frame: Bytes) {
        if let Some(link) = self.agents[who].links.get(&id).copied() {
            self.mail.push_back(if to_leader { Packet::Up(link, frame) } else { Packet::Down(link, frame) });
        }
        self.deliver();
    }

    pub fn deliver(&mut self) {
        while let Some(packet) = self.mail.pop_front() {
            match packet {
                Packet::Down(link, frame) if self.is_held_back(link, &frame) => {
                    self.held_mail.push_back(Packet::Down(link, frame));
                }
                Packet::Up(link, frame) if self.is_held_back(link, &frame) => {
                    let (who, id) = self.links[&link];
                    self.recorded.iter_mut().for_each(|all| all.push((who, id, true, frame.clone())));
                    self.held_mail.push_back(Packet::Up(link, frame));
                }
                Packet::Up(link, frame) => {
                    let Some((who, id)) = self.links.get(&link).copied() else { continue };
                    self.recorded.iter_mut().for_each(|all| all.push((who, id, true, frame.clone())));
                    if !self.silent.contains(&id) {
                        let step = self.leaders.get_mut(&id).unwrap().on_member_frame(cx!(self), link, &frame);
                        self.carry_out_leader(id, step);
                    }
                }
                Packet::Down(link, frame) if self.links.get(&link).is_some_and(|pair| self.delayed.contains(pair)) => {
                    self.delayed_mail.push_back((self.now, link, frame));
                }
                Packet::Down(_, frame) if self.lossy && matches!(wire::sort(&frame), Ok(wire::Sorted::Data)) => {}
                Packet::Down(link, frame) => {
                    let Some((who, id)) = self.links.get(&link).copied() else { continue };
                    self.recorded.iter_mut().for_each(|all| all.push((who, id, false, frame.clone())));
                    let step = self.agents[who].member.on_frame(cx!(self), id, &frame);
                    self.carry_out_member(who, step);
                }
                Packet::Between(from, to, frame) if self.kept_from.contains(&(from, to)) => {
                    self.kept.push_back((from, to, frame));
                }
                Packet::Between(from, to, frame) => {
                    if !self.mute.contains(&from) && !self.silent.contains(&to) {
                        let step = self.leaders.get_mut(&to).unwrap().on_peer_frame(cx!(self), from, &frame);
                        self.carry_out_leader(to, step);
                    }
                }
            }
        }
    }

    pub fn carry_out_leader(&mut self, id: LeaderId, step: leader::Step) {
        self.leader_events.extend(step.events.into_iter().map(|event| (id, event)));
        for effect in step.effects {
            match effect {
                leader::Effect::Persist(record) => self.records.entry(id).or_default().push(record),
                leader::Effect::Send(link, _, frame) => self.mail.push_back(Packet::Down(link, frame)),
                leader::Effect::Relay(links, _, frame) => {
                    self.mail.extend(links.into_iter().map(|link| Packet::Down(link, frame.clone())));
                }
                leader::Effect::SendPeer(to, frame) => self.mail.push_back(Packet::Between(id, to, frame)),
                leader::Effect::Authenticated(_) => {}
                leader::Effect::Serve(entry, request) => self.served.push((id, entry, request)),
                leader::Effect::Close(link) => {
                    self.deliver();
                    self.cut(link);
                }
            }
        }
    }

    pub fn carry_out_member(&mut self, who: usize, step: member::Step) {
        self.agents[who].events.extend(step.events);
        for effect in step.effects {
            match effect {
                member::Effect::Send(id, _, frame) => {
                    let link = self.agents[who].links.get(&id).copied();
                    self.mail.extend(link.map(|link| Packet::Up(link, frame)));
                }
                member::Effect::Authenticated(_) => {}
                member::Effect::Log(_) => {}
                member::Effect::Reconnect(id) | member::Effect::Close(id) => {
                    self.deliver();
                    let link = self.agents[who].links.get(&id).copied();
                    link.into_iter().for_each(|link| self.cut(link));
                }
            }
        }
    }
}

pub fn password(name: &str) -> String {
    format!("the password of {name}")
}
