//! Files arrive, whatever the network does and whoever comes, goes, pauses or is slow.

use proptest::prelude::*;

use super::world::{Network, World, user};
use crate::core::limits::Limits;
use crate::core::{Action, Transfer};

fn limits() -> Limits {
    Limits { chunk_bytes: 1024, window_bytes: 16 * 1024, auto_bytes_max: 0, ..Limits::default() }
}

fn content(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|i| (i / 7) as u8 ^ (i as u8).wrapping_mul(31) ^ seed).collect()
}

fn accept_all(world: &mut World, names: &[&str]) {
    for name in names {
        world.until("an offer", |world| world.list(name).last().is_some_and(|t| t.state == "asked"));
        let id = world.last(name).id;
        world.act(name, id, Action::Accept);
    }
}

fn is(world: &World, name: &str, state: &str) -> bool {
    world.list(name).last().is_some_and(|transfer| transfer.state == state)
}

fn peer(transfer: &Transfer, name: &str) -> (&'static str, u64) {
    let peer = transfer.peers.iter().find(|peer| peer.user == name).unwrap();
    (peer.state, peer.done)
}

#[test]
fn a_file_to_all_arrives_once_and_its_sender_knows() {
    let mut world = World::new(&["ana", "ben", "eva"], Network::default(), 1, &limits());
    let file = content(100_000, 1);
    world.send("ana", &[], "../a.bin", &file);
    accept_all(&mut world, &["ben", "eva"]);
    world.until("sent", |world| is(world, "ana", "sent"));
    for name in ["ben", "eva"] {
        assert!(is(&world, name, "complete"));
        assert_eq!(world.nodes[&user(name)].disk.complete, [("_a.bin".to_owned(), file.clone())]);
    }
    // To both at once: nearly every piece was sent a single time.
    assert!(world.chunk_bytes_sent < 130_000, "{}", world.chunk_bytes_sent);
    assert_eq!(peer(&world.last("ana"), "ben"), ("complete", 100_000));
}

#[test]
fn a_file_to_some_is_offered_to_nobody_else() {
    let mut world = World::new(&["ana", "ben", "eva"], Network::default(), 2, &limits());
    world.send("ana", &["eva"], "a", &content(5000, 2));
    accept_all(&mut world, &["eva"]);
    world.until("sent", |world| is(world, "ana", "sent"));
    assert!(world.list("ben").is_empty());
}

#[test]
fn an_empty_file_arrives_too_and_one_of_exact_pieces() {
    let mut world = World::new(&["ana", "ben"], Network::default(), 3, &limits());
    for bytes in [0, 1, 1023, 1024, 1025, 2048] {
        world.send("ana", &[], "a", &content(bytes, 3));
        accept_all(&mut world, &["ben"]);
        world.until("sent", |world| is(world, "ana", "sent"));
        assert_eq!(world.nodes[&user("ben")].disk.complete.last().unwrap().1, content(bytes, 3));
    }
}

#[test]
fn small_files_are_accepted_without_asking_until_they_are_many() {
    let limits = Limits { auto_bytes_max: 1000, auto_total_bytes_max: 2500, ..limits() };
    let mut world = World::new(&["ana", "ben"], Network::default(), 4, &limits);
    for (round, state) in ["complete", "complete", "asked"].into_iter().enumerate() {
        world.send("ana", &[], "a", &content(1000, round as u8));
        world.run(50);
        assert!(is(&world, "ben", state), "{round}");
    }
    world.send("ana", &[], "a", &content(1001, 9));
    world.run(50);
    assert!(is(&world, "ben", "asked"));
}

