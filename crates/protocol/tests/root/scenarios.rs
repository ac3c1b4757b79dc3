//! What users see, with all leaders, with f silent, and with f+1 silent.

use std::collections::BTreeSet;
use std::time::Duration;

use ringfort_protocol::Rejected;
use ringfort_protocol::delivery::LIVE_BYTES_MAX;
use ringfort_protocol::leader::{self, Class, Command};
use ringfort_protocol::login::Denial;
use ringfort_protocol::member::{Confirmation, Event, JoinFailure, Secret};
use ringfort_protocol::policy::{Policy, WhenStale};
use ringfort_protocol::view::Cause;

use crate::harness::{World, key_of, leader_id, user};

const TRIO: [&str; 3] = ["pia", "pol", "pru"];

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn ended(world: &World, who: usize) -> Option<Cause> {
    world.agents[who].events.iter().find_map(|event| match event {
        Event::Ended(cause) => Some(*cause),
        _ => None,
    })
}

fn join_failed(world: &World, who: usize) -> Option<JoinFailure> {
    world.agents[who].events.iter().find_map(|event| match event {
        Event::JoinFailed(failure) => Some(*failure),
        _ => None,
    })
}

/// That everybody in the group hears everybody else, once.
fn all_hear_each_other(world: &mut World, present: &[usize], tag: &str) {
    let before: Vec<usize> = world.agents.iter().map(|a| a.messages().len()).collect();
    for who in present {
        world.multicast(*who, format!("{tag} from {who}").as_bytes()).unwrap();
    }
    world.pass(seconds(3));
    for to in present {
        let heard: Vec<_> = world.agents[*to].messages()[before[*to]..].iter().map(|(_, p)| p.to_vec()).collect();
        let mut expected: Vec<_> =
            present.iter().filter(|from| *from != to).map(|from| format!("{tag} from {from}").into_bytes()).collect();
        let mut heard_sorted = heard.clone();
        heard_sorted.sort();
        expected.sort();
        assert_eq!(heard_sorted, expected, "{tag}: what {to} heard");
    }
}

/// That members in one view have one key: what one seals, the others open.
fn same_view(world: &World, present: &[usize]) {
    let first = &world.agents[present[0]].member;
    for who in present {
        let member = &world.agents[*who].member;
        assert_eq!(member.view(), first.view(), "{who}");
        assert!(member.confirmation().is_current(), "{who}");
        #[cfg(feature = "mutants")]
        assert_eq!(member.key_for_testing_only(), first.key_for_testing_only());
    }
}

fn whole_life(mut world: World) {
    same_view(&world, &[0, 1, 2]);
    all_hear_each_other(&mut world, &[0, 1, 2], "hello");

    world.send_to(0, &["pol"], b"only you").unwrap();
    world.pass(seconds(1));
    assert_eq!(world.agents[1].messages().last(), Some(&("pia", b"only you".as_slice())));
    assert!(world.agents[1].deliveries().last().unwrap().private);
    assert!(world.agents[2].messages().iter().all(|(_, payload)| *payload != b"only you"));

    let with_all = world.agents[0].member.view();
    world.leave(2);
    world.pass(seconds(2));
    assert_eq!(ended(&world, 2), Some(Cause::Left));
    assert_eq!(world.agents[0].names(), ["pia", "pol"]);
    assert_ne!(world.agents[0].member.view(), with_all, "whoever leaves, the key is new (K14, K37)");
    all_hear_each_other(&mut world, &[0, 1], "without pru");

    let again = world.start("pru");
    world.pass(seconds(3));
    same_view(&world, &[0, 1, again]);
    all_hear_each_other(&mut world, &[0, 1, again], "pru is back");

    world.command(1, Command::Expel(user("pol"))).unwrap();
    world.pass(seconds(1));
    assert_eq!(world.agents[0].names().len(), 3, "one operator expels nobody");
    world.command(2, Command::Expel(user("pol"))).unwrap();
    world.pass(seconds(2));
    assert_eq!(ended(&world, 1), Some(Cause::Expelled));
    assert_eq!(world.agents[0].names(), ["pia", "pru"]);
    let barred = world.start("pol");
    world.pass(seconds(3));
    let refused = join_failed(&world, barred);
    assert!(matches!(refused, Some(JoinFailure::Denied(Denial::Expelled(_)))), "{refused:?}");
    all_hear_each_other(&mut world, &[0, again], "without pol");
    let blamed = world.leader_events.iter().find(|(_, e)| matches!(e, leader::Event::Blamed(..)));
    assert_eq!(blamed, None, "honest leaders and members blame nobody");
}

