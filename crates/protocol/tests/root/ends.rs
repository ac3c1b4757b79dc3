//! The end of what somebody said, over links that lose it.

use std::time::Duration;

use ringfort_protocol::coordination::{LifeRecord, Operation};
use ringfort_protocol::member;
use ringfort_protocol::view::Cause;

use crate::harness::{World, leader_id};

fn losses(world: &World, who: usize) -> usize {
    let lost = |event: &&member::Event| matches!(event, member::Event::Gap { .. } | member::Event::UnknownTail(_));
    world.agents[who].events.iter().filter(lost).count()
}

#[test]
fn the_last_word_of_who_leaves_reaches_those_whose_links_lost_it() {
    let mut world = World::joined(&["ana", "ben", "cy"]);
    world.lossy = true;
    world.multicast(0, b"the valve is closed").unwrap();
    world.leave(0);
    world.pass(Duration::from_millis(200));
    world.lossy = false;
    assert_eq!(world.agents[1].messages(), []);
    world.pass(Duration::from_secs(15));
    for who in [1, 2] {
        assert_eq!(world.agents[who].messages(), [("ana", b"the valve is closed".as_slice())]);
        assert_eq!(losses(&world, who), 0, "all that ana said is known, and came");
    }
}

#[test]
fn what_was_said_while_nothing_got_through_is_found_before_its_sender_reminds_of_it() {
    let mut world = World::joined(&["ana", "ben"]);
    world.lossy = true;
    world.multicast(0, b"x").unwrap();
    world.send_to(0, &["ben"], b"psst").unwrap();
    // Three of the sender's marks are lost too, and the last one comes ten seconds after the message.
    world.pass(Duration::from_millis(3200));
    world.lossy = false;
    assert_eq!(world.agents[1].messages(), []);
    world.pass(Duration::from_secs(5));
    let mut heard = world.agents[1].messages();
    heard.sort_unstable();
    assert_eq!(heard, [("ana", b"psst".as_slice()), ("ana", b"x".as_slice())]);
}

#[test]
fn a_message_counts_as_sent_once_enough_leaders_have_it() {
    let mut world = World::joined(&["ana", "ben"]);
    world.multicast(0, b"heard").unwrap();
    world.pass(Duration::from_millis(100));
    assert_eq!(world.agents[0].member.under_way(), 0);
    world.silent.extend((1..=4).map(leader_id));
    world.multicast(0, b"into the void").unwrap();
    world.pass(Duration::from_secs(3));
    assert_eq!(world.agents[0].member.under_way(), 1, "nobody has it");
    world.silent.clear();
    world.pass(Duration::from_secs(10));
    assert_eq!(world.agents[0].member.under_way(), 0, "it was sent again");
    assert_eq!(world.agents[1].messages().last(), Some(&("ana", b"into the void".as_slice())));
}

#[test]
fn what_somebody_said_last_is_not_lost_without_a_word_because_one_leader_says_it_was_expelled() {
    let mut world = World::joined(&["ana", "ben", "cy"]);
    world.multicast(1, b"the first word").unwrap();
    world.pass(Duration::from_millis(500));
    // Leader 1 is hacked: whoever asks is told that ben was expelled.
    let mut life = LifeRecord::of(Operation::Remove(world.agents[1].member.id().unwrap().clone(), Cause::Expelled));
    life.barred = true;
    world.mute.insert(leader_id(1));
    world.kept_from.extend([2, 3, 4].map(|from| (leader_id(from), leader_id(1))));
    world.restart_with(1, Some(life));
    world.pass(Duration::from_millis(500));
    // He leaves. Ana hears of it from leader 2, and later from the others.
    world.lossy = true;
    world.multicast(1, b"the valve is closed").unwrap();
    world.delayed.extend([3, 4].map(|from| (0, leader_id(from))));
    world.leave(1);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.agents[0].names(), ["ana", "cy"]);
    world.lossy = false;
    world.delayed.clear();
    assert!(world.let_down(world.now) > 0);
    world.pass(Duration::from_secs(20));
    let heard = world.agents[0].messages().contains(&("ben", b"the valve is closed".as_slice()));
    assert!(heard || losses(&world, 0) > 0, "neither heard nor told");
}