#[test]
fn pausing_and_going_on_works_from_both_sides() {
    let mut world = World::new(&["ana", "ben"], Network { delays_ms: 5, ..Network::default() }, 5, &limits());
    let file = content(400_000, 5);
    let sent = world.send("ana", &[], "a", &file);
    accept_all(&mut world, &["ben"]);
    world.run(60);
    for (who, other) in [("ben", "ana"), ("ana", "ben")] {
        let id = if who == "ana" { sent } else { world.last("ben").id };
        world.act(who, id, Action::Pause);
        world.run(200);
        let before = world.last("ben").done;
        assert!(before > 0 && before < 400_000, "{before}");
        world.run(20_000);
        assert_eq!(world.last("ben").done, before, "{who} pauses");
        assert!(is(&world, who, "paused"));
        assert!(other != "ben" || world.last("ben").sender_paused);
        world.act(who, id, Action::Resume);
        world.run(60);
        assert!(world.last("ben").done > before, "{who} goes on");
    }
    world.until("sent", |world| is(world, "ana", "sent"));
    assert_eq!(world.nodes[&user("ben")].disk.complete[0].1, file);
}

#[test]
fn either_side_can_end_it_and_nothing_is_left() {
    for who in ["ana", "ben"] {
        let mut world = World::new(&["ana", "ben", "eva"], Network::default(), 6, &limits());
        let sent = world.send("ana", &[], "a", &content(200_000, 6));
        accept_all(&mut world, &["ben", "eva"]);
        world.run(40);
        let id = if who == "ana" { sent } else { world.last("ben").id };
        world.act(who, id, Action::Cancel);
        world.run(100);
        assert!(world.nodes[&user("ben")].disk.parts.is_empty());
        assert!(world.nodes[&user("ben")].disk.complete.is_empty());
        if who == "ana" {
            assert!(is(&world, "ben", "cancelled") && is(&world, "eva", "cancelled") && is(&world, "ana", "cancelled"));
        } else {
            // The other goes on.
            world.until("sent", |world| is(world, "ana", "sent"));
            assert!(is(&world, "eva", "complete") && is(&world, "ben", "declined"));
            assert_eq!(peer(&world.last("ana"), "ben").0, "declined");
        }
    }
}

#[test]
fn a_receiver_that_restarts_goes_on_where_it_was() {
    let mut world = World::new(&["ana", "ben", "eva"], Network::default(), 7, &limits());
    let file = content(300_000, 7);
    world.send("ana", &[], "a", &file);
    accept_all(&mut world, &["ben", "eva"]);
    world.until("the middle", |world| world.last("ben").done > 100_000);
    world.restart("ben", &limits());
    let sent_before = world.chunk_bytes_sent;
    // It is offered the file again, and goes on without asking.
    world.until("sent", |world| is(world, "ana", "sent"));
    assert_eq!(world.nodes[&user("ben")].disk.complete[0].1, file);
    assert!(is(&world, "eva", "complete"));
    assert!(world.chunk_bytes_sent - sent_before < 500_000, "{}", world.chunk_bytes_sent - sent_before);
}

#[test]
fn a_sender_that_restarts_offers_again_and_only_the_rest_is_sent() {
    let mut world = World::new(&["ana", "ben"], Network::default(), 8, &limits());
    let file = content(300_000, 8);
    world.send("ana", &[], "a", &file);
    accept_all(&mut world, &["ben"]);
    world.until("the middle", |world| world.last("ben").done > 150_000);
    world.restart("ana", &limits());
    assert!(is(&world, "ben", "interrupted"));
    let before = world.chunk_bytes_sent;
    world.send("ana", &[], "a", &file);
    world.until("sent", |world| is(world, "ana", "sent"));
    assert_eq!(world.nodes[&user("ben")].disk.complete[0].1, file);
    assert!(world.chunk_bytes_sent - before < 160_000, "{}", world.chunk_bytes_sent - before);
    assert_eq!(world.list("ben").len(), 1, "the interrupted one has made way");
}

