//! What one leader does with single frames and records: no network, no simulation.

use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

use super::*;
use crate::block::{Body, Evidence};
use crate::checkpoint::{Certificate, Parts, State, Statement};
use crate::ids::Digest;
use crate::rules::Rules;
use crate::testing::{EPOCH, author, first, group, stated, statement};

fn at(millis: u64) -> Time {
    Time::from_start(Duration::from_millis(millis))
}

fn with<T>(millis: u64, does: impl FnOnce(&mut Cx<'_>) -> T) -> T {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    does(&mut Cx { now: at(millis), unix_ms: 1_700_000_000_000, rng: &mut rng })
}

fn start(keys: &[Arc<dyn Keys>], memory: Memory) -> (Agreement, Step) {
    let n = u8::try_from(keys.len()).unwrap();
    let config = Config::new(author(0), EPOCH, Rules::new(n, (n - 1) / 3).unwrap());
    with(0, |cx| Agreement::start(cx, config, keys[0].clone(), memory))
}

/// A state at a position, certified by two of four leaders.
fn certified(keys: &[Arc<dyn Keys>], position: u64) -> (Certificate, State, Parts) {
    let log = Log { position, index: position, ..Log::default() };
    let state = State { log, application: vec![7; 100] };
    let parts = Parts::of(&state).unwrap();
    let says = Statement { state: parts.digest(), state_bytes: parts.bytes().len() as u64, ..statement(position, 0) };
    let signatures = [1, 2].map(|place| (author(place), stated(keys, place, says).signature)).to_vec();
    (Certificate { statement: says, signatures }, state, parts)
}

fn installed(step: &Step) -> Vec<u64> {
    let position = |event: &Event| match event {
        Event::Installed { position, .. } => Some(*position),
        _ => None,
    };
    step.events.iter().filter_map(position).collect()
}

#[test]
fn the_log_goes_on_behind_a_later_state_and_never_back() {
    let keys = group(4, 1);
    let (mut core, _) = start(&keys, Memory::New);
    let mut install = |position: u64| {
        let (certificate, state, parts) = certified(&keys, position);
        with(1, |cx| {
            core.install(cx, certificate, state, parts);
            core.settle(cx)
        })
    };
    assert_eq!(installed(&install(10)), [10]);
    for position in [9, 10] {
        assert!(installed(&install(position)).is_empty());
    }
    assert_eq!(installed(&install(11)), [11]);
}

#[test]
fn a_leader_whose_message_a_state_passed_by_does_not_rest() {
    let keys = group(4, 1);
    let (mut core, _) = start(&keys, Memory::New);
    let _ = with(1, |cx| core.submit(cx, b"m".to_vec())).unwrap();
    assert_eq!(core.own_round(), 1, "the message is in a block, which nobody has taken");
    let (certificate, state, parts) = certified(&keys, 10);
    with(2, |cx| core.install(cx, certificate, state, parts));
    assert!(!core.is_idle(), "the state does not have the message, and nothing else makes it move");
}

#[test]
fn a_leader_that_was_started_again_carries_nothing_before_a_quorum_said_how_far_it_is() {
    let keys = group(4, 1);
    let empty = |place| Body { payload: Vec::new(), ..first(place, b"") };
    let block = |place: u8| Sealed::sign(empty(place), &*keys[usize::from(place)]).block().clone();
    let blocks = (0..4).map(|place| Record::Block(block(place))).collect();
    let (mut core, _) = start(&keys, Memory::Kept(blocks));
    let carried = |core: &Agreement| {
        let payloads = core.own.values().flat_map(|own| messages(&own.sealed.body().payload));
        payloads.filter(|message| *message == b"new").count()
    };
    let _ = with(1, |cx| core.submit(cx, b"new".to_vec())).unwrap();
    for place in [1, 2] {
        assert_eq!(carried(&core), 0, "before leader {place} has said anything");
        let status = Frame::Status(Status { quorum_round: 1, lowest: 1, ..Status::default() }).encode();
        let _ = with(100, |cx| core.on_frame(cx, author(place), &status));
    }
    let _ = with(1000, |cx| core.on_wakeup(cx));
    assert_eq!(carried(&core), 1, "two others and itself are a quorum");
}

#[test]
fn a_state_on_disk_is_used_only_if_it_is_the_certified_one() {
    let keys = group(4, 1);
    let (certificate, mut state, parts) = certified(&keys, 10);
    let started = |certificate: &Certificate, parts: &Parts| {
        let (certificate, state) = (certificate.clone(), parts.bytes().clone());
        let record = Record::Checkpoint { certificate, state, made_up_to: Some(40), floor: 0 };
        let (core, step) = start(&keys, Memory::Kept(vec![record]));
        assert_eq!(core.own_round(), 40, "its own word it keeps in any case");
        installed(&step)
    };
    assert_eq!(started(&certificate, &parts), [10]);

    state.application[3] ^= 1;
    let altered = Parts::of(&state).unwrap();
    assert!(started(&certificate, &altered).is_empty(), "other bytes than the certified ones");

    let mut fits = certificate.clone();
    fits.statement.state = altered.digest();
    assert!(started(&fits, &altered).is_empty(), "bytes that nobody signed for");

    let mut alone = certificate.clone();
    alone.signatures.truncate(1);
    assert!(started(&alone, &parts).is_empty(), "one signature of two");
    let twice = Certificate { signatures: vec![certificate.signatures[0]; 2], ..certificate };
    assert!(started(&twice, &parts).is_empty(), "one signer twice");
}

fn accusing(n: u8, keys: &dyn Keys) -> bytes::Bytes {
    let accused = |place: u8| Evidence {
        author: author(place),
        round: 1,
        signed: [(Digest([1; 32]), [1; 64]), (Digest([2; 32]), [1; 64])],
    };
    let body = Body { evidence: (0..n.min(4)).map(accused).collect(), ..first(1, b"m") };
    Frame::Block(Sealed::sign(body, keys).block().as_ref().clone()).encode()
}

fn certificate_of_all(n: u8) -> bytes::Bytes {
    let signatures = Author::all(n).map(|author| (author, [1; 64])).collect();
    Frame::Certificate(Certificate { statement: statement(8, 1), signatures }).encode()
}

/// Frames that are read in a second, and their signatures, once the peer has spent what it had saved.
fn admitted(core: &mut Agreement, from: Author, frame: &[u8], seconds: u64) -> (u64, u64) {
    while core.open(at(1000 * seconds), from, frame).is_some() {}
    let (mut frames, mut signatures) = (0, 0);
    while let Some(opened) = core.open(at(1000 * (seconds + 1)), from, frame) {
        frames += 1;
        signatures += opened.map_or(0, |opened| opened.signatures() as u64);
    }
    (frames, signatures)
}

#[test]
fn what_a_peer_may_make_a_leader_check_is_counted_in_signatures() {
    for (n, f) in [(4u8, 1), (7, 2), (64, 21)] {
        let keys = group(n.into(), f);
        let (mut core, _) = start(&keys, Memory::New);
        let frames = [accusing(n, &*keys[1]), certificate_of_all(n)];
        for (frame, seconds) in frames.into_iter().zip([0, 10]) {
            let (frames, signatures) = admitted(&mut core, author(1), &frame, seconds);
            let busy = signatures as f64 * 59e-6;
            assert!(signatures > 1000 && busy < 0.3, "n = {n}: {frames} frames, {signatures} signatures, {busy} s");
            assert!(core.open(at(1000 * (seconds + 1)), author(2), &frame).is_some(), "another pays for itself");
        }
    }
}

#[test]
fn a_peer_that_sent_a_signature_which_does_not_fit_may_make_a_leader_check_far_less() {
    let keys = group(4, 1);
    let (mut core, _) = start(&keys, Memory::New);
    let frame = accusing(4, &*keys[1]);
    let (_, before) = admitted(&mut core, author(1), &frame, 0);
    let step = with(9000, |cx| core.on_frame(cx, author(1), &frame));
    assert_eq!(step.events, [Event::Blamed(author(1), Fault::BadSignature)]);
    let (_, after) = admitted(&mut core, author(1), &frame, 20);
    assert!(after > 0 && after * 7 < before, "{before} signatures a second, then {after}");
}

#[test]
fn what_is_known_is_neither_checked_nor_written_again() {
    let keys = group(4, 1);
    let (mut core, _) = start(&keys, Memory::New);
    let block = Frame::Block(Sealed::sign(first(1, b"m"), &*keys[1]).block().as_ref().clone()).encode();
    let said = Frame::Statement(stated(&keys, 1, statement(8, 1))).encode();
    for frame in [block, said] {
        let opened = core.open(at(1), author(1), &frame).unwrap().unwrap();
        assert_eq!(opened.signatures(), 1);
        let _ = with(1, |cx| core.on_frame(cx, author(1), &frame));
        assert!(core.open(at(1), author(1), &frame).is_none());
    }
}

#[test]
fn nothing_that_a_peer_says_of_itself_overflows_or_is_answered_without_end() {
    let keys = group(4, 1);
    let (mut core, _) = start(&keys, Memory::New);
    let status = Status {
        quorum_round: u64::MAX,
        lowest: u64::MAX,
        have: vec![u64::MAX; 64],
        checkpoint: u64::MAX,
        wants_round: u64::MAX,
        question: u64::MAX,
    };
    let mut answers = 0;
    for millis in 0..1000 {
        for _ in 0..4 {
            let frame = Frame::Status(status.clone()).encode();
            let step = with(millis, |cx| core.on_frame(cx, author(3), &frame));
            let to_it = |effect: &&Effect| matches!(effect, Effect::Send { to, .. } if to.len() == 1);
            answers += step.effects.iter().filter(to_it).count();
        }
    }
    assert!((200..=800).contains(&answers), "{answers} answers in a second");
}

#[test]
fn a_convicted_leader_s_blocks_are_taken_where_others_name_them_and_not_else() {
    let keys = group(4, 1);
    let (mut core, _) = start(&keys, Memory::New);
    core.log.convicted.insert(author(3));
    let frame = |place: u8| {
        let sealed = Sealed::sign(first(place, b"m"), &*keys[usize::from(place)]);
        (sealed.reference(), Frame::Block(sealed.block().as_ref().clone()).encode())
    };
    let (name, liars) = frame(3);
    let _ = with(1, |cx| core.on_frame(cx, author(3), &liars));
    assert!(!core.dag.has(&name));
    let waits = crate::testing::block_of(1, 2, 1);
    core.pending.suspend(at(1), waits, BTreeSet::from([name]), author(1), author(1));
    let _ = with(1, |cx| core.on_frame(cx, author(3), &liars));
    assert!(core.dag.has(&name));
    for place in [1, 2] {
        let _ = with(2, |cx| core.on_frame(cx, author(place), &frame(place).1));
    }
    assert_eq!(core.dag.authors(1), AuthorSet::all(4));
    assert_eq!(core.parents(2).iter().map(|parent| parent.author.index()).collect::<Vec<_>>(), [0, 1, 2]);
}
