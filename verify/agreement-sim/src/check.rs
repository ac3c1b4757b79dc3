//! What every honest leader tells, held against what all others tell and what was submitted.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_agreement::block::messages;
use ringfort_agreement::sequence::Entry;
use ringfort_agreement::{Author, AuthorSet, Digest, Event, Reference};

/// How far a leader's application is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// Entries taken.
    pub index: u64,
    /// Hash of all of them.
    pub hash: Digest,
    /// Time of the last.
    pub time_us: u64,
    /// Committed blocks.
    pub position: u64,
}

impl Application {
    /// The state as bytes; of more than one part.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.index.to_le_bytes());
        bytes.extend_from_slice(&self.time_us.to_le_bytes());
        bytes.extend_from_slice(&self.position.to_le_bytes());
        bytes.extend_from_slice(&self.hash.0);
        bytes.resize(70_000, 7);
        bytes
    }

    /// The state that `bytes` are.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |place: usize| Some(u64::from_le_bytes(*bytes.get(place * 8..)?.first_chunk::<8>()?));
        let hash = Digest(*bytes.get(24..)?.first_chunk::<32>()?);
        Some(Application { index: number(0)?, time_us: number(1)?, position: number(2)?, hash })
    }
}

/// All checkers of a run.
#[derive(Debug, Default)]
pub struct Checks {
    /// Leaders that follow the protocol.
    pub honest: AuthorSet,
    /// What was found.
    pub violations: Vec<String>,
    /// The log, as whoever came first told it.
    pub log: BTreeMap<u64, Reference>,
    /// The application's hash before each index, and the head of the log.
    hashes: BTreeMap<u64, Digest>,
    applications: BTreeMap<Author, Application>,
    /// Messages given to honest leaders, and those whose leader lost them in a crash before they were in a block.
    pub submitted: BTreeMap<Vec<u8>, Author>,
    /// Messages of which it is not known whether their block got out.
    pub excused: BTreeSet<Vec<u8>>,
    delivered: BTreeMap<Vec<u8>, u64>,
    rounds: BTreeMap<(Author, u64), u64>,
    /// Blocks delivered as reliable.
    pub certified: BTreeMap<(Author, u64), Reference>,
    positions: BTreeMap<u64, (u64, u64)>,
    /// Faults told, by whom they are of.
    pub blamed: BTreeMap<Author, u64>,
    /// Authors on record.
    pub convicted: AuthorSet,
    /// Installed states.
    pub installed: u64,
}

impl Checks {
    /// A checker of a run.
    pub fn new(honest: AuthorSet) -> Self {
        Checks { honest, ..Checks::default() }
    }

    fn complain(&mut self, text: String) {
        if self.violations.len() < 20 {
            self.violations.push(text);
        }
    }

    /// A leader's process starts again: its application starts with it.
    pub fn restart(&mut self, who: Author) {
        self.applications.remove(&who);
    }

    /// How far a leader's application is.
    pub fn application(&self, who: Author) -> Application {
        self.applications.get(&who).cloned().unwrap_or_default()
    }

    /// Messages that every honest leader should have in its log.
    pub fn undelivered(&self) -> usize {
        let missing = |message: &&Vec<u8>| !self.delivered.contains_key(*message) && !self.excused.contains(*message);
        self.submitted.keys().filter(missing).count()
    }

    /// An honest leader tells an event.
    pub fn event(&mut self, who: Author, event: &Event, now_us: u64) {
        match event {
            Event::Sequenced(entry) => self.sequenced(who, entry, now_us),
            Event::Certified(sealed) => self.reliable(who, sealed.reference()),
            Event::Installed { index, application, .. } => self.installed(who, *index, application),
            Event::Convicted(author) => {
                self.convicted = self.convicted.with(*author);
                if self.honest.has(*author) {
                    self.complain(format!("{who} convicts honest {author}"));
                }
            }
            Event::Equivocation(evidence) if self.honest.has(evidence.author) => {
                self.complain(format!("{who} has evidence against honest {}", evidence.author));
            }
            Event::Blamed(author, fault) => {
                *self.blamed.entry(*author).or_default() += 1;
                if self.honest.has(*author) {
                    self.complain(format!("{who} blames honest {author}: {fault}"));
                }
            }
            Event::Diverged { position } => self.complain(format!("{who} diverges at {position}")),
            Event::Uncertain(messages) => self.excused.extend(messages.iter().cloned()),
            Event::Equivocation(_) | Event::CheckpointDue { .. } | Event::StateTooLarge { .. } => {}
        }
    }

