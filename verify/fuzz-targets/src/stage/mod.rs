//! Real leaders and members in memory, with every wire in the attacker's hands.
//!
//! Time passes from one wake-up to the next, frames arrive in the order in which they were sent, and links that
//! break are made again only when the driver is told to. Each step is held to its bounds as it is carried out.

mod checks;
mod eve;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::Rng;
use ringfort_protocol::leader::{self, Command, Leader};
use ringfort_protocol::login::Registration;
use ringfort_protocol::member::{self, Member, Secret};
use ringfort_protocol::policy::Service;
use ringfort_protocol::time::Cx;
use ringfort_protocol::view::MemberEntry;
use ringfort_protocol::{GroupInfo, LeaderId, LinkId, MemberId, Time};

use crate::fixture::{UNIX_S, copy_secrets, fixture, key_of, leader, rng, user};
use checks::Facts;

/// Frames without time passing, above which nodes never come to rest.
const ROUNDS_MAX: usize = 20_000;
/// True frames that are kept for replay.
const PASSED_MAX: usize = 256;

/// A frame under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Between leaders.
    Peer(LeaderId, LeaderId),
    /// From a seat to a leader.
    Up(usize, LeaderId),
    /// From a leader to whoever is at the other end of a link.
    Down(LeaderId, LinkId),
}

/// A member with its driver.
pub struct Seat {
    /// The real thing.
    pub member: Member,
    links: BTreeMap<LeaderId, LinkId>,
    /// Messages that it was shown.
    pub heard: Vec<(MemberId, u64, Bytes)>,
}

/// The stage.
pub struct Stage {
    group: Arc<GroupInfo>,
    leaders: Vec<Leader>,
    /// Leader 4 says nothing by itself: the attacker speaks for it.
    hostile_is_mute: bool,
    /// Members, the honest ones.
    pub seats: Vec<Seat>,
    now: Time,
    chance: ChaCha12Rng,
    queue: VecDeque<(Route, Bytes)>,
    /// True frames, the oldest first.
    passed: VecDeque<(Route, Bytes)>,
    facts: Facts,
    next_link: u64,
    eve: eve::Eve,
}

macro_rules! cx {
    ($stage:expr) => {
        &mut Cx { now: $stage.now, unix_ms: UNIX_S * 1000, rng: &mut $stage.chance }
    };
}

impl Stage {
    /// Four linked leaders at which the users of the cast are registered.
    pub fn new(hostile_is_mute: bool) -> Stage {
        let fixture = fixture();
        let mut stage = Stage {
            group: fixture.group.clone(),
            leaders: Vec::new(),
            hostile_is_mute,
            seats: Vec::new(),
            now: Time::from_start(Duration::from_secs(1)),
            chance: rng(4),
            queue: VecDeque::new(),
            passed: VecDeque::new(),
            facts: Facts::default(),
            next_link: 1,
            eve: eve::Eve::default(),
        };
        for secrets in &fixture.secrets {
            let core = Leader::new(cx!(stage), fixture.group.clone(), copy_secrets(secrets), Vec::new());
            stage.leaders.push(core);
        }
        for name in ["ana", "bo", "cy", "eve"] {
            let key = key_of(name).verifying_key();
            for id in LeaderId::all(4) {
                stage.command(id, Command::Register(user(name), Registration::Key(key)));
            }
        }
        stage.link_all_peers();
        stage
    }

    /// The leaders that keep to the protocol.
    pub fn honest() -> impl Iterator<Item = LeaderId> {
        LeaderId::all(3)
    }

    /// The one that does not.
    pub fn hostile() -> LeaderId {
        leader(4)
    }

    /// A leader.
    pub fn leader(&mut self, id: LeaderId) -> &mut Leader {
        &mut self.leaders[usize::from(id.number()) - 1]
    }

    /// True frames whose route is one of these.
    pub fn true_frames(&self, which: impl Fn(&Route) -> bool) -> Vec<(Route, Bytes)> {
        self.passed.iter().filter(|(route, _)| which(route)).cloned().collect()
    }

