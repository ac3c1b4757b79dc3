//! Seeds: true messages and true files, from which fuzzing starts.

use std::time::Duration;

use rand_core::Rng;
use ringfort_crypto::sign::Signature;
use ringfort_node::folder::{OperatorRequest, texts};
use ringfort_protocol::codec::{encode, encode_frame};
use ringfort_protocol::coordination::{LifeRecord, SessionOrder};
use ringfort_protocol::data::Identity;
use ringfort_protocol::delivery::{Channel, RepairRequest, StreamKey};
use ringfort_protocol::ids::{Seq, ViewDigest, ViewId};
use ringfort_protocol::keys::{Base, ViewClaim};
use ringfort_protocol::leader::Record;
use ringfort_protocol::login::{Registration, WireSignature};
use ringfort_protocol::policy::Service;
use ringfort_protocol::statement::Statement;
use ringfort_protocol::view::{Cause, Change, MemberEntry};
use ringfort_protocol::wire::{self, LeaderNotice, MemberRequest, PeerMessage, Sorted};
use ringfort_protocol::{Epoch, Incarnation, LeaderId, MemberId, Policy, SessionNumber};
use ringfort_services::kv::{
    Change as KvChange, Condition, Delete, Event, Failed, KeyValue, KvReply, KvRequest, LeaseInfo, Operation,
    OperationResult, Outcome, Position, Put, Range, Read, Refusal, Transacted, Transaction,
};
use ringfort_services::{Answer, Request, Stay};

use crate::fixture::{fixture, key_of, rng, user};
use crate::stage::{Route, Stage};

/// The seeds of a target.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "wire" => wire_seeds(),
        "data_frame" => {
            passed().into_iter().filter(|(_, frame)| wire::sort(frame) == Ok(Sorted::Data)).map(|f| f.1).collect()
        }
        "group_file" => vec![group_text().into_bytes()],
        "policy_file" => policy_seeds(),
        "leader_secrets" => secrets_seeds(),
        "enrolment" => enrolment_seeds(),
        "user_files" => user_seeds(),
        "operator_request" => requests(),
        "proofs" => crate::proofs::proof_seeds(),
        "store" => store_seeds(),
        "leader_ops" => chance_seeds(21),
        "member_ops" => chance_seeds(22),
        "peer_frame" => crate::peer::peer_seeds().1,
        "peer_site" => vec![crate::peer::peer_seeds().0],
        "spread_session" => crate::peer::spread_seeds(),
        "ttcb" => crate::ttcb::ttcb_seeds(),
        _ => Vec::new(),
    }
}

/// Any bytes are operations.
fn chance_seeds(seed: u64) -> Vec<Vec<u8>> {
    let mut chance = rng(seed);
    let draw = |length: usize| {
        let mut bytes = vec![0; length];
        chance.fill_bytes(&mut bytes);
        bytes
    };
    std::iter::repeat_n([96, 192, 384, 768], 16).flatten().map(draw).collect()
}

/// The frames of a group in which two users join, talk, and one is expelled.
fn passed() -> Vec<(Route, Vec<u8>)> {
    let all: Vec<LeaderId> = LeaderId::all(4).collect();
    let mut stage = Stage::new(false);
    let (ana, bo) = (stage.sit("ana"), stage.sit("bo"));
    let patience = Duration::from_secs(10);
    stage.until("both are in", &all, patience, |s| s.sees(ana, &["ana", "bo"]) && s.sees(bo, &["ana", "bo"]));
    for at in &all {
        stage.eve_logs_in(*at, 1);
    }
    stage.says(ana, "hello");
    stage.whispers(bo, "ana", "hello");
    stage.pass(Duration::from_millis(1_500));
    stage.true_frames(|_| true).into_iter().map(|(route, frame)| (route, frame.to_vec())).collect()
}

fn tagged(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], body].concat()
}

fn wire_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (route, frame) in passed() {
        if let Ok(Sorted::Plain(body)) = wire::sort(&frame) {
            let kind = match route {
                Route::Up(..) => 0,
                Route::Down(..) => 1,
                Route::Peer(..) => 4,
            };
            seeds.push(tagged(kind, body));
        }
        seeds.push(tagged(5, &frame));
    }
    seeds.extend(requests_of_members().iter().map(|request| tagged(2, &encode(request))));
    for notice in notices() {
        seeds.push(tagged(3, &encode(&notice)));
        seeds.push(tagged(6, &encode_frame(&notice)));
    }
    seeds.push(tagged(4, &encode(&PeerMessage::Buckets(vec![[3; 32]; 4]))));
    seeds.push(tagged(7, &[0, 0]));
    seeds.push(tagged(7, &[12, 1, 2, 3]));
    seeds.extend(services_seeds());
    seeds.retain(|seed| seed.len() <= 2048);
    seeds
}

