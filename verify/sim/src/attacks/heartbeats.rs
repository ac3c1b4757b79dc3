//! Attacks on the proofs that a view is current and a member alive: heartbeats held back, collected, let through.

use bytes::Bytes;
use ringfort_protocol::coordination::Operation;
use ringfort_protocol::fault::{Culprit, Fault};
use ringfort_protocol::leader::Command;
use ringfort_protocol::member::{Confirmation, Event};
use ringfort_protocol::policy::{Service, WhenStale};
use ringfort_protocol::rules::Rule;
use ringfort_protocol::view::Cause;

use super::views::cut_off_3_and_4;
use super::{Attack, go_on};
use crate::bench::{Node, Route, l, user};
use crate::explore::{Ended, Stage, kept, made, need};

/// Attacks on heartbeats.
pub const ALL: &[Attack] = &[
    Attack::new(
        "heartbeats-let-through",
        "answers held back and let through one by one",
        &[Rule::HeartbeatNonce],
        heartbeat,
    ),
    Attack::new(
        "rekey-dropped",
        "rekeys dropped, heartbeat answers collected before let through one by one",
        &[Rule::HeartbeatNonce],
        rekey_dropped,
    ),
    Attack::new(
        "split-group",
        "a hacked leader tells one side of a cut network what it votes away on the other",
        &[Rule::Current],
        split_group,
    ),
    Attack::new(
        "confirmed-before",
        "a hacked leader votes for a view that one honest leader hears nothing of, and confirms the view before",
        &[Rule::ConfirmedView],
        confirmed_before,
    ),
    Attack::new(
        "answers-held-back",
        "an honest leader's answers come later than a member remembers its challenges",
        &[],
        answers_held_back,
    ),
    Attack::new(
        "dead-member-hidden",
        "a member's heartbeats collected and let through after its machine has died",
        &[Rule::HeartbeatNonce],
        dead_member_hidden,
    ),
];

fn heartbeat(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.remove_silent_after_ms = 60_000);
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let to_ana = bench.is_down_to(ana);
    bench.hold = Box::new(move |route, frame| to_ana(route, frame));
    // For each leader, one second of answers is let through over some seconds.
    bench.pass(1_000);
    let old = std::mem::take(&mut bench.held);
    made(old.len() >= 12, "answers were to be collected")?;
    bench.pass(2_000);
    let confirmation = bench.seat(ana).member.confirmation();
    made(confirmation == Confirmation::Unconfirmed, "two seconds without an answer")?;
    let since = bench.seat(ana).events.len();
    // Two of leader 1's and two of leader 2's come in every order with three pauses; then all others.
    let by = |leader| move |(route, _): &&(Route, Bytes)| matches!(route, Route::Down(by, _) if *by == leader);
    for leader in [l(1), l(2)] {
        for (route, frame) in old.iter().filter(by(leader)).take(2) {
            bench.inject(leader.number(), route.clone(), frame.clone());
        }
    }
    (0..3).for_each(|_| bench.inject_pause(300));
    stage.window(&mut bench, |_, _| false)?;
    for (route, frame) in old {
        bench.held.clear();
        bench.deliver(route, frame);
        bench.pass(100);
    }
    let fooled = bench
        .seat(ana)
        .events
        .iter()
        .skip(since)
        .any(|e| matches!(e, Event::Confirmation(now) if *now > Confirmation::Unconfirmed));
    kept(!fooled, "a view counts as confirmed by answers that are seconds old")?;
    let told = bench.seat(ana).events.iter().any(|e| matches!(e, Event::Confirmation(Confirmation::Unconfirmed)));
    kept(told, "ana was not told that nobody confirms her view")?;
    bench.hold = Box::new(|_, _| false);
    bench.held.clear();
    for leader in bench.leader_ids() {
        bench.link(ana, leader);
    }
    go_on(&mut bench, ana, ben)?;
    Ok("answers that were seconds old confirmed nothing, and ana said so".into())
}

