//! Checkpoints: states that `f + 1` leaders vouch for, so that older blocks can be let go and who was away can catch up.
//!
//! A checkpoint is a place in the log, not a time. `f + 1` equal signed statements certify one: an honest leader is among
//! them. Equal *statements* are counted, never answers. A certificate can be handed on, so whoever let blocks go can
//! always show why.

use std::collections::BTreeMap;
use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use ringfort_kernel::{Time, codec};

use crate::ids::{Author, Digest};
use crate::limits::{PART_BYTES, STATE_BYTES_MAX};
use crate::rules::Rules;
use crate::sequence::Log;
use crate::wire::PartName;

/// Checkpoints of which an author's statements, and own states, are kept.
const KEPT: usize = 2;
/// How long a state is kept for a peer that fetches it, in all and without a question.
const PINNED_MAX: Duration = Duration::from_secs(120);
const PINNED_IDLE: Duration = Duration::from_secs(10);

/// What a leader says of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Statement {
    /// The group and the time that it is for.
    pub epoch: Digest,
    /// Committed blocks up to it.
    pub position: u64,
    /// The round of the last of them.
    pub round: u64,
    /// Entries of the log up to it.
    pub index: u64,
    /// Hash of the log up to it.
    pub head: Digest,
    /// Hash of the list of hashes of the state's parts.
    pub state: Digest,
    /// Bytes of the state.
    pub state_bytes: u64,
}

/// What the signature of a statement covers.
pub fn signed_bytes(statement: &Statement) -> Vec<u8> {
    codec::encode(statement)
}

/// A statement with its author's signature.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Signed {
    /// Who says it.
    pub author: Author,
    /// What.
    pub statement: Statement,
    /// The signature.
    pub signature: [u8; 64],
}

/// A statement with the signatures of `f + 1` leaders.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certificate {
    /// What they say.
    pub statement: Statement,
    /// Their signatures.
    pub signatures: Vec<(Author, [u8; 64])>,
}

impl Certificate {
    /// Each signer's statement.
    pub fn signed(&self) -> impl Iterator<Item = Signed> + '_ {
        let statement = self.statement;
        self.signatures.iter().map(move |(author, signature)| Signed {
            author: *author,
            statement,
            signature: *signature,
        })
    }
}

/// A state as it is handed over: the log's end and the application's own bytes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct State {
    /// The log's end.
    pub log: Log,
    /// What the application gave.
    pub application: Vec<u8>,
}

/// The bytes of a state, cut into parts of which each has its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    bytes: Bytes,
    list: Bytes,
}

/// The hash of one part.
pub fn part_digest(bytes: &[u8]) -> Digest {
    Digest::of("ringfort agreement part v1", bytes)
}

/// The hash of the list of the parts' hashes.
pub fn list_digest(list: &[u8]) -> Digest {
    Digest::of("ringfort agreement parts v1", list)
}

impl Parts {
    /// Cuts a state into parts; `None` if it is larger than allowed.
    pub fn of(state: &State) -> Option<Self> {
        let bytes = codec::encode(state);
        if bytes.len() > STATE_BYTES_MAX {
            return None;
        }
        let digests: Vec<Digest> = bytes.chunks(PART_BYTES).map(part_digest).collect();
        Some(Parts { bytes: bytes.into(), list: codec::encode(&digests).into() })
    }

    /// All bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The hash that a statement names.
    pub fn digest(&self) -> Digest {
        list_digest(&self.list)
    }

    /// Part `number`: 0 is the list of hashes.
    pub fn part(&self, number: u32) -> Option<Bytes> {
        match (number as usize).checked_sub(1) {
            None => Some(self.list.clone()),
            Some(place) => {
                let start = place.checked_mul(PART_BYTES).filter(|start| *start < self.bytes.len())?;
                Some(self.bytes.slice(start..self.bytes.len().min(start + PART_BYTES)))
            }
        }
    }
}

/// A state that no checkpoint may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// What came of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing new.
    Nothing,
    /// Its author signed another one for the same checkpoint.
    Contradicts,
    /// It is certified now.
    Certified(News),
}

/// What a certificate changes, each once for a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is the newest that was heard of.
    Newer,
    /// This leader has the state, which is certified now.
    Settled,
    /// This leader said something else of it: its state is not the group's.
    Diverges,
}

