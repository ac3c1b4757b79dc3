//! Leaders of the world, honest and hostile.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ringfort_crypto::meter;
use ringfort_protocol::coordination::{LifeRecord, Operation, SignedProposal, Subject};
use ringfort_protocol::fault::Culprit;
use ringfort_protocol::group::LeaderSecrets;
use ringfort_protocol::leader::{Class, Command, Effect, Event, Leader, Record, Step};
use ringfort_protocol::login::{Attempts, Registration};
use ringfort_protocol::wire::{self, LeaderNotice, LoginAnswer, PeerMessage, Sorted};
use ringfort_protocol::{Cx, Fault, LeaderId, LinkId, Time, UserName, codec};

use super::work::Cost;
use super::{Happening, World, unix_ms};
use crate::checkers::What;
use crate::dice::Dice;
use crate::setup::copy_secrets;
use crate::strategy::{Den, Lie, Strategy, Vice};

/// Time between the schemes of a hostile leader.
const SCHEME_PERIOD: Duration = Duration::from_millis(170);
/// Proposals a hostile leader remembers.
const HEARD_MAX: usize = 64;

/// What survives a crash.
#[derive(Default)]
pub struct Store {
    lives: BTreeMap<Subject, LifeRecord>,
    registrations: BTreeMap<UserName, Registration>,
    attempts: BTreeMap<UserName, Attempts>,
    catching_up: bool,
}

impl Store {
    /// Makes a record durable.
    pub fn put(&mut self, record: Record) {
        match record {
            Record::Life(life) => drop(self.lives.insert(life.subject.clone(), life)),
            Record::Registration(user, registration) => drop(self.registrations.insert(user, registration)),
            Record::Attempts(Attempts { user, left: None }) => drop(self.attempts.remove(&user)),
            Record::Attempts(attempts) => drop(self.attempts.insert(attempts.user.clone(), attempts)),
            Record::CatchingUp(is) => self.catching_up = is,
        }
    }

    /// What a leader starts from.
    pub fn records(&self) -> Vec<Record> {
        let lives = self.lives.values().cloned().map(Record::Life);
        let registrations = self.registrations.iter().map(|(u, r)| Record::Registration(u.clone(), r.clone()));
        let attempts = self.attempts.values().cloned().map(Record::Attempts);
        lives.chain(registrations).chain(attempts).chain([Record::CatchingUp(self.catching_up)]).collect()
    }
}

/// A crash where a record is made durable.
#[derive(Clone, Copy, Debug)]
pub struct CrashPoint {
    /// Records before it.
    pub after: u32,
    /// Whether the record itself is on disk already.
    pub kept: bool,
}

/// One leader.
pub struct LeaderNode {
    /// Which.
    pub id: LeaderId,
    /// The real thing; `None` while it is down.
    pub core: Option<Leader>,
    /// Whether it is one of the f.
    pub hostile: bool,
    /// What it has on disk.
    pub store: Store,
    secrets: LeaderSecrets,
    strategy: Option<Box<dyn Strategy>>,
    dice: Dice,
    deadline: Option<Time>,
    heard: VecDeque<SignedProposal>,
    /// Crashes after this many more effects.
    pub(crate) crash_after: Option<u32>,
    /// Crashes there.
    pub(crate) crash_at: Option<CrashPoint>,
    /// What it has told other leaders, the last of each content: a crash must not make it forget.
    said: BTreeMap<Vec<u8>, Operation>,
    /// Orders to expel over which it crashed: they stay in its inbox.
    orders: Vec<UserName>,
}

impl World {
    pub(super) fn add_leader(&mut self, secrets: LeaderSecrets, hostile: bool) {
        let id = secrets.id;
        let strategy = if hostile { self.setup.vice.strategy() } else { None };
        self.leaders.push(LeaderNode {
            id,
            core: None,
            hostile,
            store: Store::default(),
            strategy,
            dice: Dice::new(self.setup.seed, &format!("leader {}", id.number())),
            deadline: None,
            heard: VecDeque::new(),
            crash_after: None,
            crash_at: None,
            said: BTreeMap::new(),
            orders: Vec::new(),
            secrets,
        });
        self.start_leader(id);
        if hostile {
            self.schedule(SCHEME_PERIOD, Happening::Scheme { leader: id });
        }
    }

