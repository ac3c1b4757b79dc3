//! Plays scenarios: each play once, however many scenarios share it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use ringfort_sim::attacks::Attack;
use ringfort_sim::explore::{self, Limits, Report};
use ringfort_sim::mutants::SEED;
use serde::Serialize;

use crate::real::Stage;
use crate::scenario::{Outcome, RealScenario, Scenario};

/// How far the simulated stage explores unless told otherwise.
pub const LIMITS: Limits = Limits { depth: 16, plays: 400 };

/// What one play on the real stage may take at most.
const REAL_LIMIT: Duration = Duration::from_secs(180);

/// Where a play is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Pure cores on a bench, and a scheduler.
    Simulated,
    /// Processes and sockets.
    Real,
}

/// One play and its outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Played {
    /// The play.
    pub name: &'static str,
    /// Where.
    pub stage: Place,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it took, milliseconds.
    pub time_ms: u64,
    /// On the simulated stage: how far it was explored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explored: Option<Explored>,
}

/// How far a play was explored on the simulated stage.
#[derive(Clone, Debug, Serialize)]
pub struct Explored {
    /// Orders of deliveries that were played to the end.
    pub interleavings: usize,
    /// Orders left early because an equivalent one was played.
    pub pruned: usize,
    /// Of those played, how many were drawn by chance, where there are too many to play all.
    pub sampled: usize,
    /// Whether these were all orders inside the window.
    pub complete: bool,
    /// The seed of everything random.
    pub seed: u64,
    /// What to give `--replay` to see the outcome again.
    pub replay: String,
}

/// A schedule to be played again: `PLAY@SEED:CHOICES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The play.
    pub name: String,
    /// The seed.
    pub seed: u64,
    /// Which of the frames that could come next came next.
    pub choices: Vec<usize>,
}

impl std::str::FromStr for Replay {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, rest) = text.split_once('@').context("a replay looks like forged-share@7:0.2.1")?;
        let (seed, choices) = rest.split_once(':').unwrap_or((rest, ""));
        let choices: Result<Vec<usize>, _> = choices.split('.').filter(|c| !c.is_empty()).map(str::parse).collect();
        Ok(Replay { name: name.to_owned(), seed: seed.parse().context("the seed is a number")?, choices: choices? })
    }
}

impl std::fmt::Display for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let choices: Vec<String> = self.choices.iter().map(ToString::to_string).collect();
        write!(f, "{}@{}:{}", self.name, self.seed, choices.join("."))
    }
}

impl Played {
    fn simulated(attack: &'static Attack, report: Report, took: Duration) -> Played {
        let replay = Replay { name: attack.name.to_owned(), seed: report.seed, choices: report.schedule };
        let explored = Explored {
            interleavings: report.interleavings,
            pruned: report.pruned,
            sampled: report.sampled,
            complete: report.complete && !report.cut,
            seed: report.seed,
            replay: replay.to_string(),
        };
        let (outcome, time_ms) = (report.outcome.into(), millis(took));
        Played { name: attack.name, stage: Place::Simulated, outcome, time_ms, explored: Some(explored) }
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// The plays of some scenarios on the simulated stage, each once.
pub fn simulated_of(scenarios: &[&'static Scenario]) -> Vec<&'static Attack> {
    let mut attacks: Vec<&'static Attack> = Vec::new();
    for attack in scenarios.iter().flat_map(|scenario| scenario.simulated()) {
        if !attacks.iter().any(|a| a.name == attack.name) {
            attacks.push(attack);
        }
    }
    attacks
}

/// The plays of some scenarios on the real stage, each once.
pub fn real_of(scenarios: &[&'static Scenario]) -> Vec<(&'static str, RealScenario)> {
    let mut plays: Vec<(&'static str, RealScenario)> = Vec::new();
    for (name, play) in scenarios.iter().flat_map(|scenario| scenario.real()) {
        if !plays.iter().any(|(known, _)| *known == name) {
            plays.push((name, play));
        }
    }
    plays
}

/// Does some work for each item on every processor; the results are in the items' order.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(place) else { return };
                    let result = work(item);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(place, result);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_values().collect()
}

/// Explores one attack; a panic of honest code counts as broken.
pub fn explore(attack: &'static Attack, seed: u64, limits: Limits) -> Played {
    let began = Instant::now();
    let report = catch_unwind(AssertUnwindSafe(|| attack.explore(None, seed, limits)));
    match report {
        Ok(report) => Played::simulated(attack, report, began.elapsed()),
        Err(_) => {
            let outcome = Outcome::broken("it panicked");
            let time_ms = millis(began.elapsed());
            Played { name: attack.name, stage: Place::Simulated, outcome, time_ms, explored: None }
        }
    }
}

/// Explores attacks on every processor. `told` hears of each one that is done.
pub fn simulate(attacks: &[&'static Attack], seed: u64, limits: Limits, told: impl Fn(&Played) + Sync) -> Vec<Played> {
    in_parallel(attacks, |attack| {
        let played = explore(attack, seed, limits);
        told(&played);
        played
    })
}

/// Plays one schedule of one attack again.
///
/// # Errors
/// There is no such play.
pub fn replay(replay: &Replay) -> anyhow::Result<Played> {
    let attack = ringfort_sim::attacks::named(&replay.name).with_context(|| format!("no play {}", replay.name))?;
    let began = Instant::now();
    let report = explore::replay(attack.play, None, replay.seed, replay.choices.clone());
    Ok(Played::simulated(attack, report, began.elapsed()))
}

/// Plays against real processes of `program`, one after the other on one stage.
///
/// # Errors
/// The stage cannot be set up.
pub async fn against_processes(
    plays: &[(&'static str, RealScenario)],
    program: &Path,
    mut told: impl FnMut(&Played),
) -> anyhow::Result<Vec<Played>> {
    let mut all = Vec::new();
    let mut open: Option<Stage> = None;
    for (name, play) in plays {
        let mut stage = match open.take() {
            Some(stage) => stage,
            None => Stage::open(program.to_owned()).await.context("the real stage")?,
        };
        let began = Instant::now();
        let (outcome, in_order) = match tokio::time::timeout(REAL_LIMIT, play(&mut stage)).await {
            Ok(Ok(outcome)) => (outcome, true),
            Ok(Err(error)) => (Outcome::not_made(format!("{error:#}")), false),
            Err(_) => (Outcome::broken(format!("not over after {} s", REAL_LIMIT.as_secs())), false),
        };
        let time_ms = millis(began.elapsed());
        let played = Played { name, stage: Place::Real, outcome, time_ms, explored: None };
        told(&played);
        all.push(played);
        if in_order {
            open = Some(stage);
        } else {
            stage.close().await;
        }
    }
    if let Some(stage) = open {
        stage.close().await;
    }
    Ok(all)
}

/// The seed unless told otherwise.
pub const fn usual_seed() -> u64 {
    SEED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_is_read_as_it_is_written() {
        for text in ["forged-share@7:0.2.1", "old-view@12:"] {
            assert_eq!(text.parse::<Replay>().unwrap().to_string(), text);
        }
        assert_eq!("old-view@12".parse::<Replay>().unwrap().choices, Vec::<usize>::new());
        assert!("old-view".parse::<Replay>().is_err() && "old-view@x".parse::<Replay>().is_err());
    }

    #[test]
    fn work_in_parallel_keeps_its_order() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(in_parallel(&items, |item| item * 2), items.iter().map(|item| item * 2).collect::<Vec<_>>());
    }
}
