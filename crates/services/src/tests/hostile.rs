//! One attack each, at the exact threshold.

use super::world::{GROUP, Member, World, get, leader, put, rules};
use crate::caller::{Caller, Event, Refused};
use crate::kv::{Kv, KvReply, KvRequest, Outcome, Transacted};
use crate::limits::{BODY_BYTES_MAX, CALLS_MAX, LANE_BYTES_MAX, LEADER_BURST, UNDER_WAY_BYTES_MAX};
use crate::replica::{Origin, Output, Replica};
use crate::request::{Answer, Message, Request, Stay};
use crate::rules::{Rule, Rules};
use rand_chacha::ChaCha12Rng;
use rand_core::Rng;
use ringfort_crypto::sign::Signature;
use ringfort_kernel::Time;
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::fault::{Culprit, Fault};
use ringfort_protocol::{LeaderId, Policy, wire::SERVICE_LABEL};

pub fn drain(world: &mut World) {
    while world.step() {}
}

pub fn signed(member: &Member, number: u64, request: &KvRequest) -> Vec<u8> {
    let sign = |digest: &[u8; 32]| member.key.sign(SERVICE_LABEL, &[digest]);
    Request::signed(&GROUP, &member.stay, number, encode(request), sign).encode()
}

fn applied(world: &World) -> u64 {
    world.servers[&leader(4)].replica.applied()
}

/// A stay whose words so many leaders take back.
fn expelled_by(withdrawing: &[u8], rules: Rules) -> u64 {
    let mut world = World::new(1, (4, 1), rules, &[1], &["ana", "ben"]);
    drain(&mut world);
    let ben = vec![world.members[1].stay.clone()];
    withdrawing.iter().for_each(|number| world.accept(leader(*number), &ben));
    drain(&mut world);
    let request = signed(&world.members[0], 1, &put("a", "1"));
    world.write(leader(1), Message::Request(request).encode());
    drain(&mut world);
    applied(&world)
}

#[test]
fn a_stay_speaks_until_f_plus_one_leaders_take_their_word_back() {
    let rules = rules(4, 1);
    assert_eq!(expelled_by(&[], rules), 1);
    assert_eq!(expelled_by(&[4], rules), 1, "one of them may be hacked");
    assert_eq!(expelled_by(&[3, 4], rules), 0, "an honest one says so");
    assert_eq!(expelled_by(&[3, 4], rules.without(Rule::Vouchers)), 1, "the quorum does that");
}

#[test]
fn a_stay_that_hacked_leaders_invent_asks_nothing() {
    let mut world = World::new(2, (7, 2), rules(7, 2), &[1, 2], &["ana"]);
    let ghost = Member::new("ghost", 1, rules(7, 2), &mut world.rng);
    // And one with ana's name and a key of the attacker's.
    let double = Member::new("ana", 2, rules(7, 2), &mut world.rng);
    for number in [1, 2] {
        let added = vec![ghost.stay.clone(), double.stay.clone()];
        world.write(leader(number), Message::Words { added, removed: Vec::new() }.encode());
        for member in [&ghost, &double] {
            world.write(leader(number), Message::Request(signed(member, 1, &put("a", "x"))).encode());
        }
    }
    drain(&mut world);
    assert_eq!(applied(&world), 0);
    world.ask(0, put("a", "1"));
    world.settle().unwrap();
    assert_eq!(applied(&world), 1, "ana herself does, though f leaders name another of her stays");
}

fn forged_and_checked(rules: Rules) -> usize {
    let mut world = World::new(3, (4, 1), rules, &[1], &["ana"]);
    drain(&mut world);
    let stay = world.members[0].stay.clone();
    for number in 1..=50 {
        let forged = world.forged(&stay, number);
        world.write(leader(1), forged);
    }
    drain(&mut world);
    world.ask(0, put("a", "1"));
    world.settle().unwrap();
    assert_eq!(applied(&world), 1);
    assert!(world.servers[&leader(4)].blamed.keys().all(|culprit| *culprit == Culprit::Leader(leader(1))));
    world.servers[&leader(4)].blamed[&Culprit::Leader(leader(1))]
}

