//! Stays that two programs of one user announce under one number.

use std::time::Duration;

use rand_chacha::rand_core::Rng;
use ringfort_protocol::coordination::{LifeRecord, Operation};
use ringfort_protocol::member;
use ringfort_protocol::view::Cause;

use crate::harness::{World, leader_id};

/// Ana's first program announces her stay to two leaders whose words do not get out yet, and dies. The next one announces
/// the same stay with keys of its own, and comes in. Then the words get out. `draws` changes the keys.
fn announced_twice(draws: usize) -> World {
    let mut world = World::new(&["ana", "ben"]);
    (0..draws).for_each(|_| world.rng.fill_bytes(&mut [0; 8]));
    world.start("ben");
    world.pass(Duration::from_secs(2));
    world.mute.extend([3, 4].map(leader_id));
    let first = world.start("ana");
    world.part(&[first], &[1, 2]);
    world.pass(Duration::from_secs(3));
    world.kill(first);
    world.mute.remove(&leader_id(3));
    let second = world.start("ana");
    world.pass(Duration::from_secs(3));
    assert!(world.agents[second].member.view().is_some(), "she is in");
    world.mute.clear();
    world.pass(Duration::from_secs(6));
    world
}

#[test]
fn whose_stay_is_begun_with_other_keys_is_told_and_comes_in_again() {
    // Chance decides whose keys prevail.
    let lost = |event: &member::Event| matches!(event, member::Event::Ended(Cause::Lost));
    let told = |world: &World| world.agents[2].events.iter().any(lost);
    let worlds = (0..8).map(announced_twice);
    let Some(mut world) = worlds.inspect(in_one_view).find(told) else { panic!("those of the second, eight times") };
    let third = world.start("ana");
    world.pass(Duration::from_secs(3));
    world.multicast(0, b"are you there?").unwrap();
    assert_eq!(world.agents[third].messages(), [("ben", b"are you there?".as_slice())]);
}

/// Whoever is still in is in the same view.
fn in_one_view(world: &World) {
    let second = &world.agents[2].member;
    assert!(second.has_ended() || second.view() == world.agents[0].member.view(), "she would not be in, nor know it");
}

#[test]
fn a_stay_does_not_end_because_another_program_announced_it_at_a_leader_that_is_behind() {
    let mut world = World::new(&["ana", "ben"]);
    world.start("ben");
    world.pass(Duration::from_secs(2));
    // Leader 4 hears nothing of Ana, who cannot reach it. Then another program of hers announces the same stay there.
    world.kept_from.extend([1, 2, 3].map(|from| (leader_id(from), leader_id(4))));
    let ana = world.start("ana");
    world.part(&[ana], &[4]);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.agents[ana].names(), ["ana", "ben"]);
    let id = world.agents[ana].member.id().unwrap().clone();
    world.mute.insert(leader_id(4));
    world.tries_to_log_in_at("ana", 4, id.incarnation.0);
    // Leader 3 is hacked, and says that the stay is over.
    world.mute.insert(leader_id(3));
    world.kept_from.extend([1, 2, 4].map(|from| (leader_id(from), leader_id(3))));
    world.restart_with(3, Some(LifeRecord::of(Operation::Remove(id, Cause::Left))));
    world.apart.clear();
    world.pass(Duration::from_secs(3));
    let ended = world.agents[ana].events.iter().find(|event| matches!(event, member::Event::Ended(_)));
    assert!(ended.is_none(), "{ended:?}");
    world.mute.clear();
    world.let_through();
    world.pass(Duration::from_secs(4));
    assert_eq!(world.agents[0].names(), ["ana", "ben"]);
}
