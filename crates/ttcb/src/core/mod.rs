//! A component as a value: requests, frames and rounds in, answers and frames out.
//!
//! Time and randomness are arguments. Tables have a fixed size, refuse when they are full, and never evict.

pub mod agreements;
pub mod asking;
pub mod bytes;
pub mod call;
pub mod clock;
pub mod entities;
pub mod frame;
pub mod group;
pub mod ids;
pub mod instance;
pub mod peers;
pub mod rules;
pub mod signed;
pub mod timed;

use std::collections::VecDeque;

use ringfort_crypto::secret::Secret;
use ringfort_kernel::{Cx, Time};

use agreements::{Agreements, Refused};
use call::{CALL_BYTES, Call, Function, Refusal, Reply, Status, Verdict};
use clock::Clock;
use entities::{Asked, Entities};
use frame::{Body, ClockWord, FRAME_BYTES};
use group::{Group, Secrets};
use ids::{Boot, Epoch, Index, Mask};
use instance::{Outcome, Terms};
use peers::{Peers, micros};
use rules::{GAP_ROUNDS, RECOVERY_ROUNDS, ROUND, Rule, Rules, SILENT_ROUNDS, majority};

/// What a component is started with.
pub struct Setup {
    /// Who the components are.
    pub group: Group,
    /// Which one this is.
    pub me: Index,
    /// Its keys.
    pub secrets: Secrets,
    /// How often it was started, this start included: higher than ever before.
    pub epoch: Epoch,
}

/// One component of the group.
pub struct Component {
    group: Group,
    me: Index,
    secrets: Secrets,
    epoch: Epoch,
    rules: Rules,
    clock: Clock,
    peers: Peers,
    entities: Entities,
    agreements: Agreements,
    round: u64,
    last_round: Time,
    good_rounds: u64,
    counts: Counts,
    alarms: VecDeque<Alarm>,
}

/// An alarm that an entity had raised (F2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Which one since the start: a number that is missing was not kept, for there were too many at once.
    pub number: u64,
    /// Whose process asked for it.
    pub user: u32,
    /// The entity's key.
    pub key: [u8; ids::ENTITY_KEY_BYTES],
    /// The group's time.
    pub at_us: u64,
    /// What the entity gave.
    pub hash: ids::Block,
}

/// Alarms that are kept until they are written.
const ALARMS_MAX: usize = 64;

/// What a component counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    gaps: u32,
    gap_us_max: u64,
    refused: u64,
    clones: u64,
    alarms: u64,
}

impl Component {
    /// A component that has just been started.
    pub fn new(setup: Setup, cx: &mut Cx<'_>) -> Self {
        Self::with_rules(setup, Rules::default(), cx)
    }

    fn with_rules(setup: Setup, rules: Rules, cx: &mut Cx<'_>) -> Self {
        let Setup { group, me, secrets, epoch } = setup;
        let boot: Boot = *Secret::<16>::random(cx.rng).expose();
        let peers = Peers::new(&group, me, &secrets, (epoch, boot), rules, cx.now);
        let clock = Clock::new(&group, cx.unix_ms, micros(cx.now));
        Component {
            clock,
            peers,
            entities: Entities::default(),
            agreements: Agreements::new(me, epoch, rules),
            round: 0,
            last_round: cx.now,
            good_rounds: 0,
            counts: Counts::default(),
            alarms: VecDeque::with_capacity(ALARMS_MAX),
            group,
            me,
            secrets,
            epoch,
            rules,
        }
    }

    /// A local process of this user has connected: its place, or `None` if there is none for it.
    pub fn connected(&mut self, now: Time, user: u32) -> Option<usize> {
        self.entities.connected(now, user)
    }

    /// It has gone. What it proposed stands.
    pub fn closed(&mut self, place: usize) {
        self.entities.closed(place);
    }

