//! Attacks on leaving, and on requests of members.

use ringfort_protocol::data::DataFrame;
use ringfort_protocol::delivery::{Channel, RepairRequest, StreamKey};
use ringfort_protocol::fault::Fault;
use ringfort_protocol::ids::Seq;
use ringfort_protocol::leader::Event;
use ringfort_protocol::member;
use ringfort_protocol::policy::Service;
use ringfort_protocol::rules::Rule;
use ringfort_protocol::view::Cause;
use ringfort_protocol::wire::{LeaderNotice, MemberRequest};
use ringfort_protocol::{LeaderId, Rejected, codec};

use super::views::{in_clear, stolen_key};
use super::{Attack, go_on};
use crate::bench::{Bench, Hands, Route, cx, l, topic, user};
use crate::explore::{Ended, Stage, kept, made, need};

/// Attacks on leaving and on requests.
pub const ALL: &[Attack] = &[
    Attack::new(
        "forged-leave",
        "requests to leave made up by the network, and by a member in another's place",
        &[Rule::Seal],
        forged_leave,
    ),
    Attack::new("replayed-leave", "the request to leave of a stay before, repeated in the next", &[], replayed_leave),
    Attack::new(
        "expelled-member-asks",
        "an expelled user stays on its links and asks for the shares of the view after",
        &[Rule::ShareToMembersOnly],
        shares,
    ),
    Attack::new(
        "departed-member",
        "who has left, and who was expelled, reads and sends on with the key it had",
        &[],
        departed,
    ),
    Attack::new(
        "many-logins",
        "a member logs in with single leaders again and again, each time with other keys, so that nobody can put it out",
        &[],
        many_logins,
    ),
    Attack::new(
        "flood-of-stays",
        "a user logs in with one leader again and again, each time for the next stay, and the others hear of each",
        &[Rule::ArrivalLimit],
        flood_of_stays,
    ),
    Attack::new(
        "flood-of-requests",
        "a member asks for claims, lists and repairs without end",
        &[Rule::RequestLimit],
        flood,
    ),
    Attack::new(
        "forged-repair",
        "repair requests made up and repeated by the network, and for messages to others",
        &[Rule::SealedReplay, Rule::Seal],
        forged_repair,
    ),
    Attack::new(
        "early-and-late-calls",
        "a program sends before it is in, too much, to strangers, after the end",
        &[],
        misuse,
    ),
];

fn leaves_of(bench: &Bench, since: usize) -> usize {
    bench.events.iter().skip(since).filter(|(_, e)| matches!(e, Event::Ended(_, Cause::Left))).count()
}

fn forged_leave(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let key = bench.register("eve");
    let mut eve = need(Hands::log_in(&mut bench, "eve", &key, 1), "eve is a member too")?;
    bench.pass(300);
    let since = bench.events.len();
    let leave = codec::encode(&MemberRequest::Leave);
    // In clear, in the form of a sealed frame; and eve's own true request, on ana's links.
    for leader in [1, 2, 3] {
        bench.inject(leader, Route::Up(ana, l(leader)), in_clear(&leave, 5_000));
        let eves = eve.seal(l(leader), &MemberRequest::Leave);
        bench.inject(leader, Route::Up(ana, l(leader)), eves);
    }
    bench.say(ana, Service::Fifo, b"i stay");
    stage.window(&mut bench, |route, _| matches!(route, Route::Up(..)))?;
    bench.pass(1_000);
    kept(leaves_of(&bench, since) == 0, "somebody was taken out by a forged request")?;
    kept(bench.sees(ben, "ana") && !bench.seat(ana).member.has_ended(), "ana was taken out")?;
    kept(bench.times_heard(ben, b"i stay") == 1, "what ana said meanwhile was not delivered once")?;
    let noticed = (1..=3).filter(|id| bench.faults_at(l(*id)).iter().any(|(_, f)| *f == Fault::BadSeal)).count();
    kept(noticed == 3, format!("{noticed} of 3 leaders noticed the forgery"))?;
    go_on(&mut bench, ana, ben)?;
    Ok("six forged requests on ana's links: noticed by all three leaders, ana stayed".into())
}

