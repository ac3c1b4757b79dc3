//! The root component: a member of one secure group.
//!
//! Inputs are what the site says about the group (views, transitional signals, messages, in the site's order), commands
//! of the application and wake-ups. Each returns a [`Step`]: effects for the driver and events for the application, both
//! in order. Nothing that comes from the site or from another member makes it panic or grow without bound.
//!
//! What the driver does, and nothing more:
//! - It joins the group at a site, and gives what comes of it to `on_view`, `on_transitional` and `on_message`, in
//!   order, this member's own messages too.
//! - It sends what [`Effect::Multicast`] says, by a service that keeps the agreed order.
//! - It calls [`Peer::on_wakeup`] at [`Peer::next_wakeup`].
//! - After [`Effect::Leave`] the value is of no more use: to come again, it makes a new one and joins again.

mod input;
mod step;

use std::collections::BTreeMap;
use std::sync::Arc;

use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::sign::SigningKey;
use ringfort_kernel::time::earliest;
use ringfort_kernel::{Cx, Time};
use ringfort_peer::{Name, Service};

pub use self::input::Arrival;
pub use self::step::{Effect, Event, Rejected, SecureView, Step};
use crate::data::{Channel, Member};
use crate::flush::{Action, Flush, SiteView};
use crate::group::{Group, Ristretto};
use crate::ids::{Context, MESSAGE_BYTES_MAX, Round};
use crate::keys::robust::{Outcome, Robust, ViewKeys};
use crate::policy::Policy;
use crate::rules::Rules;
use crate::wire::{Again, Body, FlushOk, Frame, Vote, Why};

/// Between the times at which two members would refresh an old key: so that one does.
const REFRESH_STAGGER: std::time::Duration = std::time::Duration::from_secs(2);

/// Who a member is, and what it goes by.
#[derive(Clone, Debug)]
pub struct Config {
    /// The group's policy.
    pub policy: Arc<Policy>,
    /// The name under which the site knows this member.
    pub me: Name,
    /// The key with which it signs.
    pub key: SigningKey,
    /// Rules in force.
    pub rules: Rules,
}

/// A member of one secure group.
pub struct Peer<G: Group = Ristretto> {
    config: Config,
    flush: Flush,
    robust: Robust<G>,
    channel: Option<Channel>,
    /// The key for private messages that was announced last.
    session: Option<KemSecret>,
    previous: Option<Context>,
    /// The next key is to use nothing that went before.
    afresh: bool,
    /// This member has asked for a refresh.
    refresh: bool,
    refresh_at: Option<Time>,
    /// Control frames of each member in this round.
    taken: BTreeMap<Name, u32>,
    counted: Round,
    is_out: bool,
}

impl<G: Group> std::fmt::Debug for Peer<G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("me", &self.config.me).field("round", &self.flush.round()).finish_non_exhaustive()
    }
}

impl<G: Group> Peer<G> {
    /// A member that is about to join.
    pub fn new(config: Config, now: Time) -> Self {
        let flush = Flush::new(config.me.clone(), config.policy.patience, config.rules, now);
        let robust = Robust::new(config.me.clone(), config.key.clone(), config.policy.clone(), config.rules);
        Peer {
            config,
            flush,
            robust,
            channel: None,
            session: None,
            previous: None,
            afresh: false,
            refresh: false,
            refresh_at: None,
            taken: BTreeMap::new(),
            counted: Round::default(),
            is_out: false,
        }
    }

    // What there is to see.

    /// Whether the application may send.
    pub fn can_send(&self) -> bool {
        self.channel.is_some() && !self.is_out && (self.flush.is_open() || self.flush.is_asked())
    }

    /// The members of the last secure view, while there is one.
    pub fn members(&self) -> Option<&BTreeMap<Name, Member>> {
        self.channel.as_ref().map(Channel::members)
    }

    /// The round that is under way or has come to its end.
    pub fn round(&self) -> Round {
        self.flush.round()
    }

    /// Whose word is awaited before there is a new secure view.
    pub fn awaited(&self) -> Vec<Name> {
        let awaited = if self.flush.is_agreeing() { self.robust.awaited() } else { self.flush.awaited() };
        awaited.into_iter().collect()
    }

    // Commands of the application.

