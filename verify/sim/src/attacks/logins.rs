//! Attacks on logins. What TLS would protect, the attacker holds where a play says so.

use bytes::Bytes;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::coordination::Operation;
use ringfort_protocol::data::Identity;
use ringfort_protocol::fault::Fault;
use ringfort_protocol::leader::Command;
use ringfort_protocol::login::{
    Credential, Denial, EnrolmentRecord, LoginClient, Registration, WireSignature, enrol_key,
};
use ringfort_protocol::member::Event;
use ringfort_protocol::rules::Rule;
use ringfort_protocol::wire::{self, LoginAnswer, LoginRequest, MemberRequest, Sorted};
use ringfort_protocol::{Incarnation, LeaderId, codec, leader};

use super::views::cut_off_3_and_4;
use super::{Attack, go_on};
use crate::bench::{Bench, Hands, Route, answer, l, user};
use crate::explore::{Ended, Stage, kept, made, need};

/// Attacks on logins.
pub const ALL: &[Attack] = &[
    Attack::new("login-carried-over", "a login carried over to another link", &[Rule::Exporter], exporter),
    Attack::new("login-replay", "a login replayed on a link with the same exporter", &[Rule::LoginNonce], nonce),
    Attack::new("borrowed-keys", "a login with somebody else's session keys", &[Rule::Possession], possession),
    Attack::new(
        "name-substitution",
        "the network puts another name into a login, and another leader's answer; a record under another name",
        &[Rule::LoginNames],
        names,
    ),
    Attack::new(
        "forged-denial",
        "refusals in leaders' names, made up and taken from other logins, before the true answers or after",
        &[Rule::DenialSignature],
        denial,
    ),
    Attack::new(
        "old-refusal",
        "a hacked leader, with one that is behind, tells somebody who was taken back of the expulsion before",
        &[Rule::DenialStay],
        old_refusal,
    ),
    Attack::new(
        "stolen-session-key",
        "the keys of an earlier stay, all of them, used against the next stay",
        &[],
        stolen_session,
    ),
    Attack::new(
        "altered-login-answer",
        "every byte of a leader's login answer altered by the network",
        &[],
        altered_answer,
    ),
];

fn exporter(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let ana = bench.register("ana");
    // Whoever ends the user's TLS and opens a link of its own carries the login over: two links, two exporters.
    let (users, attackers) = ([1; 32], [2; 32]);
    let credential = Credential::Key(ana.clone());
    let link = bench.open(l(1), attackers);
    let (mut client, init) =
        LoginClient::start(&bench.group, l(1), users, &user("ana"), &credential, &mut bench.dice.0);
    let replies = bench.push_up(l(1), link, &wire::plain(&init));
    let reply = need(answer(&replies), "the leader was to answer the first message")?;
    let accepted = client.on_answer(&bench.group, &reply).is_ok();
    if accepted {
        let me = Identity::generate(user("ana"), Incarnation(1), &mut bench.dice.0);
        let ack = client.acknowledge(&bench.group, &credential, &me, &mut bench.dice.0);
        let since = bench.events.len();
        bench.push_up(l(1), link, &wire::plain(&need(ack, "the last message")?.0));
        kept(!bench.authenticated(since), "a login made on one link was accepted on another")?;
    }
    let (ana, ben) = (bench.join("ana", &ana), bench.member("ben"));
    go_on(&mut bench, ana, ben)?;
    Ok("the user's program refused the answer: it was made for another link".into())
}

fn nonce(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let ana = bench.register("ana");
    let seat = bench.join("ana", &ana);
    // A carrier without TLS, whose exporter is always the same: the whole login comes again.
    let exporter = [5; 32];
    let from = bench.passed.len();
    bench.link_with(seat, l(1), exporter);
    bench.pump();
    let is_login = |route: &Route, frame: &Bytes| {
        matches!(route, Route::Up(..)) && matches!(wire::sort(frame), Ok(Sorted::Plain(_)))
    };
    let login: Vec<Bytes> = bench.frames(from, is_login).into_iter().map(|(_, frame)| frame).collect();
    made(login.len() == 2, "both messages of the login were to be seen")?;
    let attackers = bench.open(l(1), exporter);
    let since = bench.events.len();
    for frame in login {
        bench.push_up(l(1), attackers, &frame);
    }
    kept(!bench.authenticated(since), "a login of before was accepted again")?;
    let ben = bench.member("ben");
    go_on(&mut bench, seat, ben)?;
    Ok("the replayed login was refused: it answers another nonce".into())
}

