//! Helping peers that lack something, and asking for help.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ringfort_kernel::{Cx, Time};

use super::{Agreement, Recovery};
use crate::block::{Sealed, messages};
use crate::checkpoint::{Certificate, Heard, News, Parts, Signed, State, Statement, signed_bytes};
use crate::coin::Coins;
use crate::dag::Dag;
use crate::fault::Fault;
use crate::ids::{Author, AuthorSet, Reference};
use crate::keys::Purpose;
use crate::limits::{AHEAD_ROUNDS, Config, HISTORY_ROUNDS};
use crate::pending::Pending;
use crate::reached::{Answer, Reached};
use crate::rules::Rule;
use crate::step::{Event, Record};
use crate::transfer::{Taken, Transfer};
use crate::wire::{Frame, PartName, Status};

/// The least time between two statuses.
const STATUS_MIN: Duration = Duration::from_millis(10);
/// An own block younger than this is taken to be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
/// A peer's statuses are answered once in so much time.
const HELP_MIN: Duration = Duration::from_millis(5);
/// What an answer costs of a peer's budget besides its bytes.
const ANSWER_BYTES: u64 = 256;
/// What small answers cost.
const STATUS_BYTES: usize = 512;
const STATEMENT_BYTES: usize = 256;
const CERTIFICATE_BYTES: usize = 4 * 1024;

impl Agreement {
    // Blocks.

    pub(super) fn on_fetch(&mut self, now: Time, from: Author, references: &[Reference]) {
        let mut is_gone = false;
        for reference in references {
            match self.dag.get(reference).map(|node| node.sealed().clone()) {
                Some(sealed) => {
                    let _ = self.serve(now, from, sealed.bytes(), || Frame::encode_answer(sealed.block()));
                }
                None => is_gone |= reference.round < self.gives_from(),
            }
        }
        if is_gone {
            self.serve_certificate(now, from);
        }
    }

    /// Sends what a peer asked for, within its budget: paid for before it is made.
    fn serve(&mut self, now: Time, to: Author, bytes: usize, frame: impl FnOnce() -> Bytes) -> bool {
        let cost = ANSWER_BYTES.saturating_add(bytes as u64);
        let pays = self.peers.get_mut(&to).is_some_and(|peer| peer.serve.take(now, cost));
        if pays {
            self.send_bytes(AuthorSet::EMPTY.with(to), frame());
        }
        pays
    }

    fn serve_certificate(&mut self, now: Time, to: Author) {
        if let Some((certificate, _)) = self.checkpoints.stable() {
            let certificate = certificate.clone();
            let _ = self.serve(now, to, CERTIFICATE_BYTES, || Frame::Certificate(certificate).encode());
        }
    }

    // Statuses.

    pub(super) fn on_status(&mut self, now: Time, from: Author, status: Status) {
        let has = status.have.get(self.config.me.index()).copied().unwrap_or(0);
        let (asks, question) = (status.question != 0, status.question);
        let is_below = status.quorum_round.saturating_add(1) < self.gives_from();
        let Some(peer) = self.peers.get_mut(&from) else { return };
        // Nobody is made to go further for a peer than a leader without a disk has to wait.
        let wants_round = status.wants_round.min(self.quorum_round.saturating_add(2 * AHEAD_ROUNDS));
        peer.status = Status { wants_round, ..status };
        self.finding = self.finding.map(|heard| heard.with(from));
        if peer.helped.is_some_and(|at| now.since(at) < HELP_MIN) {
            return;
        }
        peer.helped = Some(now);
        if asks {
            let (status, reached) = (self.status(0), self.reached());
            let _ = self.serve(now, from, STATUS_BYTES, || Frame::Status(status).encode());
            let _ = self.serve(now, from, CERTIFICATE_BYTES, || Frame::Reached(Answer { question, reached }).encode());
        }
        if is_below {
            self.serve_certificate(now, from);
        }
        self.send_again(now, from, has, asks);
        for signed in self.checkpoints.unsettled(self.config.me) {
            let _ = self.serve(now, from, STATEMENT_BYTES, || Frame::Statement(signed).encode());
        }
    }