    /// A datagram of the control channel, from anybody.
    pub fn on_frame(&mut self, now: Time, frame: &[u8]) {
        let heard = match self.peers.open(now, frame) {
            Ok(heard) => heard,
            Err(refusal) => {
                self.counts.refused += 1;
                self.counts.clones += u64::from(refusal == peers::Refusal::Clone);
                return;
            }
        };
        let raw_us = micros(now);
        if heard.new_epoch {
            self.clock.forget(heard.from);
        }
        self.clock.on_word(heard.from, &heard.body.clock, raw_us);
        let Some(from_epoch) = self.peers.epoch_of(heard.from) else { return };
        if !self.clock.is_steady() {
            return;
        }
        let (now_us, timely) = (self.clock.now(raw_us), self.tells_time(now));
        for record in heard.body.records.iter().flatten() {
            self.agreements.on_record(heard.from, from_epoch, record, now_us, timely);
        }
    }

    /// A round: what is due is done, and each peer is sent a frame, whether there is anything to say or not.
    pub fn on_round(&mut self, now: Time, send: &mut dyn FnMut(Index, &[u8; FRAME_BYTES])) {
        self.keep_time(now);
        let raw_us = micros(now);
        self.clock.on_round(raw_us);
        if self.clock.is_steady() {
            let (now_us, timely) = (self.clock.now(raw_us), self.tells_time(now));
            self.agreements.on_round(now_us, timely);
            self.execute(now_us, timely);
        }
        let records = self.agreements.next_records();
        let others: Vec<Index> = self.peers.indices().collect();
        for to in others {
            let (echo_epoch, echo_boot, echo) = self.peers.echo_to(to);
            let (echo_us, heard_us) = echo.unwrap_or_default();
            let held_us = raw_us.saturating_sub(heard_us);
            let (group_us, steady) = (self.clock.read(raw_us), self.clock.is_steady());
            let clock = ClockWord { sent_us: raw_us, group_us, steady, echo_us, held_us };
            if let Some(frame) = self.peers.seal(to, &Body { echo_epoch, echo_boot, clock, records }) {
                send(to, &frame);
            }
        }
    }

    /// Whether the rounds came as they should, and a majority is heard.
    fn keep_time(&mut self, now: Time) {
        let gap = now.since(self.last_round);
        self.round += 1;
        self.peers.next_round();
        self.last_round = now;
        self.counts.gap_us_max = self.counts.gap_us_max.max(u64::try_from(gap.as_micros()).unwrap_or(u64::MAX));
        let missed = gap > ROUND * GAP_ROUNDS as u32;
        self.counts.gaps = self.counts.gaps.saturating_add(missed.into());
        let heard = self.heard(now).count() >= majority(self.group.len());
        self.good_rounds = if missed || !heard { 0 } else { self.good_rounds.saturating_add(1) };
    }

    fn heard(&self, now: Time) -> Mask {
        let since = ROUND * SILENT_ROUNDS as u32;
        let recently = |index: &Index| self.peers.heard(*index).is_some_and(|at| now.since(at) <= since);
        self.group.indices().filter(|index| *index == self.me || recently(index)).collect()
    }

    /// Whether it has kept its rounds, a majority is heard, and nothing has been slept over since.
    fn timely(&self, now: Time) -> bool {
        let asleep = now.since(self.last_round) > ROUND * GAP_ROUNDS as u32;
        !asleep && self.good_rounds >= RECOVERY_ROUNDS
    }

    /// Whether what it says of time counts: it is timely, and its clock's error is bounded.
    fn tells_time(&self, now: Time) -> bool {
        self.timely(now) && self.clock.error_us(micros(now)).is_some()
    }

    fn execute(&mut self, now_us: u64, timely: bool) {
        if !timely {
            return;
        }
        let (group, me, epoch, secrets, counts) = (&self.group, self.me, self.epoch, &self.secrets, &mut self.counts);
        let alarms = &mut self.alarms;
        for session in self.entities.sessions() {
            let (user, key) = (session.user, session.key);
            session.timed.on_round(now_us, |function, at_us, hash| match function {
                Function::Token => signed::token(group, me, epoch, &key, at_us, hash).sign(secrets),
                Function::Alarm => {
                    counts.alarms += 1;
                    if alarms.len() < ALARMS_MAX {
                        alarms.push_back(Alarm { number: counts.alarms, user, key, at_us, hash: *hash });
                    }
                    [0; 64]
                }
            });
        }
    }

