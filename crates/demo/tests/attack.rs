//! The real stage of the attack kit: real leaders' processes, hostile wires, clients and leaders.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Instant;

use ringfort_attack::real::{SCENARIOS, Stage};

/// Those of the scenarios that the environment variable names, or all.
fn wanted() -> Vec<&'static str> {
    let chosen = std::env::var("RINGFORT_SCENARIOS").unwrap_or_default();
    let chosen: Vec<&str> = chosen.split_whitespace().collect();
    SCENARIOS.iter().map(|(name, _)| *name).filter(|name| chosen.is_empty() || chosen.contains(name)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_is_refused() {
    let began = Instant::now();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_ringfort-demo"));
    let mut stage = Stage::open(program).await.unwrap();
    let mut failed = Vec::new();
    for name in wanted() {
        let (_, scenario) = SCENARIOS.iter().find(|(known, _)| *known == name).unwrap();
        let started = Instant::now();
        let outcome = scenario(&mut stage).await;
        eprintln!(
            "{:6.1}s {:5.1}s {name}: {outcome:?}",
            began.elapsed().as_secs_f64(),
            started.elapsed().as_secs_f64()
        );
        if !outcome.as_ref().is_ok_and(ringfort_attack::scenario::Outcome::is_refused) {
            failed.push((name, outcome));
        }
    }
    stage.close().await;
    assert!(failed.is_empty(), "{failed:#?}");
}