    /// What is proven by blocks at hand, by blocks from before, or by a checkpoint.
    fn reached(&self) -> Reached {
        let by_blocks = Reached::by(&self.dag, self.config.rules.honest_one());
        let certificate = self.checkpoints.newest().cloned();
        by_blocks.or(self.before.clone()).or(certificate.map_or(Reached::Nothing, Reached::Checkpoint))
    }

    pub(super) fn on_reached(&mut self, from: Author, answer: &Answer) {
        if let Some(recovery) = self.recovering.as_mut().filter(|recovery| recovery.question == answer.question) {
            recovery.answers.insert(from, answer.reached.round());
        }
    }

    /// Sends own blocks again that a peer says it has not, unless they are on their way or come too late for it.
    fn send_again(&mut self, now: Time, to: Author, has: u64, asks: bool) {
        let Some(peer) = self.peers.get(&to) else { return };
        let (had, sent) = peer.again;
        if had == has && now.since(sent) < ON_ITS_WAY {
            return;
        }
        let of_use = peer.status.quorum_round.saturating_sub(HISTORY_ROUNDS);
        let is_lost = |made_at: Time| asks || now.since(made_at) >= ON_ITS_WAY;
        let blocks = self.own_blocks_from(has.max(of_use).saturating_add(1)).into_values();
        let again: Vec<Sealed> = blocks.filter(|(_, made_at)| is_lost(*made_at)).map(|(sealed, _)| sealed).collect();
        if let Some(peer) = self.peers.get_mut(&to).filter(|_| !again.is_empty()) {
            peer.again = (has, now);
        }
        for sealed in again {
            if !self.serve(now, to, sealed.bytes(), || Frame::encode_block(sealed.block())) {
                break;
            }
        }
    }

    /// Some of the own blocks of rounds from `round` on, and when each was made. A leader that lost its disk has those from
    /// before only because others gave them back: who is further behind than that needs them from it all the same.
    fn own_blocks_from(&self, round: u64) -> BTreeMap<u64, (Sealed, Time)> {
        let me = self.config.me;
        let given_back = self.dag.rounds(round..=self.dag.highest()).filter(|(name, _)| name.author == me);
        let given_back = given_back.map(|(name, node)| (name.round, (node.sealed().clone(), Time::ZERO)));
        let mut blocks: BTreeMap<u64, (Sealed, Time)> = given_back.take(AHEAD_ROUNDS as usize).collect();
        let kept = self.own.range(round..).take(AHEAD_ROUNDS as usize);
        blocks.extend(kept.map(|(round, own)| (*round, (own.sealed.clone(), own.made_at))));
        let end = blocks.keys().nth(AHEAD_ROUNDS as usize).copied();
        end.into_iter().for_each(|end| drop(blocks.split_off(&end)));
        blocks
    }

    fn status(&self, question: u64) -> Status {
        let mut have: Vec<u64> = Author::all(self.config.rules.n()).map(|author| self.dag.highest_of(author)).collect();
        for name in self.log.consumed.keys() {
            have.get_mut(name.author.index()).into_iter().for_each(|highest| *highest = name.round.max(*highest));
        }
        let checkpoint = self.checkpoints.stable().map_or(0, |(certificate, _)| certificate.statement.position);
        // A leader that lost its disk may have made a block for `own_round`, and cannot show it.
        let waits = self.own_round > self.quorum_round && !self.dag.authors(self.own_round).has(self.config.me);
        Status {
            quorum_round: self.quorum_round,
            lowest: self.gives_from(),
            have,
            checkpoint,
            wants_round: if waits { self.own_round } else { 0 },
            question,
        }
    }

    /// A status is due soon: this leader sees that it is behind.
    pub(super) fn hurry_status(&mut self, now: Time) {
        let soonest = self.status_sent.map_or(now, |sent| sent + STATUS_MIN);
        self.status_at = self.status_at.min(soonest.max(now));
    }