    /// The next alarm that was raised, to be written.
    pub fn next_alarm(&mut self) -> Option<Alarm> {
        self.alarms.pop_front()
    }

    /// The machine has slept: what was measured before it says little of what is now.
    pub fn on_wake(&mut self, now: Time) {
        self.good_rounds = 0;
        self.clock.on_wake(micros(now));
        self.entities.sessions().for_each(|session| session.timed.on_wake());
    }

    /// How it is.
    pub fn status(&mut self, now: Time) -> Status {
        let raw_us = micros(now);
        let mut epochs = [Epoch::default(); ids::COMPONENTS_MAX];
        for (place, index) in epochs.iter_mut().zip(self.group.indices()) {
            *place = self.peers.epoch_of(index).unwrap_or_default();
        }
        Status {
            me: self.me,
            count: self.group.len() as u8,
            timely: self.timely(now),
            now_us: self.clock.now(raw_us),
            error_us: self.clock.error_us(raw_us),
            heard: self.heard(now),
            epochs,
            gaps: self.counts.gaps,
            gap_us_max: self.counts.gap_us_max,
            refused: self.counts.refused,
            clones: self.counts.clones,
            alarms: self.counts.alarms,
        }
    }

    /// Answers a request of a connected process.
    pub fn on_request(&mut self, cx: &mut Cx<'_>, place: usize, request: &[u8; CALL_BYTES]) -> [u8; CALL_BYTES] {
        let status = self.status(cx.now);
        let timely = self.tells_time(cx.now);
        let me = (&self.group, self.me, self.epoch, &self.secrets);
        let (session, number, call) = match self.entities.read(cx, place, request, me) {
            Asked::Call(session, number, call) => (session, number, call),
            Asked::Answered(answer) => return answer,
        };
        let moment = Moment { now: cx.now, now_us: status.now_us, error_us: status.error_us, timely };
        let reply = match call {
            Call::Status => Reply::Status(status),
            Call::Random => Reply::Random(*Secret::<64>::random(cx.rng).expose()),
            Call::Timestamp(hash) => match moment.error_us {
                Some(error_us) => {
                    let words = signed::timestamp(
                        &self.group,
                        self.me,
                        self.epoch,
                        &session.key,
                        moment.now_us,
                        error_us,
                        &hash,
                    );
                    Reply::Timestamp(moment.now_us, error_us, words.sign(&self.secrets))
                }
                None => Reply::Refused(Refusal::NotSynchronised),
            },
            Call::Propose(terms, block) => {
                let entity = ids::Entity { epoch: self.epoch, key: session.key };
                match check_terms(&self.group, self.me, &entity, &terms, &moment) {
                    Err(refusal) => Reply::Refused(refusal),
                    Ok(()) => {
                        let tag = terms.tag(self.group.id());
                        match self.agreements.propose(tag, &terms, block, session.user, moment.now_us) {
                            Ok(()) => Reply::Proposed(tag),
                            Err(refused) => Reply::Refused(refused.into()),
                        }
                    }
                }
            }
            Call::Decide(tag) => self.agreements.get(&tag).map_or(Reply::Refused(Refusal::Unknown), |instance| {
                let late = moment.now_us > instance.deadline_us() || !moment.timely;
                match instance.decided() {
                    Some(decided) => {
                        let outcome = Outcome::of(instance.decision, instance.listed, &decided.proposals);
                        let latency = decided.at_us.saturating_sub(instance.start_us);
                        let verdict = Verdict {
                            tag,
                            block: outcome.block,
                            proposed_any: outcome.proposed_any,
                            proposed_ok: outcome.proposed_ok,
                            deviant: outcome.deviant,
                            elsewhere: outcome.elsewhere,
                            silent: outcome.silent,
                            late: decided.late,
                            latency_us: u32::try_from(latency).unwrap_or(u32::MAX),
                        };
                        let words = signed::verdict(&self.group, self.me, self.epoch, &verdict);
                        Reply::Decided(verdict, words.sign(&self.secrets))
                    }
                    None if late && self.rules.enforces(Rule::Deadline) => Reply::TimingFailure,
                    None => Reply::Pending,
                }
            }),
            Call::BlockOf(tag, index) => match self.agreements.get(&tag).and_then(|i| i.decided()) {
                Some(decided) => Reply::BlockOf(decided.proposals.get(index).copied()),
                None => Reply::Refused(Refusal::Unknown),
            },
            timed => moment.timed(&mut session.timed, timed),
        };
        session.seal(number, &reply)
    }
}

