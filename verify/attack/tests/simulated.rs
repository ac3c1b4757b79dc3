//! The simulated stage: every play is refused, every defence removed is noticed, and flawed twins are seen.

#![allow(clippy::unwrap_used)]

use ringfort_attack::catalogue;
use ringfort_attack::defences;
use ringfort_attack::play::{self, Replay};
use ringfort_attack::scenario::Outcome;
use ringfort_sim::bench::Bench;
use ringfort_sim::explore::Limits;
use ringfort_sim::mutants;

/// A small window: the whole of it is for `ringfort attack`.
const SMALL: Limits = Limits { depth: 6, plays: 10 };

#[test]
fn every_scenario_is_refused() {
    let scenarios: Vec<_> = catalogue::all().collect();
    let played = play::simulate(&play::simulated_of(&scenarios), play::usual_seed(), SMALL, |_| {});
    let failed: Vec<_> = played.iter().filter(|played| !played.outcome.is_refused()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let orders: usize = played.iter().filter_map(|p| p.explored.as_ref()).map(|e| e.interleavings).sum();
    assert!(orders > 200, "only {orders} orders were played");
}

#[test]
fn another_seed_changes_nothing() {
    let scenarios: Vec<_> = catalogue::all().collect();
    let one = Limits { depth: 1, plays: 1 };
    for seed in [8, 9] {
        let played = play::simulate(&play::simulated_of(&scenarios), seed, one, |_| {});
        let failed: Vec<_> = played.iter().filter(|played| !played.outcome.is_refused()).collect();
        assert!(failed.is_empty(), "seed {seed}: {failed:#?}");
    }
}

#[test]
fn every_defence_removed_is_noticed() {
    let defences = defences::remove_each(|_| {});
    let missed: Vec<_> = defences.iter().filter(|d| !d.as_expected).collect();
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(defences.iter().all(|d| !d.scenarios.is_empty()), "a play of no scenario");
}

/// The flaws of the papers, each in a variant that has it: the very same play reports them.
#[test]
fn flawed_twins_are_seen() {
    let mut twins = 0;
    for scenario in catalogue::all() {
        for twin in scenario.twins {
            let attack = ringfort_sim::attacks::named(twin.play).unwrap();
            let outcome = Outcome::from(mutants::judge(twin.without, attack, defences::LIMITS).report.outcome);
            assert!(matches!(outcome, Outcome::Broken { .. }), "{} without {:?}: {outcome:?}", twin.play, twin.without);
            twins += 1;
        }
    }
    assert!(twins >= 7, "{twins} twins");
}

#[test]
fn a_failing_order_is_replayed_by_what_is_printed() {
    let attack = ringfort_sim::attacks::named("forged-share").unwrap();
    let report = attack.explore(None, play::usual_seed(), SMALL);
    let replay = Replay { name: attack.name.into(), seed: report.seed, choices: report.schedule };
    let again = play::replay(&replay.to_string().parse().unwrap()).unwrap();
    assert_eq!(again.outcome, report.outcome.into());
    assert!(play::replay(&"no-such-play@7:".parse().unwrap()).is_err());
}

/// The list of members comes to a joiner with the claim: one from each leader, however many members there are.
#[test]
fn a_list_of_members_comes_in_one_claim() {
    for members in [2, 20] {
        let mut bench = Bench::new(7, None, |_| {});
        for number in 0..members {
            bench.member(&format!("member{number}"));
        }
        let seat = bench.member("joiner");
        let claims = bench.is_claim_to(seat);
        let told = bench.frames(0, claims).len();
        assert!(bench.sees(seat, "member0") && told <= 8, "{told} claims to list {members} members");
    }
}
