//! Attacks on logins. What TLS would protect, the attacker holds where a scenario says so.

use bytes::Bytes;
use ringfort_crypto::oprf::OprfClient;
use ringfort_protocol::Incarnation;
use ringfort_protocol::data::Identity;
use ringfort_protocol::leader::Event;
use ringfort_protocol::login::{Credential, LoginClient};
use ringfort_protocol::rules::Rule;
use ringfort_protocol::wire::{self, LoginAnswer, LoginRequest, Sorted};

use super::bench::{Bench, Route, l, user};

fn answer(frames: &[Bytes]) -> Option<LoginAnswer> {
    frames.iter().find_map(|frame| match wire::sort(frame) {
        Ok(Sorted::Plain(body)) => wire::decode_plain(body).ok(),
        _ => None,
    })
}

fn authenticated(bench: &Bench, since: usize) -> bool {
    bench.events.iter().skip(since).any(|(_, e)| matches!(e, Event::Authenticated(_)))
}

/// Whoever ends the user's TLS and opens a link of its own carries the login over: two links, two exporters.
pub fn exporter(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |_| {});
    let ana = bench.register("ana");
    let (users, attackers) = ([1; 32], [2; 32]);
    let credential = Credential::Key(ana);
    let link = bench.open(l(1), attackers);
    let (mut client, init) =
        LoginClient::start(&bench.group, l(1), users, &user("ana"), &credential, &mut bench.dice.0);
    let replies = bench.push_up(l(1), link, &wire::plain(&init));
    let Some(reply) = answer(&replies) else { return Vec::new() };
    if client.on_answer(&bench.group, &reply).is_err() {
        return Vec::new();
    }
    let me = Identity::generate(user("ana"), Incarnation(1), &mut bench.dice.0);
    let Some((ack, _)) = client.acknowledge(&bench.group, &credential, &me, &mut bench.dice.0) else {
        return Vec::new();
    };
    let since = bench.events.len();
    bench.push_up(l(1), link, &wire::plain(&ack));
    if authenticated(&bench, since) {
        return vec!["valid authentication: a login made on one link was accepted on another".into()];
    }
    Vec::new()
}

/// A carrier without TLS, whose exporter is always the same: the whole login comes again.
pub fn nonce(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |_| {});
    let ana = bench.register("ana");
    let seat = bench.join("ana", &ana);
    let exporter = [5; 32];
    let first = bench.open(l(1), exporter);
    if let Some(node) = bench.seats.get_mut(seat) {
        node.links.insert(l(1), first);
    }
    let from = bench.passed.len();
    bench.on_seat(seat, |member, cx| member.on_link_up(cx, l(1), exporter));
    bench.pump();
    let login: Vec<Bytes> = bench
        .passed
        .iter()
        .skip(from)
        .filter(|(route, frame)| matches!(route, Route::Up(..)) && matches!(wire::sort(frame), Ok(Sorted::Plain(_))))
        .map(|(_, frame)| frame.clone())
        .collect();
    let attackers = bench.open(l(1), exporter);
    let since = bench.events.len();
    for frame in login {
        bench.push_up(l(1), attackers, &frame);
    }
    if authenticated(&bench, since) {
        return vec!["valid authentication: a login of before was accepted again".into()];
    }
    Vec::new()
}

/// A guesser opens link after link.
pub fn throttle(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |policy| policy.login_attempts_per_minute = 12);
    bench.register("ana");
    let mut evaluated = 0;
    for _ in 0..400 {
        let exporter = bench.dice.bytes();
        let link = bench.open(l(1), exporter);
        for _ in 0..3 {
            let blinded = OprfClient::blind(b"a guess", &mut bench.dice.0).expect("hashes to a point").1;
            let request = LoginRequest::Blind { user: user("ana"), blinded: blinded.0 };
            let replies = bench.push_up(l(1), link, &wire::plain(&request));
            evaluated += usize::from(matches!(answer(&replies), Some(LoginAnswer::Evaluated { .. })));
        }
    }
    if evaluated > 12 { vec![format!("password guessing: {evaluated} evaluations in an instant")] } else { Vec::new() }
}

/// A user logs in under a session key that is another member's, to have that one's messages taken for its own.
pub fn possession(rule: Option<Rule>) -> Vec<String> {
    let mut bench = Bench::new(rule, |_| {});
    let (ana, ben) = (bench.register("ana"), bench.register("ben"));
    let seat = bench.join("ana", &ana);
    let Some(stolen) = bench.seat(seat).member.entry_for_testing_only() else { return Vec::new() };
    let exporter = bench.dice.bytes();
    let link = bench.open(l(1), exporter);
    let credential = Credential::Key(ben.clone());
    let (mut client, init) =
        LoginClient::start(&bench.group, l(1), exporter, &user("ben"), &credential, &mut bench.dice.0);
    let replies = bench.push_up(l(1), link, &wire::plain(&init));
    let Some(reply) = answer(&replies) else { return Vec::new() };
    if client.on_answer(&bench.group, &reply).is_err() {
        return Vec::new();
    }
    // Ben's own signing key signs the possession; the entry names Ana's.
    let me = Identity::generate(user("ben"), Incarnation(1), &mut bench.dice.0);
    let ack = client.acknowledge_as_for_testing_only(&bench.group, &credential, &me, &stolen, &mut bench.dice.0);
    let Some(ack) = ack else { return Vec::new() };
    let since = bench.events.len();
    bench.push_up(l(1), link, &wire::plain(&ack));
    if authenticated(&bench, since) {
        return vec!["valid authentication: ben is in with ana's session keys".into()];
    }
    Vec::new()
}

/// Logs in by hand: the link and the channel, for attackers with a user's credential.
pub fn by_hand(
    bench: &mut Bench,
    leader: ringfort_protocol::LeaderId,
    name: &str,
    key: &ringfort_crypto::sign::SigningKey,
    me: &Identity,
) -> Option<(ringfort_protocol::LinkId, ringfort_protocol::sealed::SealedChannel)> {
    let exporter = bench.dice.bytes();
    let link = bench.open(leader, exporter);
    let credential = Credential::Key(key.clone());
    let (mut client, init) =
        LoginClient::start(&bench.group, leader, exporter, &user(name), &credential, &mut bench.dice.0);
    let replies = bench.push_up(leader, link, &wire::plain(&init));
    client.on_answer(&bench.group, &answer(&replies)?).ok()?;
    let (ack, channel) = client.acknowledge(&bench.group, &credential, me, &mut bench.dice.0)?;
    bench.push_up(leader, link, &wire::plain(&ack));
    Some((link, channel))
}