fn check_terms(group: &Group, me: Index, entity: &ids::Entity, terms: &Terms, moment: &Moment) -> Result<(), Refusal> {
    let all: Mask = group.indices().collect();
    if terms.listed.is_empty() || !terms.listed.within(all) {
        return Err(Refusal::Malformed);
    }
    if let ids::Decision::Of(index) = terms.decision
        && !terms.listed.has(index)
    {
        return Err(Refusal::Malformed);
    }
    if !terms.listed.has(me) || terms.entities.get(me.place()) != Some(entity) {
        return Err(Refusal::NotListed);
    }
    // A component that cannot tell the time cannot say whether the agreement has started.
    if moment.error_us.is_none() { Err(Refusal::NotSynchronised) } else { Ok(()) }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLate => Refusal::TooLate,
            Refused::TooFar => Refusal::TooFar,
            Refused::Full => Refusal::Full,
            Refused::AlreadyProposed => Refusal::AlreadyProposed,
        }
    }
}

/// When a call is answered, and how well that is known.
struct Moment {
    now: Time,
    now_us: u64,
    error_us: Option<u64>,
    timely: bool,
}

/// What a measurement may be wrong by: the clock's resolution, and its rate.
fn measure_error_ns(duration_ns: u64) -> u64 {
    1_000 + duration_ns / 10_000
}

impl Moment {
    fn timed(&self, timed: &mut timed::Timed, call: Call) -> Reply {
        let now_ns = u64::try_from(self.now.since_start().as_nanos()).unwrap_or(u64::MAX);
        let needs_clock = matches!(call, Call::Execute(..) | Call::Watch(_));
        if needs_clock && self.error_us.is_none() {
            return Reply::Refused(Refusal::NotSynchronised);
        }
        let handle = |opened: Result<u8, timed::Refused>| match opened {
            Ok(handle) => Reply::Handle(handle),
            Err(timed::Refused::Full) => Reply::Refused(Refusal::Full),
            Err(timed::Refused::TooFar) => Reply::Refused(Refusal::TooFar),
        };
        let unknown = Reply::Refused(Refusal::Unknown);
        match call {
            Call::StartMeasure => handle(timed.start_measure(now_ns).ok_or(timed::Refused::Full)),
            Call::StopMeasure(of) => {
                timed.stop_measure(of, now_ns).map_or(unknown, |ns| Reply::Measured(ns, measure_error_ns(ns)))
            }
            Call::Execute(function, from, to, hash) => handle(timed.execute(function, from, to, hash, self.now_us)),
            Call::Executed(of) => timed.executed(of).map_or(unknown, |(t, at, s)| Reply::Executed(t, at, s)),
            Call::Watch(deadline) => handle(timed.watch(deadline, self.now_us)),
            // A component that slept cannot say that it was done in time.
            Call::Done(of) => {
                let at_us = if self.timely { self.now_us } else { u64::MAX };
                timed.done(of, at_us).map_or(unknown, Reply::Watched)
            }
            Call::Watched(of) => timed.watched(of, self.now_us).map_or(unknown, Reply::Watched),
            _ => unknown,
        }
    }
}

#[cfg(test)]
mod tests;
