//! Attacks with what one leader alone can say: it is the first, it is the loudest, and nobody else says it. Leader 4 is hacked.

use std::collections::BTreeMap;

use ringfort_protocol::coordination::Operation;
use ringfort_protocol::data::DataFrame;
use ringfort_protocol::delivery::{Channel, RepairRequest, StreamKey};
use ringfort_protocol::fault::Fault;
use ringfort_protocol::ids::Seq;
use ringfort_protocol::keys::{Base, ViewClaim};
use ringfort_protocol::login::{Credential, LoginClient};
use ringfort_protocol::member::Event;
use ringfort_protocol::policy::Service;
use ringfort_protocol::rules::Rule;
use ringfort_protocol::view::{Cause, Change, MemberSet, ViewHasher};
use ringfort_protocol::wire::{self, LeaderNotice, LoginRequest};
use ringfort_protocol::{Epoch, Incarnation, LeaderId};

use super::views::{cut_off_3_and_4, next_refresh};
use super::{Attack, go_on};
use crate::bench::{Bench, Hands, Node, Route, answer, l, user};
use crate::explore::{Ended, Stage, kept, made, need};

/// Attacks with one leader's word.
pub const ALL: &[Attack] = &[
    Attack::new(
        "what-is-so-already",
        "a hacked leader is the first to claim the next view, and adds to its changes what is so already",
        &[Rule::TrueChanges],
        so_already,
    ),
    Attack::new(
        "expulsion-in-lists",
        "a member learns of an expulsion from whole lists, and a late leader and a hacked one bring the user back",
        &[Rule::Tombstone],
        in_lists,
    ),
    Attack::new(
        "invented-ends",
        "a hacked leader invents views and their ends before it and a late leader bring back an expelled user",
        &[],
        invented_ends,
    ),
    Attack::new(
        "one-word-on-a-cause",
        "a hacked leader is the first to say of somebody expelled that it left, and relays what it says",
        &[],
        one_cause,
    ),
    Attack::new(
        "flood-of-logins",
        "a stranger begins one login after the other, each of which costs a signature",
        &[Rule::RequestLimit],
        flood_of_logins,
    ),
    Attack::new(
        "stays-told-to-strangers",
        "a stranger asks how often somebody was in, before and after a stay",
        &[],
        told_to_strangers,
    ),
    Attack::new(
        "flood-of-lists",
        "a hacked leader claims invented views of many members, one after the other",
        &[],
        flood_of_lists,
    ),
    Attack::new(
        "number-runs-away",
        "a user logs in seventy times where only one honest leader hears it",
        &[],
        runs_away,
    ),
    Attack::new(
        "wanted-again-and-again",
        "a hacked leader asks a member for all its messages without end",
        &[],
        wanted,
    ),
    Attack::new("views-come-and-go", "a message is under way while forty views come and go", &[], come_and_go),
    Attack::new("loud-sender", "a loud member pushes what others said out of leaders' memories", &[], loud_sender),
    Attack::new(
        "past-views-invented",
        "a hacked leader gives shares of two hundred invented past views, unasked",
        &[],
        past_views,
    ),
];

/// Leader 4 claims a view that follows one by these changes.
fn step_by_4(
    bench: &mut Bench,
    number: u64,
    from: &MemberSet,
    seat: usize,
    changes: Vec<Change>,
) -> Result<ViewClaim, Ended> {
    let view = need(bench.view(seat), "a member")?;
    let mut set = from.clone();
    for change in &changes {
        match change {
            Change::Added(entry) => set.insert(entry.clone()),
            Change::Removed(user, _) => drop(set.remove(user)),
        }
    }
    let epoch = Epoch(view.epoch.0 + number);
    let next = ViewHasher::new(&bench.group, bench.group.session()).view_id(epoch, 0, set.hash());
    let claim = bench.claim_by(l(4), 500 + number, next, 0, changes);
    Ok(ViewClaim { base: Base::View(view.digest), ..claim })
}

fn members_of(bench: &Bench, seat: usize) -> Result<MemberSet, Ended> {
    need(bench.seat(seat).member.members().cloned(), "a member")
}

/// Nothing that leader 4's honest core says reaches a seat.
fn silence_4(bench: &mut Bench, seat: usize) -> Result<(), Ended> {
    let down = need(bench.down(l(4), seat), "a link to leader 4")?;
    bench.hold = Box::new(move |route, _| *route == down);
    Ok(())
}

