//! Every quorum, distance and bound on which a promise rests, in one place, so that a simulation can weaken each.

use crate::ids::{LEADERS_MAX, Slot};

/// Rounds from a coin slot's block to those that certify it, both counted: propose, boost, boost, vote, certify.
pub const COIN_WAVE: u64 = 5;
/// The same for an ordinary slot: propose, vote, certify.
pub const ORDINARY_WAVE: u64 = 3;
/// Ordinary slots of one round.
pub const ORDINARY_SLOTS: u8 = 2;

/// The sizes of a group, the coin's period, and the rules in force: all of them, outside the mutant corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    n: u8,
    f: u8,
    period: u64,
    #[cfg(feature = "mutants")]
    weakened: Option<Rule>,
}

/// Sizes that make no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{n} leaders cannot order messages past {f} hacked ones with a coin each {period} rounds")]
pub struct BadRules {
    n: u8,
    f: u8,
    period: u64,
}

/// The rules that the mutant corpus weakens, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A block names blocks of a quorum of authors of the round before.
    ParentQuorum,
    /// A certificate names a quorum of votes.
    Certificate,
    /// A block is committed directly by certificates of a quorum of authors.
    DirectCommit,
    /// A slot is skipped directly by a quorum of authors that do not vote for it.
    DirectSkip,
    /// A slot's anchor is searched from the end of its own wave on.
    AnchorDistance,
    /// The coin's share is given out only after the wave is complete.
    CoinAfterWave,
    /// A coin's share counts only with its proof.
    CoinProof,
    /// A block is durable before it is sent, and no second one is made for its round.
    OneBlockARound,
    /// Who lost its disk makes no block for a round that it may have signed before.
    LostDisk,
    /// A block counts only with its author's signature.
    Signature,
    /// A block far ahead of the quorum's round is not kept.
    RoundWindow,
    /// A second block of one author and round is kept only where another author's block names it, and of a convicted
    /// author nothing is kept but that.
    VariantsAsked,
    /// How far back a committed block reaches is counted from the one committed before it, not from what is at hand.
    CommonFloor,
    /// A checkpoint counts with equal signed statements of f+1 leaders.
    CheckpointQuorum,
    /// A part of a checkpoint's state counts only if its hash is the certified one.
    PartHash,
    /// Time in the log is a median, not one leader's word.
    MedianTime,
    /// A leader whose payload is not sequenced for long makes empty blocks.
    PayloadCap,
    /// An idle group makes no blocks.
    IdleRests,
    /// A certificate counts each signer once.
    CertificateSigners,
    /// How far a group has come is believed with signatures of f+1 leaders.
    ReachedProof,
    /// The log never goes back to a state that it is past.
    ForwardOnly,
    /// A state on disk counts only if it is certified.
    DiskCertified,
    /// A state on disk counts only if it is the certified one.
    DiskState,
    /// What a peer may make a leader check has a bound.
    CheckBudget,
    /// A leader that was started again carries messages only once it knows where the others are.
    PlaceFirst,
}

impl Rule {
    /// All of them, for the corpus.
    pub const ALL: [Rule; 25] = [
        Rule::ParentQuorum,
        Rule::Certificate,
        Rule::DirectCommit,
        Rule::DirectSkip,
        Rule::AnchorDistance,
        Rule::CoinAfterWave,
        Rule::CoinProof,
        Rule::OneBlockARound,
        Rule::LostDisk,
        Rule::Signature,
        Rule::RoundWindow,
        Rule::VariantsAsked,
        Rule::CommonFloor,
        Rule::CheckpointQuorum,
        Rule::PartHash,
        Rule::MedianTime,
        Rule::PayloadCap,
        Rule::IdleRests,
        Rule::CertificateSigners,
        Rule::ReachedProof,
        Rule::ForwardOnly,
        Rule::DiskCertified,
        Rule::DiskState,
        Rule::CheckBudget,
        Rule::PlaceFirst,
    ];
}

/// What kind a slot is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// Its author is named by the coin, after the wave.
    Coin,
    /// Its author is known in advance.
    Ordinary,
}

impl SlotKind {
    /// Rounds of its wave.
    pub const fn wave(self) -> u64 {
        match self {
            SlotKind::Coin => COIN_WAVE,
            SlotKind::Ordinary => ORDINARY_WAVE,
        }
    }
}

