//! Attacks on who gets in and who must go by policy. Leader 4 is hacked.

use std::time::Duration;

use bytes::Bytes;
use ringfort_crypto::secret::Secret32;
use ringfort_protocol::coordination::Operation;
use ringfort_protocol::data::{Identity, KeyedView, Shape, seal_multicast};
use ringfort_protocol::login::Denial;
use ringfort_protocol::member::{Event, JoinFailure};
use ringfort_protocol::motion::Motion;
use ringfort_protocol::policy::{MembersVote, Service, Window};
use ringfort_protocol::rules::Rule;
use ringfort_protocol::view::Cause;
use ringfort_protocol::wire::{LeaderNotice, MemberRequest};
use ringfort_protocol::{Seq, Time, leader};

use super::{Attack, go_on};
use crate::bench::{Bench, Hands, Route, l, topic, user};
use crate::explore::{Ended, Stage, kept, made, need};
use crate::world::UNIX_START_S;

/// Attacks on what policy says of time.
pub const ALL: &[Attack] = &[
    Attack::new(
        "before-the-door-opens",
        "a registered user comes before the time that policy names, and a hacked leader votes for it",
        &[Rule::AdmissionWindow],
        early,
    ),
    Attack::new(
        "overstayed",
        "a member stays on longer than policy allows, and a hacked leader ends another's stay early",
        &[Rule::StayLimit],
        overstayed,
    ),
    Attack::new(
        "not-let-in",
        "a user that the members refuse, or say nothing about, has a hacked leader vote for it and ask in the others' name",
        &[Rule::AdmissionVote],
        not_let_in,
    ),
    Attack::new(
        "voted-out",
        "one member and a hacked leader want another one expelled; then the members want that one expelled",
        &[],
        voted_out,
    ),
    Attack::new(
        "old-login-returns",
        "a login left with one leader before the members' expulsion, and a hacked leader's word for it",
        &[Rule::TakenBack],
        old_login,
    ),
    Attack::new(
        "two-stories",
        "a member tells two stories under one number; another is accused of it with made-up messages",
        &[Rule::Accusation],
        two_stories,
    ),
];

/// How the seat's stay ended.
fn end_of(bench: &Bench, seat: usize) -> Option<Cause> {
    bench.seat(seat).events.iter().find_map(|event| match event {
        Event::Ended(cause) => Some(*cause),
        _ => None,
    })
}

fn early(stage: &mut Stage) -> Result<String, Ended> {
    let door = Window { from_unix_s: UNIX_START_S + 2, length_s: 8, every_s: 20 };
    let mut bench = stage.bench(|policy| policy.admission = vec![door]);
    bench.pass(1_500);
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    made(bench.sees(ben, "ana"), "ana and ben came while the door was open")?;
    let key = bench.register("eve");
    let wait = Time::from_start(Duration::from_secs(11)).since(bench.now);
    bench.pass(u64::try_from(wait.as_millis()).expect("some seconds"));
    let ghost = Operation::Join(bench.ghost("eve", 1).entry());
    bench.inject_vote(4, l(4), &[1, 2, 3], &ghost, true);
    let eve = bench.sit("eve", &key, &[1, 2, 3, 4]);
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(..)))?;
    bench.pass(1_500);
    kept(!bench.sees(ana, "eve") && bench.view(eve).is_none(), "eve came in while the door was shut")?;
    let closed = |e: &Event| matches!(e, Event::JoinFailed(JoinFailure::Denied(Denial::Closed)));
    kept(bench.seat(eve).events.iter().any(closed), "eve was not told why")?;
    kept(bench.sees(ben, "ana"), "who is in stays in")?;
    // The same, once it is open again.
    let wait = Time::from_start(Duration::from_secs(23)).since(bench.now);
    bench.pass(u64::try_from(wait.as_millis()).expect("some seconds"));
    let eve = bench.join("eve", &key);
    kept(bench.view(eve).is_some() && bench.sees(ana, "eve"), "eve was kept out when the door was open")?;
    go_on(&mut bench, ana, eve)?;
    Ok("eve came in only when the door was open".into())
}

fn overstayed(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.stay_s_max = 10);
    let key = bench.register("ana");
    let ana = bench.join("ana", &key);
    bench.pass(5_000);
    let ben = bench.member("ben");
    let bens = need(bench.entry(ben), "ben is in")?;
    bench.inject_vote(4, l(4), &[1, 2, 3], &Operation::Remove(bens.id, Cause::Expired), true);
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(..)))?;
    bench.pass(1_000);
    kept(bench.sees(ana, "ben") && bench.sees(ben, "ana"), "a stay ended before its time")?;
    bench.pass(4_500);
    kept(!bench.sees(ben, "ana"), "ana stayed on after her time")?;
    kept(end_of(&bench, ana) == Some(Cause::Expired), format!("ana was told: {:?}", end_of(&bench, ana)))?;
    kept(end_of(&bench, ben).is_none(), "ben went before his time")?;
    let again = bench.join("ana", &key);
    kept(bench.sees(ben, "ana"), "ana did not get in again")?;
    go_on(&mut bench, ben, again)?;
    Ok("ana's stay ended in time, ben's did not end before, and ana came back by logging in".into())
}

