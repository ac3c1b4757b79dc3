//! Session life, as users see it: the end, the next session, and that nothing of the old one is any use in it (A22, K11, K33).

use std::collections::BTreeSet;
use std::time::Duration;

use ringfort_protocol::coordination::SessionOrder;
use ringfort_protocol::keys::{group_key, view_point};
use ringfort_protocol::leader::{self, Command};
use ringfort_protocol::login::Denial;
use ringfort_protocol::member::{Event, JoinFailure};
use ringfort_protocol::view::{Cause, MemberSet, ViewHasher};
use ringfort_protocol::{Epoch, Fault, LeaderId, SessionNumber};

use crate::harness::{World, dealt, leader_id, rng};

const TRIO: [&str; 3] = ["pia", "pol", "pru"];

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn number(of: u64) -> SessionNumber {
    SessionNumber::new(of).unwrap()
}

fn order(world: &mut World, operators: &[u8], order: SessionOrder) {
    for operator in operators {
        world.command(*operator, Command::Session(order)).unwrap();
    }
    world.pass(seconds(2));
}

fn ended(world: &World, who: usize) -> Vec<Cause> {
    let cause = |event: &Event| if let Event::Ended(cause) = event { Some(*cause) } else { None };
    world.agents[who].events.iter().filter_map(cause).collect()
}

/// Everybody starts again, and is in one view.
fn again(world: &mut World) -> Vec<usize> {
    let agents: Vec<usize> = TRIO.iter().map(|name| world.start(name)).collect();
    world.pass(seconds(4));
    for who in &agents {
        assert_eq!(world.agents[*who].names(), TRIO, "agent {who}");
        assert!(world.agents[*who].member.confirmation().is_current());
    }
    agents
}

fn hear_each_other(world: &mut World, agents: &[usize], tag: &str) {
    let before: Vec<usize> = agents.iter().map(|who| world.agents[*who].messages().len()).collect();
    for who in agents {
        world.multicast(*who, format!("{tag} from {who}").as_bytes()).unwrap();
    }
    world.pass(seconds(2));
    for (who, before) in agents.iter().zip(before) {
        assert_eq!(world.agents[*who].messages().len() - before, agents.len() - 1, "{tag}: what {who} heard");
    }
}

#[test]
fn f_plus_1_operators_end_the_session_and_start_the_next() {
    let mut world = World::joined(&TRIO);
    order(&mut world, &[2], SessionOrder::End(number(1)));
    hear_each_other(&mut world, &[0, 1, 2], "one operator alone");
    assert_eq!(ended(&world, 0), []);

    order(&mut world, &[3], SessionOrder::End(number(1)));
    for who in 0..3 {
        assert_eq!(ended(&world, who), [Cause::SessionOver], "agent {who}");
    }
    let told: BTreeSet<LeaderId> = world
        .leader_events
        .iter()
        .filter(|(_, event)| matches!(event, leader::Event::Session(now) if !now.open))
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(told.len(), 4);
    for leader in world.leaders.values() {
        assert!(leader.members().is_empty() && leader.is_published());
    }
    let early = world.start("pia");
    world.pass(seconds(3));
    let refused = |event: &Event| matches!(event, Event::JoinFailed(JoinFailure::Denied(Denial::NoSession(_))));
    assert!(world.agents[early].events.iter().any(refused), "{:?}", world.agents[early].events);

    order(&mut world, &[1, 4], SessionOrder::Start(number(2)));
    let agents = again(&mut world);
    hear_each_other(&mut world, &agents, "the second session");
    let deviation = |event: &leader::Event| matches!(event, leader::Event::Blamed(_, fault) if fault.is_deviation());
    let blamed: Vec<_> = world.leader_events.iter().filter(|(_, event)| deviation(event)).collect();
    assert!(blamed.is_empty(), "honest leaders and members blame nobody: {blamed:?}");
}

#[test]
fn sessions_go_on_from_one_to_the_next_with_a_leader_away() {
    let mut world = World::joined(&TRIO);
    world.silent.insert(leader_id(4));
    for session in 1..=3 {
        let present: Vec<usize> =
            (0..world.agents.len()).filter(|who| !world.agents[*who].member.has_ended()).collect();
        order(&mut world, &[1, 2], SessionOrder::Restart(number(session)));
        assert!(present.iter().all(|who| ended(&world, *who) == [Cause::SessionOver]));
        let agents = again(&mut world);
        hear_each_other(&mut world, &agents, "with leader 4 away");
    }
    world.silent.clear();
    world.pass(seconds(3));
    assert_eq!(world.leaders[&leader_id(4)].session().number, number(4));
    assert_eq!(world.leaders[&leader_id(4)].view(), world.leaders[&leader_id(1)].view());
}

