//! What a leader under measurement counts: the CPU time of its ordering thread by stage, and what it did.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What the ordering thread is at. Between the calls of its parts it is told apart by which call came last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waking up, taking what waits in the inbox.
    Take,
    /// Reading frames: decoding, hashing, validity.
    Read,
    /// Checking signatures.
    Check,
    /// The graph, the decision, the log, and the encoding and hashing of own blocks.
    Core,
    /// Signing.
    Sign,
    /// Shares of coins, and what they combine to.
    Coin,
    /// The journal, and handing frames to links.
    CarryOut,
    /// What the measurement itself does with the log.
    Machine,
}

impl Stage {
    pub const ALL: [(Stage, &str); 8] = [
        (Stage::Read, "read and hash others' blocks"),
        (Stage::Check, "check signatures"),
        (Stage::Sign, "sign own blocks"),
        (Stage::Coin, "the coin"),
        (Stage::Core, "graph, decision, own blocks"),
        (Stage::CarryOut, "journal, frames to links"),
        (Stage::Take, "wake up, take inputs"),
        (Stage::Machine, "what counts messages here"),
    ];
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// Messages in the log.
    Messages,
    /// Blocks in the log.
    Entries,
    /// Signatures checked.
    Checked,
    /// Signatures made.
    Signed,
    /// Bytes of others' blocks and other frames.
    BytesIn,
    /// Frames for others, each as often as there are receivers.
    FramesOut,
    /// Their bytes.
    BytesOut,
    /// Bytes of own frames, each once.
    BytesMade,
    /// Bytes of the journal.
    JournalBytes,
    /// Rounds.
    Rounds,
    /// Times that something was made durable.
    Syncs,
    /// What they took, in microseconds.
    SyncUs,
    /// Frames that found a link full.
    Dropped,
}

/// All counts, and the stages' nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Counted {
    counts: [u64; 13],
    stages_ns: [u64; 8],
}

impl Counted {
    pub fn get(&self, count: Count) -> u64 {
        self.counts.get(count as usize).copied().unwrap_or_default()
    }

    pub fn stage(&self, stage: Stage) -> Duration {
        Duration::from_nanos(self.stages_ns.get(stage as usize).copied().unwrap_or_default())
    }

    pub fn since(&self, before: &Counted) -> Counted {
        let mut since = *self;
        since.counts.iter_mut().zip(before.counts).for_each(|(now, then)| *now = now.saturating_sub(then));
        since.stages_ns.iter_mut().zip(before.stages_ns).for_each(|(now, then)| *now = now.saturating_sub(then));
        since
    }

    pub fn add(&mut self, other: &Counted) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, one)| *sum += one);
        self.stages_ns.iter_mut().zip(other.stages_ns).for_each(|(sum, one)| *sum += one);
    }
}

/// Latencies, each to one part in 32.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Times(BTreeMap<u64, u64>);

impl Times {
    pub fn add(&mut self, ns: u64) {
        let shift = (64 - ns.leading_zeros()).saturating_sub(6);
        *self.0.entry((ns >> shift) << shift).or_default() += 1;
    }

    pub fn merge(&mut self, other: &Times) {
        for (ns, count) in &other.0 {
            *self.0.entry(*ns).or_default() += count;
        }
    }

    pub fn len(&self) -> u64 {
        self.0.values().sum()
    }

    /// The time within which so many of a hundred are.
    pub fn percentile(&self, percent: u64) -> Duration {
        let (wanted, mut seen) = (self.len() * percent / 100, 0);
        let at = self.0.iter().find(|(_, count)| {
            seen += **count;
            seen > wanted
        });
        Duration::from_nanos(at.map_or(0, |(ns, _)| *ns))
    }
}

/// Shared by the ordering thread and by the one that gives it messages.
#[derive(Debug)]
pub(super) struct Meter {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    since: Duration,
    counted: Counted,
    own: u64,
    times: Times,
    window: (u64, u64),
}

