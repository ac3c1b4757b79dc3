//! Attacks on messages. Leader 4 is hacked; the network is the attacker's.

use bytes::Bytes;
use ringfort_crypto::secret::Secret32;
use ringfort_protocol::data::{DataFrame, DataHeader, FrameKind, Identity, KeyedView, Shape, seal_multicast};
use ringfort_protocol::fault::Fault;
use ringfort_protocol::ids::Seq;
use ringfort_protocol::policy::{Origin, Policy, Protection, Service};
use ringfort_protocol::rules::Rule;
use ringfort_protocol::{LeaderId, ViewDigest, codec};

use super::{Attack, go_on};
use crate::bench::{Bench, Route, l, topic};
use crate::explore::{Ended, Stage, kept, made, need};

/// Attacks on messages.
pub const ALL: &[Attack] = &[
    Attack::new(
        "data-replay",
        "old messages of every service repeated by the network and a hacked leader, across a rekey",
        &[Rule::DataReplay],
        data_replay,
    ),
    Attack::new(
        "private-replay",
        "an old private message repeated by the network and a hacked leader",
        &[Rule::DataReplay],
        private_replay,
    ),
    Attack::new(
        "insider-origin",
        "a member seals words in another's name, and a hacked leader delivers them",
        &[Rule::OriginSignature],
        insider_origin,
    ),
    Attack::new(
        "insider-relay",
        "a member sends words in another's name through honest leaders, where policy asks for no signatures",
        &[Rule::RelaySender],
        insider_relay,
    ),
    Attack::new("altered-bytes", "every byte of a sealed message of random data altered", &[], altered_bytes),
    Attack::new(
        "altered-open-bytes",
        "every byte of a message altered that is sent in clear, with integrity only",
        &[Rule::DataTag],
        altered_open_bytes,
    ),
    Attack::new(
        "altered-header",
        "a message under another sender, view, number, service or start",
        &[],
        altered_header,
    ),
    Attack::new(
        "private-eavesdropping",
        "a member and a hacked leader try to read a private message to somebody else",
        &[],
        private_eavesdropping,
    ),
    Attack::new("late-message", "a message held back until its view is over", &[Rule::OverlapEnds], late_message),
    Attack::new(
        "hostile-relay",
        "a hacked relay withholds, reorders and alters messages, and the network loses the honest copies of one",
        &[],
        hostile_relay,
    ),
];

const SERVICES: [(Service, &[u8]); 3] =
    [(Service::BestEffort, b"best effort"), (Service::Reliable, b"reliable"), (Service::Fifo, b"in order")];

fn data_replay(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let since = bench.passed.len();
    for (service, text) in SERVICES {
        bench.say(ana, service, text);
    }
    bench.pass(100);
    let old = bench.data_frames(since);
    let arrived = SERVICES.iter().all(|(_, text)| bench.times_heard(ben, text) > 0);
    made(old.len() >= 3 && arrived, "three messages were to be seen on the wire")?;
    bench.refresh();
    bench.pass(200);
    bench.say(ana, Service::Fifo, b"new");
    // Leader 4 relays the old frames again; the network repeats them on leader 1's link.
    for (lane, leader) in [(0, l(4)), (1, l(1))] {
        let down = need(bench.down(leader, ben), "ben has a link")?;
        let places = [usize::from(lane), 2];
        old.iter().enumerate().filter(|(place, _)| places.contains(place)).for_each(|(_, frame)| {
            bench.inject(lane, down.clone(), frame.clone());
        });
    }
    let to_ben = bench.is_down_to(ben);
    stage.window(&mut bench, to_ben)?;
    for (_, text) in SERVICES {
        let times = bench.times_heard(ben, text);
        let text = String::from_utf8_lossy(text);
        kept(times == 1, format!("ben was given \"{text}\" {times} times"))?;
    }
    go_on(&mut bench, ana, ben)?;
    Ok("4 old frames came again, before and after a new one: each message was delivered once".into())
}

