use std::sync::Arc;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ringfort::protocol::fault::Culprit;
use ringfort::protocol::group::deal_group;
use ringfort::protocol::member::Confirmation;
use ringfort::protocol::view::Cause;
use ringfort::protocol::{Epoch, Fault, LeaderId, Policy, Rules, UserName, ViewDigest, ViewId};
use ringfort::{Event, Message};
use ringfort_documents::os_rng;

use super::super::board::LeaderLight;
use super::*;

fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

fn room() -> Room {
    let addresses: Vec<String> = (1..=4).map(|i| format!("h:{i}")).collect();
    let rules = Rules::new(4, 1, 2).unwrap();
    let (info, _) = deal_group("garden", rules, &addresses, Policy::default(), &mut os_rng());
    Room::new(Arc::new(info), user("ana"))
}

fn board() -> Board {
    let light = |number, word: &str, mood| LeaderLight { number, word: word.into(), mood };
    Board {
        epoch: Some(7),
        members: vec!["ana".parse().unwrap(), "ben".parse().unwrap()],
        confirmation: Confirmation::Current,
        key_age: Some(Duration::from_secs(34)),
        leaders: vec![
            light(1, "fine", Mood::Fine),
            light(2, "silent", Mood::Silent),
            light(3, "caught: bad-share", Mood::Caught),
            light(4, "fine", Mood::Fine),
        ],
        ended: false,
    }
}

fn view(epoch: u64) -> ViewId {
    ViewId { epoch: Epoch(epoch), digest: ViewDigest([1; 32]) }
}

fn message(sender: &str, text: &str, recipients: &[&str]) -> Event {
    Event::Message(Message {
        sender: user(sender),
        topic: "chat".into(),
        payload: text.as_bytes().to_vec().into(),
        view: view(7),
        seq: 1,
        recipients: recipients.iter().map(|name| user(name)).collect(),
    })
}

fn drawn(room: &mut Room, board: &Board, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, room, board, &Input::default())).unwrap();
    terminal.backend().to_string()
}

#[test]
fn everything_has_its_place() {
    let mut room = room();
    room.on_event(&Event::View { view: view(6), joined: vec![user("ana"), user("ben")], left: vec![] });
    room.on_event(&message("ben", "hello there", &[]));
    room.on_event(&message("ben", "psst", &["ana"]));
    room.on_event(&Event::View { view: view(7), joined: vec![], left: vec![(user("eva"), Cause::Expelled)] });
    room.on_event(&Event::Gap { sender: user("ben"), first: 4, count: 2 });
    let screen = drawn(&mut room, &board(), (100, 14));
    for wanted in [
        " garden — ana",
        "view 7 · key 34 s old · confirmed",
        "you joined; here: ben",
        "ben: hello there",
        "ben → you (private): psst",
        "eva was expelled (view 7)",
        "! 2 messages of ben got lost",
        " 2 here ",
        " ana (you)",
        "leaders  1 fine  2 silent  3 caught: bad-share  4 fine",
        "> a message, or /help",
    ] {
        assert!(screen.contains(wanted), "{wanted} is missing in\n{screen}");
    }
}

#[test]
fn a_view_that_nobody_confirms_shows() {
    let mut stale = board();
    stale.confirmation = Confirmation::Unconfirmed;
    stale.key_age = Some(Duration::from_secs(200));
    let screen = drawn(&mut room(), &stale, (100, 10));
    assert!(
        screen.contains("fewer than 2 leaders confirm this view: going on under the last key, 3 min old"),
        "{screen}"
    );
    assert!(screen.contains("not confirmed"), "{screen}");
    stale.ended = true;
    assert!(drawn(&mut room(), &stale, (100, 10)).contains("· ended"));
}

#[test]
fn with_two_of_four_leaders_away_it_says_what_works_and_what_does_not() {
    let believed = Board { confirmation: Confirmation::Believed, ..board() };
    let screen = drawn(&mut room(), &believed, (110, 10));
    let told = "talking works; nobody can join or be put out, and the key cannot change, until a third leader is back";
    assert!(screen.contains(told), "{screen}");
    assert!(screen.contains("too few leaders to change it"), "{screen}");
}

#[test]
fn another_members_text_cannot_pass_for_a_notice_or_steer_the_terminal() {
    let mut room = room();
    room.on_event(&message("ben", "x\n12:00 eva: hi\u{1b}[2J", &[]));
    let screen = drawn(&mut room, &board(), (100, 10));
    assert!(screen.contains("ben: x 12:00 eva: hi\u{fffd}[2J"), "{screen}");
}

#[test]
fn what_is_being_read_stays_while_messages_come() {
    let mut room = room();
    (0..40).for_each(|i| room.on_event(&message("ben", &format!("number {i}."), &[])));
    assert!(drawn(&mut room, &board(), (80, 13)).contains("number 39."));
    room.scroll = 20;
    let before = drawn(&mut room, &board(), (80, 13));
    assert!(before.contains("number 18.") && !before.contains("number 19."), "{before}");
    assert!(before.contains("more lines below"), "{before}");
    room.on_event(&message("ben", &"long ".repeat(60), &[]));
    let after = drawn(&mut room, &board(), (80, 13));
    assert!(after.contains("number 18.") && !after.contains("number 19."), "{after}");
    room.scroll = usize::MAX / 2;
    assert!(drawn(&mut room, &board(), (80, 13)).contains("number 0."));
}

#[test]
fn a_leader_that_repeats_itself_is_told_once() {
    let mut room = room();
    let blame = Event::Blamed(Culprit::Leader(LeaderId::new(3).unwrap()), Fault::BadShare);
    (0..100).for_each(|_| room.on_event(&blame));
    assert_eq!(room.entries().count(), 1);
}

#[test]
fn no_size_is_too_small() {
    let mut room = room();
    (0..30).for_each(|i| room.on_event(&message("ben", &format!("漢字 {i}"), &["ana"])));
    let mut crowd = board();
    crowd.members = (0..500).map(|i| format!("u{i}").parse().unwrap()).collect();
    crowd.confirmation = Confirmation::Unconfirmed;
    for width in [1, 2, 5, 19, 59, 61, 200] {
        for height in [1, 2, 3, 4, 5, 6, 50] {
            drawn(&mut room, &crowd, (width, height));
        }
    }
    assert!(drawn(&mut room, &crowd, (80, 20)).contains("more"));
    assert!(drawn(&mut room, &crowd, (40, 20)).contains("2 of 4 leaders fine  3 caught"));
}
