//! The root component of a leader: routes between login, coordination, keys and delivery.
//!
//! Source: seed 002 §2.3 and §3. Inputs are frames of authenticated links, commands of the local
//! operator and the passing of time; the outcome is a [`Step`] of effects, to be carried out in order.

mod accusations;
mod arrivals;
mod claims;
mod delivering;
mod doubts;
mod figures;
mod link;
mod members;
mod motions;
mod peers;
mod serving;
mod silence;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use figures::Figures;
pub use step::{Class, Effect, Event, Record, Step};

use crate::coordination::{Coordination, Output, Session, SessionOrder};
use crate::delivery::Relay;
use crate::fault::{Culprit, Rejected};
use crate::group::{GroupInfo, LeaderSecrets};
use crate::ids::{Epoch, Incarnation, LeaderId, LinkId, MemberId, UserName, ViewId};
use crate::keys::Publisher;
use crate::login::{EnrolmentRecord, LoginServer, Registration};
use crate::motion::Motion;
use crate::rules::Rule;
use crate::time::{Cx, Time, earliest};
use crate::view::{Cause, Change, MemberSet};
use arrivals::Arrivals;
use link::Link;
use motions::Motions;
use peers::Account;
use silence::Silences;

/// Time between two views of one leader: concurrent changes share a view.
const PUBLISH_SPACING: Duration = Duration::from_millis(25);
/// Time between comparisons with the other leaders.
const STATUS_PERIOD: Duration = Duration::from_millis(500);
/// The most users one leader registers.
const USERS_MAX: usize = 65_536;

/// One leader.
pub struct Leader {
    group: Arc<GroupInfo>,
    secrets: LeaderSecrets,
    login: LoginServer,
    state: Coordination,
    publisher: Publisher,
    relay: Relay,
    links: BTreeMap<LinkId, Link>,
    /// The newest authenticated link of each user.
    attached: BTreeMap<UserName, LinkId>,
    /// Links of users who want to come in for a new stay while an earlier one is alive: it stays until they are in.
    waiting: BTreeMap<UserName, LinkId>,
    peers: BTreeSet<LeaderId>,
    accounts: BTreeMap<LeaderId, Account>,
    /// Accepted but not published yet.
    unpublished: Option<Vec<Change>>,
    published_at: Time,
    presence: BTreeMap<MemberId, Presence>,
    unheard: Silences,
    motions: Motions,
    arrivals: Arrivals,
    status_at: Time,
    /// When members are to be told what of theirs came.
    acknowledge_at: Option<Time>,
    #[cfg(feature = "mutants")]
    speaks_openly: bool,
}

/// What a leader knows of an accepted member's stay.
struct Presence {
    heard: Time,
    since: Epoch,
    /// When the stay was accepted here, or this leader started: every leader votes by its own clock.
    began: Time,
    /// Whether this leader has voted for its end because it has lasted long enough.
    expired: bool,
    /// Whether this leader does not hear it at the moment.
    silent: bool,
    /// Whether this leader has voted for its end because n-f leaders took it for lost.
    given_up: bool,
}

impl Presence {
    fn new(now: Time, since: Epoch) -> Self {
        Presence { heard: now, since, began: now, expired: false, silent: false, given_up: false }
    }
}

/// What the local operator may ask.
#[derive(Debug)]
pub enum Command {
    /// Accepts a user's enrolment record (A2). f+1 operators must. Refused where the user has registered something else.
    Enrol(EnrolmentRecord),
    /// The same, in place of what the user has registered: from then on that opens nothing at this leader.
    Replace(EnrolmentRecord),
    /// Registers a user, or takes an expelled one back: what accepting a record comes to.
    Register(UserName, Registration),
    /// Takes a user out, now and later (A16). f+1 operators must.
    Expel(UserName),
    /// Takes a user out who was never in, as far as this leader knows: one that is registered or may be certified (A25).
    /// f+1 operators must.
    Revoke(UserName),
    /// Asks for a new group key. f+1 operators must.
    Refresh,
    /// Ends a session, or starts one (A22). f+1 operators must.
    Session(SessionOrder),
}