    /// Sends a message to all members, in the present view.
    ///
    /// # Errors
    /// When there is no secure view, or a new one is coming, or the message is too large.
    pub fn send(&mut self, service: Service, message: &[u8]) -> Result<Step, Rejected> {
        self.seal(service, None, message)
    }

    /// Sends a message to one member alone, in the present view.
    ///
    /// # Errors
    /// As [`Peer::send`]; also when there is no such member.
    pub fn send_to(&mut self, to: Name, message: &[u8]) -> Result<Step, Rejected> {
        if self.members().is_some_and(|members| !members.contains_key(&to)) {
            return Err(Rejected::NoSuchMember);
        }
        self.seal(Service::Agreed, Some(to), message)
    }

    fn seal(&mut self, service: Service, to: Option<Name>, message: &[u8]) -> Result<Step, Rejected> {
        if !self.can_send() {
            return Err(Rejected::NoSecureView);
        }
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Rejected::TooLarge(message.len()));
        }
        // A message that overtook the members' answers could not be told from one of the next view.
        let service = if service.is_ordered() { service } else { Service::Fifo };
        let channel = self.channel.as_mut().ok_or(Rejected::NoSecureView)?;
        let frame = channel.seal(service, to.clone(), message).ok_or(Rejected::NoSuchMember)?;
        let mut step = Step::default();
        step.multicast(service, to, &Frame::Data(frame));
        Ok(step)
    }

    /// The application has sent what it wanted to send in the view that ends: the answer to [`Event::FlushRequest`].
    pub fn flush_ok(&mut self, cx: &mut Cx<'_>) -> Step {
        let mut step = Step::default();
        let actions = self.flush.on_application();
        self.act(cx, actions, &mut step);
        step
    }

    /// Asks for a new key in the present view. Any member may.
    ///
    /// # Errors
    /// When there is no secure view, or a new one is coming anyway.
    pub fn refresh(&mut self) -> Result<Step, Rejected> {
        if self.is_out || !self.flush.is_secure() {
            return Err(Rejected::NoSecureView);
        }
        let mut step = Step::default();
        self.refresh = true;
        self.again(Why::Refresh, &mut step);
        Ok(step)
    }

    // What the site says.

    /// A view of the sites.
    pub fn on_view(&mut self, cx: &mut Cx<'_>, view: SiteView) -> Step {
        let mut step = Step::default();
        if !self.is_out {
            let actions = self.flush.on_view(cx.now, view);
            self.act(cx, actions, &mut step);
        }
        step
    }

    /// Members of the sites' view are lost.
    pub fn on_transitional(&mut self) -> Step {
        let mut step = Step::default();
        if !self.is_out && self.channel.is_some() {
            step.events.push(Event::Transitional);
        }
        step
    }

    /// When the member next wants to be woken.
    pub fn next_wakeup(&self) -> Option<Time> {
        let refresh = self.refresh_at.filter(|_| self.flush.is_secure());
        if self.is_out { None } else { earliest(self.flush.next_wakeup(), refresh) }
    }

    /// Does what is due.
    pub fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step {
        let mut step = Step::default();
        if self.is_out {
            return step;
        }
        let actions = self.flush.on_wakeup(cx.now);
        self.act(cx, actions, &mut step);
        if self.flush.is_secure() && self.refresh_at.is_some_and(|at| at <= cx.now) {
            self.refresh_at = None;
            self.refresh = true;
            self.again(Why::Refresh, &mut step);
        }
        step
    }

    // Carrying out.

    fn act(&mut self, cx: &mut Cx<'_>, actions: Vec<Action>, step: &mut Step) {
        if self.counted != self.flush.round() {
            self.counted = self.flush.round();
            self.taken.clear();
            self.robust.stop();
        }
        for action in actions {
            match action {
                Action::Ask => step.events.push(Event::FlushRequest),
                Action::Answer(round) => self.answer(cx, round, step),
                Action::Install => {
                    // Everybody who is heard has said that it is done: the last view's keys are of no more use.
                    self.channel = None;
                    let outcomes = self.robust.start(cx.rng, self.flush.round(), self.flush.answers());
                    self.take(cx, outcomes, step);
                }
                Action::Vote(against) => self.vote(against, step),
                Action::Overdue { again: false } => {
                    let awaited = self.robust.awaited();
                    step.events.push(Event::Waiting(awaited.iter().cloned().collect()));
                    // Where most are stuck, none of them is to blame.
                    if awaited.len() * 2 > self.flush.answers().len() {
                        self.again(Why::Failed, step);
                    } else {
                        self.vote(awaited.into_iter().collect(), step);
                    }
                }
                Action::Overdue { again: true } => self.again(Why::Failed, step),
                Action::Out(name, why) if name == self.config.me => {
                    self.is_out = true;
                    self.channel = None;
                    step.events.push(Event::PutOut(why));
                    step.effects.push(Effect::Leave);
                    return;
                }
                Action::Out(name, why) => step.events.push(Event::Out(name, why)),
                Action::Crowded(count) => {
                    self.channel = None;
                    step.events.push(Event::Crowded(count));
                }
            }
        }
    }

    fn answer(&mut self, cx: &mut Cx<'_>, round: Round, step: &mut Step) {
        let session = KemSecret::generate(cx.rng);
        let offer = self.robust.offer(cx.rng, self.flush.companions(), self.afresh, self.refresh);
        let ok = FlushOk {
            round,
            policy: self.config.policy.digest(),
            key: self.config.key.verifying_key().to_bytes(),
            session: session.public().to_bytes(),
            previous: self.previous,
            offer,
            suspects: self.flush.suspects(),
        };
        self.session = Some(session);
        let signed = ok.sign(&self.config.key, &self.config.policy.group, &self.config.me);
        step.multicast(Service::Agreed, None, &Frame::FlushOk(signed));
    }

    fn vote(&self, mut against: Vec<Name>, step: &mut Step) {
        against.retain(|name| *name != self.config.me);
        if !against.is_empty() {
            let vote = Vote { round: self.flush.round(), against };
            let signed = vote.sign(&self.config.key, &self.config.policy.group, &self.config.me);
            step.multicast(Service::Agreed, None, &Frame::Vote(signed));
        }
    }

    fn again(&self, why: Why, step: &mut Step) {
        let again = Again { round: self.flush.round(), why };
        let signed = again.sign(&self.config.key, &self.config.policy.group, &self.config.me);
        step.multicast(Service::Agreed, None, &Frame::Again(signed));
    }

    fn take(&mut self, cx: &mut Cx<'_>, outcomes: Vec<Outcome>, step: &mut Step) {
        for outcome in outcomes {
            match outcome {
                Outcome::Send(to, service, frame) => step.multicast(service, to, &Frame::Key(frame)),
                Outcome::Agreed(keys) => self.install(cx.now, keys, step),
                Outcome::Differs => {
                    step.events.push(Event::KeysDiffer);
                    self.again(Why::Failed, step);
                }
                Outcome::Failed => self.again(Why::Failed, step),
            }
        }
    }

    /// Every member has the key: the secure view begins, and the keys of the last one are gone.
    fn install(&mut self, now: Time, keys: ViewKeys, step: &mut Step) {
        let Some(session) = self.session.take() else { return };
        let users = &self.config.policy.admitted;
        let members: BTreeMap<Name, Member> = self
            .flush
            .answers()
            .iter()
            .map(|(name, ok)| {
                let user = users.get(&ok.key).cloned().unwrap_or_default();
                (name.clone(), Member { user, key: ok.key, session: ok.session })
            })
            .collect();
        let moved = self.flush.on_secure(now);
        let signing = self.config.policy.signed.then(|| self.config.key.clone());
        let place = members.keys().position(|name| *name == self.config.me).unwrap_or(0);
        let every = self.config.policy.refresh_every;
        self.refresh_at =
            (!every.is_zero()).then(|| now + every + REFRESH_STAGGER * u32::try_from(place).unwrap_or(u32::MAX));
        (self.afresh, self.refresh) = (false, false);
        self.previous = Some(keys.context);
        step.events.push(Event::Secure(SecureView {
            round: self.flush.round(),
            context: keys.context,
            tag: keys.tag(),
            members: members.iter().map(|(name, member)| (name.clone(), member.user.clone())).collect(),
            moved,
        }));
        let me = self.config.me.clone();
        self.channel = Some(Channel::new(keys, me, members, session, signing, self.config.rules));
    }
}
