//! What honest members say may come late, and all at once: nobody is blamed or shut out for it.

use std::time::Duration;

use bytes::Bytes;
use ringfort_protocol::codec::LOGIN_FRAME_BYTES_MAX;
use ringfort_protocol::data::{DATA_TAG, DataHeader, FrameKind};
use ringfort_protocol::fault::{Culprit, Fault};
use ringfort_protocol::leader::Event;
use ringfort_protocol::policy::{Policy, Service};
use ringfort_protocol::{LeaderId, Seq, ViewDigest};

use crate::harness::{World, leader_id};

/// Frames that a leader reads on a link before it has let its member in, at most; four are the login.
const FRAMES_MAX: usize = 32 - 4;

fn blamed_members(world: &World) -> Vec<(LeaderId, String, Fault)> {
    let blamed = |(by, event): &(LeaderId, Event)| match event {
        Event::Blamed(Culprit::Member(member), fault) if fault.is_deviation() => {
            Some((*by, member.user.to_string(), *fault))
        }
        _ => None,
    };
    world.leader_events.iter().filter_map(blamed).collect()
}

/// The first member loses all links and comes back over slow ones. Says what it sends to each leader that has not answered.
fn comes_back(world: &mut World, meanwhile: impl FnOnce(&mut World)) -> Vec<Vec<Bytes>> {
    world.pass(Duration::from_secs(1));
    world.part(&[0], &[1, 2, 3, 4]);
    meanwhile(world);
    world.apart.clear();
    world.held_back.extend(LeaderId::all(4).map(|leader| (0, leader)));
    world.recorded = Some(Vec::new());
    world.pass(Duration::from_millis(200));
    let all = world.recorded.take().unwrap();
    let to = |leader| {
        let own = all.iter().filter(move |(who, to, up, _)| (*who, *to, *up) == (0, leader, true));
        own.map(|(.., frame)| frame.clone()).collect()
    };
    LeaderId::all(4).map(to).collect()
}

fn assert_short_and_few(said: &[Vec<Bytes>]) {
    for frames in said {
        let lengths: Vec<usize> = frames.iter().map(Bytes::len).collect();
        assert!(frames.len() > 2, "it has logged in: {lengths:?}");
        assert!(frames.len() <= FRAMES_MAX, "{} frames", frames.len());
        assert!(lengths.iter().all(|length| *length <= LOGIN_FRAME_BYTES_MAX), "{lengths:?}");
    }
}

#[test]
fn a_member_that_comes_back_says_again_what_was_long_only_to_leaders_that_have_let_it_in() {
    let mut world = World::joined(&["ana", "bo"]);
    let said = comes_back(&mut world, |world| world.multicast(0, &[7; 20_000]).unwrap());
    assert_short_and_few(&said);
    world.let_go();
    world.pass(Duration::from_secs(3));
    assert_eq!(world.agents[1].deliveries().count(), 1, "and says it then");
}

#[test]
fn a_member_that_comes_back_says_again_what_was_much_only_to_leaders_that_have_let_it_in() {
    let mut world = World::joined(&["ana", "bo"]);
    let said = comes_back(&mut world, |world| (0..60).for_each(|_| world.multicast(0, b"hm").unwrap()));
    assert_short_and_few(&said);
    world.let_go();
    world.pass(Duration::from_secs(3));
    assert_eq!(world.agents[1].deliveries().count(), 60, "and says it then");
}

