//! Attacks on frames and messages. Leader 4 is hostile.

use bytes::Bytes;
use ringfort_crypto::secret::Secret32;
use ringfort_protocol::Topic;
use ringfort_protocol::data::{Identity, KeyedView, Shape, seal_multicast};
use ringfort_protocol::fault::Culprit;
use ringfort_protocol::ids::Seq;
use ringfort_protocol::leader::Command;
use ringfort_protocol::member::Event;
use ringfort_protocol::policy::{Origin, Service};
use ringfort_protocol::rules::Rule;
use ringfort_protocol::wire::{self, Sorted};

use super::bench::{Bench, Route, l};
use super::views::heard;

fn topic() -> Topic {
    "sim".parse().expect("a topic")
}

/// The network repeats what honest leader 1 sealed before: nobody honest may be taken for a liar because of it.
pub fn sealed_replay(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |_| {});
    let ana = bench.register("ana");
    let seat = bench.join("ana", &ana);
    let sealed = |(route, frame): &(Route, Bytes)| {
        let from_one = matches!(route, Route::Down(leader, _) if *leader == l(1));
        (from_one && matches!(wire::sort(frame), Ok(Sorted::Sealed(_)))).then(|| frame.clone())
    };
    let old: Vec<Bytes> = bench.passed.iter().filter_map(sealed).collect();
    for operator in [1, 2] {
        bench.command(l(operator), Command::Refresh);
    }
    bench.pass(500);
    for frame in old {
        bench.push_down(seat, l(1), &frame);
    }
    let accused = |event: &Event| matches!(event, Event::Blamed(Culprit::Leader(leader), fault) if *leader == l(1) && fault.is_deviation());
    if bench.seat(seat).events.iter().any(accused) {
        return vec!["honest blame: a repeated frame made a liar of leader 1".into()];
    }
    Vec::new()
}

/// Eve's program with the group's key and her own signing key, but Ana's name.
fn forge(bench: &Bench, as_seat: usize, key_of: usize) -> Option<Bytes> {
    let victim = bench.seat(as_seat).member.id()?.clone();
    let insider = &bench.seat(key_of).member;
    let mut dice = crate::dice::Dice::new(3, "forger");
    let own = Identity::generate(victim.user.clone(), victim.incarnation, &mut dice.0);
    let me = Identity { id: victim, ..own };
    let mut view = KeyedView::new(insider.view()?, Secret32::new(insider.key_for_testing_only()?));
    let shape = Shape::of(&bench.group.policy);
    Some(seal_multicast(&shape, &me, &mut view, (Service::Reliable, Seq(1), Seq(1)), &topic(), b"forged"))
}

/// Integrity: an insider and a hostile leader put words into Ana's mouth.
pub fn origin(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |policy| policy.origin = Origin::Signature);
    let (ana, eve, ben) = (bench.register("ana"), bench.register("eve"), bench.register("ben"));
    let (a, e, b) = (bench.join("ana", &ana), bench.join("eve", &eve), bench.join("ben", &ben));
    let Some(frame) = forge(&bench, a, e) else { return Vec::new() };
    bench.push_down(b, l(4), &frame);
    if heard(&bench, b) > 0 {
        vec!["integrity: ben was given a message that ana never sent".into()]
    } else {
        Vec::new()
    }
}

/// Integrity where policy asks for no signatures: honest leaders do not relay Eve's frame in Ana's name.
pub fn relay_sender(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |policy| policy.origin = Origin::Group);
    let (ana, eve, ben) = (bench.register("ana"), bench.register("eve"), bench.register("ben"));
    let (a, e, b) = (bench.join("ana", &ana), bench.join("eve", &eve), bench.join("ben", &ben));
    let Some(frame) = forge(&bench, a, e) else { return Vec::new() };
    let Some(link) = bench.seat(e).links.get(&l(1)).copied() else { return Vec::new() };
    bench.push_up(l(1), link, &frame);
    if heard(&bench, b) > 0 { vec!["integrity: an honest leader relayed eve as ana".into()] } else { Vec::new() }
}

/// Readability: a hostile relay holds a message back until its view is over.
pub fn overlap(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |_| {});
    let (ana, ben) = (bench.register("ana"), bench.register("ben"));
    let (sender, receiver) = (bench.join("ana", &ana), bench.join("ben", &ben));
    bench.pass(500);
    bench.hold = Box::new(|route| matches!(route, Route::Up(0, _)));
    bench
        .on_seat(sender, |member, cx| member.multicast(cx, Service::BestEffort, &topic(), b"late").unwrap_or_default());
    bench.pump();
    let late = bench.held.iter().find(|(_, f)| matches!(wire::sort(f), Ok(Sorted::Data))).map(|(_, f)| f.clone());
    bench.hold = Box::new(|_| false);
    let Some(late) = late else { return vec!["the scenario did not come about".into()] };
    for operator in [1, 2] {
        bench.command(l(operator), Command::Refresh);
    }
    bench.pass(5_000);
    bench.push_down(receiver, l(4), &late);
    if heard(&bench, receiver) > 0 {
        return vec!["readability: a message was read three seconds after its overlap".into()];
    }
    Vec::new()
}
