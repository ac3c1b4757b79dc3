//! A whole group in one process without a network: every frame is delivered at once, and the time each
//! node spends on its inputs is counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::group::deal_group;
use ringfort_protocol::leader::{self, Command, Leader};
use ringfort_protocol::login::Registration;
use ringfort_protocol::member::{self, Member, Secret};
use ringfort_protocol::{Cx, GroupInfo, LeaderId, LinkId, Policy, Rules, Time, UserName};

/// A group of leaders and members as bare protocol cores.
pub(crate) struct Bed {
    pub info: Arc<GroupInfo>,
    rng: ChaCha20Rng,
    now: Time,
    leaders: BTreeMap<LeaderId, Node<Leader>>,
    members: BTreeMap<UserName, Node<Member>>,
    links: BTreeMap<LinkId, (LeaderId, UserName)>,
    link_of: BTreeMap<(LeaderId, UserName), LinkId>,
    frames: VecDeque<Frame>,
}

struct Node<T> {
    core: T,
    spent: Duration,
    received: usize,
}

enum Frame {
    ToLeader(LinkId, Bytes),
    ToMember(LinkId, Bytes),
    Between(LeaderId, LeaderId, Bytes),
}

impl Bed {
    /// Four leaders, f = 1, `users` registered by key.
    pub fn new(users: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        let rules = Rules::new(4, 1, 2).expect("four leaders tolerate one");
        let addresses: Vec<String> = (1..=4).map(|i| format!("leader-{i}:1")).collect();
        let policy = Policy { rekey_period_ms: 0, members_max: 16_384, ..Policy::default() };
        let (info, secrets) = deal_group("bench", rules, &addresses, policy, &mut rng);
        let info = Arc::new(info);
        let now = Time::from_start(Duration::from_secs(1));
        let mut bed = Bed {
            info: info.clone(),
            rng,
            now,
            leaders: BTreeMap::new(),
            members: BTreeMap::new(),
            links: BTreeMap::new(),
            link_of: BTreeMap::new(),
            frames: VecDeque::new(),
        };
        for secrets in secrets {
            let id = secrets.id;
            let core = Leader::new(&mut bed.cx(), info.clone(), secrets, []);
            bed.leaders.insert(id, Node { core, spent: Duration::ZERO, received: 0 });
        }
        for (from, to) in info.rules.leaders().flat_map(|a| info.rules.leaders().map(move |b| (a, b))) {
            if from != to {
                let step = bed.leaders.get_mut(&from).map(|node| node.core.on_peer_up(to)).unwrap_or_default();
                bed.carry_out_leader(from, step);
            }
        }
        for number in 0..users {
            bed.register(&user(number));
        }
        bed.settle(|bed| bed.frames.is_empty());
        bed
    }

