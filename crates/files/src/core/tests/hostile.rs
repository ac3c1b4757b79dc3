//! What a hostile member says about files, and what does not come of it.

use bytes::Bytes;
use proptest::prelude::*;
use ringfort::protocol::{Time, UserName};

use super::world::{MESSAGE_BYTES_MAX, TOPIC, user};
use crate::core::limits::Limits;
use crate::core::message::{FILE_BYTES_MAX, Message, Offer, OfferId, Report, Stand, Word};
use crate::core::{Action, Effect, Exchange, Job, Refused, To, What};

const NOW: Time = Time::ZERO;

fn limits() -> Limits {
    Limits { chunk_bytes: 1024, window_bytes: 8 * 1024, auto_bytes_max: 0, ..Limits::default() }
}

/// Ben's exchange, with ana and the hostile mal in the group.
fn ben() -> Exchange {
    let mut exchange = Exchange::new(user("ben"), MESSAGE_BYTES_MAX, limits());
    assert_eq!(exchange.on_members(NOW, ["ana", "ben", "mal"].map(user)), []);
    exchange
}

fn offer(id: u8, content: &[u8]) -> Offer {
    let root = *blake3::hash(content).as_bytes();
    Offer { id: OfferId([id; 16]), name: "a".into(), bytes: content.len() as u64, chunk_bytes: 1024, root }
}

fn say(exchange: &mut Exchange, from: &str, message: &Message) -> Vec<Effect> {
    exchange.on_message(NOW, &user(from), TOPIC, &message.to_bytes().into())
}

/// Offers and accepts; the number and the job.
fn begin(exchange: &mut Exchange, from: &str, offer: Offer) -> (u64, Job) {
    say(exchange, from, &Message::Offer(offer));
    let number = exchange.list(NOW, TOPIC).last().unwrap().id;
    let effects = exchange.act(NOW, TOPIC, number, Action::Accept).unwrap();
    let [Effect::Open(job, _, _)] = effects.as_slice() else { panic!("{effects:?}") };
    exchange.on_opened(NOW, *job, 0);
    (number, *job)
}

fn piece(offer: &Offer, index: u32, byte: u8) -> Message {
    Message::Chunk(offer.id, index, vec![byte; offer.chunk_len(index).unwrap()].into())
}

fn state(exchange: &Exchange, number: u64) -> &'static str {
    exchange.list(NOW, TOPIC).into_iter().find(|transfer| transfer.id == number).unwrap().state
}

#[test]
fn a_wrong_hash_makes_no_file() {
    let mut ben = ben();
    let lie = offer(1, &[0; 2048]);
    let (number, job) = begin(&mut ben, "mal", lie.clone());
    for index in 0..2 {
        assert!(matches!(say(&mut ben, "mal", &piece(&lie, index, 7)).as_slice(), [Effect::Write(..)]));
    }
    assert_eq!(ben.on_written(NOW, job, 2), [Effect::Hash(job)]);
    let effects = ben.on_hashed(job, *blake3::hash(&[7; 2048]).as_bytes());
    assert_eq!(effects, [Effect::Discard(job)]);
    assert_eq!(state(&ben, number), "failed");
    // Nor does a second answer of the disk.
    assert_eq!(ben.on_hashed(job, lie.root), []);
    assert_eq!(ben.on_published(job, "a".into()), []);
}

#[test]
fn the_right_hash_before_all_has_come_makes_no_file() {
    let mut ben = ben();
    let honest = offer(1, &[0; 2048]);
    let (number, job) = begin(&mut ben, "ana", honest.clone());
    say(&mut ben, "ana", &piece(&honest, 0, 0));
    assert_eq!(ben.on_written(NOW, job, 1), []);
    assert_eq!(ben.on_hashed(job, honest.root), []);
    assert_eq!(state(&ben, number), "receiving");
}

#[test]
fn names_lead_nowhere() {
    let mut ben = ben();
    let bad = Offer { name: "../../.ssh/authorized_keys".into(), ..offer(1, b"") };
    say(&mut ben, "mal", &Message::Offer(bad));
    let number = ben.list(NOW, TOPIC)[0].id;
    assert_eq!(ben.list(NOW, TOPIC)[0].name, "_.._.ssh_authorized_keys");
    let effects = ben.act(NOW, TOPIC, number, Action::Accept).unwrap();
    let [Effect::Open(job, _, _)] = effects.as_slice() else { panic!() };
    assert_eq!(ben.on_opened(NOW, *job, 0), [Effect::Hash(*job)]);
    let effects = ben.on_hashed(*job, *blake3::hash(b"").as_bytes());
    assert_eq!(effects, [Effect::Publish(*job, "_.._.ssh_authorized_keys".into())]);
}

