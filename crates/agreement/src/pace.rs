//! How long to wait for which peer's block before the next own one. Only speed depends on it.
//!
//! A leader waits for peers that are usually in time, for twice the lag that a quorum usually has: so `f` slow ones cannot
//! stretch the wait, and a silent one is waited for a few rounds only.

use std::collections::BTreeMap;
use std::time::Duration;

use ringfort_kernel::Time;

use crate::ids::{Author, AuthorSet};
use crate::limits::Timers;

/// Rounds after which a peer that was not in time is not waited for.
const ABSENT_ROUNDS: u64 = 4;
const WAIT_MIN: Duration = Duration::from_micros(500);
const ROUNDS_KEPT: usize = 32;

/// Lags of peers and the times of rounds.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Smoothed lag behind the own block of the same round.
    lags: Vec<Duration>,
    /// The last round whose block came while it was waited for.
    in_time: Vec<u64>,
    made: BTreeMap<u64, Time>,
    quorum: BTreeMap<u64, Time>,
    last: Option<Time>,
}

impl Pace {
    /// Nothing measured.
    pub fn new(n: u8) -> Self {
        let n = usize::from(n);
        let none = BTreeMap::new();
        Pace { lags: vec![Duration::ZERO; n], in_time: vec![0; n], made: none.clone(), quorum: none, last: None }
    }

    /// An own block was made.
    pub fn made(&mut self, round: u64, now: Time) {
        self.made.insert(round, now);
        self.last = Some(now);
        bound(&mut self.made);
    }

    /// A peer's block of `round` was accepted, while the own newest is of `own_round`.
    pub fn arrived(&mut self, author: Author, round: u64, own_round: u64, now: Time) {
        let Some(lag) = self.lags.get_mut(author.index()) else { return };
        let since = self.made.get(&round).map_or(Duration::ZERO, |made| now.since(*made));
        *lag = (*lag * 7 + since.min(Duration::from_secs(10))) / 8;
        if round >= own_round
            && let Some(in_time) = self.in_time.get_mut(author.index())
        {
            *in_time = round.max(*in_time);
        }
    }

    /// A quorum's blocks of `round` are here.
    pub fn quorum(&mut self, round: u64, now: Time) {
        self.quorum.entry(round).or_insert(now);
        bound(&mut self.quorum);
    }

    /// When the block after `round` may be made, given whose blocks of `round` are here.
    pub fn ready_at(&self, round: u64, here: AuthorSet, quorum: usize, interval: Duration, timers: &Timers) -> Time {
        let interval_over = self.last.map_or(Time::ZERO, |last| last + interval);
        let waits_for = |author: &Author| {
            let in_time = self.in_time.get(author.index()).copied().unwrap_or(0);
            !here.has(*author) && in_time > 0 && in_time + ABSENT_ROUNDS > round
        };
        let n = u8::try_from(self.lags.len()).unwrap_or(0);
        if !Author::all(n).any(|author| waits_for(&author)) {
            return interval_over;
        }
        let mut lags = self.lags.clone();
        lags.sort_unstable();
        let usual = lags.get(quorum.saturating_sub(1)).copied().unwrap_or_default();
        let wait = usual.saturating_mul(2).clamp(WAIT_MIN.min(timers.wait_max), timers.wait_max);
        let since = self.quorum.get(&round).copied().unwrap_or(Time::ZERO);
        interval_over.max(since + wait)
    }
}

fn bound(rounds: &mut BTreeMap<u64, Time>) {
    while rounds.len() > ROUNDS_KEPT {
        rounds.pop_first();
    }
}
