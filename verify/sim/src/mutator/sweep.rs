//! Many seeds of mutated runs, and what becomes of those that fail.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::minimise::minimise;
use super::script::{Script, Turn};
use crate::run::{Verdict, run};
use crate::setup::Setup;

/// Changes that are told of one run.
const TOLD_MAX: usize = 24;

/// A sweep.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The seeds.
    pub seeds: Range<u64>,
    /// Leaders.
    pub n: u8,
    /// Hours of each run, for long ones.
    pub hours: Option<u64>,
    /// What mutators may do.
    pub script: Script,
    /// Threads.
    pub jobs: u64,
    /// Runs for one minimisation.
    pub effort: usize,
    /// Whether every event is printed.
    pub verbose: bool,
}

/// A line of the corpus: a run that failed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The seed.
    pub seed: u64,
    /// Leaders.
    pub n: u8,
    /// Hours, of a long run.
    pub hours: Option<u64>,
    /// The turns.
    pub script: Script,
}

impl Line {
    /// The run.
    pub fn setup(&self) -> Setup {
        let setup = match self.hours {
            Some(hours) => Setup::long(self.seed, self.n, hours),
            None => Setup::mutated(self.seed, self.n),
        };
        Setup { script: self.script.clone(), ..setup }
    }

    /// Reads `SEED N HOURS SCRIPT`, with `-` for the hours of a short run; `None` if it is none.
    pub fn read(text: &str) -> Option<Line> {
        let mut parts = text.splitn(4, ' ');
        let (seed, n) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let hours = match parts.next()? {
            "-" => None,
            hours => Some(hours.parse().ok()?),
        };
        Some(Line { seed, n, hours, script: parts.next()?.parse().ok()? })
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hours = self.hours.map_or_else(|| "-".to_owned(), |hours| hours.to_string());
        write!(f, "{} {} {hours} {}", self.seed, self.n, self.script)
    }
}

/// What came of a sweep.
#[derive(Debug, Default)]
struct Sums {
    failed: u64,
    turns: u64,
    events: u64,
    delivered: u64,
    properties: BTreeMap<&'static str, u64>,
}

impl Sweep {
    fn line(&self, seed: u64) -> Line {
        Line { seed, n: self.n, hours: self.hours, script: self.script.clone() }
    }

    /// Runs it and prints what fails; true if nothing does.
    pub fn report(&self) -> bool {
        let next = AtomicU64::new(self.seeds.start);
        let sums = Mutex::new(Sums::default());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.seeds.end {
                            return;
                        }
                        self.one(seed, &sums);
                    }
                });
            }
        });
        let sums = sums.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = self.seeds.end - self.seeds.start;
        println!(
            "{count} seeds at n = {}, {} failed {:?}; {} changes, {} events, {} deliveries",
            self.n, sums.failed, sums.properties, sums.turns, sums.events, sums.delivered
        );
        sums.failed == 0
    }

    fn one(&self, seed: u64, sums: &Mutex<Sums>) {
        let setup = Setup { verbose: self.verbose, ..self.line(seed).setup() };
        let outcome = std::panic::catch_unwind(|| run(setup.clone())).ok();
        let told = outcome.as_ref().is_none_or(|verdict| !verdict.is_good()).then(|| {
            let line = self.line(seed);
            outcome.as_ref().map_or_else(|| format!("{line}\n    it panicked"), |verdict| self.explain(&line, verdict))
        });
        let mut sums = sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(verdict) = &outcome {
            sums.turns += verdict.tried.len() as u64;
            sums.events += verdict.events;
            sums.delivered += verdict.messages.1;
            let kinds: BTreeSet<&'static str> = verdict.violations.iter().map(|v| v.property).collect();
            kinds.into_iter().for_each(|kind| *sums.properties.entry(kind).or_default() += 1);
        }
        if let Some(told) = told {
            sums.failed += 1;
            println!("{told}");
        }
    }

    /// What fails, and the fewest changes with which it does.
    fn explain(&self, line: &Line, verdict: &Verdict) -> String {
        let first = verdict.violations.first();
        let mut text = format!("{line}");
        for violation in verdict.violations.iter().take(4) {
            text += &format!("\n    {violation}");
        }
        let turns: BTreeSet<Turn> = verdict.tried.iter().map(|tried| tried.turn).collect();
        let setup = line.setup();
        if self.effort == 0 {
            return text;
        }
        let Some(least) = first.and_then(|first| minimise(&setup, turns, first.property, self.effort)) else {
            return text;
        };
        let least_line = Line { script: least.script, ..line.clone() };
        text += &format!("\n  the least of it: {least_line}");
        for tried in least.verdict.tried.iter().take(TOLD_MAX) {
            text += &format!("\n    {}: {}", tried.turn.number, tried.how);
        }
        for violation in least.verdict.violations.iter().take(2) {
            text += &format!("\n    {violation}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_corpus_is_read_as_it_is_written() {
        for text in ["7 4 - l2:17,40 m0:5", "9 7 12 *", "9 7 12 -"] {
            assert_eq!(Line::read(text).expect("a line").to_string(), text);
        }
        assert!(["7", "7 4 -", "a 4 - *", "7 4 x *"].iter().all(|text| Line::read(text).is_none()));
    }
}
