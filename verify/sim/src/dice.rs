//! All chance in a run comes from here.

use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use ringfort_crypto::hash::digest;

/// A seeded generator with the draws a simulation needs.
pub struct Dice(pub ChaCha12Rng);

impl Dice {
    /// The stream of `seed` that `label` names: streams do not disturb each other.
    pub fn new(seed: u64, label: &str) -> Self {
        Dice(ChaCha12Rng::from_seed(digest("ringfort sim dice", &[&seed.to_be_bytes(), label.as_bytes()])))
    }

    /// A number below `bound`; zero if `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.next_u64() % bound }
    }

    /// An index below `length`.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a length")
    }

    /// True `per_mille` times in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// A length of time in milliseconds from `low` to `high`, with microseconds.
    pub fn between_ms(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(low * 1000 + self.below((high.saturating_sub(low) + 1) * 1000))
    }

    /// One of `items`.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.index(items.len()))
    }

    /// Some bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
