//! Users and the runs of their members' programs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringfort_crypto::meter;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::fault::Rejected;
use ringfort_protocol::leader::Command;
use ringfort_protocol::log::{LOG_MAGIC, resume};
use ringfort_protocol::login::{Registration, enrol_key, enrol_password};
use ringfort_protocol::member::{Effect, Event, Member, Secret, Step};
use ringfort_protocol::policy::Service;
use ringfort_protocol::view::{Cause, Change, MemberSet};
use ringfort_protocol::{Cx, LeaderId, LinkId, MemberId, Time, Topic, UserName, ViewId};
use zeroize::Zeroizing;

use super::work::Cost;
use super::{Happening, Sent, World, unix_ms};
use crate::checkers::What;
use crate::dice::Dice;
use crate::mutator::member::HackedMember;
use crate::workload::Work;

/// One run of a member's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub usize);

/// What a user logs in with.
#[derive(Clone)]
pub enum Key {
    /// A password.
    Password(Vec<u8>),
    /// A key.
    Key(SigningKey),
}

/// A view that a user was in, and with whom.
pub type Company = (ViewId, BTreeSet<MemberId>);

/// A person.
pub struct User {
    /// The name.
    pub name: UserName,
    /// The credential.
    pub key: Key,
    /// Whether at least f+1 honest operators registered the user.
    pub registered: bool,
    /// Whether operators expelled the user.
    pub expelled: bool,
    /// Whether the user wants to be in the group.
    pub wants_in: bool,
    /// The program running now.
    pub client: Option<ClientId>,
    /// The membership log that the user's programs keep, one after the other.
    pub log: Vec<u8>,
    /// What the log must say: when the user came to be in a view, with whom, or in none any more.
    pub truth: Vec<(u64, Option<Company>)>,
}

impl User {
    /// Whether the group must let the user in.
    pub fn is_admissible(&self) -> bool {
        self.registered && !self.expelled
    }
}

/// A client's connection to one leader.
#[derive(Debug, Default)]
pub struct Uplink {
    /// The link that is up, or coming up.
    pub link: Option<LinkId>,
    /// Attempts since the last link that lasted.
    pub attempts: u32,
    /// When the last link began, until its end is taken into account.
    pub since: Option<Time>,
    /// Closed for good.
    pub closed: bool,
}

/// One run of a member's program.
pub struct Client {
    /// Whose.
    pub user: usize,
    /// The real thing; `None` once it ended or crashed.
    pub member: Option<Member>,
    dice: Dice,
    deadline: Option<Time>,
    uplinks: BTreeMap<LeaderId, Uplink>,
    /// What it does in place of what its program would, if it is in the attacker's hands.
    hacked: Option<HackedMember>,
    /// Until when its machine sleeps.
    asleep: Option<Time>,
}

impl Client {
    pub(super) fn uplink(&mut self, leader: LeaderId) -> Option<&mut Uplink> {
        self.uplinks.get_mut(&leader)
    }
}

impl World {
    /// Registers the users of the setup: by password or by key, most of them everywhere, one at the fewest
    /// honest leaders that must do, and one nowhere.
    pub(super) fn enrol_users(&mut self) {
        let count = self.setup.users;
        for place in 0..count + 1 {
            let name: UserName = format!("user-{place:02}").parse().expect("a name");
            let key = if self.dice.chance(500) {
                Key::Password(format!("password of {name}").into_bytes())
            } else {
                Key::Key(SigningKey::generate(&mut self.dice.0))
            };
            let registered = place < count;
            self.users.push(User {
                name: name.clone(),
                key: key.clone(),
                registered,
                expelled: false,
                wants_in: false,
                client: None,
                log: LOG_MAGIC.to_vec(),
                truth: Vec::new(),
            });
            self.names.push(name.clone());
            if self.setup.hacked_member && place == 2 {
                self.facts.hacked.insert(name.clone());
            }
            if registered {
                let everywhere = place != 1 || self.dice.chance(500);
                self.register(&name, &key, everywhere);
                self.facts.registered.insert(name);
            }
        }
        self.names.push("nobody".parse().expect("a name"));
    }

