//! Leaders, their disks, and the frames between them, on a virtual clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringfort_agreement::keys::Keys;
use ringfort_agreement::limits::Timers;
use ringfort_agreement::wire::Frame;
use ringfort_agreement::{
    Agreement, Author, AuthorSet, Config, Cx, Digest, Effect, Event, Memory, Record, Rules, Step, Time,
};

use crate::check::Checks;
use crate::dice::Dice;
use crate::hacked::{Hacked, Strategy};
use crate::network::Network;
use crate::node::Node;

/// Unix time at the start of every run, in milliseconds.
const START_UNIX_MS: u64 = 1_700_000_000_000;
/// Frames that a sleeping leader's links keep.
const KEPT_FRAMES: usize = 400;

enum Item {
    Frame(Author, Author, Bytes),
    Wake(Author),
    Tick(Author),
    Start(Author),
}

/// All of it.
pub struct World {
    /// The clock.
    pub now: Time,
    /// How frames travel.
    pub network: Network,
    /// The checkers.
    pub checks: Checks,
    /// The leaders.
    pub nodes: BTreeMap<Author, Node>,
    /// All chance in this world.
    pub dice: Dice,
    /// Frames sent, and bytes.
    pub sent: (u64, u64),
    /// What happened, if it is to be told.
    pub notes: Option<Vec<String>>,
    rules: Rules,
    epoch: Digest,
    keys: Vec<Arc<dyn Keys>>,
    /// Committed blocks from one checkpoint to the next.
    pub checkpoint_slots: u64,
    items: BTreeMap<(Time, u64), Item>,
    next_item: u64,
    next_message: u64,
}

impl World {
    /// A group that has not started.
    pub fn new(seed: u64, rules: Rules, keys: Vec<Arc<dyn Keys>>, epoch: Digest, network: Network) -> Self {
        World {
            now: Time::ZERO,
            network,
            checks: Checks::new(AuthorSet::all(rules.n())),
            nodes: Author::all(rules.n()).map(|author| (author, Node::default())).collect(),
            dice: Dice::new(seed, 1),
            sent: (0, 0),
            notes: std::env::var_os("RINGFORT_NOTES").map(|_| Vec::new()),
            rules,
            epoch,
            keys,
            checkpoint_slots: 24,
            items: BTreeMap::new(),
            next_item: 0,
            next_message: 0,
        }
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes {
            let line = format!("{:>9.3} {}", self.now.since_start().as_secs_f64() * 1000.0, text());
            notes.push(line);
        }
    }

    /// The rules in force.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// All leaders.
    pub fn all(&self) -> Vec<Author> {
        self.nodes.keys().copied().collect()
    }

    /// Leaders that follow the protocol.
    pub fn honest(&self) -> Vec<Author> {
        self.checks.honest.iter().collect()
    }

    /// The component of a leader that runs.
    pub fn core(&self, who: Author) -> Option<&Agreement> {
        self.nodes.get(&who)?.core.as_ref()
    }

    /// Whether a leader runs and is awake.
    pub fn is_up(&self, who: Author) -> bool {
        self.nodes.get(&who).is_some_and(|node| node.core.is_some() && !node.asleep)
    }

    /// A leader is hacked from the start.
    pub fn hack(&mut self, who: Author, strategy: Strategy) {
        let Some(keys) = self.keys.get(who.index()).cloned() else { return };
        self.checks.honest = self.checks.honest.without(who);
        let mind = Hacked::new(strategy, who, self.rules, self.epoch, keys);
        if let Some(node) = self.nodes.get_mut(&who) {
            node.hacked = Some(mind);
        }
        self.put(self.now + Duration::from_millis(3), Item::Tick(who));
    }

    /// Everybody starts for the first time.
    pub fn start_all(&mut self) {
        for who in self.all() {
            self.start(who, Memory::New);
        }
    }

    fn config(&self, who: Author) -> Config {
        let races =
            self.nodes.get(&who).and_then(|node| node.hacked.as_ref()).is_some_and(|h| h.strategy == Strategy::Race);
        let mut timers = Timers {
            block_interval: Duration::from_millis(2),
            status_interval: Duration::from_millis(60),
            rest_interval: Duration::from_millis(500),
            fetch_retry: Duration::from_millis(20),
            wait_max: Duration::from_millis(40),
            ..Timers::default()
        };
        if races {
            timers.block_interval = Duration::ZERO;
            timers.idle_interval = Duration::ZERO;
            timers.wait_max = Duration::ZERO;
        }
        let unsequenced_bytes_max = 64 * 1024;
        let checkpoint_slots = self.checkpoint_slots;
        Config { timers, checkpoint_slots, unsequenced_bytes_max, ..Config::new(who, self.epoch, self.rules) }
    }

