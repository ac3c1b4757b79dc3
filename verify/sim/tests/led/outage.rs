//! More leaders stop than the group is made for, and come back, while links are slow: what was said meanwhile reaches everybody.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use ringfort_protocol::member::Event;
use ringfort_protocol::policy::Service;
use ringfort_sim::bench::{Bench, Hold, Node, Route, l};
use ringfort_sim::dice::Dice;

/// Milliseconds of one step.
const STEP: u64 = 20;

/// Frames of some leaders, to some and between some wait.
fn slow_links(dice: &mut Dice) -> Hold {
    let slow: BTreeSet<u8> = (0..12).filter(|_| dice.below(3) == 0).collect();
    Box::new(move |route, _| {
        slow.contains(&match route {
            Route::Peer(from, _) => from.number() - 1,
            Route::Up(_, to) => to.number() + 3,
            Route::Down(from, _) => from.number() + 7,
        })
    })
}

fn stop(bench: &mut Bench, leader: u8) {
    bench.stopped.insert(Node::Leader(l(leader)));
    (0..bench.seats.len()).for_each(|seat| bench.unlink(seat, l(leader)));
}

fn start(bench: &mut Bench, leader: u8) {
    bench.stopped.remove(&Node::Leader(l(leader)));
    bench.restart(l(leader));
}

/// Members find leaders that are back sooner or later.
fn look_for_leaders(bench: &mut Bench, dice: &mut Dice) {
    for seat in 0..bench.seats.len() {
        for leader in (1..=4).map(l) {
            let is_off = bench.stopped.contains(&Node::Leader(leader));
            if !is_off && !bench.seat(seat).links.contains_key(&leader) && dice.below(4) == 0 {
                bench.link(seat, leader);
            }
        }
    }
}

/// Two leaders stop, then a third, while somebody wants to join; then all come back. What was said, by whom.
fn play(bench: &mut Bench, dice: &mut Dice) -> Vec<(usize, String)> {
    let dan = bench.register("dan");
    let two_stop = 1_000 + dice.below(1_000) / STEP * STEP;
    let third_stops = two_stop + 500 + dice.below(3_000) / STEP * STEP;
    let all_start = third_stops + STEP + dice.below(400) / STEP * STEP;
    let mut said = Vec::new();
    for at in (0..all_start + 4_000).step_by(usize::try_from(STEP).unwrap()) {
        if at == two_stop {
            (1..=2).for_each(|leader| stop(bench, leader));
            bench.sit("dan", &dan, &[3, 4]);
        }
        if at == third_stops {
            stop(bench, 3);
        }
        if at == all_start {
            (1..=3).for_each(|leader| start(bench, leader));
        }
        look_for_leaders(bench, dice);
        if dice.below(2) == 0 {
            bench.release();
            bench.hold = slow_links(dice);
        }
        let (seat, text) = (dice.index(bench.seats.len()), format!("said at {at}"));
        if bench.say(seat, Service::Fifo, text.as_bytes()) {
            said.push((seat, text));
        }
        bench.pass(STEP);
    }
    bench.release();
    bench.pass(15_000);
    said
}

/// The messages that somebody lacks; who is waiting to join is owed nothing.
fn owed(seed: u64) -> Vec<String> {
    let mut bench = Bench::new(seed, None, |policy| {
        policy.rekey_period_ms = 1_200;
        policy.overlap_ms = 8_000;
    });
    let seats = [bench.member("ana"), bench.member("ben"), bench.member("eva")];
    let said = play(&mut bench, &mut Dice::new(seed, "outage"));
    let mut owed = Vec::new();
    for seat in seats {
        let heard: BTreeSet<Vec<u8>> = bench.heard(seat).into_iter().collect();
        let missing = said.iter().filter(|(from, text)| *from != seat && !heard.contains(text.as_bytes()));
        owed.extend(missing.map(|(from, text)| format!("seed {seed}: seat {seat} lacks what {from} {text}")));
        let gaps = bench.seat(seat).events.iter().filter(|event| matches!(event, Event::Gap { .. }));
        owed.extend(gaps.map(|gap| format!("seed {seed}: seat {seat}: {gap:?}")));
    }
    owed
}

/// Somebody skips a view in about every tenth run, and asks for its shares while other views are installed.
#[test]
fn what_is_said_while_too_many_leaders_are_out_and_come_back_reaches_everybody() {
    let (first, last) = match std::env::var("RINGFORT_SEEDS") {
        Ok(text) => text.split_once("..").map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).unwrap(),
        Err(_) => (104, 112),
    };
    assert_eq!((first..last).flat_map(owed).collect::<Vec<_>>(), Vec::<String>::new());
}
