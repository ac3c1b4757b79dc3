//! Making own blocks: one for each round, in order, each durable before it is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use ringfort_kernel::{Cx, Time};

use super::{Agreement, Own};
use crate::block::{Body, Evidence, Parent, Sealed, push_message};
use crate::ids::{Author, Reference};
use crate::limits::{EVIDENCE_MAX, HISTORY_ROUNDS, JUMP_ROUNDS, PAYLOAD_BYTES_MAX};
use crate::rules::Rule;
use crate::wire::Frame;

/// Why a block would be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drive {
    /// There is something to order.
    Content,
    /// A peer is further, and may need this leader's blocks.
    Follow,
}

impl Agreement {
    /// Makes one block if it is time; whether it did.
    pub(super) fn make(&mut self, cx: &mut Cx<'_>) -> bool {
        match self.make_at() {
            Some(at) if at <= cx.now => {}
            _ => return false,
        }
        let Some(round) = self.next_round() else { return false };
        let sealed = self.sign_block(cx, round);
        self.own_round = round;
        self.accept(cx, sealed.clone());
        self.dag.cover(&sealed.reference());
        self.own.insert(round, Own { sealed: sealed.clone(), made_at: cx.now, sequenced: false, replayed: false });
        self.pace.made(round, cx.now);
        if self.config.rules.enforces(Rule::OneBlockARound) {
            self.persist(Vec::new());
        }
        self.send_bytes(self.others(), Frame::encode_block(sealed.block()));
        true
    }

    /// When the next block is due; `None` while there is no reason for one, or no quorum to stand on.
    pub(super) fn make_at(&self) -> Option<Time> {
        if self.is_catching_up() {
            return None;
        }
        let round = self.next_round()?;
        let drive = self.drive()?;
        let before = round - 1;
        if before < self.quorum_round {
            return Some(Time::ZERO); // Behind the others: no wait is worth anything.
        }
        let interval = match drive {
            Drive::Content if self.queue_bytes >= PAYLOAD_BYTES_MAX / 2 && self.may_carry_payload() => Duration::ZERO,
            Drive::Content => self.config.timers.block_interval,
            Drive::Follow => self.config.timers.idle_interval,
        };
        if round == 1 {
            return Some(Time::ZERO);
        }
        let here = self.dag.authors(before);
        Some(self.pace.ready_at(before, here, self.config.rules.quorum(), interval, &self.config.timers))
    }

    /// The round of the next own block, if a quorum's blocks of the round before are here.
    ///
    /// One block for each round, in order. Only who is far behind skips rounds: blocks that come too late for anybody's
    /// parents help nobody.
    fn next_round(&self) -> Option<u64> {
        let far_behind = self.quorum_round > self.own_round.saturating_add(JUMP_ROUNDS);
        let round = if far_behind { self.quorum_round + 1 } else { self.own_round + 1 };
        let stands = round == 1 || self.dag.authors(round - 1).len() >= self.config.rules.quorum();
        stands.then_some(round)
    }

    fn drive(&self) -> Option<Drive> {
        let has_content = !self.content.is_empty() || self.has_own_content();
        let follows = self.dag.highest() > self.own_round
            || self.peers.values().any(|peer| peer.status.wants_round > self.quorum_round);
        match (has_content, follows) {
            (true, _) => Some(Drive::Content),
            (false, true) => Some(Drive::Follow),
            (false, false) if !self.config.rules.enforces(Rule::IdleRests) => Some(Drive::Content),
            (false, false) => None,
        }
    }

    fn has_own_content(&self) -> bool {
        !self.queue.is_empty() && self.may_carry_payload() || self.to_accuse().next().is_some()
    }

    /// Equivocators that are on nobody's record yet.
    fn to_accuse(&self) -> impl Iterator<Item = &Evidence> {
        let open = |author: &Author| !self.log.convicted.contains(author) && !self.accused.contains_key(author);
        self.evidence.iter().filter(move |(author, _)| open(author)).map(|(_, evidence)| evidence)
    }

