//! One agreement: proposals flood, then a majority of the components listed fixes which of them count.
//!
//! Single-decree Paxos on the set of proposals, with a coordinator that changes by the clock. Who says what it has accepted
//! is all that is ever said, so any record of any component can stand in for one that was lost. Nothing here trusts a
//! clock but the order in which coordinators try. (F6, F7)

use std::cmp::Reverse;

use ringfort_crypto::hash::digest;

use super::frame::{Proposals, Record};
use super::ids::{BLOCK_BYTES, Block, COMPONENTS_MAX, Decision, Entity, Epoch, Index, Mask, PLACE_BYTES, Tag};
use super::rules::{AGREE_ROUNDS, FREEZE_ROUNDS, ROUND, Rule, Rules, TURN_ROUNDS};

const ROUND_US: u64 = ROUND.as_micros() as u64;

/// What entities agree to agree on. Each of them has to give the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What is to be decided.
    pub decision: Decision,
    /// When it starts at the latest, in the group's time: proposals after that do not count.
    pub start_us: u64,
    /// Tells it from others with the same start and entities.
    pub name: u64,
    /// At which components the entities are.
    pub listed: Mask,
    /// The entities, by component.
    pub entities: [Entity; COMPONENTS_MAX],
}

impl Terms {
    /// Its name among components: a hash of all of it. The epochs are in it, so a component that was started again
    /// takes part in none of before.
    pub fn tag(&self, group: &[u8; 32]) -> Tag {
        let mut listed = [0; 16 * COMPONENTS_MAX];
        let parts = listed.chunks_exact_mut(16).zip(Index::all().zip(&self.entities));
        for (place, (_, entity)) in parts.filter(|(_, (index, _))| self.listed.has(*index)) {
            let (epoch, key) = place.split_at_mut(4);
            epoch.copy_from_slice(&entity.epoch.0.to_le_bytes());
            key.copy_from_slice(&entity.key);
        }
        let (start, name, mask) =
            (self.start_us.to_le_bytes(), self.name.to_le_bytes(), self.listed.bits().to_le_bytes());
        let hash = digest("ttcb agreement", &[group, &[self.decision.code()], &start, &name, &mask, &listed]);
        let mut tag = Tag::default();
        tag.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        tag
    }

    /// In which epoch each listed component takes part.
    pub fn epochs(&self) -> [Epoch; COMPONENTS_MAX] {
        let mut epochs = [Epoch::default(); COMPONENTS_MAX];
        for (epoch, (index, entity)) in epochs.iter_mut().zip(Index::all().zip(&self.entities)) {
            *epoch = if self.listed.has(index) { entity.epoch } else { Epoch::default() };
        }
        epochs
    }
}

/// What was decided, and when it was known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The proposals that count.
    pub proposals: Proposals,
    /// When it was known here, in the group's time.
    pub at_us: u64,
    /// It was known after the deadline, or by a component that could not tell the time.
    pub late: bool,
}

/// What follows from the proposals that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The result, if there is one.
    pub block: Option<Block>,
    /// Whose entities proposed at all.
    pub proposed_any: Mask,
    /// Whose proposed the result. All, where everything is collected.
    pub proposed_ok: Mask,
    /// Whose proposed another block about the same. Only said where there is a majority.
    pub deviant: Mask,
    /// Whose proposed a block about something else. Only said where there is a majority.
    pub elsewhere: Mask,
    /// Whose proposed nothing that counts.
    pub silent: Mask,
}

impl Outcome {
    /// A function of the proposals and of nothing else: the same everywhere.
    pub fn of(decision: Decision, listed: Mask, proposals: &Proposals) -> Self {
        let proposed_any = proposals.mask;
        let silent = listed.without(proposed_any);
        let block = match decision {
            Decision::Of(index) => proposals.get(index).copied(),
            Decision::Majority => most(proposals).map(|(block, _)| block),
            Decision::Equality => {
                most(proposals).filter(|(_, votes)| 2 * votes > listed.count()).map(|(block, _)| block)
            }
            Decision::Collect => {
                let mut all = [0; (BLOCK_BYTES + 1) * COMPONENTS_MAX];
                for (place, (index, block)) in all.chunks_exact_mut(BLOCK_BYTES + 1).zip(proposals.iter()) {
                    if let Some((first, rest)) = place.split_first_mut() {
                        *first = index.get() + 1;
                        rest.copy_from_slice(block);
                    }
                }
                Some(digest("ttcb collected", &[&listed.bits().to_le_bytes(), &all]))
            }
        };
        let mut outcome = Outcome { block, proposed_any, silent, ..Outcome::default() };
        let Some(block) = block else { return outcome };
        for (index, proposed) in proposals.iter() {
            let same_place = proposed.iter().zip(&block).take(PLACE_BYTES).all(|(a, b)| a == b);
            if *proposed == block || decision == Decision::Collect {
                outcome.proposed_ok.insert(index);
            } else if decision == Decision::Equality && same_place {
                outcome.deviant.insert(index);
            } else if decision == Decision::Equality {
                outcome.elsewhere.insert(index);
            }
        }
        outcome
    }
}