fn private_replay(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let since = bench.passed.len();
    bench.whisper(ana, &["ben"], b"pay him");
    bench.pass(100);
    let old = bench.data_frames(since);
    made(bench.times_heard(ben, b"pay him") > 0, "the private message was to arrive")?;
    bench.whisper(ana, &["ben"], b"enough");
    for (lane, leader) in [(0, l(4)), (1, l(2))] {
        let down = need(bench.down(leader, ben), "ben has a link")?;
        old.iter().for_each(|frame| bench.inject(lane, down.clone(), frame.clone()));
    }
    let to_ben = bench.is_down_to(ben);
    stage.window(&mut bench, to_ben)?;
    let times = bench.times_heard(ben, b"pay him");
    kept(times == 1, format!("ben was given the private message {times} times"))?;
    kept(bench.times_heard(ben, b"enough") == 1, "the message after it was not delivered once")?;
    go_on(&mut bench, ana, ben)?;
    Ok("the old private message came again on two links: delivered once".into())
}

/// A member's program with the group's key and its own signing key, but another's name and number.
pub(super) fn forge(bench: &Bench, victim: usize, insider: usize, seq: u64, text: &[u8]) -> Option<Bytes> {
    let victim = bench.seat(victim).member.id()?.clone();
    let mut dice = crate::dice::Dice::new(3, "forger");
    let own = Identity::generate(victim.user.clone(), victim.incarnation, &mut dice.0);
    let me = Identity { id: victim, ..own };
    let mut view = KeyedView::new(bench.view(insider)?, Secret32::new(bench.key(insider)?));
    let shape = Shape::of(&bench.group.policy);
    Some(seal_multicast(&shape, &me, &mut view, (Service::Fifo, Seq(seq), Seq(1)), &topic(), text))
}

fn insider_origin(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.origin = Origin::Signature);
    let (ana, eve, ben) = (bench.member("ana"), bench.member("eve"), bench.member("ben"));
    // The forgery bears the number of the message that ana is about to send.
    let forged = need(forge(&bench, ana, eve, 1, b"send money"), "the insider has the group's key")?;
    bench.say(ana, Service::Fifo, b"hello");
    let down = need(bench.down(l(4), ben), "ben has a link")?;
    bench.inject(0, down.clone(), forged.clone());
    bench.inject(0, down, forged);
    let to_ben = bench.is_down_to(ben);
    stage.window(&mut bench, to_ben)?;
    kept(bench.times_heard(ben, b"send money") == 0, "ben was given a message that ana never sent")?;
    kept(bench.times_heard(ben, b"hello") == 1, "ana's own message of that number was not delivered once")?;
    go_on(&mut bench, ana, ben)?;
    Ok("the forgery was not delivered, ana's own message of the same number was".into())
}

fn insider_relay(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.origin = Origin::Group);
    let (ana, eve, ben) = (bench.member("ana"), bench.member("eve"), bench.member("ben"));
    let forged = need(forge(&bench, ana, eve, 2, b"send money"), "the insider has the group's key")?;
    bench.say(ana, Service::Fifo, b"hello");
    for leader in [1, 2, 3] {
        bench.inject(0, Route::Up(eve, l(leader)), forged.clone());
    }
    stage.window(&mut bench, |route, _| matches!(route, Route::Up(..)))?;
    kept(bench.times_heard(ben, b"send money") == 0, "honest leaders relayed eve's words as ana's")?;
    let accused = (1..=3).filter(|id| bench.faults_at(l(*id)).iter().any(|(_, f)| *f == Fault::BadData)).count();
    kept(accused == 3, format!("{accused} of 3 honest leaders noticed"))?;
    go_on(&mut bench, ana, ben)?;
    Ok("no honest leader relayed it; all three blamed eve".into())
}

fn random_text(bench: &mut Bench) -> Vec<u8> {
    bench.dice.bytes::<48>().to_vec()
}

