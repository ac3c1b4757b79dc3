//! Leaders that are deaf for a while, and users whom the network keeps from leaders for a while.

use std::time::Duration;

use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::leader::Event;
use ringfort_protocol::motion::Motion;
use ringfort_protocol::policy::{MembersVote, Policy};
use ringfort_protocol::unheard::{Doubt, Unheard};
use ringfort_protocol::view::Cause;
use ringfort_protocol::wire::{self, PeerMessage};
use ringfort_protocol::{MemberId, Rejected};

use crate::harness::{World, dealt, leader_id};

/// Members are lost after six seconds.
fn quick() -> Policy {
    Policy { confirm_within_ms: 5_000, remove_silent_after_ms: 6_000, ..Policy::default() }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn joined(names: &[&str]) -> World {
    let mut world = World::with_policy(quick(), names);
    names.iter().for_each(|name| {
        world.start(name);
    });
    world.pass(seconds(3));
    assert!(world.agents.iter().all(|agent| agent.names().len() == names.len()));
    world
}

fn outage(world: &mut World, leader: u8) {
    let all: Vec<usize> = (0..world.agents.len()).collect();
    world.part(&all, &[leader]);
    world.pass(seconds(9));
    world.apart.clear();
    world.pass(seconds(3));
}

fn assert_all_in(world: &World) {
    for number in 1..=4 {
        assert_eq!(world.leaders[&leader_id(number)].members().len(), world.agents.len(), "at leader {number}");
    }
    assert!(world.agents.iter().all(|agent| !agent.member.has_ended()));
}

/// What leader 1, which is hacked, says to others: that it does not hear members, takes them for lost, and votes them out.
fn says_are_lost(world: &mut World, number: u64, to: &[u8], members: &[MemberId], votes: bool) {
    let (group, secrets) = (world.group.clone(), dealt().1);
    let key = &secrets[0].signing;
    let doubts = members
        .iter()
        .filter(|_| votes)
        .flat_map(|stay| [0, 1, u64::MAX].map(|life| Doubt { stay: stay.clone(), life, lost: true, found: false }));
    let unheard = Unheard::sign(key, leader_id(1), group.session(), number, members.to_vec(), doubts.collect());
    let unheard = wire::plain(&PeerMessage::Unheard(unheard));
    let votes = members.iter().filter(|_| votes).flat_map(|member| {
        let removal = Operation::Remove(member.clone(), Cause::Lost);
        [false, true]
            .map(|accepted| SignedProposal::sign(key, leader_id(1), group.session(), removal.clone(), accepted))
    });
    let votes = wire::plain(&PeerMessage::Proposals(votes.collect()));
    let before = world.leader_events.len();
    for to in to {
        world.say(1, *to, &unheard);
        world.say(1, *to, &votes);
    }
    let blamed = |event: &(_, Event)| matches!(event.1, Event::Blamed(..));
    assert!(!world.leader_events[before..].iter().any(blamed), "what it says is looked at");
}

fn stays(world: &World) -> Vec<MemberId> {
    world.agents.iter().map(|agent| agent.member.id().unwrap().clone()).collect()
}

fn says_all_are_lost(world: &mut World, number: u64) {
    let members = stays(world);
    says_are_lost(world, number, &[2, 3, 4], &members, true);
}

/// The network keeps members from leaders 2 and 3, and the hacked leader 1 agrees with leader 2 alone, which so takes them for lost.
fn outage_of_two(world: &mut World, who: &[usize], number: u64) {
    let members: Vec<MemberId> = who.iter().map(|who| stays(world)[*who].clone()).collect();
    // Of the hacked leader's own words only those that it chooses reach the others.
    world.mute.insert(leader_id(1));
    world.part(who, &[2, 3]);
    for period in 0..18 {
        says_are_lost(world, number + period, &[2], &members, false);
        world.pass(Duration::from_millis(500));
    }
    world.apart.clear();
}

#[test]
fn outages_of_leaders_one_after_the_other_remove_nobody() {
    let mut world = joined(&["ana", "bo"]);
    for leader in [4, 2, 3, 1] {
        outage(&mut world, leader);
        assert_all_in(&world);
    }
}

#[test]
fn an_old_outage_of_one_leader_and_a_hacked_leader_remove_nobody() {
    let mut world = joined(&["ana", "bo", "cy"]);
    outage(&mut world, 4);
    world.pass(seconds(6));
    for period in 0..20 {
        says_all_are_lost(&mut world, 1_000 + period);
        world.pass(Duration::from_millis(500));
    }
    assert_all_in(&world);
}

#[test]
fn a_leader_that_is_deaf_now_and_a_hacked_one_remove_nobody() {
    let mut world = joined(&["ana", "bo"]);
    world.part(&[0, 1], &[4]);
    for period in 0..30 {
        says_all_are_lost(&mut world, 1_000 + period);
        world.pass(Duration::from_millis(500));
    }
    world.apart.clear();
    world.pass(seconds(3));
    assert_all_in(&world);
}

#[test]
fn an_outage_of_two_leaders_that_is_over_removes_nobody_later() {
    let mut world = joined(&["ana", "bo"]);
    outage_of_two(&mut world, &[0], 1_000);
    world.pass(seconds(60));
    assert!(world.agents[0].member.confirmation().is_current() && world.agents[0].names().len() == 2, "a good minute");
    for period in 0..20 {
        says_all_are_lost(&mut world, 10_000 + period);
        world.pass(Duration::from_millis(500));
    }
    assert_all_in(&world);
}

#[test]
fn outages_of_many_members_one_after_the_other_do_not_put_all_out_at_once() {
    let mut world = joined(&["ana", "bo", "cy", "di"]);
    for who in 0..4 {
        outage_of_two(&mut world, &[who], 1_000 * (who as u64 + 1));
        world.pass(seconds(6));
    }
    for period in 0..20 {
        says_all_are_lost(&mut world, 10_000 + period);
        world.pass(Duration::from_millis(500));
    }
    assert_all_in(&world);
}

#[test]
fn a_leader_that_is_not_told_that_a_member_is_found_does_not_put_it_out() {
    let mut world = joined(&["ana", "bo"]);
    outage_of_two(&mut world, &[0], 1_000);
    // What leaders 2 and 4 say from now on does not reach leader 3.
    world.kept_from.extend([2, 4].map(|from| (leader_id(from), leader_id(3))));
    world.pass(seconds(20));
    for period in 0..20 {
        says_all_are_lost(&mut world, 10_000 + period);
        world.pass(Duration::from_millis(500));
    }
    world.let_through();
    world.pass(seconds(3));
    assert_all_in(&world);
    says_all_are_lost(&mut world, 20_000);
    world.pass(seconds(3));
    assert_all_in(&world);
}

#[test]
fn a_leader_that_restarts_between_taking_a_member_for_lost_and_finding_it_leaves_nothing_behind() {
    let mut world = joined(&["ana", "bo"]);
    outage_of_two(&mut world, &[0], 1_000);
    world.restart(2);
    world.pass(seconds(10));
    for period in 0..20 {
        says_all_are_lost(&mut world, 10_000 + period);
        world.pass(Duration::from_millis(500));
    }
    assert_all_in(&world);
    // And the leader knows by then which life it is: who is gone is put out.
    world.mute.clear();
    world.kill(1);
    world.pass(seconds(9));
    assert_eq!(world.agents[0].names(), ["ana"]);
}

#[test]
fn who_was_found_once_is_lost_when_it_is_gone() {
    let mut world = joined(&["ana", "bo"]);
    outage_of_two(&mut world, &[0, 1], 1_000);
    world.pass(seconds(6));
    world.mute.clear();
    world.kill(1);
    world.pass(seconds(9));
    assert_eq!(world.agents[0].names(), ["ana"]);
}

#[test]
fn what_a_leader_did_not_hear_is_not_on_its_disk() {
    let mut world = joined(&["ana", "bo"]);
    outage(&mut world, 4);
    world.restart(4);
    outage(&mut world, 2);
    world.restart(2);
    world.pass(seconds(3));
    assert_all_in(&world);
}

#[test]
fn who_is_gone_is_lost_in_time_though_one_leader_is_stopped() {
    for stopped in [None, Some(3)] {
        let mut world = joined(&["ana", "bo"]);
        world.silent.extend(stopped.map(leader_id));
        world.kill(1);
        world.pass(seconds(8));
        assert_eq!(world.agents[0].names(), ["ana"], "{stopped:?}");
        let lost = world.leader_events.iter().filter(|(_, event)| matches!(event, Event::Ended(_, Cause::Lost)));
        assert!(lost.count() >= 3);
    }
}

#[test]
fn a_user_who_is_kept_from_leaders_for_ten_minutes_comes_in_when_the_network_is_good() {
    let mut world = World::with_policy(quick(), &["ana"]);
    // Leader 1 lets her log in and keeps its votes to itself; the network keeps her from leaders 3 and 4.
    world.mute.insert(leader_id(1));
    let ana = world.start("ana");
    world.part(&[ana], &[3, 4]);
    world.pass(seconds(650));
    assert_eq!(world.agents[ana].member.view(), None);
    world.apart.clear();
    world.pass(seconds(20));
    assert!(world.agents[ana].member.view().is_some(), "{:?}", world.agents[ana].member.id());
}

#[test]
fn a_user_whose_programs_gave_up_seventy_times_comes_in_when_the_network_is_good() {
    let mut world = World::with_policy(quick(), &["ana"]);
    world.mute.insert(leader_id(1));
    for _ in 0..70 {
        let ana = world.start("ana");
        world.part(&[ana], &[3, 4]);
        world.pass(seconds(1));
        world.kill(ana);
    }
    assert!(world.agents[69].member.id().is_some_and(|id| id.incarnation.0 > 65), "{:?}", world.agents[69].member.id());
    let ana = world.start("ana");
    world.pass(seconds(20));
    assert!(world.agents[ana].member.view().is_some(), "{:?}", world.agents[ana].member.id());
}

#[test]
fn a_new_stay_that_does_not_come_about_leaves_the_live_one_alone() {
    let mut world = joined(&["ana", "bo"]);
    for number in [3, 4] {
        world.silent.insert(leader_id(number));
    }
    // Another program of Bo's logs in at two leaders, which are too few.
    let other = world.start("bo");
    let before = world.leader_events.len();
    world.pass(seconds(5));
    let logins = world.leader_events.iter().skip(before).filter(|(_, event)| matches!(event, Event::Authenticated(_)));
    assert!(logins.count() <= 4, "the two do not throw each other out");
    world.multicast(0, b"still there?").unwrap();
    assert!(world.agents[1].messages().iter().any(|(_, said)| *said == b"still there?"));
    world.kill(other);
}

#[test]
fn an_expulsion_that_no_vote_can_decide_is_refused_and_is_no_flood() {
    let vote = MembersVote { percent: 50, wait_s: 10, silence_is_yes: false };
    let mut world = World::with_policy(Policy { expulsion_vote: Some(vote), ..quick() }, &["ana", "bo", "cy"]);
    ["ana", "bo"].iter().for_each(|name| {
        world.start(name);
    });
    world.pass(seconds(3));
    let motion = Motion::expel("bo".parse().unwrap());
    let refused = world.agents[0].member.vote(world.now, motion, true).unwrap_err();
    assert_eq!(refused, Rejected::TooFewVoters("bo".parse().unwrap()), "one of two puts nobody out");
    // The third goes while the vote is open, and the asker's vote is remembered.
    let cy = world.start("cy");
    world.pass(seconds(3));
    world.vote(0, "bo", true);
    world.leave(cy);
    world.pass(seconds(25));
    let of = |what: fn(&Event) -> bool| world.leader_events.iter().filter(|(_, event)| what(event)).count();
    assert!(of(|event| matches!(event, Event::MotionOpened(_))) <= 4, "once at each leader");
    assert_eq!(of(|event| matches!(event, Event::Blamed(..))), 0);
}

#[test]
fn an_expulsion_that_was_refused_is_not_asked_for_again_at_once() {
    let vote = MembersVote { percent: 50, wait_s: 10, silence_is_yes: false };
    let mut world = World::with_policy(Policy { expulsion_vote: Some(vote), ..quick() }, &["ana", "bo", "cy", "di"]);
    ["ana", "bo", "cy", "di"].iter().for_each(|name| {
        world.start(name);
    });
    world.pass(seconds(3));
    let opened =
        |world: &World| world.leader_events.iter().filter(|(_, event)| matches!(event, Event::MotionOpened(_))).count();
    for _ in 0..10 {
        world.vote(0, "di", true);
        world.vote(1, "di", false);
        world.vote(2, "di", false);
        world.pass(Duration::from_millis(500));
    }
    assert_eq!(opened(&world), 4, "once at each leader");
    world.pass(seconds(11));
    world.vote(0, "di", true);
    assert_eq!(opened(&world), 8, "and again when it has had its time");
}