    // Faults.

    /// A process starts, if it does not run.
    pub fn start(&mut self, who: Author, memory: Memory) {
        self.note(|| match &memory {
            Memory::New => format!("{who:?} starts new"),
            Memory::Lost => format!("{who:?} starts without its disk"),
            Memory::Kept(records) => format!("{who:?} starts with {} records", records.len()),
        });
        let config = self.config(who);
        let Some(keys) = self.keys.get(who.index()).cloned() else { return };
        if self.nodes.get(&who).is_none_or(|node| node.core.is_some()) {
            return;
        }
        self.checks.restart(who);
        let (core, step) = self.with_cx(who, |cx| Agreement::start(cx, config, keys, memory));
        if let Some(node) = self.nodes.get_mut(&who) {
            node.core = Some(core);
        }
        self.carry_out(who, step);
        for peer in self.all() {
            self.act(peer, |core, cx| core.on_peer_up(cx, who));
        }
    }

    /// A process starts with what its disk has.
    pub fn restart(&mut self, who: Author) {
        let disk = self.nodes.get(&who).map(|node| node.disk.clone()).unwrap_or_default();
        let memory = if disk.is_empty() { Memory::New } else { Memory::Kept(disk) };
        self.start(who, memory);
    }

    /// A process dies; what it was given and had in no block is lost.
    pub fn crash(&mut self, who: Author) {
        self.note(|| format!("{who:?} crashes"));
        let Some(node) = self.nodes.get_mut(&who) else { return };
        node.core = None;
        (node.asleep, node.wake_at) = (false, None);
        node.kept.clear();
        let given = self.checks.submitted.iter().filter(|(_, by)| **by == who).map(|(message, _)| message.clone());
        let given: Vec<Vec<u8>> = given.collect();
        self.checks.excused.extend(given);
    }

    /// A disk is lost, and the process with it; it starts again without.
    pub fn wipe(&mut self, who: Author) {
        self.crash(who);
        if let Some(node) = self.nodes.get_mut(&who) {
            node.disk.clear();
        }
        self.start(who, Memory::Lost);
    }

    /// A backup of the disk is put back: what was made durable after it is gone, and nobody knows.
    pub fn roll_back(&mut self, who: Author, records: usize) {
        self.crash(who);
        if let Some(node) = self.nodes.get_mut(&who) {
            node.disk.truncate(records);
        }
        self.restart(who);
    }

    /// A leader is not scheduled until it is woken.
    pub fn sleep(&mut self, who: Author) {
        if let Some(node) = self.nodes.get_mut(&who).filter(|node| node.core.is_some()) {
            node.asleep = true;
        }
    }

    /// A sleeping leader goes on, with what its links kept.
    pub fn wake(&mut self, who: Author) {
        let Some(node) = self.nodes.get_mut(&who).filter(|node| node.asleep) else { return };
        node.asleep = false;
        let kept = std::mem::take(&mut node.kept);
        for (from, frame) in kept {
            self.act(who, |core, cx| core.on_frame(cx, from, &frame));
        }
        self.act(who, |core, cx| core.on_wakeup(cx));
    }

    // Clients.

    /// A message is given to a leader; it is told to the checkers if it was taken.
    pub fn submit(&mut self, who: Author, bytes: usize) {
        self.next_message += 1;
        let mut message = self.next_message.to_le_bytes().to_vec();
        message.resize(bytes.max(8), (self.next_message % 251) as u8);
        if !self.is_up(who) {
            return;
        }
        self.note(|| format!("{who:?} is given message {:?}", message.get(..8)));
        self.checks.submitted.insert(message.clone(), who);
        let given = message.clone();
        let taken = self.act(who, |core, cx| core.submit(cx, given).unwrap_or_default());
        if !taken || self.core(who).is_none() {
            self.checks.excused.insert(message);
        }
    }

    /// Many messages are given at once, past the checkers of single ones.
    pub fn submit_many(&mut self, who: Author, count: usize, bytes: usize) {
        let mut messages = Vec::new();
        for _ in 0..count {
            self.next_message += 1;
            let mut message = self.next_message.to_le_bytes().to_vec();
            message.resize(bytes.max(8), 1);
            self.checks.submitted.insert(message.clone(), who);
            messages.push(message);
        }
        let mut refused = Vec::new();
        self.act(who, |core, cx| {
            let (step, back) = core.submit_all(cx, messages);
            refused = back;
            step
        });
        self.checks.excused.extend(refused);
    }