/// Leader 4 says something to a seat, and all that follows from it arrives.
fn say_by_4(bench: &mut Bench, seat: usize, notice: LeaderNotice) -> Result<(), Ended> {
    let (route, frame) = need(bench.seal_as(l(4), seat, &notice), "leader 4 has a link to the member")?;
    bench.deliver(route, frame);
    bench.pump();
    Ok(())
}

fn so_already(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben, eve) = (bench.member("ana"), bench.member("ben"), bench.member("eve"));
    let view = need(bench.view(ana), "ana is in")?;
    let bens = need(bench.entry(ben), "ben is in")?;
    let next = next_refresh(&bench, ana, view)?;
    silence_4(&mut bench, ana)?;
    let mut claim = bench.claim_by(l(4), 500, next, 1, Vec::new());
    claim.base = Base::View(view.digest);
    claim.changes = vec![Change::Added(bens), Change::Removed(user("ghost"), Cause::Expelled)];
    let seen = bench.seat(ana).events.len();
    // The first to claim it.
    say_by_4(&mut bench, ana, LeaderNotice::Claim(claim))?;
    bench.refresh();
    let claims = bench.is_claim_to(ana);
    stage.window(&mut bench, claims)?;
    bench.pass(1_000);
    made(bench.view(ana) == Some(next), "ana was to install the view after a refresh")?;
    let told = bench.seat(ana).events.iter().skip(seen).find_map(|event| match event {
        Event::View { changes, .. } if !changes.is_empty() => Some(changes.clone()),
        _ => None,
    });
    kept(told.is_none(), format!("ana was told of changes that one leader alone says: {told:?}"))?;
    bench.expel("eve");
    bench.pass(1_500);
    kept(!bench.sees(ana, "eve"), "ana's view is frozen: eve is expelled, and ana sees her")?;
    kept(bench.key(ana) == bench.key(ben) && bench.key(ana) != bench.key(eve), "eve has the key")?;
    go_on(&mut bench, ana, ben)?;
    Ok("what was so already was no change, and the next views were installed".into())
}

/// Something done to a seat's links, or said to it.
type Prelude = fn(&mut Bench, usize) -> Result<(), Ended>;

/// Eve is expelled, and a late leader and a hacked one claim a newer view with eve in it. What happens to ana's links `before`
/// the expulsion and `after` it, the attacker chooses.
pub(super) fn returns_by_a_late_leader(stage: &mut Stage, before: Prelude, after: Prelude) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.remove_silent_after_ms = 60_000);
    let (seat, ben) = (bench.member("ana"), bench.member("ben"));
    let bad = bench.member("eve");
    let entry = need(bench.entry(bad), "eve is in")?;
    cut_off_3_and_4(&mut bench);
    before(&mut bench, seat)?;
    bench.expel("eve");
    for to in [1, 2] {
        let vote = bench.vote(l(4), &Operation::Remove(entry.id.clone(), Cause::Expelled), false);
        bench.push_peer(l(4), l(to), &vote);
    }
    bench.pass(500);
    after(&mut bench, seat)?;
    bench.pass(500);
    made(!bench.sees(seat, "eve"), "ana was to see eve expelled")?;
    // Leader 3 has not heard of it, but of two refreshes; leader 4 says the same.
    for count in 1..=2 {
        for by in [1, 2, 4] {
            bench.inject_vote(3, l(by), &[3], &Operation::Refresh(count), false);
        }
        for by in [1, 2, 3] {
            bench.inject_vote(4, l(by), &[4], &Operation::Refresh(count), false);
        }
    }
    let claims = bench.is_claim_to(seat);
    stage.window(&mut bench, claims)?;
    bench.pass(2_000);
    kept(!bench.sees(seat, "eve"), "ana sees eve again, whose stay had ended")?;
    bench.release();
    bench.pass(2_000);
    kept(!bench.sees(seat, "eve") && !bench.sees(ben, "eve"), "eve is back")?;
    go_on(&mut bench, seat, ben)?;
    Ok("a newer view with eve in it, claimed by two leaders with good shares, was not installed".into())
}

fn in_lists(stage: &mut Stage) -> Result<String, Ended> {
    returns_by_a_late_leader(
        stage,
        |bench, seat| {
            bench.unlink(seat, l(1));
            bench.unlink(seat, l(2));
            Ok(())
        },
        |bench, seat| {
            // A new link is told the view as a list, and not what has changed.
            bench.link(seat, l(1));
            bench.link(seat, l(2));
            Ok(())
        },
    )
}