#[test]
fn members_join_talk_leave_come_back_and_are_expelled() {
    whole_life(World::joined(&TRIO));
}

#[test]
fn only_short_best_effort_overtakes() {
    let mut world = World::joined(&["pia", "pol"]);
    assert_eq!(world.classes_of_best_effort(0, 200), [Class::Live; 2], "speech");
    assert_eq!(world.classes_of_best_effort(0, LIVE_BYTES_MAX), [Class::Data; 2], "a piece of a file");
}

#[test]
fn with_f_leaders_silent_all_works() {
    for silent in [3, 4] {
        let mut world = World::new(&TRIO);
        world.silent.insert(leader_id(silent));
        for name in TRIO {
            world.start(name);
        }
        world.pass(seconds(4));
        whole_life(world);
    }
}

#[test]
fn f_leaders_falling_silent_later_change_nothing() {
    let mut world = World::joined(&TRIO);
    world.silent.insert(leader_id(2));
    world.pass(seconds(8));
    all_hear_each_other(&mut world, &[0, 1, 2], "one is gone");
    let unsure = |e: &Event| matches!(e, Event::Confirmation(now) if !now.is_current());
    assert!(!world.agents.iter().any(|agent| agent.events.iter().any(unsure)));
    assert!(world.agents[0].events.iter().any(|e| matches!(e, Event::LeaderAnswers(id, false) if *id == leader_id(2))));
}

#[test]
fn with_f_plus_1_silent_nobody_joins_and_members_keep_talking_and_say_so() {
    let mut world = World::joined(&["pia", "pol"]);
    let view = world.agents[0].member.view();
    for number in 1..=3 {
        world.silent.insert(leader_id(number));
    }
    let late = world.start_with("pru", Secret::Key(key_of("pru")));
    world.pass(seconds(15));
    for who in 0..2 {
        assert_eq!(world.agents[who].member.confirmation(), Confirmation::Unconfirmed);
        assert!(world.agents[who].events.iter().any(|e| matches!(e, Event::Confirmation(Confirmation::Unconfirmed))));
        assert_eq!(world.agents[who].member.view(), view);
    }
    assert_eq!(world.agents[late].member.view(), None);
    all_hear_each_other(&mut world, &[0, 1], "under the last key");

    world.silent.clear();
    world.pass(seconds(8));
    assert!(world.agents[0].member.confirmation().is_current());
    assert!(world.agents[0].events.iter().rev().any(|e| matches!(e, Event::Confirmation(Confirmation::Current))));
}

#[test]
fn with_two_of_four_leaders_silent_nobody_joins_until_one_is_back() {
    let mut world = World::new(&TRIO);
    world.silent.extend([leader_id(1), leader_id(3)]);
    for name in TRIO {
        world.start(name);
    }
    world.pass(seconds(20));
    assert!(world.agents.iter().all(|agent| agent.member.view().is_none()));
    assert!((0..3).all(|who| join_failed(&world, who).is_none()), "silence is no refusal");
    world.silent.remove(&leader_id(3));
    // What was sent to it meanwhile is lost: its links are made anew.
    world.cut_links(3);
    world.pass(seconds(20));
    same_view(&world, &[0, 1, 2]);
}

#[test]
fn with_two_of_four_leaders_silent_a_view_is_believed_and_not_current() {
    for when_stale in [WhenStale::Continue, WhenStale::StopSending] {
        let mut world = World::with_policy(Policy { when_stale, ..Policy::default() }, &["pia", "pol"]);
        for name in ["pia", "pol"] {
            world.start(name);
        }
        world.pass(seconds(4));
        same_view(&world, &[0, 1]);
        world.silent.extend([leader_id(1), leader_id(2)]);
        world.pass(seconds(7));
        for who in 0..2 {
            assert_eq!(world.agents[who].member.confirmation(), Confirmation::Believed);
            let told = world.agents[who].events.iter().rev().find(|e| matches!(e, Event::Confirmation(_)));
            assert!(matches!(told, Some(Event::Confirmation(Confirmation::Believed))), "{told:?}");
        }
        let sent = world.multicast(0, b"who else is there?");
        let stops = when_stale == WhenStale::StopSending;
        assert_eq!(sent, if stops { Err(Rejected::Stale) } else { Ok(()) });
        world.silent.remove(&leader_id(1));
        world.pass(seconds(3));
        assert!(world.agents[0].member.confirmation().is_current());
        world.multicast(0, b"three are there").unwrap();
    }
}