    fn start_leader(&mut self, id: LeaderId) {
        let (now, group) = (self.now, self.group.clone());
        let node = self.leader_mut(id);
        let mut cx = Cx { now, unix_ms: unix_ms(now), rng: &mut node.dice.0 };
        let mut core = Leader::new(&mut cx, group, copy_secrets(&node.secrets), node.store.records());
        if node.strategy.is_some() {
            core.speak_openly_for_testing_only();
        }
        let (view, hostile) = (core.view(), node.hostile);
        node.core = Some(core);
        node.deadline = None;
        if !hostile {
            self.facts.published.insert(view.digest);
        }
        self.set_leader_timer(id);
    }

    /// Gives a leader an input and carries out what it asks for.
    ///
    /// What it cost the leader is returned.
    pub(crate) fn with_leader(&mut self, id: LeaderId, input: impl FnOnce(&mut Leader, &mut Cx<'_>) -> Step) -> Cost {
        let now = self.now;
        let node = self.leader_mut(id);
        let Some(core) = node.core.as_mut() else { return Cost::default() };
        let mut cx = Cx { now, unix_ms: unix_ms(now), rng: &mut node.dice.0 };
        meter::take_ns();
        let step = input(core, &mut cx);
        let cost = Cost { work_ns: meter::take_ns(), sent_bytes: sent_bytes(&step) };
        self.carry_out(id, step);
        self.set_leader_timer(id);
        cost
    }

    /// An operator's order.
    pub(crate) fn command(&mut self, id: LeaderId, command: Command) {
        let order = if let Command::Expel(user) = &command { Some(user.clone()) } else { None };
        self.with_leader(id, |core, cx| core.on_command(cx, command).unwrap_or_default());
        let node = self.leader_mut(id);
        if node.core.is_none() {
            // As the driver does: an order stays in the inbox until its outcome is durable.
            node.orders.extend(order);
        }
    }

    fn set_leader_timer(&mut self, id: LeaderId) {
        let now = self.now;
        let node = self.leader_mut(id);
        let wanted =
            node.core.as_ref().and_then(Leader::next_wakeup).map(|at| at.max(now + Duration::from_micros(100)));
        if wanted != node.deadline {
            node.deadline = wanted;
            if let Some(at) = wanted {
                self.queue.push(at, Happening::WakeLeader { leader: id });
            }
        }
    }

    pub(super) fn wake_leader(&mut self, id: LeaderId) {
        let now = self.now;
        let node = self.leader_mut(id);
        if node.deadline == Some(now) {
            node.deadline = None;
            self.with_leader(id, Leader::on_wakeup);
        }
    }

    fn carry_out(&mut self, id: LeaderId, step: Step) {
        for event in step.events {
            self.on_leader_event(id, &event);
        }
        let mut effects = step.effects.into_iter();
        while let Some(effect) = effects.next() {
            let is_record = |effect: &Effect| matches!(effect, Effect::Persist(_));
            let more = effects.as_slice().iter().any(is_record);
            if let Some(left) = self.leader_mut(id).crash_after.as_mut() {
                if *left == 0 {
                    if more || is_record(&effect) {
                        self.facts.note_forgotten(id, self.now);
                    }
                    self.crash(id, false);
                    return;
                }
                *left -= 1;
            }
            let Some(effect) = self.crash_at_record(id, effect, more) else { return };
            for effect in self.twist(id, effect) {
                self.carry_out_one(id, effect);
            }
        }
    }

    /// Where a record is made durable, a leader may crash before or after it; what is left to do of the effect, if it does not.
    fn crash_at_record(&mut self, id: LeaderId, effect: Effect, more: bool) -> Option<Effect> {
        let node = self.leader_mut(id);
        let (Effect::Persist(record), Some(point)) = (&effect, node.crash_at.as_mut()) else { return Some(effect) };
        if point.after > 0 {
            point.after -= 1;
            return Some(effect);
        }
        let kept = point.kept;
        if kept {
            node.store.put(record.clone());
        }
        if more || !kept {
            self.facts.note_forgotten(id, self.now);
        }
        self.crash(id, false);
        None
    }

    /// Keeps what an honest leader tells another.
    fn note_said(&mut self, id: LeaderId, frame: &Bytes) {
        let node = self.leader_mut(id);
        if !node.hostile
            && let Ok(Sorted::Plain(body)) = wire::sort(frame)
            && let Ok(PeerMessage::Proposals(list)) = wire::decode_plain(body)
        {
            let key =
                |operation: &Operation| codec::encode(&(operation.rank(), operation.content(), name_of(operation)));
            node.said.extend(list.into_iter().map(|said| (key(&said.operation), said.operation)));
        }
    }

    fn carry_out_one(&mut self, id: LeaderId, effect: Effect) {
        match effect {
            Effect::Persist(record) => self.leader_mut(id).store.put(record),
            Effect::Send(link, class, frame) => self.send_down(link, class, frame),
            Effect::Relay(links, class, frame) => {
                links.into_iter().for_each(|link| self.send_down(link, class, frame.clone()));
            }
            Effect::SendPeer(peer, frame) => {
                self.note_said(id, &frame);
                self.send_peer(id, peer, frame);
            }
            Effect::Authenticated(_) | Effect::Serve(..) => {}
            Effect::Close(link) => self.close_from_leader(link),
        }
    }

    fn on_leader_event(&mut self, id: LeaderId, event: &Event) {
        if self.leader(id).hostile {
            return;
        }
        self.trace.line(self.now, &format_args!("{id}: {event:?}"));
        match event {
            Event::Authenticated(member) => drop(self.facts.announced.insert(member.clone())),
            Event::Published(view, _) => drop(self.facts.published.insert(view.digest)),
            Event::Blamed(Culprit::Member(member), Fault::Silent) => drop(self.facts.silent.insert(member.clone())),
            _ => {}
        }
        let core = self.leader_mut(id).core.take();
        if let Event::Ended(user, _) = event {
            self.facts.note_ended(id, user);
        }
        self.see(What::Leader { id, core: core.as_ref(), event });
        if let Event::Admitted(member) = event {
            self.facts.note_admitted(id, member);
        }
        self.leader_mut(id).core = core;
    }

    /// A leader stops; its links end.
    pub(crate) fn crash(&mut self, id: LeaderId, forget: bool) {
        let node = self.leader_mut(id);
        if node.core.take().is_none() {
            return;
        }
        node.crash_after = None;
        node.crash_at = None;
        node.deadline = None;
        self.trace.line(self.now, &format_args!("{id} crashes"));
        self.break_links(|state| state.leader == id);
        let others: Vec<LeaderId> = self.leaders.iter().map(|l| l.id).filter(|l| *l != id).collect();
        others.into_iter().for_each(|other| self.cut_peers(id, other));
        let wait = self.dice.between_ms(100, 2_500);
        self.schedule(wait, Happening::Restart { leader: id, forget });
    }

    pub(super) fn restart(&mut self, id: LeaderId, forget: bool) {
        self.trace.line(self.now, &format_args!("{id} is back"));
        self.facts.note_restart(id);
        if forget {
            self.leader_mut(id).store.lives.clear();
        }
        self.start_leader(id);
        let node = self.leader(id);
        let forgotten =
            |said: &&Operation| node.core.as_ref().is_some_and(|core| !core.stands_by_for_testing_only(said));
        let forgotten: Vec<String> =
            node.said.values().filter(forgotten).map(|said| format!("{id}: {said:?}")).collect();
        self.facts.broken_words.extend(forgotten);
        for user in std::mem::take(&mut self.leader_mut(id).orders) {
            self.command(id, Command::Expel(user));
        }
    }

    /// A leader hears proposals; a hostile one keeps them.
    pub(super) fn overhear(&mut self, to: LeaderId, frame: &Bytes) {
        let node = self.leader_mut(to);
        if node.strategy.is_none() {
            return;
        }
        if let Ok(Sorted::Plain(body)) = wire::sort(frame)
            && let Ok(PeerMessage::Proposals(list)) = wire::decode_plain(body)
        {
            node.heard.extend(list);
            let surplus = node.heard.len().saturating_sub(HEARD_MAX);
            node.heard.drain(..surplus);
        }
    }

    /// What a hostile leader does in place of what its core asks for.
    fn twist(&mut self, id: LeaderId, effect: Effect) -> Vec<Effect> {
        if self.leader(id).strategy.is_none() {
            return vec![effect];
        }
        match effect {
            Effect::Send(link, class, frame) => match frame.as_ref() {
                [0, body @ ..] => {
                    let Ok(notice) = codec::decode::<LeaderNotice>(body) else { return Vec::new() };
                    let notices = self.scheming(id, |strategy, den| strategy.notice(den, link, notice));
                    self.seal(id, notices.into_iter().map(|n| (link, n)).collect())
                }
                _ => match wire::sort(&frame) {
                    Ok(Sorted::Plain(body)) if class == Class::Control => {
                        let Ok(answer) = wire::decode_plain::<LoginAnswer>(body) else { return Vec::new() };
                        let answers = self.scheming(id, |strategy, den| strategy.login(den, link, answer));
                        answers.into_iter().map(|a| Effect::Send(link, class, wire::plain(&a))).collect()
                    }
                    _ => vec![Effect::Send(link, class, frame)],
                },
            },
            Effect::Relay(links, class, frame) => {
                let relays = self.scheming(id, |strategy, den| strategy.relay(den, links, frame));
                relays.into_iter().map(|(link, frame)| Effect::Send(link, class, frame)).collect()
            }
            Effect::SendPeer(peer, frame) => {
                let Ok(Sorted::Plain(body)) = wire::sort(&frame) else { return Vec::new() };
                let Ok(message) = wire::decode_plain::<PeerMessage>(body) else { return Vec::new() };
                let messages = self.scheming(id, |strategy, den| strategy.peer(den, peer, message));
                messages.into_iter().map(|m| Effect::SendPeer(peer, wire::plain(&m))).collect()
            }
            other => vec![other],
        }
    }

    fn seal(&mut self, id: LeaderId, notices: Vec<(LinkId, LeaderNotice)>) -> Vec<Effect> {
        let Some(core) = self.leader_mut(id).core.as_mut() else { return Vec::new() };
        let seal = |(link, notice): (LinkId, LeaderNotice)| {
            core.seal_for_testing_only(link, &notice).map(|frame| Effect::Send(link, Class::Control, frame))
        };
        notices.into_iter().filter_map(seal).collect()
    }

    fn scheming<T>(&mut self, id: LeaderId, scheme: impl FnOnce(&mut dyn Strategy, &mut Den<'_>) -> Vec<T>) -> Vec<T> {
        let (now, group) = (self.now, self.group.clone());
        let (gang, names) = (std::mem::take(&mut self.gang), std::mem::take(&mut self.names));
        let (seed, script) = (self.setup.seed, std::mem::take(&mut self.setup.script));
        let mut tried = std::mem::take(&mut self.tried);
        let node = self.leader_mut(id);
        let out = match (node.strategy.as_mut(), node.core.as_ref()) {
            (Some(strategy), Some(core)) => {
                let mut den = Den {
                    now,
                    dice: &mut node.dice,
                    me: id,
                    gang: &gang,
                    group: &group,
                    links: core.links_for_testing_only(),
                    members: core.members(),
                    view: core.view(),
                    users: &names,
                    heard: node.heard.make_contiguous(),
                    refreshes: core.refreshes_for_testing_only(),
                    seed,
                    script: &script,
                    tried: &mut tried,
                };
                scheme(strategy.as_mut(), &mut den)
            }
            _ => Vec::new(),
        };
        self.gang = gang;
        self.names = names;
        self.setup.script = script;
        self.tried = tried;
        out
    }

    /// A hostile leader's own initiative.
    pub(super) fn scheme(&mut self, id: LeaderId) {
        self.schedule(SCHEME_PERIOD * self.setup.pace.min(20), Happening::Scheme { leader: id });
        let crashes = matches!(self.setup.vice, Vice::CrashReturn | Vice::CrashForget);
        if crashes && self.leader_mut(id).dice.chance(60) {
            self.crash(id, self.setup.vice == Vice::CrashForget);
        }
        for lie in self.scheming(id, |strategy, den| strategy.tick(den)) {
            match lie {
                Lie::Notice(link, notice) => {
                    for effect in self.seal(id, vec![(link, notice)]) {
                        self.carry_out_one(id, effect);
                    }
                }
                Lie::Peer(peer, message) => self.send_peer(id, peer, wire::plain(&message)),
                Lie::Bytes(link, frame) => self.send_down(link, Class::Data, frame),
                Lie::PeerBytes(peer, frame) => self.send_peer(id, peer, frame),
            }
        }
    }
}

/// Bytes that a step sends; a relay counts once, since honest members pay for it.
fn sent_bytes(step: &Step) -> u64 {
    let bytes = |effect: &Effect| match effect {
        Effect::Send(_, _, frame) | Effect::SendPeer(_, frame) => frame.len() as u64,
        Effect::Relay(_, _, frame) => frame.len() as u64,
        _ => 0,
    };
    step.effects.iter().map(bytes).sum()
}

fn name_of(operation: &Operation) -> Option<UserName> {
    match operation {
        Operation::Join(entry) => Some(entry.id.user.clone()),
        Operation::Remove(member, _) => Some(member.user.clone()),
        Operation::Refresh(_) | Operation::Session(_) => None,
    }
}