fn vote(bench: &mut Bench, seat: usize, motion: &Motion, yes: bool) -> bool {
    let now = bench.now;
    let mut sent = false;
    bench.on_seat(seat, |member, _| {
        let step = member.vote(now, motion.clone(), yes);
        sent = step.is_ok();
        step.unwrap_or_default()
    });
    bench.pump();
    sent
}

fn asked(bench: &Bench, seat: usize, motion: &Motion) -> bool {
    bench.seat(seat).events.iter().any(|event| matches!(event, Event::Asked(of) if of == motion))
}

fn not_let_in(stage: &mut Stage) -> Result<String, Ended> {
    let rule = MembersVote { percent: 51, wait_s: 4, silence_is_yes: false };
    let mut bench = stage.bench(|policy| policy.admission_vote = Some(rule));
    let ana = bench.member("ana");
    let key = bench.register("ben");
    let ben = bench.sit("ben", &key, &[1, 2, 3, 4]);
    bench.pass(1_000);
    let bens = Motion::admit(user("ben"));
    kept(bench.view(ben).is_none() && asked(&bench, ana, &bens), "ben came in before ana was asked")?;
    made(vote(&mut bench, ana, &bens, true), "ana votes")?;
    bench.pass(1_000);
    made(bench.sees(ana, "ben") && bench.view(ben).is_some(), "ana let ben in")?;

    // A hacked leader votes for eve, and asks about somebody whom nobody has seen.
    let eves = Motion::admit(user("eve"));
    let key = bench.register("eve");
    let ghost = Operation::Join(bench.ghost("eve", 1).entry());
    bench.inject_vote(4, l(4), &[1, 2, 3], &ghost, true);
    let made_up = Motion::admit(user("nobody"));
    let notice = LeaderNotice::Asked { motion: made_up.clone(), left_ms: 4_000 };
    bench.inject_notice(4, l(4), ana, &notice);
    let eve = bench.sit("eve", &key, &[1, 2, 3, 4]);
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(..)))?;
    bench.pass(500);
    kept(asked(&bench, ana, &eves) && asked(&bench, ben, &eves), "the members were not asked about eve")?;
    kept(!asked(&bench, ana, &made_up), "one leader made ana answer for nothing")?;
    // One of two is not enough, and silence is no.
    made(vote(&mut bench, ana, &eves, true), "ana is for eve")?;
    bench.pass(2_000);
    kept(bench.view(eve).is_none(), "one of two let eve in")?;
    bench.pass(4_000);
    kept(bench.view(eve).is_none() && !bench.sees(ana, "eve"), "eve came in though ben was silent")?;
    let outvoted = |e: &Event| matches!(e, Event::JoinFailed(JoinFailure::Denied(Denial::Outvoted)));
    kept(bench.seat(eve).events.iter().any(outvoted), "eve was not told why")?;
    // She may ask again when the decision has been forgotten.
    bench.pass(4_500);
    let eve = bench.sit("eve", &key, &[1, 2, 3, 4]);
    bench.pass(500);
    for seat in [ana, ben] {
        made(vote(&mut bench, seat, &eves, true), "both are for eve")?;
    }
    bench.pass(1_000);
    kept(bench.view(eve).is_some() && bench.sees(ben, "eve"), "the members' word did not let eve in")?;
    go_on(&mut bench, ana, eve)?;
    Ok("nobody came in without the members".into())
}

fn voted_out(stage: &mut Stage) -> Result<String, Ended> {
    let rule = MembersVote { percent: 60, wait_s: 4, silence_is_yes: false };
    let mut bench = stage.bench(|policy| policy.expulsion_vote = Some(rule));
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let key = bench.register("mallory");
    let mallory = bench.join("mallory", &key);
    let anas = Motion::expel(user("ana"));
    made(vote(&mut bench, mallory, &anas, true), "mallory wants ana out")?;
    let entry = need(bench.entry(ana), "ana is in")?;
    bench.inject_vote(4, l(4), &[1, 2, 3], &Operation::Remove(entry.id, Cause::Expelled), true);
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(..)))?;
    bench.pass(500);
    made(asked(&bench, ben, &anas) && vote(&mut bench, ben, &anas, false), "ben is for ana")?;
    bench.pass(5_000);
    kept(bench.sees(ben, "ana") && bench.sees(ana, "ben"), "one member of two put ana out")?;

    let mallorys = Motion::expel(user("mallory"));
    made(vote(&mut bench, ana, &mallorys, true), "ana wants mallory out")?;
    bench.pass(500);
    kept(bench.sees(ben, "mallory"), "one of two put mallory out")?;
    made(vote(&mut bench, ben, &mallorys, true), "so does ben")?;
    bench.pass(1_000);
    kept(!bench.sees(ana, "mallory"), "mallory stayed against the members' word")?;
    kept(end_of(&bench, mallory) == Some(Cause::Expelled), "mallory was not told")?;
    let again = bench.sit("mallory", &key, &[1, 2, 3, 4]);
    bench.pass(1_500);
    kept(bench.view(again).is_none(), "mallory came back")?;
    go_on(&mut bench, ana, ben)?;
    Ok("neither one member nor one leader put anybody out, and the members did".into())
}