/// Ana's next frame, taken off the wire: nobody has it yet.
fn intercept(bench: &mut Bench, ana: usize, service: Service, text: &[u8]) -> Result<Bytes, Ended> {
    bench.hold = Box::new(|route, _| matches!(route, Route::Up(..)));
    bench.say(ana, service, text);
    bench.pump();
    let frame = bench.held.iter().map(|(_, f)| f.clone()).find(|f| DataFrame::parse(f).is_ok());
    need(frame, "ana's frame was to be seen on the wire")
}

fn alter_all(stage: &mut Stage, policy: fn(&mut Policy)) -> Result<(usize, Bench, usize, usize), Ended> {
    let mut bench = stage.bench(policy);
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    let text = random_text(&mut bench);
    let frame = intercept(&mut bench, ana, Service::Fifo, &text)?;
    let mut altered = 0;
    for place in 0..frame.len() {
        let mut bytes = frame.to_vec();
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << (place % 8);
            altered += 1;
        }
        bench.push_down(ben, l(4), &Bytes::from(bytes));
        kept(bench.heard(ben).is_empty(), format!("ben was given a message with byte {place} altered"))?;
    }
    bench.release();
    let down = need(bench.down(l(4), ben), "ben has a link")?;
    let mut last = frame.to_vec();
    if let Some(byte) = last.last_mut() {
        *byte ^= 1;
    }
    bench.inject(0, down, Bytes::from(last));
    let to_ben = bench.is_down_to(ben);
    stage.window(&mut bench, to_ben)?;
    kept(bench.heard(ben) == [text], "the true message was not delivered exactly once")?;
    Ok((altered, bench, ana, ben))
}

fn altered_bytes(stage: &mut Stage) -> Result<String, Ended> {
    let (altered, mut bench, ana, ben) = alter_all(stage, |_| {})?;
    let named = bench.faults_of(ben, l(4)).contains(&Fault::Altered);
    kept(named, "the hacked leader was not named once the true message had come")?;
    go_on(&mut bench, ana, ben)?;
    Ok(format!(
        "{altered} alterations refused, the true message delivered, leader 4 named as one of two who may have altered it"
    ))
}

fn altered_open_bytes(stage: &mut Stage) -> Result<String, Ended> {
    let policy: fn(&mut Policy) = |policy| {
        policy.protection = Protection::Integrity;
        policy.origin = Origin::Group;
    };
    let mut bench = stage.bench(policy);
    let ana = bench.member("ana");
    let frame = intercept(&mut bench, ana, Service::Fifo, b"to be read by all")?;
    made(frame.windows(17).any(|w| w == b"to be read by all"), "integrity only leaves the text in clear")?;
    let (altered, mut bench, ana, ben) = alter_all(stage, policy)?;
    go_on(&mut bench, ana, ben)?;
    Ok(format!("anybody can read the text; {altered} alterations refused, the true message delivered"))
}

fn altered_header(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.origin = Origin::Group);
    let (ana, eve, ben) = (bench.member("ana"), bench.member("eve"), bench.member("ben"));
    let before = need(bench.view(ben), "ben is in")?.digest;
    bench.refresh();
    bench.pass(300);
    let text = random_text(&mut bench);
    let frame = intercept(&mut bench, ana, Service::Fifo, &text)?;
    let parsed = need(DataFrame::parse(&frame).ok(), "ana's frame")?;
    let eves = need(bench.seat(eve).member.id().cloned(), "eve is in")?;
    let forgeries = headers(parsed.header(), &eves, before);
    let down = need(bench.down(l(4), ben), "ben has a link")?;
    let count = forgeries.len();
    for header in forgeries {
        let prefix = [vec![codec::WIRE_VERSION, ringfort_protocol::wire::DATA_TAG], codec::encode(&header)].concat();
        bench.inject(0, down.clone(), Bytes::from([prefix.as_slice(), parsed.body()].concat()));
    }
    bench.release();
    let to_ben = bench.is_down_to(ben);
    stage.window(&mut bench, to_ben)?;
    bench.pass(1_000);
    let heard = bench.heard(ben);
    kept(heard == [text], format!("ben was given {} messages", heard.len()))?;
    go_on(&mut bench, ana, ben)?;
    Ok(format!("{count} altered headers refused, the true message delivered once"))
}

