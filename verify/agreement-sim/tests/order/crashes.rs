//! A leader crashes at each place where it makes something durable, before and after the write.

use std::time::Duration;

use ringfort_agreement::{Author, Memory};
use ringfort_agreement_sim::node::CrashAt;
use ringfort_agreement_sim::plays::{SCENE, comes_together, load, power_cut, rolled_back};
use ringfort_agreement_sim::run::{build, describe};
use ringfort_agreement_sim::{Plan, Strategy, World, run};

fn is_right(world: &World) {
    assert!(world.checks.violations.is_empty(), "{}", world.checks.violations.join("\n"));
}

#[test]
fn a_crash_at_any_write_splits_nothing_and_convicts_nobody() {
    for persist in 1..=60 {
        for written in [false, true] {
            let crash_at = Some(CrashAt { persist, written });
            let plan = Plan { hacked: false, faults: 0, steps: 60, crash_at, ..Plan::CHAOS };
            let outcome = run(persist, &plan);
            assert!(outcome.complaints.is_empty(), "{crash_at:?}: {}", outcome.complaints.join("\n"));
        }
    }
}

#[test]
fn after_a_power_cut_the_whole_group_goes_on_with_what_its_disks_have() {
    for seed in 0..10 {
        let mut world = build(seed, &SCENE);
        load(&mut world, 300, 60);
        let before: Vec<u64> = world.all().iter().map(|who| world.checks.application(*who).index).collect();
        power_cut(&mut world);
        load(&mut world, 100, 60);
        assert!(comes_together(&mut world, Duration::from_secs(4)), "seed {seed}");
        is_right(&world);
        let most = before.into_iter().max().unwrap();
        assert!(
            world.checks.application(world.all()[0]).index > most,
            "seed {seed}: what was ordered is ordered still"
        );
    }
}

#[test]
fn disks_lost_in_turn_convict_nobody_and_lose_nothing_that_was_ordered() {
    let mut world = build(3, &SCENE);
    for who in world.all() {
        load(&mut world, 200, 60);
        world.wipe(who);
        load(&mut world, 50, 60);
        assert!(comes_together(&mut world, Duration::from_secs(6)), "{who} is not back");
        let round = world.core(who).unwrap().own_round();
        load(&mut world, 200, 60);
        assert!(world.core(who).unwrap().own_round() > round, "{who} makes blocks again");
    }
    is_right(&world);
}

#[test]
fn disks_lost_in_turn_in_a_group_that_rests_leave_nobody_behind() {
    for slots in [4, 16, 64] {
        let mut world = build(3, &SCENE);
        world.checkpoint_slots = slots;
        world.all().into_iter().for_each(|who| {
            world.crash(who);
            world.start(who, Memory::New);
        });
        for who in world.all().into_iter().cycle().take(8) {
            load(&mut world, 100, 60);
            assert!(comes_together(&mut world, Duration::from_secs(6)), "before {who} lost its disk");
            world.wipe(who);
            let is_back = comes_together(&mut world, Duration::from_secs(6));
            assert!(is_back, "{who} is not back, {slots} slots: {}", describe(&world));
        }
        is_right(&world);
    }
}

#[test]
fn a_leader_that_lost_its_disk_comes_back_into_an_idle_group() {
    let mut world = build(4, &SCENE);
    load(&mut world, 100, 60);
    assert!(comes_together(&mut world, Duration::from_secs(2)));
    let who = world.all()[2];
    world.wipe(who);
    world.go(Duration::from_secs(1));
    world.submit(who, 60);
    assert!(comes_together(&mut world, Duration::from_secs(6)));
    is_right(&world);
}

#[test]
fn a_leader_that_crashes_again_before_it_knows_how_far_it_came_still_makes_no_second_block() {
    let mut world = build(5, &SCENE);
    load(&mut world, 100, 60);
    let who = world.all()[1];
    world.network.split(&[who]);
    world.wipe(who);
    world.go(Duration::from_millis(50));
    world.crash(who);
    world.restart(who);
    world.network.heal();
    load(&mut world, 300, 60);
    assert!(comes_together(&mut world, Duration::from_secs(6)));
    is_right(&world);
}

#[test]
fn an_old_backup_on_one_leader_is_found_and_harms_nobody_else() {
    for records in [0, 10, 60] {
        let mut world = build(6, &SCENE);
        load(&mut world, 200, 60);
        let who = world.all()[3];
        rolled_back(&mut world, who, records);
        load(&mut world, 300, 60);
        assert!(comes_together(&mut world, Duration::from_secs(4)));
        is_right(&world);
        assert!(world.checks.convicted.has(who), "{records} records: two blocks for one round are on record");
    }
}

#[test]
fn a_leader_that_starts_for_the_first_time_when_others_are_far_catches_up() {
    let mut world = build(8, &SCENE);
    let who = Author::new(0).unwrap();
    world.crash(who);
    load(&mut world, 1500, 60);
    world.start(who, Memory::Lost);
    load(&mut world, 200, 60);
    assert!(comes_together(&mut world, Duration::from_secs(6)));
    is_right(&world);
}

#[test]
fn who_exaggerates_keeps_no_leader_without_a_disk_from_making_blocks() {
    for strategy in [Strategy::BadCheckpoint, Strategy::Flood] {
        for seed in 0..4 {
            let plan = Plan { sizes: (7, 2), hacked: true, strategy: Some(strategy), ..SCENE };
            let mut world = build(seed, &plan);
            // Of the two that may lie, one is the leader that loses its disk.
            let spare = world.all().into_iter().find(|who| !world.checks.honest.has(*who)).unwrap();
            world.nodes.get_mut(&spare).unwrap().hacked = None;
            load(&mut world, 200, 60);
            let who = world.honest()[1];
            world.wipe(who);
            load(&mut world, 400, 60);
            let (own, others) =
                (world.core(who).unwrap().own_round(), world.core(world.honest()[0]).unwrap().own_round());
            assert!(own <= others + 20, "{strategy:?}, seed {seed}: it starts at {own}, the others are at {others}");
            assert!(comes_together(&mut world, Duration::from_secs(3)), "{strategy:?}, seed {seed}");
            let before = world.core(who).unwrap().own_round();
            load(&mut world, 200, 60);
            assert!(world.core(who).unwrap().own_round() > before, "{strategy:?}, seed {seed}");
            is_right(&world);
        }
    }
}
