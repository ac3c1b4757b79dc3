//! What one leader alone cannot make a member believe, nor the network with old words of all.

use std::time::Duration;

use ringfort_protocol::coordination::{LifeRecord, Operation};
use ringfort_protocol::leader::Event;
use ringfort_protocol::login::Denial;
use ringfort_protocol::policy::Policy;
use ringfort_protocol::view::Cause;
use ringfort_protocol::{Incarnation, LeaderId, MemberId};

use crate::harness::{World, leader_id, user};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn an_answer_that_the_network_held_back_is_as_old_as_what_it_answers() {
    let policy = Policy { confirm_within_ms: 5_000, ..Policy::default() };
    let mut world = World::with_policy(policy, &["ana", "bo"]);
    ["ana", "bo"].iter().for_each(|name| {
        world.start(name);
    });
    world.pass(seconds(3));
    assert!(world.agents[0].member.confirmation().is_current());
    world.delayed.extend(LeaderId::all(4).map(|id| (0, id)));
    world.pass(seconds(2));
    let early = world.now;
    world.pass(seconds(6));
    assert!(!world.agents[0].member.confirmation().is_current(), "nothing has come for six seconds");
    assert!(world.let_down(early) > 0);
    assert!(!world.agents[0].member.confirmation().is_current(), "answers to what she asked six seconds ago");
    world.delayed.clear();
    let now = world.now;
    world.let_down(now);
    world.pass(seconds(3));
    assert!(world.agents[0].member.confirmation().is_current());
}

#[test]
fn who_is_in_does_not_believe_one_leader_that_it_was_expelled() {
    let mut world = World::joined(&["ana", "bo"]);
    let ana = world.agents[0].member.id().unwrap().clone();
    let expelled = LifeRecord { barred: true, ..LifeRecord::of(Operation::Remove(ana, Cause::Expelled)) };
    // Leader 1 is hacked, and says so in its own name to whoever logs in.
    world.restart_with(1, Some(expelled));
    world.pass(seconds(3));
    let said = |(by, event): &(_, Event)| {
        *by == leader_id(1) && matches!(event, Event::Denied(who, Denial::Expelled(_)) if *who == user("ana"))
    };
    assert!(world.leader_events.iter().any(said), "it was to say so");
    assert!(!world.agents[0].member.has_ended());
    assert!(world.agents[0].member.confirmation().is_current());
    assert_eq!(world.agents[1].names(), ["ana", "bo"]);
}

#[test]
fn a_newcomer_takes_no_number_that_one_leader_makes_up() {
    let mut world = World::new(&["ana"]);
    let far = MemberId { user: user("ana"), incarnation: Incarnation(1 << 20) };
    world.restart_with(1, Some(LifeRecord::of(Operation::Remove(far, Cause::Left))));
    let ana = world.start("ana");
    world.pass(seconds(20));
    assert!(world.agents[ana].member.view().is_some());
    let number = world.agents[ana].member.id().unwrap().incarnation.0;
    assert!(number < 100, "{number}");
}
