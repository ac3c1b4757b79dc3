//! The trusted component: both of its formats, and a component under whatever comes to its doors.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::sign::SigningKey;
use ringfort_kernel::{Cx, Time};
use ringfort_ttcb::core::call::{CALL_BODY_BYTES, CALL_BYTES, Call, Function, Kind, Refusal, Reply, Timing, clear};
use ringfort_ttcb::core::frame::{BODY_BYTES, Body, ClockWord, FRAME_BYTES, HEADER_BYTES, Header, Proposals, Record};
use ringfort_ttcb::core::group::{Group, Secrets};
use ringfort_ttcb::core::ids::{COMPONENTS_MAX, Decision, Entity, Epoch, Index, Mask};
use ringfort_ttcb::core::instance::Terms;
use ringfort_ttcb::core::{Component, Setup};

/// One meaning has one encoding, in requests, answers and frames; and a component answers or ignores whatever comes.
pub fn ttcb(bytes: &[u8]) {
    let body = padded::<CALL_BODY_BYTES>(bytes);
    if let Some(call) = Call::decode(&body) {
        assert_eq!(call.encode(), body, "a call has one encoding");
    }
    if let Some(reply) = Reply::decode(&body) {
        assert_eq!(reply.encode(), body, "a reply has one encoding");
    }
    let body = padded::<BODY_BYTES>(bytes);
    if let Some(frame) = Body::decode(&body) {
        assert_eq!(frame.encode(), body, "a frame has one encoding");
    }
    let head = padded::<HEADER_BYTES>(bytes);
    if let Some(header) = Header::decode(&head) {
        assert_eq!(header.encode(), head, "a header has one encoding");
    }
    under(bytes);
}

fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut padded = [0; N];
    padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    padded
}

/// A component that nobody who has no key can make do anything.
fn under(bytes: &[u8]) {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let secrets: Vec<Secrets> = (0..3)
        .map(|_| Secrets { signing: SigningKey::generate(&mut rng), exchange: KemSecret::generate(&mut rng) })
        .collect();
    let members = secrets.iter().zip(["one", "two", "three"]).map(|(secret, name)| secret.member(name)).collect();
    let group = Group::new(members).unwrap();
    let setup = Setup { group, me: Index::new(0).unwrap(), secrets: secrets[0].clone(), epoch: Epoch(1) };
    let mut cx = Cx { now: Time::ZERO, unix_ms: 0, rng: &mut rng };
    let mut component = Component::new(setup, &mut cx);
    let place = component.connected(cx.now, 1).unwrap();
    component.on_frame(cx.now, bytes);
    component.on_frame(cx.now, &padded::<FRAME_BYTES>(bytes));
    let answer = component.on_request(&mut cx, place, &padded::<CALL_BYTES>(bytes));
    assert_ne!(answer[1], Kind::Sealed as u8, "nothing is answered under a key that nobody has");
    let status = component.status(cx.now);
    assert_eq!((status.heard.count(), status.error_us), (1, None), "nobody was heard");
    let mut sent = 0;
    component.on_round(cx.now, &mut |_, _| sent += 1);
    assert_eq!(sent, 2, "one frame to each peer, whatever came");
}

/// A request of each kind, answers, a greeting, and a frame that is full.
pub(crate) fn ttcb_seeds() -> Vec<Vec<u8>> {
    let listed: Mask = (0..COMPONENTS_MAX).filter_map(Index::new).collect();
    let entities = [Entity { epoch: Epoch(3), key: [7; 12] }; COMPONENTS_MAX];
    let terms = Terms { decision: Decision::Equality, start_us: 1 << 50, name: 9, listed, entities };
    let tag = terms.tag(&[1; 32]);
    let index = Index::new(2).unwrap();
    let calls = [
        Call::Status,
        Call::Random,
        Call::Timestamp([4; 32]),
        Call::Propose(terms, [5; 32]),
        Call::Decide(tag),
        Call::BlockOf(tag, index),
        Call::StartMeasure,
        Call::Execute(Function::Alarm, 1, 2, [6; 32]),
        Call::Watch(77),
        Call::Done(1),
    ];
    let replies = [
        Reply::Random([1; 64]),
        Reply::Timestamp(1, 2, [3; 64]),
        Reply::Proposed(tag),
        Reply::TimingFailure,
        Reply::BlockOf(Some([8; 32])),
        Reply::Executed(Timing::Met, 5, [6; 64]),
        Reply::Refused(Refusal::Full),
    ];
    let mut proposals = Proposals::default();
    listed.iter().for_each(|index| proposals.insert(index, [index.get() + 1; 32]));
    let record = Record {
        tag,
        listed,
        decision: terms.decision,
        start_us: terms.start_us,
        epochs: terms.epochs(),
        promised: 33,
        accepted: 17,
        decided: false,
        proposals,
    };
    let clock = ClockWord { sent_us: 1, group_us: 2, steady: true, echo_us: 3, held_us: 4 };
    let body = Body { echo_epoch: Epoch(2), echo_boot: [9; 16], clock, records: [Some(record), None] };
    let header = Header { from: index, to: Index::new(0).unwrap(), epoch: Epoch(4), boot: [5; 16], number: 6 };
    let mut seeds: Vec<Vec<u8>> = calls.iter().map(|call| call.encode().to_vec()).collect();
    seeds.extend(replies.iter().map(|reply| reply.encode().to_vec()));
    seeds.push(body.encode().to_vec());
    seeds.push([&header.encode()[..], &body.encode(), &[0; 16]].concat());
    seeds.push(clear(Kind::Hello, 0, &[&[9; 32], &[1; 32]]).to_vec());
    seeds
}