fn possession(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.register("ben"));
    let stolen = need(bench.entry(ana), "ana is in")?;
    let exporter = bench.dice.bytes();
    let link = bench.open(l(1), exporter);
    let credential = Credential::Key(ben.clone());
    let (mut client, init) =
        LoginClient::start(&bench.group, l(1), exporter, &user("ben"), &credential, &mut bench.dice.0);
    let replies = bench.push_up(l(1), link, &wire::plain(&init));
    let reply = need(answer(&replies), "the leader was to answer")?;
    made(client.on_answer(&bench.group, &reply).is_ok(), "the answer was to be good")?;
    // Ben's own signing key signs the possession; the entry names Ana's.
    let me = Identity::generate(user("ben"), Incarnation(1), &mut bench.dice.0);
    let ack = client.acknowledge_as_for_testing_only(&bench.group, &credential, &me, &stolen, &mut bench.dice.0);
    let since = bench.events.len();
    bench.push_up(l(1), link, &wire::plain(&need(ack, "the last message")?));
    kept(!bench.authenticated(since), "ben is in with ana's session keys")?;
    let ben = bench.join("ben", &ben);
    go_on(&mut bench, ana, ben)?;
    Ok("refused: ben cannot sign with ana's session key".into())
}

fn names(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, eve) = (bench.register("ana"), bench.register("eve"));
    let credential = Credential::Key(ana.clone());
    let exporter = [3; 32];
    let (link, link_at_2) = (bench.open(l(1), exporter), bench.open(l(2), exporter));
    let (mut client, init) =
        LoginClient::start(&bench.group, l(1), exporter, &user("ana"), &credential, &mut bench.dice.0);
    let LoginRequest::Init { method, n1, asks, .. } = init.clone() else {
        return Err(Ended::NotMade("the first message".into()));
    };
    let since = bench.events.len();
    let renamed = LoginRequest::Init { user: user("eve"), method, n1, asks };
    let about_eve = answer(&bench.push_up(l(1), link, &wire::plain(&renamed)));
    let about_eve = need(about_eve, "leader 1 was to answer about eve")?;
    kept(client.on_answer(&bench.group, &about_eve).is_err(), "ana took an answer about eve for one about herself")?;
    let by_2 = need(answer(&bench.push_up(l(2), link_at_2, &wire::plain(&init))), "leader 2 was to answer")?;
    kept(client.on_answer(&bench.group, &by_2).is_err(), "ana took leader 2's answer for leader 1's")?;
    kept(!bench.authenticated(since), "somebody was let in")?;
    // A user's enrolment record under another name.
    let records = enrol_key(&bench.group, &user("eve"), &eve.verifying_key(), &mut bench.dice.0).records;
    for record in records {
        let leader = record.leader;
        let renamed = EnrolmentRecord { user: user("ana"), ..record };
        kept(renamed.open(&bench.group, bench.secrets_of(leader)).is_err(), "eve's record was taken for ana's")?;
    }
    let (ana, eve) = (bench.join("ana", &ana), bench.join("eve", &eve));
    go_on(&mut bench, ana, eve)?;
    Ok("answers about eve and by leader 2 were refused; a renamed record did not open".into())
}

