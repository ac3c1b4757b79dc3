//! One leader's part in the order: the root component.

mod admitting;
mod making;
mod serving;
mod start;
mod taking;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ringfort_kernel::time::earliest;
use ringfort_kernel::{Budget, Cx, Time};

use crate::block::{Evidence, Sealed, messages};
use crate::checkpoint::{Checkpoints, TooLarge};
use crate::coin::Coins;
use crate::dag::Dag;
use crate::decide::{self, Verdict};
use crate::fault::Fault;
use crate::ids::{Author, AuthorSet, Reference};
use crate::keys::Keys;
use crate::limits::{Config, MESSAGE_BYTES_MAX};
use crate::pace::Pace;
use crate::pending::Pending;
use crate::reached::Reached;
use crate::sequence::{Committed, Log};
use crate::step::{Effect, Event, Record, Rejected, Step};
use crate::transfer::Transfer;
use crate::verify::{Checked, Inner, Verifier};
use crate::wire::{Frame, Status};

/// Payload bytes of the log from one checkpoint to the next, at most.
pub const CHECKPOINT_BYTES: u64 = 32 * 1024 * 1024;

/// Accepted blocks that wait to be made durable with the next own block, at most.
const UNWRITTEN_MAX: usize = 64;

/// What a leader remembers when it starts.
#[derive(Clone, Debug)]
pub enum Memory {
    /// The leader has never run in this epoch.
    New,
    /// What it made durable, in order.
    Kept(Vec<Record>),
    /// It has run, and what it made durable is lost or may be old: it asks its peers how far it may have come.
    Lost,
}

/// What is known of a peer.
#[derive(Clone, Debug)]
struct Peer {
    status: Status,
    /// What it may make this leader send.
    serve: Budget,
    /// What it may make this leader check.
    check: Budget,
    /// Whether it sent a signature that does not fit: it has a far smaller budget since.
    forged: bool,
    /// When its status was answered last.
    helped: Option<Time>,
    /// What it had of the own blocks when some were sent to it again, and when.
    again: (u64, Time),
}

/// The question how far this leader may have come, and the rounds that were proven.
#[derive(Clone, Debug)]
struct Recovery {
    question: u64,
    answers: BTreeMap<Author, u64>,
}

/// An own block that is kept for sending again.
#[derive(Clone, Debug)]
struct Own {
    sealed: Sealed,
    made_at: Time,
    /// Whether it is in the log, or its messages are queued again.
    sequenced: bool,
    /// Whether it was made before the process started.
    replayed: bool,
}

/// One leader's part in the order.
pub struct Agreement {
    config: Config,
    keys: Arc<dyn Keys>,
    verifier: Verifier,
    dag: Dag,
    pending: Pending,
    coins: Coins,
    log: Log,
    checkpoints: Checkpoints,
    transfer: Option<Transfer>,
    pace: Pace,
    peers: BTreeMap<Author, Peer>,
    /// The highest round for which a block was made, or may have been before the disk was lost.
    own_round: u64,
    /// Answers to the question how far this leader may have come; `None` once it knows.
    recovering: Option<Recovery>,
    /// Who has said how far it is since this leader was started again; `None` once a quorum has, and blocks carry messages.
    finding: Option<AuthorSet>,
    quorum_round: u64,
    /// The highest round of a block behind the log's end that is not held: a state brought the log past it.
    gap: u64,
    /// How far the group came, as blocks proved that are not at hand any more.
    before: Reached,
    /// Whether a block came since slots were decided: else none can be.
    is_fresh: bool,
    own: BTreeMap<u64, Own>,
    queue: VecDeque<Vec<u8>>,
    queue_bytes: usize,
    /// Accepted blocks with content that is not in the log yet.
    content: BTreeSet<Reference>,
    /// Payload accepted of each author that is not in the log yet.
    unsequenced: BTreeMap<Author, usize>,
    evidence: BTreeMap<Author, Evidence>,
    /// Equivocators that an own block names which may still come into the log.
    accused: BTreeMap<Author, u64>,
    to_persist: Vec<Record>,
    status_at: Time,
    status_sent: Option<Time>,
    step: Step,
}

