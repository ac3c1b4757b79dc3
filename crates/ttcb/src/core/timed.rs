//! What an entity measures, watches, and has executed in time (F1, F2, F3).
//!
//! A component that slept over a deadline cannot say that it was kept: it says that it failed.

use super::call::{Function, Timing};
use super::ids::Block;

/// Measurements that one entity has running.
pub const MEASURES_MAX: usize = 8;
/// What one entity watches.
pub const WATCHES_MAX: usize = 8;
/// What one entity has to be executed.
pub const EXECUTIONS_MAX: usize = 4;
/// How far ahead executions and watches may be, in microseconds.
const AHEAD_US: u64 = 3_600_000_000;

#[derive(Clone, Copy)]
struct Watch {
    deadline_us: u64,
    timing: Timing,
}

#[derive(Clone, Copy)]
struct Execution {
    function: Function,
    not_before_us: u64,
    deadline_us: u64,
    hash: Block,
    timing: Timing,
    at_us: u64,
    signature: [u8; 64],
}

/// One entity's tables.
#[derive(Default)]
pub struct Timed {
    measures: [Option<u64>; MEASURES_MAX],
    watches: [Option<Watch>; WATCHES_MAX],
    executions: [Option<Execution>; EXECUTIONS_MAX],
}

/// Why it is refused.
pub enum Refused {
    /// The table is full.
    Full,
    /// The time is too far ahead.
    TooFar,
}

impl Timed {
    /// Starts to measure at this moment of the monotonic clock, in nanoseconds.
    pub fn start_measure(&mut self, now_ns: u64) -> Option<u8> {
        open(&mut self.measures, now_ns)
    }

    /// Nanoseconds since the start; the handle is free again.
    pub fn stop_measure(&mut self, handle: u8, now_ns: u64) -> Option<u64> {
        let started = self.measures.get_mut(usize::from(handle))?.take()?;
        Some(now_ns.saturating_sub(started))
    }

    /// The machine has slept for a time that is not known well: what was being measured no longer is.
    pub fn on_wake(&mut self) {
        self.measures = [None; MEASURES_MAX];
    }

    /// Watches that something is done by the deadline.
    pub fn watch(&mut self, deadline_us: u64, now_us: u64) -> Result<u8, Refused> {
        if deadline_us > now_us.saturating_add(AHEAD_US) {
            return Err(Refused::TooFar);
        }
        let timing = if now_us > deadline_us { Timing::Failed } else { Timing::Pending };
        open(&mut self.watches, Watch { deadline_us, timing }).ok_or(Refused::Full)
    }

    /// It is done, at this moment.
    pub fn done(&mut self, handle: u8, now_us: u64) -> Option<Timing> {
        let watch = self.watches.get_mut(usize::from(handle))?.as_mut()?;
        if watch.timing == Timing::Pending {
            watch.timing = if now_us <= watch.deadline_us { Timing::Met } else { Timing::Failed };
        }
        Some(watch.timing)
    }

    /// Whether it was; the handle is free again once that is known.
    pub fn watched(&mut self, handle: u8, now_us: u64) -> Option<Timing> {
        let place = self.watches.get_mut(usize::from(handle))?;
        let watch = place.as_mut()?;
        if watch.timing == Timing::Pending && now_us > watch.deadline_us {
            watch.timing = Timing::Failed;
        }
        let timing = watch.timing;
        if timing != Timing::Pending {
            *place = None;
        }
        Some(timing)
    }

    /// Executes the function in this interval, or not at all.
    pub fn execute(
        &mut self,
        function: Function,
        from_us: u64,
        to_us: u64,
        hash: Block,
        now_us: u64,
    ) -> Result<u8, Refused> {
        if to_us > now_us.saturating_add(AHEAD_US) {
            return Err(Refused::TooFar);
        }
        let (timing, signature) = (Timing::Pending, [0; 64]);
        let (not_before_us, deadline_us) = (from_us, to_us);
        let execution = Execution { function, not_before_us, deadline_us, hash, timing, at_us: 0, signature };
        open(&mut self.executions, execution).ok_or(Refused::Full)
    }

