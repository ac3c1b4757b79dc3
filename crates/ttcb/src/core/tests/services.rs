//! What one component answers local processes, hostile ones among them.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::sign::SigningKey;
use ringfort_kernel::{Cx, Time};

use super::super::agreements::AGREEMENTS_OF_USER_MAX;
use super::super::asking::greeted;
use super::super::call::{CALL_BYTES, Call, Function, Kind, Refusal, Reply, Timing, clear, read_call_header};
use super::super::entities::{CONNECTIONS_OF_USER_MAX, Channel, Direction, USERS_MAX, key_name};
use super::super::group::{Group, Secrets};
use super::super::ids::{COMPONENTS_MAX, Decision, Entity, Epoch, Index, Mask};
use super::super::instance::Terms;
use super::super::{Alarm, Component, Setup, signed};

const EPOCH: Epoch = Epoch(7);

/// A group of one, whose clock is its own, and one entity.
struct Alone {
    component: Component,
    group: Group,
    millis: u64,
    rng: ChaCha20Rng,
    secret: KemSecret,
    place: usize,
    channel: Option<Channel>,
    number: u64,
}

impl Alone {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let secrets = Secrets { signing: SigningKey::generate(&mut rng), exchange: KemSecret::generate(&mut rng) };
        let group = Group::new(vec![secrets.member("one")]).unwrap();
        let secret = KemSecret::generate(&mut rng);
        let setup = Setup { group: group.clone(), me: Index::new(0).unwrap(), secrets, epoch: EPOCH };
        let mut cx = Cx { now: Time::ZERO, unix_ms: 1_000_000, rng: &mut rng };
        let mut component = Component::new(setup, &mut cx);
        let place = component.connected(cx.now, 1000).unwrap();
        let mut alone = Alone { component, group, millis: 0, rng, secret, place, channel: None, number: 0 };
        alone.pass(200);
        alone.hello();
        alone
    }

    fn pass(&mut self, millis: u64) {
        for _ in 0..millis.div_ceil(10) {
            self.millis += 10;
            let now = self.now();
            self.component.on_round(now, &mut |_, _| unreachable!("there is nobody else"));
        }
    }

    fn now(&self) -> Time {
        Time::from_start(Duration::from_millis(self.millis))
    }

    fn send(&mut self, place: usize, request: &[u8; CALL_BYTES]) -> [u8; CALL_BYTES] {
        let now = self.now();
        let mut cx = Cx { now, unix_ms: 0, rng: &mut self.rng };
        self.component.on_request(&mut cx, place, request)
    }

    fn hello(&mut self) {
        let hello = clear(Kind::Hello, 0, &[&self.secret.public().to_bytes(), &[9; 32]]);
        let answer = self.send(self.place, &hello);
        let (_, epoch, channel) = greeted(&self.group, &self.secret, &[9; 32], &answer).unwrap();
        assert_eq!(epoch, EPOCH);
        assert!(greeted(&self.group, &self.secret, &[8; 32], &answer).is_none(), "an answer to another challenge");
        let other = KemSecret::generate(&mut self.rng);
        assert!(greeted(&self.group, &other, &[9; 32], &answer).is_none(), "an answer to another's key");
        (self.channel, self.number) = (Some(channel), 0);
    }

    fn sealed(&mut self, call: &Call) -> [u8; CALL_BYTES] {
        self.number += 1;
        self.channel.as_ref().unwrap().seal(Direction::Request, self.number, &call.encode())
    }

    fn ask(&mut self, call: &Call) -> Reply {
        let request = self.sealed(call);
        let answer = self.send(self.place, &request);
        let body = self.channel.as_ref().unwrap().open(Direction::Answer, &answer).expect("an answer under the seal");
        Reply::decode(&body).unwrap()
    }

    fn time(&mut self) -> u64 {
        let now = self.now();
        self.component.status(now).now_us
    }

    fn me(&self) -> Index {
        Index::new(0).unwrap()
    }

    fn terms(&mut self, name: u64) -> Terms {
        let mut entities = [Entity::default(); COMPONENTS_MAX];
        entities[0] = Entity { epoch: EPOCH, key: key_name(&self.secret.public()) };
        let listed: Mask = [self.me()].into_iter().collect();
        Terms { decision: Decision::Majority, start_us: self.time() + 1_000_000, name, listed, entities }
    }
}

