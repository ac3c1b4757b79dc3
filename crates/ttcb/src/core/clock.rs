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
/// How long what was heard of a clock is used, and how old what it echoes may be.
const SAMPLE_US: u64 = 2_000_000;
/// A clock with a larger error bound is not called synchronised, and none is set by what is known no better.
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
        self.error_us + STEP_US_MAX.unsigned_abs() + drift_us(raw_us.saturating_sub(self.at_us))
    }
}

fn drift_us(length_us: u64) -> u64 {
    length_us.saturating_mul(DRIFT_PPM) / 1_000_000
}

/// How a clock stands to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It follows them, and was near them for so many rounds in a row. It says nothing that counts.
    Settling(u32),
    /// It has settled among a majority's.
    Steady,
    /// A majority's are elsewhere. It rests until then, when nobody uses any more what it said as a steady one.
    Astray(u64),
}

/// A component's clock.
pub struct Clock {
    group_len: usize,
    offset_us: i64,
    state: State,
    told_us: u64,
    corrected_us: u64,
    /// When the machine last woke: what was sent before that measures nothing.
    woke_us: u64,
    samples: [Option<Sample>; COMPONENTS_MAX],
}

impl Clock {
    /// A clock that says what the wall clock says, until it is set by the others.
    pub fn new(group: &Group, unix_ms: u64, raw_us: u64) -> Self {
        let unix_us = i64::try_from(unix_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        Clock {
            group_len: group.len(),
            offset_us: unix_us.saturating_sub_unsigned(raw_us),
            state: if group.len() == 1 { State::Steady } else { State::Settling(0) },
            told_us: 0,
            corrected_us: 0,
            woke_us: 0,
            samples: [None; COMPONENTS_MAX],
        }
    }

    /// Whether it has settled among a majority's clocks. Otherwise it says nothing that counts.
    pub fn is_steady(&self) -> bool {
        self.state == State::Steady
    }

    /// The group's time: what was told while the clock was steady never goes back.
    pub fn now(&mut self, raw_us: u64) -> u64 {
        let now = self.read(raw_us).max(self.told_us);
        if self.is_steady() {
            self.told_us = now;
        }
        now
    }

    /// What is said to others, who correct by it: as it is, also if it was corrected backwards.
    pub fn read(&self, raw_us: u64) -> u64 {
        raw_us.saturating_add_signed(self.offset_us)
    }

    /// What a frame of another component says, heard at `raw_us`.
    pub fn on_word(&mut self, from: Index, word: &ClockWord, raw_us: u64) {
        let Some(place) = self.samples.get_mut(from.place()) else { return };
        let Some(age_us) = raw_us.checked_sub(word.echo_us).filter(|_| word.echo_us > self.woke_us) else { return };
        if word.held_us > age_us.saturating_add(drift_us(word.held_us) + 1) {
            // It was held there for longer than it has been away by this clock, which so has stood still.
            *place = None;
            return;
        }
        if age_us > SAMPLE_US {
            return;
        }
        let under_way_us = age_us.saturating_sub(word.held_us);
        let Ok(there) = i64::try_from(word.group_us.saturating_add(under_way_us / 2)) else { return };
        // The two clocks drifted apart while it was held, and the other's went on while it was under way.
        let error_us = under_way_us / 2 + 1 + drift_us(age_us);
        let offset_us = there.saturating_sub_unsigned(raw_us);
        let sample = Sample { offset_us, error_us, at_us: raw_us, steady: word.steady };
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

    /// The machine has slept, and how long is not known well: nothing that was heard before counts.
    pub fn on_wake(&mut self, raw_us: u64) {
        self.samples = [None; COMPONENTS_MAX];
        self.woke_us = raw_us;
    }

    /// Sets or corrects the clock by what is heard: by steady clocks if there are any, or else by all.
    pub fn on_round(&mut self, raw_us: u64) {
        match self.state {
            State::Astray(until_us) if raw_us < until_us => return,
            State::Astray(_) => self.state = State::Settling(0),
            State::Steady if self.is_astray(raw_us) => return self.state = State::Astray(raw_us + SAMPLE_US),
            State::Steady | State::Settling(_) => {}
        }
        let any_steady = self.usable(raw_us).any(|sample| sample.steady);
        if self.usable(raw_us).count() + 1 < majority(self.group_len) || (self.is_steady() && !any_steady) {
            return;
        }
        let own = (self.is_steady() || !any_steady).then_some(self.offset_us);
        let used = self.usable(raw_us).filter(|sample| sample.steady || !any_steady).map(|sample| sample.offset_us);
        let mut offsets = [i64::MAX; COMPONENTS_MAX];
        let mut count = 0;
        for (place, offset) in offsets.iter_mut().zip(used.chain(own)) {
            *place = offset;
            count += 1;
        }
        offsets.sort_unstable();
        let middle = offsets.get((count.max(1) - 1) / 2).copied().unwrap_or(self.offset_us);
        let away = middle.saturating_sub(self.offset_us);
        if let State::Settling(calm) = self.state {
            self.settle(away, calm);
        } else if raw_us >= self.corrected_us + CORRECTION_US {
            self.offset_us = self.offset_us.saturating_add((away / 2).clamp(-STEP_US_MAX, STEP_US_MAX));
            self.corrected_us = raw_us;
        }
    }

    /// Before a clock is steady it follows the others as far as they are.
    fn settle(&mut self, away: i64, calm: u32) {
        let far = away.unsigned_abs() > ERROR_US_MAX / 2;
        self.offset_us = self.offset_us.saturating_add(if far { away } else { away / 2 });
        let calm = if far { 0 } else { calm + 1 };
        self.state = if calm < CALM_ROUNDS { State::Settling(calm) } else { State::Steady };
    }

    /// Whether a majority's clocks, without this one, are certainly farther away than any correction would be of use.
    fn is_astray(&self, raw_us: u64) -> bool {
        let far = |sample: &&Sample| {
            let away = sample.offset_us.abs_diff(self.offset_us);
            sample.steady && away > sample.error_at(raw_us).saturating_add(ERROR_US_MAX)
        };
        self.usable(raw_us).filter(far).count() >= majority(self.group_len)
    }

    /// By how much what this clock tells may differ from the clocks of a majority, itself included; `None` while it is
    /// not steady or too few are heard for the bound to be of use.
    pub fn error_us(&self, raw_us: u64) -> Option<u64> {
        if !self.is_steady() {
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
        let bound = bounds.get(majority(self.group_len) - 1)?;
        let ahead = self.told_us.saturating_sub(self.read(raw_us));
        Some(bound.saturating_add(ahead)).filter(|bound| *bound <= ERROR_US_MAX)
    }

    fn fresh(&self, raw_us: u64) -> impl Iterator<Item = &Sample> {
        self.samples.iter().flatten().filter(move |sample| raw_us < sample.at_us + SAMPLE_US)
    }

    /// What is known well enough to set a clock by.
    fn usable(&self, raw_us: u64) -> impl Iterator<Item = &Sample> {
        self.fresh(raw_us).filter(move |sample| sample.error_at(raw_us) <= ERROR_US_MAX)
    }
}