fn rekey_dropped(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| {
        policy.remove_silent_after_ms = 60_000;
        policy.when_stale = WhenStale::StopSending;
    });
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let key = bench.key(ana);
    let to_ana = bench.is_down_to(ana);
    bench.hold = Box::new(move |route, frame| to_ana(route, frame));
    // A second's answers, which name the view of now, are collected; then the group rekeys, and ana hears nothing of it.
    bench.pass(800);
    let collected = std::mem::take(&mut bench.held);
    bench.refresh();
    bench.pass(500);
    made(bench.key(ben) != key && bench.key(ana) == key, "ben was to follow the rekey, and ana not")?;
    bench.pass(1_000);
    let since = bench.seat(ana).events.len();
    let by = |leader| move |(route, _): &&(Route, Bytes)| matches!(route, Route::Down(by, _) if *by == leader);
    for leader in [l(1), l(2)] {
        for (route, frame) in collected.iter().filter(by(leader)).take(2) {
            bench.inject(leader.number(), route.clone(), frame.clone());
        }
    }
    (0..3).for_each(|_| bench.inject_pause(300));
    stage.window(&mut bench, |_, _| false)?;
    for (route, frame) in collected {
        bench.held.clear();
        bench.deliver(route, frame);
        bench.pass(100);
    }
    let fooled = bench
        .seat(ana)
        .events
        .iter()
        .skip(since)
        .any(|e| matches!(e, Event::Confirmation(now) if *now > Confirmation::Unconfirmed));
    kept(!fooled && !bench.seat(ana).member.confirmation().is_current(), "ana takes the old key for current")?;
    kept(!bench.say(ana, Service::Fifo, b"secret under the old key"), "ana went on sending under the old key")?;
    bench.hold = Box::new(|_, _| false);
    bench.held.clear();
    for leader in bench.leader_ids() {
        bench.link(ana, leader);
    }
    bench.pass(1_000);
    kept(bench.key(ana) == bench.key(ben), "ana did not get the new key even now")?;
    go_on(&mut bench, ana, ben)?;
    Ok("within the deadline ana stopped sending; with the wires free again she got the new key".into())
}

fn split_group(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| {
        policy.remove_silent_after_ms = 60_000;
        policy.when_stale = WhenStale::StopSending;
    });
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let bad = bench.member("eve");
    let entry = need(bench.entry(bad), "eve is in")?;
    // The network keeps leader 1 and ana from 2 and 3. Hacked leader 4 speaks with both sides, to each as it likes.
    let apart = |leader: ringfort_protocol::LeaderId| matches!(leader.number(), 1 | 4);
    bench.hold = Box::new(move |route, _| matches!(route, Route::Peer(a, b) if apart(*a) || apart(*b)));
    for leader in [l(2), l(3)] {
        bench.unlink(ana, leader);
    }
    for leader in [l(2), l(3)] {
        bench.command(leader, Command::Expel(user("eve")));
    }
    for to in [2, 3] {
        let vote = bench.vote(l(4), &Operation::Remove(entry.id.clone(), Cause::Expelled), false);
        bench.push_peer(l(4), l(to), &vote);
    }
    bench.pass(2_500);
    made(!bench.sees(ben, "eve") && bench.sees(ana, "eve"), "ben was to see eve expelled, and ana not")?;
    let confirmation = bench.seat(ana).member.confirmation();
    kept(!confirmation.is_current(), "ana takes a view for current that the group has left")?;
    kept(!bench.say(ana, Service::Fifo, b"the plan"), "ana tells the plan to eve")?;
    made(confirmation == Confirmation::Believed, "leaders 1 and 4 were to confirm ana's view")?;
    bench.release();
    for leader in bench.leader_ids() {
        bench.link(ana, leader);
    }
    bench.pass(2_000);
    kept(!bench.sees(ana, "eve"), "ana does not learn of the expulsion even now")?;
    go_on(&mut bench, ana, ben)?;
    Ok("two leaders confirmed the view of before the expulsion: ana did not take it for current, and sent nothing"
        .into())
}