#[test]
fn a_member_that_no_leader_could_tell_of_the_end_is_told_when_it_comes_back() {
    let mut world = World::joined(&TRIO);
    (1..=4).for_each(|leader| world.cut_links(leader));
    world.held.insert(0);
    order(&mut world, &[1, 2], SessionOrder::Restart(number(1)));
    assert_eq!((ended(&world, 0), ended(&world, 1)), (vec![], vec![Cause::SessionOver]));
    world.held.clear();
    world.pass(seconds(3));
    assert_eq!(ended(&world, 0), [Cause::SessionOver]);
}

/// What the keys of a group are made from and what they come to, as far as it shows in the open, at everybody who is in.
fn keys(world: &World, agents: &[usize]) -> BTreeSet<Vec<u8>> {
    let mut keys = BTreeSet::new();
    for who in agents {
        let member = &world.agents[*who].member;
        keys.insert(member.key_fingerprint().unwrap().to_vec());
        keys.insert(member.view().unwrap().digest.0.to_vec());
        #[cfg(feature = "mutants")]
        keys.insert(member.key_for_testing_only().unwrap().to_vec());
        for entry in member.members().unwrap().iter() {
            keys.insert(entry.signing.0.to_bytes().to_vec());
            keys.insert(entry.sealing.0.to_bytes().to_vec());
        }
    }
    keys
}

#[test]
fn no_key_of_a_session_comes_again_in_another_with_the_same_members() {
    let mut world = World::joined(&TRIO);
    let mut seen = keys(&world, &[0, 1, 2]);
    let per_session = seen.len();
    assert!(per_session >= 8, "a view, its key, and two keys of each of three members");
    for session in 1..=3 {
        order(&mut world, &[1, 2], SessionOrder::Restart(number(session)));
        let agents = again(&mut world);
        let new = keys(&world, &agents);
        assert_eq!(new.len(), per_session);
        assert!(new.is_disjoint(&seen), "session {}", session + 1);
        seen.extend(new);
    }
}

#[test]
fn a_view_that_differs_in_nothing_but_its_session_has_another_key() {
    let (group, secrets) = dealt();
    let output = |session| {
        let session = group.session_of(number(session));
        let view = ViewHasher::new(&group, session).view_id(Epoch(5), 1, MemberSet::default().hash());
        let point = view_point(&group, session, view, 1);
        let shares = [0, 1].map(|place: usize| secrets[place].group_share.evaluate(&point, &mut rng(7)));
        let shares: Vec<_> = [1, 2].into_iter().zip(&shares).collect();
        let output = group.group_keys.verify_and_combine(&point, &shares).unwrap();
        (view.digest, *group_key(&output, view).expose())
    };
    let (one, two) = (output(1), output(2));
    assert!(one.0 != two.0 && one.1 != two.1);
    assert_eq!(one, output(1));
}

#[test]
fn frames_of_the_old_session_are_refused_in_the_new() {
    let mut world = World::joined(&TRIO);
    world.recorded = Some(Vec::new());
    hear_each_other(&mut world, &[0, 1, 2], "to be recorded");
    world.leave(2);
    order(&mut world, &[1, 2], SessionOrder::Restart(number(1)));
    let recorded = world.recorded.take().unwrap();
    assert!(recorded.len() > 100, "heartbeats, claims, messages, an end");
    let agents = again(&mut world);
    let views: Vec<_> = agents.iter().map(|who| world.agents[*who].member.view()).collect();
    world.leader_events.clear();
    agents.iter().for_each(|who| world.agents[*who].events.clear());
    for (who, leader, to_leader, frame) in recorded {
        world.inject(agents[who], leader, to_leader, frame);
    }
    world.pass(seconds(2));
    for (who, view) in agents.iter().zip(views) {
        let agent = &world.agents[*who];
        assert_eq!(agent.member.view(), view, "agent {who} is where it was");
        assert!(agent.messages().is_empty() && ended(&world, *who).is_empty(), "agent {who}");
        let blamed =
            |event: &Event| matches!(event, Event::Blamed(_, Fault::BadSeal | Fault::Malformed | Fault::OldView));
        assert!(agent.events.iter().any(blamed), "agent {who} noticed: {:?}", agent.events);
    }
    let refused = |(_, event): &(LeaderId, leader::Event)| matches!(event, leader::Event::Blamed(_, Fault::BadSeal));
    assert!(world.leader_events.iter().any(refused));
    assert!(world.leaders.values().all(|leader| leader.members().len() == 3 && leader.session().number == number(2)));
    hear_each_other(&mut world, &agents, "as if nothing had been");
}