/// The same frame under another sender, view, number, service and start.
fn headers(header: &DataHeader, eve: &ringfort_protocol::MemberId, before: ViewDigest) -> Vec<DataHeader> {
    let FrameKind::Multicast { service, seq, view_start } = header.kind.clone() else { return Vec::new() };
    let kind = |service, seq, view_start| FrameKind::Multicast { service, seq, view_start };
    let mut earlier = header.clone();
    earlier.sender.incarnation.0 += 1;
    vec![
        DataHeader { sender: eve.clone(), ..header.clone() },
        earlier,
        DataHeader { view: before, ..header.clone() },
        DataHeader { kind: kind(service, Seq(seq.0 + 1), view_start), ..header.clone() },
        DataHeader { kind: kind(Service::Reliable, seq, view_start), ..header.clone() },
        DataHeader { kind: kind(Service::BestEffort, seq, view_start), ..header.clone() },
        DataHeader { kind: kind(service, Seq(seq.0 + 2), Seq(view_start.0 + 2)), ..header.clone() },
    ]
}

fn private_eavesdropping(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, eve, ben) = (bench.member("ana"), bench.member("eve"), bench.member("ben"));
    let since = bench.passed.len();
    bench.whisper(ana, &["ben"], b"between us");
    bench.pump();
    let frames = bench.frames(since, |_, frame| DataFrame::parse(frame).is_ok());
    let up = need(frames.iter().find(|(route, _)| matches!(route, Route::Up(..))), "ana's frame")?.1.clone();
    let relayed = frames.iter().filter(|(route, _)| matches!(route, Route::Down(..)));
    kept(relayed.clone().count() > 0 && relayed.clone().all(|(_, f)| *f == up), "leaders changed what they relayed")?;
    let to_eve = bench.is_down_to(eve);
    kept(relayed.clone().all(|(route, frame)| !to_eve(route, frame)), "an honest leader relayed it to eve")?;
    made(!up.windows(10).any(|w| w == b"between us"), "the text is not in clear")?;
    // Leader 4 hands it to eve, as it is and readdressed.
    bench.push_down(eve, l(4), &up);
    let parsed = need(DataFrame::parse(&up).ok(), "ana's frame")?;
    let mut header = parsed.header().clone();
    if let FrameKind::Private { to } = &header.kind {
        let renamed =
            to.iter().map(|r| ringfort_protocol::data::Recipient { user: "eve".parse().expect("a name"), ..r.clone() });
        let to = need(ringfort_protocol::data::Recipients::new(renamed.collect()), "one recipient")?;
        header.kind = FrameKind::Private { to };
    }
    let prefix = [vec![codec::WIRE_VERSION, ringfort_protocol::wire::DATA_TAG], codec::encode(&header)].concat();
    bench.push_down(eve, l(4), &Bytes::from([prefix.as_slice(), parsed.body()].concat()));
    kept(bench.heard(eve).is_empty(), "eve read a private message to ben")?;
    kept(bench.faults_of(eve, l(4)).contains(&Fault::BadRelay), "leader 4 was not blamed for a stray private message")?;
    kept(bench.times_heard(ben, b"between us") == 1, "ben was not given it once")?;
    go_on(&mut bench, ana, ben)?;
    Ok("leaders relayed the sealed bytes as they were; eve could not open them, and blamed leader 4".into())
}

fn late_message(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let (ana, ben) = (bench.member("ana"), bench.member("ben"));
    bench.pass(500);
    let late = intercept(&mut bench, ana, Service::BestEffort, b"late")?;
    bench.hold = Box::new(|_, _| false);
    bench.refresh();
    bench.pass(5_000);
    bench.push_down(ben, l(4), &late);
    kept(bench.heard(ben).is_empty(), "a message was read three seconds after its overlap")?;
    kept(bench.faults_of(ben, l(4)).contains(&Fault::OldView), "nobody noted that the message was old")?;
    Ok("a message from before the rekey was not read once the overlap had ended".into())
}