impl Rules {
    /// A group of `n` leaders of which `f` may be hacked, with a coin slot in every round: the published Mahi-Mahi rule.
    ///
    /// # Errors
    /// [`BadRules`] unless `3f + 1 <= n`.
    pub fn new(n: u8, f: u8) -> Result<Self, BadRules> {
        Self::sized(n, f, 1)
    }

    /// The same with a coin slot in each `period`-th round only, and ordinary slots between.
    ///
    /// Safe, but nobody has proven yet that it stays live whatever an adversary does: not for use.
    ///
    /// # Errors
    /// [`BadRules`] as [`Rules::new`], and for a period that is neither 1 nor at least 5.
    #[cfg(feature = "mutants")]
    pub fn with_period_for_testing_only(n: u8, f: u8, period: u64) -> Result<Self, BadRules> {
        Self::sized(n, f, period)
    }

    fn sized(n: u8, f: u8, period: u64) -> Result<Self, BadRules> {
        let sizes = n > 0 && n <= LEADERS_MAX && u16::from(f) * 3 < u16::from(n);
        if !sizes || !(period == 1 || (5..=1024).contains(&period)) {
            return Err(BadRules { n, f, period });
        }
        Ok(Rules {
            n,
            f,
            period,
            #[cfg(feature = "mutants")]
            weakened: None,
        })
    }

    /// Number of leaders.
    pub fn n(&self) -> u8 {
        self.n
    }

    /// Leaders that may be hacked.
    pub fn f(&self) -> u8 {
        self.f
    }

    /// Rounds from one coin slot to the next.
    pub fn period(&self) -> u64 {
        self.period
    }

    /// The smallest number of leaders any two sets of which share an honest one: `n - f` when `n = 3f + 1`.
    pub fn quorum(&self) -> usize {
        usize::from((self.n + self.f) / 2) + 1
    }

    /// Leaders of which one is honest.
    pub fn honest_one(&self) -> usize {
        usize::from(self.f) + 1
    }

    /// Parents of a block.
    pub fn parents(&self) -> usize {
        self.weakened(Rule::ParentQuorum, self.quorum())
    }

    /// Votes of a certificate.
    pub fn votes(&self) -> usize {
        self.weakened(Rule::Certificate, self.quorum())
    }

    /// Certificates that commit directly.
    pub fn certificates(&self) -> usize {
        self.weakened(Rule::DirectCommit, self.quorum())
    }

    /// Authors without a vote that skip directly.
    pub fn blames(&self) -> usize {
        self.weakened(Rule::DirectSkip, self.quorum())
    }

    /// Equal statements that certify a checkpoint.
    pub fn statements(&self) -> usize {
        self.weakened(Rule::CheckpointQuorum, self.honest_one())
    }

    /// Rounds from a slot to where its anchor is searched from.
    pub fn anchor_distance(&self, kind: SlotKind) -> u64 {
        if self.enforces(Rule::AnchorDistance) { kind.wave() } else { 1 }
    }

    /// Authors whose signatures prove that an honest leader came to a round.
    pub fn witnesses(&self) -> usize {
        self.weakened(Rule::ReachedProof, self.honest_one())
    }

    /// How far a leader that lost its disk may have come, from what `n - f` peers prove, itself being one of the `f`.
    ///
    /// Its last block stood on a quorum's of the round before. Of those authors `q - 1` are others, at most `f - 1` of them
    /// hacked and `f - 1` not heard; so `q - 2f + 1`, two or more, honest ones are heard that were there. Each of them
    /// proves at least the round before its own block. Nobody proves more than is so, so the highest word counts.
    pub fn may_have_come_to(&self, proven: impl IntoIterator<Item = u64>) -> u64 {
        proven.into_iter().max().unwrap_or(0)
    }

    /// Whether `round` has a coin slot.
    pub fn is_coin_round(&self, round: u64) -> bool {
        round > 0 && round.is_multiple_of(self.period)
    }