    /// What came of it; the handle is free again once that is known.
    pub fn executed(&mut self, handle: u8) -> Option<(Timing, u64, [u8; 64])> {
        let place = self.executions.get_mut(usize::from(handle))?;
        let execution = *place.as_ref()?;
        if execution.timing != Timing::Pending {
            *place = None;
        }
        Some((execution.timing, execution.at_us, execution.signature))
    }

    /// A round: what is due is executed by `perform`, unless it is too late for it.
    pub fn on_round(&mut self, now_us: u64, mut perform: impl FnMut(Function, u64, &Block) -> [u8; 64]) {
        for execution in self.executions.iter_mut().flatten().filter(|e| e.timing == Timing::Pending) {
            if now_us > execution.deadline_us {
                execution.timing = Timing::Failed;
                execution.at_us = now_us;
            } else if now_us >= execution.not_before_us {
                execution.signature = perform(execution.function, now_us, &execution.hash);
                execution.timing = Timing::Met;
                execution.at_us = now_us;
            }
        }
    }
}

fn open<T, const N: usize>(table: &mut [Option<T>; N], value: T) -> Option<u8> {
    let place = table.iter().position(Option::is_none)?;
    *table.get_mut(place)? = Some(value);
    u8::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_in_time_is_told_so_and_nothing_else_is() {
        let mut timed = Timed::default();
        let [kept, missed, slept] = [(); 3].map(|()| timed.watch(1000, 0).ok().unwrap());
        assert_eq!(timed.done(kept, 1000), Some(Timing::Met));
        assert_eq!(timed.done(missed, 1001), Some(Timing::Failed));
        assert_eq!(timed.watched(slept, 1000), Some(Timing::Pending));
        assert_eq!(timed.watched(slept, 1001), Some(Timing::Failed), "nobody said that it was done");
        assert_eq!(timed.watched(kept, 9000), Some(Timing::Met));
        assert_eq!(timed.watched(kept, 9000), None, "once told it is forgotten");
    }

    #[test]
    fn what_is_executed_is_executed_in_its_interval_or_not_at_all() {
        let mut timed = Timed::default();
        let good = timed.execute(Function::Token, 100, 200, [7; 32], 0).ok().unwrap();
        let slept = timed.execute(Function::Token, 100, 140, [8; 32], 0).ok().unwrap();
        let mut performed = Vec::new();
        timed.on_round(99, |_, at, hash| {
            performed.push((at, *hash));
            [1; 64]
        });
        timed.on_round(150, |_, at, hash| {
            performed.push((at, *hash));
            [1; 64]
        });
        timed.on_round(160, |_, at, hash| {
            performed.push((at, *hash));
            [1; 64]
        });
        assert_eq!(performed, [(150, [7; 32])], "once, in its interval, and not after its deadline");
        assert_eq!(timed.executed(good), Some((Timing::Met, 150, [1; 64])));
        assert_eq!(timed.executed(slept), Some((Timing::Failed, 150, [0; 64])));
    }

    #[test]
    fn tables_refuse_when_they_are_full_and_forget_nothing() {
        let mut timed = Timed::default();
        let handles: Vec<Option<u8>> = (0..=MEASURES_MAX as u64).map(|at| timed.start_measure(at)).collect();
        assert!(handles[..MEASURES_MAX].iter().all(Option::is_some));
        assert_eq!(handles[MEASURES_MAX], None);
        assert_eq!(timed.stop_measure(0, 50), Some(50), "the first is still there");
        assert_eq!(timed.stop_measure(0, 60), None);
        assert_eq!(timed.start_measure(70), Some(0), "and its place is free");
        assert!((0..WATCHES_MAX).all(|_| timed.watch(9, 0).is_ok()) && timed.watch(9, 0).is_err());
    }
}
