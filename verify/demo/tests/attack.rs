//! The real stage of the attack kit: real leaders' processes, hostile wires, clients and leaders.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Instant;

use ringfort_attack::real::{SCENARIOS, Stage};
use ringfort_attack::scenario::{Outcome, RealScenario};

/// The scenarios of the network and of strangers come first, then those of insiders and leaders.
const OUTSIDE: usize = 19;

/// Plays scenarios one after the other on one stage; `RINGFORT_SCENARIOS` names those wanted, if not all.
async fn all_are_refused(scenarios: &[(&'static str, RealScenario)]) {
    let chosen = std::env::var("RINGFORT_SCENARIOS").unwrap_or_default();
    let chosen: Vec<&str> = chosen.split_whitespace().collect();
    let wanted = scenarios.iter().filter(|(name, _)| chosen.is_empty() || chosen.contains(name));
    let began = Instant::now();
    let mut stage = Stage::open(PathBuf::from(env!("CARGO_BIN_EXE_ringfort-demo"))).await.unwrap();
    let mut failed = Vec::new();
    for (name, play) in wanted {
        let started = Instant::now();
        let outcome = play(&mut stage).await;
        let (total, own) = (began.elapsed().as_secs_f64(), started.elapsed().as_secs_f64());
        eprintln!("{total:6.1}s {own:5.1}s {name}: {outcome:?}");
        if !outcome.as_ref().is_ok_and(Outcome::is_refused) {
            failed.push((name, outcome));
        }
    }
    stage.close().await;
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_from_outside_is_refused() {
    all_are_refused(SCENARIOS.split_at(OUTSIDE).0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_from_inside_is_refused() {
    let (outside, inside) = SCENARIOS.split_at(OUTSIDE);
    assert!(outside.last().unwrap().0 == "false-leader" && inside.first().unwrap().0 == "forged-origin");
    all_are_refused(inside).await;
}