fn denial(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.register("ana"), bench.member("ben"));
    // A true refusal, of somebody else's login.
    let taken = true_denial(&mut bench, l(3))?;
    let junk = WireSignature(SigningKey::generate(&mut bench.dice.0).sign("ringfort login denied", &[b"go away"]));
    let made_up = |reason| LoginAnswer::Denied { reason, signature: junk };
    let seat = bench.sit("ana", &ana, &[]);
    for leader in [1, 2, 3] {
        bench.link(seat, l(leader));
    }
    let forged = [made_up(Denial::NotAuthentic), made_up(Denial::Expelled(Incarnation(1))), taken];
    for (leader, answer) in [1, 2, 3].into_iter().zip(forged) {
        let down = need(bench.down(l(leader), seat), "ana has a link")?;
        bench.inject(0, down, wire::plain(&answer));
    }
    let to_ana = bench.is_down_to(seat);
    let is_answer = |frame: &Bytes| matches!(wire::sort(frame), Ok(Sorted::Plain(_)));
    stage.window(&mut bench, |route, frame| to_ana(route, frame) && is_answer(frame))?;
    // Where there is TLS, a forged record breaks the link; the program opens it again, as often as that happens.
    for leader in bench.leader_ids() {
        bench.link(seat, leader);
    }
    bench.pass(2_000);
    let failed = bench.seat(seat).events.iter().any(|e| matches!(e, Event::JoinFailed(_)));
    kept(!failed, "three forged refusals kept ana out")?;
    kept(bench.view(seat).is_some(), "ana did not get in")?;
    go_on(&mut bench, seat, ben)?;
    Ok("refusals that the leaders had not signed for this login convinced nobody; ana got in".into())
}

fn old_refusal(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.remove_silent_after_ms = 60_000);
    let (ana, key) = (bench.member("ana"), bench.register("ben"));
    let before = bench.join("ben", &key);
    bench.expel("ben");
    bench.pass(1_500);
    made(bench.seat(before).member.has_ended(), "ben was to be told of his expulsion")?;
    // Leaders 1 and 2 take him back. Leader 3 hears nothing of it, and neither does 4, which is hacked and votes for it.
    cut_off_3_and_4(&mut bench);
    for leader in [l(1), l(2)] {
        bench.command(leader, Command::Register(user("ben"), Registration::Key(key.verifying_key())));
    }
    let again = bench.sit("ben", &key, &[1, 2]);
    bench.pass(700);
    let entry = need(bench.entry(again), "ben was to announce himself")?;
    for to in [1, 2] {
        let vote = bench.vote(l(4), &Operation::Join(entry.clone()), false);
        bench.push_peer(l(4), l(to), &vote);
    }
    bench.pass(500);
    made(bench.sees(ana, "ben") && bench.view(again).is_some(), "ben was to come in again")?;
    let since = bench.events.len();
    for leader in [l(3), l(4)] {
        bench.link(again, leader);
    }
    let to_ben = bench.is_down_to(again);
    stage.window(&mut bench, to_ben)?;
    bench.pass(1_000);
    let refused = |(by, event): &&(LeaderId, leader::Event)| {
        by.number() > 2 && matches!(event, leader::Event::Denied(_, Denial::Expelled(_)))
    };
    made(bench.events.iter().skip(since).filter(refused).count() >= 2, "leaders 3 and 4 were to refuse ben")?;
    kept(!bench.seat(again).member.has_ended(), "ben was told of the expulsion of before, though he is in")?;
    bench.release();
    bench.pass(2_000);
    go_on(&mut bench, ana, again)?;
    Ok("two leaders refused ben for an expulsion from a stay before: his own went on".into())
}

/// A refusal that a leader signed for an unknown user's login.
fn true_denial(bench: &mut Bench, leader: LeaderId) -> Result<LoginAnswer, Ended> {
    let exporter = bench.dice.bytes();
    let link = bench.open(leader, exporter);
    let credential = Credential::Key(SigningKey::generate(&mut bench.dice.0));
    let (mut client, init) =
        LoginClient::start(&bench.group, leader, exporter, &user("nobody"), &credential, &mut bench.dice.0);
    let reply = need(answer(&bench.push_up(leader, link, &wire::plain(&init))), "an answer")?;
    made(client.on_answer(&bench.group, &reply).is_ok(), "a good answer")?;
    let me = bench.ghost("nobody", 1);
    let ack = need(client.acknowledge(&bench.group, &credential, &me, &mut bench.dice.0), "the last message")?.0;
    let reply = need(answer(&bench.push_up(leader, link, &wire::plain(&ack))), "a refusal")?;
    made(matches!(reply, LoginAnswer::Denied { .. }), "a refusal")?;
    Ok(reply)
}

