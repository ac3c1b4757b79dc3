//! A replay window: accepts each sequence number once, in any order within a bound.

/// Numbers behind the newest that are still told apart.
pub const WINDOW: u64 = 1024;

const WORDS: usize = (WINDOW / 64) as usize;

/// Remembers which of the last [`WINDOW`] sequence numbers were seen (K2, K24, P8).
///
/// Memory is fixed. A number older than the window is refused, since it cannot be told from a replay.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    newest: u64,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// True the first time `seq` (from 1) is given, false for a repeat or one too old to tell.
    pub fn accept(&mut self, seq: u64) -> bool {
        if seq == 0 || self.newest.saturating_sub(seq) >= WINDOW {
            return false;
        }
        if seq > self.newest {
            if seq - self.newest >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                (self.newest + 1..=seq).for_each(|n| self.set(n, false));
            }
            self.newest = seq;
        } else if self.get(seq) {
            return false;
        }
        self.set(seq, true);
        true
    }

    /// Whether [`ReplayWindow::accept`] would accept `seq`.
    pub fn is_new(&self, seq: u64) -> bool {
        seq > self.newest || seq != 0 && self.newest - seq < WINDOW && !self.get(seq)
    }

    /// The highest number accepted.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    fn place(seq: u64) -> (usize, u64) {
        let bit = seq % WINDOW;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    fn get(&self, seq: u64) -> bool {
        let (word, mask) = Self::place(seq);
        self.seen.get(word).is_some_and(|w| w & mask != 0)
    }

    fn set(&mut self, seq: u64, value: bool) {
        let (word, mask) = Self::place(seq);
        if let Some(w) = self.seen.get_mut(word) {
            if value { *w |= mask } else { *w &= !mask }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn accepts_each_number_once(seqs in prop::collection::vec(0u64..4 * WINDOW, 1..400)) {
            let mut window = ReplayWindow::default();
            let mut seen: BTreeSet<u64> = BTreeSet::new();
            for seq in seqs {
                let newest = seen.iter().next_back().copied().unwrap_or(0);
                let expected = seq > 0 && newest.saturating_sub(seq) < WINDOW && !seen.contains(&seq);
                prop_assert_eq!(window.is_new(seq), expected);
                prop_assert_eq!(window.accept(seq), expected);
                if expected { seen.insert(seq); }
            }
        }
    }

    #[test]
    fn the_edge_of_the_window() {
        let mut window = ReplayWindow::default();
        assert!(window.accept(WINDOW + 1));
        assert!(!window.accept(1));
        assert!(window.accept(2));
        assert!(!window.accept(2));
        assert!(window.accept(u64::MAX));
        assert!(!window.accept(u64::MAX - WINDOW));
        assert!(window.accept(u64::MAX - WINDOW + 1));
    }
}
