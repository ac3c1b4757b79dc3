//! Attacks on what a receiver knows of its losses. Leader 4 is hacked; the network is the attacker's.

use ringfort_protocol::data::DataFrame;
use ringfort_protocol::fault::{Culprit, Fault};
use ringfort_protocol::member::Event;
use ringfort_protocol::policy::{Origin, Service};
use ringfort_protocol::rules::Rule;

use super::messages::{forge, sender_through_4};
use super::{Attack, go_on};
use crate::bench::{Bench, Route, l};
use crate::explore::{Ended, Stage, kept, made, need};

/// Attacks on what a receiver knows of its losses.
pub const ALL: &[Attack] = &[
    Attack::new(
        "last-word",
        "a hacked relay withholds somebody's last words, and the network loses the honest copies",
        &[Rule::HeadsTold],
        last_word,
    ),
    Attack::new(
        "words-to-an-earlier-stay",
        "who comes again is told by leaders how far streams went that were to its stay before",
        &[Rule::StreamSince],
        earlier_stay,
    ),
    Attack::new(
        "left-out-numbers",
        "a member leaves out every second number, and others look for what was never sent",
        &[Rule::RepairBudget],
        left_out,
    ),
];

/// What a seat was told it will not get, or does not know of.
fn losses(bench: &Bench, seat: usize) -> usize {
    let loss = |event: &&Event| matches!(event, Event::Gap { .. } | Event::UnknownTail(_) | Event::Missed);
    bench.seat(seat).events.iter().filter(loss).count()
}

fn last_word(stage: &mut Stage) -> Result<String, Ended> {
    let (mut bench, ana, ben, _) = sender_through_4(stage)?;
    let cat = bench.member("cat");
    let to_ben = bench.is_down_to(ben);
    bench.hold = Box::new(move |route, frame| to_ben(route, frame) && DataFrame::parse(frame).is_ok());
    let taken = bench.say(ana, Service::Fifo, b"to all") && bench.whisper(ana, &["ben"], b"to ben");
    bench.pump();
    bench.on_seat(ana, |member, _| member.leave());
    bench.pass(50);
    made(taken && bench.held.len() >= 4 && bench.heard(ben).is_empty(), "all copies to ben were to be lost")?;
    bench.held.clear();
    bench.hold = Box::new(|_, _| false);
    // Leader 4 withholds them for good: what ben asks it for is lost.
    let repairs = need(bench.down(l(4), ben), "ben has a link")?;
    bench.hold = Box::new(move |route, frame| *route == repairs && DataFrame::parse(frame).is_ok());
    bench.pass(5_000);
    let (group, private) = (bench.times_heard(ben, b"to all"), bench.times_heard(ben, b"to ben"));
    let told = losses(&bench, ben);
    kept(
        group == 1 && private == 1,
        format!("ben heard them {group} and {private} times, and was told of {told} losses"),
    )?;
    kept(told == 0, format!("ben was told of {told} losses, and there are none"))?;
    go_on(&mut bench, cat, ben)?;
    Ok("ana was gone, and ben learned what she had said and got it from honest leaders".into())
}

fn earlier_stay(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let ana = bench.member("ana");
    let key = bench.register("ben");
    let first = bench.join("ben", &key);
    for number in 0..5_u8 {
        bench.whisper(ana, &["ben"], &[number]);
        bench.say(ana, Service::Fifo, &[number]);
        bench.pass(50);
    }
    made(bench.heard(first).len() == 10, "ben was to hear it all")?;
    bench.on_seat(first, |member, _| member.leave());
    bench.pass(500);
    let second = bench.join("ben", &key);
    // Every attempt at a repair, and more.
    bench.pass(15_000);
    let (heard, told) = (bench.heard(second).len(), losses(&bench, second));
    kept(heard == 0 && told == 0, format!("ben heard {heard} old messages, and was told of {told} losses"))?;
    bench.whisper(ana, &["ben"], b"welcome back");
    go_on(&mut bench, ana, second)?;
    kept(bench.times_heard(second, b"welcome back") == 1, "a private message to the new stay was not delivered once")?;
    Ok("ten messages to ben's earlier stay: the later one looked for none of them, and had what was to it".into())
}

/// What a seat sends up, apart from messages, while time passes.
fn requests(bench: &mut Bench, seat: usize, milliseconds: u64) -> usize {
    let since = bench.passed.len();
    bench.pass(milliseconds);
    bench.sealed_frames(since, |route, _| matches!(route, Route::Up(by, _) if *by == seat)).len()
}

fn left_out(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.origin = Origin::Group);
    let (ana, ben, eve) = (bench.member("ana"), bench.member("ben"), bench.member("eve"));
    bench.pass(3_000);
    let quiet = requests(&mut bench, ben, 3_000);
    let (mut busy, mut ana_lost) = (0, 0);
    for number in 1..=150_u64 {
        let frame = need(forge(&bench, eve, eve, number * 2, b"every second one"), "eve is in")?;
        for leader in [1, 2] {
            bench.deliver(Route::Up(eve, l(leader)), frame.clone());
        }
        if number == 100 {
            let to_ben = bench.is_down_to(ben);
            bench.hold = Box::new(move |route, frame| to_ben(route, frame) && DataFrame::parse(frame).is_ok());
            bench.say(ana, Service::Fifo, b"ana's");
            bench.pump();
            ana_lost = bench.held.len();
            bench.held.clear();
            bench.hold = Box::new(|_, _| false);
        }
        busy += requests(&mut bench, ben, 20);
    }
    made(ana_lost > 0, "the network was to lose what ana said")?;
    let more = busy.saturating_sub(quiet);
    made(more > 8, "ben was to look for what eve left out")?;
    kept(more <= 60, format!("in three seconds ben asked {more} times for what eve never sent"))?;
    bench.pass(2_000);
    kept(bench.times_heard(ben, b"ana's") == 1, "what ana said was not found among what eve left out")?;
    let eves = need(bench.seat(eve).member.id().cloned(), "eve is in")?;
    let faults = bench.faults_at(l(1));
    let named = faults.iter().any(|(who, fault)| *who == Culprit::Member(eves.clone()) && *fault == Fault::Withheld);
    kept(named, "nobody named eve")?;
    let accused = faults.iter().filter(|(who, _)| *who != Culprit::Member(eves.clone())).count();
    kept(accused == 0, format!("honest members were accused {accused} times"))?;
    go_on(&mut bench, ana, ben)?;
    Ok(format!("150 numbers left out: ben asked {more} times more than otherwise, had what ana said, and eve is named"))
}