/// The block that most proposed, and how many did.
fn most(proposals: &Proposals) -> Option<(Block, usize)> {
    let votes = |block: &Block| proposals.iter().filter(|(_, other)| *other == block).count();
    // Of equals the lowest component's.
    let best = proposals.iter().max_by_key(|(index, block)| (votes(block), Reverse(*index)))?;
    Some((*best.1, votes(best.1)))
}

/// Accepts of one ballot.
#[derive(Clone, Copy, Debug, Default)]
struct Learned {
    ballot: u32,
    proposals: Proposals,
    by: Mask,
}

/// A ballot that this component coordinates, until enough have promised.
#[derive(Clone, Copy, Debug)]
struct Preparing {
    ballot: u32,
    promised: Mask,
    best: u32,
    proposals: Proposals,
}

/// An agreement, at one component.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its name.
    pub tag: Tag,
    /// Whose entities it is among.
    pub listed: Mask,
    /// What is to be decided.
    pub decision: Decision,
    /// Its start.
    pub start_us: u64,
    epochs: [Epoch; COMPONENTS_MAX],
    known: Proposals,
    frozen_us: Option<u64>,
    promised: u32,
    accepted: u32,
    value: Proposals,
    learned: Learned,
    turn: u32,
    preparing: Option<Preparing>,
    decided: Option<Decided>,
    /// Its record is to be sent again: it has changed, or somebody is behind.
    pub due: u8,
}

/// How often a record is sent after it has changed.
const SENDS: u8 = 4;

impl Instance {
    /// An agreement of which nothing is known but its terms.
    pub fn new(tag: Tag, listed: Mask, decision: Decision, start_us: u64, epochs: [Epoch; COMPONENTS_MAX]) -> Self {
        Instance {
            tag,
            listed,
            decision,
            start_us,
            epochs,
            known: Proposals::default(),
            frozen_us: None,
            promised: 0,
            accepted: 0,
            value: Proposals::default(),
            learned: Learned::default(),
            turn: 0,
            preparing: None,
            decided: None,
            due: SENDS,
        }
    }

    /// When a result is late.
    pub fn deadline_us(&self) -> u64 {
        self.start_us.saturating_add(AGREE_ROUNDS * ROUND_US)
    }

    /// What was decided, if it is known here.
    pub fn decided(&self) -> Option<&Decided> {
        self.decided.as_ref()
    }

    /// Whether a proposal still counts.
    pub fn is_open(&self, now_us: u64) -> bool {
        now_us < self.start_us && self.frozen_us.is_none() && self.promised == 0 && self.decided.is_none()
    }

    /// What the local entity proposed.
    pub fn proposed(&self, me: Index) -> Option<&Block> {
        self.known.get(me)
    }

    /// Whose entities proposed in it, as far as it is known here.
    pub fn proposers(&self) -> Mask {
        let decided = self.decided.map_or(Mask::EMPTY, |decided| decided.proposals.mask);
        [self.known.mask, self.value.mask, decided].into_iter().flat_map(Mask::iter).collect()
    }

    /// The local entity's proposal.
    pub fn propose(&mut self, me: Index, block: Block) {
        self.known.insert(me, block);
        self.due = SENDS;
    }

    /// Another proposal after one, which no rule allows.
    #[cfg(test)]
    pub fn propose_again(&mut self, me: Index, block: Block) {
        self.known.replace(me, block);
        self.due = SENDS;
    }

    /// How far this component is.
    pub fn record(&self) -> Record {
        let (decided, proposals) = match &self.decided {
            Some(decided) => (true, decided.proposals),
            None if self.accepted > 0 => (false, self.value),
            None => (false, self.known),
        };
        Record {
            tag: self.tag,
            listed: self.listed,
            decision: self.decision,
            start_us: self.start_us,
            epochs: self.epochs,
            promised: self.promised,
            accepted: self.accepted,
            decided,
            proposals,
        }
    }

    /// What another component says of it. `late` says whether it is known in time, if this decides it.
    pub fn on_record(&mut self, rules: &Rules, me: Index, from: Index, record: &Record, now_us: u64, late: bool) {
        let before = (self.promised, self.accepted, self.known.mask, self.learned.by);
        if self.decided.is_some() {
            if !record.decided {
                self.due = self.due.max(1);
            }
            return;
        }
        if record.decided {
            self.decide(record.proposals, now_us, late);
            return;
        }
        if record.accepted == 0 && self.frozen_us.is_none() {
            self.known.merge(&record.proposals);
        }
        self.promised = self.promised.max(record.promised);
        if record.accepted > 0 {
            self.on_accepted(me, from, record);
        }
        self.on_promise(rules, me, from, record);
        self.learn(rules, now_us, late);
        if before != (self.promised, self.accepted, self.known.mask, self.learned.by) {
            self.due = SENDS;
        } else if (record.promised, record.accepted) != (self.promised, self.accepted) {
            self.due = self.due.max(1);
        }
    }

