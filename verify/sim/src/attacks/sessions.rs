//! Attacks on session life: leader 4 is hacked, and has kept everything that it saw of the session before.

use ringfort_protocol::SessionNumber;
use ringfort_protocol::coordination::{Operation, SessionOrder};
use ringfort_protocol::leader::{Command, Event};
use ringfort_protocol::member;
use ringfort_protocol::policy::Service;
use ringfort_protocol::rules::Rule;
use ringfort_protocol::view::Cause;
use ringfort_protocol::wire::LeaderNotice;

use super::{Attack, go_on};
use crate::bench::{Bench, Route, l, user};
use crate::explore::{Ended, Stage, kept, made, need};

/// Attacks on session life.
pub const ALL: &[Attack] = &[
    Attack::new(
        "lone-session-end",
        "a hacked leader votes for the end of the session and for the next, says it has accepted, and tells members so",
        &[Rule::Amplify, Rule::CatchUp, Rule::Confirm],
        lone_end,
    ),
    Attack::new(
        "join-at-the-end",
        "a login's votes are held back until the session is over, and come in any order with its end",
        &[Rule::SessionEnds],
        late_join,
    ),
    Attack::new(
        "ended-session-returns",
        "every vote, claim and message of an ended session repeated in the next, and votes to go back to it",
        &[Rule::Incarnation],
        returns,
    ),
];

fn number(of: u64) -> SessionNumber {
    SessionNumber::new(of).expect("a small number")
}

/// Operators of f+1 honest leaders order it; what follows is under way.
fn order(bench: &mut Bench, order: SessionOrder) {
    for id in [1, 2] {
        bench.on_leader(l(id), |leader, cx| leader.on_command(cx, Command::Session(order)).unwrap_or_default());
    }
}

/// Members at honest leaders whose stay is not of the session that the leader is in.
fn strays(bench: &Bench) -> Vec<String> {
    let at = |id| {
        let leader = bench.leader(l(id));
        let stray = move |entry: &&ringfort_protocol::view::MemberEntry| !leader.session().admits(entry.id.incarnation);
        leader.members().iter().filter(stray).map(move |entry| format!("{} at leader {id}", entry.id))
    };
    [1, 2, 3].into_iter().flat_map(at).collect()
}

fn told_over(bench: &Bench, seat: usize) -> bool {
    bench.seat(seat).events.iter().any(|event| matches!(event, member::Event::Ended(Cause::SessionOver)))
}

fn lone_end(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let (view, since) = (bench.view(ben), bench.events.len());
    for (lane, to) in [(1, 1), (2, 2), (3, 3)] {
        for (rank, accepted) in [(1, false), (1, true), (2, false), (2, true)] {
            bench.inject_vote(lane, l(4), &[to], &Operation::Session(rank), accepted);
        }
    }
    let epoch = need(view, "ben is in a view")?.epoch;
    let ended = LeaderNotice::Ended { cause: Cause::SessionOver, epoch };
    let (route, frame) = need(bench.seal_as(l(4), ana, &ended), "leader 4 has a link to ana")?;
    bench.inject(4, route, frame);
    // A true rekey is under way meanwhile.
    bench.refresh();
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(..)))?;
    bench.pass(1_500);
    let over = |(by, event): &(_, Event)| *by != l(4) && matches!(event, Event::Session(_) | Event::Ended(..));
    kept(!bench.events.iter().skip(since).any(over), "an honest leader ended the session on one leader's word")?;
    kept(!told_over(&bench, ana) && bench.sees(ben, "ana"), "ana's stay was touched")?;
    kept(bench.view(ben) > view, "the true rekey did not come through")?;
    go_on(&mut bench, ana, ben)?;
    Ok("one leader's votes to end the session, and its word that it is over, moved nobody".into())
}