#[test]
fn a_leader_that_forges_costs_the_others_one_signature_in_very_many_entries() {
    assert_eq!(forged_and_checked(rules(4, 1)), 1, "it is named once and not listened to");
    assert_eq!(forged_and_checked(rules(4, 1).without(Rule::Muted)), 50);
}

#[test]
fn honest_leaders_put_nothing_into_the_order_that_its_member_has_not_signed() {
    let mut world = World::new(4, (4, 1), rules(4, 1), &[], &["ana", "ben"]);
    drain(&mut world);
    let (ana, ben) = (world.members[0].stay.clone(), world.members[1].stay.clone());
    let Message::Request(forged) = Message::decode(&world.forged(&ana, 1)).unwrap() else { panic!() };
    let of_ben = signed(&world.members[1], 1, &put("a", "1"));
    let replica = &mut world.servers.get_mut(&leader(1)).unwrap().replica;
    let blamed = |stay: &Stay, fault| [Output::Blamed(Culprit::Member(stay.id.clone()), fault)];
    assert_eq!(replica.on_request(&ana, &forged), blamed(&ana, Fault::BadData));
    assert_eq!(replica.on_request(&ana, &of_ben), blamed(&ana, Fault::BadData), "another's, however well signed");
    assert_eq!(replica.on_request(&ana, &[1, 2, 3]), blamed(&ana, Fault::Malformed));
    let submitted = replica.on_request(&ben, &of_ben);
    assert!(matches!(submitted.as_slice(), [Output::Submit(_)]));
    assert_eq!(replica.on_request(&ben, &of_ben), [], "it is under way");
}

/// How many of `small`'s requests came into the order before the flood of `loud` is through.
fn served_beside_a_flood(rules: Rules) -> (usize, usize) {
    let mut world = World::new(6, (4, 1), rules, &[], &["loud", "small"]);
    drain(&mut world);
    let value = "x".repeat(60_000);
    let flood: Vec<Vec<u8>> = (1..=60).map(|number| signed(&world.members[0], number, &put("a", &value))).collect();
    let small = signed(&world.members[1], 1, &put("b", "1"));
    let stays: Vec<Stay> = world.members.iter().map(|member| member.stay.clone()).collect();
    let replica = &mut world.servers.get_mut(&leader(1)).unwrap().replica;
    let mut submitted: Vec<Vec<u8>> = Vec::new();
    let mut submit = |out: Vec<Output>| {
        submitted.extend(out.into_iter().filter_map(|output| match output {
            Output::Submit(message) => Some(message),
            _ => None,
        }));
    };
    flood.iter().for_each(|request| submit(replica.on_request(&stays[0], request)));
    submit(replica.on_request(&stays[1], &small));
    let place = submitted.iter().position(|message| *message == Message::Request(small.clone()).encode());
    (submitted.len(), place.unwrap_or(usize::MAX))
}

#[test]
fn a_member_that_floods_waits_alone() {
    let (taken, place) = served_beside_a_flood(rules(4, 1));
    assert_eq!((taken, place), (LANE_BYTES_MAX / 60_000 + 1, LANE_BYTES_MAX / 60_000), "the small one is there");
    let (taken, _) = served_beside_a_flood(rules(4, 1).without(Rule::LaneBound));
    assert_eq!(taken, UNDER_WAY_BYTES_MAX / 60_000 + 1, "without a bound it fills what may be under way");
}

#[test]
fn first_f_plus_one_leaders_are_asked_so_that_no_time_has_to_pass() {
    let play = |rules| {
        (0..20).all(|seed| {
            let mut world = World::new(seed, (4, 1), rules, &[1], &["ana"]);
            world.silent = true;
            drain(&mut world);
            world.ask(0, put("a", "1"));
            drain(&mut world);
            world.members[0].done.len() == 1
        })
    };
    assert!(play(rules(4, 1)));
    assert!(!play(rules(4, 1).without(Rule::AskedLeaders)), "a silent leader alone was asked");
}