    fn sequenced(&mut self, who: Author, entry: &Entry, now_us: u64) {
        let reference = entry.block.reference();
        let mut application = self.application(who);
        if application.index != entry.index {
            self.complain(format!("{who} has a gap: index {} after {}", entry.index, application.index));
        }
        let told = *self.log.entry(entry.index).or_insert(reference);
        if told != reference {
            self.complain(format!("{who} has {reference:?} at {}, another has {told:?}", entry.index));
        }
        if entry.position > application.position && entry.time_us <= application.time_us
            || entry.position < application.position
        {
            self.complain(format!("{who}: time or position does not rise at {}", entry.index));
        }
        let place = *self.positions.entry(entry.index).or_insert((entry.position, entry.time_us));
        if place != (entry.position, entry.time_us) {
            self.complain(format!("{who}: another time or position at {}", entry.index));
        }
        if entry.time_us > now_us + 1000 {
            self.complain(format!("{who}: the log's time {} is ahead of every honest clock", entry.time_us));
        }
        self.integrity(who, entry, reference);
        let mut bytes = application.hash.0.to_vec();
        bytes.extend_from_slice(&reference.digest.0);
        let hash = Digest::of("simulated application", &bytes);
        application = Application { index: entry.index + 1, hash, time_us: entry.time_us, position: entry.position };
        self.hashes.insert(application.index, hash);
        self.applications.insert(who, application);
    }

    fn integrity(&mut self, who: Author, entry: &Entry, reference: Reference) {
        if !self.honest.has(reference.author) {
            return;
        }
        let first = *self.rounds.entry((reference.author, reference.round)).or_insert(entry.index);
        if first != entry.index {
            self.complain(format!("{who}: {} is in the log twice for round {}", reference.author, reference.round));
        }
        for message in messages(&entry.block.body().payload) {
            if self.submitted.get(message) != Some(&reference.author) {
                self.complain(format!("{who}: {} never submitted a message of {reference:?}", reference.author));
            }
            let at = *self.delivered.entry(message.to_vec()).or_insert(entry.index);
            if at != entry.index {
                let other = self.log.get(&at);
                self.complain(format!(
                    "{who}: message {:?} is in the log at {at} {other:?} and {} {reference:?}",
                    message.get(..8),
                    entry.index
                ));
            }
        }
    }

    fn reliable(&mut self, who: Author, reference: Reference) {
        let told = *self.certified.entry((reference.author, reference.round)).or_insert(reference);
        if told != reference {
            self.complain(format!("{who} delivers {reference:?} as reliable, another {told:?}"));
        }
    }

    fn installed(&mut self, who: Author, index: u64, application: &[u8]) {
        self.installed += 1;
        let before = self.application(who).index;
        if index < before {
            self.complain(format!("{who} goes back from {before} to {index}"));
        }
        match Application::from_bytes(application) {
            Some(state) if state.index == index && self.hashes.get(&index) == Some(&state.hash) => {
                self.applications.insert(who, state);
            }
            _ => self.complain(format!("{who} installs a state at {index} that no honest leader had")),
        }
    }

    /// Every block delivered as reliable, of rounds that all are well past, is in the log.
    pub fn reliable_is_kept(&mut self, below_round: u64) {
        let in_log: BTreeSet<Reference> = self.log.values().copied().collect();
        let lost = |(_, reference): &(&(Author, u64), &Reference)| {
            reference.round < below_round && !in_log.contains(*reference)
        };
        let lost: Vec<Reference> = self.certified.iter().filter(lost).map(|(_, reference)| *reference).collect();
        for reference in lost {
            self.complain(format!("{reference:?} was delivered as reliable and is not in the log"));
        }
    }
}
