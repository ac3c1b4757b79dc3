//! Blocks that wait for others, and the questions for those.
//!
//! Nothing is kept that was not asked for, but a bounded number of each author's newest blocks. What is asked for was
//! named by a block that is kept; who named it (the *root*) pays for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringfort_kernel::{Budget, Time};

use crate::block::Sealed;
use crate::ids::{Author, AuthorSet, Reference};
use crate::limits::FETCH_MAX;

/// Second blocks of one author and round that one root may bring: at once, and a second.
const VARIANTS_BURST: u64 = 512;
const VARIANTS_PER_SECOND: u64 = 64;
/// The longest wait before a block is asked for again.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Questions after which a block is taken to be hard to get.
const STUCK_TRIES: u32 = 4;

#[derive(Clone, Debug)]
struct Waiting {
    sealed: Sealed,
    missing: BTreeSet<Reference>,
    root: Author,
    asked_for: bool,
}

#[derive(Clone, Debug)]
struct Want {
    root: Author,
    from: Author,
    next_at: Time,
    tries: u32,
}

/// Blocks that wait for others.
#[derive(Clone, Debug)]
pub struct Pending {
    n: u8,
    me: Author,
    retry: Duration,
    waiting: BTreeMap<Reference, Waiting>,
    namers: BTreeMap<Reference, BTreeSet<Reference>>,
    wants: BTreeMap<Reference, Want>,
    variants: Vec<Budget>,
    bytes: usize,
}

impl Pending {
    /// Nothing waits.
    pub fn new(n: u8, me: Author, retry: Duration, now: Time) -> Self {
        let variants = Author::all(n).map(|_| Budget::new(now, VARIANTS_PER_SECOND, VARIANTS_BURST)).collect();
        Pending {
            n,
            me,
            retry,
            waiting: BTreeMap::new(),
            namers: BTreeMap::new(),
            wants: BTreeMap::new(),
            variants,
            bytes: 0,
        }
    }

    /// Whether a block waits here.
    pub fn has(&self, reference: &Reference) -> bool {
        self.waiting.contains_key(reference)
    }

    /// For whose sake a block is asked for.
    pub fn wanted(&self, reference: &Reference) -> Option<Author> {
        self.wants.get(reference).map(|want| want.root)
    }

    /// Whether `root` may bring one more second block of an author and round.
    pub fn pays_for_variant(&mut self, root: Author, now: Time) -> bool {
        self.variants.get_mut(root.index()).is_some_and(|budget| budget.take(now, 1))
    }

    /// Another waiting block of the same author and round.
    pub fn variant(&self, reference: &Reference) -> Option<&Sealed> {
        let round = Reference::lowest(reference.round)..Reference::lowest(reference.round + 1);
        let other = |(other, _): &(&Reference, &Waiting)| other.author == reference.author && *other != reference;
        self.waiting.range(round).find(other).map(|(_, waiting)| &waiting.sealed)
    }

    /// Blocks of an author that wait though nobody's block needs them, and their bytes.
    pub fn unasked_of(&self, author: Author) -> (usize, usize) {
        let unasked = |waiting: &&Waiting| !waiting.asked_for && waiting.sealed.reference().author == author;
        let sum = |(count, bytes), waiting: &Waiting| (count + 1, bytes + waiting.sealed.bytes());
        self.waiting.values().filter(unasked).fold((0, 0), sum)
    }

    /// A block waits for `missing`, which are not accepted; whoever sent it is asked first.
    pub fn suspend(&mut self, now: Time, sealed: Sealed, missing: BTreeSet<Reference>, from: Author) {
        let reference = sealed.reference();
        let want = self.wants.remove(&reference);
        let root = want.as_ref().map_or(reference.author, |want| want.root);
        for name in &missing {
            self.namers.entry(*name).or_default().insert(reference);
            if !self.waiting.contains_key(name) {
                self.wants.entry(*name).or_insert(Want { root, from, next_at: now, tries: 0 });
            }
        }
        self.bytes += sealed.bytes();
        self.waiting.insert(reference, Waiting { sealed, missing, root, asked_for: want.is_some() });
    }