/// The key of whoever asks here.
pub const ASKING: [u8; 32] = [7; 32];

pub struct Asking {
    pub caller: Caller,
    pub leaders: Vec<LeaderId>,
}

impl Asking {
    pub fn new() -> Self {
        let mut world = World::new(7, (4, 1), rules(4, 1), &[], &["ana"]);
        let stay = Stay { key: ASKING, ..world.members.remove(0).stay };
        Asking { caller: Caller::new(GROUP, rules(4, 1), stay), leaders: LeaderId::all(4).collect() }
    }

    pub fn ask(&mut self) -> u64 {
        let sign = |_: &[u8; 32]| Signature::from_bytes([0; 64]);
        self.caller.call(Time::ZERO, b"?", &self.leaders, sign).unwrap().0
    }

    pub fn answer(&mut self, from: u8, answer: &Answer) -> Vec<Event> {
        self.caller.on_answer(Time::ZERO, leader(from), &encode(answer), &self.leaders).events
    }
}

pub fn done(number: u64, place: u64, reply: &[u8]) -> Answer {
    Answer::Done { key: ASKING, number, place, reply: reply.to_vec() }
}

#[test]
fn a_reply_counts_with_equal_place_and_words_of_f_plus_one_different_leaders() {
    let mut asking = Asking::new();
    let call = asking.ask();
    assert_eq!(asking.answer(1, &done(call, 5, b"yes")), []);
    assert_eq!(asking.answer(1, &done(call, 5, b"yes")), [], "the same leader twice");
    assert_eq!(asking.answer(2, &done(call, 6, b"yes")), [], "another place");
    assert_eq!(asking.answer(3, &done(call, 5, b"no")), [], "another reply");
    let events = asking.answer(4, &done(call, 5, b"yes"));
    let wrong = |number| Event::Blamed(leader(number), Fault::WrongAnswer);
    let accepted = Event::Done { call, place: 5, reply: b"yes".to_vec() };
    assert_eq!(events, [wrong(2), wrong(3), accepted]);
    assert_eq!(asking.answer(1, &done(call, 5, b"yes")), [], "late, and right");
    assert_eq!(asking.answer(2, &done(call, 5, b"ja")), [], "wrong again: it was named");
    asking.ask();
    assert_eq!(asking.answer(2, &done(call, 5, b"ja")), [wrong(2)], "once for each call at most");
    assert_eq!(asking.answer(1, &done(call, 5, b"ja")), [wrong(1)], "late, and wrong");
}

#[test]
fn what_nobody_asked_and_two_answers_of_one_leader_are_blamed() {
    let mut asking = Asking::new();
    let call = asking.ask();
    let wrong = |number| Event::Blamed(leader(number), Fault::WrongAnswer);
    assert_eq!(asking.answer(1, &done(call + 1, 5, b"yes")), [wrong(1)]);
    asking.ask();
    assert_eq!(asking.answer(1, &done(0, 5, b"yes")), [wrong(1)]);
    assert_eq!(asking.answer(2, &Answer::Forgotten { key: ASKING, number: 7, place: 1, kept: None }), [wrong(2)]);
    assert_eq!(asking.answer(3, &done(call, 5, b"yes")), []);
    assert_eq!(asking.answer(3, &done(call, 5, b"no")), [wrong(3)]);
    let malformed = asking.caller.on_answer(Time::ZERO, leader(4), &[9, 9], &asking.leaders).events;
    assert_eq!(malformed, [Event::Blamed(leader(4), Fault::Malformed)]);
}