fn confirmed_before(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| {
        policy.remove_silent_after_ms = 60_000;
        policy.when_stale = WhenStale::StopSending;
    });
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let bad = bench.member("eve");
    let entry = need(bench.entry(bad), "eve is in")?;
    let before = bench.view(ana);
    cut_off_3_and_4(&mut bench);
    bench.expel("eve");
    for to in [1, 2] {
        let vote = bench.vote(l(4), &Operation::Remove(entry.id.clone(), Cause::Expelled), false);
        bench.push_peer(l(4), l(to), &vote);
    }
    let claims = bench.is_claim_to(ana);
    stage.window(&mut bench, claims)?;
    for _ in 0..20 {
        if bench.view(ana) == before {
            bench.pass(20);
        }
    }
    made(bench.view(ana) != before && !bench.sees(ana, "eve"), "ana was to see eve expelled")?;
    let confirmation = bench.seat(ana).member.confirmation();
    kept(!confirmation.is_current(), "two leaders' word for the view before counts as their word for this one")?;
    kept(!bench.say(ana, Service::Fifo, b"the plan"), "ana tells the plan in a view that two leaders confirm")?;
    bench.release();
    bench.pass(2_000);
    kept(bench.seat(ana).member.confirmation().is_current(), "the view is not confirmed even now")?;
    go_on(&mut bench, ana, ben)?;
    Ok("leaders 1 and 2 alone confirmed the new view, whatever 3 and 4 had said before".into())
}

fn answers_held_back(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.remove_silent_after_ms = 120_000);
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let late = need(bench.down(l(2), ana), "ana has a link to leader 2")?;
    bench.hold = Box::new(move |route, _| *route == late);
    bench.pass(70 * u64::from(bench.group.policy.heartbeat_ms));
    made(bench.held.len() > 64, "more answers were to be held back than ana remembers challenges")?;
    bench.release();
    bench.pass(1_000);
    let accused = bench.faults_of(ana, l(2)).into_iter().find(|fault| fault.is_deviation());
    kept(accused.is_none(), format!("a slow network made a liar of leader 2: {accused:?}"))?;
    go_on(&mut bench, ana, ben)?;
    Ok("answers to forgotten challenges were no news, and nobody was blamed".into())
}

fn dead_member_hidden(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.remove_silent_after_ms = 2_000);
    let (ana, ben, cy) = (bench.member("ana"), bench.member("ben"), bench.member("cy"));
    bench.hold = Box::new(move |route, _| matches!(route, Route::Up(seat, _) if *seat == ana));
    bench.pass(1_600);
    let collected = std::mem::take(&mut bench.held);
    made(collected.len() >= 20, "ana's heartbeats were to be collected")?;
    bench.stopped.insert(Node::Seat(ana));
    let old_key = bench.key(ben);
    for wave in collected.chunks(4) {
        for (route, frame) in wave {
            if let Route::Up(seat, leader) = route {
                let link = need(bench.seat(*seat).links.get(leader).copied(), "ana had a link")?;
                bench.on_leader(*leader, |core, cx| core.on_member_frame(cx, link, frame));
            }
        }
        bench.pass(500);
    }
    kept(!bench.sees(ben, "ana"), "ana's old heartbeats keep her in the group, four seconds after her machine died")?;
    let noticed = bench.faults_at(l(1)).iter().any(|(c, f)| matches!(c, Culprit::Member(_)) && *f == Fault::Silent);
    kept(noticed && bench.key(ben) != old_key, "leaders did not notice the silence, or did not rekey")?;
    go_on(&mut bench, ben, cy)?;
    Ok("leaders noticed the silence, took her out and rekeyed".into())
}