impl Leader {
    /// A leader with what its store remembers.
    pub fn new(
        cx: &mut Cx<'_>,
        group: Arc<GroupInfo>,
        secrets: LeaderSecrets,
        records: impl IntoIterator<Item = Record>,
    ) -> Self {
        let mut login = LoginServer::new(&group);
        let (mut lives, mut catching_up) = (Vec::new(), false);
        for record in records {
            match record {
                Record::Life(life) => lives.push(life),
                Record::Registration(user, registration) => login.register(user, registration),
                Record::Attempts(attempts) => login.restore(cx.now, attempts),
                Record::CatchingUp(is) => catching_up = is,
            }
        }
        let mut state = Coordination::new(&group, &secrets, lives);
        if catching_up {
            state.catch_up_first();
        }
        let publisher = Publisher::new(cx, &group, &secrets, &state);
        let presence = |id: &MemberId| (id.clone(), Presence::new(cx.now, state.epoch()));
        let presence = state.members().iter().map(|entry| presence(&entry.id)).collect();
        Leader {
            relay: Relay::new(&group.policy),
            login,
            state,
            publisher,
            links: BTreeMap::new(),
            attached: BTreeMap::new(),
            waiting: BTreeMap::new(),
            peers: BTreeSet::new(),
            accounts: BTreeMap::new(),
            unpublished: None,
            published_at: cx.now,
            presence,
            unheard: Silences::default(),
            motions: Motions::default(),
            arrivals: Arrivals::default(),
            status_at: cx.now,
            acknowledge_at: None,
            #[cfg(feature = "mutants")]
            speaks_openly: false,
            group,
            secrets,
        }
    }

    /// Which leader this is.
    pub fn id(&self) -> LeaderId {
        self.secrets.id
    }

    /// Whether the published view holds all that is accepted here.
    pub fn is_published(&self) -> bool {
        self.unpublished.is_none()
    }

    /// The view published last.
    pub fn view(&self) -> ViewId {
        self.publisher.current()
    }

    /// The members accepted here.
    pub fn members(&self) -> &MemberSet {
        self.state.members()
    }

    /// The session accepted here.
    pub fn session(&self) -> Session {
        self.state.session()
    }

    /// Whether the user is registered here.
    pub fn is_registered(&self, user: &UserName) -> bool {
        self.login.is_registered(user)
    }

    /// Whether this leader does not take part yet, since it may have said what it does not remember.
    pub fn is_catching_up(&self) -> bool {
        self.state.is_catching_up()
    }

    /// Leaders with a live link.
    pub fn peers(&self) -> &BTreeSet<LeaderId> {
        &self.peers
    }

    /// The operator asks for something.
    pub fn on_command(&mut self, cx: &mut Cx<'_>, command: Command) -> Result<Step, Rejected> {
        let mut step = Step::default();
        let outputs = match command {
            Command::Enrol(record) => {
                let registration = record.open(&self.group, &self.secrets)?;
                if self.login.differs(&self.group, &record.user, &registration) {
                    return Err(Rejected::Registered(record.user));
                }
                self.register(record.user, registration, &mut step)?
            }
            Command::Replace(record) => {
                let registration = record.open(&self.group, &self.secrets)?;
                self.register(record.user, registration, &mut step)?
            }
            Command::Register(user, registration) => self.register(user, registration, &mut step)?,
            Command::Expel(user) => self.state.expel(&user)?,
            Command::Revoke(user) if self.login.is_registered(&user) || !self.group.policy.authorities.is_empty() => {
                self.state.revoke(&user)?
            }
            Command::Revoke(user) => return Err(Rejected::UnknownUser(user)),
            Command::Refresh | Command::Session(_) if self.is_catching_up() => return Err(Rejected::CatchingUp),
            Command::Refresh => self.state.refresh(),
            Command::Session(order) => self.state.order_session(order)?,
        };
        self.absorb(cx, outputs, &mut step);
        Ok(step)
    }

    fn register(
        &mut self,
        user: UserName,
        registration: Registration,
        step: &mut Step,
    ) -> Result<Vec<Output>, Rejected> {
        if self.login.registered() >= USERS_MAX && !self.login.is_registered(&user) {
            return Err(Rejected::Full(USERS_MAX));
        }
        let outputs = self.state.unbar(&user);
        step.effects.push(Effect::Persist(Record::Registration(user.clone(), registration.clone())));
        self.login.register(user, registration);
        Ok(outputs)
    }

    /// When [`Leader::on_wakeup`] is due.
    pub fn next_wakeup(&self) -> Option<Time> {
        let publish = self.unpublished.as_ref().filter(|_| !self.is_catching_up());
        let publish = publish.map(|_| self.published_at + PUBLISH_SPACING);
        earliest(earliest(publish, self.acknowledge_at), Some(self.status_at + STATUS_PERIOD))
    }