fn stolen_session(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.register("ana"), bench.member("ben"));
    let mut stolen = need(Hands::log_in(&mut bench, "ana", &ana, 1), "the first stay")?;
    bench.pass(300);
    made(bench.sees(ben, "ana"), "the first stay was to begin")?;
    for leader in bench.leader_ids() {
        stolen.ask(&mut bench, leader, &MemberRequest::Leave);
    }
    bench.pass(700);
    made(!bench.sees(ben, "ana"), "the first stay was to end")?;
    let seat = bench.join("ana", &ana);
    let since = bench.passed.len();
    bench.pass(500);
    // Old channel keys on the new links, upwards.
    for leader in bench.leader_ids() {
        let leave = stolen.seal(leader, &MemberRequest::Leave);
        bench.inject(0, Route::Up(seat, leader), leave);
    }
    stage.window(&mut bench, |route, _| matches!(route, Route::Up(..)))?;
    bench.pass(1_000);
    kept(bench.sees(ben, "ana"), "a request under the keys of the stay before ended this stay")?;
    // Old channel keys against what the leaders seal now.
    let to_ana = bench.is_down_to(seat);
    let frames = bench.sealed_frames(since, &to_ana);
    made(!frames.is_empty(), "leaders were to seal something")?;
    kept(!stolen.opens_any(&bench, &frames), "the keys of the stay before open what is sealed now")?;
    // The old session signing key as a proof of identity.
    let exporter = bench.dice.bytes();
    let link = bench.open(l(1), exporter);
    let credential = Credential::Session(stolen.me.signing.clone());
    let (mut client, init) =
        LoginClient::start(&bench.group, l(1), exporter, &user("ana"), &credential, &mut bench.dice.0);
    let reply = need(answer(&bench.push_up(l(1), link, &wire::plain(&init))), "an answer")?;
    made(client.on_answer(&bench.group, &reply).is_ok(), "a good answer")?;
    let ack = client.acknowledge(&bench.group, &credential, &stolen.me, &mut bench.dice.0);
    let before = bench.events.len();
    bench.push_up(l(1), link, &wire::plain(&need(ack, "the last message")?.0));
    kept(!bench.authenticated(before), "the session key of the stay before was taken for ana")?;
    go_on(&mut bench, seat, ben)?;
    Ok("the keys of the stay before open nothing, prove nothing and end nothing in the next".into())
}

fn altered_answer(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.register("ana"), bench.member("ben"));
    let credential = Credential::Key(ana.clone());
    let exporter = [4; 32];
    let link = bench.open(l(1), exporter);
    let (mut client, init) =
        LoginClient::start(&bench.group, l(1), exporter, &user("ana"), &credential, &mut bench.dice.0);
    let frames = bench.push_up(l(1), link, &wire::plain(&init));
    let good = need(answer(&frames), "an answer")?;
    let bytes = codec::encode(&good);
    let mut altered = 0;
    for place in 1..bytes.len() {
        let mut bytes = bytes.clone();
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 0x10;
        }
        let Ok(answer) = codec::decode::<LoginAnswer>(&bytes) else { continue };
        altered += 1;
        kept(client.on_answer(&bench.group, &answer).is_err(), format!("byte {place} altered, and not noticed"))?;
    }
    made(altered > 100 && client.on_answer(&bench.group, &good).is_ok(), "the unaltered answer is good")?;
    // On a live login: the altered answer of one leader does not keep the user out.
    bench.hold = Box::new(|route, _| matches!(route, Route::Down(leader, _) if *leader == l(1)));
    let seat = bench.sit("ana", &ana, &[1, 2, 3, 4]);
    bench.pump();
    let held = std::mem::take(&mut bench.held);
    bench.hold = Box::new(|_, _| false);
    for (route, frame) in held {
        let mut bytes = frame.to_vec();
        bytes.last_mut().into_iter().for_each(|byte| *byte ^= 1);
        bench.deliver(route, Bytes::from(bytes));
    }
    bench.pass(1_500);
    let noticed = bench.faults_of(seat, l(1)).contains(&Fault::BadLoginProof);
    kept(noticed, "the altered answer was not noticed")?;
    kept(bench.view(seat).is_some(), "ana did not get in")?;
    go_on(&mut bench, seat, ben)?;
    Ok(format!("{altered} alterations noticed; with one leader's answer altered the user got in all the same"))
}