#[test]
fn a_member_that_comes_back_tells_how_far_many_private_streams_go_once_it_is_let_in() {
    let names: Vec<String> = (0..125).map(|i| format!("k{i:031}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::joined(&names);
    names[1..].chunks(64).for_each(|to| world.send_to(0, to, b"psst").unwrap());
    assert_short_and_few(&comes_back(&mut world, |_| {}));
}

#[test]
fn a_member_is_not_blamed_for_what_the_network_held_back_of_its_heartbeats() {
    for (heartbeat_ms, held_s) in [(1_000, 150), (250, 60)] {
        let policy = Policy { heartbeat_ms, ..Policy::default() };
        let mut world = World::with_policy(policy, &["ana", "bo"]);
        ["ana", "bo"].iter().for_each(|name| {
            world.start(name);
        });
        world.pass(Duration::from_secs(3));
        world.held_back.insert((0, leader_id(4)));
        world.pass(Duration::from_secs(held_s));
        world.let_go();
        world.pass(Duration::from_secs(2));
        assert_eq!(blamed_members(&world), [], "heartbeats each {heartbeat_ms} ms, held back for {held_s} s");
        assert!(world.agents.iter().all(|agent| !agent.member.has_ended()));
    }
}

/// A frame under a view that there never was: nobody can tell before its view is known.
fn under_an_invented_view(world: &World, who: usize, number: u64) -> Bytes {
    let mut view = [9; 32];
    view[..8].copy_from_slice(&number.to_be_bytes());
    let (seq, view_start) = (Seq(number), Seq(1));
    let kind = FrameKind::Multicast { service: Service::Reliable, seq, view_start };
    let header = DataHeader { sender: world.agents[who].member.id().unwrap().clone(), view: ViewDigest(view), kind };
    let header = ringfort_protocol::codec::encode(&header);
    [&[ringfort_protocol::codec::WIRE_VERSION, DATA_TAG], &header[..], &[1; 200]].concat().into()
}

#[test]
fn a_member_is_not_blamed_for_asking_about_views_that_a_hacked_one_has_invented() {
    let mut world = World::joined(&["ana", "mal"]);
    world.held_back.insert((0, leader_id(4)));
    let mut number = 1_000;
    for _ in 0..60 {
        for leader in LeaderId::all(3) {
            for _ in 0..8 {
                number += 1;
                let frame = under_an_invented_view(&world, 1, number);
                world.inject(1, leader, true, frame);
            }
        }
        world.pass(Duration::from_secs(1));
    }
    world.let_go();
    world.pass(Duration::from_secs(1));
    let of_ana: Vec<_> = blamed_members(&world).into_iter().filter(|(_, name, _)| name == "ana").collect();
    assert_eq!(of_ana, []);
}

#[test]
fn a_member_that_hears_nothing_from_a_leader_after_its_login_makes_another_link() {
    let mut world = World::joined(&["ana", "bo"]);
    comes_back(&mut world, |_| {});
    let logins = |world: &World| {
        let of_ana = |(by, event): &&(LeaderId, Event)| {
            *by == leader_id(4) && matches!(event, Event::Authenticated(member) if member.user.as_str() == "ana")
        };
        world.leader_events.iter().filter(of_ana).count()
    };
    let before = logins(&world);
    world.pass(Duration::from_secs(10));
    assert_eq!(logins(&world), before, "a leader may take its time");
    world.pass(Duration::from_secs(20));
    assert!(logins(&world) > before);
}

#[test]
fn a_leader_that_says_nothing_after_logins_is_asked_more_and_more_rarely_until_it_is_heard() {
    let mut world = World::joined(&["ana", "bo"]);
    let logins = |world: &World| {
        let of_ana = |(by, event): &&(LeaderId, Event)| {
            *by == leader_id(4) && matches!(event, Event::Authenticated(member) if member.user.as_str() == "ana")
        };
        world.leader_events.iter().filter(of_ana).count()
    };
    let falls_silent = |world: &mut World| {
        world.held_back.insert((0, leader_id(4)));
        world.cut_links(4);
        let before = logins(world);
        world.pass(Duration::from_secs(300));
        logins(world) - before
    };
    for round in ["at first", "after it was heard again"] {
        let tries = falls_silent(&mut world);
        assert!((3..=6).contains(&tries), "{tries} logins in five minutes {round}");
        world.held_back.clear();
        world.held_mail.clear();
        world.cut_links(4);
        world.pass(Duration::from_secs(5));
        assert!(world.agents[0].member.leaders(world.now)[3].confirms, "heard {round}");
    }
}

#[test]
fn leaders_are_asked_again_about_a_view_that_messages_wait_for() {
    let mut world = World::joined(&["ana", "mal"]);
    let frame = under_an_invented_view(&world, 1, 1_000);
    world.recorded = Some(Vec::new());
    world.inject(0, leader_id(1), false, frame);
    world.pass(Duration::from_secs(20));
    // A sealed question about one view has this length, and nothing else that is said meanwhile.
    let question = |(who, to, up, frame): &&(usize, LeaderId, bool, Bytes)| {
        (*who, *to, *up) == (0, leader_id(2), true) && frame.len() == 2 + 8 + 1 + 32 + 16
    };
    let asked = world.recorded.take().unwrap().iter().filter(question).count();
    assert_eq!(asked, 4, "an answer may be lost, and a leader may not know the view yet");
}