    /// A block is accepted: returns those that waited for it alone.
    pub fn accepted(&mut self, reference: &Reference) -> Vec<Sealed> {
        self.wants.remove(reference);
        let namers = self.namers.remove(reference).unwrap_or_default();
        let mut ready = Vec::new();
        for namer in namers {
            let Some(waiting) = self.waiting.get_mut(&namer) else { continue };
            waiting.missing.remove(reference);
            if waiting.missing.is_empty()
                && let Some(waiting) = self.waiting.remove(&namer)
            {
                self.bytes = self.bytes.saturating_sub(waiting.sealed.bytes());
                ready.push(waiting.sealed);
            }
        }
        ready
    }

    /// Blocks up to `floor` are needed no more: returns those that waited for such alone.
    pub fn drop_to(&mut self, floor: u64) -> Vec<Sealed> {
        let end = Reference::lowest(floor + 1);
        let old: Vec<Reference> = self.waiting.range(..end).map(|(reference, _)| *reference).collect();
        for reference in old {
            self.forget(&reference);
        }
        let names: Vec<Reference> = self.namers.range(..end).map(|(name, _)| *name).collect();
        names.iter().flat_map(|name| self.accepted(name)).collect()
    }

    fn forget(&mut self, reference: &Reference) {
        let Some(waiting) = self.waiting.remove(reference) else { return };
        self.bytes = self.bytes.saturating_sub(waiting.sealed.bytes());
        for name in waiting.missing {
            let Some(namers) = self.namers.get_mut(&name) else { continue };
            namers.remove(reference);
            if namers.is_empty() {
                self.namers.remove(&name);
                self.wants.remove(&name);
            }
        }
    }

    /// Whom to ask for what now: first who sent the block that names it, then those whose blocks name it, then `f + 1` at
    /// once.
    pub fn due(&mut self, now: Time, at_once: usize) -> BTreeMap<Author, Vec<Reference>> {
        let mut questions: BTreeMap<Author, Vec<Reference>> = BTreeMap::new();
        let due: Vec<Reference> = self.wants.iter().filter(|(_, want)| want.next_at <= now).map(|(r, _)| *r).collect();
        for reference in due {
            let namers: AuthorSet =
                self.namers.get(&reference).into_iter().flatten().map(|namer| namer.author).collect();
            let Some(want) = self.wants.get_mut(&reference) else { continue };
            let others: Vec<Author> = Author::all(self.n).filter(|author| *author != self.me).collect();
            let peers: Vec<Author> = match want.tries {
                0 => vec![want.from],
                1 => namers.iter().chain([reference.author]).collect(),
                tries => {
                    let start = (tries as usize).saturating_mul(at_once);
                    let length = others.len();
                    let place = |k: usize| start.wrapping_add(k).checked_rem(length).unwrap_or(0);
                    (0..at_once).filter_map(|k| others.get(place(k)).copied()).collect()
                }
            };
            let wait = self.retry.saturating_mul(1 << want.tries.min(5)).min(RETRY_MAX);
            want.tries = want.tries.saturating_add(1);
            want.next_at = now + wait;
            let asked: AuthorSet = peers.into_iter().collect();
            for peer in asked.without(self.me).iter() {
                let question = questions.entry(peer).or_default();
                if question.len() < FETCH_MAX {
                    question.push(reference);
                }
            }
        }
        questions
    }

    /// Blocks that are asked for.
    pub fn wanted_blocks(&self) -> impl Iterator<Item = &Reference> {
        self.wants.keys()
    }

    /// The lowest round of a block that was asked for again and again.
    pub fn lowest_stuck(&self) -> Option<u64> {
        self.wants.iter().find(|(_, want)| want.tries >= STUCK_TRIES).map(|(reference, _)| reference.round)
    }

    /// When something is to be asked for.
    pub fn next_at(&self) -> Option<Time> {
        self.wants.values().map(|want| want.next_at).min()
    }

    /// Bytes of waiting blocks.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of waiting blocks and of blocks asked for.
    pub fn len(&self) -> (usize, usize) {
        (self.waiting.len(), self.wants.len())
    }

    /// The roots of waiting blocks, for diagnosis.
    pub fn roots(&self) -> AuthorSet {
        self.waiting.values().map(|waiting| waiting.root).collect()
    }
}