fn late_join(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ben_key, ana_key) = (bench.register("ben"), bench.register("ana"));
    let ben = bench.join("ben", &ben_key);
    // Ana logs in, and the leaders' votes for her are still on their way when the operators end the session.
    bench.hold = Box::new(|route, _| matches!(route, Route::Peer(..)));
    let ana = bench.sit("ana", &ana_key, &[1, 2, 3, 4]);
    bench.pump();
    order(&mut bench, SessionOrder::End(number(1)));
    bench.release();
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(_, to) if *to == l(3)))?;
    bench.pass(1_500);
    let admitted = |(_, event): &(_, Event)| matches!(event, Event::Session(now) if !now.open);
    made(bench.events.iter().any(admitted), "the session was to end")?;
    kept(strays(&bench).is_empty(), format!("members of a session that is over: {:?}", strays(&bench)))?;
    kept(told_over(&bench, ben), "ben was not told")?;
    order(&mut bench, SessionOrder::Start(number(2)));
    bench.pass(700);
    let (ana, ben) = match bench.seat(ana).member.has_ended() {
        true => (bench.join("ana", &ana_key), bench.join("ben", &ben_key)),
        false => (ana, bench.join("ben", &ben_key)),
    };
    bench.pass(9_000);
    kept(strays(&bench).is_empty(), format!("members of the session before: {:?}", strays(&bench)))?;
    go_on(&mut bench, ana, ben)?;
    Ok("whoever was on the way in when the session ended was no member of it or of the next".into())
}

fn returns(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let keys: Vec<_> = ["ana", "ben"].map(|name| (name, bench.register(name))).into();
    let old: Vec<usize> = keys.iter().map(|(name, key)| bench.join(name, key)).collect();
    let said = b"of the first session";
    for seat in &old {
        made(bench.say(*seat, Service::Fifo, said), "something was to be said")?;
    }
    bench.pass(700);
    let entries: Vec<_> = old.iter().filter_map(|seat| bench.entry(*seat)).collect();
    let votes = bench.frames(0, |route, _| matches!(route, Route::Peer(..)));
    let from_4 = bench.frames(0, |route, _| matches!(route, Route::Down(from, _) if *from == l(4)));
    made(entries.len() == 2 && votes.len() > 10 && from_4.len() > 4, "a session to be repeated")?;
    order(&mut bench, SessionOrder::Restart(number(1)));
    bench.pass(1_500);
    made(old.iter().all(|seat| told_over(&bench, *seat)), "the session was to end")?;
    let seats: Vec<usize> = keys.iter().map(|(name, key)| bench.join(name, key)).collect();
    let &[ana, ben] = seats.as_slice() else { return Err(Ended::NotMade("two users".into())) };
    let (view, since) = (bench.view(ben), bench.events.len());
    made(view.is_some() && bench.sees(ben, "ana"), "both were to come back")?;
    // All votes of the old session again, on the links of those that cast them; and its own for going back there.
    for (route, frame) in votes {
        let Route::Peer(from, _) = &route else { continue };
        let lane = from.number();
        bench.inject(lane, route, frame);
    }
    for to in [1, 2, 3] {
        for entry in &entries {
            bench.inject_vote(4, l(4), &[to], &Operation::Join(entry.clone()), true);
        }
        bench.inject_vote(4, l(4), &[to], &Operation::Session(1), true);
    }
    for (place, (_, frame)) in from_4.into_iter().enumerate() {
        let route = bench.down(l(4), if place.is_multiple_of(2) { ana } else { ben });
        bench.inject(4, need(route, "leader 4 has links to members")?, frame);
    }
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(_, to) if *to == l(1)))?;
    bench.pass(1_500);
    kept(!bench.restless, "leaders go back and forth for ever")?;
    let again = |(by, event): &(_, Event)| {
        *by != l(4) && matches!(event, Event::Admitted(_) | Event::Session(_) | Event::Ended(..))
    };
    kept(!bench.events.iter().skip(since).any(again), "what was over came about again")?;
    kept(strays(&bench).is_empty(), format!("members of the session before: {:?}", strays(&bench)))?;
    let is_in = |name: &str| bench.leader(l(1)).members().get(&user(name)).is_some();
    kept(is_in("ana") && is_in("ben") && bench.view(ben) >= view, "a member of the new session was put out")?;
    kept(seats.iter().all(|seat| bench.times_heard(*seat, said) == 0), "a message of the old session was delivered")?;
    go_on(&mut bench, ana, ben)?;
    Ok("an ended session's votes, claims and messages were of no use in the next".into())
}
