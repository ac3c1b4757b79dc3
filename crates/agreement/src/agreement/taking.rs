//! Taking blocks: what is kept, what is asked for, what is accepted.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use ringfort_kernel::Cx;

use super::Agreement;
use crate::block::{Evidence, Sealed};
use crate::fault::Fault;
use crate::ids::{Author, AuthorSet, Reference};
use crate::limits::{AHEAD_ROUNDS, SUSPENDED_MAX};
use crate::rules::Rule;
use crate::step::{Event, Record};
use crate::wire::Frame;

impl Agreement {
    /// A valid block, signed by its author, from a peer.
    pub(super) fn on_block(&mut self, cx: &mut Cx<'_>, from: Author, sealed: Sealed) {
        let reference = sealed.reference();
        if from == reference.author
            && let Some(peer) = self.peers.get_mut(&from)
        {
            // Its parents are a quorum's blocks of the round before.
            peer.status.quorum_round = peer.status.quorum_round.max(reference.round.saturating_sub(1));
        }
        if self.is_known(&reference) {
            return;
        }
        let wanted = self.pending.wanted(&reference);
        if wanted.is_none() && from != reference.author {
            return; // An answer that came twice.
        }
        let honest_ones = |root: &Author| *root != reference.author && !self.is_shut_out(*root);
        let roots: AuthorSet = wanted.unwrap_or_default().iter().filter(honest_ones).collect();
        if roots.is_empty() && !self.has_room_for(cx, &sealed, wanted.is_some()) {
            return;
        }
        let is_variant = self.note_equivocation(&sealed) && self.config.rules.enforces(Rule::VariantsAsked);
        if is_variant && roots.is_empty() {
            return; // Only its author's blocks name it.
        }
        let payer = match self.pending.payer(roots, sealed.bytes(), is_variant, cx.now) {
            None if !roots.is_empty() => return, // It stays asked for, and is paid for later.
            payer => payer.unwrap_or(reference.author),
        };
        let lacks = |name: &Reference| !self.dag.has(name) && !self.log.is_past(name);
        let missing: BTreeSet<Reference> = sealed.references().filter(lacks).collect();
        if missing.is_empty() {
            self.accept_with_those_that_wait(cx, sealed);
        } else {
            self.pending.suspend(cx.now, sealed, missing, from, payer);
        }
    }

    /// Whether a block that nobody else's block needs is kept: only the newest of each author, within a window, and those
    /// that they name; all of them within the author's own bytes.
    fn has_room_for(&mut self, cx: &Cx<'_>, sealed: &Sealed, is_wanted: bool) -> bool {
        let reference = sealed.reference();
        if !self.config.rules.enforces(Rule::RoundWindow) {
            return true;
        }
        if self.is_shut_out(reference.author) {
            return false;
        }
        if reference.round > self.quorum_round.saturating_add(AHEAD_ROUNDS) {
            self.hurry_status(cx.now);
            return false;
        }
        let unsequenced = self.unsequenced.get(&reference.author).copied().unwrap_or(0);
        let waiting = self.pending.own_of(reference.author);
        let payload = sealed.body().payload.len();
        let sum = unsequenced.saturating_add(waiting.bytes).saturating_add(payload);
        let too_much = payload > 0 && sum > self.config.others_unsequenced_bytes_max();
        !too_much && (is_wanted || waiting.blocks < SUSPENDED_MAX)
    }

    /// Whether there is another block of the same author and round; the first such pair is kept as evidence.
    fn note_equivocation(&mut self, sealed: &Sealed) -> bool {
        let reference = sealed.reference();
        let other = self.dag.variant(reference.round, reference.author).map(crate::dag::Node::sealed);
        let Some(other) = other.or_else(|| self.pending.variant(&reference)) else { return false };
        let pair = Evidence::of((&other.reference(), other.block().signature), (&reference, sealed.block().signature));
        if let Some(evidence) = pair {
            self.note_evidence(evidence);
        }
        true
    }

    fn note_evidence(&mut self, evidence: Evidence) {
        if let Entry::Vacant(place) = self.evidence.entry(evidence.author) {
            place.insert(evidence.clone());
            self.step.events.push(Event::Blamed(evidence.author, Fault::Equivocation));
            self.step.events.push(Event::Equivocation(evidence));
        }
    }

    /// All that a block names is here: it is accepted, and those that waited for it alone after it.
    pub(super) fn accept_with_those_that_wait(&mut self, cx: &mut Cx<'_>, sealed: Sealed) {
        let mut ready = vec![sealed];
        while let Some(sealed) = ready.pop() {
            let reference = sealed.reference();
            if !self.log.is_past(&reference) {
                self.accept(cx, sealed);
            }
            ready.extend(self.pending.accepted(&reference));
        }
    }

    pub(super) fn accept(&mut self, cx: &Cx<'_>, sealed: Sealed) {
        let reference = sealed.reference();
        let quorum = self.config.rules.quorum();
        let Some(certified) = self.dag.insert(sealed.clone(), quorum) else { return };
        for name in certified {
            if let Some(node) = self.dag.get(&name) {
                self.step.events.push(Event::Certified(node.sealed().clone()));
            }
        }
        self.is_fresh = true;
        self.to_persist.push(Record::Block(sealed.block().clone()));
        let body = sealed.body();
        if body.has_content() {
            self.content.insert(reference);
            *self.unsequenced.entry(reference.author).or_default() += body.payload.len();
        }
        for evidence in &body.evidence {
            self.note_evidence(evidence.clone());
        }
        if let (Some(share), Some(coin)) = (body.coin, self.config.rules.coin_due(reference.round)) {
            for wrong in self.coins.add(coin, reference.author, share, &*self.keys) {
                self.blame(wrong, Fault::BadCoinShare);
            }
        }
        if reference.author == self.config.me {
            self.own_round = self.own_round.max(reference.round);
        } else {
            self.pace.arrived(reference.author, reference.round, self.own_round, cx.now);
        }
        if self.dag.authors(reference.round).len() >= quorum {
            self.pace.quorum(reference.round, cx.now);
            self.quorum_round = self.quorum_round.max(reference.round);
        }
    }

    /// Asks for blocks that others wait for.
    pub(super) fn ask_for_blocks(&mut self, now: ringfort_kernel::Time) {
        for (peer, references) in self.pending.due(now, self.config.rules.honest_one()) {
            self.send_to(peer, &Frame::Fetch(references));
        }
    }
}
