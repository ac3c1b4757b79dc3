//! One participant of a ceremony: frames in, a [`Step`] out.

mod ending;
mod meeting;
pub(crate) mod rounds;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::group::LeaderSecrets;
use ringfort_protocol::rules::Rule;
use ringfort_protocol::{Cx, GroupInfo, LeaderId, Time};

use crate::board::{Board, Put};
use crate::message::{Certificate, Confirmation, GaveUp, Hello, Message, Open, Post, Reason, Round};
use crate::outcome::Verdict;
use crate::terms::Terms;

/// How often a leader can be started on the same keys. The others refuse a start with a higher number, all alike.
pub const ATTEMPTS_MAX: u64 = 256;

/// How long a ceremony waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For everybody to be there. Default half an hour.
    pub meeting: Duration,
    /// For everybody's word in one round. Default a minute.
    pub round: Duration,
    /// For the others to hear how it ended. Default ten seconds.
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            meeting: Duration::from_secs(30 * 60),
            round: Duration::from_secs(60),
            farewell: Duration::from_secs(10),
        }
    }
}

/// The keys that a leader made before the ceremony. Wiped when dropped.
pub struct Keys {
    /// Seed of the link key.
    pub link: Secret32,
    /// Signs what is told.
    pub signing: SigningKey,
    /// Opens enrolment records, later.
    pub sealing: KemSecret,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(redacted)")
    }
}

/// What a leader's disk holds of earlier starts on its keys.
#[derive(Debug, Default)]
pub struct Past {
    /// What it has confirmed.
    pub confirmed: Option<Confirmation>,
    /// The number of this start: above that of every earlier one, and durable. Where something was confirmed, it is of no account.
    pub attempt: u64,
    /// What an earlier start was told to remember.
    pub reason: Option<Reason>,
}

/// A result that is not to be used yet: some may not have confirmed it.
#[derive(Debug)]
pub struct Unconfirmed {
    /// The session that made it.
    pub session: [u8; 32],
    /// The group.
    pub group: GroupInfo,
    /// What this leader alone holds.
    pub secrets: LeaderSecrets,
    /// What this leader tells the others of it, now and whenever it is started again.
    pub confirmation: Confirmation,
}

/// What the driver carries out, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Send a frame to a participant; it may be lost if there is no link.
    Send(LeaderId, Vec<u8>),
    /// Make durable before anything that follows. There is at most one for the same keys.
    Persist(Box<Unconfirmed>),
    /// Keep, for the next start: why this leader will not confirm the attempt that it has just left.
    Remember(Reason),
    /// The result that was persisted last may be used. Keep the certificate beside it.
    Confirm(Certificate),
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A participant is there.
    Here(LeaderId),
    /// A participant came with other terms, of this fingerprint.
    OtherTerms(LeaderId, String),
    /// A participant has confirmed an earlier attempt that this one has not, and takes part in no other.
    Bound(LeaderId),
    /// All are there: the ceremony has begun.
    Begun,
    /// A participant was started again before it had said anything: all meet once more.
    MeetAgain(LeaderId),
    /// This leader has confirmed an attempt, and waits for the confirmations of these.
    Waiting(Vec<LeaderId>),
    /// All have dealt; shares are under way.
    Dealt,
    /// All shares fit; the group, of this fingerprint, waits for the others to say so too.
    Fits(String),
    /// All have confirmed.
    Confirmed,
    /// It failed.
    Failed(Verdict),
    /// Nothing is left to say: the driver may stop.
    Settled,
}

/// What one input leads to.
#[derive(Debug, Default)]
#[must_use]
pub struct Step {
    /// To carry out, in order.
    pub effects: Vec<Effect>,
    /// To tell.
    pub events: Vec<Event>,
}

