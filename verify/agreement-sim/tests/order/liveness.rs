//! The log grows while the network is still bad: nothing here waits for peace.

use std::time::Duration;

use ringfort_agreement_sim::network::Weather;
use ringfort_agreement_sim::plays::{SCENE, load};
use ringfort_agreement_sim::run::build;
use ringfort_agreement_sim::{Plan, Strategy, World};

/// Committed blocks at the honest leader that is furthest behind.
fn committed(world: &World) -> u64 {
    world.honest().iter().filter_map(|who| world.core(*who)).map(|core| core.log().position).min().unwrap_or(0)
}

fn is_right(world: &World) {
    assert!(world.checks.violations.is_empty(), "{}", world.checks.violations.join("\n"));
}

#[test]
fn the_log_grows_under_a_wild_and_a_hostile_network_with_any_hacked_leader() {
    for weather in [Weather::Wild, Weather::Hostile] {
        for strategy in Strategy::ALL {
            let plan = Plan { weather: Some(weather), hacked: true, strategy: Some(strategy), ..SCENE };
            let mut world = build(11, &plan);
            load(&mut world, 700, 40);
            let first = committed(&world);
            load(&mut world, 700, 40);
            let then = committed(&world);
            assert!(first >= 5 && then >= first + 5, "{weather:?}, {strategy:?}: {first}, then {then} blocks");
            is_right(&world);
        }
    }
}

#[test]
fn seven_leaders_with_two_hacked_order_under_a_hostile_network() {
    for seed in 0..6 {
        let plan = Plan { sizes: (7, 2), weather: Some(Weather::Hostile), hacked: true, ..SCENE };
        let mut world = build(seed, &plan);
        load(&mut world, 1500, 40);
        assert!(committed(&world) >= 20, "seed {seed}: {} blocks", committed(&world));
        is_right(&world);
    }
}

#[test]
fn votes_withheld_and_an_honest_leader_held_down_stop_nothing_and_fill_no_memory() {
    let mut world = build(12, &Plan { hacked: true, strategy: Some(Strategy::Withhold), ..SCENE });
    let held = world.honest()[0];
    world.network.slow.insert(held, Duration::from_millis(30));
    load(&mut world, 1000, 1500);
    let (first, early) = (committed(&world), ringfort_agreement_sim::plays::peak(&world).bytes);
    load(&mut world, 2000, 1500);
    let late = ringfort_agreement_sim::plays::peak(&world).bytes;
    assert!(committed(&world) > first + 100);
    assert!(late < early * 2 + 2_000_000, "{early} bytes, then {late}");
    is_right(&world);
}

#[test]
fn every_equivocator_is_on_record_soon() {
    let all = [Strategy::Equivocate, Strategy::EquivocateDeep, Strategy::EquivocateOpenly, Strategy::Multiply];
    for strategy in all {
        let mut world = build(13, &Plan { hacked: true, strategy: Some(strategy), ..SCENE });
        load(&mut world, 200, 40);
        let hacked = world.all().into_iter().find(|who| !world.checks.honest.has(*who)).unwrap();
        assert!(world.checks.convicted.has(hacked), "{strategy:?} after a hundred rounds");
        is_right(&world);
    }
}