fn kind(answer: &[u8; CALL_BYTES]) -> Kind {
    read_call_header(answer.first_chunk().unwrap()).unwrap().0
}

#[test]
fn random_numbers_differ_and_timestamps_are_signed_and_rise() {
    let mut alone = Alone::new();
    let [one, two] = [(); 2].map(|()| match alone.ask(&Call::Random) {
        Reply::Random(random) => random,
        other => panic!("{other:?}"),
    });
    assert_ne!(one, two);
    let key = key_name(&alone.secret.public());
    let mut before = 0;
    for hash in [[1; 32], [2; 32], [3; 32]] {
        alone.pass(20);
        let Reply::Timestamp(time, error, signature) = alone.ask(&Call::Timestamp(hash)) else {
            panic!("no timestamp")
        };
        assert!(time > before);
        before = time;
        let words = signed::timestamp(&alone.group, alone.me(), EPOCH, &key, time, error, &hash);
        assert_eq!(words.verify(&signature), Ok(()));
        for wrong in [
            signed::timestamp(&alone.group, alone.me(), Epoch(6), &key, time, error, &hash),
            signed::timestamp(&alone.group, alone.me(), EPOCH, &key, time + 1, error, &hash),
            signed::timestamp(&alone.group, alone.me(), EPOCH, &key, time, error, &[0; 32]),
            signed::token(&alone.group, alone.me(), EPOCH, &key, time, &hash),
        ] {
            assert!(wrong.verify(&signature).is_err());
        }
    }
}

#[test]
fn a_request_is_answered_once_and_only_if_its_entity_made_it() {
    let mut alone = Alone::new();
    let request = alone.sealed(&Call::Status);
    assert_eq!(kind(&alone.send(alone.place, &request)), Kind::Sealed);
    assert_eq!(kind(&alone.send(alone.place, &request)), Kind::Unread, "it came before");
    for at in [0, 1, 4, 11, 12, 100, CALL_BYTES - 1] {
        let mut altered = alone.sealed(&Call::Status);
        altered[at] ^= 1;
        assert_ne!(kind(&alone.send(alone.place, &altered)), Kind::Sealed, "altered at {at}");
        alone.pass(100);
    }
    let stranger = alone.component.connected(alone.now(), 1000).unwrap();
    let request = alone.sealed(&Call::Status);
    assert_eq!(kind(&alone.send(stranger, &request)), Kind::Unread, "another connection has no session");
    alone.component.closed(alone.place);
    let request = alone.sealed(&Call::Status);
    assert_eq!(kind(&alone.send(alone.place, &request)), Kind::Unread, "its connection is gone");
}

#[test]
fn a_user_that_floods_is_refused_and_others_are_not() {
    let mut alone = Alone::new();
    let mut served = 0;
    while kind(&{
        let request = alone.sealed(&Call::Random);
        alone.send(alone.place, &request)
    }) == Kind::Sealed
    {
        served += 1;
        assert!(served <= 400, "what a user may ask at once is bounded");
    }
    assert!(served > 300);
    let again = alone.component.connected(alone.now(), 1000).unwrap();
    let hello = clear(Kind::Hello, 0, &[&alone.secret.public().to_bytes(), &[9; 32]]);
    assert_eq!(kind(&alone.send(again, &hello)), Kind::Busy, "a new connection makes nothing cheaper");
    let other = alone.component.connected(alone.now(), 1001).unwrap();
    assert_eq!(kind(&alone.send(other, &hello)), Kind::Hello, "another user is served");
}

#[test]
fn connections_and_users_are_bounded_and_an_account_that_owes_is_not_forgotten() {
    let mut alone = Alone::new();
    let now = alone.now();
    let more = (1..CONNECTIONS_OF_USER_MAX).filter_map(|_| alone.component.connected(now, 1000)).count();
    assert_eq!(more, CONNECTIONS_OF_USER_MAX - 1);
    assert_eq!(alone.component.connected(now, 1000), None, "one user has its share");
    let hello = clear(Kind::Hello, 0, &[&alone.secret.public().to_bytes(), &[9; 32]]);
    for user in 1..USERS_MAX as u32 {
        let place = alone.component.connected(now, user).expect("there is room for more users");
        alone.send(place, &hello);
        alone.component.closed(place);
    }
    assert_eq!(alone.component.connected(now, 77), None, "all accounts owe something");
    alone.pass(1_000);
    assert!(alone.component.connected(alone.now(), 77).is_some(), "now some owe nothing");
}