fn services_seeds() -> Vec<Vec<u8>> {
    let (group, me) = (fixture().group.id(), Identity::generate(user("ana"), Incarnation(1), &mut rng(6)));
    let requests = store_requests();
    let sign = |digest: &[u8; 32]| me.signing.sign(wire::SERVICE_LABEL, &[digest]);
    let first = requests.first().map(encode).unwrap_or_default();
    let request = Request::signed(&group, &Stay::from(&me.entry()), 3, first, sign);
    let (key, number, place) = ([7; 32], 3, 5);
    let answers = [
        Answer::Done { key, number, place, reply: vec![1, 2, 3] },
        Answer::Forgotten { key, number, place, kept: Some(vec![1]) },
        Answer::Forgotten { key, number, place: 0, kept: None },
        Answer::Later { key, number, place, note: vec![4] },
    ];
    let mut seeds = vec![tagged(8, &request.encode())];
    seeds.extend(answers.iter().map(|answer| tagged(9, &encode(answer))));
    seeds.extend(requests.iter().map(|request| tagged(10, &encode(request))));
    seeds.extend(store_outcomes().map(|outcome| tagged(11, &encode(&KvReply { revision: 3, outcome }))));
    seeds
}

fn store_requests() -> Vec<KvRequest> {
    let (range, after) = (Range::prefix(b"col"), Position { revision: 2, changes: 1 });
    let conditions = vec![Condition::revision(b"colour", 2), Condition::value(b"valve", b"open")];
    let then = vec![
        Operation::Put(Put { value: None, previous: true, ..Put::leased(b"valve", b"", 7) }),
        Operation::Delete(Delete { range: Range::between(b"a", b"b"), previous: true }),
        Operation::Read(Read::count(range.clone())),
    ];
    let otherwise = vec![Operation::get(b"colour"), Operation::Read(Read::first_created(Range::all()))];
    vec![
        KvRequest::Transact(Transaction { conditions, then, otherwise }),
        KvRequest::LeaseGrant { id: 7, ttl_s: 60 },
        KvRequest::LeaseRenew { id: 7 },
        KvRequest::LeaseRevoke { id: 7 },
        KvRequest::LeaseInfo { id: 7, keys: true },
        KvRequest::LeaseList,
        KvRequest::Changes { range: range.clone(), after, limit: 9, previous: true },
        KvRequest::Wait { slot: 1, range, after: 2 },
    ]
}

fn store_outcomes() -> impl Iterator<Item = Outcome> {
    let (key, value, writer) = (b"colour".to_vec(), b"red".to_vec(), user("ana"));
    let entry = KeyValue { key, value, created: 1, modified: 2, version: 2, lease: 7, writer, time_us: 7 };
    let upto = Position { revision: 3, changes: 2 };
    let results = vec![
        OperationResult::Put { existed: true, previous: Some(entry.clone()) },
        OperationResult::Deleted { count: 1, previous: vec![entry.clone()] },
        OperationResult::Count(4),
        OperationResult::Read { entries: vec![entry.clone()], more: true },
    ];
    let put = Event { position: upto, change: KvChange::Put(entry.clone()), previous: Some(entry.clone()) };
    let gone = Event { position: upto, change: KvChange::Deleted { key: entry.key.clone() }, previous: None };
    let keys = vec![entry.key];
    [
        Outcome::Refused(Refusal::NoLease),
        Outcome::Transacted(Transacted { failed: None, results: Some(results) }),
        Outcome::Transacted(Transacted { failed: Some(Failed { condition: 1, modified: 2 }), results: None }),
        Outcome::Leased { id: 7, ttl_s: 60 },
        Outcome::Revoked,
        Outcome::LeaseInfo(LeaseInfo { ttl_s: 60, remaining_us: 5, user: entry.writer, keys, more: false }),
        Outcome::Leases(vec![7, 8]),
        Outcome::Changes { events: vec![put, gone], upto, more: true },
        Outcome::Compacted { oldest: 2 },
        Outcome::Changed,
        Outcome::Replaced,
    ]
    .into_iter()
}

fn some_entry(name: &str) -> MemberEntry {
    Identity::generate(user(name), Incarnation(1), &mut rng(6)).entry()
}

fn some_view() -> ViewId {
    ViewId { epoch: Epoch(3), digest: ViewDigest([7; 32]) }
}

fn some_repair() -> RepairRequest {
    let sender = MemberId { user: user("ana"), incarnation: Incarnation(1) };
    let stream = StreamKey { sender, channel: Channel::Group(Service::Fifo) };
    RepairRequest::new(stream, Seq(1), Seq(3)).expect("a sound range")
}

fn requests_of_members() -> Vec<MemberRequest> {
    vec![
        MemberRequest::Heartbeat { challenge: [1; 16], answer: [2; 16], installed: Some(some_view()) },
        MemberRequest::Claim { have: Some(some_view().digest) },
        MemberRequest::PastClaim(some_view().digest),
        MemberRequest::Snapshot { view: some_view().digest, after: Some(user("ana")) },
        MemberRequest::Repair(some_repair()),
        MemberRequest::Leave,
    ]
}