#[test]
fn who_is_silent_does_not_hold_the_others_up_and_goes_on_later() {
    let mut world = World::new(&["ana", "ben", "eva"], Network::default(), 9, &limits());
    let file = content(500_000, 9);
    world.send("ana", &[], "a", &file);
    accept_all(&mut world, &["ben", "eva"]);
    world.run(40);
    world.nodes.get_mut(&user("ben")).unwrap().cut = true;
    let begin = world.now_ms;
    world.until("eva", |world| is(world, "eva", "complete"));
    assert!(world.now_ms - begin < 3_000, "{}", world.now_ms - begin);
    world.until("silence", |world| peer(&world.last("ana"), "ben").0 == "silent");
    world.nodes.get_mut(&user("ben")).unwrap().cut = false;
    world.until("sent", |world| is(world, "ana", "sent"));
    assert_eq!(world.nodes[&user("ben")].disk.complete[0].1, file);
}

#[test]
fn who_leaves_does_not_hold_the_others_up() {
    let mut world = World::new(&["ana", "ben", "eva"], Network::default(), 10, &limits());
    world.send("ana", &[], "a", &content(200_000, 10));
    accept_all(&mut world, &["ben", "eva"]);
    world.run(40);
    world.nodes.remove(&user("ben"));
    world.meet();
    let begin = world.now_ms;
    world.until("eva", |world| is(world, "eva", "complete"));
    assert!(world.now_ms - begin < 500);
    assert_eq!(peer(&world.last("ana"), "ben").0, "left");
}

#[test]
fn one_that_is_much_slower_is_served_by_itself() {
    let mut world = World::new(&["ana", "ben", "eva"], Network::default(), 11, &limits());
    let file = content(600_000, 11);
    world.send("ana", &[], "a", &file);
    world.nodes.get_mut(&user("ben")).unwrap().slow = 20;
    accept_all(&mut world, &["ben", "eva"]);
    let begin = world.now_ms;
    world.until("eva", |world| is(world, "eva", "complete"));
    // At the speed of the slow one it would have taken thirty seconds.
    assert!(world.now_ms - begin < 6_000, "{}", world.now_ms - begin);
    world.until("sent", |world| is(world, "ana", "sent"));
    assert_eq!(world.nodes[&user("ben")].disk.complete[0].1, file);
}

#[test]
fn an_offer_that_was_lost_is_made_again() {
    let mut world = World::new(&["ana", "ben"], Network::default(), 12, &limits());
    world.nodes.get_mut(&user("ben")).unwrap().cut = true;
    world.send("ana", &[], "a", &content(5_000, 12));
    world.run(3_000);
    world.nodes.get_mut(&user("ben")).unwrap().cut = false;
    accept_all(&mut world, &["ben"]);
    world.until("sent", |world| is(world, "ana", "sent"));
}

#[test]
fn who_answers_no_offer_is_named_and_is_sent_the_file_once_it_does() {
    let mut world = World::new(&["ana", "ben", "eva"], Network::default(), 15, &limits());
    let file = content(5_000, 15);
    world.nodes.get_mut(&user("eva")).unwrap().cut = true;
    world.send("ana", &[], "a", &file);
    accept_all(&mut world, &["ben"]);
    world.until("ben", |world| peer(&world.last("ana"), "ben").0 == "complete");
    world.run(15_000);
    assert_eq!(peer(&world.last("ana"), "eva").0, "offered");
    world.run(6_000);
    assert_eq!(peer(&world.last("ana"), "eva").0, "unanswered", "five offers in twenty seconds");
    world.nodes.get_mut(&user("eva")).unwrap().cut = false;
    world.restart("eva", &limits());
    accept_all(&mut world, &["eva"]);
    world.until("sent", |world| is(world, "ana", "sent"));
    assert_eq!(world.nodes[&user("eva")].disk.complete[0].1, file);
}

#[test]
fn a_disk_that_fails_is_told_and_the_user_can_try_again() {
    let mut world = World::new(&["ana", "ben", "eva"], Network::default(), 13, &limits());
    let file = content(50_000, 13);
    world.send("ana", &[], "a", &file);
    world.nodes.get_mut(&user("ben")).unwrap().disk.fails = true;
    accept_all(&mut world, &["ben"]);
    world.until("failure", |world| is(world, "ben", "failed"));
    assert_eq!(world.last("ben").why.as_deref(), Some("the disk is full"));
    world.run(10);
    assert_eq!(peer(&world.last("ana"), "ben").0, "failed");
    world.nodes.get_mut(&user("ben")).unwrap().disk.fails = false;
    let id = world.last("ben").id;
    world.act("ben", id, Action::Accept);
    world.until("ben", |world| is(world, "ben", "complete"));
    assert_eq!(world.nodes[&user("ben")].disk.complete[0].1, file);
}