#[test]
fn a_forgotten_reply_is_believed_from_f_plus_one_and_not_held_against_who_gave_it_before() {
    let mut asking = Asking::new();
    let call = asking.ask();
    let forgotten = |place| Answer::Forgotten { key: ASKING, number: call, place, kept: None };
    assert_eq!(asking.answer(1, &done(call, 5, b"long")), []);
    assert_eq!(asking.answer(1, &forgotten(5)), []);
    assert_eq!(asking.answer(2, &forgotten(6)), []);
    assert_eq!(asking.answer(3, &forgotten(5)), [Event::Forgotten { call, place: 5, kept: None }]);
    assert!(asking.caller.open().is_empty());
}

#[test]
fn what_is_not_answered_is_given_to_all_and_no_number_runs_ahead_of_what_leaders_remember() {
    let mut asking = Asking::new();
    let sign = |_: &[u8; 32]| Signature::from_bytes([0; 64]);
    let mut sent = 0;
    for _ in 0..CALLS_MAX {
        sent += asking.caller.call(Time::ZERO, b"?", &asking.leaders, sign).unwrap().1.sends.len();
    }
    assert_eq!(sent, 16 * 2, "sixteen calls at once, each to f+1");
    let busy = asking.caller.call(Time::ZERO, b"?", &asking.leaders, sign);
    assert_eq!(busy.unwrap_err(), Refused::Busy);
    let long = vec![0; BODY_BYTES_MAX + 1];
    let refused = asking.caller.call(Time::ZERO, &long, &asking.leaders, sign).unwrap_err();
    assert_eq!(refused, Refused::TooLarge(long.len()));
    let due = asking.caller.next_wakeup().unwrap();
    assert_eq!(due, Time::ZERO + std::time::Duration::from_secs(1));
    assert_eq!(asking.caller.on_wakeup(due, &asking.leaders).sends.len(), 16 * 4);
    assert_eq!(asking.caller.on_wakeup(due, &asking.leaders).sends.len(), 0);
    for from in [1, 2] {
        let step = asking.caller.on_answer(due, leader(from), &encode(&done(3, 1, b"")), &asking.leaders);
        assert_eq!(step.sends.len(), 0, "the first is still open");
    }
    let _ = asking.caller.on_answer(due, leader(1), &encode(&done(1, 2, b"")), &asking.leaders);
    let step = asking.caller.on_answer(due, leader(2), &encode(&done(1, 2, b"")), &asking.leaders);
    assert_eq!(step.sends.len(), 2, "the next one goes out");
}

#[test]
fn a_leader_that_was_restored_says_its_words_anew_and_nobody_is_asked_twice() {
    let mut world = World::new(8, (4, 1), rules(4, 1), &[], &["ana"]);
    drain(&mut world);
    world.ask(0, put("a", "1"));
    world.settle().unwrap();
    let before = world.log.len();
    world.restart(leader(2));
    drain(&mut world);
    assert_eq!(world.log.len(), before, "what the order says already is not said again");
    let request = signed(&world.members[0], 1, &put("a", "1"));
    let stay = world.members[0].stay.clone();
    let out = world.servers.get_mut(&leader(2)).unwrap().replica.on_request(&stay, &request);
    let [Output::Answer(_, answer)] = out.as_slice() else { panic!("{out:?}") };
    let Answer::Done { place: 1, reply, .. } = decode(answer).unwrap() else { panic!("it remembers the reply") };
    let outcome = decode::<KvReply>(&reply).unwrap().outcome;
    assert!(matches!(outcome, Outcome::Transacted(Transacted { failed: None, results: Some(_) })), "{outcome:?}");
}

#[test]
fn a_request_waits_at_a_leader_until_its_stay_may_speak() {
    let mut world = World::new(9, (4, 1), rules(4, 1), &[], &["ana"]);
    world.ask(0, put("a", "1"));
    drain(&mut world);
    assert_eq!(world.members[0].done.len(), 1, "the words came while it waited, and no time had to pass");
}

