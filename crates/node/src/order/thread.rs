//! The thread that owns the agreement core.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use ringfort_agreement::agreement::Memory;
use ringfort_agreement::keys::LeaderKeys;
use ringfort_agreement::limits::Config;
use ringfort_agreement::verify::Verifier;
use ringfort_agreement::{Agreement, Author, Effect, Event, Step};
use ringfort_protocol::wire;
use tracing::{debug, info, warn};

use super::core::OrderCore;
use super::inbox::{Batch, Change, Inbox};
use super::journal::Journal;
use super::{Figures, Machine, OrderError, Shared};
use ringfort_link as link;
use ringfort_link::LinkSender;
use ringfort_runtime::Outside;

/// Messages that the core had no room for yet.
type Waiting = Vec<Vec<u8>>;

pub(super) struct Parts {
    pub journal: Journal,
    pub path: PathBuf,
    pub inbox: Arc<Inbox>,
    pub shared: Arc<Mutex<Shared>>,
    pub machine: Box<dyn Machine>,
}

type Beginning = (Config, Arc<LeaderKeys>, Memory);
type Build = Box<dyn FnOnce(Agreement, Arc<LeaderKeys>) -> Box<dyn OrderCore> + Send>;

/// Starts the core with what it remembers, on a thread of its own.
pub(super) fn start(
    parts: Parts,
    (config, keys, memory): Beginning,
    build: Build,
) -> io::Result<JoinHandle<Result<(), OrderError>>> {
    std::thread::Builder::new().name("order".to_owned()).spawn(move || {
        let mut outside = Outside::start();
        let (core, step) = Agreement::start(&mut outside.cx(), config, keys.clone(), memory);
        let core = build(core, keys);
        let Parts { journal, path, inbox, shared, machine } = parts;
        let verifier = core.verifier();
        let (links, figures) = (BTreeMap::new(), Figures::default());
        let mut ordering = Thread { core, verifier, journal, machine, outside, links, shared: shared.clone(), figures };
        let ended = ordering.run(&inbox, step).map_err(|source| OrderError { path, source });
        if ended.is_err() {
            // Whatever waits for this thread must not wait for ever.
            inbox.stop();
            shared.lock().unwrap_or_else(PoisonError::into_inner).failed = true;
        }
        ended
    })
}

struct Thread {
    core: Box<dyn OrderCore>,
    verifier: Verifier,
    journal: Journal,
    machine: Box<dyn Machine>,
    outside: Outside,
    links: BTreeMap<Author, LinkSender>,
    shared: Arc<Mutex<Shared>>,
    figures: Figures,
}

impl Thread {
    fn run(&mut self, inbox: &Inbox, first: Step) -> io::Result<()> {
        self.carry_out(first)?;
        let mut waiting = Waiting::new();
        loop {
            let due = self.core.next_wakeup().map(|time| self.outside.clock.instant(time).into_std());
            let batch = inbox.take(due, waiting.is_empty());
            if batch.stop {
                return self.journal.sync().map(|_| ());
            }
            waiting = self.serve(batch, waiting)?;
            self.tell();
        }
    }

    fn serve(&mut self, batch: Batch, mut waiting: Waiting) -> io::Result<Waiting> {
        for change in batch.links {
            self.on_link(change)?;
        }
        let now = self.outside.clock.now();
        self.figures.frames_in += batch.frames.len() as u64;
        let (mut senders, mut opened) = (Vec::new(), Vec::new());
        for (from, frame) in batch.frames {
            if let Some(frame) = self.core.open(now, from, &frame) {
                senders.push(from);
                opened.push(frame);
            }
        }
        if !opened.is_empty() {
            let checked = senders.into_iter().zip(self.verifier.verify_all(opened)).collect();
            let step = self.core.on_many(&mut self.outside.cx(), checked);
            self.carry_out(step)?;
        }
        waiting.extend(batch.submitted);
        if !waiting.is_empty() {
            let (step, refused) = self.core.submit_all(&mut self.outside.cx(), waiting);
            self.carry_out(step)?;
            waiting = refused;
        }
        if self.core.next_wakeup().is_some_and(|time| time <= self.outside.clock.now()) {
            let step = self.core.on_wakeup(&mut self.outside.cx());
            self.carry_out(step)?;
        }
        Ok(waiting)
    }

    fn on_link(&mut self, change: Change) -> io::Result<()> {
        match change {
            Change::Up(author, sender) => {
                self.links.insert(author, sender);
                let step = self.core.on_peer_up(&mut self.outside.cx(), author);
                self.carry_out(step)
            }
            Change::Down(author) => {
                self.links.remove(&author);
                Ok(())
            }
        }
    }

    /// Effects in order, each durable before what stands on it is sent; then events, in order.
    fn carry_out(&mut self, step: Step) -> io::Result<()> {
        let mut steps = vec![step];
        while let Some(Step { effects, events }) = steps.pop() {
            for effect in effects {
                match effect {
                    Effect::Persist(records) => self.journal.append(&records)?,
                    Effect::Send { to, frame } => {
                        self.sync()?;
                        let frame = wire::ordering(&frame);
                        to.iter().for_each(|to| self.send(to, &frame));
                    }
                }
            }
            let mut states = Vec::new();
            for event in events {
                states.extend(self.on_event(event));
            }
            for (position, state) in states {
                steps.push(self.core.provide_state(&mut self.outside.cx(), position, state));
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let began = Instant::now();
        if self.journal.sync()? {
            self.figures.syncs += 1;
            self.figures.sync_time += began.elapsed();
        }
        Ok(())
    }

    fn send(&mut self, to: Author, frame: &bytes::Bytes) {
        let Some(link) = self.links.get(&to) else { return };
        // A queue that is full means a slow leader. It asks for what it lacks; a link that is gone reports itself.
        match link.send(link::Class::Data, frame.clone()) {
            Ok(()) => self.figures.frames_out += 1,
            Err(_) => self.figures.frames_dropped += 1,
        }
    }

    /// Tells the machine; a state that is due is taken from it at once.
    fn on_event(&mut self, event: Event) -> Option<(u64, Vec<u8>)> {
        match event {
            Event::Sequenced(entry) => self.machine.on_entry(&entry),
            Event::Certified(_) => {}
            Event::CheckpointDue { position } => return Some((position, self.machine.state())),
            Event::Installed { position, index, application, .. } => {
                info!(position, index, "the order goes on behind a certified state");
                self.machine.install(index, application);
            }
            Event::Uncertain(messages) => self.machine.on_uncertain(messages),
            Event::Convicted(author) => warn!(%author, "signed two blocks for one round: it is on record"),
            Event::Equivocation(evidence) => debug!(author = %evidence.author, "two blocks for one round"),
            Event::Blamed(author, fault) => {
                self.figures.faults += 1;
                debug!(%author, %fault, "deviated in the order");
            }
            Event::StateTooLarge { position } => {
                warn!(position, "the application's state is too large for a checkpoint: nothing can be let go");
            }
            Event::Diverged { position } => {
                warn!(
                    position,
                    "f+1 leaders certify another state than this leader has: its disk or program is at fault"
                );
            }
        }
        None
    }

    fn tell(&mut self) {
        let core = self.core.figures();
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.figures = Figures {
            round: core.round,
            position: core.position,
            entries: core.entries,
            bytes: core.bytes as u64,
            is_catching_up: core.is_catching_up,
            ..self.figures
        };
    }
}