fn replayed_leave(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ben, key) = (bench.member("ben"), bench.register("ana"));
    let first = bench.join("ana", &key);
    let from = bench.passed.len();
    bench.on_seat(first, |member, _| member.leave());
    bench.pass(700);
    let leaves = bench.sealed_frames(from, |route, _| matches!(route, Route::Up(seat, _) if *seat == first));
    made(!leaves.is_empty() && !bench.sees(ben, "ana"), "ana was to leave")?;
    let second = bench.join("ana", &key);
    made(bench.sees(ben, "ana"), "ana was to come back")?;
    let count = leaves.len();
    for (route, frame) in leaves {
        if let Route::Up(_, leader) = route {
            bench.inject(leader.number(), Route::Up(second, leader), frame);
        }
    }
    bench.say(second, Service::Fifo, b"i am back");
    stage.window(&mut bench, |route, _| matches!(route, Route::Up(..)))?;
    bench.pass(1_000);
    kept(bench.sees(ben, "ana") && !bench.seat(second).member.has_ended(), "an old request ended the new stay")?;
    go_on(&mut bench, second, ben)?;
    Ok(format!("{count} frames of the old leaving came again in the next stay: none opened"))
}

fn shares(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben, key) = (bench.member("ana"), bench.member("ben"), bench.register("eve"));
    let mut eve = need(Hands::log_in(&mut bench, "eve", &key, 1), "eve was to log in")?;
    bench.pass(200);
    let told = eve.told(&mut bench);
    let view = need(bench.view(ana), "ana is in")?;
    made(stolen_key(&bench, view, &told) == bench.key(ana), "as a member eve was to have the key")?;
    bench.expel("eve");
    bench.pass(100);
    let after = need(bench.view(ana), "ana is in")?;
    made(!bench.sees(ana, "eve"), "eve was to be expelled")?;
    for leader in bench.leader_ids() {
        for have in [None, Some(view.digest)] {
            eve.ask(&mut bench, leader, &MemberRequest::Claim { have });
        }
        eve.ask(&mut bench, leader, &MemberRequest::PastClaim(after.digest));
    }
    let told = eve.told(&mut bench);
    kept(stolen_key(&bench, after, &told) != bench.key(ana), "an expelled user has the key of the view after")?;
    let given =
        told.iter().any(|(_, n)| matches!(n, LeaderNotice::Claim(c) | LeaderNotice::PastClaim(c) if c.view == after));
    kept(!given, "a leader gave an expelled user a share of the view after")?;
    go_on(&mut bench, ana, ben)?;
    Ok("eve was told that she is expelled, and given no share of the view after".into())
}

fn many_logins(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.remove_silent_after_ms = 60_000);
    let (ana, ben, key) = (bench.member("ana"), bench.member("ben"), bench.register("eve"));
    need(Hands::log_in(&mut bench, "eve", &key, 1), "eve was to log in")?;
    bench.pass(500);
    made(bench.sees(ana, "eve"), "eve was to be in")?;
    for leader in bench.leader_ids() {
        for stay in 0..6 {
            let stay = 2 + 8 * u64::from(leader.number()) + stay;
            need(Hands::log_in_alone(&mut bench, "eve", &key, stay, leader), "eve was to log in once more")?;
        }
    }
    bench.expel("eve");
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(..)))?;
    bench.pass(3_000);
    kept(!bench.sees(ana, "eve") && !bench.sees(ben, "eve"), "nobody can put eve out")?;
    go_on(&mut bench, ana, ben)?;
    Ok("her logins pushed out no vote that ends the present stay".into())
}