/// Checkpoints that are due, stated, certified.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    rules: Rules,
    due: BTreeMap<u64, Log>,
    own: BTreeMap<u64, (Statement, Parts)>,
    heard: BTreeMap<Author, BTreeMap<u64, Signed>>,
    stable: BTreeMap<u64, (Certificate, Parts)>,
    newest: Option<Certificate>,
    /// States that a peer is fetching: kept for it, one for each peer.
    pins: BTreeMap<Author, Pin>,
}

/// A state that a peer is fetching.
#[derive(Clone, Copy, Debug)]
struct Pin {
    position: u64,
    since: Time,
    asked: Time,
}

impl Pin {
    fn holds(&self, now: Time) -> bool {
        now.since(self.since) < PINNED_MAX && now.since(self.asked) < PINNED_IDLE
    }
}

impl Checkpoints {
    /// No checkpoint.
    pub fn new(rules: Rules) -> Self {
        Checkpoints {
            rules,
            due: BTreeMap::new(),
            own: BTreeMap::new(),
            heard: BTreeMap::new(),
            stable: BTreeMap::new(),
            newest: None,
            pins: BTreeMap::new(),
        }
    }

    /// The log has come to a checkpoint: its end is kept until the application gives its state.
    pub fn due(&mut self, log: &Log) {
        self.due.insert(log.position, log.clone());
        keep_newest(&mut self.due);
    }

    /// The application's state at `position`: returns what this leader says of it, once.
    ///
    /// # Errors
    /// [`TooLarge`] if the state is; no checkpoint comes of it.
    pub fn provide(
        &mut self,
        epoch: Digest,
        position: u64,
        application: Vec<u8>,
    ) -> Result<Option<Statement>, TooLarge> {
        let Some(log) = self.due.remove(&position) else { return Ok(None) };
        let state = State { log, application };
        let parts = Parts::of(&state).ok_or(TooLarge)?;
        let statement = Statement {
            epoch,
            position,
            round: state.log.round,
            index: state.log.index,
            head: state.log.head,
            state: parts.digest(),
            state_bytes: parts.bytes().len() as u64,
        };
        self.own.insert(position, (statement, parts));
        keep_newest(&mut self.own);
        Ok(Some(statement))
    }

    /// Whether a statement may change anything: else its signature need not be checked.
    pub fn needs(&self, signed: &Signed) -> bool {
        let position = signed.statement.position;
        let said = self.heard.get(&signed.author).and_then(|said| said.get(&position));
        self.is_open(position) && said.is_none_or(|said| said.statement != signed.statement)
    }

    /// Whether a certificate may change anything.
    pub fn needs_certificate(&self, certificate: &Certificate) -> bool {
        let newest = self.newest.as_ref();
        self.is_open(certificate.statement.position)
            && newest.is_none_or(|newest| newest.statement != certificate.statement)
    }

    /// Whether no certified state of this place or a later one is held.
    fn is_open(&self, position: u64) -> bool {
        self.stable.last_key_value().is_none_or(|(stable, _)| *stable < position)
    }

    /// A signed statement that holds, own or a peer's.
    pub fn hear(&mut self, signed: Signed) -> Heard {
        let position = signed.statement.position;
        let of_author = self.heard.entry(signed.author).or_default();
        if let Some(before) = of_author.get(&position) {
            return if before.statement == signed.statement { Heard::Nothing } else { Heard::Contradicts };
        }
        of_author.insert(position, signed.clone());
        keep_newest(of_author);
        let statement = signed.statement;
        let equal = |by: &BTreeMap<u64, Signed>| by.get(&position).filter(|s| s.statement == statement).cloned();
        let signatures: Vec<(Author, [u8; 64])> =
            self.heard.values().filter_map(equal).map(|s| (s.author, s.signature)).collect();
        let known = self.newest.clone().filter(|newest| newest.statement == statement);
        let counted = (signatures.len() >= self.rules.statements()).then_some(Certificate { statement, signatures });
        let Some(certificate) = counted.or(known) else { return Heard::Nothing };
        self.certified(certificate).map_or(Heard::Nothing, Heard::Certified)
    }

    /// A certificate that holds. What it changes is told once: a repeat, or one of a place that was passed, is no news.
    pub fn certified(&mut self, certificate: Certificate) -> Option<News> {
        let position = certificate.statement.position;
        let is_newer = self.newest.as_ref().is_none_or(|newest| newest.statement.position < position);
        if is_newer {
            self.newest = Some(certificate.clone());
        }
        match self.own.get(&position) {
            None => is_newer.then_some(News::Newer),
            Some((statement, _)) if *statement != certificate.statement => {
                self.own.remove(&position);
                Some(News::Diverges)
            }
            Some((_, parts)) => {
                let parts = parts.clone();
                self.settle(certificate, parts);
                Some(News::Settled)
            }
        }
    }