impl Agreement {
    /// Takes a message to be ordered. It is in the log once [`Event::Sequenced`] shows it.
    ///
    /// # Errors
    /// [`Rejected`] when it is too large or too many wait.
    pub fn submit(&mut self, cx: &mut Cx<'_>, message: Vec<u8>) -> Result<Step, Rejected> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Rejected::TooLarge(message.len()));
        }
        if self.queue_bytes.saturating_add(message.len() + 4) > self.config.queue_bytes_max {
            return Err(Rejected::Busy);
        }
        self.queue_bytes += message.len() + 4;
        self.queue.push_back(message);
        Ok(self.settle(cx))
    }

    /// Takes many messages, and answers once for those that found room; the others come back.
    pub fn submit_all(&mut self, cx: &mut Cx<'_>, messages: Vec<Vec<u8>>) -> (Step, Vec<Vec<u8>>) {
        let mut refused = Vec::new();
        for message in messages {
            let fits = self.queue_bytes.saturating_add(message.len() + 4) <= self.config.queue_bytes_max;
            if fits && message.len() <= MESSAGE_BYTES_MAX {
                self.queue_bytes += message.len() + 4;
                self.queue.push_back(message);
            } else {
                refused.push(message);
            }
        }
        (self.settle(cx), refused)
    }

    /// The application's state at a checkpoint that was told as due.
    pub fn provide_state(&mut self, cx: &mut Cx<'_>, position: u64, application: Vec<u8>) -> Step {
        match self.checkpoints.provide(self.config.epoch, position, application) {
            Ok(Some(statement)) => self.state(&statement),
            Ok(None) => {}
            Err(TooLarge) => self.step.events.push(Event::StateTooLarge { position }),
        }
        self.settle(cx)
    }

    /// A frame of a peer, checked here.
    pub fn on_frame(&mut self, cx: &mut Cx<'_>, from: Author, frame: &[u8]) -> Step {
        let Some(opened) = self.open(cx.now, from, frame) else { return Step::default() };
        let checked = opened.and_then(|opened| self.verifier.verify(opened));
        self.on_checked(cx, from, checked)
    }

    /// A frame of a peer, checked by [`Agreement::verifier`].
    pub fn on_checked(&mut self, cx: &mut Cx<'_>, from: Author, checked: Result<Checked, Fault>) -> Step {
        self.on_many(cx, vec![(from, checked)])
    }

    /// Many checked frames at once, in order: decides and sends once for all.
    pub fn on_many(&mut self, cx: &mut Cx<'_>, frames: Vec<(Author, Result<Checked, Fault>)>) -> Step {
        for (from, checked) in frames {
            match checked {
                Err(fault) => {
                    if fault == Fault::BadSignature {
                        self.has_forged(cx.now, from);
                    }
                    self.blame(from, fault);
                }
                Ok(Checked(inner)) if self.peers.contains_key(&from) => self.take(cx, from, inner),
                Ok(_) => {}
            }
        }
        self.settle(cx)
    }

    /// The link to a peer is there again: what was sent before may be lost.
    pub fn on_peer_up(&mut self, cx: &mut Cx<'_>, _peer: Author) -> Step {
        self.status_at = cx.now;
        self.settle(cx)
    }

    /// The time of [`Agreement::next_wakeup`] has come.
    pub fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step {
        self.settle(cx)
    }

    /// When to call [`Agreement::on_wakeup`].
    pub fn next_wakeup(&self) -> Option<Time> {
        let fetch = earliest(self.pending.next_at(), self.transfer.as_ref().and_then(Transfer::next_at));
        earliest(earliest(fetch, self.make_at()), Some(self.status_at))
    }

    /// What turns bytes into checked frames; it may be used on other threads.
    pub fn verifier(&self) -> Verifier {
        self.verifier.clone()
    }

    fn take(&mut self, cx: &mut Cx<'_>, from: Author, inner: Inner) {
        match inner {
            Inner::Block(sealed) if sealed.reference().author != from => self.blame(from, Fault::Unasked),
            Inner::Block(sealed) | Inner::Answer(sealed) => self.on_block(cx, from, sealed),
            Inner::Fetch(references) => self.on_fetch(cx.now, from, &references),
            Inner::Status(status) => self.on_status(cx.now, from, status),
            Inner::Statement(signed) if signed.author != from => self.blame(from, Fault::Unasked),
            Inner::Statement(signed) => self.on_statement(signed),
            Inner::Certificate(certificate) => self.on_certificate(certificate),
            Inner::Ask(name) => self.on_ask(cx.now, from, name),
            Inner::Part(name, bytes) => self.on_part(cx, from, name, bytes),
            Inner::Reached(answer) => self.on_reached(from, &answer),
        }
    }

    /// Decides, makes, asks: whatever can be done now.
    fn settle(&mut self, cx: &mut Cx<'_>) -> Step {
        loop {
            let decided = self.decide(cx);
            let made = self.make(cx);
            if !decided && !made {
                break;
            }
        }
        if self.to_persist.len() >= UNWRITTEN_MAX {
            self.persist(Vec::new());
        }
        self.ask_for_blocks(cx.now);
        self.catch_up(cx.now);
        if self.find_place() {
            return self.settle(cx);
        }
        self.tell_status(cx.now);
        std::mem::take(&mut self.step)
    }

    /// The highest round of which a quorum's blocks are behind the log's end; below the floor all are.
    fn past_quorum_round(&self) -> u64 {
        let mut authors: BTreeMap<u64, AuthorSet> = BTreeMap::new();
        for reference in self.log.consumed.keys() {
            let of_round = authors.entry(reference.round).or_default();
            *of_round = of_round.with(reference.author);
        }
        let quorum = self.config.rules.quorum();
        let highest = authors.iter().rev().find(|(_, who)| who.len() >= quorum).map_or(0, |(round, _)| *round);
        highest.max(self.log.floor())
    }

    /// The lowest round whose blocks this leader gives, as far as they are in its log.
    fn gives_from(&self) -> u64 {
        self.dag.lowest().max(self.gap + 1)
    }

    /// See [`Agreement::gap`]: told from what is held now, for what is behind the log's end is never fetched.
    fn find_gap(&self) -> u64 {
        let missing = self.log.consumed.keys().rev().find(|name| !self.dag.has(name)).map_or(0, |name| name.round);
        missing.max(self.log.floor())
    }

    /// Walks through the slots that are decided; whether there were any.
    fn decide(&mut self, cx: &mut Cx<'_>) -> bool {
        if !std::mem::take(&mut self.is_fresh) {
            return false;
        }
        let verdicts = decide::verdicts(&self.dag, &self.config.rules, &self.coins, self.log.next);
        let mut any = false;
        for (slot, verdict) in verdicts {
            match verdict {
                Verdict::Undecided => break,
                Verdict::Skip => self.log.skip(slot),
                Verdict::Commit(block) => {
                    let every = (self.config.checkpoint_slots, CHECKPOINT_BYTES);
                    let committed = self.log.commit(&self.dag, &self.config.rules, slot, block, every);
                    self.on_committed(committed);
                }
            }
            any = true;
        }
        if any {
            self.coins.drop_below(self.log.next.round);
            self.move_floor(cx);
        }
        any
    }

    fn on_committed(&mut self, committed: Committed) {
        for entry in committed.entries {
            self.is_past(&entry.block.reference());
            self.step.events.push(Event::Sequenced(entry));
        }
        if !committed.convicted.is_empty() {
            let convicted: AuthorSet = self.log.convicted.iter().copied().collect();
            self.pending.drop_of(convicted.without(self.config.me));
        }
        for author in committed.convicted {
            self.step.events.push(Event::Convicted(author));
        }
        if committed.checkpoint_due {
            self.checkpoints.due(&self.log);
            self.step.events.push(Event::CheckpointDue { position: committed.position });
        }
    }

    /// A block needs no place in the log any more.
    fn is_past(&mut self, reference: &Reference) {
        self.content.remove(reference);
        if let Some(node) = self.dag.get(reference)
            && let Some(bytes) = self.unsequenced.get_mut(&reference.author)
        {
            *bytes = bytes.saturating_sub(node.sealed().body().payload.len());
        }
        if reference.author == self.config.me
            && let Some(own) = self.own.get_mut(&reference.round)
        {
            own.sequenced = true;
        }
    }

    /// What fell below the floor is gone for everybody: own messages in it are queued again.
    fn move_floor(&mut self, cx: &mut Cx<'_>) {
        let floor = self.log.floor();
        let mut uncertain = Vec::new();
        for own in self.own.range_mut(..=floor).map(|(_, own)| own).filter(|own| !own.sequenced) {
            own.sequenced = true;
            let lost = messages(&own.sealed.body().payload).map(<[u8]>::to_vec);
            if own.replayed {
                uncertain.extend(lost); // Before the restart they may have been queued again already.
                continue;
            }
            for message in lost {
                self.queue_bytes += message.len() + 4;
                self.queue.push_back(message);
            }
        }
        if !uncertain.is_empty() {
            self.step.events.push(Event::Uncertain(uncertain));
        }
        let fallen: Vec<Reference> = self.content.iter().take_while(|r| r.round <= floor).copied().collect();
        for reference in fallen {
            self.is_past(&reference);
        }
        self.accused.retain(|_, round| *round > floor);
        for ready in self.pending.drop_to(floor) {
            self.accept_with_those_that_wait(cx, ready);
        }
        self.let_go();
    }

    /// Blocks that a certified checkpoint makes unneeded, once the own log is past it.
    fn let_go(&mut self) {
        let Some((certificate, _)) = self.checkpoints.stable() else { return };
        if certificate.statement.position <= self.log.position {
            let floor = certificate.statement.round.saturating_sub(crate::limits::HISTORY_ROUNDS);
            self.dag.drop_to(floor.min(self.log.floor()));
            let lowest = self.dag.lowest();
            self.own.retain(|round, _| *round >= lowest);
        }
    }

    /// Accepted blocks become durable, and `more` behind them.
    fn persist(&mut self, more: Vec<Record>) {
        let mut records = std::mem::take(&mut self.to_persist);
        records.extend(more);
        self.step.effects.push(Effect::Persist(records));
    }

    fn blame(&mut self, peer: Author, fault: Fault) {
        self.step.events.push(Event::Blamed(peer, fault));
    }

    fn send(&mut self, to: AuthorSet, frame: &Frame) {
        self.send_bytes(to, frame.encode());
    }

    fn send_bytes(&mut self, to: AuthorSet, frame: Bytes) {
        let to = to.without(self.config.me);
        if !to.is_empty() {
            self.step.effects.push(Effect::Send { to, frame });
        }
    }

    fn send_to(&mut self, peer: Author, frame: &Frame) {
        self.send(AuthorSet::EMPTY.with(peer), frame);
    }

    fn others(&self) -> AuthorSet {
        AuthorSet::all(self.config.rules.n()).without(self.config.me)
    }

    // What tests, status pages and benches look at.

    /// The log's end.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The accepted blocks.
    pub fn dag(&self) -> &Dag {
        &self.dag
    }

    /// The highest round for which a block was made.
    pub fn own_round(&self) -> u64 {
        self.own_round
    }

    /// The highest round of which a quorum's blocks are here.
    pub fn quorum_round(&self) -> u64 {
        self.quorum_round
    }

    /// Whether own messages wait, or accepted ones have no place yet.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.content.is_empty()
    }

    /// Whether a certified state is being fetched, or peers are asked how far this leader may have come.
    pub fn is_catching_up(&self) -> bool {
        self.transfer.is_some() || self.recovering.is_some()
    }

    /// Blocks that are asked for.
    pub fn wanted(&self) -> impl Iterator<Item = &Reference> {
        self.pending.wanted_blocks()
    }

    /// Blocks that wait for others, and blocks asked for.
    pub fn waiting(&self) -> (usize, usize) {
        self.pending.len()
    }

    /// Bytes held in blocks, states and queues.
    pub fn bytes(&self) -> usize {
        let transfer = self.transfer.as_ref().map_or(0, Transfer::bytes);
        self.dag.bytes() + self.pending.bytes() + self.checkpoints.bytes() + self.queue_bytes + transfer
    }
}
