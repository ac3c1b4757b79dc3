//! One participant of a ceremony: frames in, a [`Step`] out.

pub(crate) mod rounds;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::group::LeaderSecrets;
use ringfort_protocol::{Cx, GroupInfo, LeaderId, Time};

use crate::board::{Board, Put};
use crate::evidence::Evidence;
use crate::message::{Certificate, GaveUp, Hello, Message, Post, Round, session};
use crate::outcome::{Blame, Fault, Verdict};
use crate::terms::{Terms, fingerprint};

/// Starts of one participant that the others follow while they meet.
const STARTS_MAX: u32 = 64;

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

/// A result that is not to be used yet: some may not have confirmed it.
#[derive(Debug)]
pub struct Unconfirmed {
    /// The session that made it.
    pub session: [u8; 32],
    /// The group.
    pub group: GroupInfo,
    /// What this leader alone holds.
    pub secrets: LeaderSecrets,
}

/// What the driver carries out, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Send a frame to a participant; it may be lost if there is no link.
    Send(LeaderId, Vec<u8>),
    /// Make durable, in place of an earlier one, before anything that follows.
    Persist(Box<Unconfirmed>),
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
    /// All are there: the ceremony has begun.
    Begun,
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
    starts: BTreeMap<LeaderId, u32>,
    /// Which session each other participant is ready for, with the number of its word.
    opens: BTreeMap<LeaderId, (u64, u64, [u8; 32])>,
    count: u64,
    others_terms: BTreeSet<LeaderId>,
    /// There once all hellos are.
    pub(crate) board: Option<Board>,
    pub(crate) stage: rounds::Stage,
    deadline: Option<Time>,
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
    /// Starts. `attempt` is above that of every earlier start on these keys, and durable. `unconfirmed` is the session and
    /// the group of a result that an earlier start persisted on these terms.
    pub fn start(
        terms: Arc<Terms>,
        me: LeaderId,
        keys: Keys,
        attempt: u64,
        unconfirmed: Option<([u8; 32], [u8; 32])>,
        limits: Limits,
        cx: &mut Cx<'_>,
    ) -> (Self, Step) {
        let nonce = *Secret32::random(cx.rng).expose();
        let hello = Hello::sign(&terms, me, attempt, nonce, &keys.signing);
        let mut ceremony = Ceremony::idle(terms, me, limits);
        ceremony.keys = Some(keys);
        ceremony.unconfirmed = unconfirmed;
        ceremony.deadline = Some(cx.now + limits.meeting);
        ceremony.hellos.insert(me, hello.clone());
        let mut step = Step::default();
        ceremony.tell_all(&Message::Hello(hello), &mut step);
        (ceremony, step)
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
            starts: BTreeMap::new(),
            opens: BTreeMap::new(),
            count: 0,
            others_terms: BTreeSet::new(),
            board: None,
            stage: rounds::Stage::Meeting,
            deadline: None,
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
        if let Some(open) = self.open() {
            tell(&open);
        }
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
            Some(Message::Open { attempt, count, session }) => {
                self.on_open(from, (attempt, count, session), &mut step);
            }
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

    fn on_hello(&mut self, cx: &mut Cx<'_>, from: LeaderId, hello: Hello, step: &mut Step) {
        let author = hello.author;
        if hello.terms != self.terms.digest() {
            if author == from && self.others_terms.insert(from) {
                step.events.push(Event::OtherTerms(from, fingerprint(&hello.terms)));
            }
            return;
        }
        let held = self.hellos.get(&author);
        let is_newer = held.is_none_or(|held| held.attempt < hello.attempt);
        let is_other = held.is_some_and(|held| held.attempt == hello.attempt && held.nonce != hello.nonce);
        if author == self.me || self.is_over() || !(is_newer || is_other) || !hello.is_signed(&self.terms) {
            return;
        }
        if let (true, Some(held)) = (is_other, held) {
            let evidence = Evidence::Hellos(held.clone(), hello);
            return self.fail_on(cx, evidence, step);
        }
        if !matches!(self.stage, rounds::Stage::Meeting) {
            return self.fail(cx, vec![Blame::of(author, Fault::Restarted)], step);
        }
        let starts = self.starts.entry(author).or_default();
        *starts += 1;
        if *starts > STARTS_MAX {
            return;
        }
        if self.hellos.insert(author, hello.clone()).is_none() {
            step.events.push(Event::Here(author));
        }
        self.pass_on(from, author, &Message::Hello(hello), step);
        self.meet(step);
    }

    /// Once all hellos are there, says so, and which.
    fn meet(&mut self, step: &mut Step) {
        if self.hellos.len() < usize::from(self.terms.rules().n()) {
            return;
        }
        let session = session(&self.terms, self.hellos.values());
        self.board = Some(Board::new(session));
        self.count += 1;
        if let Some(open) = self.open() {
            self.tell_all(&open, step);
        }
    }

    fn open(&self) -> Option<Message> {
        let (session, attempt) = (self.board.as_ref()?.session(), self.hellos.get(&self.me)?.attempt);
        Some(Message::Open { attempt, count: self.count, session })
    }

    fn on_open(&mut self, from: LeaderId, open: (u64, u64, [u8; 32]), step: &mut Step) {
        let held = self.opens.get(&from);
        if held.is_some_and(|held| (held.0, held.1) >= (open.0, open.1)) {
            return;
        }
        self.opens.insert(from, open);
        // Posts of a session that it did not know yet were lost on it.
        let board = self.board.iter().filter(|board| board.session() == open.2);
        let posts = board.flat_map(Board::posts).map(|post| Message::Post(post.clone()).to_frame());
        step.effects.extend(posts.map(|frame| Effect::Send(from, frame)));
    }

    fn on_post(&mut self, cx: &mut Cx<'_>, from: LeaderId, post: Post, step: &mut Step) {
        let Some(board) = self.board.as_mut().filter(|_| post.author != self.me) else { return };
        if matches!(self.stage, rounds::Stage::Finished | rounds::Stage::Failed) {
            return;
        }
        let author = post.author;
        match board.put(&self.terms, post.clone()) {
            Put::New => self.pass_on(from, author, &Message::Post(post), step),
            Put::Ignored => {}
            Put::Proof(evidence) => self.fail_on(cx, *evidence, step),
        }
    }

    fn on_gave_up(&mut self, cx: &mut Cx<'_>, gave_up: GaveUp, step: &mut Step) {
        if self.is_over() || gave_up.author == self.me || !gave_up.is_signed(&self.terms) {
            return;
        }
        let ours = self.board.as_ref().map(Board::session);
        let proof = gave_up.evidence.as_ref().filter(|e| e.session().is_none() || e.session() == ours);
        if let Some((culprit, _)) = proof.and_then(|proof| proof.check(&self.terms))
            && culprit != self.me
        {
            return gave_up.evidence.into_iter().for_each(|proof| self.fail_on(cx, proof, step));
        }
        if matches!(self.stage, rounds::Stage::Meeting) || ours != Some(gave_up.session) {
            return;
        }
        let reason = Fault::from_code(gave_up.fault).map(|fault| (gave_up.about, fault));
        // What can be seen from here, too, is no hearsay.
        let blame = match reason.map(|(about, fault)| Blame::of(about, fault)) {
            Some(blame) if blame.fault == Fault::Silent && self.late().contains(&blame) => blame,
            _ => Blame { reason, ..Blame::of(gave_up.author, Fault::GaveUp) },
        };
        self.fail_with(cx, vec![blame], Some(Message::GaveUp(gave_up)), step);
    }

    fn on_done(&mut self, cx: &mut Cx<'_>, from: LeaderId, certificate: Certificate, step: &mut Step) {
        let Some(agreed) = certificate.check(&self.terms) else { return };
        if self.unconfirmed == Some(agreed) {
            self.finish(cx, certificate, step);
        }
        if matches!(self.stage, rounds::Stage::Finished) && self.finished.insert(from) {
            self.settle(step);
        }
    }

    fn settle(&mut self, step: &mut Step) {
        if self.finished.len() + 1 == usize::from(self.terms.rules().n()) && self.deadline.take().is_some() {
            step.events.push(Event::Settled);
        }
    }

    fn finish(&mut self, cx: &mut Cx<'_>, certificate: Certificate, step: &mut Step) {
        self.unconfirmed = None;
        self.keys = None;
        self.stage = rounds::Stage::Finished;
        self.deadline = Some(cx.now + self.limits.farewell);
        step.effects.push(Effect::Confirm(certificate.clone()));
        step.events.push(Event::Confirmed);
        let done = Message::Done(certificate);
        self.tell_all(&done, step);
        self.farewell = Some(done);
    }

    fn fail_on(&mut self, cx: &mut Cx<'_>, evidence: Evidence, step: &mut Step) {
        if let Some((leader, fault)) = evidence.check(&self.terms) {
            let blame = Blame { evidence: Some(evidence), ..Blame::of(leader, fault) };
            self.fail(cx, vec![blame], step);
        }
    }

    /// Ends it, and says why.
    fn fail(&mut self, cx: &mut Cx<'_>, blames: Vec<Blame>, step: &mut Step) {
        let session = self.board.as_ref().map_or([0; 32], Board::session);
        let why = self.keys.as_ref().zip(blames.first());
        let gave_up = why.map(|(keys, why)| GaveUp::sign(&self.terms, session, self.me, why, &keys.signing));
        self.fail_with(cx, blames, gave_up.map(Message::GaveUp), step);
    }

    /// The secrets of the session are wiped; a result that was confirmed is kept.
    fn fail_with(&mut self, cx: &mut Cx<'_>, blames: Vec<Blame>, farewell: Option<Message>, step: &mut Step) {
        if self.is_over() {
            return;
        }
        self.stage = rounds::Stage::Failed;
        self.keys = None;
        self.deadline = Some(cx.now + self.limits.farewell);
        farewell.iter().for_each(|message| self.tell_all(message, step));
        self.farewell = farewell;
        step.events.push(Event::Failed(Verdict { blames, confirmed: self.unconfirmed.is_some() }));
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