#[test]
fn a_message_that_was_lost_is_said_again() {
    let mut world = World::new(10, (4, 1), rules(4, 1), &[], &["ana", "ben"]);
    drain(&mut world);
    let stay = world.members[0].stay.clone();
    let request = signed(&world.members[0], 1, &put("a", "1"));
    let replica = &mut world.servers.get_mut(&leader(1)).unwrap().replica;
    let out = replica.on_request(&stay, &request);
    let [Output::Submit(message)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(replica.on_request(&stay, &request), []);
    replica.on_lost([message.as_slice()]);
    assert_eq!(replica.on_request(&stay, &request), out, "its member asks again");
    let words = replica.on_members([stay.clone()]);
    let [Output::Submit(message)] = words.as_slice() else { panic!("{words:?}") };
    assert_eq!(replica.on_wakeup(), []);
    replica.on_lost([message.as_slice()]);
    assert_eq!(replica.on_wakeup(), words);
}

fn applied_of_a_flood(rules: Rules) -> u64 {
    let mut world = World::new(11, (4, 1), rules, &[1], &["loud"]);
    drain(&mut world);
    for number in 1..=1100 {
        let request = signed(&world.members[0], number, &get("a"));
        world.write(leader(1), Message::Request(request).encode());
    }
    drain(&mut world);
    applied(&world)
}

#[test]
fn a_hacked_leader_and_a_hacked_member_together_cost_the_others_no_more_than_a_member_may() {
    let honest = applied_of_a_flood(rules(4, 1));
    assert!((1024..1100).contains(&honest), "{honest}");
    assert_eq!(applied_of_a_flood(rules(4, 1).without(Rule::Paid)), 1100);
}

/// What is applied of nine members' requests that a hacked leader puts into one block.
fn applied_of_a_block(rules: Rules) -> u64 {
    let users = ["u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "u9"];
    let mut world = World::new(17, (4, 1), rules, &[1], &users);
    drain(&mut world);
    let get = get("a");
    let by = |member, number| Message::Request(signed(member, number, &get)).encode();
    let members = world.members.iter();
    let block: Vec<Vec<u8>> = members.flat_map(|member| (1..=1000).map(move |number| by(member, number))).collect();
    let origin = Origin { index: world.log.len() as u64, time_us: 1_000_000, author: leader(1) };
    let replica = &mut world.servers.get_mut(&leader(4)).unwrap().replica;
    drop(replica.on_entry(origin, block.iter().map(Vec::as_slice)));
    replica.applied()
}

#[test]
fn a_hacked_leader_costs_the_others_no_more_with_many_hacked_members_than_a_leader_may() {
    assert_eq!(applied_of_a_block(rules(4, 1)), LEADER_BURST);
    assert_eq!(applied_of_a_block(rules(4, 1).without(Rule::PaidByLeader)), 9000);
}

/// Bytes of a kind that is read here, with some of them altered, cut off or put in.
fn mangled(rng: &mut ChaCha12Rng, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=rng.next_u64() % 3 {
        let at = usize::try_from(rng.next_u64()).unwrap_or(0) % bytes.len().max(1);
        match rng.next_u64() % 4 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), 0xff),
            2 => bytes.extend_from_slice(&[0; 9]),
            _ => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte ^= 1 << (at % 8)),
        }
    }
    bytes
}

