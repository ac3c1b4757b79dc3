//! A corpus of seeds: every strategy at two sizes, and the promise that a seed is a run.

use ringfort_sim::run::{Verdict, run};
use ringfort_sim::settle;
use ringfort_sim::setup::Setup;
use ringfort_sim::strategy::Vice;

fn check(seed: u64, n: u8, f: u8, vice: Vice) -> Verdict {
    let verdict = run(Setup::with(seed, n, f, vice));
    let replay = format!(
        "cargo run --release -p ringfort-sim -- run --seed {seed} --leaders {n} --faults {f} --strategy {}",
        vice.name()
    );
    assert!(verdict.is_good(), "replay: {replay}\n{:#?}", verdict.violations);
    verdict
}

fn every_strategy(n: u8, f: u8, seeds: std::ops::Range<u64>) {
    let (mut events, mut delivered) = (0, 0);
    for vice in Vice::ALL {
        for seed in seeds.clone() {
            let verdict = check(seed, n, f, vice);
            events += verdict.events;
            delivered += verdict.messages.1;
        }
    }
    // Something did happen in these runs.
    assert!(events > 50_000 && delivered > 2_000, "{events} events, {delivered} deliveries");
}

#[test]
fn every_strategy_at_four_leaders() {
    every_strategy(4, 1, 0..4);
}

#[test]
fn every_strategy_at_seven_leaders() {
    every_strategy(7, 2, 100..102);
}

#[test]
fn without_faults_everything_is_smooth() {
    for seed in 0..6 {
        let verdict = run(Setup::calm(seed, 4, 1));
        assert!(verdict.is_good(), "{:#?}", verdict.violations);
    }
}

#[test]
fn one_seed_is_one_run_bit_for_bit() {
    for seed in [3, 4, 5] {
        let (a, b) = (run(Setup::random(seed)), run(Setup::random(seed)));
        assert_eq!((a.digest, a.events), (b.digest, b.events), "seed {seed}");
        assert_ne!(a.digest, run(Setup::random(seed + 1000)).digest);
    }
}

#[test]
fn dozens_of_concurrent_joins_settle() {
    for (n, f) in [(4, 1), (7, 2)] {
        let (time, views) = settle::measure(1, n, f, Vice::Equivocate, 40, "joins");
        assert!(time.as_secs() < 5, "{time:?} for 40 joins at {n} leaders, {views} views");
    }
}

/// Runs that once found a defect, in the protocol or in a checker.
#[test]
fn what_was_found_stays_mended() {
    for seed in [1, 6, 72, 83, 1228, 1499, 5071, 5247, 12918, 101529, 101626, 920150, 920258] {
        let verdict = run(Setup::random(seed));
        assert!(
            verdict.is_good(),
            "replay: cargo run --release -p ringfort-sim -- run --seed {seed}\n{:#?}",
            verdict.violations
        );
    }
}