fn invented_ends(stage: &mut Stage) -> Result<String, Ended> {
    returns_by_a_late_leader(
        stage,
        |_, _| Ok(()),
        |bench, seat| {
            let present = members_of(bench, seat)?;
            for round in 0..6 {
                let invented: Vec<_> = (0..30).map(|n| bench.ghost(&format!("a{round}-{n}"), 1).entry()).collect();
                let (mut more, mut ends) = (Vec::new(), Vec::new());
                for entry in invented {
                    ends.push(Change::Removed(entry.id.user.clone(), Cause::Expelled));
                    more.push(Change::Added(entry));
                }
                let claim = step_by_4(bench, 2 * round, &present, seat, more)?;
                let base = Base::View(claim.view.digest);
                say_by_4(bench, seat, LeaderNotice::Claim(claim))?;
                let claim = ViewClaim { base, ..step_by_4(bench, 2 * round + 1, &present, seat, Vec::new())? };
                say_by_4(bench, seat, LeaderNotice::Claim(ViewClaim { changes: ends, ..claim }))?;
            }
            Ok(())
        },
    )
}

fn one_cause(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben, eve) = (bench.member("ana"), bench.member("ben"), bench.member("eve"));
    let present = members_of(&bench, ana)?;
    silence_4(&mut bench, ana)?;
    // What eve says now, leader 4 keeps for later.
    let to_ana = need(bench.down(l(4), ana), "a link to leader 4")?;
    bench.hold = Box::new(move |route, _| *route == to_ana || matches!(route, Route::Up(seat, _) if *seat == eve));
    bench.say(eve, Service::Fifo, b"from outside");
    bench.pump();
    let late = bench.held.iter().map(|(_, frame)| frame.clone()).find(|frame| DataFrame::parse(frame).is_ok());
    let late = need(late, "eve's frame")?;
    let claim = step_by_4(&mut bench, 1, &present, ana, vec![Change::Removed(user("eve"), Cause::Left)])?;
    say_by_4(&mut bench, ana, LeaderNotice::Claim(claim))?;
    bench.expel("eve");
    let claims = bench.is_claim_to(ana);
    stage.window(&mut bench, claims)?;
    bench.pass(500);
    made(!bench.sees(ana, "eve"), "ana was to see eve expelled")?;
    bench.push_down(ana, l(4), &late);
    kept(bench.times_heard(ana, b"from outside") == 0, "on one leader's word ana hears somebody who was expelled")?;
    go_on(&mut bench, ana, ben)?;
    Ok("leader 4 said that eve had left; the others said that she was expelled, and ana did not hear her".into())
}

fn flood_of_logins(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let key = bench.register("eve");
    let ana = bench.member("ana");
    let exporter = bench.dice.bytes();
    let link = bench.open(l(1), exporter);
    let credential = Credential::Key(key);
    let mut answered = 0;
    for _ in 0..300 {
        let (group, dice) = (bench.group.clone(), &mut bench.dice.0);
        let (_, init) = LoginClient::start(&group, l(1), exporter, &user("eve"), &credential, dice);
        made(matches!(init, LoginRequest::Init { .. }), "a login by key begins at once")?;
        answered += usize::from(answer(&bench.push_up(l(1), link, &wire::plain(&init))).is_some());
    }
    made(answered > 0, "the first was to be answered")?;
    kept(answered <= 2, format!("{answered} of 300 logins that one link began were answered, with a signature each"))?;
    let noticed = bench.faults_at(l(1)).iter().any(|(_, fault)| *fault == Fault::Flooding);
    kept(noticed, "leader 1 did not notice the flood")?;
    let ben = bench.member("ben");
    go_on(&mut bench, ana, ben)?;
    Ok(format!("{answered} of 300 were answered, and the link was closed"))
}

