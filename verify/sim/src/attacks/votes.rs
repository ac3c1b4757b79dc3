//! Attacks on coordination: leader 4, or f leaders, are hacked.

use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::fault::{Culprit, Fault};
use ringfort_protocol::leader::Event;
use ringfort_protocol::policy::Service;
use ringfort_protocol::rules::Rule;
use ringfort_protocol::view::Cause;
use ringfort_protocol::wire::{PROPOSALS_MAX, PeerMessage};
use ringfort_protocol::{LeaderId, SessionId, member};

use super::{Attack, go_on};
use crate::bench::{Bench, Node, Route, l, user};
use crate::explore::{Ended, Stage, kept, made, need};

/// Attacks on coordination.
pub const ALL: &[Attack] = &[
    Attack::new(
        "ghost-member",
        "a hacked leader votes for the join of somebody who is not there, and says it has accepted",
        &[Rule::Amplify, Rule::CatchUp],
        ghost_member,
    ),
    Attack::new(
        "forged-expulsion",
        "a hacked leader votes a member out, and says it has accepted",
        &[Rule::Amplify, Rule::CatchUp],
        forged_expulsion,
    ),
    Attack::new(
        "crash-after-vote",
        "a hostile vote for one honest leader only, and a leader that voted too is killed",
        &[Rule::VoteDurable],
        crash_after_vote,
    ),
    Attack::new("equivocated-join", "a hostile vote for one honest leader only", &[Rule::Accept], accept),
    Attack {
        implied: Some((Rule::AcceptOwn, "f+1 proposals make a leader propose before n-f can make it accept")),
        ..Attack::new("votes-of-others", "votes of all others at a leader that has not voted", &[], accept_own)
    },
    Attack::new(
        "forged-votes",
        "votes in honest leaders' names on leaders' links without TLS",
        &[Rule::ProposalSignature],
        signature,
    ),
    Attack::new(
        "old-session-votes",
        "an old session's votes on leaders' links without TLS",
        &[Rule::ProposalSession],
        session,
    ),
    Attack::new(
        "replayed-join",
        "a login's votes replayed after the stay has ended",
        &[Rule::Incarnation],
        incarnation,
    ),
    Attack::new(
        "concurrent-joins",
        "two users join at once while a hacked leader votes for other keys of both, to each leader differently",
        &[],
        concurrent_joins,
    ),
    Attack::new("stopped-leaders", "f leaders of 4 and of 7 stop, in the middle of a join", &[], stopped_leaders),
    Attack::new("crashed-leader", "a leader crashes and comes back", &[], crashed_leader),
    Attack::new(
        "flood-of-proposals",
        "a hacked leader proposes joins of thousands of invented users",
        &[Rule::PendingLimit],
        flood,
    ),
];

fn admits(bench: &Bench, since: usize, name: &str) -> bool {
    let admits = |(by, e): &(LeaderId, Event)| *by != l(4) && matches!(e, Event::Admitted(m) if m.user == user(name));
    bench.events.iter().skip(since).any(admits)
}

fn ghost_member(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let cy = bench.register("cy");
    let join = Operation::Join(bench.ghost("ghost", 1).entry());
    for (lane, to) in [(1, 1), (2, 2), (3, 3)] {
        bench.inject_vote(lane, l(4), &[to], &join, false);
        bench.inject_vote(lane, l(4), &[to], &join, true);
    }
    // A true join is under way meanwhile.
    let cy = bench.sit("cy", &cy, &[1, 2, 3]);
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(..)))?;
    bench.pass(1_500);
    kept(!bench.admitted(&[1, 2, 3], "ghost"), "an honest leader admitted a ghost on one leader's word")?;
    kept(!bench.sees(ana, "ghost"), "ana sees a ghost")?;
    kept(bench.sees(ana, "cy"), "the true join did not come through")?;
    go_on(&mut bench, cy, ben)?;
    Ok("no honest leader admitted the ghost; a true join at the same time came through".into())
}

