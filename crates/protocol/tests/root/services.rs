//! Requests to the group's services: from a member's link to whatever is beside the leader, and back.

use std::time::Duration;

use bytes::Bytes;
use ringfort_protocol::Rejected;
use ringfort_protocol::fault::{Culprit, Fault};
use ringfort_protocol::leader::{Event, Record};
use ringfort_protocol::member;
use ringfort_protocol::policy::Policy;
use ringfort_protocol::time::Cx;
use ringfort_protocol::view::MemberEntry;
use ringfort_protocol::wire::{SERVICE_BYTES_MAX, SERVICE_LABEL};

use crate::harness::{World, dealt, leader_id, rng, user};

fn joined(order: bool) -> World {
    let mut world = World::with_policy(Policy { order, ..Policy::default() }, &["ana", "ben"]);
    world.start("ana");
    world.start("ben");
    world.pass(Duration::from_secs(3));
    world
}

fn ask(world: &mut World, who: usize, leader: u8, request: &[u8]) {
    let step = world.agents[who].member.ask_service(leader_id(leader), request);
    world.carry_out_member(who, step);
    world.deliver();
}

fn answer(world: &mut World, leader: u8, to: &MemberEntry, answer: &[u8]) {
    let now = world.now;
    let step = world.leaders.get_mut(&leader_id(leader)).unwrap().answer(now, &to.id, &Bytes::copy_from_slice(answer));
    world.carry_out_leader(leader_id(leader), step);
    world.deliver();
}

fn answers(world: &World, who: usize) -> Vec<(u8, &[u8])> {
    let answered = |event| match event {
        &member::Event::Answered(leader, ref answer) => Some((leader.number(), answer.as_slice())),
        _ => None,
    };
    world.agents[who].events.iter().filter_map(answered).collect()
}

fn blamed(world: &World) -> Vec<(Culprit, Fault)> {
    let blamed = |(_, event): &_| match event {
        Event::Blamed(culprit, fault) => Some((culprit.clone(), *fault)),
        _ => None,
    };
    world.leader_events.iter().filter_map(blamed).collect()
}

#[test]
fn a_request_comes_with_the_stay_of_its_link_and_an_answer_goes_to_that_stay_alone() {
    let mut world = joined(true);
    ask(&mut world, 0, 2, b"what?");
    let ana = world.agents[0].member.stay().unwrap();
    assert_eq!(world.served, [(leader_id(2), ana.clone(), Bytes::from_static(b"what?"))]);
    answer(&mut world, 2, &ana, b"that");
    assert_eq!(answers(&world, 0), [(2, &b"that"[..])]);
    assert_eq!(answers(&world, 1), []);
    let mut other = ana.clone();
    other.id.incarnation.0 += 1;
    answer(&mut world, 2, &other, b"of another stay");
    other.id.user = user("zoe");
    answer(&mut world, 2, &other, b"of nobody");
    assert_eq!(answers(&world, 0).len() + answers(&world, 1).len(), 1);
    let digest = [7; 32];
    let signature = world.agents[0].member.sign_request(&digest).unwrap();
    assert_eq!(ana.signing.0.verify(SERVICE_LABEL, &[&digest], &signature), Ok(()), "the view's key");
    assert_eq!(blamed(&world), []);
}

#[test]
fn who_asks_more_than_its_share_is_not_heard_and_not_blamed_and_everything_else_goes_on() {
    let mut world = joined(true);
    let long = vec![0; 64 * 1024];
    (0..200).for_each(|_| ask(&mut world, 0, 1, &long));
    let heard = world.served.len();
    assert!((16..=33).contains(&heard), "two megabytes at once, not {heard} requests");
    ask(&mut world, 1, 1, b"ben's");
    assert_eq!(world.served.len(), heard + 1, "it costs nobody else anything");
    world.pass(Duration::from_secs(5));
    assert!(world.agents[0].member.confirmation().is_current(), "heartbeats have a budget of their own");
    ask(&mut world, 0, 1, b"again");
    assert_eq!(world.served.len(), heard + 2);
    assert_eq!(blamed(&world), []);
}

#[test]
fn a_member_is_answered_no_more_than_its_link_holds_and_it_hears_without_blame() {
    let mut world = joined(true);
    let ana = world.agents[0].member.stay().unwrap();
    let long = vec![0; 64 * 1024];
    (0..200).for_each(|_| answer(&mut world, 3, &ana, &long));
    let heard = answers(&world, 0).len();
    assert!((32..=48).contains(&heard), "three megabytes at once, not {heard} answers");
    let blames = world.agents[0].events.iter().filter(|event| matches!(event, member::Event::Blamed(..))).count();
    assert_eq!(blames, 0, "an honest leader says no more than a member hears");
}

#[test]
fn where_nothing_is_ordered_a_request_is_an_offence_and_so_is_one_that_is_too_long() {
    let mut world = joined(false);
    ask(&mut world, 0, 1, b"what?");
    let ana = Culprit::Member(world.agents[0].member.id().unwrap().clone());
    assert_eq!((world.served.len(), blamed(&world)), (0, vec![(ana, Fault::Malformed)]));
    let mut world = joined(true);
    ask(&mut world, 0, 1, &vec![0; SERVICE_BYTES_MAX + 1]);
    assert_eq!((world.served.len(), blamed(&world)), (0, vec![]), "an honest member does not send it");
    ask(&mut world, 0, 1, &vec![0; SERVICE_BYTES_MAX]);
    assert_eq!(world.served.len(), 1);
}

#[test]
fn a_member_has_a_stay_from_its_join_to_its_leave_and_leaders_tell_theirs_once_they_know_them() {
    let mut world = joined(true);
    world.start("ben");
    assert_eq!(world.agents[2].member.stay(), Err(Rejected::NotJoined));
    let stays = |world: &World, leader| {
        let stays = world.leaders[&leader_id(leader)].stays().unwrap();
        stays.map(|entry| entry.id.user.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(stays(&world, 4), ["ana", "ben"]);
    world.leave(0);
    assert_eq!(world.agents[0].member.stay(), Err(Rejected::Ended));
    assert_eq!(stays(&world, 4), ["ben"]);
    let (group, mut secrets) = dealt();
    let cx = &mut Cx { now: world.now, unix_ms: 0, rng: &mut rng(1) };
    let records = [Record::CatchingUp(true)];
    let behind = ringfort_protocol::leader::Leader::new(cx, group.into(), secrets.swap_remove(0), records);
    assert!(behind.stays().is_none(), "what it knows may be old");
}
