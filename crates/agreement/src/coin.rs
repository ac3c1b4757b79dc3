//! The common coin: names the author of a slot after the slot's votes are cast.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::Slots;
use crate::ids::{Author, Slot};
use crate::keys::{CoinShare, Keys, Toss};
use crate::rules::{Rule, Rules, SlotKind};

/// Shares of one author for one coin: an equivocator may have sent some.
const SHARES_OF_ONE_MAX: usize = 2;

/// Coins that are known, and shares of those that are not.
#[derive(Clone, Debug)]
pub struct Coins {
    rules: Rules,
    known: BTreeMap<u64, Author>,
    shares: BTreeMap<u64, Vec<(Author, CoinShare)>>,
    /// Coins below are not needed any more.
    floor: u64,
}

impl Coins {
    /// No coin.
    pub fn new(rules: Rules) -> Self {
        Coins { rules, known: BTreeMap::new(), shares: BTreeMap::new(), floor: 0 }
    }

    /// A share has come; returns the authors of shares that turned out to be wrong.
    #[must_use]
    pub fn add(&mut self, round: u64, author: Author, share: CoinShare, keys: &dyn Keys) -> Vec<Author> {
        if round < self.floor || self.known.contains_key(&round) {
            return Vec::new();
        }
        let shares = self.shares.entry(round).or_default();
        let own = shares.iter().filter(|(other, _)| *other == author).count();
        if own < SHARES_OF_ONE_MAX && !shares.contains(&(author, share)) {
            shares.push((author, share));
        }
        self.toss(round, keys)
    }

    fn toss(&mut self, round: u64, keys: &dyn Keys) -> Vec<Author> {
        let Some(shares) = self.shares.get_mut(&round) else { return Vec::new() };
        let mut wrong = Vec::new();
        let checked = self.rules.enforces(Rule::CoinProof);
        loop {
            let mut seen = BTreeSet::new();
            let one_each: Vec<(Author, CoinShare)> =
                shares.iter().filter(|(author, _)| seen.insert(*author)).copied().collect();
            if one_each.len() < self.rules.honest_one() {
                return wrong;
            }
            match keys.toss(round, &one_each, checked) {
                Toss::TooFew => return wrong,
                Toss::Bad(bad) => {
                    // What was tried of each goes; a second share of the same author may still be good.
                    let tried = |entry: &(Author, CoinShare)| bad.contains(&entry.0) && one_each.contains(entry);
                    shares.retain(|entry| !tried(entry));
                    wrong.extend(bad);
                }
                Toss::Value(value) => {
                    self.known.insert(round, Author::drawn(value, self.rules.n()));
                    self.shares.remove(&round);
                    return wrong;
                }
            }
        }
    }

    /// The author that the coin of a round names, if it is known.
    pub fn named(&self, round: u64) -> Option<Author> {
        self.known.get(&round).copied()
    }

    /// Coins of rounds below are needed no more.
    pub fn drop_below(&mut self, round: u64) {
        self.floor = self.floor.max(round);
        self.known = self.known.split_off(&self.floor);
        self.shares = self.shares.split_off(&self.floor);
    }
}

impl Slots for Coins {
    fn author(&self, slot: Slot, kind: SlotKind) -> Option<Author> {
        let turn = slot.round.wrapping_add(u64::from(slot.index));
        match kind {
            SlotKind::Coin => self.named(slot.round),
            SlotKind::Ordinary => Some(Author::drawn(turn, self.rules.n())),
        }
    }
}
