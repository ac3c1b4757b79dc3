//! Some hundred seeds of each kind of run. A longer sweep: `cargo run -p ringfort-agreement-sim -- 0 5000`.

use ringfort_agreement_sim::network::Weather;
use ringfort_agreement_sim::{Plan, Strategy, run};

fn sweep(first: u64, count: u64, plan: &Plan) -> (usize, u64) {
    let (mut entries, mut installed) = (0, 0);
    for seed in first..first + count {
        let outcome = run(seed, plan);
        let complaints = &outcome.complaints;
        assert!(complaints.is_empty(), "seed {seed} of {plan:?}: {}", complaints.join("\n"));
        entries += outcome.world.checks.log.len();
        installed += outcome.world.checks.installed;
    }
    (entries, installed)
}

#[test]
fn every_strategy_of_one_hacked_leader_in_four_changes_nothing() {
    for strategy in Strategy::ALL {
        let plan = Plan { strategy: Some(strategy), ..Plan::CHAOS };
        let (entries, _) = sweep(0, 12, &plan);
        assert!(entries > 500, "{strategy:?}: hardly anything was ordered");
    }
}

#[test]
fn two_hacked_leaders_in_seven_change_nothing() {
    let (entries, _) = sweep(0, 40, &Plan { sizes: (7, 2), ..Plan::CHAOS });
    assert!(entries > 5000);
}

#[test]
fn groups_of_every_size_keep_every_property() {
    for sizes in [(1, 0), (2, 0), (3, 0), (5, 1), (6, 1), (8, 2), (10, 3)] {
        sweep(0, 8, &Plan { sizes, ..Plan::CHAOS });
    }
}

#[test]
fn crashes_sleep_partitions_and_a_lost_disk_keep_every_property() {
    let plan = Plan { hacked: false, ..Plan::CHAOS };
    let (_, installed) = sweep(0, 120, &plan);
    assert!(installed > 20, "states were fetched or read back");
}

#[test]
fn a_scheduler_that_sees_every_share_changes_nothing() {
    for weather in [Weather::Wild, Weather::Hostile] {
        sweep(1000, 40, &Plan { weather: Some(weather), ..Plan::CHAOS });
    }
}

#[test]
fn slots_between_the_coins_keep_every_property_in_random_runs() {
    for period in [5, 16] {
        sweep(0, 30, &Plan { period, ..Plan::CHAOS });
    }
}

#[test]
fn the_real_keys_do_what_the_stand_ins_do() {
    sweep(0, 4, &Plan { real_keys: true, steps: 40, ..Plan::CHAOS });
}

#[test]
fn one_seed_is_one_run() {
    let (first, second) = (run(7, &Plan::CHAOS), run(7, &Plan::CHAOS));
    assert_eq!(first.world.checks.log, second.world.checks.log);
    assert_eq!(first.world.sent, second.world.sent);
}
