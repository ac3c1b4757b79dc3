//! All chance in a run.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

/// A seeded generator with the draws a run needs.
pub struct Choices(ChaCha12Rng);

impl Choices {
    pub fn seeded(seed: u64) -> Self {
        Choices(ChaCha12Rng::seed_from_u64(seed))
    }

    /// A number below `ways`.
    pub fn below(&mut self, ways: usize) -> usize {
        if ways <= 1 { 0 } else { (self.0.next_u64() % ways as u64) as usize }
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}