    /// Time has passed.
    pub fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step {
        let mut step = Step::default();
        self.acknowledge_if_due(cx.now, &mut step);
        if cx.now >= self.status_at + STATUS_PERIOD {
            self.status_at = cx.now;
            for message in self.state.status() {
                step.tell_peers(&self.peers, &message);
            }
            self.close_ended(&mut step);
            let outputs = self.state.insist();
            self.absorb(cx, outputs, &mut step);
            let outputs = self.state.expel_again();
            self.absorb(cx, outputs, &mut step);
            self.remove_silent(cx, &mut step);
            self.end_long_stays(cx, &mut step);
            self.decide_due(cx, &mut step);
            self.name_withholders(cx.now, &mut step);
            self.relay.expire(cx.now);
            let forgotten = self.login.forget_attempts(cx.now).into_iter();
            step.effects.extend(forgotten.map(|attempts| Effect::Persist(Record::Attempts(attempts))));
            let due = self.group.policy.rekey_period().is_some_and(|period| cx.now >= self.published_at + period);
            if due && !self.state.members().is_empty() {
                let outputs = self.state.refresh();
                self.absorb(cx, outputs, &mut step);
            }
        }
        self.publish_if_due(cx, &mut step);
        step
    }

    /// Votes for the end of stays that have lasted as long as policy allows (A18): f+1 leaders' clocks decide.
    fn end_long_stays(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        let limit = self.group.policy.stay_max().filter(|_| self.group.rules.enforces(Rule::StayLimit));
        let Some(limit) = limit.filter(|_| !self.is_catching_up()) else { return };
        let long = self.presence.iter_mut().filter(|(_, p)| !p.expired && cx.now.since(p.began) >= limit);
        let mut over = Vec::new();
        for (member, presence) in long {
            presence.expired = true;
            over.push(member.clone());
        }
        for member in over {
            let outputs = self.state.remove(&member, Cause::Expired);
            self.absorb(cx, outputs, step);
        }
    }

    /// Carries out what coordination asks for.
    fn absorb(&mut self, cx: &mut Cx<'_>, outputs: Vec<Output>, step: &mut Step) {
        for output in outputs {
            match output {
                Output::Persist(record) => step.effects.push(Effect::Persist(Record::Life(record))),
                Output::Broadcast(message) => step.tell_peers(&self.peers, &message),
                Output::Tell(peer, message) => step.tell_peer(peer, &message),
                Output::Changed(changes) => {
                    self.on_changes(cx.now, &changes, step);
                    self.unpublished.get_or_insert_default().extend(changes);
                }
                Output::Session(session) => step.events.push(Event::Session(session)),
                Output::CaughtUp => {
                    step.effects.push(Effect::Persist(Record::CatchingUp(false)));
                    step.events.push(Event::CaughtUp);
                }
                Output::Blame(leader, fault) => step.events.push(Event::Blamed(Culprit::Leader(leader), fault)),
            }
        }
        self.publish_if_due(cx, step);
    }

    fn on_changes(&mut self, now: Time, changes: &[Change], step: &mut Step) {
        let mut over = Vec::new();
        for change in changes {
            let user = change.user();
            let stay = |incarnation| MemberId { user: user.clone(), incarnation: Incarnation(incarnation) };
            let ended: Vec<_> = self.presence.range(stay(0)..=stay(u64::MAX)).map(|(id, _)| id.clone()).collect();
            for id in ended {
                self.presence.remove(&id);
                self.unheard.forget(&id);
                self.motions.forget_voter(&id);
                if matches!(change, Change::Added(entry) if entry.id == id) {
                    self.relay.begin_anew(&id);
                } else {
                    self.relay.forget(&id, now + self.group.policy.overlap());
                    over.push(id);
                }
            }
            self.mark_admitted(change, step);
            match change {
                Change::Added(entry) => {
                    let since = self.state.epoch();
                    self.presence.insert(entry.id.clone(), Presence::new(now, since));
                    self.motions.close(&Motion::admit(entry.id.user.clone()));
                    step.events.push(Event::Admitted(entry.id.clone()));
                }
                Change::Removed(user, cause) => {
                    self.motions.close(&Motion::expel(user.clone()));
                    step.events.push(Event::Ended(user.clone(), *cause));
                }
            }
        }
        over.iter().for_each(|stay| self.tell_last_words(stay, step));
    }

    /// Publishes what was accepted, unless the last view is only just out.
    ///
    /// Not while catching up: what this leader signed before may be ahead of what it remembers, and a view on
    /// another way there would convict it.
    fn publish_if_due(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        let spaced = cx.now >= self.published_at + PUBLISH_SPACING;
        if !spaced && self.published_at != Time::ZERO || self.is_catching_up() {
            return;
        }
        let Some(changes) = self.unpublished.take() else { return };
        let before = self.publisher.current();
        self.publisher.publish(cx, &self.group, &self.secrets, &self.state, changes);
        self.published_at = cx.now;
        step.events.push(Event::Published(self.publisher.current(), self.state.members().len()));
        self.send_claims(cx.now, before, step);
    }
}