/// Somebody leaves or is expelled, and tries the key it had.
fn with_the_old_key(stage: &mut Stage, expelled: bool) -> Result<(), Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben, eve) = (bench.member("ana"), bench.member("ben"), bench.member("eve"));
    let (view, key) = (need(bench.view(eve), "eve is in")?, need(bench.key(eve), "eve is in")?);
    made(bench.key(ana) == Some(key), "eve has the key")?;
    // A message that eve's program makes now and keeps for later.
    bench.hold = Box::new(move |route, _| matches!(route, Route::Up(seat, _) if *seat == eve));
    bench.say(eve, Service::BestEffort, b"from outside");
    bench.pump();
    let late = bench.held.iter().map(|(_, f)| f.clone()).find(|f| DataFrame::parse(f).is_ok());
    let late = need(late, "eve's frame")?;
    bench.hold = Box::new(|_, _| false);
    bench.held.clear();
    if expelled {
        bench.expel("eve");
    } else {
        bench.on_seat(eve, |member, _| member.leave());
    }
    stage.window(&mut bench, |route, _| matches!(route, Route::Peer(_, to) if *to == l(3)))?;
    bench.pass(700);
    made(!bench.sees(ana, "eve"), "eve was to be gone")?;
    kept(bench.key(ana) != Some(key) && bench.view(ana) != Some(view), "the key was not changed")?;
    let from = bench.passed.len();
    bench.say(ana, Service::Fifo, b"without eve");
    bench.pump();
    for frame in bench.data_frames(from) {
        let header = need(DataFrame::parse(&frame).ok(), "ana's frame")?.header().clone();
        kept(header.view != view.digest, "ana sent under the key that eve has")?;
    }
    kept(bench.times_heard(ben, b"without eve") == 1, "the group did not go on")?;
    bench.pass(2_500);
    bench.push_down(ben, l(4), &late);
    kept(bench.heard(ben).len() == 1, "a message by eve was delivered after she was gone")?;
    go_on(&mut bench, ana, ben)
}

fn departed(stage: &mut Stage) -> Result<String, Ended> {
    with_the_old_key(stage, false)?;
    with_the_old_key(stage, true)?;
    Ok("after a leave and after an expulsion: a new key at once, nothing sent under the old, nothing read from her"
        .into())
}

fn flood(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben, key) = (bench.member("ana"), bench.member("ben"), bench.register("eve"));
    let mut eve = need(Hands::log_in(&mut bench, "eve", &key, 1), "eve was to log in")?;
    bench.pass(200);
    eve.told(&mut bench);
    let view = need(bench.view(ana), "ana is in")?.digest;
    let asked = 1_500;
    for number in 0..asked {
        let request = if number % 2 == 0 {
            MemberRequest::Snapshot { view, after: None }
        } else {
            MemberRequest::Claim { have: None }
        };
        eve.ask(&mut bench, l(1), &request);
    }
    let answered = eve.told(&mut bench).len();
    made(answered > 0, "the first requests were to be answered")?;
    kept(answered <= 200, format!("{answered} of {asked} requests in an instant were answered"))?;
    let noticed = bench.faults_at(l(1)).iter().any(|(_, f)| *f == Fault::Flooding);
    kept(noticed, "leader 1 did not notice the flood")?;
    go_on(&mut bench, ana, ben)?;
    Ok(format!("{answered} of {asked} requests answered, the flood noticed; others were served"))
}

fn flood_of_stays(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben, key) = (bench.member("ana"), bench.member("ben"), bench.register("eve"));
    let tried = 80;
    let taken = |bench: &Bench| {
        let taken = |(by, event): &&(LeaderId, Event)| {
            *by == l(2) && matches!(event, Event::Authenticated(stay) if stay.user == user("eve"))
        };
        bench.events.iter().filter(taken).count()
    };
    for stay in 1..=tried {
        // Who is refused gets no channel.
        let _ = Hands::log_in_alone(&mut bench, "eve", &key, stay, l(2));
    }
    made(taken(&bench) > 8, "the first logins were to be taken")?;
    kept(taken(&bench) <= 70, format!("{} of {tried} new stays of one user in an instant were taken", taken(&bench)))?;
    bench.pass(1_000);
    let cy = bench.member("cy");
    kept(bench.sees(ana, "cy"), "a true join did not come through")?;
    go_on(&mut bench, cy, ben)?;
    Ok(format!("{} of {tried} stays taken; the leader told the others of no more", taken(&bench)))
}