    fn cx(&mut self) -> Cx<'_> {
        Cx { now: self.now, unix_ms: 0, rng: &mut self.rng }
    }

    fn register(&mut self, name: &UserName) {
        let key = key_of(name);
        for id in self.info.clone().rules.leaders() {
            let command = Command::Register(name.clone(), Registration::Key(key.verifying_key()));
            let Some(mut node) = self.leaders.remove(&id) else { continue };
            let step = node.core.on_command(&mut self.cx(), command).expect("the bench registers few users");
            self.leaders.insert(id, node);
            self.carry_out_leader(id, step);
        }
    }

    /// A user connects to every leader; the join happens as frames are delivered.
    pub fn connect(&mut self, name: &UserName) {
        let info = self.info.clone();
        let core = Member::new(&mut self.cx(), info.clone(), name.clone(), Secret::Key(key_of(name)));
        self.members.insert(name.clone(), Node { core, spent: Duration::ZERO, received: 0 });
        for leader in info.rules.leaders() {
            let link = LinkId(self.links.len() as u64 + 1);
            self.links.insert(link, (leader, name.clone()));
            self.link_of.insert((leader, name.clone()), link);
            let mut exporter = [0; 32];
            exporter[..8].copy_from_slice(&link.0.to_be_bytes());
            if let Some(node) = self.leaders.get_mut(&leader) {
                node.core.on_link_up(link, exporter);
            }
            self.with_member(name, |member, cx| member.on_link_up(cx, leader, exporter));
        }
    }

    /// A member asks to leave.
    pub fn leave(&mut self, name: &UserName) {
        self.with_member(name, |member, _| member.leave());
    }

    /// Every operator asks for a new key.
    pub fn refresh(&mut self) {
        for id in self.info.clone().rules.leaders() {
            self.with_leader(id, |leader, cx| leader.on_command(cx, Command::Refresh).unwrap_or_default());
        }
    }

    /// Delivers everything and lets a little time pass, so that leaders publish and members ask for what
    /// they lack, until `done` says so (or for a second and a half at most).
    pub fn settle(&mut self, done: impl Fn(&Bed) -> bool) {
        for _ in 0..50 {
            while let Some(frame) = self.frames.pop_front() {
                self.deliver(frame);
            }
            if done(self) {
                return;
            }
            self.now = self.now + Duration::from_millis(30);
            for id in self.info.clone().rules.leaders() {
                self.with_leader(id, |leader, cx| leader.on_wakeup(cx));
            }
            let now = self.now;
            let due = |node: &Node<Member>| {
                node.core.next_wakeup(now).is_some_and(|at| at <= now + Duration::from_millis(100))
            };
            let names: Vec<UserName> =
                self.members.iter().filter(|(_, n)| due(n)).map(|(name, _)| name.clone()).collect();
            for name in names {
                self.with_member(&name, |member, cx| member.on_wakeup(cx));
            }
        }
    }

    /// The epoch that a member has installed.
    pub fn epoch(&self, name: &UserName) -> u64 {
        self.members.get(name).and_then(|n| n.core.view()).map_or(0, |view| view.epoch.0)
    }

    /// Forgets what was counted.
    pub fn reset(&mut self) {
        self.leaders.values_mut().for_each(|n| (n.spent, n.received) = (Duration::ZERO, 0));
        self.members.values_mut().for_each(|n| (n.spent, n.received) = (Duration::ZERO, 0));
    }

    /// What one member spent and received.
    pub fn member(&self, name: &UserName) -> (Duration, usize) {
        self.members.get(name).map(|n| (n.spent, n.received)).unwrap_or_default()
    }

    /// What one leader spent.
    pub fn leader(&self) -> Duration {
        self.leaders.values().next().map(|n| n.spent).unwrap_or_default()
    }

    /// Whether all of these, and nobody else, are in the view of each of them.
    pub fn agree(&self, names: &[UserName]) -> bool {
        names.iter().all(|name| {
            let seen = self.members.get(name).map(|n| n.core.member_names());
            seen.is_some_and(|seen| seen.len() == names.len())
        })
    }

    fn deliver(&mut self, frame: Frame) {
        match frame {
            Frame::ToLeader(link, frame) => {
                let Some((leader, _)) = self.links.get(&link).cloned() else { return };
                self.with_leader(leader, |core, cx| core.on_member_frame(cx, link, &frame));
            }
            Frame::Between(from, to, frame) => {
                self.with_leader(to, |core, cx| core.on_peer_frame(cx, from, &frame));
            }
            Frame::ToMember(link, frame) => {
                let Some((leader, name)) = self.links.get(&link).cloned() else { return };
                if let Some(node) = self.members.get_mut(&name) {
                    node.received += frame.len();
                }
                self.with_member(&name, |core, cx| core.on_frame(cx, leader, &frame));
            }
        }
    }

    fn with_leader(&mut self, id: LeaderId, input: impl FnOnce(&mut Leader, &mut Cx<'_>) -> leader::Step) {
        let Some(mut node) = self.leaders.remove(&id) else { return };
        let start = Instant::now();
        let step = input(&mut node.core, &mut self.cx());
        node.spent += start.elapsed();
        self.leaders.insert(id, node);
        self.carry_out_leader(id, step);
    }

    fn with_member(&mut self, name: &UserName, input: impl FnOnce(&mut Member, &mut Cx<'_>) -> member::Step) {
        let Some(mut node) = self.members.remove(name) else { return };
        let start = Instant::now();
        let step = input(&mut node.core, &mut self.cx());
        node.spent += start.elapsed();
        self.members.insert(name.clone(), node);
        for effect in step.effects {
            if let member::Effect::Send(leader, _, frame) = effect
                && let Some(link) = self.link_of.get(&(leader, name.clone()))
            {
                self.frames.push_back(Frame::ToLeader(*link, frame));
            }
        }
    }

    fn carry_out_leader(&mut self, id: LeaderId, step: leader::Step) {
        for effect in step.effects {
            match effect {
                leader::Effect::Send(link, _, frame) => self.frames.push_back(Frame::ToMember(link, frame)),
                leader::Effect::Relay(links, _, frame) => {
                    self.frames.extend(links.into_iter().map(|link| Frame::ToMember(link, frame.clone())));
                }
                leader::Effect::SendPeer(peer, frame) => self.frames.push_back(Frame::Between(id, peer, frame)),
                leader::Effect::Persist(_)
                | leader::Effect::Authenticated(_)
                | leader::Effect::Serve(..)
                | leader::Effect::Close(_) => {}
            }
        }
    }
}

/// The name of user `number`.
pub(crate) fn user(number: usize) -> UserName {
    format!("user-{number:05}").parse().expect("a name of letters and digits")
}

fn key_of(name: &UserName) -> SigningKey {
    SigningKey::from_secret(&ringfort_crypto::kdf::derive(name.as_bytes(), "ringfort bench user", &[]))
}