    /// A certified state is held: older ones go.
    pub fn settle(&mut self, certificate: Certificate, parts: Parts) {
        let position = certificate.statement.position;
        if self.newest.as_ref().is_none_or(|newest| newest.statement.position < position) {
            self.newest = Some(certificate.clone());
        }
        self.stable.insert(position, (certificate, parts));
        let newest: Vec<u64> = self.stable.keys().rev().take(KEPT).copied().collect();
        let pinned: Vec<u64> = self.pins.values().map(|pin| pin.position).collect();
        self.stable.retain(|position, _| newest.contains(position) || pinned.contains(position));
        self.own.retain(|other, _| *other > position);
        self.due.retain(|other, _| *other > position);
    }

    /// The newest certified checkpoint whose state is held.
    pub fn stable(&self) -> Option<&(Certificate, Parts)> {
        self.stable.values().next_back()
    }

    /// The newest certified checkpoint that was heard of.
    pub fn newest(&self) -> Option<&Certificate> {
        self.newest.as_ref()
    }

    /// A part of a held state, which is kept for the peer that asks as long as it goes on asking.
    pub fn part(&mut self, now: Time, peer: Author, name: PartName) -> Option<Bytes> {
        self.pins.retain(|_, pin| pin.holds(now));
        let part = self.stable.get(&name.position)?.1.part(name.part)?;
        let pin = self.pins.entry(peer).or_insert(Pin { position: name.position, since: now, asked: now });
        if pin.position == name.position {
            pin.asked = now;
        }
        Some(part)
    }

    /// What leader `me` said of checkpoints that are not certified yet, to be said again as it was signed.
    pub fn unsettled(&self, me: Author) -> Vec<Signed> {
        let said = self.heard.get(&me).into_iter().flatten();
        said.filter(|(position, _)| self.own.contains_key(position)).map(|(_, signed)| signed.clone()).collect()
    }

    /// Bytes of states held.
    pub fn bytes(&self) -> usize {
        let own = self.own.values().map(|(_, parts)| parts.bytes().len());
        own.chain(self.stable.values().map(|(_, parts)| parts.bytes().len())).sum()
    }
}

