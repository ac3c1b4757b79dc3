//! All agreements at one component: a table of fixed size that refuses when it is full and never evicts.

use super::frame::{RECORDS, Record};
use super::ids::{Block, Epoch, Index, Tag};
use super::instance::{Instance, Terms};
use super::rules::{AHEAD_MAX, LIFETIME, Rule, Rules};

/// Agreements that are remembered at once.
pub const AGREEMENTS_MAX: usize = 320;
/// Of them, those that began at one component.
pub const AGREEMENTS_OF_COMPONENT_MAX: usize = 32;
/// Of them, those that entities of one user proposed in here.
pub const AGREEMENTS_OF_USER_MAX: usize = 8;

const AHEAD_US: u64 = AHEAD_MAX.as_micros() as u64;
const LIFETIME_US: u64 = LIFETIME.as_micros() as u64;

/// Why a proposal is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The agreement has started.
    TooLate,
    /// It starts too far ahead.
    TooFar,
    /// No room, or this user's share of it is used up.
    Full,
    /// The entity proposed another block before, or another entity did in its name.
    AlreadyProposed,
}

/// One of the table.
struct Entry {
    instance: Instance,
    /// At which component it began, as far as this one knows.
    origin: Index,
    /// Whose proposal it has here.
    user: Option<u32>,
    sent_round: u64,
}

/// The table.
pub struct Agreements {
    me: Index,
    epoch: Epoch,
    rules: Rules,
    entries: Vec<Entry>,
}

impl Agreements {
    /// An empty table, whose memory is taken now.
    pub fn new(me: Index, epoch: Epoch, rules: Rules) -> Self {
        Agreements { me, epoch, rules, entries: Vec::with_capacity(AGREEMENTS_MAX) }
    }

    /// An agreement.
    pub fn get(&self, tag: &Tag) -> Option<&Instance> {
        self.entries.iter().map(|entry| &entry.instance).find(|instance| instance.tag == *tag)
    }

    /// Proposes a block of a local entity.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn propose(&mut self, tag: Tag, terms: &Terms, block: Block, user: u32, now_us: u64) -> Result<(), Refused> {
        if now_us >= terms.start_us {
            return Err(Refused::TooLate);
        }
        if terms.start_us > now_us.saturating_add(AHEAD_US) {
            return Err(Refused::TooFar);
        }
        let of_user = self.entries.iter().filter(|entry| entry.user == Some(user)).count();
        let known = self.entries.iter().position(|entry| entry.instance.tag == tag);
        let proposed = known.and_then(|at| self.entries.get(at)?.instance.proposed(self.me).copied());
        if let Some(before) = proposed {
            #[cfg(test)]
            if !self.rules.enforces(Rule::OneProposal) {
                known.and_then(|at| self.entries.get_mut(at)).unwrap().instance.propose_again(self.me, block);
                return Ok(());
            }
            return if before == block { Ok(()) } else { Err(Refused::AlreadyProposed) };
        }
        if of_user >= AGREEMENTS_OF_USER_MAX {
            return Err(Refused::Full);
        }
        let at = match known {
            Some(at) => at,
            None => {
                let fresh = Instance::new(tag, terms.listed, terms.decision, terms.start_us, terms.epochs());
                self.open(fresh, self.me).ok_or(Refused::Full)?
            }
        };
        let me = self.me;
        let entry = self.entries.get_mut(at).ok_or(Refused::Full)?;
        if !entry.instance.is_open(now_us) {
            return Err(Refused::TooLate);
        }
        entry.instance.propose(me, block);
        entry.user = Some(user);
        Ok(())
    }

    fn open(&mut self, instance: Instance, origin: Index) -> Option<usize> {
        let of_origin = self.entries.iter().filter(|entry| entry.origin == origin).count();
        if self.entries.len() >= AGREEMENTS_MAX || of_origin >= AGREEMENTS_OF_COMPONENT_MAX {
            return None;
        }
        self.entries.push(Entry { instance, origin, user: None, sent_round: 0 });
        Some(self.entries.len() - 1)
    }

    /// What a component, heard in its epoch `from_epoch`, says of an agreement. It counts in agreements that list both in
    /// their present epochs: who was started again has forgotten what it promised before.
    pub fn on_record(&mut self, from: Index, from_epoch: Epoch, record: &Record, now_us: u64, timely: bool) {
        let (me, rules) = (self.me, self.rules);
        let present =
            |index: Index, epoch| record.listed.has(index) && record.epochs.get(index.place()) == Some(&epoch);
        let takes_part = present(me, self.epoch) && present(from, from_epoch);
        if !takes_part && rules.enforces(Rule::Epoch) {
            return;
        }
        let at = self.entries.iter().position(|entry| entry.instance.tag == record.tag).or_else(|| {
            let over = now_us > record.start_us.saturating_add(LIFETIME_US);
            if over || record.start_us > now_us.saturating_add(2 * AHEAD_US) {
                return None;
            }
            let origin = record.proposals.mask.iter().next().unwrap_or(from);
            self.open(Instance::new(record.tag, record.listed, record.decision, record.start_us, record.epochs), origin)
        });
        if let Some(Entry { instance, .. }) = at.and_then(|at| self.entries.get_mut(at)) {
            let late = is_late(&rules, instance, now_us, timely);
            instance.on_record(&rules, me, from, record, now_us, late);
        }
    }

    /// A round: each agreement takes its turn, and what is over is forgotten.
    pub fn on_round(&mut self, now_us: u64, timely: bool) {
        let (me, rules) = (self.me, self.rules);
        self.entries.retain(|entry| now_us <= entry.instance.start_us.saturating_add(LIFETIME_US));
        for Entry { instance, .. } in &mut self.entries {
            let late = is_late(&rules, instance, now_us, timely);
            instance.on_round(&rules, me, now_us, late);
        }
    }

    /// What to say this round: of those that are due, those that have waited longest.
    pub fn next_records(&mut self, round: u64) -> [Option<Record>; RECORDS] {
        let mut records = [None; RECORDS];
        for place in &mut records {
            let due = self.entries.iter_mut().filter(|entry| entry.instance.due > 0 && entry.sent_round < round);
            if let Some(entry) = due.min_by_key(|entry| entry.sent_round) {
                entry.sent_round = round;
                entry.instance.due -= 1;
                *place = Some(entry.instance.record());
            }
        }
        records
    }
}

fn is_late(rules: &Rules, instance: &Instance, now_us: u64, timely: bool) -> bool {
    rules.enforces(Rule::Deadline) && (now_us > instance.deadline_us() || !timely)
}