    fn register(&mut self, name: &UserName, key: &Key, everywhere: bool) {
        let group = self.group.clone();
        let (_, secrets) = self.setup.deal();
        let records = match key {
            Key::Password(password) => {
                enrol_password(&group, name, password, &mut self.dice.0).expect("a password hashes to a point").records
            }
            Key::Key(key) => enrol_key(&group, name, &key.verifying_key(), &mut self.dice.0).records,
        };
        let mut honest_left = if everywhere { usize::MAX } else { usize::from(group.rules.f()) + 1 };
        for (record, secrets) in records.iter().zip(&secrets) {
            if !self.leader(secrets.id).hostile {
                if honest_left == 0 {
                    continue;
                }
                honest_left -= 1;
            }
            let registration: Registration = record.open(&group, secrets).expect("the record is for this leader");
            self.command(secrets.id, Command::Register(name.clone(), registration));
        }
    }

    /// A user starts the program.
    pub(crate) fn start_client(&mut self, user: usize) -> Option<ClientId> {
        let person = self.users.get(user)?;
        if person.client.is_some() {
            return None;
        }
        let id = ClientId(self.clients.len());
        self.facts.last_operation = self.now;
        let mut dice = Dice::new(self.setup.seed, &format!("client {}", id.0));
        let secret = match &person.key {
            Key::Password(password) => Secret::Password(Zeroizing::new(password.clone())),
            Key::Key(key) => Secret::Key(key.clone()),
        };
        let mut cx = cx(self.now, &mut dice);
        let mut member = Member::new(&mut cx, self.group.clone(), person.name.clone(), secret);
        member.keep_log(resume(&person.log).ok().flatten().map(|tail| tail.head).unwrap_or_default());
        self.trace.line(self.now, &format_args!("{} starts client {}", person.name, id.0));
        let leaders: Vec<LeaderId> = self.group.rules.leaders().collect();
        let uplinks = leaders.iter().map(|l| (*l, Uplink::default())).collect();
        let hacked = self.facts.hacked.contains(member.user());
        let hacked = hacked.then(|| HackedMember::new(self.setup.seed, id.0));
        if hacked.is_some() {
            member.speak_openly_for_testing_only();
        }
        self.clients.push(Client { user, member: Some(member), dice, deadline: None, uplinks, hacked, asleep: None });
        if let Some(person) = self.users.get_mut(user) {
            person.client = Some(id);
        }
        for leader in leaders {
            let delay = self.network.delay();
            self.schedule(delay, Happening::Connect { client: id, leader });
        }
        self.set_client_timer(id);
        Some(id)
    }