    // Time.

    /// Goes on for `length`.
    pub fn go(&mut self, length: Duration) {
        let until = self.now + length;
        while let Some(entry) = self.items.first_entry() {
            if entry.key().0 > until {
                break;
            }
            let ((at, _), item) = entry.remove_entry();
            self.now = self.now.max(at);
            self.play(at, item);
        }
        self.now = until;
    }

    /// Goes on until `done`, for `length` at most; whether it was.
    pub fn go_until(&mut self, length: Duration, done: impl Fn(&World) -> bool) -> bool {
        let until = self.now + length;
        while self.now < until && !done(self) {
            self.go(Duration::from_millis(5));
        }
        done(self)
    }

    fn play(&mut self, at: Time, item: Item) {
        match item {
            Item::Frame(from, to, frame) => self.arrive(from, to, frame),
            Item::Start(who) => self.restart(who),
            Item::Tick(who) => {
                self.tick(who);
                self.put(at + Duration::from_millis(3), Item::Tick(who));
            }
            Item::Wake(who) => {
                let due = self.nodes.get(&who).is_some_and(|node| node.wake_at == Some(at) && !node.asleep);
                if due {
                    if let Some(node) = self.nodes.get_mut(&who) {
                        node.wake_at = None;
                    }
                    self.act(who, |core, cx| core.on_wakeup(cx));
                }
            }
        }
    }

    fn arrive(&mut self, from: Author, to: Author, frame: Bytes) {
        let Some(node) = self.nodes.get_mut(&to) else { return };
        if node.asleep {
            if node.kept.len() < KEPT_FRAMES {
                node.kept.push_back((from, frame));
            }
            return;
        }
        if let (Some(mind), Ok(frame)) = (&node.hacked, Frame::decode(&frame)) {
            let answers = mind.answers(from, &frame);
            answers.into_iter().for_each(|(to_, frame, later)| self.post(to, to_, &frame, later));
        }
        self.act(to, |core, cx| core.on_frame(cx, from, &frame));
    }

    fn tick(&mut self, who: Author) {
        let others: Vec<Author> = self.all().into_iter().filter(|other| *other != who).collect();
        let Some(node) = self.nodes.get_mut(&who) else { return };
        let (Some(mind), Some(core)) = (&mut node.hacked, &node.core) else { return };
        let own = core.dag().rounds(0..=u64::MAX - 1).rev().find(|(name, _)| name.author == who);
        let template = own.map(|(_, node)| node.sealed().clone());
        let out = mind.tick(&others, template.as_ref(), &mut self.dice);
        out.into_iter().for_each(|(to, frame, later)| self.post(who, to, &frame, later));
    }

    fn with_cx<T>(&mut self, who: Author, does: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        let off = self.nodes.get(&who).map_or(0, |node| node.clock_off_ms);
        let elapsed = u64::try_from(self.now.since_start().as_millis()).unwrap_or(u64::MAX);
        let unix_ms = (START_UNIX_MS + elapsed).saturating_add_signed(off);
        does(&mut Cx { now: self.now, unix_ms, rng: self.dice.rng() })
    }