#[test]
fn pieces_of_others_of_wrong_lengths_and_out_of_reach_are_ignored() {
    let mut ben = ben();
    let honest = offer(1, &[0; 100 * 1024 + 5]);
    let (_, _) = begin(&mut ben, "ana", honest.clone());
    let nothing: &[Effect] = &[];
    assert_eq!(say(&mut ben, "mal", &piece(&honest, 0, 7)), nothing, "of somebody else");
    let other = offer(2, &[0; 1024]);
    assert_eq!(say(&mut ben, "ana", &piece(&other, 0, 7)), nothing, "of no offer");
    let longer = Message::Chunk(honest.id, 0, vec![7; 1025].into());
    assert_eq!(say(&mut ben, "ana", &longer), nothing, "too long");
    let shorter = Message::Chunk(honest.id, 0, vec![7; 1023].into());
    assert_eq!(say(&mut ben, "ana", &shorter), nothing, "too short");
    for index in [101, 102, u32::MAX] {
        let behind = Message::Chunk(honest.id, index, vec![7; 1024].into());
        assert_eq!(say(&mut ben, "ana", &behind), nothing, "behind the end");
    }
    assert_eq!(ben.on_message(NOW, &user("ana"), "chat", &piece(&honest, 0, 7).to_bytes().into()), nothing, "topic");
    assert!(matches!(say(&mut ben, "ana", &piece(&honest, 0, 0)).as_slice(), [Effect::Write(..)]));
    assert_eq!(say(&mut ben, "ana", &piece(&honest, 0, 9)), nothing, "again, and different");
}

#[test]
fn what_comes_out_of_turn_is_kept_within_the_window_only() {
    let mut ben = ben();
    let honest = offer(1, &[0; 1024 * 1024]);
    begin(&mut ben, "ana", honest.clone());
    for index in 1..1024 {
        assert_eq!(say(&mut ben, "ana", &piece(&honest, index, 0)), []);
    }
    assert_eq!(ben.held_bytes(), 15 * 1024, "twice the window, less the one that is missing");
    // Nor does a disk that does not write let more in.
    let effects = say(&mut ben, "ana", &piece(&honest, 0, 0));
    assert!(matches!(effects.as_slice(), [Effect::Write(_, pieces)] if pieces.len() == 16));
    assert_eq!(say(&mut ben, "ana", &piece(&honest, 16, 0)), []);
    assert_eq!(ben.held_bytes(), 0);
}

#[test]
fn offers_without_end_are_not_looked_at() {
    let mut ben = ben();
    for id in 0..200 {
        say(&mut ben, "mal", &Message::Offer(offer(id, &[id])));
    }
    assert_eq!(ben.list(NOW, TOPIC).len(), limits().offers_per_member_max);
    // Another's are.
    say(&mut ben, "ana", &Message::Offer(offer(7, b"x")));
    assert_eq!(ben.list(NOW, TOPIC).len(), limits().offers_per_member_max + 1);
    // And there is a bound for all together, whatever they do: declined ones are trimmed.
    for number in ben.list(NOW, TOPIC).iter().map(|t| t.id).collect::<Vec<_>>() {
        ben.act(NOW, TOPIC, number, Action::Decline).unwrap();
    }
    while ben.next_outbound(NOW).is_some() {}
    for round in 0..40u8 {
        for id in 0..16 {
            say(&mut ben, "mal", &Message::Offer(offer(200 + id % 50, &[id, round])));
        }
        let asked: Vec<_> = ben.list(NOW, TOPIC).into_iter().filter(|t| t.state == "asked").map(|t| t.id).collect();
        for number in asked {
            ben.act(NOW, TOPIC, number, Action::Decline).unwrap();
            ben.act(NOW, TOPIC, number, Action::Forget).unwrap();
        }
    }
    assert!(ben.list(NOW, TOPIC).len() <= limits().past_max);
}

#[test]
fn too_much_cannot_be_accepted() {
    let limits = Limits { receiving_max: 2, file_bytes_max: 10_000, receiving_bytes_max: 15_000, ..limits() };
    let mut ben = Exchange::new(user("ben"), MESSAGE_BYTES_MAX, limits);
    drop(ben.on_members(NOW, ["ana", "ben"].map(user)));
    let mut accept = |id: u8, bytes: u64| {
        say(&mut ben, "ana", &Message::Offer(Offer { bytes, ..offer(id, &[id]) }));
        let number = ben.list(NOW, TOPIC).last().unwrap().id;
        ben.act(NOW, TOPIC, number, Action::Accept).map(drop)
    };
    assert_eq!(accept(1, 10_001), Err(Refused::TooLarge(10_000)));
    assert_eq!(accept(2, 10_000), Ok(()));
    assert_eq!(accept(3, 5_001), Err(Refused::Disk(15_000)));
    assert_eq!(accept(4, 5_000), Ok(()));
    assert_eq!(accept(5, 1), Err(Refused::Receiving(2)));
}