impl Meter {
    pub fn start() -> Self {
        let (stage, since, counted, times) = (Stage::Take, Duration::ZERO, Counted::default(), Times::default());
        let state = State { stage, since, counted, own: 0, times, window: (0, 0) };
        Meter { started: Instant::now(), state: Mutex::new(state) }
    }

    /// The ordering thread goes on to another stage; says which one it was at. Nobody else may call this.
    pub fn turn(&self, to: Stage) -> Stage {
        let now = thread_cpu();
        let mut state = self.state();
        let from = std::mem::replace(&mut state.stage, to);
        let spent = now.saturating_sub(state.since).as_nanos();
        state.since = now;
        if let Some(sum) = state.counted.stages_ns.get_mut(from as usize) {
            *sum += u64::try_from(spent).unwrap_or_default();
        }
        from
    }

    pub fn count(&self, what: Count, more: u64) {
        if let Some(sum) = self.state().counted.counts.get_mut(what as usize) {
            *sum += more;
        }
    }

    pub fn set(&self, what: Count, value: u64) {
        if let Some(sum) = self.state().counted.counts.get_mut(what as usize) {
            *sum = value;
        }
    }

    pub fn counted(&self) -> Counted {
        self.state().counted
    }

    /// Nanoseconds since the measurement began, as messages carry them.
    pub fn stamp(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Own messages that were given in between these moments count from now on.
    pub fn watch(&self, from: Instant, to: Instant) {
        let window = (self.stamp(from), self.stamp(to));
        let mut state = self.state();
        (state.window, state.times) = (window, Times::default());
    }

    /// An entry is in the log: with so many messages, and with own ones that were given in at these times.
    pub fn ordered(&self, messages: u64, own: &[u64]) {
        let now = self.stamp(Instant::now());
        let mut state = self.state();
        let (from, to) = state.window;
        for at in own.iter().filter(|at| (from..to).contains(at)) {
            state.times.add(now.saturating_sub(*at));
        }
        state.own += own.len() as u64;
        for (what, more) in [(Count::Messages, messages), (Count::Entries, 1)] {
            if let Some(sum) = state.counted.counts.get_mut(what as usize) {
                *sum += more;
            }
        }
    }

    /// Own messages that are in the log.
    pub fn own(&self) -> u64 {
        self.state().own
    }

    pub fn times(&self) -> Times {
        self.state().times.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn thread_cpu() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_one_part_in_32_over_all_sizes() {
        for unit in [1u64, 1_000, 1_000_000, 1_000_000_000] {
            let (mut times, mut odd) = (Times::default(), Times::default());
            (1..=1000).filter(|n| n % 2 == 0).for_each(|n| times.add(n * unit));
            (1..=1000).filter(|n| n % 2 == 1).for_each(|n| odd.add(n * unit));
            times.merge(&odd);
            assert_eq!(times.len(), 1000);
            for (percent, right) in [(50, 501), (99, 991)] {
                let (found, right) = (times.percentile(percent).as_nanos() as u64, right * unit);
                assert!(found <= right && found + right / 31 >= right, "{unit}: {found} for {right}");
            }
        }
        assert_eq!(Times::default().percentile(99), Duration::ZERO);
    }

    #[test]
    fn a_threads_time_is_counted_for_the_stage_that_it_was_at() {
        let meter = Meter::start();
        meter.turn(Stage::Check);
        let before = meter.counted();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(20) {}
        let turned = meter.turn(Stage::Core);
        assert_eq!(turned, Stage::Check);
        let spent = meter.counted().since(&before);
        assert!(spent.stage(Stage::Check) > Duration::from_millis(1), "{spent:?}");
        assert_eq!(spent.stage(Stage::Core), Duration::ZERO);
    }

    #[test]
    fn only_messages_of_the_window_have_latencies_and_all_are_counted() {
        let meter = Meter::start();
        let now = Instant::now();
        meter.watch(now, now + Duration::from_millis(1));
        let inside = meter.stamp(now);
        meter.ordered(5, &[inside, inside.saturating_sub(1), inside + 2_000_000]);
        assert_eq!((meter.times().len(), meter.own(), meter.counted().get(Count::Messages)), (1, 3, 5));
    }
}