/// A bench with a sender that relays through leader 4 and another leader.
pub(super) fn sender_through_4(stage: &Stage) -> Result<(Bench, usize, usize, LeaderId), Ended> {
    let mut bench = stage.bench(|_| {});
    let ben = bench.member("ben");
    for name in ["ana", "amy", "abe", "ada", "ali"] {
        let sender = bench.member(name);
        let relays = bench.seat(sender).member.relays();
        if let Some(other) = relays.iter().find(|leader| **leader != l(4)).filter(|_| relays.contains(&l(4))) {
            return Ok((bench, sender, ben, *other));
        }
    }
    Err(Ended::NotMade("nobody relays through leader 4".into()))
}

fn hostile_relay(stage: &mut Stage) -> Result<String, Ended> {
    let (mut bench, ana, ben, other) = sender_through_4(stage)?;
    let texts: Vec<Vec<u8>> = (0..4).map(|i| format!("message {i}").into_bytes()).collect();
    let from = bench.passed.len();
    bench.hold = Box::new(|route, frame| matches!(route, Route::Down(..)) && DataFrame::parse(frame).is_ok());
    texts.iter().for_each(|text| assert!(bench.say(ana, Service::Fifo, text)));
    bench.pump();
    made(!bench.data_frames(from).is_empty(), "frames went up")?;
    let held = std::mem::take(&mut bench.held);
    bench.hold = Box::new(|_, _| false);
    let to_ben = bench.is_down_to(ben);
    let mine = |leader: LeaderId| held.iter().filter(move |(r, _)| matches!(r, Route::Down(by, _) if *by == leader));
    let by_4: Vec<_> = mine(l(4)).filter(|(route, frame)| to_ben(route, frame)).cloned().collect();
    let by_other: Vec<_> = mine(other).filter(|(route, frame)| to_ben(route, frame)).cloned().collect();
    made(by_4.len() == 4 && by_other.len() == 4, "both relays had all frames")?;
    // Leader 4: the last first, the second altered, the first withheld. The network loses the other's third.
    let mut altered = by_4.get(1).cloned().expect("four");
    let mut bytes = altered.1.to_vec();
    let middle = bytes.len() - 70;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 0x55;
    }
    let true_copy = std::mem::replace(&mut altered.1, Bytes::from(bytes));
    let altered_copy = altered.clone();
    let altered = altered.1;
    for (route, frame) in [by_4.get(3).cloned().expect("four"), altered_copy] {
        bench.inject(4, route, frame);
    }
    for (route, frame) in by_other.iter().enumerate().filter(|(place, _)| *place != 2).map(|(_, f)| f.clone()) {
        bench.inject(other.number(), route, frame);
    }
    let lost = bench.heard(ben).len();
    stage.window(&mut bench, &to_ben)?;
    made(lost == 0 && bench.times_heard(ben, b"message 2") == 0, "the third message was to be lost on the way")?;
    bench.pass(3_000);
    let heard = bench.heard(ben);
    kept(
        heard == texts,
        format!("ben heard {:?}", heard.iter().map(|t| String::from_utf8_lossy(t)).collect::<Vec<_>>()),
    )?;
    // An altered copy is looked at only if it comes before the true one.
    let copies = bench.frames(from, |route, frame| to_ben(route, frame) && (*frame == altered || *frame == true_copy));
    let altered_first = copies.first().is_some_and(|(_, frame)| *frame == altered);
    let named = bench.faults_of(ben, l(4)).contains(&Fault::Altered);
    kept(named == altered_first, format!("altered first: {altered_first}, and named: {named}"))?;
    kept(bench.faults_of(ben, other).is_empty(), "an honest relay was blamed")?;
    go_on(&mut bench, ana, ben)?;
    Ok("all four messages in order, each once, the lost one repaired; nobody honest blamed".into())
}