#[test]
fn the_same_file_is_not_received_twice_at_once() {
    let mut ben = ben();
    begin(&mut ben, "ana", offer(1, b"x"));
    say(&mut ben, "ana", &Message::Offer(offer(2, b"x")));
    let second = ben.list(NOW, TOPIC).last().unwrap().id;
    assert_eq!(ben.act(NOW, TOPIC, second, Action::Accept), Err(Refused::Twice));
}

#[test]
fn offers_with_impossible_numbers_are_none() {
    let good = offer(1, &[0; 10]);
    let parse = |offer: Offer| Message::parse(&Message::Offer(offer).to_bytes().into());
    assert!(parse(good.clone()).is_ok());
    for bad in [
        Offer { bytes: FILE_BYTES_MAX + 1, ..good.clone() },
        Offer { bytes: u64::MAX, ..good.clone() },
        Offer { chunk_bytes: 0, ..good.clone() },
        Offer { chunk_bytes: 511, ..good.clone() },
        Offer { chunk_bytes: u32::MAX, ..good.clone() },
        Offer { name: String::new(), ..good.clone() },
        Offer { name: "x".repeat(201), ..good.clone() },
    ] {
        assert!(parse(bad.clone()).is_err(), "{bad:?}");
    }
}

#[test]
fn an_offer_cannot_be_changed_under_its_receiver() {
    let mut ben = ben();
    let (number, _) = begin(&mut ben, "mal", offer(1, b"x"));
    say(&mut ben, "mal", &Message::Offer(Offer { bytes: 1 << 30, ..offer(1, b"x") }));
    assert_eq!(ben.list(NOW, TOPIC).len(), 1);
    assert_eq!(ben.list(NOW, TOPIC)[0].bytes, 1);
    // And nobody else can withdraw it.
    say(&mut ben, "ana", &Message::Word(OfferId([1; 16]), Word::Cancelled));
    assert_eq!(state(&ben, number), "receiving");
}

/// Ana's exchange, sending 1 MiB to ben and mal.
fn ana() -> (Exchange, OfferId) {
    let mut exchange = Exchange::new(user("ana"), MESSAGE_BYTES_MAX, limits());
    drop(exchange.on_members(NOW, ["ana", "ben", "mal"].map(user)));
    let number = exchange.prepare(TOPIC, &[], "a", 1 << 20).unwrap();
    let id = OfferId([9; 16]);
    drop(exchange.on_prepared(NOW, number, id, 1 << 20, [0; 32]));
    (exchange, id)
}

fn report(exchange: &mut Exchange, from: &str, id: OfferId, stand: Stand, next: u32, missing: &[(u32, u32)]) {
    say(exchange, from, &Message::Report(Report { id, stand, next, missing: missing.to_vec() }));
}

/// Pieces that are sent at once, with their receivers.
fn pieces(exchange: &mut Exchange) -> Vec<(u32, To)> {
    let mut sent = Vec::new();
    while let Some(outbound) = exchange.next_outbound(NOW) {
        if let What::Chunk { index, .. } = outbound.what {
            sent.push((index, outbound.to));
        }
        assert!(sent.len() < 1000, "there is no end to it");
    }
    sent
}

#[test]
fn who_reports_nothing_gets_a_window_and_no_more() {
    let (mut ana, id) = ana();
    report(&mut ana, "mal", id, Stand::Receiving, 0, &[]);
    assert_eq!(pieces(&mut ana).len(), 8);
    // Asking again and again for the same does not help before its time.
    for _ in 0..50 {
        report(&mut ana, "mal", id, Stand::Receiving, 0, &[(0, 7)]);
    }
    assert_eq!(pieces(&mut ana).len(), 8);
    for _ in 0..50 {
        report(&mut ana, "mal", id, Stand::Receiving, 0, &[(0, 7)]);
    }
    assert_eq!(pieces(&mut ana).len(), 0);
}