#[test]
fn no_bytes_make_anybody_panic_and_what_is_altered_changes_nothing() {
    let mut world = World::new(12, (4, 1), rules(4, 1), &[1], &["ana"]);
    world.ask(0, put("a", "1"));
    world.settle().unwrap();
    let (stay, before) = (world.members[0].stay.clone(), applied(&world));
    let request = signed(&world.members[0], 2, &put("a", "2"));
    let words = Message::Words { added: vec![stay.clone()], removed: vec![stay.id.user.clone()] }.encode();
    let ordered = Message::Request(request.clone()).encode();
    let answer = encode(&done(1, 1, b"reply"));
    let mut asking = Asking::new();
    let call = asking.ask();
    for round in 0..4000u64 {
        let rng = &mut world.rng;
        let [request, words, ordered, answer] = [&request, &words, &ordered, &answer].map(|bytes| mangled(rng, bytes));
        let replica = &mut world.servers.get_mut(&leader(4)).unwrap().replica;
        let state = mangled(rng, &replica.state());
        drop(replica.on_request(&stay, &request));
        let author = leader(1 + u8::try_from(round % 2).unwrap());
        let origin = Origin { index: round * 10_000, time_us: round, author };
        drop(replica.on_entry(origin, [words.as_slice(), ordered.as_slice()]));
        assert_eq!(replica.applied(), before, "nobody signed this");
        let mut other: Replica<Kv> = Replica::new(leader(2), GROUP, rules(4, 1), Policy::default());
        drop(other.install(&state));
        let events = asking.caller.on_answer(Time::ZERO, leader(3), &answer, &asking.leaders).events;
        assert!(!events.iter().any(|event| matches!(event, Event::Done { .. })), "one leader's word: {events:?}");
    }
    assert!(asking.caller.open().contains(&call));
}

/// A leader that was cut off puts requests into the order, the others go on, and it comes back behind their state.
#[test]
fn what_a_leader_put_into_the_order_is_under_way_no_more_when_it_goes_on_behind_a_state() {
    let mut world = World::new(13, (4, 1), rules(4, 1), &[], &["ana", "ben"]);
    drain(&mut world);
    let value = "x".repeat(60_000);
    let flood = (1..=8).flat_map(|number| [(0, number), (1, number)]);
    let asks = |world: &World, (member, number): (usize, u64)| {
        let member: &Member = &world.members[member];
        (member.stay.clone(), signed(member, number, &put("a", &value)))
    };
    let requests: Vec<(Stay, Vec<u8>)> = flood.map(|which| asks(&world, which)).collect();
    let cut_off = &mut world.servers.get_mut(&leader(2)).unwrap().replica;
    let out: Vec<Output> = requests.iter().flat_map(|(stay, request)| cut_off.on_request(stay, request)).collect();
    let mut messages = out.iter().map(|output| match output {
        Output::Submit(message) => message.as_slice(),
        other => panic!("{other:?}"),
    });
    let (seen, unseen): (Vec<&[u8]>, Vec<&[u8]>) = (messages.by_ref().take(15).collect(), messages.collect());
    assert_eq!(unseen.len(), 1, "all of them are under way");
    let ahead = &mut world.servers.get_mut(&leader(3)).unwrap().replica;
    let origin = Origin { index: world.log.len() as u64, time_us: 1, author: leader(2) };
    drop(ahead.on_entry(origin, seen));
    assert_eq!(ahead.applied(), 15);
    let state = ahead.state();
    let next = asks(&world, (0, 9));
    let back = &mut world.servers.get_mut(&leader(2)).unwrap().replica;
    assert_eq!(back.install(&state).unwrap(), []);
    let is_submitted = |out: Vec<Output>| matches!(out.as_slice(), [Output::Submit(_)]);
    assert!(is_submitted(back.on_request(&next.0, &next.1)), "what nobody will see arrive takes no room");
    let (stay, lost) = &requests[15];
    assert!(is_submitted(back.on_request(stay, lost)), "what the state does not have can be asked again");
    let (stay, done) = &requests[0];
    assert!(matches!(back.on_request(stay, done).as_slice(), [Output::Answer(..)]), "what it has is answered");
}