    /// A ballot has one set of proposals, whoever speaks of it: hearing of it is being asked to accept it.
    fn on_accepted(&mut self, me: Index, from: Index, record: &Record) {
        if record.accepted >= self.promised && record.accepted > self.accepted {
            self.accept(me, record.accepted, record.proposals);
        }
        self.count(from, record.accepted, record.proposals);
    }

    fn accept(&mut self, me: Index, ballot: u32, proposals: Proposals) {
        self.promised = self.promised.max(ballot);
        self.accepted = ballot;
        self.value = proposals;
        self.count(me, ballot, proposals);
    }

    fn count(&mut self, who: Index, ballot: u32, proposals: Proposals) {
        if ballot > self.learned.ballot {
            self.learned = Learned { ballot, proposals, by: Mask::EMPTY };
        }
        if ballot == self.learned.ballot {
            self.learned.by.insert(who);
        }
    }

    fn on_promise(&mut self, rules: &Rules, me: Index, from: Index, record: &Record) {
        let Some(preparing) = &mut self.preparing else { return };
        if self.promised > preparing.ballot {
            self.preparing = None;
            return;
        }
        if record.promised != preparing.ballot {
            return;
        }
        preparing.promised.insert(from);
        if record.accepted > preparing.best && rules.enforces(Rule::Adopt) {
            preparing.best = record.accepted;
            preparing.proposals = record.proposals;
        }
        self.finish_preparing(rules, me);
    }

    fn finish_preparing(&mut self, rules: &Rules, me: Index) {
        let need = rules.majority(self.listed.count());
        if let Some(ready) = self.preparing.take_if(|preparing| preparing.promised.count() >= need) {
            self.accept(me, ready.ballot, ready.proposals);
            self.due = SENDS;
        }
    }

    fn learn(&mut self, rules: &Rules, now_us: u64, late: bool) {
        if self.learned.ballot > 0 && self.learned.by.count() >= rules.majority(self.listed.count()) {
            self.decide(self.learned.proposals, now_us, late);
        }
    }

    fn decide(&mut self, proposals: Proposals, at_us: u64, late: bool) {
        self.decided = Some(Decided { proposals, at_us, late });
        self.preparing = None;
        self.due = SENDS;
    }

    /// A round: proposals are frozen when it is time, and this component coordinates when it is its turn.
    pub fn on_round(&mut self, rules: &Rules, me: Index, now_us: u64, late: bool) {
        if self.decided.is_some() {
            return;
        }
        let all = self.known.mask == self.listed;
        if self.frozen_us.is_none() && (all || now_us >= self.start_us.saturating_add(FREEZE_ROUNDS * ROUND_US)) {
            self.frozen_us = Some(now_us);
        }
        self.due = self.due.max(1);
        let Some(frozen_us) = self.frozen_us else { return };
        let turn = u32::try_from(now_us.saturating_sub(frozen_us) / (TURN_ROUNDS * ROUND_US)).unwrap_or(u32::MAX >> 8);
        if turn < self.turn || self.coordinator(turn) != Some(me) {
            return;
        }
        self.turn = turn + 1;
        let ballot = ballot(turn, me);
        if ballot <= self.promised {
            return;
        }
        self.promised = ballot;
        if turn == 0 {
            // There is no lower ballot, so nobody can have accepted anything.
            self.accept(me, ballot, self.known);
        } else {
            let adopt = self.accepted > 0 && rules.enforces(Rule::Adopt);
            let proposals = if adopt { self.value } else { self.known };
            let mut promised = Mask::EMPTY;
            promised.insert(me);
            self.preparing = Some(Preparing { ballot, promised, best: self.accepted, proposals });
            self.finish_preparing(rules, me);
        }
        self.due = SENDS;
        self.learn(rules, now_us, late);
    }

    /// Whose turn it is: which of those listed begins follows from the tag.
    fn coordinator(&self, turn: u32) -> Option<Index> {
        let [first, ..] = self.tag;
        let count = self.listed.count();
        let place = (usize::from(first) + usize::try_from(turn).unwrap_or_default()) % count.max(1);
        self.listed.iter().nth(place)
    }
}

/// A ballot is its coordinator's alone.
fn ballot(turn: u32, me: Index) -> u32 {
    ((turn + 1) << 4) | u32::from(me.get())
}