/// One participant.
pub struct Ceremony {
    terms: Arc<Terms>,
    me: LeaderId,
    keys: Option<Keys>,
    limits: Limits,
    hellos: BTreeMap<LeaderId, Hello>,
    /// Who is ready for the session of `board`.
    ready: BTreeMap<LeaderId, Open>,
    /// The last word of each other participant that is ready for a session not known here.
    opens: BTreeMap<LeaderId, Open>,
    count: u64,
    others_terms: BTreeSet<LeaderId>,
    /// There once all hellos are.
    pub(crate) board: Option<Board>,
    pub(crate) stage: rounds::Stage,
    meeting_ends: Option<Time>,
    deadline: Option<Time>,
    /// Sessions that came to nothing because somebody was started again.
    left: BTreeSet<[u8; 32]>,
    /// Who has confirmed which earlier session, unknown here.
    bound: BTreeMap<LeaderId, [u8; 32]>,
    /// Why this participant gave up an earlier session, or this one.
    reason: Option<GaveUp>,
    /// Who will not confirm the session that is waited for, and why.
    refused: BTreeMap<LeaderId, GaveUp>,
    /// Session and group of a result that this participant holds and not all are known to have confirmed.
    unconfirmed: Option<([u8; 32], [u8; 32])>,
    disputed: BTreeSet<(Round, LeaderId)>,
    finished: BTreeSet<LeaderId>,
    /// What whoever comes late is told.
    farewell: Option<Message>,
}

impl fmt::Debug for Ceremony {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ceremony({}, {:?})", self.me, self.stage)
    }
}

impl Ceremony {
    /// Starts. Whoever has confirmed an attempt with these keys waits for the others to confirm it, and begins no other. `None` if
    /// `past` holds no confirmation of this leader on these terms where it should.
    pub fn start(
        terms: Arc<Terms>,
        me: LeaderId,
        keys: Keys,
        past: Past,
        limits: Limits,
        cx: &mut Cx<'_>,
    ) -> Option<(Self, Step)> {
        match past.confirmed {
            Some(confirmation) if terms.rules().enforces(Rule::ConfirmedOnce) => {
                Ceremony::wait(terms, me, confirmation, limits, cx.now)
            }
            _ => Some(Ceremony::meet_anew(terms, me, keys, (past.attempt, past.reason), limits, cx)),
        }
    }

    fn meet_anew(
        terms: Arc<Terms>,
        me: LeaderId,
        keys: Keys,
        (attempt, reason): (u64, Option<Reason>),
        limits: Limits,
        cx: &mut Cx<'_>,
    ) -> (Self, Step) {
        let nonce = *Secret32::random(cx.rng).expose();
        let hello = Hello::sign(&terms, me, attempt, nonce, &keys.signing);
        let mut ceremony = Ceremony::idle(terms, me, limits);
        ceremony.keys = Some(keys);
        ceremony.reason = reason.map(|reason| reason.0);
        ceremony.meeting_ends = Some(cx.now + limits.meeting);
        ceremony.deadline = ceremony.meeting_ends;
        ceremony.hellos.insert(me, hello.clone());
        let mut step = Step::default();
        ceremony.tell_all(&Message::Hello(hello), &mut step);
        (ceremony, step)
    }

    /// Says again what this participant has confirmed in an earlier start, and waits for the others to confirm it.
    fn wait(
        terms: Arc<Terms>,
        me: LeaderId,
        confirmation: Confirmation,
        limits: Limits,
        now: Time,
    ) -> Option<(Self, Step)> {
        let (session, group) = confirmation.check(&terms, me)?;
        let mut ceremony = Ceremony::idle(terms, me, limits);
        ceremony.unconfirmed = Some((session, group));
        ceremony.stage = rounds::Stage::Waiting;
        ceremony.deadline = Some(now + limits.meeting);
        let mut board = Board::new(session);
        let mut step = Step::default();
        let held = matches!(board.put(&ceremony.terms, confirmation.0.clone()), Put::New);
        ceremony.board = Some(board);
        ceremony.tell_all(&Message::Post(confirmation.0), &mut step);
        ceremony.tell_waiting(&mut step);
        held.then_some((ceremony, step))
    }

    /// Only tells the others that it is over: this participant holds the certificate.
    pub fn over(terms: Arc<Terms>, me: LeaderId, certificate: Certificate, limits: Limits, now: Time) -> Self {
        let mut ceremony = Ceremony::idle(terms, me, limits);
        ceremony.stage = rounds::Stage::Finished;
        ceremony.farewell = Some(Message::Done(certificate));
        ceremony.deadline = Some(now + limits.meeting);
        ceremony
    }

