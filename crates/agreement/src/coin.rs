//! The common coin: names the author of a slot after the slot's votes are cast.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::Slots;
use crate::ids::{Author, Slot};
use crate::keys::{CoinShare, Keys, Toss};
use crate::rules::{Rule, Rules, SlotKind};

/// Shares of one author for one coin, good or bad: an equivocator may have sent some.
const SHARES_OF_ONE_MAX: usize = 2;

/// Coins that are known, and shares of those that are not.
#[derive(Clone, Debug)]
pub struct Coins {
    rules: Rules,
    known: BTreeMap<u64, Author>,
    /// Each with whether it turned out to be wrong.
    shares: BTreeMap<u64, Vec<(Author, CoinShare, bool)>>,
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
        let mut own = shares.iter().filter(|(other, ..)| *other == author);
        if own.clone().count() >= SHARES_OF_ONE_MAX || own.any(|(_, other, _)| *other == share) {
            return Vec::new();
        }
        shares.push((author, share, false));
        self.toss(round, keys)
    }

    fn toss(&mut self, round: u64, keys: &dyn Keys) -> Vec<Author> {
        let Some(shares) = self.shares.get_mut(&round) else { return Vec::new() };
        let mut wrong = Vec::new();
        let checked = self.rules.enforces(Rule::CoinProof);
        loop {
            let mut seen = BTreeSet::new();
            let usable = shares.iter().filter(|(author, _, is_bad)| !is_bad && seen.insert(*author));
            let one_each: Vec<(Author, CoinShare)> = usable.map(|(author, share, _)| (*author, *share)).collect();
            if one_each.len() < self.rules.honest_one() {
                return wrong;
            }
            match keys.toss(round, &one_each, checked) {
                Toss::TooFew => return wrong,
                Toss::Bad(bad) => {
                    // A second share of the same author may still be good.
                    for (author, share, is_bad) in shares.iter_mut() {
                        *is_bad |= bad.contains(author) && one_each.contains(&(*author, *share));
                    }
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

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha12Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::testing::{author, group};

    #[test]
    fn an_author_has_two_tries_for_a_coin_however_many_shares_it_sends() {
        let keys = group(4, 1);
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let mut coins = Coins::new(Rules::new(4, 1).unwrap());
        let good: Vec<CoinShare> = keys.iter().map(|keys| keys.coin_share(9, &mut rng)).collect();
        let bad = |number: u8| {
            let mut share = good[3];
            share[100] ^= number;
            share
        };
        assert!(coins.add(9, author(3), bad(1), &*keys[0]).is_empty(), "nobody can tell yet");
        assert_eq!(coins.add(9, author(1), good[1], &*keys[0]), [author(3)]);
        assert_eq!(coins.add(9, author(3), bad(2), &*keys[0]), [author(3)]);
        for number in 1..9 {
            assert!(coins.add(9, author(3), bad(number), &*keys[0]).is_empty(), "share {number} is not looked at");
        }
        assert_eq!(coins.shares[&9].len(), 1 + SHARES_OF_ONE_MAX);
        assert_eq!(coins.named(9), None);
        assert!(coins.add(9, author(2), good[2], &*keys[0]).is_empty());
        assert!(coins.named(9).is_some(), "two good ones are enough");
    }
}