fn forged_expulsion(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let id = need(bench.entry(ana), "ana is in")?.id;
    let (view, since) = (bench.view(ben), bench.events.len());
    for (lane, to) in [(1, 1), (2, 2), (3, 3)] {
        for cause in [Cause::Expelled, Cause::Left] {
            bench.inject_vote(lane, l(4), &[to], &Operation::Remove(id.clone(), cause), cause == Cause::Left);
        }
    }
    // A true rekey is under way meanwhile.
    bench.refresh();
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(..)))?;
    bench.pass(1_500);
    let gone = bench.events.iter().skip(since).any(|(by, e)| *by != l(4) && matches!(e, Event::Ended(..)));
    kept(!gone && bench.admitted(&[1], "ana"), "an honest leader expelled ana on one leader's word")?;
    kept(!bench.seat(ana).member.has_ended() && bench.sees(ben, "ana"), "ana's stay was touched")?;
    kept(bench.view(ben) > view, "the true rekey did not come through")?;
    go_on(&mut bench, ana, ben)?;
    Ok("one leader's votes to expel, and its word that it has, moved nobody".into())
}

fn accept(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let ben = bench.member("ben");
    let ana = bench.register("ana");
    // Ana reaches leader 1 only; leader 4 votes to leader 1 only; what leader 1 says of having accepted is one word.
    bench.hold = Box::new(|route, _| matches!(route, Route::Peer(from, _) if *from == l(4)));
    let seat = bench.sit("ana", &ana, &[1, 4]);
    bench.pass(700);
    let votes = |(route, _): &&(Route, _)| matches!(route, Route::Peer(_, to) if *to == l(1));
    let votes: Vec<_> = bench.held.iter().filter(votes).cloned().collect();
    made(!votes.is_empty(), "leader 4 was to vote")?;
    votes.into_iter().for_each(|(route, frame)| bench.inject_held(4, route, frame));
    let to_1 = |route: &Route, _: &bytes::Bytes| matches!(route, Route::Peer(_, to) if *to == l(1));
    stage.window(&mut bench, to_1)?;
    bench.pass(3_000);
    let (one, others) = (bench.admitted(&[1], "ana"), bench.admitted(&[2], "ana") && bench.admitted(&[3], "ana"));
    kept(!one || others, "leader 1 accepted ana, leaders 2 and 3 never do")?;
    bench.hold = Box::new(|_, _| false);
    bench.held.clear();
    bench.link(seat, l(2));
    bench.link(seat, l(3));
    bench.pass(3_000);
    kept(bench.view(seat).is_some(), "ana does not get in even with all leaders")?;
    go_on(&mut bench, seat, ben)?;
    Ok("no honest leader accepted what the others would never accept".into())
}

fn accept_own(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let join = Operation::Join(bench.ghost("ana", 1).entry());
    for by in [2, 3, 4] {
        bench.inject_vote(by, l(by), &[1], &join, false);
    }
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(_, to) if *to == l(1)))?;
    let proposed = bench.passed.iter().any(|(route, _)| matches!(route, Route::Peer(from, _) if *from == l(1)));
    made(bench.admitted(&[1], "ana"), "all others vote for her")?;
    kept(proposed, "leader 1 accepted without a proposal of its own")?;
    Ok("leader 1 had proposed before it accepted".into())
}

fn forged(stage: &mut Stage, session_of: fn(&Bench) -> SessionId, genuine: bool) -> Result<Bench, Ended> {
    let mut bench = stage.bench(|_| {});
    let join = Operation::Join(bench.ghost("eve", 1).entry());
    let session = session_of(&bench);
    for by in [2, 3, 4] {
        // Signed by the hacked leader's key, whatever name it gives; or truly, in another session.
        let key = if genuine { &bench.secrets_of(l(by)).signing } else { &bench.secrets_of(l(4)).signing };
        let vote = SignedProposal::sign(key, l(by), session, join.clone(), false);
        let frame = ringfort_protocol::wire::plain(&PeerMessage::Proposals(vec![vote]));
        bench.inject(by, Route::Peer(l(by), l(1)), frame);
    }
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(..)))?;
    bench.pass(1_000);
    kept(!admits(&bench, 0, "eve"), "eve was admitted")?;
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    go_on(&mut bench, ana, ben)?;
    Ok(bench)
}

fn blamed(bench: &Bench, fault: Fault) -> usize {
    bench.faults_at(l(1)).iter().filter(|(who, f)| matches!(who, Culprit::Leader(_)) && *f == fault).count()
}

fn signature(stage: &mut Stage) -> Result<String, Ended> {
    let bench = forged(stage, |bench| bench.group.session(), false)?;
    let noticed = blamed(&bench, Fault::BadProposal);
    kept(noticed == 2, format!("{noticed} of 2 forgeries were noticed"))?;
    Ok("both votes in honest leaders' names were noticed; eve was not admitted".into())
}