    /// A leader that was started again may be so far behind that nobody takes its next block any more. What that block
    /// carried would be lost, so it carries nothing until this leader knows where the others are.
    fn may_carry_payload(&self) -> bool {
        if self.finding.is_some() && self.config.rules.enforces(Rule::PlaceFirst) {
            return false;
        }
        let waiting = self.unsequenced.get(&self.config.me).copied().unwrap_or(0);
        waiting < self.config.unsequenced_bytes_max || !self.config.rules.enforces(Rule::PayloadCap)
    }

    fn sign_block(&mut self, cx: &mut Cx<'_>, round: u64) -> Sealed {
        let parents = self.parents(round);
        for parent in &parents {
            let name = Reference { round: round - 1, author: parent.author, digest: parent.digest };
            self.dag.cover(&name);
        }
        let weak = self.weak(round);
        let coin = self.config.rules.coin_due(round).map(|coin| self.keys.coin_share(coin, cx.rng));
        let evidence: Vec<Evidence> = self.to_accuse().take(EVIDENCE_MAX).cloned().collect();
        self.accused.extend(evidence.iter().map(|evidence| (evidence.author, round)));
        let last_clock = self.own.values().next_back().map_or(0, |own| own.sealed.body().clock_us);
        let body = Body {
            epoch: self.config.epoch,
            author: self.config.me,
            round,
            clock_us: cx.unix_ms.saturating_mul(1000).max(last_clock.saturating_add(1)),
            parents,
            weak,
            coin,
            evidence,
            payload: self.take_payload(),
        };
        Sealed::sign(body, &*self.keys)
    }

    /// One block of each author of the round before; of an equivocator's the first by hash. A convicted author's is named
    /// only where there is no quorum without: what nobody names, nobody needs.
    pub(super) fn parents(&self, round: u64) -> Vec<Parent> {
        let mut by_author: BTreeMap<Author, Parent> = BTreeMap::new();
        for (reference, _) in self.dag.round(round - 1) {
            let parent = Parent { author: reference.author, digest: reference.digest };
            by_author.entry(reference.author).or_insert(parent);
        }
        let honest = by_author.keys().filter(|author| !self.is_shut_out(**author)).count();
        if honest >= self.config.rules.quorum() {
            by_author.retain(|author, _| !self.is_shut_out(*author));
        }
        by_author.into_values().collect()
    }

    /// Of each author the newest block that the last own one does not have in its history, and that may still come into the
    /// log; and the last own one itself where rounds were skipped since, for what it had in its history counts as named.
    fn weak(&self, round: u64) -> Vec<Reference> {
        let lowest = round.saturating_sub(HISTORY_ROUNDS).max(self.log.floor() + 1);
        let mut by_author: BTreeMap<Author, Reference> = BTreeMap::new();
        let in_bounds = |name: &&Reference| name.round >= lowest && name.round + 2 <= round && !self.log.is_past(name);
        let fresh = self.dag.uncovered().filter(in_bounds).filter(|name| !self.is_shut_out(name.author));
        by_author.extend(fresh.map(|name| (name.author, *name)));
        let own = self.own.range(..round).next_back().map(|(_, own)| own.sealed.reference());
        by_author.extend(own.iter().filter(in_bounds).filter(|own| self.dag.has(own)).map(|own| (own.author, *own)));
        by_author.into_values().collect()
    }

    fn take_payload(&mut self) -> Vec<u8> {
        let mut payload = Vec::new();
        if !self.may_carry_payload() {
            return payload;
        }
        while let Some(message) = self.queue.front() {
            if payload.len() + message.len() + 4 > PAYLOAD_BYTES_MAX {
                break;
            }
            push_message(&mut payload, message);
            self.queue_bytes = self.queue_bytes.saturating_sub(message.len() + 4);
            self.queue.pop_front();
        }
        payload
    }
}