    /// A leader that runs does something; whether it runs.
    pub(crate) fn act(&mut self, who: Author, does: impl FnOnce(&mut Agreement, &mut Cx<'_>) -> Step) -> bool {
        let Some(node) = self.nodes.get_mut(&who).filter(|node| !node.asleep) else { return false };
        let Some(mut core) = node.core.take() else { return false };
        let step = self.with_cx(who, |cx| does(&mut core, cx));
        if let Some(node) = self.nodes.get_mut(&who) {
            let (waiting, wanted) = core.waiting();
            let peak = &mut node.peak;
            peak.bytes = peak.bytes.max(core.bytes());
            peak.blocks = peak.blocks.max(core.dag().len());
            peak.waiting = peak.waiting.max(waiting);
            peak.wanted = peak.wanted.max(wanted);
            node.core = Some(core);
        }
        self.carry_out(who, step);
        true
    }

    /// What a leader answers, without its being sent.
    pub(crate) fn sent_by(
        &mut self,
        who: Author,
        does: impl FnOnce(&mut Agreement, &mut Cx<'_>) -> Step,
    ) -> Vec<Bytes> {
        let mut frames = Vec::new();
        self.act(who, |core, cx| {
            let step = does(core, cx);
            frames.extend(step.effects.into_iter().filter_map(|effect| match effect {
                Effect::Send { frame, .. } => Some(frame),
                Effect::Persist(_) => None,
            }));
            Step { effects: Vec::new(), events: step.events }
        });
        frames
    }

    fn carry_out(&mut self, who: Author, step: Step) {
        for effect in step.effects {
            let done = match effect {
                Effect::Persist(records) => self.write(who, records),
                Effect::Send { to, frame } => {
                    self.send(who, to, &frame);
                    true
                }
            };
            if !done {
                return; // It crashed: what follows never happened, and nobody was told.
            }
        }
        let now_us = (START_UNIX_MS * 1000).saturating_add(self.now.since_start().as_micros() as u64);
        let mut due = Vec::new();
        for event in &step.events {
            match event {
                Event::Installed { index, .. } => self.note(|| format!("{who:?} installs a state at {index}")),
                Event::Uncertain(messages) => self.note(|| format!("{who:?} is uncertain of {}", messages.len())),
                Event::Blamed(author, fault) => self.note(|| format!("{who:?} blames {author:?}: {fault}")),
                _ => {}
            }
            if self.checks.honest.has(who) {
                self.checks.event(who, event, now_us);
            }
            if let Event::CheckpointDue { position } = event {
                due.push((*position, self.checks.application(who).to_bytes()));
            }
        }
        for (position, state) in due {
            self.act(who, |core, cx| core.provide_state(cx, position, state));
        }
        self.set_alarm(who);
    }

    fn set_alarm(&mut self, who: Author) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&who) else { return };
        let wake_at = node.core.as_ref().and_then(Agreement::next_wakeup).map(|at| at.max(now));
        if wake_at != node.wake_at {
            node.wake_at = wake_at;
            if let Some(at) = wake_at {
                self.put(at, Item::Wake(who));
            }
        }
    }

    /// Writes to a leader's disk, unless it crashes there; whether it goes on.
    fn write(&mut self, who: Author, records: Vec<Record>) -> bool {
        let Some(node) = self.nodes.get_mut(&who) else { return false };
        node.persists += 1;
        let crash = node.crash_at.filter(|crash| crash.persist == node.persists);
        if crash.is_none_or(|crash| crash.written) {
            for record in records {
                if let Record::Checkpoint { floor, .. } = record {
                    node.disk.retain(|old| matches!(old, Record::Block(block) if block.body.round > floor));
                }
                node.disk.push(record);
            }
        }
        if crash.is_some() {
            node.crash_at = None;
            self.crash(who);
            let again = self.dice.between_us(2000, 60_000);
            self.put(self.now + again, Item::Start(who));
        }
        crash.is_none()
    }

    fn send(&mut self, who: Author, to: AuthorSet, frame: &Bytes) {
        let Ok(decoded) = Frame::decode(frame) else {
            self.checks.violations.push(format!("{who} sends a frame that nobody can read"));
            return;
        };
        let to: Vec<Author> = to.iter().collect();
        let Some(node) = self.nodes.get_mut(&who) else { return };
        match &mut node.hacked {
            Some(mind) => {
                let out = mind.outgoing(&to, &decoded, &mut self.dice);
                out.into_iter().for_each(|(to, frame, later)| self.post(who, to, &frame, later));
            }
            None => to.into_iter().for_each(|to| self.post(who, to, &decoded, Duration::ZERO)),
        }
    }

    fn post(&mut self, from: Author, to: Author, frame: &Frame, later: Duration) {
        match frame {
            Frame::Ask(name) => self.note(|| format!("{from:?} -> {to:?} asks for {name:?}")),
            Frame::Part(name, bytes) => self.note(|| format!("{from:?} -> {to:?} part {name:?} of {}", bytes.len())),
            Frame::Certificate(c) => self.note(|| format!("{from:?} -> {to:?} certificate {}", c.statement.position)),
            _ => {}
        }
        if let Frame::Block(block) = frame {
            let (round, weak, bytes) = (block.body.round, block.body.weak.len(), block.body.payload.len());
            self.note(|| format!("{from:?} -> {to:?} block {round} weak {weak} payload {bytes}"));
        }
        let mut bytes = frame.encode();
        let mind = self.nodes.get(&from).and_then(|node| node.hacked.as_ref());
        if let Some(mangled) = mind.and_then(|mind| mind.mangled(&bytes, &mut self.dice)) {
            bytes = mangled.into();
        }
        self.sent = (self.sent.0 + 1, self.sent.1 + bytes.len() as u64);
        if let Some(delay) = self.network.delay(&mut self.dice, from, to, frame) {
            self.put(self.now + later + delay, Item::Frame(from, to, bytes));
        }
    }

    fn put(&mut self, at: Time, item: Item) {
        self.next_item += 1;
        self.items.insert((at, self.next_item), item);
    }
}