fn session(stage: &mut Stage) -> Result<String, Ended> {
    let bench = forged(stage, |_| SessionId([9; 32]), true)?;
    let noticed = blamed(&bench, Fault::WrongSession);
    kept(noticed == 3, format!("{noticed} of 3 old votes were noticed"))?;
    Ok("three genuine votes of another session were void".into())
}

fn incarnation(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ben, cy) = (bench.member("ben"), bench.member("cy"));
    let since = bench.passed.len();
    let seat = bench.member("ana");
    let joined = bench.frames(since, |route, _| matches!(route, Route::Peer(..)));
    bench.on_seat(seat, |member, _| member.leave());
    bench.pass(1_000);
    made(!bench.sees(ben, "ana") && joined.len() >= 12, "ana was to leave, and her votes to be seen")?;
    let before = bench.events.len();
    for (route, frame) in joined {
        let Route::Peer(from, _) = &route else { continue };
        let lane = from.number();
        bench.inject(lane, route, frame);
    }
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(_, to) if *to == l(1)))?;
    bench.pass(500);
    kept(!bench.restless, "leaders go back and forth for ever")?;
    let again = bench.events.iter().skip(before).any(|(_, e)| matches!(e, Event::Admitted(_)));
    kept(!again && !bench.sees(ben, "ana"), "a stay that had ended was admitted again")?;
    go_on(&mut bench, ben, cy)?;
    Ok("all votes of the join came again: the stay was over and stayed over".into())
}

fn concurrent_joins(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (cy, ana, ben) = (bench.member("cy"), bench.register("ana"), bench.register("ben"));
    for (lane, to) in [(1, 1), (2, 2), (3, 3)] {
        for name in ["ana", "ben"] {
            let other_keys = Operation::Join(bench.ghost(name, 1).entry());
            bench.inject_vote(lane, l(4), &[to], &other_keys, false);
        }
    }
    let (ana, ben) = {
        bench.hold = Box::new(|route, _| matches!(route, Route::Peer(..)));
        let (ana, ben) = (bench.sit("ana", &ana, &[1, 2, 3]), bench.sit("ben", &ben, &[1, 2, 3]));
        bench.pump();
        (ana, ben)
    };
    bench.release();
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(..)))?;
    bench.hold = Box::new(|route, _| matches!(route, Route::Peer(from, _) if *from == l(4)));
    bench.pass(2_500);
    for seat in [ana, ben] {
        kept(bench.view(seat).is_some(), "a join stalled")?;
    }
    let views = [bench.view(ana), bench.view(ben), bench.view(cy)];
    kept(views[0] == views[1] && views[1] == views[2], format!("the group did not settle: {views:?}"))?;
    go_on(&mut bench, ana, ben)?;
    Ok("both joins came through, in one view for all".into())
}

fn crash_after_vote(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.remove_silent_after_ms = 60_000);
    let (ben, cy, ana) = (bench.member("ben"), bench.member("cy"), bench.register("ana"));
    bench.hold = Box::new(|route, _| matches!(route, Route::Peer(..)));
    let ana = bench.sit("ana", &ana, &[2, 3]);
    bench.pass(700);
    // Her machine fails as soon as she has logged in, so she will not ask again.
    bench.stopped.insert(Node::Seat(ana));
    let entry = bench.entry(ana).ok_or_else(|| Ended::NotMade("ana was to log in".into()))?;
    let votes: Vec<_> = bench.held.iter().filter(|(route, _)| *route == Route::Peer(l(2), l(3))).cloned().collect();
    for (route, frame) in votes {
        bench.inject_held(2, route, frame);
    }
    bench.inject_vote(4, l(4), &[3], &Operation::Join(entry), false);
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(_, to) if *to == l(3)))?;
    made(bench.admitted(&[3], "ana") && !bench.admitted(&[1, 2], "ana"), "leader 3 alone was to accept")?;
    bench.restart(l(2));
    bench.held.retain(|(route, _)| !matches!(route, Route::Peer(from, _) if *from == l(4)));
    bench.release();
    bench.hold = Box::new(|route, _| matches!(route, Route::Peer(from, _) if *from == l(4)));
    bench.pass(2_000);
    let apart = (1..=3).filter(|id| !bench.admitted(&[*id], "ana")).count();
    kept(apart == 0, format!("{apart} honest leaders can never accept what leader 3 has accepted"))?;
    go_on(&mut bench, ben, cy)?;
    Ok("leader 2 stood by its vote: all honest leaders accepted the join".into())
}

