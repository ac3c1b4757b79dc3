//! Replies that come later, when something happens.

use super::hostile::{ASKING, Asking, done, drain, signed};
use super::world::{World, get, leader, put, rules};
use crate::caller::{Caller, Event, Refused};
use crate::kv::{KvRequest, Outcome, Range};
use crate::limits::{CALLS_MAX, NUMBERS_KEPT};
use crate::replica::{Origin, Output};
use crate::request::{Answer, Message};
use crate::rules::{Rule, Rules};
use ringfort_crypto::sign::Signature;
use ringfort_kernel::Time;
use ringfort_protocol::Fault;
use ringfort_protocol::codec::{decode, encode};

fn wait(slot: u8, key: &str, after: u64) -> KvRequest {
    KvRequest::Wait { slot, range: Range::key(key.as_bytes()), after }
}

fn outcome(world: &World, member: usize, call: u64) -> Option<Outcome> {
    world.members[member].done.get(&call).map(|(_, reply)| reply.outcome.clone())
}

#[test]
fn who_waits_is_told_however_much_was_asked_since_and_also_by_leaders_that_were_restored() {
    let mut world = World::new(20, (4, 1), rules(4, 1), &[1], &["ana", "ben"]);
    world.lost = 200;
    world.ask(1, wait(0, "a", 1));
    world.settle_but_waiting().unwrap();
    assert_eq!((outcome(&world, 1, 1), world.members[1].put_off.len()), (None, 1));
    for round in 0..2 * NUMBERS_KEPT {
        world.ask(0, put("b", &round.to_string()));
        world.ask(1, get("b"));
        if round % 16 == 0 {
            world.settle_but_waiting().unwrap();
        }
        if round % 40 == 7 {
            world.restart(leader(2 + u8::try_from(round % 3).unwrap()));
        }
    }
    world.settle_but_waiting().unwrap();
    (2..=4).for_each(|number| world.restart(leader(number)));
    assert_eq!(outcome(&world, 1, 1), None, "nothing has happened to that key");
    world.ask(0, put("a", "1"));
    world.settle().unwrap();
    assert_eq!(outcome(&world, 1, 1), Some(Outcome::Changed));
    world.check().unwrap();
}

#[test]
fn no_time_has_to_pass_until_who_waits_is_told() {
    let mut world = World::new(21, (4, 1), rules(4, 1), &[], &["ana", "ben"]);
    world.ask(1, wait(0, "a", 1));
    drain(&mut world);
    world.ask(0, put("a", "1"));
    drain(&mut world);
    assert_eq!(outcome(&world, 1, 1), Some(Outcome::Changed));
}

/// What is asked in between is put into the order when its member has left, and nobody waits any more.
fn told_after_leaving(rules: Rules) -> usize {
    let mut world = World::new(22, (4, 1), rules, &[], &["ana", "ben"]);
    world.ask(1, wait(0, "a", 1));
    drain(&mut world);
    let ana = vec![world.members[0].stay.clone()];
    (1..=4).for_each(|number| world.accept(leader(number), &ana));
    drain(&mut world);
    let request = Message::Request(signed(&world.members[0], 1, &put("a", "1"))).encode();
    let origin = Origin { index: world.log.len() as u64, time_us: 1, author: leader(1) };
    let replica = &mut world.servers.get_mut(&leader(4)).unwrap().replica;
    let out = replica.on_entry(origin, [request.as_slice()]);
    out.iter().filter(|output| matches!(output, Output::Answer(id, _) if id.user.as_str() == "ben")).count()
}

#[test]
fn leaders_keep_nothing_for_whoever_has_left() {
    assert_eq!(told_after_leaving(rules(4, 1)), 0);
    assert_eq!(told_after_leaving(rules(4, 1).without(Rule::WaitingEnds)), 1, "the rule does that");
}

#[test]
fn who_was_taken_for_gone_and_is_not_is_told_to_ask_anew() {
    let mut world = World::new(23, (4, 1), rules(4, 1), &[], &["ana"]);
    world.ask(0, wait(0, "a", 1));
    drain(&mut world);
    let stay = vec![world.members[0].stay.clone()];
    for stays in [&[][..], &stay] {
        (1..=4).for_each(|number| world.accept(leader(number), stays));
        drain(&mut world);
    }
    world.settle().unwrap();
    assert!(!world.members[0].asked.contains_key(&1), "it changed nothing, and is forgotten");
    world.ask(0, wait(0, "a", 1));
    drain(&mut world);
    world.ask(0, put("a", "1"));
    world.settle().unwrap();
    assert_eq!(outcome(&world, 0, 2), Some(Outcome::Changed));
}