    /// The coin whose share a block of `round` carries: that of the wave which is complete before it.
    ///
    /// Deviation: Mahi-Mahi puts shares into the last round of the wave and asks for `2f + 1`. The key that setup makes
    /// needs `f + 1`, so shares go into the round after. Either way nobody knows a coin before `f + 1` honest leaders
    /// have made the last block of its wave, and that is what the proof of liveness asks for.
    pub fn coin_due(&self, round: u64) -> Option<u64> {
        let delay = if self.enforces(Rule::CoinAfterWave) { COIN_WAVE } else { 0 };
        round.checked_sub(delay).filter(|coin| self.is_coin_round(*coin))
    }

    /// The slots of `round`, in order.
    pub fn slots(&self, round: u64) -> impl Iterator<Item = (Slot, SlotKind)> + use<> {
        let coin = self.is_coin_round(round);
        // An ordinary slot's anchor may be chosen past a coin slot one or two rounds on, so none stands there.
        let before_coin = (1..=2).any(|ahead| self.is_coin_round(round + ahead));
        let ordinary = if before_coin || round == 0 { 0 } else { ORDINARY_SLOTS.min(self.n) };
        let first = u8::from(coin);
        (0..first + ordinary).map(move |index| {
            let kind = if index < first { SlotKind::Coin } else { SlotKind::Ordinary };
            (Slot { round, index }, kind)
        })
    }

    /// Whether a rule is in force: always, outside the mutant corpus.
    #[inline]
    pub fn enforces(&self, rule: Rule) -> bool {
        #[cfg(feature = "mutants")]
        if self.weakened == Some(rule) {
            return false;
        }
        let _ = rule;
        true
    }

    fn weakened(&self, rule: Rule, threshold: usize) -> usize {
        if self.enforces(rule) { threshold } else { threshold.saturating_sub(1).max(1) }
    }

    /// All rules but one.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn mutated_for_testing_only(mut self, rule: Rule) -> Self {
        self.weakened = Some(rule);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_and_periods_that_make_no_order_are_refused() {
        for (n, f, period) in [(0, 0, 1), (3, 1, 1), (6, 2, 1), (65, 1, 1), (4, 1, 0), (4, 1, 4), (4, 1, 2000)] {
            assert!(Rules::sized(n, f, period).is_err(), "{n} {f} {period}");
        }
    }

    #[test]
    fn a_coin_in_every_round_leaves_no_ordinary_slot() {
        let rules = Rules::new(4, 1).unwrap();
        assert_eq!(rules.slots(0).count(), 0, "round 0 is before the first block");
        assert!((1..50).all(|round| rules.slots(round).all(|(_, kind)| kind == SlotKind::Coin)));
        assert_eq!(rules.coin_due(5), None);
        assert_eq!(rules.coin_due(6), Some(1));
    }

    #[test]
    fn how_far_a_leader_may_have_come_is_the_most_that_anybody_proves() {
        let of = |n, f, words: &[u64]| Rules::new(n, f).unwrap().may_have_come_to(words.iter().copied());
        assert_eq!(of(4, 1, &[90, 100, 99]), 100);
        let cut_off_for_long = [49_999, 49_999, 20, 20, 0];
        assert_eq!(of(7, 2, &cut_off_for_long), 49_999, "two were there, two honest ones were away, one lies");
        assert_eq!(of(10, 3, &[0, 0, 0, 0, 20, 49_999, 49_999]), 49_999);
        assert_eq!(of(1, 0, &[]), 0);
    }

    #[test]
    fn the_two_rounds_before_a_coin_slot_have_no_other_slot() {
        let rules = Rules::sized(4, 1, 16).unwrap();
        let counts: Vec<usize> = (12..=17).map(|round| rules.slots(round).count()).collect();
        assert_eq!(counts, [2, 2, 0, 0, 3, 2]);
    }

    proptest! {
        /// What every proof needs of the sizes, for each that is allowed.
        #[test]
        fn quorums_are_there_and_share_an_honest_leader(f in 0u8..21, spare in 0u8..3) {
            let n = 3 * f + 1 + spare;
            let rules = Rules::new(n, f).unwrap();
            let (n, f, q) = (usize::from(n), usize::from(f), rules.quorum());
            prop_assert!(q <= n - f, "honest leaders alone are a quorum");
            prop_assert!(2 * q > n + f, "two quorums share an honest leader");
            prop_assert!(2 * (q - 1) <= n + f, "a smaller quorum would not do");
            prop_assert!(q > 2 * f, "a median over a quorum lies between honest values");
        }
    }
}
