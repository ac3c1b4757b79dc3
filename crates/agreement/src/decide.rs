//! Which blocks are committed: a pure function of the graph and of the coins that are known.
//!
//! A slot names one author and round. Its wave is `w` rounds long: in round `r + w - 2` blocks vote, by which block of the
//! slot they come to first; in round `r + w - 1` a block that names votes of a quorum is a *certificate*.
//!
//! * Certificates of a quorum of authors commit the block.
//! * A quorum of authors that vote for no block of the slot skips it.
//! * Otherwise the slot's *anchor* tells: the first slot from round `r + w` on that is not skipped. If it is undecided, so is
//!   this one; if it is committed, its block's history has a certificate, or has not.
//!
//! Why all agree: two quorums share an honest author, who has one block a round. So a quorum of votes for one block leaves
//! none for another, and no quorum of refusals; and certificates of a quorum meet the history of every block from round
//! `r + w` on, since that names blocks of a quorum of round `r + w - 1`. An anchor below `r + w` would not meet them.
//! Sources: Mysticeti-C §3 and Mahi-Mahi §3, whose rules these are for `w = 3` and `w = 5`.

use std::collections::BTreeMap;

use crate::dag::{Dag, Node};
use crate::ids::{Author, AuthorSet, Digest, Reference, Slot};
use crate::rules::{Rules, SlotKind};

/// What is decided of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This block is committed.
    Commit(Reference),
    /// No block of the slot is.
    Skip,
    /// Not known yet.
    Undecided,
}

/// Who has a slot: the coin says it, or the schedule.
pub trait Slots {
    /// The author of a slot, once it is known.
    fn author(&self, slot: Slot, kind: SlotKind) -> Option<Author>;
}

/// Every slot from `first` on up to the highest round, in order, with its verdict.
pub fn verdicts(dag: &Dag, rules: &Rules, slots: &dyn Slots, first: Slot) -> Vec<(Slot, Verdict)> {
    let mut known: BTreeMap<Slot, Verdict> = BTreeMap::new();
    for round in (first.round..=dag.highest()).rev() {
        let all: Vec<(Slot, SlotKind)> = rules.slots(round).filter(|(slot, _)| *slot >= first).collect();
        for (slot, kind) in all.into_iter().rev() {
            let verdict = match slots.author(slot, kind) {
                None => Verdict::Undecided,
                Some(author) => {
                    let wave = Wave { dag, rules, kind, round, author };
                    match wave.direct() {
                        Verdict::Undecided => wave.indirect(&known),
                        decided => decided,
                    }
                }
            };
            known.insert(slot, verdict);
        }
    }
    known.into_iter().collect()
}

/// One slot with its rounds.
struct Wave<'a> {
    dag: &'a Dag,
    rules: &'a Rules,
    kind: SlotKind,
    round: u64,
    author: Author,
}

impl Wave<'_> {
    fn vote_round(&self) -> u64 {
        self.round + self.kind.wave() - 2
    }

    fn certify_round(&self) -> u64 {
        self.round + self.kind.wave() - 1
    }

    fn vote(&self, node: &Node) -> Option<Digest> {
        self.dag.supports(node, self.round, self.author)
    }

    /// The block that `node` certifies: a quorum of its parents vote for it.
    fn certified_by(&self, node: &Node) -> Option<Digest> {
        let mut votes: BTreeMap<Digest, AuthorSet> = BTreeMap::new();
        for parent in node.sealed().body().parents() {
            if let Some(vote) = self.dag.get(&parent).and_then(|parent| self.vote(parent)) {
                let voters = votes.entry(vote).or_default();
                *voters = voters.with(parent.author);
            }
        }
        votes.into_iter().find(|(_, voters)| voters.len() >= self.rules.votes()).map(|(digest, _)| digest)
    }

    fn direct(&self) -> Verdict {
        // Authors are counted, not blocks: an equivocator has as many blocks as it likes.
        let mut certifiers: BTreeMap<Digest, AuthorSet> = BTreeMap::new();
        for (reference, node) in self.dag.round(self.certify_round()) {
            if let Some(digest) = self.certified_by(node) {
                let authors = certifiers.entry(digest).or_default();
                *authors = authors.with(reference.author);
            }
        }
        if let Some((digest, _)) = certifiers.iter().find(|(_, who)| who.len() >= self.rules.certificates()) {
            return self.commit(*digest);
        }
        let refuses = |(reference, node): (&Reference, &Node)| self.vote(node).is_none().then_some(reference.author);
        let refusers: AuthorSet = self.dag.round(self.vote_round()).filter_map(refuses).collect();
        if refusers.len() >= self.rules.blames() { Verdict::Skip } else { Verdict::Undecided }
    }

    fn indirect(&self, known: &BTreeMap<Slot, Verdict>) -> Verdict {
        let from = Slot { round: self.round + self.rules.anchor_distance(self.kind), index: 0 };
        let anchor = known.range(from..).map(|(_, verdict)| *verdict).find(|verdict| *verdict != Verdict::Skip);
        let Some(Verdict::Commit(anchor)) = anchor else { return Verdict::Undecided };
        let certify = self.certify_round();
        let history = self.dag.history(&[anchor], |reference, _| reference.round >= certify);
        let certified = history
            .iter()
            .take_while(|reference| reference.round == certify)
            .filter_map(|reference| self.dag.get(reference))
            .find_map(|node| self.certified_by(node));
        certified.map_or(Verdict::Skip, |digest| self.commit(digest))
    }

    fn commit(&self, digest: Digest) -> Verdict {
        Verdict::Commit(Reference { round: self.round, author: self.author, digest })
    }
}