/// Two programs of one user announced the same stay: requests of the one are applied while leaders have the other let in.
#[test]
fn what_leaders_answer_another_program_of_the_same_stay_is_no_answer_and_no_offence() {
    let mut world = World::new(14, (4, 1), rules(4, 1), &[], &["ana"]);
    drain(&mut world);
    let (first, now) = (&world.members[0], Time::ZERO);
    let second = Stay { key: ASKING, ..first.stay.clone() };
    let [mut busy, mut idle] = [(); 2].map(|()| Caller::new(GROUP, rules(4, 1), second.clone()));
    let leaders: Vec<LeaderId> = LeaderId::all(4).collect();
    let sign = |_: &[u8; 32]| Signature::from_bytes([0; 64]);
    let (call, _) = busy.call(now, &encode(&put("a", "second")), &leaders, sign).unwrap();
    let request = Message::Request(signed(first, 1, &put("a", "first"))).encode();
    let origin = Origin { index: world.log.len() as u64, time_us: 1, author: leader(1) };
    for number in 2..=4 {
        let replica = &mut world.servers.get_mut(&leader(number)).unwrap().replica;
        let out = replica.on_entry(origin, [request.as_slice()]);
        let [Output::Answer(id, answer)] = out.as_slice() else { panic!("{out:?}") };
        assert_eq!(*id, second.id, "the link of whoever is let in by that name");
        for caller in [&mut busy, &mut idle] {
            assert_eq!(caller.on_answer(now, leader(number), answer, &leaders).events, []);
        }
    }
    assert!(busy.open().contains(&call), "nobody has applied what the second one asked");
}

/// A hacked leader puts very many reads of a large value into one block, all signed by a hacked member.
#[test]
fn one_block_makes_a_leader_hold_no_more_replies_for_a_member_than_an_honest_one_has_calls() {
    let mut world = World::new(15, (4, 1), rules(4, 1), &[1], &["loud", "small"]);
    drain(&mut world);
    let (large, get) = (put("a", &"x".repeat(60_000)), get("a"));
    let by =
        |member: usize, number, request| Message::Request(signed(&world.members[member], number, request)).encode();
    let mut messages = vec![by(0, 1, &large)];
    messages.extend((2..=400).map(|number| by(0, number, &get)));
    messages.push(by(1, 1, &get));
    let origin = Origin { index: world.log.len() as u64, time_us: 1, author: leader(1) };
    let replica = &mut world.servers.get_mut(&leader(4)).unwrap().replica;
    let out = replica.on_entry(origin, messages.iter().map(Vec::as_slice));
    assert_eq!(replica.applied(), 401, "all is applied, here as everywhere");
    let told = |user: &str| {
        let is_theirs = |output: &&Output| matches!(output, Output::Answer(id, _) if id.user.as_str() == user);
        out.iter().filter(is_theirs).count()
    };
    assert_eq!((told("loud"), told("small")), (16, 1));
}

/// Leaders of another version have certified it: to go on from what was before would be to answer wrongly with a hacked one.
#[test]
fn a_leader_that_cannot_read_the_state_it_is_to_go_on_from_answers_nobody_and_hands_no_state_on() {
    let mut world = World::new(16, (4, 1), rules(4, 1), &[], &["ana"]);
    drain(&mut world);
    let (stay, state) = (world.members[0].stay.clone(), world.servers[&leader(3)].replica.state());
    let requests = [1, 2].map(|number| signed(&world.members[0], number, &put("a", "1")));
    let ordered = Message::Request(requests[0].clone()).encode();
    let origin = |index| Origin { index, time_us: 1, author: leader(3) };
    let replica = &mut world.servers.get_mut(&leader(2)).unwrap().replica;
    assert!(replica.install(&state[1..]).is_err());
    assert_eq!(replica.on_entry(origin(1000), [ordered.as_slice()]), []);
    assert_eq!(replica.on_request(&stay, &requests[1]), []);
    assert_eq!(replica.applied(), 0, "nobody knows what is before it");
    let unknown = replica.state();
    let mut other: Replica<Kv> = Replica::new(leader(4), GROUP, rules(4, 1), Policy::default());
    assert!(other.install(&unknown).is_err(), "nobody goes on from it");
    assert_eq!(replica.install(&state).unwrap(), []);
    assert_eq!(replica.on_entry(origin(2000), [ordered.as_slice()]).len(), 1, "it knows again");
}