#[test]
fn agreements_of_a_user_are_bounded_and_none_is_pushed_out() {
    let mut alone = Alone::new();
    let mut tags = Vec::new();
    for name in 0..AGREEMENTS_OF_USER_MAX as u64 {
        let terms = alone.terms(name);
        let Reply::Proposed(tag) = alone.ask(&Call::Propose(terms, [1; 32])) else { panic!("refused") };
        tags.push(tag);
    }
    let terms = alone.terms(99);
    assert_eq!(alone.ask(&Call::Propose(terms, [1; 32])), Reply::Refused(Refusal::Full));
    alone.pass(20);
    for tag in &tags {
        assert!(matches!(alone.ask(&Call::Decide(*tag)), Reply::Decided(..)), "all have proposed, so it is decided");
    }
    alone.pass(3_100);
    assert_eq!(alone.ask(&Call::Decide(tags[0])), Reply::Refused(Refusal::Unknown), "it is over");
    let terms = alone.terms(100);
    assert!(matches!(alone.ask(&Call::Propose(terms, [1; 32])), Reply::Proposed(_)));
}

#[test]
fn a_proposal_needs_its_entity_in_its_epoch_and_a_start_that_is_ahead() {
    let mut alone = Alone::new();
    let good = alone.terms(1);
    let refused = |alone: &mut Alone, terms: Terms| match alone.ask(&Call::Propose(terms, [1; 32])) {
        Reply::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    let mut entities = good.entities;
    entities[0].epoch = Epoch(6);
    assert_eq!(refused(&mut alone, Terms { entities, ..good }), Refusal::NotListed, "an earlier epoch");
    entities[0] = Entity { epoch: EPOCH, key: [1; 12] };
    assert_eq!(refused(&mut alone, Terms { entities, ..good }), Refusal::NotListed, "somebody else");
    let two: Mask = [0, 1].into_iter().filter_map(Index::new).collect();
    assert_eq!(refused(&mut alone, Terms { listed: two, ..good }), Refusal::Malformed, "there is no such component");
    let none = Decision::Of(Index::new(3).unwrap());
    assert_eq!(refused(&mut alone, Terms { decision: none, ..good }), Refusal::Malformed);
    let now = alone.time();
    assert_eq!(refused(&mut alone, Terms { start_us: now, ..good }), Refusal::TooLate);
    assert_eq!(refused(&mut alone, Terms { start_us: now + 4_000_001, ..good }), Refusal::TooFar);
    assert!(matches!(alone.ask(&Call::Propose(good, [1; 32])), Reply::Proposed(_)));
    assert!(matches!(alone.ask(&Call::Propose(good, [1; 32])), Reply::Proposed(_)), "the same again is no other");
    assert_eq!(alone.ask(&Call::Propose(good, [2; 32])), Reply::Refused(Refusal::AlreadyProposed));
}

#[test]
fn durations_are_measured_and_deadlines_watched() {
    let mut alone = Alone::new();
    let Reply::Handle(measure) = alone.ask(&Call::StartMeasure) else { panic!("no handle") };
    let soon = alone.time() + 300_000;
    let [kept, missed] = [(); 2].map(|()| match alone.ask(&Call::Watch(soon)) {
        Reply::Handle(handle) => handle,
        other => panic!("{other:?}"),
    });
    alone.pass(250);
    assert_eq!(alone.ask(&Call::StopMeasure(measure)), Reply::Measured(250_000_000, 1_000 + 25_000));
    assert_eq!(alone.ask(&Call::Done(kept)), Reply::Watched(Timing::Met));
    assert_eq!(alone.ask(&Call::Watched(missed)), Reply::Watched(Timing::Pending));
    alone.pass(100);
    assert_eq!(alone.ask(&Call::Done(missed)), Reply::Watched(Timing::Failed));
    assert_eq!(alone.ask(&Call::Watched(kept)), Reply::Watched(Timing::Met));
}

#[test]
fn a_component_that_slept_says_of_nothing_that_it_was_in_time() {
    let mut alone = Alone::new();
    let later = alone.time() + 5_000_000;
    let Reply::Handle(watch) = alone.ask(&Call::Watch(later)) else { panic!("no handle") };
    let Reply::Handle(execution) =
        alone.ask(&Call::Execute(Function::Alarm, later - 4_900_000, later - 4_000_000, [0; 32]))
    else {
        panic!("no handle")
    };
    alone.millis += 2_000;
    assert_eq!(alone.ask(&Call::Done(watch)), Reply::Watched(Timing::Failed));
    alone.pass(200);
    assert_eq!(alone.component.next_alarm(), None, "its interval was slept over");
    assert!(matches!(alone.ask(&Call::Executed(execution)), Reply::Executed(Timing::Failed, ..)));
}

#[test]
fn functions_are_executed_in_their_interval() {
    let mut alone = Alone::new();
    let from = alone.time() + 100_000;
    let Reply::Handle(token) = alone.ask(&Call::Execute(Function::Token, from, from + 50_000, [5; 32])) else {
        panic!("no handle")
    };
    let Reply::Handle(alarm) = alone.ask(&Call::Execute(Function::Alarm, from, from + 50_000, [0; 32])) else {
        panic!("no handle")
    };
    assert!(matches!(alone.ask(&Call::Executed(token)), Reply::Executed(Timing::Pending, ..)));
    alone.pass(160);
    let Reply::Executed(Timing::Met, at, signature) = alone.ask(&Call::Executed(token)) else { panic!("not executed") };
    assert!((from..=from + 50_000).contains(&at));
    let key = key_name(&alone.secret.public());
    assert_eq!(signed::token(&alone.group, alone.me(), EPOCH, &key, at, &[5; 32]).verify(&signature), Ok(()));
    let Reply::Executed(Timing::Met, at_us, _) = alone.ask(&Call::Executed(alarm)) else { panic!("not executed") };
    let expected = Alarm { number: 1, user: 1000, key, at_us, hash: [0; 32] };
    assert_eq!((alone.component.next_alarm(), alone.component.next_alarm()), (Some(expected), None));
}

#[test]
fn alarms_cost_more_than_other_calls_and_those_that_nobody_takes_are_bounded() {
    let mut alone = Alone::new();
    let (mut raised, mut busy) = (0, 0);
    for _ in 0..1_000 {
        let now_us = alone.time();
        let request = alone.sealed(&Call::Execute(Function::Alarm, now_us, now_us + 50_000, [0; 32]));
        let answer = alone.send(alone.place, &request);
        match alone.channel.as_ref().unwrap().open(Direction::Answer, &answer) {
            Some(body) => {
                let Some(Reply::Handle(handle)) = Reply::decode(&body) else { panic!("refused") };
                alone.pass(10);
                raised += 1;
                while kind(&{
                    let request = alone.sealed(&Call::Executed(handle));
                    alone.send(alone.place, &request)
                }) == Kind::Busy
                {
                    alone.pass(10);
                }
            }
            None => busy += 1,
        }
        alone.pass(100);
    }
    // 100 seconds and more, of 200 calls each.
    assert!((100..250).contains(&raised) && busy > 100, "{raised} raised, {busy} refused");
    let kept: Vec<u64> = std::iter::from_fn(|| alone.component.next_alarm()).map(|alarm| alarm.number).collect();
    assert_eq!(kept, (1..=64).collect::<Vec<u64>>(), "more are counted, and not kept");
    let now = alone.now();
    assert_eq!(alone.component.status(now).alarms, raised);
}

#[test]
fn a_machine_that_slept_measures_no_duration_over_that_and_is_not_timely() {
    let mut alone = Alone::new();
    let Reply::Handle(measure) = alone.ask(&Call::StartMeasure) else { panic!("no handle") };
    let now = alone.now();
    assert!(alone.component.status(now).timely);
    alone.component.on_wake(now);
    assert!(!alone.component.status(now).timely);
    assert_eq!(alone.ask(&Call::StopMeasure(measure)), Reply::Refused(Refusal::Unknown));
    alone.pass(200);
    let now = alone.now();
    assert!(alone.component.status(now).timely);
}