#[test]
fn several_files_share_the_way() {
    let mut world = World::new(&["ana", "ben"], Network::default(), 14, &limits());
    for round in 0..3 {
        world.send("ana", &[], "a", &content(100_000, round));
        accept_all(&mut world, &["ben"]);
    }
    world.run(25);
    assert!(world.list("ben").iter().all(|transfer| transfer.done > 0), "{:#?}", world.list("ben"));
    world.until("all", |world| world.list("ana").iter().all(|transfer| transfer.state == "sent"));
}

#[test]
fn a_list_of_what_is_over_stays_short() {
    let limits = Limits { past_max: 3, auto_bytes_max: 100, ..limits() };
    let mut world = World::new(&["ana", "ben"], Network::default(), 15, &limits);
    for round in 0..10 {
        world.send("ana", &[], "a", &content(100, round));
        world.run(20);
    }
    assert!(world.list("ben").len() <= 4 && world.list("ana").len() <= 4);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_bad_network_delivers_it_right(
        seed in any::<u64>(),
        loses in 0..40u64,
        doubles in 0..30u64,
        delays_ms in 0..40u64,
        bytes in 0..80_000usize,
    ) {
        let network = Network { loses, doubles, delays_ms };
        let mut world = World::new(&["ana", "ben", "eva"], network, seed, &limits());
        let file = content(bytes, seed as u8);
        world.send("ana", &[], "a", &file);
        accept_all(&mut world, &["ben", "eva"]);
        world.until("sent", |world| is(world, "ana", "sent"));
        for name in ["ben", "eva"] {
            prop_assert_eq!(&world.nodes[&user(name)].disk.complete[0].1, &file);
        }
    }

    #[test]
    fn any_interruptions_deliver_it_right(seed in any::<u64>(), bytes in 50_000..150_000usize) {
        let network = Network { loses: 5, doubles: 5, delays_ms: 8 };
        let mut world = World::new(&["ana", "ben", "eva"], network, seed, &limits());
        let file = content(bytes, seed as u8);
        let sent = world.send("ana", &[], "a", &file);
        accept_all(&mut world, &["ben", "eva"]);
        for _ in 0..6 {
            let pause = world.dice(30);
            world.run(pause);
            let ben = world.list("ben").last().map(|transfer| (transfer.id, transfer.state));
            match (world.dice(4), ben) {
                (0, _) => world.restart("ben", &limits()),
                (1, Some((id, "receiving"))) => {
                    world.act("ben", id, Action::Pause);
                    world.run(40);
                    if is(&world, "ben", "paused") { world.act("ben", id, Action::Resume); }
                }
                (2, _) if is(&world, "ana", "sending") => {
                    world.act("ana", sent, Action::Pause);
                    world.run(40);
                    // What was on its way may have been the rest.
                    if is(&world, "ana", "paused") {
                        world.act("ana", sent, Action::Resume);
                    }
                }
                _ => {
                    world.nodes.get_mut(&user("eva")).unwrap().cut = true;
                    world.run(30);
                    world.nodes.get_mut(&user("eva")).unwrap().cut = false;
                }
            }
        }
        world.until("an end", |world| is(world, "ana", "sent") || is(world, "ben", "asked"));
        if is(&world, "ben", "asked") {
            // It restarted with nothing of the file, or with all of it before its sender knew.
            let id = world.last("ben").id;
            world.act("ben", id, Action::Accept);
        }
        world.until("sent", |world| is(world, "ana", "sent"));
        for name in ["ben", "eva"] {
            prop_assert_eq!(&world.nodes[&user(name)].disk.complete[0].1, &file);
        }
    }
}
