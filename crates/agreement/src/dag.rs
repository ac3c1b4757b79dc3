//! The accepted blocks: each with all that it names, above the floor.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::block::Sealed;
use crate::ids::{Author, AuthorSet, Digest, Reference};
use crate::rules::COIN_WAVE;

/// Rounds back over which it is remembered which block another one supports.
pub const SUPPORT_DEPTH: u64 = COIN_WAVE - 2;

/// An accepted block and what is known of it.
#[derive(Clone, Debug)]
pub struct Node {
    sealed: Sealed,
    /// For each depth from 1 and each author: the block of that author, so many rounds back, that comes first when one
    /// follows the parents in their order, depth first.
    support: Vec<Option<Digest>>,
    /// Authors of blocks that name it as a parent.
    children: AuthorSet,
}

impl Node {
    /// The block.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// Authors whose blocks of the next round name it as a parent.
    pub fn children(&self) -> AuthorSet {
        self.children
    }
}

/// Blocks by round, author and hash. Grows by whole histories and shrinks from below.
#[derive(Clone, Debug, Default)]
pub struct Dag {
    n: u8,
    nodes: BTreeMap<Reference, Node>,
    authors: BTreeMap<u64, AuthorSet>,
    /// Blocks that the own newest block does not have in its history.
    uncovered: BTreeSet<Reference>,
    bytes: usize,
}

impl Dag {
    /// No blocks, of a group of `n`.
    pub fn new(n: u8) -> Self {
        Dag { n, ..Dag::default() }
    }

    /// Puts in a block whose references are here, consumed or below the floor. Returns its parents that `quorum` authors
    /// name now, and fewer did before; `None` if the block is here already.
    pub fn insert(&mut self, sealed: Sealed, quorum: usize) -> Option<Vec<Reference>> {
        let reference = sealed.reference();
        if self.nodes.contains_key(&reference) {
            return None;
        }
        let support = self.supported_by(&sealed);
        let mut certified = Vec::new();
        for parent in sealed.body().parents() {
            let Some(node) = self.nodes.get_mut(&parent) else { continue };
            let before = node.children.len();
            node.children = node.children.with(reference.author);
            if before < quorum && node.children.len() >= quorum {
                certified.push(parent);
            }
        }
        self.bytes += sealed.bytes();
        let authors = self.authors.entry(reference.round).or_default();
        *authors = authors.with(reference.author);
        self.nodes.insert(reference, Node { sealed, support, children: AuthorSet::EMPTY });
        self.uncovered.insert(reference);
        Some(certified)
    }

    fn supported_by(&self, sealed: &Sealed) -> Vec<Option<Digest>> {
        let n = usize::from(self.n);
        let mut support = vec![None; n * SUPPORT_DEPTH as usize];
        for parent in sealed.body().parents() {
            if let Some(first @ None) = support.get_mut(parent.author.index()) {
                *first = Some(parent.digest);
            }
            let Some(node) = self.nodes.get(&parent) else { continue };
            // The parent's depth d is this block's depth d + 1.
            for (first, found) in support.iter_mut().skip(n).zip(&node.support) {
                if first.is_none() {
                    *first = *found;
                }
            }
        }
        support
    }

    /// The block of `author` in `round` that the block `node` supports.
    pub fn supports(&self, node: &Node, round: u64, author: Author) -> Option<Digest> {
        let depth = node.sealed.reference().round.checked_sub(round).filter(|d| (1..=SUPPORT_DEPTH).contains(d))?;
        let place = usize::try_from(depth - 1).ok()? * usize::from(self.n) + author.index();
        node.support.get(place).copied().flatten()
    }

    /// An accepted block.
    pub fn get(&self, reference: &Reference) -> Option<&Node> {
        self.nodes.get(reference)
    }

    /// Whether a block is accepted.
    pub fn has(&self, reference: &Reference) -> bool {
        self.nodes.contains_key(reference)
    }

    /// The blocks of some rounds, in order.
    pub fn rounds(&self, rounds: RangeInclusive<u64>) -> impl DoubleEndedIterator<Item = (&Reference, &Node)> {
        let (low, high) = (*rounds.start(), rounds.end().saturating_add(1));
        let end = Reference::lowest(high.max(low));
        self.nodes.range(Reference::lowest(low)..end)
    }

    /// The blocks of one round.
    pub fn round(&self, round: u64) -> impl DoubleEndedIterator<Item = (&Reference, &Node)> {
        self.rounds(round..=round)
    }

    /// The first accepted block of an author and round, by hash.
    pub fn variant(&self, round: u64, author: Author) -> Option<&Node> {
        self.round(round).find(|(reference, _)| reference.author == author).map(|(_, node)| node)
    }

    /// Authors of the blocks of a round.
    pub fn authors(&self, round: u64) -> AuthorSet {
        self.authors.get(&round).copied().unwrap_or_default()
    }

    /// The highest round with a block.
    pub fn highest(&self) -> u64 {
        self.authors.keys().next_back().copied().unwrap_or(0)
    }

    /// The lowest round with a block.
    pub fn lowest(&self) -> u64 {
        self.authors.keys().next().copied().unwrap_or(0)
    }

    /// The highest round of an author's blocks.
    pub fn highest_of(&self, author: Author) -> u64 {
        self.authors.iter().rev().find(|(_, authors)| authors.has(author)).map_or(0, |(round, _)| *round)
    }

    /// The highest round with blocks of so many authors.
    pub fn highest_of_many(&self, many: usize) -> u64 {
        self.authors.iter().rev().find(|(_, authors)| authors.len() >= many).map_or(0, |(round, _)| *round)
    }

    /// Bytes of all blocks.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no block.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Every block that `from` reaches and `goes_on` lets through, each once; `from` itself too.
    pub fn history(&self, from: &[Reference], mut goes_on: impl FnMut(&Reference, &Node) -> bool) -> Vec<Reference> {
        let mut seen: BTreeMap<Reference, ()> = BTreeMap::new();
        let mut stack: Vec<Reference> = from.to_vec();
        while let Some(reference) = stack.pop() {
            let Some(node) = self.nodes.get(&reference) else { continue };
            if seen.contains_key(&reference) || !goes_on(&reference, node) {
                continue;
            }
            seen.insert(reference, ());
            stack.extend(node.sealed.references());
        }
        seen.into_keys().collect()
    }

    /// The own newest block is `own`: its history is covered.
    pub fn cover(&mut self, own: &Reference) {
        for reference in self.history(std::slice::from_ref(own), |name, _| self.uncovered.contains(name)) {
            self.uncovered.remove(&reference);
        }
    }

    /// Blocks that the own newest block does not have in its history, lowest first.
    pub fn uncovered(&self) -> impl Iterator<Item = &Reference> {
        self.uncovered.iter()
    }

    /// Lets go of all blocks up to `round`.
    pub fn drop_to(&mut self, round: u64) {
        while let Some(entry) = self.nodes.first_entry().filter(|entry| entry.key().round <= round) {
            self.bytes = self.bytes.saturating_sub(entry.get().sealed.bytes());
            entry.remove();
        }
        self.uncovered = self.uncovered.split_off(&Reference::lowest(round + 1));
        while self.authors.first_entry().is_some_and(|entry| *entry.key() <= round) {
            self.authors.pop_first();
        }
    }
}
