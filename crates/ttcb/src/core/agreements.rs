//! All agreements at one component: a table of fixed size that refuses when it is full and never evicts.

use super::frame::{RECORDS, Record};
use super::ids::{Block, COMPONENTS_MAX, Epoch, Index, Tag};
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
    /// When it was last spoken of, in records.
    sent: u64,
}

impl Entry {
    /// Whether it is among what is done for a component's entities.
    fn is_of(&self, index: Index) -> bool {
        self.origin == index || self.instance.proposers().has(index)
    }
}

/// The table.
pub struct Agreements {
    me: Index,
    epoch: Epoch,
    rules: Rules,
    entries: Vec<Entry>,
    /// Records that were said.
    said: u64,
    /// When each component last had its turn, in records.
    turns: [u64; COMPONENTS_MAX],
}

impl Agreements {
    /// An empty table, whose memory is taken now.
    pub fn new(me: Index, epoch: Epoch, rules: Rules) -> Self {
        let entries = Vec::with_capacity(AGREEMENTS_MAX);
        Agreements { me, epoch, rules, entries, said: 0, turns: [0; COMPONENTS_MAX] }
    }

    /// How many there are.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.entries.len()
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

    fn of_origin(&self, origin: Index) -> usize {
        self.entries.iter().filter(|entry| entry.origin == origin).count()
    }

    fn open(&mut self, instance: Instance, origin: Index) -> Option<usize> {
        if self.entries.len() >= AGREEMENTS_MAX || self.of_origin(origin) >= AGREEMENTS_OF_COMPONENT_MAX {
            return None;
        }
        self.entries.push(Entry { instance, origin, user: None, sent: 0 });
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
            // It takes the room of a component whose entity proposed: of several, of the one that has most left.
            let proposers = record.proposals.mask.iter();
            let origin = proposers.min_by_key(|index| self.of_origin(*index)).unwrap_or(from);
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

    /// What to say this round.
    pub fn next_records(&mut self) -> [Option<Record>; RECORDS] {
        let before = self.said;
        [(); RECORDS].map(|()| self.next_record(before))
    }

    /// Components have their turns, and so have the users of this one within its own: the agreements of one, however many
    /// they are, do not hold up those of another. In a turn the one that has waited longest is spoken of.
    fn next_record(&mut self, before: u64) -> Option<Record> {
        let due = || self.entries.iter().filter(|entry| entry.instance.due > 0 && entry.sent <= before);
        let waiting = Index::all().filter(|index| due().any(|entry| entry.is_of(*index)));
        let turn = waiting.min_by_key(|index| self.turns.get(index.place()).copied())?;
        let of_user = |user| self.entries.iter().filter(|entry| entry.user == user).map(|entry| entry.sent).max();
        let waited = |entry: &&Entry| ((turn == self.me).then(|| of_user(entry.user)), entry.sent);
        let tag = due().filter(|entry| entry.is_of(turn)).min_by_key(waited)?.instance.tag;
        self.said += 1;
        *self.turns.get_mut(turn.place())? = self.said;
        let entry = self.entries.iter_mut().find(|entry| entry.instance.tag == tag)?;
        entry.sent = self.said;
        entry.instance.due -= 1;
        Some(entry.instance.record())
    }
}

fn is_late(rules: &Rules, instance: &Instance, now_us: u64, timely: bool) -> bool {
    rules.enforces(Rule::Deadline) && (now_us > instance.deadline_us() || !timely)
}
