//! The group's time: each component's clock, set by the others', with a bound on its error.
//!
//! A frame and its echo bound how far two clocks are apart by half of the time that both were under way, however the
//! network divides it. A component takes the middle of what it hears as its own (seed 000 §2.2, F5).

use super::frame::ClockWord;
use super::group::Group;
use super::ids::{COMPONENTS_MAX, Index};
use super::rules::majority;

/// What clocks may drift apart, in parts of a million: oscillators stay within 100 each, and corrections make 1,250.
const DRIFT_PPM: u64 = 200 + 1_250;
/// How long what was heard of a clock is used.
const SAMPLE_US: u64 = 2_000_000;
/// A clock with a larger error bound is not called synchronised.
const ERROR_US_MAX: u64 = 20_000;
/// Between two corrections.
const CORRECTION_US: u64 = 160_000;
/// The largest correction at once of a clock that is steady.
const STEP_US_MAX: i64 = 200;
/// Rounds in a row in which a clock was near the others' before it is steady.
const CALM_ROUNDS: u32 = 10;

/// What was heard of another clock.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// The group's time there less the time since the start here.
    offset_us: i64,
    error_us: u64,
    at_us: u64,
    steady: bool,
}

impl Sample {
    fn error_at(&self, raw_us: u64) -> u64 {
        self.error_us + STEP_US_MAX.unsigned_abs() + raw_us.saturating_sub(self.at_us) * DRIFT_PPM / 1_000_000
    }
}

/// A component's clock.
pub struct Clock {
    group_len: usize,
    offset_us: i64,
    steady: bool,
    calm_rounds: u32,
    told_us: u64,
    corrected_us: u64,
    samples: [Option<Sample>; COMPONENTS_MAX],
}

impl Clock {
    /// A clock that says what the wall clock says, until it is set by the others.
    pub fn new(group: &Group, unix_ms: u64, raw_us: u64) -> Self {
        let unix_us = i64::try_from(unix_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        let offset_us = unix_us.saturating_sub_unsigned(raw_us);
        let samples = [None; COMPONENTS_MAX];
        Clock {
            group_len: group.len(),
            offset_us,
            steady: group.len() == 1,
            calm_rounds: 0,
            told_us: 0,
            corrected_us: 0,
            samples,
        }
    }

    /// Whether it has settled among a majority's clocks. Before that it says nothing that counts.
    pub fn is_steady(&self) -> bool {
        self.steady
    }

    /// The group's time; once steady, it never goes back.
    pub fn now(&mut self, raw_us: u64) -> u64 {
        let now = self.read(raw_us);
        if self.steady {
            self.told_us = self.told_us.max(now);
            return self.told_us;
        }
        now
    }

    /// What is said to others, who correct by it: as it is, also if it was corrected backwards.
    pub fn read(&self, raw_us: u64) -> u64 {
        raw_us.saturating_add_signed(self.offset_us)
    }

    /// What a frame of another component says, heard at `raw_us`.
    pub fn on_word(&mut self, from: Index, word: &ClockWord, raw_us: u64) {
        if word.echo_us == 0 {
            return;
        }
        let Some(round_trip) = raw_us.checked_sub(word.echo_us).and_then(|t| t.checked_sub(word.held_us)) else {
            return;
        };
        let there = word.group_us.saturating_add(round_trip / 2);
        let Ok(there) = i64::try_from(there) else { return };
        let offset_us = there.saturating_sub_unsigned(raw_us);
        let sample = Sample { offset_us, error_us: round_trip / 2 + 1, at_us: raw_us, steady: word.steady };
        let Some(place) = self.samples.get_mut(from.place()) else { return };
        let better = |old: &Sample| {
            sample.error_us <= old.error_at(raw_us) || old.at_us + SAMPLE_US / 4 < raw_us || old.steady != sample.steady
        };
        if place.as_ref().is_none_or(better) {
            *place = Some(sample);
        }
    }

    /// What was heard of a component's earlier start counts no more.
    pub fn forget(&mut self, index: Index) {
        if let Some(place) = self.samples.get_mut(index.place()) {
            *place = None;
        }
    }

    /// Sets or corrects the clock by what is heard: by steady clocks if there are any, or else by all.
    pub fn on_round(&mut self, raw_us: u64) {
        let any_steady = self.fresh(raw_us).any(|sample| sample.steady);
        if self.fresh(raw_us).count() + 1 < majority(self.group_len) || (self.steady && !any_steady) {
            return;
        }
        let own = (self.steady || !any_steady).then_some(self.offset_us);
        let used = self.fresh(raw_us).filter(|sample| sample.steady || !any_steady).map(|sample| sample.offset_us);
        let mut offsets = [i64::MAX; COMPONENTS_MAX];
        let mut count = 0;
        for (place, offset) in offsets.iter_mut().zip(used.chain(own)) {
            *place = offset;
            count += 1;
        }
        offsets.sort_unstable();
        let middle = offsets.get((count.max(1) - 1) / 2).copied().unwrap_or(self.offset_us);
        let away = middle.saturating_sub(self.offset_us);
        if !self.steady {
            self.settle(away);
        } else if raw_us >= self.corrected_us + CORRECTION_US {
            self.offset_us = self.offset_us.saturating_add((away / 2).clamp(-STEP_US_MAX, STEP_US_MAX));
            self.corrected_us = raw_us;
        }
    }

    /// Before a clock is steady it follows the others as far as they are.
    fn settle(&mut self, away: i64) {
        let far = away.unsigned_abs() > ERROR_US_MAX / 2;
        self.offset_us = self.offset_us.saturating_add(if far { away } else { away / 2 });
        self.calm_rounds = if far { 0 } else { self.calm_rounds + 1 };
        self.steady = self.calm_rounds >= CALM_ROUNDS;
    }

    /// By how much this clock may differ from those of a majority, itself included; `None` while it is not steady or too
    /// few are heard for the bound to be of use.
    pub fn error_us(&self, raw_us: u64) -> Option<u64> {
        if !self.steady {
            return None;
        }
        let mut bounds = [u64::MAX; COMPONENTS_MAX];
        let away = |sample: &Sample| sample.offset_us.abs_diff(self.offset_us).saturating_add(sample.error_at(raw_us));
        for (bound, away) in bounds.iter_mut().skip(1).zip(self.fresh(raw_us).filter(|sample| sample.steady).map(away))
        {
            *bound = away;
        }
        if let Some(own) = bounds.first_mut() {
            *own = 1;
        }
        bounds.sort_unstable();
        bounds.get(majority(self.group_len) - 1).copied().filter(|bound| *bound <= ERROR_US_MAX)
    }

    fn fresh(&self, raw_us: u64) -> impl Iterator<Item = &Sample> {
        self.samples.iter().flatten().filter(move |sample| raw_us < sample.at_us + SAMPLE_US)
    }
}