    /// How long it has been going on.
    pub fn millis(&self) -> u64 {
        u64::try_from(self.now.since(Time::ZERO).as_millis()).unwrap_or(u64::MAX)
    }

    /// A seat's stay and keys.
    pub fn entry_of(&self, seat: usize) -> Option<MemberEntry> {
        self.seats.get(seat)?.member.entry_for_testing_only()
    }

    /// The link of a seat to a leader.
    pub fn link_of(&self, seat: usize, id: LeaderId) -> Option<LinkId> {
        self.seats.get(seat)?.links.get(&id).copied()
    }

    /// Gives a leader an input and carries out what it asks for.
    pub fn on_leader(&mut self, id: LeaderId, input: impl FnOnce(&mut Leader, &mut Cx<'_>) -> leader::Step) {
        let now = self.now;
        let core = &mut self.leaders[usize::from(id.number()) - 1];
        let step = input(core, &mut Cx { now, unix_ms: UNIX_S * 1000, rng: &mut self.chance });
        let honest = id != Self::hostile();
        if honest {
            self.facts.on_leader_step(id, &step);
        }
        let silent = !honest && self.hostile_is_mute;
        for effect in step.effects {
            match effect {
                leader::Effect::Persist(_) | leader::Effect::Authenticated(_) | leader::Effect::Serve(..) => {}
                leader::Effect::Close(link) => self.cut(id, link),
                _ if silent => {}
                leader::Effect::Send(link, _, frame) => self.queue.push_back((Route::Down(id, link), frame)),
                leader::Effect::Relay(links, _, frame) => {
                    self.queue.extend(links.into_iter().map(|link| (Route::Down(id, link), frame.clone())));
                }
                leader::Effect::SendPeer(to, frame) => self.queue.push_back((Route::Peer(id, to), frame)),
            }
        }
    }

    /// Gives a member an input and carries out what it asks for.
    pub fn on_seat(&mut self, seat: usize, input: impl FnOnce(&mut Member, &mut Cx<'_>) -> member::Step) {
        let now = self.now;
        let Some(node) = self.seats.get_mut(seat) else { return };
        let step = input(&mut node.member, &mut Cx { now, unix_ms: UNIX_S * 1000, rng: &mut self.chance });
        self.facts.on_member_step(seat, node, &step);
        for effect in step.effects {
            match effect {
                member::Effect::Send(to, _, frame) => self.queue.push_back((Route::Up(seat, to), frame)),
                member::Effect::Authenticated(_) => {}
                member::Effect::Log(_) => {}
                member::Effect::Reconnect(id) | member::Effect::Close(id) => {
                    if let Some(link) = self.link_of(seat, id) {
                        self.cut(id, link);
                    }
                }
            }
        }
    }

    /// An operator's order, if the leader takes it.
    pub fn command(&mut self, id: LeaderId, command: Command) {
        self.on_leader(id, |core, cx| core.on_command(cx, command).unwrap_or_default());
        self.pump();
    }

    /// Makes all links between leaders anew.
    pub fn link_all_peers(&mut self) {
        for a in LeaderId::all(4) {
            for b in LeaderId::all(4).filter(|b| *b != a) {
                self.on_leader(a, |core, _| core.on_peer_up(b));
            }
        }
        self.pump();
    }

    /// A user starts its program, with no link yet.
    pub fn sit(&mut self, name: &str) -> usize {
        let member = Member::new(cx!(self), self.group.clone(), user(name), Secret::Key(key_of(name)));
        self.seats.push(Seat { member, links: BTreeMap::new(), heard: Vec::new() });
        self.seats.len() - 1
    }

    /// A new link of a seat, in place of the one before.
    pub fn link(&mut self, seat: usize, id: LeaderId) {
        if let Some(old) = self.link_of(seat, id) {
            self.cut(id, old);
        }
        let (link, exporter) = self.open(id);
        if let Some(node) = self.seats.get_mut(seat) {
            node.links.insert(id, link);
        }
        self.on_seat(seat, |member, cx| member.on_link_up(cx, id, exporter));
        self.pump();
    }

    /// A link to a leader whose other end is free.
    fn open(&mut self, id: LeaderId) -> (LinkId, [u8; 32]) {
        let mut exporter = [0; 32];
        self.chance.fill_bytes(&mut exporter);
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.on_leader(id, |core, _| {
            core.on_link_up(link, exporter);
            leader::Step::default()
        });
        (link, exporter)
    }

    /// A link breaks; both ends notice.
    pub fn cut(&mut self, id: LeaderId, link: LinkId) {
        self.leader(id).on_link_down(link);
        if let Some(seat) = self.seats.iter().position(|s| s.links.get(&id) == Some(&link)) {
            self.seats[seat].links.remove(&id);
            let now = self.now;
            self.on_seat(seat, |member, _| member.on_link_down(now, id));
        }
        self.eve.on_cut(id, link);
    }

    /// Delivers all that is under way.
    pub fn pump(&mut self) {
        let mut rounds = 0;
        while let Some((route, frame)) = self.queue.pop_front() {
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "the nodes talk without end: {route:?}");
            if self.passed.len() >= PASSED_MAX {
                self.passed.pop_front();
            }
            self.passed.push_back((route.clone(), frame.clone()));
            self.deliver(&route, &frame);
        }
    }

    /// Delivers one frame to where its route ends.
    pub fn deliver(&mut self, route: &Route, frame: &Bytes) {
        match route {
            Route::Peer(from, to) => self.on_leader(*to, |core, cx| core.on_peer_frame(cx, *from, frame)),
            Route::Up(seat, id) => {
                if let Some(link) = self.link_of(*seat, *id) {
                    self.on_leader(*id, |core, cx| core.on_member_frame(cx, link, frame));
                }
            }
            Route::Down(id, link) => match self.seats.iter().position(|s| s.links.get(id) == Some(link)) {
                Some(seat) => self.on_seat(seat, |member, cx| member.on_frame(cx, *id, frame)),
                None => self.eve.on_mail(*id, *link, frame),
            },
        }
    }

    /// Time passes, from wake-up to wake-up.
    pub fn pass(&mut self, length: Duration) {
        let end = self.now + length;
        loop {
            let members = self.seats.iter().filter_map(|s| s.member.next_wakeup(self.now));
            let next = self.leaders.iter().filter_map(Leader::next_wakeup).chain(members).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = at.max(self.now);
            self.wake_all();
        }
        self.now = end;
    }

    fn wake_all(&mut self) {
        for id in LeaderId::all(4) {
            let due = |stage: &mut Stage| stage.leader(id).next_wakeup().is_some_and(|at| at <= stage.now);
            if due(self) {
                self.on_leader(id, Leader::on_wakeup);
                assert!(!due(self), "{id} wants to be woken at once, for ever");
            }
        }
        for seat in 0..self.seats.len() {
            let due = |s: &Stage| s.seats[seat].member.next_wakeup(s.now).is_some_and(|at| at <= s.now);
            if due(self) {
                self.on_seat(seat, Member::on_wakeup);
                assert!(!due(self), "a member wants to be woken at once, for ever");
            }
        }
        self.pump();
    }

    /// A member sends to all.
    pub fn multicast(&mut self, seat: usize, payload: &[u8]) -> bool {
        let topic = "chat".parse().expect("a topic");
        let mut sent = false;
        self.on_seat(seat, |member, cx| {
            let step = member.multicast(cx, Service::Fifo, &topic, payload);
            sent = step.is_ok();
            step.unwrap_or_default()
        });
        self.pump();
        sent
    }

    /// A member sends to one other.
    pub fn send_to(&mut self, seat: usize, name: &str, payload: &[u8]) {
        let topic = "chat".parse().expect("a topic");
        self.on_seat(seat, |member, cx| member.send_to(cx, &[user(name)], &topic, payload).unwrap_or_default());
        self.pump();
    }
}