fn notices() -> Vec<LeaderNotice> {
    let statement = Statement { at_ms: 7, signature: WireSignature(Signature::from_bytes([6; 64])) };
    let claim = |base, changes| {
        let (view, share) = (some_view(), [4; 128]);
        ViewClaim { number: 2, view, refreshes: 1, base, changes, share, statement }
    };
    let changes = vec![Change::Added(some_entry("ana")), Change::Removed(user("bo"), Cause::Expelled)];
    let view = some_view();
    vec![
        LeaderNotice::Claim(claim(Base::Empty, vec![Change::Added(some_entry("ana"))])),
        LeaderNotice::Claim(claim(Base::View(view.digest), changes)),
        LeaderNotice::PastClaim(claim(Base::Omitted, Vec::new())),
        LeaderNotice::Snapshot { view: view.digest, after: None, entries: vec![some_entry("ana")], last: true },
        LeaderNotice::HeartbeatAnswer { answer: [1; 16], challenge: [2; 16], view },
        LeaderNotice::Wanted(some_repair()),
        LeaderNotice::Ended { cause: Cause::Left, epoch: Epoch(4) },
    ]
}

fn group_text() -> String {
    ringfort_documents::texts::group_text(&fixture().group).expect("the fixture can be written")
}

fn policy_seeds() -> Vec<Vec<u8>> {
    let group = group_text();
    let written =
        group.lines().skip_while(|line| *line != "[policy]").skip(1).take_while(|line| !line.starts_with('['));
    let written: Vec<&str> = written.collect();
    vec![
        tagged(0, &encode(&Policy::default())),
        tagged(0, &encode(&fixture().group.policy)),
        tagged(1, written.join("\n").as_bytes()),
        tagged(1, b"protection = \"none\"\nheartbeat_ms = 100\n"),
        tagged(1, b""),
    ]
}

fn secrets_seeds() -> Vec<Vec<u8>> {
    let text = |secrets| texts::leader_secrets_text(&fixture().group, secrets).as_bytes().to_vec();
    fixture().secrets.iter().map(text).collect()
}

fn enrolment_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for record in fixture().records.iter().step_by(3) {
        seeds.push(tagged(0, &encode(record)));
        seeds.push(tagged(2, texts::record_text(record).as_bytes()));
        let mail = format!("Dear operator,\n\n  {}\nAna\n", texts::record_text(record).replace('\n', "\n  "));
        seeds.push(tagged(2, mail.as_bytes()));
    }
    for record in &fixture().records {
        let at_1 = record.open(&fixture().group, &fixture().secrets[0]);
        seeds.extend(at_1.map(|registration| tagged(1, &registration.to_bytes())));
    }
    seeds.push(tagged(1, &[&[1][..], &[9; 32]].concat()));
    seeds.push(tagged(1, &Registration::Key(key_of("ana").verifying_key()).to_bytes()));
    seeds
}

fn user_seeds() -> Vec<Vec<u8>> {
    let certificate = &fixture().certificate;
    let public = ringfort_documents::public_key_text(&key_of("ana").verifying_key());
    let users = format!(
        "[[user]]\nname = \"ana\"\nkey = \"{public}\"\n[[user]]\nname = \"pia\"\npassword = \"correct horse\"\n"
    );
    vec![
        tagged(0, &encode(certificate)),
        tagged(
            1,
            ringfort_documents::texts::certificate_text(certificate).expect("a certificate can be written").as_bytes(),
        ),
        tagged(2, users.as_bytes()),
        tagged(3, ringfort_documents::texts::user_key_text(&key_of("ana")).as_bytes()),
        tagged(4, public.as_bytes()),
    ]
}

fn requests() -> Vec<Vec<u8>> {
    let record = fixture().records[0].clone();
    let end = OperatorRequest::Session(SessionOrder::End(SessionNumber::FIRST));
    [OperatorRequest::Accept(record), OperatorRequest::Expel(user("ana")), OperatorRequest::Refresh, end]
        .iter()
        .map(|request| texts::request_text(request).expect("a request can be written").into_bytes())
        .collect()
}

fn store_seeds() -> Vec<Vec<u8>> {
    let lives: Vec<LifeRecord> = crate::store::records()
        .into_iter()
        .filter_map(|record| match record {
            Record::Life(life) => Some(life),
            Record::Registration(..) | Record::Attempts(_) | Record::CatchingUp(_) => None,
        })
        .collect();
    let mut seeds: Vec<Vec<u8>> = lives.iter().map(|life| tagged(0, &encode(life))).collect();
    let mut chance = rng(23);
    for length in std::iter::repeat_n([8, 24, 64], 16).flatten() {
        let mut bytes = vec![0; length];
        chance.fill_bytes(&mut bytes);
        seeds.push(tagged(1, &bytes));
    }
    seeds.push(vec![1]);
    seeds
}