    pub(super) fn tell_status(&mut self, now: Time) {
        if let Some(Recovery { answers, .. }) = &self.recovering {
            let needed = self.config.rules.n() - self.config.rules.f();
            let others = self.config.rules.n() - 1;
            if answers.len() >= usize::from(needed.min(others)) {
                let highest = self.config.rules.may_have_come_to(answers.values().copied());
                self.own_round = if others == 0 { 0 } else { highest.saturating_add(AHEAD_ROUNDS) };
                self.recovering = None;
                self.persist(vec![Record::MadeUpTo(Some(self.own_round))]);
            }
        }
        if now < self.status_at {
            return;
        }
        let timers = self.config.timers;
        let behind = self.is_behind();
        let interval = if behind || self.is_catching_up() || self.finding.is_some() && !self.queue.is_empty() {
            timers.status_interval / 8
        } else if self.is_idle() && self.dag.highest() <= self.own_round && self.waiting() == (0, 0) {
            timers.rest_interval
        } else {
            timers.status_interval
        };
        self.status_at = now + interval;
        self.status_sent = Some(now);
        let asks = behind || self.finding.is_some();
        let question = self.recovering.as_ref().map_or(u64::from(asks), |recovery| recovery.question);
        let status = self.status(question);
        self.send(self.others(), &Frame::Status(status));
    }

    /// Whether `f + 1` peers are well ahead.
    fn is_behind(&self) -> bool {
        let ahead = self.peers.values().filter(|peer| peer.status.quorum_round > self.quorum_round + 2);
        ahead.count() >= self.config.rules.honest_one()
    }

    // Checkpoints.

    /// Signs a statement and tells everybody.
    pub(super) fn state(&mut self, statement: &Statement) {
        let signed = self.signed(statement);
        self.send(self.others(), &Frame::Statement(signed.clone()));
        self.on_statement(signed);
    }

    fn signed(&self, statement: &Statement) -> Signed {
        let signature = self.keys.sign(Purpose::Checkpoint, &signed_bytes(statement));
        Signed { author: self.config.me, statement: *statement, signature }
    }

    pub(super) fn on_statement(&mut self, signed: Signed) {
        let (author, position) = (signed.author, signed.statement.position);
        match self.checkpoints.hear(signed) {
            Heard::Nothing => {}
            Heard::Contradicts => self.blame(author, Fault::TwoStatements),
            Heard::Certified(news) => self.on_news(position, news),
        }
    }

    pub(super) fn on_certificate(&mut self, certificate: Certificate) {
        let position = certificate.statement.position;
        if let Some(news) = self.checkpoints.certified(certificate) {
            self.on_news(position, news);
        }
    }

    fn on_news(&mut self, position: u64, news: News) {
        match news {
            News::Newer => {}
            News::Diverges => self.step.events.push(Event::Diverged { position }),
            News::Settled => {
                if let Some((certificate, parts)) = self.checkpoints.stable().cloned() {
                    self.persist_checkpoint(certificate, &parts);
                    self.let_go();
                }
            }
        }
    }

    fn persist_checkpoint(&mut self, certificate: Certificate, parts: &Parts) {
        let floor = certificate.statement.round.saturating_sub(HISTORY_ROUNDS);
        let state = parts.bytes().clone();
        let made_up_to = self.recovering.is_none().then_some(self.own_round);
        self.persist(vec![Record::Checkpoint { certificate, state, made_up_to, floor }]);
    }

    // Catching up with a state.

    /// Whether blocks that are needed next are given by too few.
    fn is_stranded(&self) -> bool {
        let stuck = self.pending.lowest_stuck().filter(|_| self.is_behind()).unwrap_or(u64::MAX);
        let needed = stuck.min(self.quorum_round + 1);
        let gone = self.peers.values().filter(|peer| peer.status.lowest > needed).count();
        gone >= self.config.rules.honest_one()
    }

    /// A leader that was started again knows where the others are: a quorum has said so since, and it needs no state to
    /// get there. Whether it has just come to know.
    pub(super) fn find_place(&mut self) -> bool {
        let heard = |heard: AuthorSet| heard.with(self.config.me).len() >= self.config.rules.quorum();
        if !self.finding.is_some_and(heard) || self.is_catching_up() || self.is_stranded() {
            return false;
        }
        self.finding = None;
        true
    }