fn told_to_strangers(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben, key) = (bench.member("ana"), bench.member("ben"), bench.register("cy"));
    let stranger = ringfort_crypto::sign::SigningKey::generate(&mut bench.dice.0);
    // The highest stay of cy that leader 1 tells whoever has this key.
    let told = |bench: &mut Bench, key: &ringfort_crypto::sign::SigningKey| {
        let exporter = bench.dice.bytes();
        let link = bench.open(l(1), exporter);
        let (credential, group) = (Credential::Key(key.clone()), bench.group.clone());
        let (mut client, init) =
            LoginClient::start(&group, l(1), exporter, &user("cy"), &credential, &mut bench.dice.0);
        let reply = answer(&bench.push_up(l(1), link, &wire::plain(&init)));
        need(reply.and_then(|reply| client.on_answer(&group, &reply).ok()), "leader 1 was to answer")
    };
    let before = told(&mut bench, &stranger)?;
    let cy = bench.join("cy", &key);
    made(bench.sees(ana, "cy"), "cy was to come in")?;
    let during = told(&mut bench, &stranger)?;
    made(told(&mut bench, &key)? > Incarnation(0), "cy was to be told of its own stay")?;
    bench.on_seat(cy, |member, _| member.leave());
    bench.pass(700);
    let after = told(&mut bench, &stranger)?;
    let all = [before, during, after];
    kept(all.iter().all(|stay| *stay == Incarnation(0)), format!("a stranger sees cy come and go: {all:?}"))?;
    go_on(&mut bench, ana, ben)?;
    Ok("a stranger was told the same before, during and after the stay; its owner was told of it".into())
}

fn flood_of_lists(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let invented: Vec<Change> = (0..30).map(|n| Change::Added(bench.ghost(&format!("g{n}"), 1).entry())).collect();
    let view = need(bench.view(ana), "ana is in")?;
    for number in 0..400 {
        let next = ringfort_protocol::ViewId { epoch: Epoch(view.epoch.0 + number + 1), ..view };
        let claim = bench.claim_by(l(4), 500 + number, next, number, invented.clone());
        say_by_4(&mut bench, ana, LeaderNotice::Claim(claim))?;
    }
    let looked_at = bench.faults_of(ana, l(4)).len();
    made(looked_at > 0, "ana was to look at the first")?;
    kept(looked_at <= 40, format!("ana hashed {looked_at} invented lists in an instant"))?;
    let faults = [1, 2, 3].iter().flat_map(|leader| bench.faults_of(ana, l(*leader)));
    let accused = faults.into_iter().find(|fault| fault.is_deviation());
    kept(accused.is_none(), format!("an honest leader was accused: {accused:?}"))?;
    let cy = bench.member("cy");
    kept(bench.sees(ana, "cy") && bench.seat(ana).member.confirmation().is_current(), "ana's view stands still")?;
    go_on(&mut bench, ana, ben)?;
    go_on(&mut bench, cy, ana)?;
    Ok(format!("{looked_at} of 400 lists were looked at; a join came through meanwhile"))
}

fn runs_away(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.remove_silent_after_ms = 60_000);
    let (ben, key) = (bench.member("ben"), bench.register("ana"));
    // Leader 4 lets ana log in and keeps its votes to itself; of the honest ones only leader 2 is in reach.
    bench.hold = Box::new(|route, _| matches!(route, Route::Peer(from, _) if *from == l(4)));
    for stay in 1..=70 {
        for leader in [l(2), l(4)] {
            need(Hands::log_in_alone(&mut bench, "ana", &key, stay, leader), "ana was to log in")?;
        }
        bench.pass(1_100);
    }
    made(!bench.admitted(&[1, 2, 3], "ana"), "one honest leader's vote was not to be enough")?;
    let ana = bench.sit("ana", &key, &[1, 2, 3, 4]);
    bench.pass(30_000);
    kept(bench.sees(ben, "ana") && bench.view(ana).is_some(), "ana is kept out for good")?;
    bench.release();
    bench.pass(500);
    go_on(&mut bench, ana, ben)?;
    Ok("with the network good, ana was in, whatever number her stays had come to".into())
}