fn later(number: u64, place: u64, note: &[u8]) -> Answer {
    Answer::Later { key: ASKING, number, place, note: note.to_vec() }
}

#[test]
fn that_a_reply_comes_later_counts_with_equal_place_and_note_of_f_plus_one_leaders() {
    let mut asking = Asking::new();
    let call = asking.ask();
    let wrong = |number| Event::Blamed(leader(number), Fault::WrongAnswer);
    assert_eq!(asking.answer(1, &later(call, 5, b"wait")), []);
    assert_eq!(asking.answer(1, &later(call, 5, b"wait")), [], "the same leader twice");
    assert_eq!(asking.answer(2, &later(call, 6, b"wait")), [], "another place");
    let put_off = Event::Later { call, place: 5, note: b"wait".to_vec() };
    assert_eq!(asking.answer(3, &later(call, 5, b"wait")), [wrong(2), put_off]);
    assert_eq!(asking.answer(4, &later(call, 5, b"no")), [wrong(4)], "late, and wrong");
    assert_eq!(asking.answer(1, &done(call, 5, b"yes")), []);
    assert_eq!(asking.answer(3, &later(call, 5, b"wait")), [], "it repeats what was so");
    let accepted = Event::Done { call, place: 5, reply: b"yes".to_vec() };
    assert_eq!(asking.answer(3, &done(call, 5, b"yes")), [accepted]);
    assert_eq!(asking.answer(2, &later(call, 5, b"wait")), [], "it is behind");
    asking.ask();
    assert_eq!(asking.answer(2, &later(9, 5, b"wait")), [wrong(2)], "nobody asked that");
}

#[test]
fn f_leaders_do_not_make_a_member_wait() {
    let mut asking = Asking::new();
    let call = asking.ask();
    assert_eq!(asking.answer(1, &later(call, 5, b"wait")), []);
    asking.caller =
        Caller::new(super::world::GROUP, rules(4, 1).without(Rule::EqualReplies), asking.caller.stay().clone());
    let call = asking.ask();
    assert_eq!(asking.answer(1, &later(call, 5, b"wait")).len(), 1, "the rule does that");
}

#[test]
fn what_waits_keeps_no_later_call_back_and_counts_among_the_calls_of_a_program() {
    let mut asking = Asking::new();
    let sign = |_: &[u8; 32]| Signature::from_bytes([0; 64]);
    for place in 1..CALLS_MAX as u64 {
        let (call, step) = asking.caller.call(Time::ZERO, b"?", &asking.leaders, sign).unwrap();
        assert_eq!(step.sends.len(), 2, "it goes out");
        for from in [1, 2] {
            drop(asking.answer(from, &later(call, place, b"wait")));
        }
    }
    asking.ask();
    assert_eq!(asking.caller.call(Time::ZERO, b"?", &asking.leaders, sign).unwrap_err(), Refused::Busy);
    let due = Time::ZERO + std::time::Duration::from_secs(1);
    let again = asking.caller.on_wakeup(due, &asking.leaders).sends.len();
    assert_eq!(again, CALLS_MAX * 4, "all leaders are asked whether there is a reply");
    assert_eq!(asking.caller.on_wakeup(due, &asking.leaders).sends.len(), 0);
}

/// A leader that has no reply to an old number says that it is forgotten, which f+1 have to say.
#[test]
fn what_no_leader_remembers_any_more_is_said_to_be_forgotten() {
    let mut world = World::new(24, (4, 1), rules(4, 1), &[], &["ana"]);
    world.ask(0, get("a"));
    world.settle().unwrap();
    let first = signed(&world.members[0], 1, &get("a"));
    for _ in 0..20 {
        world.ask(0, get("a"));
        world.settle().unwrap();
    }
    let stay = world.members[0].stay.clone();
    let out = world.servers.get_mut(&leader(2)).unwrap().replica.on_request(&stay, &first);
    let [Output::Answer(_, answer)] = out.as_slice() else { panic!("{out:?}") };
    let Answer::Forgotten { number: 1, place: 0, kept: None, .. } = decode(answer).unwrap() else {
        panic!("{answer:?}")
    };
    let mut asking = Asking::new();
    let call = asking.ask();
    for from in [1, 2] {
        drop(asking.answer(from, &later(call, 5, b"wait")));
    }
    let forgotten = Answer::Forgotten { key: ASKING, number: call, place: 0, kept: None };
    let is_decoded = decode::<Answer>(&encode(&forgotten)).unwrap() == forgotten;
    assert_eq!((is_decoded, asking.answer(1, &forgotten)), (true, vec![]));
    let event = Event::Forgotten { call, place: 0, kept: None };
    assert_eq!(asking.answer(2, &forgotten), [event]);
}