#[test]
fn a_wrong_password_and_an_unknown_user_fail_alike() {
    let mut world = World::joined(&["pia"]);
    let wrong = world.start_with("pia", Secret::Password(b"wrong".to_vec().into()));
    let unknown = world.start_with("eve", Secret::Password(b"wrong".to_vec().into()));
    world.pass(seconds(3));
    for who in [wrong, unknown] {
        assert_eq!(join_failed(&world, who), Some(JoinFailure::NotAuthentic));
        assert_eq!(world.agents[who].member.view(), None);
    }
    assert_eq!(world.agents[0].names(), ["pia"]);
}

#[test]
fn leaders_restarted_one_after_the_other_go_on_where_they_were() {
    let mut world = World::joined(&TRIO);
    for number in 1..=4 {
        world.restart(number);
        world.pass(seconds(3));
    }
    same_view(&world, &[0, 1, 2]);
    all_hear_each_other(&mut world, &[0, 1, 2], "after four restarts");
    world.leave(1);
    world.pass(seconds(3));
    assert_eq!(world.agents[0].names(), ["pia", "pru"]);
    same_view(&world, &[0, 2]);
}

#[test]
fn relays_that_were_away_are_used_again_from_the_next_view_on() {
    let mut world = World::joined(&TRIO);
    let relays = |world: &World| BTreeSet::from_iter(world.agents[0].member.relays());
    world.multicast(0, b"before").unwrap();
    let usual = relays(&world);
    let away = *usual.first().unwrap();
    world.restart(away.number());
    world.multicast(0, b"meanwhile").unwrap();
    let meanwhile = relays(&world);
    assert!(!meanwhile.contains(&away));
    world.pass(seconds(3));
    assert_eq!(relays(&world), meanwhile, "a way that works is not changed while messages are under way on it");
    for operator in [1, 2] {
        world.command(operator, Command::Refresh).unwrap();
    }
    world.pass(seconds(3));
    assert_eq!(relays(&world), usual);
}

#[test]
fn a_relay_that_acknowledges_nothing_is_left_and_what_it_was_given_goes_through_another() {
    let mut world = World::joined(&TRIO);
    let away = world.agents[0].member.relays()[0];
    world.silent.insert(away);
    world.multicast(0, b"once").unwrap();
    assert!(world.agents[0].member.under_way() == 1 && world.agents[0].member.relays().contains(&away));
    world.pass(Duration::from_millis(1_500));
    let (member, now) = (&world.agents[0].member, world.now);
    let confirms = member.leaders(now).iter().any(|l| l.leader == away && l.confirms);
    assert!(confirms, "nobody knows yet that it is silent");
    assert!(!member.relays().contains(&away), "but it did not acknowledge what others did");
    assert_eq!(member.under_way(), 0);
    assert!(world.agents[1].messages().contains(&("pia", &b"once"[..])));
}

#[test]
fn a_newer_login_of_the_same_user_replaces_the_older() {
    let mut world = World::joined(&TRIO);
    let second = world.start("pol");
    world.pass(seconds(5));
    assert!(ended(&world, 1).is_some(), "the older stay ends");
    same_view(&world, &[0, second, 2]);
    assert_eq!(world.agents[0].names(), TRIO);
    assert_ne!(world.agents[1].member.id(), world.agents[second].member.id());
}

#[test]
fn a_refresh_asked_for_by_f_plus_1_operators_changes_the_key_and_nobody() {
    let mut world = World::joined(&TRIO);
    let before = world.agents[0].member.view();
    world.command(1, Command::Refresh).unwrap();
    world.pass(seconds(1));
    assert_eq!(world.agents[0].member.view(), before, "one operator alone");
    world.command(2, Command::Refresh).unwrap();
    world.pass(seconds(1));
    assert_ne!(world.agents[0].member.view(), before);
    same_view(&world, &[0, 1, 2]);
    assert_eq!(world.agents[0].names(), TRIO);
}

#[test]
fn a_newcomer_joins_a_group_whose_list_comes_in_a_message_of_its_own() {
    let names: Vec<String> = (0..36).map(|i| format!("k{i:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(&names);
    for name in &names[1..] {
        world.start(name);
    }
    world.pass(seconds(4));
    assert!(world.agents.iter().all(|agent| agent.names().len() == 35));
    let late = world.start(names[0]);
    world.pass(seconds(3));
    assert_eq!(world.agents[late].names().len(), 36);
    same_view(&world, &[0, 17, late]);
}
