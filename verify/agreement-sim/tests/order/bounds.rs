//! Memory, bytes and pace, whatever one leader in four does; and leaders that were away.

use std::time::Duration;

use ringfort_agreement::limits::HISTORY_ROUNDS;
use ringfort_agreement_sim::network::Weather;
use ringfort_agreement_sim::plays::{SCENE, comes_together, load, peak};
use ringfort_agreement_sim::run::build;
use ringfort_agreement_sim::{Plan, Strategy, World};

fn is_right(world: &World) {
    assert!(world.checks.violations.is_empty(), "{}", world.checks.violations.join("\n"));
}

/// Rounds that honest leaders went through in so many milliseconds of load.
fn rounds(world: &mut World, millis: u64) -> u64 {
    let honest = world.honest();
    let at = |world: &World| honest.iter().filter_map(|who| world.core(*who)).map(|core| core.quorum_round()).max();
    let before = at(world).unwrap_or(0);
    load(world, millis, 60);
    at(world).unwrap_or(0) - before
}

#[test]
fn memory_is_as_flat_after_four_seconds_as_after_one_whatever_a_leader_does() {
    for strategy in Strategy::ALL {
        let mut world = build(2, &Plan { hacked: true, strategy: Some(strategy), ..SCENE });
        load(&mut world, 1000, 60);
        let early = peak(&world);
        load(&mut world, 3000, 60);
        let late = peak(&world);
        // Four leaders' blocks of the history, and of two checkpoints.
        let usual = 4 * (usize::try_from(HISTORY_ROUNDS).unwrap() + 2 * 24 + 60);
        assert!(late.blocks <= early.blocks.max(usual) * 3 / 2, "{strategy:?}: blocks {early:?}, then {late:?}");
        assert!(late.bytes <= early.bytes * 3 / 2 + 1_000_000, "{strategy:?}: bytes {early:?}, then {late:?}");
        assert!(late.waiting <= 300 && late.wanted <= 600, "{strategy:?}: {late:?}");
        assert!(comes_together(&mut world, Duration::from_secs(3)), "{strategy:?}");
        is_right(&world);
    }
}

#[test]
fn one_slow_leader_costs_the_others_little() {
    let mut free = build(3, &SCENE);
    let usual = rounds(&mut free, 1000);
    let mut slowed = build(3, &SCENE);
    let slow = slowed.all()[1];
    slowed.network.slow.insert(slow, Duration::from_millis(200));
    let _ = rounds(&mut slowed, 500);
    let with_slow = rounds(&mut slowed, 1000);
    assert!(with_slow * 13 >= usual * 10, "{usual} rounds without, {with_slow} with a leader 200 ms away");
    slowed.go(Duration::from_millis(600));
    let its_own = slowed.checks.log.values().filter(|name| name.author == slow).count();
    assert!(its_own > 400, "what a leader that is far away says comes into the log too: {its_own} blocks");
    is_right(&slowed);
}

#[test]
fn a_leader_just_in_time_does_not_set_the_pace() {
    let mut free = build(3, &SCENE);
    let usual = rounds(&mut free, 1000);
    let mut late = build(3, &Plan { hacked: true, strategy: Some(Strategy::Late), ..SCENE });
    let _ = rounds(&mut late, 500);
    let with_late = rounds(&mut late, 1000);
    assert!(with_late * 2 >= usual, "{usual} rounds without, {with_late} with a leader that is just in time");
    is_right(&late);
}

#[test]
fn a_leader_that_slept_for_long_catches_up_by_a_state_and_takes_part_again() {
    let mut world = build(4, &SCENE);
    load(&mut world, 200, 60);
    let who = world.all()[2];
    world.sleep(who);
    load(&mut world, 4000, 60);
    world.wake(who);
    let installed = world.checks.installed;
    load(&mut world, 300, 60);
    assert!(comes_together(&mut world, Duration::from_secs(2)));
    assert!(world.checks.installed > installed, "by a state, not block by block");
    let round = world.core(who).unwrap().own_round();
    load(&mut world, 100, 60);
    assert!(world.core(who).unwrap().own_round() > round);
    is_right(&world);
    assert!(peak(&world).bytes < 4_000_000, "{:?}", peak(&world));
}

#[test]
fn a_leader_that_lost_some_frames_needs_no_state() {
    let mut world = build(5, &SCENE);
    load(&mut world, 100, 60);
    let who = world.all()[1];
    for _ in 0..5 {
        world.network.split(&[who]);
        load(&mut world, 40, 60);
        world.network.cut.clear();
        load(&mut world, 100, 60);
    }
    assert!(comes_together(&mut world, Duration::from_secs(2)));
    assert_eq!(world.checks.installed, 0);
    is_right(&world);
}

#[test]
fn each_leader_cut_off_in_turn_stops_nothing() {
    let mut world = build(6, &SCENE);
    for who in world.all() {
        world.network.split(&[who]);
        let before = world.checks.log.len();
        load(&mut world, 150, 60);
        assert!(world.checks.log.len() > before + 50, "{who} is cut off and nothing is ordered");
        world.network.cut.clear();
        load(&mut world, 150, 60);
    }
    world.network.heal();
    assert!(comes_together(&mut world, Duration::from_secs(3)));
    is_right(&world);
}

#[test]
fn a_quorum_alone_orders_and_two_halves_do_not() {
    let mut world = build(7, &SCENE);
    let all = world.all();
    world.network.split(&all[..2]);
    load(&mut world, 300, 60);
    assert!(world.checks.log.is_empty(), "neither half is a quorum");
    world.network.heal();
    assert!(comes_together(&mut world, Duration::from_secs(3)));
    is_right(&world);
}

#[test]
fn clocks_that_jump_an_hour_halt_nothing_and_time_still_rises() {
    for off in [3_600_000_i64, -3_600_000] {
        let mut world = build(8, &Plan { weather: Some(Weather::Kind), ..SCENE });
        load(&mut world, 100, 60);
        let all = world.all();
        for who in &all[..2] {
            world.nodes.get_mut(who).unwrap().clock_off_ms = off.min(0);
        }
        load(&mut world, 200, 60);
        assert!(comes_together(&mut world, Duration::from_secs(2)));
        is_right(&world);
    }
}

#[test]
fn an_idle_group_sends_next_to_nothing() {
    let mut world = build(9, &SCENE);
    load(&mut world, 100, 60);
    assert!(comes_together(&mut world, Duration::from_secs(2)));
    world.go(Duration::from_secs(1));
    let before = world.sent;
    world.go(Duration::from_secs(10));
    let (frames, bytes) = (world.sent.0 - before.0, world.sent.1 - before.1);
    assert!(frames <= 400 && bytes <= 60_000, "{frames} frames of {bytes} bytes in ten seconds");
}

#[test]
fn who_asks_for_everything_all_the_time_keeps_an_idle_group_at_the_idle_pace() {
    let mut world = build(10, &Plan { hacked: true, strategy: Some(Strategy::Flood), ..SCENE });
    load(&mut world, 50, 60);
    world.go(Duration::from_secs(1));
    let at =
        |world: &World| world.honest().iter().filter_map(|who| world.core(*who)).map(|core| core.own_round()).max();
    let before = at(&world).unwrap();
    world.go(Duration::from_secs(2));
    let made = at(&world).unwrap() - before;
    assert!(made <= 110, "{made} rounds in two seconds for nothing");
    is_right(&world);
}