    /// Fetches a state where blocks do not lead on.
    pub(super) fn catch_up(&mut self, now: Time) {
        let is_stranded = self.is_stranded();
        let position = self.log.position;
        let forward_only = self.config.rules.enforces(Rule::ForwardOnly);
        let is_ahead = |running: &Transfer| running.certificate().statement.position > position || !forward_only;
        self.transfer = self.transfer.take().filter(is_ahead);
        let newest = self.checkpoints.newest().filter(|newest| newest.statement.position > self.log.position);
        // A state on its way is not given up for a newer one while parts come: that might go on for ever.
        let gives_way = |running: &Transfer| {
            let newer = newest.is_some_and(|n| n.statement.position > running.certificate().statement.position);
            newer && running.is_stalled(now)
        };
        if is_stranded && self.transfer.as_ref().is_none_or(gives_way) {
            let next = newest.and_then(|newest| Transfer::new(now, newest.clone(), self.config.rules));
            self.transfer = next.or(self.transfer.take());
        }
        let others = self.others();
        let asks = self.transfer.as_mut().map(|transfer| transfer.ask(now, others)).unwrap_or_default();
        for (peer, name) in asks {
            self.send_to(peer, &Frame::Ask(name));
        }
    }

    pub(super) fn on_ask(&mut self, now: Time, from: Author, name: PartName) {
        match self.checkpoints.part(now, from, name) {
            Some(bytes) => {
                let _ = self.serve(now, from, bytes.len(), || Frame::Part(name, bytes.to_vec()).encode());
            }
            None => self.serve_certificate(now, from),
        }
    }

    pub(super) fn on_part(&mut self, cx: &mut Cx<'_>, from: Author, name: PartName, bytes: Vec<u8>) {
        let Some(transfer) = &mut self.transfer else { return };
        match transfer.take(cx.now, from, name, bytes) {
            Taken::Nothing => {}
            Taken::Bad => self.blame(from, Fault::BadPart),
            Taken::Complete(whole) => {
                let certificate = transfer.certificate().clone();
                self.transfer = None;
                let (state, parts) = *whole;
                self.install(cx, certificate, state, parts);
            }
        }
    }

    /// The log goes on behind a certified checkpoint.
    pub(super) fn install(&mut self, cx: &mut Cx<'_>, certificate: Certificate, state: State, parts: Parts) {
        let is_past = certificate.statement.position <= self.log.position;
        if is_past && self.config.rules.enforces(Rule::ForwardOnly) {
            return;
        }
        self.before = self.reached();
        let Config { me, rules, timers, .. } = &self.config;
        (self.dag, self.is_fresh) = (Dag::new(rules.n()), true);
        self.pending = Pending::new(rules.n(), *me, timers.fetch_retry, cx.now);
        self.coins = Coins::new(*rules);
        self.coins.drop_below(state.log.next.round);
        self.content.clear();
        self.unsequenced.clear();
        self.log = state.log;
        self.quorum_round = self.past_quorum_round();
        self.gap = self.find_gap();
        self.step.events.push(Event::Installed {
            position: self.log.position,
            index: self.log.index,
            head: self.log.head,
            application: state.application,
        });
        self.settle_own();
        self.checkpoints.settle(certificate.clone(), parts.clone());
        self.persist_checkpoint(certificate, &parts);
        self.hurry_status(cx.now);
    }

    /// Own blocks that an installed checkpoint passed: of some it is known that they are in the log. Of others it is known
    /// that they are not; perhaps nobody takes them any more. The group does not rest until the log has them or is past them.
    fn settle_own(&mut self) {
        let (floor, consumed) = (self.log.floor(), &self.log.consumed);
        let mut uncertain = Vec::new();
        for own in std::mem::take(&mut self.own).into_values().filter(|own| !own.sequenced) {
            let reference = own.sealed.reference();
            if reference.round <= floor {
                uncertain.extend(messages(&own.sealed.body().payload).map(<[u8]>::to_vec));
            } else if !consumed.contains_key(&reference) {
                if own.sealed.body().has_content() {
                    self.content.insert(reference);
                }
                self.own.insert(reference.round, own);
            }
        }
        if !uncertain.is_empty() {
            self.step.events.push(Event::Uncertain(uncertain));
        }
    }
}