fn keep_newest<T>(by_position: &mut BTreeMap<u64, T>) {
    while by_position.len() > KEPT {
        by_position.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{EPOCH, statement};

    fn signed(place: u8, statement: Statement) -> Signed {
        Signed { author: Author::new(place).unwrap(), statement, signature: [place; 64] }
    }

    fn at(position: u64) -> Log {
        Log { position, ..Log::default() }
    }

    fn own(checkpoints: &mut Checkpoints, position: u64) -> Statement {
        checkpoints.due(&at(position));
        checkpoints.provide(EPOCH, position, vec![1]).unwrap().unwrap()
    }

    #[test]
    fn equal_statements_are_counted_and_not_answers() {
        let mut checkpoints = Checkpoints::new(Rules::new(7, 2).unwrap());
        for place in 0..3 {
            assert_eq!(checkpoints.hear(signed(place, statement(5, place))), Heard::Nothing, "all differ");
        }
        assert_eq!(checkpoints.hear(signed(3, statement(5, 1))), Heard::Nothing, "two are equal");
        assert_eq!(checkpoints.hear(signed(4, statement(5, 1))), Heard::Certified(News::Newer), "three are");
        let certificate = checkpoints.newest().unwrap();
        assert_eq!(certificate.statement, statement(5, 1));
        assert_eq!(certificate.signatures.len(), 3);
    }

    #[test]
    fn a_leader_that_says_two_things_of_one_checkpoint_is_told_and_counted_once() {
        let mut checkpoints = Checkpoints::new(Rules::new(4, 1).unwrap());
        assert_eq!(checkpoints.hear(signed(0, statement(5, 1))), Heard::Nothing);
        assert_eq!(checkpoints.hear(signed(0, statement(5, 1))), Heard::Nothing, "said again");
        assert_eq!(checkpoints.hear(signed(0, statement(5, 2))), Heard::Contradicts);
        assert_eq!(
            checkpoints.hear(signed(1, statement(5, 2))),
            Heard::Nothing,
            "the second word of the other is none"
        );
    }

    #[test]
    fn statements_of_far_checkpoints_take_no_more_room_than_their_author_has() {
        let mut checkpoints = Checkpoints::new(Rules::new(4, 1).unwrap());
        for position in 0..1000 {
            let _ = checkpoints.hear(signed(3, statement(u64::MAX - position, 1)));
        }
        assert_eq!(checkpoints.heard.values().map(BTreeMap::len).sum::<usize>(), KEPT);
        let _ = checkpoints.hear(signed(0, statement(5, 1)));
        assert!(matches!(checkpoints.hear(signed(1, statement(5, 1))), Heard::Certified(_)));
    }

    #[test]
    fn a_checkpoint_is_settled_once_however_often_it_is_certified() {
        let mut checkpoints = Checkpoints::new(Rules::new(4, 1).unwrap());
        let mine = own(&mut checkpoints, 5);
        assert_eq!(checkpoints.hear(signed(0, mine)), Heard::Nothing);
        assert!(checkpoints.needs(&signed(1, mine)));
        assert_eq!(checkpoints.hear(signed(1, mine)), Heard::Certified(News::Settled));
        let certificate = checkpoints.stable().unwrap().0.clone();
        assert!(!checkpoints.needs_certificate(&certificate) && !checkpoints.needs(&signed(2, mine)));
        for _ in 0..3 {
            assert_eq!(checkpoints.certified(certificate.clone()), None);
            assert_eq!(checkpoints.hear(signed(2, mine)), Heard::Nothing);
            for position in [u64::MAX, u64::MAX - 1] {
                // What it said is pushed out, and comes as new.
                let _ = checkpoints.hear(signed(2, statement(position, 1)));
            }
        }
        assert_eq!(checkpoints.certified(Certificate { statement: statement(4, 1), signatures: Vec::new() }), None);
    }

    #[test]
    fn another_state_than_the_certified_one_is_told_once() {
        let mut checkpoints = Checkpoints::new(Rules::new(4, 1).unwrap());
        own(&mut checkpoints, 5);
        let certificate = Certificate { statement: statement(5, 1), signatures: Vec::new() };
        assert_eq!(checkpoints.certified(certificate.clone()), Some(News::Diverges));
        assert_eq!(checkpoints.certified(certificate), None);
    }

    #[test]
    fn what_was_said_of_a_checkpoint_is_said_again_as_it_was_signed_until_it_is_certified() {
        let mut checkpoints = Checkpoints::new(Rules::new(4, 1).unwrap());
        let mine = own(&mut checkpoints, 5);
        let _ = checkpoints.hear(signed(0, mine));
        assert_eq!(checkpoints.unsettled(Author::new(0).unwrap()), [signed(0, mine)]);
        let _ = checkpoints.hear(signed(1, mine));
        assert_eq!(checkpoints.unsettled(Author::new(0).unwrap()), []);
    }

    #[test]
    fn a_state_that_is_too_large_is_refused() {
        let mut checkpoints = Checkpoints::new(Rules::new(4, 1).unwrap());
        checkpoints.due(&at(5));
        assert_eq!(checkpoints.provide(EPOCH, 5, vec![0; STATE_BYTES_MAX]), Err(TooLarge));
        assert_eq!(checkpoints.provide(EPOCH, 5, vec![0; 5]), Ok(None), "it is due no more");
    }

    #[test]
    fn a_state_that_is_being_fetched_is_kept_as_long_as_parts_are_asked_for() {
        let rules = Rules::new(4, 1).unwrap();
        let mut checkpoints = Checkpoints::new(rules);
        let time = |secs| Time::from_start(Duration::from_secs(secs));
        let settle = |checkpoints: &mut Checkpoints, position| {
            let state = State { log: at(position), application: vec![1] };
            let certificate = Certificate { statement: statement(position, 1), signatures: Vec::new() };
            checkpoints.settle(certificate, Parts::of(&state).unwrap());
        };
        let (peer, name) = (Author::new(2).unwrap(), PartName { position: 1, part: 0 });
        settle(&mut checkpoints, 1);
        assert!(checkpoints.part(time(0), peer, name).is_some());
        (2..9).for_each(|position| settle(&mut checkpoints, position));
        assert!(checkpoints.part(time(5), peer, name).is_some(), "kept, though seven newer ones came");
        assert_eq!(checkpoints.stable.len(), 3);
        let other = PartName { position: 8, part: 0 };
        assert!(checkpoints.part(time(60), Author::new(1).unwrap(), other).is_some());
        settle(&mut checkpoints, 9);
        settle(&mut checkpoints, 10);
        assert!(checkpoints.part(time(60), peer, name).is_none(), "nobody asked for it for long");
    }
}