    /// Gives a member an input and carries out what it asks for.
    ///
    /// What it cost the member is returned.
    pub(crate) fn with_member(&mut self, id: ClientId, input: impl FnOnce(&mut Member, &mut Cx<'_>) -> Step) -> Cost {
        let now = self.now;
        let client = self.client_mut(id);
        let Some(member) = client.member.as_mut() else { return Cost::default() };
        let mut cx = cx(now, &mut client.dice);
        meter::take_ns();
        let step = input(member, &mut cx);
        let bytes = |effect: &Effect| if let Effect::Send(_, _, frame) = effect { frame.len() as u64 } else { 0 };
        let cost = Cost { work_ns: meter::take_ns(), sent_bytes: step.effects.iter().map(bytes).sum() };
        self.carry_out_member(id, step);
        cost
    }

    /// What a hacked member sends in place of what its program would.
    fn twist_member(&mut self, id: ClientId, effect: Effect) -> Vec<Effect> {
        let now = self.now;
        let mut tried = std::mem::take(&mut self.tried);
        let script = std::mem::take(&mut self.setup.script);
        let client = self.client_mut(id);
        let out = match client.hacked.as_mut() {
            Some(hacked) => hacked.play(now, &script, client.member.as_mut(), effect, &mut tried),
            None => vec![effect],
        };
        self.tried = tried;
        self.setup.script = script;
        out
    }

    fn carry_out_member(&mut self, id: ClientId, step: Step) {
        let now = self.now;
        if let Some(entry) = self.client(id).member.as_ref().and_then(Member::entry_for_testing_only) {
            self.facts.genuine.insert(entry);
        }
        for event in &step.events {
            self.on_member_event(id, event);
        }
        let effects: Vec<Effect> = step.effects.into_iter().flat_map(|effect| self.twist_member(id, effect)).collect();
        for effect in effects {
            match effect {
                Effect::Send(leader, class, frame) => self.send_up(id, leader, class, frame),
                Effect::Authenticated(_) => {}
                Effect::Log(chunk) => self.keep_log(id, &chunk.bytes),
                Effect::Reconnect(leader) => {
                    self.close_from_client(id, leader);
                    if let Some(step) = self.client_mut(id).member.as_mut().map(|m| m.on_link_down(now, leader)) {
                        self.carry_out_member(id, step);
                    }
                    self.reconnect(id, leader);
                }
                Effect::Close(leader) => {
                    self.close_from_client(id, leader);
                    if let Some(uplink) = self.client_mut(id).uplink(leader) {
                        uplink.closed = true;
                    }
                }
            }
        }
        self.note_truth(id);
        if self.client(id).member.as_ref().is_some_and(Member::has_ended) {
            self.client_is_over(id);
        }
        self.set_client_timer(id);
    }

    fn keep_log(&mut self, id: ClientId, bytes: &[u8]) {
        let user = self.client(id).user;
        if let Some(person) = self.users.get_mut(user) {
            person.log.extend(bytes);
        }
    }

    /// Notes what a log must say of this moment.
    fn note_truth(&mut self, id: ClientId) {
        let (now, user) = (unix_ms(self.now), self.client(id).user);
        let member = self.client(id).member.as_ref().filter(|member| !member.has_ended());
        let ids = |members: &MemberSet| members.iter().map(|entry| entry.id.clone()).collect();
        let view = member.and_then(|member| Some((member.view()?, ids(member.members()?))));
        if let Some(person) = self.users.get_mut(user)
            && person.truth.last().is_none_or(|(_, last)| *last != view)
        {
            person.truth.push((now, view));
        }
    }

    fn on_member_event(&mut self, id: ClientId, event: &Event) {
        let name = self.users.get(self.client(id).user).map(|u| u.name.clone());
        let name = name.as_ref().map_or("", UserName::as_str);
        self.trace.line(self.now, &format_args!("{name} (client {}): {event:?}", id.0));
        if self.client(id).hacked.is_some() {
            return;
        }
        if let Event::Gap { sender, count, .. } = event {
            *self.facts.gaps.entry((id, sender.clone())).or_default() += count;
        }
        if let Event::UnknownTail(sender) = event {
            self.facts.unknown_tails.insert((id, sender.clone()));
        }
        if let Event::View { view, changes } = event {
            self.facts.installed.insert((id, view.digest));
            let (now, is_first) = (self.now, !self.facts.first_view.contains_key(&id));
            self.facts.first_view.entry(id).or_insert(now);
            for change in changes {
                let gone = match change {
                    Change::Added(entry) => {
                        self.facts.seen.entry((id, entry.id.clone())).or_insert(is_first);
                        drop(self.facts.present.insert((id, entry.id.user.clone()), entry.id.clone()));
                        None
                    }
                    Change::Removed(user, cause) => {
                        let gone = self.facts.present.remove(&(id, user.clone()));
                        gone.filter(|_| *cause == Cause::Expelled)
                    }
                };
                self.facts.told_expelled.extend(gone.map(|gone| (id, gone)));
            }
        }
        if let Event::Message(delivery) = event {
            self.facts.delivered += 1;
            let number = delivery.payload.first_chunk::<8>().map(|b| u64::from_be_bytes(*b));
            self.facts.heard.extend(number.map(|number| (id, number)));
        }
        let member = self.client_mut(id).member.take();
        if let Some(member) = &member {
            self.see(What::Member { client: id, member, event });
        }
        self.client_mut(id).member = member;
    }

    /// The program ends; the user may start it again.
    fn client_is_over(&mut self, id: ClientId) {
        let client = self.client_mut(id);
        client.member = None;
        client.deadline = None;
        let user = client.user;
        let leaders: Vec<LeaderId> = self.group.rules.leaders().collect();
        leaders.into_iter().for_each(|leader| self.close_from_client(id, leader));
        if let Some(person) = self.users.get_mut(user).filter(|p| p.client == Some(id)) {
            person.client = None;
            if person.wants_in && person.is_admissible() {
                self.schedule(Duration::from_millis(300), Happening::Work(Work::Return(user)));
            }
        }
    }

    /// The program dies without a word.
    pub(crate) fn crash_client(&mut self, id: ClientId) {
        self.trace.line(self.now, &format_args!("client {} crashes", id.0));
        self.break_links(|state| state.client == id);
        let user = self.client(id).user;
        if let Some(member) = self.client_mut(id).member.take() {
            let open = self.facts.sent.iter().filter(|(_, sent)| sent.client == id && !member.is_settled(sent.place).0);
            let open: Vec<u64> = open.map(|(number, _)| *number).collect();
            self.facts.unacknowledged.extend(open);
        }
        self.note_truth(id);
        if let Some(person) = self.users.get_mut(user).filter(|p| p.client == Some(id)) {
            person.client = None;
        }
    }

    /// The user asks to leave.
    pub(crate) fn leave(&mut self, id: ClientId) {
        let stay = self.client(id).member.as_ref().and_then(|m| m.id().cloned());
        self.facts.left.extend(stay);
        self.facts.last_operation = self.now;
        self.with_member(id, |member, _| member.leave());
    }

    /// The member's machine sleeps: its links are gone, and nothing wakes its program until then.
    pub(crate) fn put_to_sleep(&mut self, id: ClientId, length: Duration) {
        self.trace.line(self.now, &format_args!("client {} sleeps for {length:?}", id.0));
        let until = self.now + length;
        self.client_mut(id).asleep = Some(until);
        let port = self.port(id);
        self.network.deaf.insert(port);
        let links = self.links_where(|state| state.client == id);
        links.into_iter().for_each(|link| self.reset_link(link));
        self.schedule(length, Happening::Work(Work::WakeUp(id)));
    }

    /// It wakes up.
    pub(crate) fn wake_up(&mut self, id: ClientId) {
        let port = self.port(id);
        self.network.deaf.remove(&port);
        let now = self.now;
        let client = self.client_mut(id);
        client.asleep = None;
        if client.deadline.is_some_and(|at| at <= now) {
            client.deadline = None;
            self.with_member(id, Member::on_wakeup);
        }
    }

    fn set_client_timer(&mut self, id: ClientId) {
        let now = self.now;
        let client = self.client_mut(id);
        let wanted = client.member.as_ref().and_then(|m| m.next_wakeup(now));
        let wanted = wanted.map(|at| at.max(now + Duration::from_micros(100)));
        if wanted != client.deadline {
            client.deadline = wanted;
            if let Some(at) = wanted {
                self.queue.push(at, Happening::WakeClient { client: id });
            }
        }
    }

    pub(super) fn wake_client(&mut self, id: ClientId) {
        let now = self.now;
        let client = self.client_mut(id);
        if client.asleep.is_some_and(|until| until > now) {
            return;
        }
        if client.deadline == Some(now) {
            client.deadline = None;
            self.with_member(id, Member::on_wakeup);
        }
    }

    /// A client sends a message: to all, or to some.
    pub(crate) fn say(&mut self, id: ClientId, service: Service, to: Option<Vec<UserName>>, probe: bool) {
        let number = self.facts.sent.len() as u64;
        let topic: Topic = "sim".parse().expect("a topic");
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(8 + self.dice.index(200), 7);
        let Some(member) = self.client(id).member.as_ref() else { return };
        let (Some(sender), Some(view), Some(members)) = (member.id(), member.view(), member.members()) else { return };
        let sent = Sent {
            at: self.now,
            client: id,
            sender: sender.clone(),
            view,
            members: members.iter().map(|e| e.id.clone()).collect(),
            to: to.clone(),
            service,
            probe,
            place: 0,
        };
        let (mut accepted, mut place) = (false, 0);
        self.facts.sent.insert(number, sent);
        self.with_member(id, |member, cx| {
            let step: Result<Step, Rejected> = match &to {
                Some(to) => member.send_to(cx, to, &topic, &payload),
                None => member.multicast(cx, service, &topic, &payload),
            };
            (accepted, place) = (step.is_ok(), member.newest_message());
            step.unwrap_or_default()
        });
        if let Some(sent) = self.facts.sent.get_mut(&number) {
            sent.place = place;
        }
        if !accepted {
            // The number stays used; nobody may deliver it.
            self.facts.refused.insert(number);
        }
    }
}

fn cx(now: Time, dice: &mut Dice) -> Cx<'_> {
    Cx { now, unix_ms: unix_ms(now), rng: &mut dice.0 }
}