#[test]
fn reports_that_lie_harm_only_the_liar() {
    let (mut ana, id) = ana();
    report(&mut ana, "ben", id, Stand::Receiving, 0, &[]);
    report(&mut ana, "mal", id, Stand::Receiving, u32::MAX, &[]);
    report(&mut ana, "mal", id, Stand::Receiving, 1025, &[]);
    assert!(pieces(&mut ana).iter().all(|(_, to)| *to == To::Only(vec![user("ben")])));
    // Somebody to whom it was not offered, or under another topic, changes nothing.
    let peers = |ana: &Exchange| ana.list(NOW, TOPIC)[0].peers.clone();
    let before = peers(&ana);
    report(&mut ana, "eva", id, Stand::Complete, 1024, &[]);
    let lie = Message::Report(Report { id, stand: Stand::Declined, next: 0, missing: vec![] }).to_bytes().into();
    drop(ana.on_message(NOW, &user("ben"), "chat", &lie));
    assert_eq!(peers(&ana), before);
    report(&mut ana, "mal", id, Stand::Complete, 1024, &[]);
    assert_eq!(ana.list(NOW, TOPIC)[0].state, "sending", "ben still receives");
}

#[test]
fn who_waits_for_what_is_not_sent_is_told_within_bounds() {
    let (mut ana, _) = ana();
    while ana.next_outbound(NOW).is_some() {}
    for round in 0..10_000u32 {
        let mut id = [1; 16];
        id[..4].copy_from_slice(&round.to_le_bytes());
        report(&mut ana, "mal", OfferId(id), Stand::Receiving, 0, &[]);
    }
    let mut told = 0;
    while let Some(outbound) = ana.next_outbound(NOW) {
        let What::Message(bytes) = outbound.what else { panic!("a piece") };
        assert!(matches!(Message::parse(&bytes.into()), Ok(Message::Word(_, Word::Cancelled))));
        told += 1;
    }
    assert_eq!(told, 256);
}

#[test]
fn a_transfer_is_only_its_own_topics() {
    let (mut ana, _) = ana();
    let number = ana.list(NOW, TOPIC)[0].id;
    assert_eq!(ana.act(NOW, "chat", number, Action::Cancel), Err(Refused::Unknown));
    assert!(ana.list(NOW, "chat").is_empty());
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert_eq!(message.to_bytes(), bytes.to_vec());
        }
    }

    /// Any messages in any order, to somebody who sends and receives: no panic, no more memory than allowed.
    #[test]
    fn any_messages_do_no_harm(words in proptest::collection::vec((0..4u8, 0..3u8, any::<u32>(), 0..6u8), 1..120)) {
        let mut ben = ben();
        let number = ben.prepare(TOPIC, &[], "own", 50_000).unwrap();
        drop(ben.on_prepared(NOW, number, OfferId([0; 16]), 50_000, [0; 32]));
        for (kind, id, n, stand) in words {
            let known = offer(id, &vec![id; 20_000 + usize::from(id)]);
            let small = n % 25;
            let message = match kind {
                0 => Message::Offer(known),
                1 => Message::Chunk(known.id, small, vec![1; known.chunk_len(small).unwrap_or(1)].into()),
                2 => Message::Word(known.id, [Word::Running, Word::Paused, Word::Cancelled][usize::from(stand % 3)]),
                _ => {
                    let stands = [Stand::Asked, Stand::Receiving, Stand::Paused, Stand::Declined, Stand::Complete, Stand::Failed];
                    Message::Report(Report { id: known.id, stand: stands[usize::from(stand)], next: small, missing: vec![(small, small + n % 7)] })
                }
            };
            let from: UserName = user(["ana", "mal"][usize::from(stand % 2)]);
            let mut effects = ben.on_message(NOW, &from, TOPIC, &message.to_bytes().into());
            while let Some(effect) = effects.pop() {
                effects.extend(match effect {
                    Effect::Open(job, ..) => ben.on_opened(NOW, job, 0),
                    Effect::Write(job, pieces) => ben.on_written(NOW, job, pieces.len() as u32),
                    Effect::Hash(job) => ben.on_hashed(job, [0; 32]),
                    Effect::Publish(job, name) => ben.on_published(job, name),
                    _ => Vec::new(),
                });
            }
            if let Some(asked) = ben.list(NOW, TOPIC).iter().find(|t| t.state == "asked") {
                drop(ben.act(NOW, TOPIC, asked.id, Action::Accept));
            }
            ben.on_wakeup(NOW);
            let mut sent = 0;
            while ben.next_outbound(NOW).is_some() { sent += 1; }
            prop_assert!(sent < 100);
            prop_assert!(ben.held_bytes() <= 3 * 2 * 16 * 1024);
        }
    }
}