    fn idle(terms: Arc<Terms>, me: LeaderId, limits: Limits) -> Self {
        Ceremony {
            terms,
            me,
            keys: None,
            limits,
            hellos: BTreeMap::new(),
            ready: BTreeMap::new(),
            opens: BTreeMap::new(),
            count: 0,
            others_terms: BTreeSet::new(),
            board: None,
            stage: rounds::Stage::Meeting,
            meeting_ends: None,
            deadline: None,
            left: BTreeSet::new(),
            bound: BTreeMap::new(),
            reason: None,
            refused: BTreeMap::new(),
            unconfirmed: None,
            disputed: BTreeSet::new(),
            finished: BTreeSet::new(),
            farewell: None,
        }
    }

    /// When it next wants to be woken.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.deadline
    }

    /// A link to a participant is up: it is told everything.
    pub fn on_link(&mut self, peer: LeaderId) -> Step {
        let mut step = Step::default();
        let mut tell = |message: &Message| step.effects.push(Effect::Send(peer, message.to_frame()));
        if let Some(farewell) = &self.farewell {
            tell(farewell);
            return step;
        }
        self.hellos.values().for_each(|hello| tell(&Message::Hello(hello.clone())));
        self.ready.values().for_each(|open| tell(&Message::Open(open.clone())));
        // Who has confirmed what this participant gave up has to know that it waits in vain, and why.
        self.reason.iter().for_each(|reason| tell(&Message::GaveUp(reason.clone())));
        self.board.iter().flat_map(Board::posts).for_each(|post| tell(&Message::Post(post.clone())));
        step
    }

    /// A frame from a participant, which its link has authenticated. Nothing in it can do worse than make the ceremony fail.
    pub fn on_message(&mut self, cx: &mut Cx<'_>, from: LeaderId, frame: &[u8]) -> Step {
        let mut step = Step::default();
        if from == self.me || self.terms.introduction(from).is_none() {
            return step;
        }
        match Message::from_frame(frame) {
            Some(Message::Hello(hello)) => self.on_hello(cx, from, hello, &mut step),
            Some(Message::Open(open)) => self.on_open(from, open, &mut step),
            Some(Message::Post(post)) => self.on_post(cx, from, post, &mut step),
            Some(Message::GaveUp(gave_up)) => self.on_gave_up(cx, gave_up, &mut step),
            Some(Message::Done(certificate)) => self.on_done(cx, from, certificate, &mut step),
            None => {}
        }
        self.advance(cx, &mut step);
        step
    }

    /// Time has passed.
    pub fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step {
        let mut step = Step::default();
        if self.deadline.is_some_and(|deadline| deadline <= cx.now) {
            self.deadline = None;
            match self.stage {
                rounds::Stage::Finished | rounds::Stage::Failed => step.events.push(Event::Settled),
                _ => {
                    let blames = self.late();
                    self.fail(cx, blames, &mut step);
                }
            }
        }
        step
    }

    fn on_post(&mut self, cx: &mut Cx<'_>, from: LeaderId, post: Post, step: &mut Step) {
        if post.author == self.me || self.is_over() {
            return;
        }
        let is_waiting = matches!(self.stage, rounds::Stage::Waiting);
        if is_waiting && post.read().is_none_or(|body| body.round() != Round::Result) {
            return;
        }
        let Some(board) = self.board.as_mut().filter(|board| board.session() == post.session) else {
            return self.on_other_session(from, &post, step);
        };
        let author = post.author;
        match board.put(&self.terms, post.clone()) {
            Put::New => self.pass_on(from, author, &Message::Post(post), step),
            Put::Ignored => return,
            Put::Proof(evidence) => return self.fail_on(cx, *evidence, step),
        }
        if is_waiting {
            self.tell_waiting(step);
        }
    }

    fn session(&self) -> Option<[u8; 32]> {
        self.board.as_ref().map(Board::session)
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, rounds::Stage::Finished | rounds::Stage::Failed)
    }

    fn tell_all(&self, message: &Message, step: &mut Step) {
        self.pass_on(self.me, self.me, message, step);
    }

    /// Tells everybody but the author and the one it came from.
    fn pass_on(&self, from: LeaderId, author: LeaderId, message: &Message, step: &mut Step) {
        let frame = message.to_frame();
        let others = self.terms.others(self.me).filter(|other| *other != from && *other != author);
        step.effects.extend(others.map(|other| Effect::Send(other, frame.clone())));
    }
}