fn old_login(stage: &mut Stage) -> Result<String, Ended> {
    let rule = MembersVote { percent: 60, wait_s: 4, silence_is_yes: false };
    let mut bench = stage.bench(|policy| {
        policy.expulsion_vote = Some(rule);
        policy.remove_silent_after_ms = 60_000;
    });
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let key = bench.register("mallory");
    bench.join("mallory", &key);
    let later = need(Hands::log_in_alone(&mut bench, "mallory", &key, 2, l(2)), "mallory was to log in once more")?;
    bench.pass(500);
    let mallorys = Motion::expel(user("mallory"));
    made(bench.sees(ana, "mallory") && vote(&mut bench, ana, &mallorys, true), "ana wants mallory out")?;
    bench.pass(500);
    made(vote(&mut bench, ben, &mallorys, true), "so does ben")?;
    bench.pass(1_000);
    made(!bench.sees(ana, "mallory"), "the members were to expel mallory")?;
    bench.inject_vote(4, l(4), &[1, 2, 3], &Operation::Join(later.me.entry()), false);
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(..)))?;
    bench.pass(4_000);
    kept(!bench.sees(ana, "mallory") && !bench.sees(ben, "mallory"), "mallory is back for good")?;
    go_on(&mut bench, ana, ben)?;
    Ok("what a leader had voted for before the expulsion brought mallory back for a moment at most".into())
}

/// A frame that `me` signs, to everybody, under the current key.
fn signed(bench: &Bench, me: &Identity, knows: usize, seq: u64, words: &[u8]) -> Result<Bytes, Ended> {
    let key = need(bench.key(knows), "the group has a key")?;
    let view = need(bench.view(knows), "the group has a view")?;
    let mut view = KeyedView::new(view, Secret32::new(key));
    let shape = Shape::of(&bench.group.policy);
    Ok(seal_multicast(&shape, me, &mut view, (Service::Reliable, Seq(seq), Seq(1)), &topic(), words))
}

fn two_stories(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.expel_on_evidence = true);
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let key = bench.register("mallory");
    let mut mallory = need(Hands::log_in(&mut bench, "mallory", &key, 1), "mallory logs in")?;
    bench.pass(500);
    made(bench.sees(ana, "mallory"), "mallory is in")?;

    // Mallory shows every leader two messages in ana's name. Her signature is under neither.
    let forged = bench.ghost("ana", 1);
    for words in [b"yes".as_slice(), b"no"] {
        let frame = signed(&bench, &forged, ben, 1, words)?;
        for leader in bench.leader_ids() {
            mallory.ask(&mut bench, leader, &MemberRequest::Accuse(frame.to_vec()));
        }
    }
    // And one leader, hacked, votes ana out.
    let entry = need(bench.entry(ana), "ana is in")?;
    bench.inject_vote(4, l(4), &[1, 2, 3], &Operation::Remove(entry.id, Cause::Expelled), true);
    bench.pass(1_000);
    kept(bench.sees(ben, "ana"), "ana was convicted by what mallory made up")?;

    // Two messages of two numbers are no offence, wherever they come from.
    for (seq, words) in [(1, b"one".as_slice()), (2, b"two")] {
        let frame = signed(&bench, &mallory.me, ben, seq, words)?;
        let link = mallory.link(l(1));
        bench.on_leader(l(1), |core, cx| core.on_member_frame(cx, link, &frame));
        bench.pump();
        mallory.ask(&mut bench, l(2), &MemberRequest::Accuse(frame.to_vec()));
    }
    bench.pass(500);
    kept(bench.sees(ana, "mallory"), "an honest mallory was convicted")?;

    // One number, one story to leader 1, another to leader 2.
    for (leader, words) in [(1, b"buy".as_slice()), (2, b"sell")] {
        let frame = signed(&bench, &mallory.me, ben, 3, words)?;
        let link = mallory.link(l(leader));
        bench.on_leader(l(leader), |core, cx| core.on_member_frame(cx, link, &frame));
    }
    stage.window(&mut bench, |route, _| matches!(route, Route::Down(..)))?;
    bench.pass(1_500);
    kept(!bench.sees(ana, "mallory") && !bench.sees(ben, "mallory"), "mallory stayed in after two stories")?;
    let convicted =
        |(_, event): &(_, leader::Event)| matches!(event, leader::Event::Convicted(id) if id.user == user("mallory"));
    kept(bench.events.iter().any(convicted), "no leader told why")?;
    go_on(&mut bench, ana, ben)?;
    Ok("only a member's own two signatures put it out".into())
}
