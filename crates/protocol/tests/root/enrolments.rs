//! Passwords that only some leaders know, or that they know differently.

use std::time::Duration;

use ringfort_protocol::Rejected;
use ringfort_protocol::leader::Command;
use ringfort_protocol::login::enrol_password;
use ringfort_protocol::member::{Event, JoinFailure, Secret};
use ringfort_protocol::policy::Policy;
use ringfort_protocol::time::Time;

use crate::harness::{World, leader_id, rng, user};

/// The operators of these leaders accept records for `pia`, made for this password.
fn enrol(world: &mut World, leaders: &[u8], password: &[u8], seed: u64) {
    let records = enrol_password(&world.group, &user("pia"), password, &mut rng(seed)).unwrap().records;
    for record in records.into_iter().filter(|record| leaders.contains(&record.leader.number())) {
        world.command(record.leader.number(), Command::Replace(record)).unwrap();
    }
}

#[test]
fn what_somebody_has_registered_is_replaced_only_by_who_says_so() {
    let mut world = World::new(&[]);
    enrol(&mut world, &[1, 2, 3, 4], b"correct horse", 1);
    let records = |seed| enrol_password(&world.group, &user("pia"), b"of another", &mut rng(seed)).unwrap().records;
    let (hostile, again) = (records(2), records(2));
    let same = enrol_password(&world.group, &user("pia"), b"correct horse", &mut rng(1)).unwrap().records;
    for record in hostile {
        let refused = world.command(record.leader.number(), Command::Enrol(record)).map(|_| ());
        assert_eq!(refused, Err(Rejected::Registered(user("pia"))));
    }
    for record in same {
        world.command(record.leader.number(), Command::Enrol(record)).unwrap();
    }
    assert_eq!(joins(&mut world, b"correct horse"), Ok(true));
    for record in again {
        world.command(record.leader.number(), Command::Replace(record)).unwrap();
    }
    assert_eq!(
        joins(&mut world, b"correct horse"),
        Err(JoinFailure::NotAuthentic),
        "the old one opens nothing any more"
    );
}

/// Whether `pia` gets in with this password, or why not, or neither within ten seconds.
fn joins(world: &mut World, password: &[u8]) -> Result<bool, JoinFailure> {
    let pia = world.start_with("pia", Secret::Password(password.to_vec().into()));
    world.pass(Duration::from_secs(10));
    let failure = world.agents[pia].events.iter().find_map(|event| match event {
        Event::JoinFailed(failure) => Some(*failure),
        _ => None,
    });
    failure.map_or(Ok(world.agents[pia].member.view().is_some()), Err)
}

const PAIRS: [[u8; 2]; 3] = [[1, 2], [3, 4], [4, 1]];

#[test]
fn a_password_known_to_f_plus_1_leaders_lets_in_and_a_wrong_one_is_told() {
    for pair in PAIRS {
        let mut world = World::new(&[]);
        enrol(&mut world, &pair, b"correct horse", 1);
        assert_eq!(joins(&mut world, b"correct horsf"), Err(JoinFailure::NotAuthentic), "{pair:?}");
        assert_eq!(joins(&mut world, b"correct horse"), Ok(true), "{pair:?}");
    }
}

#[test]
fn with_f_leaders_silent_f_plus_1_that_know_the_password_are_enough() {
    for pair in PAIRS {
        for silent in (1..=4).filter(|leader| !pair.contains(leader)) {
            let mut world = World::new(&[]);
            enrol(&mut world, &pair, b"correct horse", 1);
            world.silent.insert(leader_id(silent));
            assert_eq!(joins(&mut world, b"correct horse"), Ok(true), "{pair:?} without {silent}");
        }
    }
}

#[test]
fn where_a_renewed_password_has_reached_half_of_the_leaders_either_lets_in() {
    for (old, new) in [(&b"correct horse"[..], &b"battery staple"[..]), (b"correct horse", b"correct horse")] {
        let mut world = World::new(&[]);
        enrol(&mut world, &[1, 2, 3, 4], old, 1);
        enrol(&mut world, &[2, 3], new, 2);
        assert_eq!(joins(&mut world, b"letmein"), Err(JoinFailure::NotAuthentic));
        assert_eq!(joins(&mut world, new), Ok(true));
        assert_eq!(joins(&mut world, old), Ok(true));
    }
}

#[test]
fn fewer_than_f_plus_1_that_know_the_password_do_not_let_in() {
    let mut world = World::new(&[]);
    enrol(&mut world, &[3], b"correct horse", 1);
    assert_eq!(joins(&mut world, b"correct horse"), Err(JoinFailure::NotAuthentic));
}

#[test]
fn leaders_that_have_met_nobody_yet_evaluate_passwords() {
    let mut world = World::new(&[]);
    enrol(&mut world, &[1, 2, 3, 4], b"correct horse", 1);
    (1..=4).for_each(|number| world.restart(number));
    assert_eq!(joins(&mut world, b"correct horse"), Ok(true));
}

#[test]
fn leaders_without_the_user_and_one_with_an_older_password_do_not_keep_a_wrong_one_waiting() {
    let mut world = World::new(&[]);
    enrol(&mut world, &[1], b"correct horse", 1);
    enrol(&mut world, &[2], b"battery staple", 2);
    assert_eq!(joins(&mut world, b"correct horse"), Err(JoinFailure::NotAuthentic));
}

/// Leader 4 refuses to evaluate a password, and the network holds that back until the others have let its user in.
fn refused_late(mut world: World) {
    let pia = world.start_with("pia", Secret::Password(b"correct horse".to_vec().into()));
    world.delayed.insert((pia, leader_id(4)));
    // Leader 4 is asked first.
    world.part(&[pia], &[1, 2, 3]);
    world.pass(Duration::from_millis(40));
    world.apart.clear();
    while world.agents[pia].member.view().is_none() {
        world.pass(Duration::from_millis(20));
        assert!(world.now < Time::ZERO + Duration::from_secs(5), "three leaders let somebody in");
    }
    let now = world.now;
    assert!(world.let_down(now) > 0);
    world.delayed.clear();
    let now = world.now;
    world.let_down(now);
    world.pass(Duration::from_secs(5));
    let events = &world.agents[pia].events;
    let blamed = events.iter().find(|event| matches!(event, Event::Blamed(..)));
    assert!(blamed.is_none(), "{blamed:?}");
    let answers = |event: &Event| matches!(event, Event::LeaderAnswers(id, true) if *id == leader_id(4));
    assert!(events.iter().any(answers), "it is in at leader 4, too");
}

#[test]
fn who_refuses_late_because_it_knows_no_password_is_not_blamed() {
    let mut world = World::new(&[]);
    enrol(&mut world, &[1, 2, 3], b"correct horse", 1);
    refused_late(world);
}

#[test]
fn who_refuses_late_because_too_many_have_tried_is_not_blamed() {
    let mut world = World::with_policy(Policy { login_attempts_per_minute: 1, ..Policy::default() }, &[]);
    enrol(&mut world, &[1, 2, 3, 4], b"correct horse", 1);
    // Somebody guesses at leader 4.
    world.part(&[0], &[1, 2, 3]);
    let guesser = world.start_with("pia", Secret::Password(b"wrong".to_vec().into()));
    world.pass(Duration::from_secs(1));
    world.kill(guesser);
    refused_late(world);
}