fn stop(bench: &mut Bench, leaders: &[u8]) {
    for id in leaders {
        bench.stopped.insert(Node::Leader(l(*id)));
        for seat in 0..bench.seats.len() {
            bench.unlink(seat, l(*id));
        }
    }
}

fn stopped(stage: &mut Stage, sizes: (u8, u8), off: &[u8]) -> Result<(), Ended> {
    let mut bench = stage.bench_of(sizes, |_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let key = bench.key(ana);
    let cy = bench.register("cy");
    let all: Vec<u8> = bench.leader_ids().map(LeaderId::number).collect();
    bench.hold = Box::new(|route, _| matches!(route, Route::Peer(..)));
    let cy = bench.sit("cy", &cy, &all);
    bench.pump();
    stop(&mut bench, off);
    bench.release();
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(_, to) if *to == l(2)))?;
    bench.pass(2_000);
    kept(bench.sees(ana, "cy") && bench.view(cy).is_some(), "the join stalled")?;
    kept(bench.key(ana) != key, "there was no rekey")?;
    bench.expel("ben");
    bench.pass(1_500);
    kept(!bench.sees(ana, "ben") && bench.seat(ben).member.has_ended(), "the expulsion stalled")?;
    kept(bench.seat(ana).member.confirmation().is_current(), "ana's view is not confirmed")?;
    go_on(&mut bench, cy, ana)
}

fn stopped_leaders(stage: &mut Stage) -> Result<String, Ended> {
    stopped(stage, (4, 1), &[4])?;
    stopped(stage, (7, 2), &[1, 6])?;
    Ok("with 1 of 4 and with 2 of 7 leaders stopped: joins, rekeys, expulsions and messages went on".into())
}

fn crashed_leader(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    bench.pass(500);
    bench.stopped.insert(Node::Leader(l(3)));
    bench.pass(1_500);
    let answers = |bench: &Bench, up: bool| {
        let of_3 = |e: &&member::Event| matches!(e, member::Event::LeaderAnswers(leader, _) if *leader == l(3));
        let last = bench.seat(ana).events.iter().rfind(of_3);
        matches!(last, Some(member::Event::LeaderAnswers(_, answers)) if *answers == up)
    };
    kept(answers(&bench, false), "ana did not notice within 1.5 s that leader 3 has stopped")?;
    kept(bench.seat(ana).member.confirmation().is_current(), "three leaders confirm the view")?;
    bench.say(ana, Service::Fifo, b"without leader 3");
    bench.pass(500);
    kept(bench.times_heard(ben, b"without leader 3") == 1, "a message did not get through")?;
    bench.stopped.clear();
    bench.pass(1_500);
    kept(answers(&bench, true), "ana did not notice that leader 3 is back")?;
    go_on(&mut bench, ana, ben)?;
    Ok("the crash was noticed within the deadline, the return too; messages went on meanwhile".into())
}

/// More than one leader may have pending.
const INVENTED: u64 = 4_300;
/// More than one leader may invent.
const KEPT: usize = 4_200;

fn flood(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let entry = bench.ghost("ghost", 1).entry();
    let session = bench.group.session();
    let signing = bench.secrets_of(l(4)).signing.clone();
    let mut batch = Vec::new();
    for number in 0..INVENTED {
        let mut entry = entry.clone();
        entry.id.user = user(&format!("ghost{number}"));
        batch.push(SignedProposal::sign(&signing, l(4), session, Operation::Join(entry), false));
        if batch.len() == PROPOSALS_MAX || number + 1 == INVENTED {
            let message = PeerMessage::Proposals(std::mem::take(&mut batch));
            bench.push_peer(l(4), l(1), &message);
        }
    }
    let known = bench.leader(l(1)).users_for_testing_only();
    made(known > 2, "leader 1 was to keep some")?;
    kept(known < KEPT, format!("leader 1 keeps {known} of {INVENTED} users that one leader invented"))?;
    let blamed = bench.faults_at(l(1)).iter().any(|(c, _)| *c == Culprit::Leader(l(4)));
    kept(!blamed, "an honest leader may be the only one that hears as many log in")?;
    kept(bench.leader(l(1)).members().len() == 2, "an invented user was admitted")?;
    let cy = bench.member("cy");
    kept(bench.sees(ana, "cy"), "a true join did not come through")?;
    go_on(&mut bench, cy, ben)?;
    Ok(format!("{INVENTED} invented joins: leader 1 stopped counting at its limit"))
}