fn wanted(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let said = 60;
    for number in 0..said {
        bench.say(ana, Service::Fifo, &[&[number][..], &[7; 1_000]].concat());
        bench.pass(20);
    }
    bench.pass(1_000);
    let sender = need(bench.entry(ana), "ana is in")?.id;
    let stream = StreamKey { sender, channel: Channel::Group(Service::Fifo) };
    let request = need(RepairRequest::new(stream, Seq(1), Seq(u64::from(said))), "a request")?;
    let since = bench.passed.len();
    for _ in 0..100 {
        say_by_4(&mut bench, ana, LeaderNotice::Wanted(request.clone()))?;
        bench.pass(50);
    }
    let mut sent: BTreeMap<LeaderId, usize> = BTreeMap::new();
    for (route, frame) in bench.passed.iter().skip(since) {
        if let Route::Up(seat, leader) = route
            && *seat == ana
            && DataFrame::parse(frame).is_ok()
        {
            *sent.entry(*leader).or_default() += frame.len();
        }
    }
    let to_4 = sent.remove(&l(4)).unwrap_or_default();
    let to_others: usize = sent.values().sum();
    made(to_4 > 0, "leader 4 was to be given something")?;
    kept(to_others < 4_000, format!("ana sent {to_others} bytes to leaders that did not ask"))?;
    let all = usize::from(said) * 1_200;
    kept(to_4 <= 4 * all, format!("ana sent leader 4 {to_4} bytes, of {all} that she said"))?;
    go_on(&mut bench, ana, ben)?;
    Ok(format!("a hundred requests for {all} bytes brought {to_4} to who asked, and nothing to the others"))
}

fn come_and_go(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let to_ben = bench.is_down_to(ben);
    bench.hold = Box::new(move |route, frame| to_ben(route, frame) && DataFrame::parse(frame).is_ok());
    bench.say(ana, Service::Fifo, b"under way");
    bench.pump();
    made(!bench.held.is_empty(), "ana's message was to be under way")?;
    let first = need(bench.view(ben), "ben is in")?;
    for _ in 0..40 {
        bench.refresh();
        bench.pass(40);
    }
    let last = need(bench.view(ben), "ben is in")?;
    made(last.epoch.0 >= first.epoch.0 + 30, "many views were to come and go")?;
    bench.release();
    bench.pass(300);
    kept(bench.times_heard(ben, b"under way") == 1, "a message was lost, less than an overlap after it was said")?;
    go_on(&mut bench, ana, ben)?;
    Ok(format!("{} views later ben read it", last.epoch.0 - first.epoch.0))
}

fn loud_sender(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| {
        policy.history_frames_max = 64;
        policy.remove_silent_after_ms = 60_000;
    });
    let (ana, ben, eve) = (bench.member("ana"), bench.member("ben"), bench.member("eve"));
    let chat = |bench: &mut Bench, count: u8| {
        for _ in 0..count {
            bench.say(eve, Service::Fifo, b"noise");
            bench.pass(20);
        }
    };
    chat(&mut bench, 80);
    let to_ben = bench.is_down_to(ben);
    bench.hold = Box::new(move |route, frame| to_ben(route, frame) && DataFrame::parse(frame).is_ok());
    let words: Vec<Vec<u8>> = (0..10_u8).map(|number| vec![b'a', number]).collect();
    for word in &words {
        bench.say(ana, Service::Fifo, word);
    }
    bench.pass(100);
    // Nobody repeats them: the network loses them all, and ana's machine stops.
    bench.stopped.insert(Node::Seat(ana));
    chat(&mut bench, 60);
    bench.held.clear();
    bench.release();
    bench.pass(6_000);
    let heard = words.iter().filter(|word| bench.times_heard(ben, word) == 1).count();
    kept(heard == words.len(), format!("of {} words of ana's, leaders had {heard} left", words.len()))?;
    go_on(&mut bench, eve, ben)?;
    Ok("ben was given all that ana had said: who holds most made room".into())
}

fn past_views(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let view = need(bench.view(ben), "ben is in")?;
    let to_ben = bench.is_claim_to(ben);
    bench.hold = Box::new(move |route, frame| to_ben(route, frame));
    // Ben skips a view, and is sent a message under it.
    bench.refresh();
    bench.pass(100);
    made(bench.view(ana) != Some(view) && bench.view(ben) == Some(view), "ana was to be a view ahead")?;
    bench.say(ana, Service::Fifo, b"in the view that ben skips");
    bench.pass(50);
    for number in 0..200 {
        let digest = ringfort_protocol::ViewDigest(bench.dice.bytes());
        let invented = ringfort_protocol::ViewId { digest, ..view };
        let claim = bench.claim_by(l(4), number, invented, number, Vec::new());
        say_by_4(&mut bench, ben, LeaderNotice::PastClaim(claim))?;
    }
    bench.refresh();
    bench.pass(100);
    bench.release();
    bench.pass(1_500);
    kept(bench.times_heard(ben, b"in the view that ben skips") == 1, "ben cannot read what was said in a past view")?;
    go_on(&mut bench, ana, ben)?;
    Ok("invented past views hid none that others told of".into())
}
