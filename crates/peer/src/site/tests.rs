use proptest::prelude::*;
use std::time::Duration;

use super::*;
use crate::wire::{Hurry, Token};

fn site(number: u8) -> SiteId {
    SiteId::new(number).unwrap()
}

fn at(millis: u64) -> Time {
    Time::from_start(Duration::from_millis(millis))
}

/// Three sites without loss, until they are in one ring; then the first and frames that it got.
fn in_a_ring() -> (Site, Vec<(SiteId, Bytes)>) {
    let all: SiteSet = (0..3).map(site).collect();
    let mut frames: Vec<(SiteId, SiteId, Bytes)> = Vec::new();
    let mut sites = Vec::new();
    let post = |from: SiteId, step: Step, frames: &mut Vec<(SiteId, SiteId, Bytes)>| {
        for effect in step.effects {
            if let Effect::Send { to, frame, .. } = effect {
                frames.extend(to.iter().map(|to| (from, to, frame.clone())));
            }
        }
    };
    for number in 0..3 {
        let (core, step) = Site::new(Config::new(site(number), all), Durable::default(), at(0));
        sites.push(core);
        post(site(number), step, &mut frames);
    }
    let mut got = Vec::new();
    for millis in 0..400 {
        for (from, to, frame) in std::mem::take(&mut frames) {
            if to == site(0) {
                got.push((from, frame.clone()));
            }
            let step = sites[usize::from(to.get())].on_frame(at(millis), from, &frame);
            post(to, step, &mut frames);
        }
        for (number, core) in (0..).zip(&mut sites) {
            if core.next_wakeup().is_some_and(|due| due <= at(millis)) {
                post(site(number), core.on_wakeup(at(millis)), &mut frames);
            }
        }
    }
    let first = sites.swap_remove(0);
    assert_eq!(first.ring().map(|(_, members)| members), Some(all));
    (first, got)
}

#[test]
fn a_frame_that_names_another_sender_is_none() {
    let (mut core, _) = in_a_ring();
    let ring = core.ring().unwrap().0;
    let hurry = Frame::Hurry(Hurry { ring, sender: site(1), visit: 1 }).encode();
    assert_eq!(core.on_frame(at(401), site(2), &hurry), Step::default());
}

#[test]
fn a_token_that_promises_more_packets_than_may_be_outstanding_is_none() {
    let (mut core, _) = in_a_ring();
    let mut token = Token::first(core.ring().unwrap().0, site(2), 3);
    (token.visit, token.seq, token.acknowledged) = (1 << 40, 1 << 40, vec![1 << 40; 3]);
    let step = core.on_frame(at(401), site(2), &Frame::Token(token).encode());
    assert_eq!(step, Step::default());
}

#[test]
fn commands_that_cannot_be_done_are_refused() {
    let (mut core, _) = in_a_ring();
    let name = |text: &'static str| Name::new(text).unwrap();
    let client = core.connect(name("#a#s0"), true).unwrap();
    assert_eq!(core.connect(name("#a#s0"), true), Err(Rejected::NameInUse));
    let message = |bytes: usize, groups: usize| Multicast {
        service: Service::Agreed,
        groups: vec![name("g"); groups],
        self_discard: false,
        mark: 0,
        message_type: 0,
        payload: Bytes::from(vec![0; bytes]),
    };
    let result = |core: &mut Site, message| core.multicast(at(402), client, message).err();
    assert_eq!(result(&mut core, message(MESSAGE_BYTES_MAX + 1, 1)), Some(Rejected::TooLarge(MESSAGE_BYTES_MAX + 1)));
    assert_eq!(result(&mut core, message(1, 101)), Some(Rejected::TooManyGroups(101)));
    let refused = (0..10).find_map(|_| result(&mut core, message(MESSAGE_BYTES_MAX, 1)));
    assert_eq!(refused, Some(Rejected::Busy), "what waits is bounded");
    assert_eq!(core.leave(at(402), ClientId(77), name("g")).err(), Some(Rejected::NoSuchClient));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a hacked site sends, changed frames of its own or any bytes: the core takes it or leaves it.
    #[test]
    fn no_frame_makes_a_site_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..80),
        junk in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (mut core, frames) = in_a_ring();
        let mut now = 401;
        for (frame, place, byte) in changes {
            let (from, frame) = frame.get(&frames);
            let mut bytes = frame.to_vec();
            let head = bytes.len().min(160);
            bytes[place.index(head)] ^= byte;
            let _ = core.on_frame(at(now), *from, &bytes);
            now += 1;
            if core.next_wakeup().is_some_and(|due| due <= at(now)) {
                let _ = core.on_wakeup(at(now));
            }
        }
        let _ = core.on_frame(at(now), site(1), &junk);
        prop_assert!(core.queue_sizes().0 <= 2048);
    }
}

/// A site that is a ring by itself, and what its clients were told meanwhile.
fn alone(config: Config) -> Site {
    let (mut core, _) = Site::new(config, Durable::default(), at(0));
    for millis in 0..2000 {
        if core.next_wakeup().is_some_and(|due| due <= at(millis)) {
            let _ = core.on_wakeup(at(millis));
        }
    }
    assert!(core.ring().is_some());
    core
}

/// A hundred milliseconds more.
fn settle(core: &mut Site, clock: &mut u64, step: Step) -> Vec<Event> {
    let mut events = step.events;
    for _ in 0..100 {
        *clock += 1;
        events.extend(core.on_wakeup(at(*clock)).events);
    }
    events
}

#[test]
fn one_client_takes_no_more_groups_than_it_may_and_others_none_the_less() {
    let all = SiteSet::EMPTY.with(site(0));
    let mut core = alone(Config { groups_per_client_max: 2, ..Config::new(site(0), all) });
    let name = |text: &'static str| Name::new(Bytes::from_static(text.as_bytes())).unwrap();
    let greedy = core.connect(name("#greedy#a"), true).unwrap();
    let other = core.connect(name("#other#a"), true).unwrap();
    let mut clock = 2000;
    let mut join = |client, group: &'static str| {
        let step = core.join(at(clock), client, name(group)).unwrap();
        settle(&mut core, &mut clock, step)
            .iter()
            .any(|event| matches!(event, Event::JoinRefused(who, _) if *who == client))
    };
    assert!(!join(greedy, "a") && !join(greedy, "b") && !join(greedy, "a"), "to join again takes nothing");
    assert!(join(greedy, "c"));
    assert!(!join(other, "c"));
    let step = core.leave(at(clock), greedy, name("a")).unwrap();
    let _ = settle(&mut core, &mut clock, step);
    let step = core.join(at(clock), greedy, name("c")).unwrap();
    assert!(!settle(&mut core, &mut clock, step).iter().any(|event| matches!(event, Event::JoinRefused(..))));
    assert_eq!(core.group_sizes(), (2, 3));
}