fn forged_repair(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben, key) = (bench.member("ana"), bench.member("ben"), bench.register("eve"));
    let mut eve = need(Hands::log_in(&mut bench, "eve", &key, 1), "eve was to log in")?;
    bench.pass(200);
    eve.told(&mut bench);
    let sender = need(bench.entry(ana), "ana is in")?.id;
    bench.say(ana, Service::Fifo, b"one");
    bench.whisper(ana, &["ben"], b"between us");
    bench.pass(100);
    let repair = |channel| RepairRequest::new(StreamKey { sender: sender.clone(), channel }, Seq(1), Seq(1));
    let public = need(repair(Channel::Group(Service::Fifo)), "a request")?;
    let private = need(repair(Channel::Private("ben".parse().expect("a name"))), "a request")?;
    let data_on = |bench: &mut Bench, eve: &Hands, leader| {
        let frames = bench.mail.remove(&eve.link(leader)).unwrap_or_default();
        frames.iter().filter(|f| DataFrame::parse(f).is_ok()).count()
    };
    let relays = bench.seat(ana).member.relays();
    let leader = *need(relays.first(), "ana has relays")?;
    data_on(&mut bench, &eve, leader);
    // Eve's true request is answered: repairs are for members.
    let request = eve.seal(leader, &MemberRequest::Repair(public.clone()));
    let link = eve.link(leader);
    bench.on_leader(leader, |core, cx| core.on_member_frame(cx, link, &request));
    bench.pump();
    made(data_on(&mut bench, &eve, leader) == 1, "a member's request was to be answered")?;
    // Private messages to ben are not for eve; made-up and repeated requests are not answered at all.
    eve.ask(&mut bench, leader, &MemberRequest::Repair(private));
    kept(data_on(&mut bench, &eve, leader) == 0, "eve was given a private message to ben")?;
    let forged = in_clear(&codec::encode(&MemberRequest::Repair(public)), 7_000);
    let asked = [forged, request];
    for frame in asked {
        bench.on_leader(leader, |core, cx| core.on_member_frame(cx, link, &frame));
        bench.pump();
        kept(data_on(&mut bench, &eve, leader) == 0, "a forged or repeated request was answered")?;
    }
    let seen = |fault| bench.faults_at(leader).iter().any(|(_, f)| *f == fault);
    kept(seen(Fault::BadSeal) && seen(Fault::Replayed), "the leader noticed nothing")?;
    go_on(&mut bench, ana, ben)?;
    Ok("only a member's fresh request for what is its own was answered".into())
}

fn misuse(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let key = bench.register("cy");
    let cy = bench.sit("cy", &key, &[]);
    let attempt = |bench: &mut Bench, seat: usize, bytes: usize, to: Option<&str>| {
        let (now, payload) = (bench.now, vec![7; bytes]);
        let mut dice = crate::dice::Dice::new(1, "misuse");
        let member = &mut bench.seats.get_mut(seat).expect("a seat").member;
        let mut cx = cx(now, &mut dice);
        match to {
            None => member.multicast(&mut cx, Service::Fifo, &topic(), &payload).err(),
            Some(to) => member.send_to(&mut cx, &[to.parse().expect("a name")], &topic(), &payload).err(),
        }
    };
    kept(attempt(&mut bench, cy, 3, None) == Some(Rejected::NotJoined), "a message was taken before the first view")?;
    let large = attempt(&mut bench, ana, 5_000, None);
    kept(matches!(large, Some(Rejected::TooLarge { .. })), "a message above the limit was taken")?;
    let stranger = attempt(&mut bench, ana, 3, Some("nobody"));
    kept(matches!(stranger, Some(Rejected::NotAMember(_))), "a private message to a stranger was taken")?;
    bench.on_seat(ben, |member, _| member.leave());
    kept(attempt(&mut bench, ben, 3, None) == Some(Rejected::Ended), "a message was taken after leaving")?;
    bench.pass(700);
    let ended = bench.seat(ben).events.iter().any(|e| matches!(e, member::Event::Ended(Cause::Left)));
    made(ended, "ben was to leave")?;
    for leader in bench.leader_ids() {
        bench.link(cy, leader);
    }
    bench.pass(700);
    go_on(&mut bench, ana, cy)?;
    Ok("each was refused with its reason; nothing went out".into())
}
