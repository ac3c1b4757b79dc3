//! A member that was out of reach for seconds, and goes on talking.

use std::time::Duration;

use ringfort_protocol::policy::Policy;

use crate::harness::World;

/// Said before: of somebody who was there already and has said nothing yet, a receiver knows no stream.
fn greet(world: &mut World) {
    for (who, to) in [(0, "bo"), (1, "ana"), (2, "ana")] {
        world.multicast(who, b"hello").unwrap();
        world.send_to(who, &[to], b"hello").unwrap();
    }
    world.pass(Duration::from_secs(1));
}

#[test]
fn who_sleeps_while_others_come_and_go_hears_and_says_all_that_was_said() {
    let policy =
        Policy { rekey_period_ms: 3_000, overlap_ms: 20_000, remove_silent_after_ms: 60_000, ..Policy::default() };
    let mut world = World::with_policy(policy, &["ana", "bo", "cy", "di", "ed"]);
    for name in ["ana", "bo", "cy"] {
        world.start(name);
    }
    world.pass(Duration::from_secs(3));
    greet(&mut world);
    world.part(&[0], &[1, 2, 3, 4]);
    for second in 0..15 {
        let guest = world.start(if second % 2 == 0 { "di" } else { "ed" });
        for _ in 0..5 {
            for (who, to) in [(0, "bo"), (1, "ana"), (2, "ana")] {
                world.multicast(who, b"hm").unwrap();
                world.send_to(who, &[to], b"psst").unwrap();
            }
            world.pass(Duration::from_millis(150));
        }
        world.leave(guest);
        world.pass(Duration::from_millis(250));
    }
    world.apart.clear();
    world.pass(Duration::from_secs(10));
    let heard = |who: usize| world.agents[who].deliveries().count();
    // Seventy-six of each kind: two to ana from each of two, to bo one kind from cy, both from ana, to cy one from each.
    assert_eq!([heard(0), heard(1), heard(2)], [4 * 76, 3 * 76, 2 * 76]);
}
