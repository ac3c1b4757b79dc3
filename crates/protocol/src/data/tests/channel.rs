//! Multicasts and marks, the keyring, hostile bytes.

use proptest::prelude::*;

use super::*;
use crate::codec::{DecodeError, WIRE_VERSION};
use crate::ids::UserName;
use crate::time::Time;

#[test]
fn every_mode_round_trips_and_hides_what_it_should() {
    for (protection, origin) in modes() {
        let mut room = Room::new(protection, origin);
        let frame = room.multicast(1, b"meet at noon");
        assert_eq!(room.read_by_bo(&frame), message(b"meet at noon"), "{protection:?} {origin:?}");
        let hidden = !contains(&frame, b"noon") && !contains(&frame, b"chat");
        assert_eq!(hidden, protection == Protection::Confidential, "{protection:?}: topic and payload");
        let mark = room.mark(2);
        assert_eq!(room.read_by_bo(&mark), Some(Opened::Mark), "{protection:?} {origin:?}");
        let empty = room.multicast(2, b"");
        assert_eq!(room.read_by_bo(&empty), message(b""));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    for (protection, origin) in modes().filter(|mode| *mode != (Protection::None, Origin::Group)) {
        let mut room = Room::new(protection, origin);
        for frame in [room.multicast(9, b"pay 10"), room.mark(9)] {
            for at in 0..frame.len() {
                for bit in [0x01, 0x80] {
                    let mut altered = frame.to_vec();
                    altered[at] ^= bit;
                    let read = room.read_by_bo(&altered.into());
                    assert_eq!(read, None, "{protection:?} {origin:?}: byte {at} of {}", frame.len());
                }
                assert_eq!(room.read_by_bo(&frame.slice(..at)), None, "cut at {at}");
            }
            assert!(room.read_by_bo(&frame).is_some());
        }
    }
}

#[test]
fn without_protection_and_signature_nothing_is_promised() {
    let mut room = Room::new(Protection::None, Origin::Group);
    let mut altered = room.multicast(1, b"pay 10").to_vec();
    let last = altered.len() - 1;
    altered[last] = b'9';
    assert_eq!(room.read_by_bo(&altered.into()), message(b"pay 19"));
}

#[test]
fn a_body_fits_no_other_header() {
    for (protection, origin) in modes().filter(|mode| *mode != (Protection::None, Origin::Group)) {
        let mut room = Room::new(protection, origin);
        let frame = DataFrame::parse(&room.multicast(5, b"x")).unwrap();
        let kind = |service, seq, start| FrameKind::Multicast { service, seq: Seq(seq), view_start: Seq(start) };
        let same = DataHeader { ..frame.header().clone() };
        let moved = [
            DataHeader { kind: kind(Service::Fifo, 6, 1), ..same.clone() },
            DataHeader { kind: kind(Service::Reliable, 5, 1), ..same.clone() },
            DataHeader { kind: kind(Service::Fifo, 5, 2), ..same.clone() },
            DataHeader { sender: room.cy.id.clone(), ..same.clone() },
        ];
        let with = |header: &DataHeader| Bytes::from([header.to_prefix(), frame.body().to_vec()].concat());
        assert!(room.read_by_bo(&with(&same)).is_some(), "the method is sound");
        for header in &moved {
            assert_eq!(room.read_by_bo(&with(header)), None, "{protection:?} {origin:?} {header:?}");
        }
        let elsewhere = DataHeader { view: view_id(2).digest, ..same };
        for mut view in [keyed(1), keyed(2)] {
            let read = read(&room.shape, &room.rules, &room.bo, &mut view, &room.members, &with(&elsewhere));
            assert_eq!(read, None, "in another view");
        }
    }
}

#[test]
fn streams_of_one_sender_share_no_nonce() {
    let mut room = Room::new(Protection::Confidential, Origin::Group);
    let bodies: std::collections::BTreeSet<_> = [Service::BestEffort, Service::Reliable, Service::Fifo]
        .into_iter()
        .flat_map(|service| [1, 2].map(|seq| (service, Seq(seq), Seq(1))))
        .map(|numbers| seal_multicast(&room.shape, &room.ana, &mut room.view, numbers, &topic(), &[0; 64]))
        .map(|frame| DataFrame::parse(&frame).unwrap().body()[..64].to_vec())
        .collect();
    assert_eq!(bodies.len(), 6, "the same words never give the same ciphertext");
}

#[test]
fn a_member_cannot_sign_for_another() {
    for (protection, origin) in modes() {
        let mut room = Room::new(protection, origin);
        let forger = posing_as(&room.ana.id, &room.cy);
        let numbers = (Service::Fifo, Seq(1), Seq(1));
        let frame = seal_multicast(&room.shape, &forger, &mut room.view, numbers, &topic(), b"I am Ana");
        let mark = seal_mark(&room.shape, &forger, &mut room.view, (Service::Fifo, Seq(1), Seq(99)));
        // With the origin shown by the group alone, any member can: that is what the policy says (K25).
        assert_eq!(room.read_by_bo(&frame).is_some(), origin == Origin::Group, "{protection:?}");
        assert_eq!(room.read_by_bo(&mark).is_some(), origin == Origin::Group, "{protection:?}");
    }
}

#[cfg(feature = "mutants")]
#[test]
fn the_signature_rule_is_what_stops_the_forger() {
    use crate::rules::Rule;
    let mut room = Room::new(Protection::Confidential, Origin::Signature);
    room.rules = room.rules.mutated_for_testing_only(Rule::OriginSignature);
    let forger = posing_as(&room.ana.id, &room.cy);
    let numbers = (Service::Fifo, Seq(1), Seq(1));
    let frame = seal_multicast(&room.shape, &forger, &mut room.view, numbers, &topic(), b"I am Ana");
    assert!(room.read_by_bo(&frame).is_some());
}

#[test]
fn a_frame_of_one_mode_is_none_of_another() {
    for (sent, read_as) in modes().flat_map(|a| modes().map(move |b| (a, b))).filter(|(a, b)| a != b) {
        if read_as == (Protection::None, Origin::Group) {
            continue; // Takes anything.
        }
        let mut room = Room::new(sent.0, sent.1);
        let frame = room.multicast(1, &[b'a'; 200]);
        room.shape = Room::new(read_as.0, read_as.1).shape;
        room.view = keyed(1);
        assert_eq!(room.read_by_bo(&frame), None, "{sent:?} read as {read_as:?}");
    }
}

#[test]
fn an_outsider_or_ex_member_without_the_view_key_makes_nothing() {
    for origin in [Origin::Group, Origin::Signature] {
        let mut room = Room::new(Protection::Confidential, origin);
        let mut guessed = KeyedView::new(view_id(1), Secret32::new([0; 32]));
        let numbers = (Service::Fifo, Seq(1), Seq(1));
        let frame = seal_multicast(&room.shape, &room.ana, &mut guessed, numbers, &topic(), b"x");
        assert_eq!(room.read_by_bo(&frame), None);
    }
}

#[test]
fn lengths_outside_the_policy_do_not_fit() {
    for (protection, origin) in modes() {
        let mut room = Room::new(protection, origin);
        let shape = room.shape;
        let fits = |frame: Bytes| shape.fits(&DataFrame::parse(&frame).unwrap());
        assert!(fits(room.multicast(1, &vec![0; shape.message_bytes_max])));
        assert!(!fits(room.multicast(2, &vec![0; shape.message_bytes_max + 100])));
        assert!(fits(room.mark(1)) && !fits([room.mark(1).as_ref(), b"x"].concat().into()));
    }
}

#[test]
fn headers_that_no_sender_makes_are_refused() {
    let header = |kind| DataHeader { sender: identity("ana", 1).id, view: view_id(1).digest, kind };
    let refused = |header: DataHeader| DataFrame::parse(&header.to_prefix().into()).is_err();
    let multicast =
        |seq, start| header(FrameKind::Multicast { service: Service::Fifo, seq: Seq(seq), view_start: Seq(start) });
    assert!(!refused(multicast(1, 1)) && !refused(multicast(SEQ_MAX, 1)));
    assert!(refused(multicast(0, 0)) && refused(multicast(1, 2)) && refused(multicast(1, 0)));
    assert!(refused(multicast(SEQ_MAX + 1, 1)) && refused(multicast(u64::MAX, 1)));
    let mark = |service| header(FrameKind::Mark { service, view_start: Seq(1), next: Seq(2) });
    assert!(!refused(mark(Service::Reliable)) && refused(mark(Service::BestEffort)));

    let parse = |bytes: &[u8]| DataFrame::parse(&Bytes::copy_from_slice(bytes)).unwrap_err();
    assert_eq!(parse(&[]), DecodeError::Malformed);
    assert_eq!(parse(&[WIRE_VERSION + 1, DATA_TAG]), DecodeError::Version(WIRE_VERSION + 1));
    assert_eq!(parse(&[WIRE_VERSION, DATA_TAG + 1]), DecodeError::Malformed);
    assert!(matches!(parse(&vec![0; 2 << 20]), DecodeError::TooLarge(_)));
}

#[test]
fn recipients_are_few_sorted_and_numbered() {
    let named = |user: &str| Recipient { user: user.parse().unwrap(), seq: Seq(1), start: Seq(1) };
    let many = |n: usize| (0..n).map(|i| named(&format!("u{i:03}"))).collect::<Vec<_>>();
    assert!(Recipients::new(many(RECIPIENTS_MAX)).is_some());
    assert!(Recipients::new(many(RECIPIENTS_MAX + 1)).is_none() && Recipients::new(vec![]).is_none());
    assert!(Recipients::new(vec![named("b"), named("a")]).is_none());
    assert!(Recipients::new(vec![named("a"), named("a")]).is_none());
    assert!(Recipients::new(vec![Recipient { seq: Seq(0), ..named("a") }]).is_none());
    let unsorted = crate::codec::encode(&(2u8, named("b"), named("a")));
    assert!(crate::codec::decode::<Recipients>(&unsorted).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(tail in prop::collection::vec(any::<u8>(), 0..300), framed: bool) {
        let frame = if framed { [&[WIRE_VERSION, DATA_TAG], tail.as_slice()].concat() } else { tail };
        let _ = DataFrame::parse(&frame.into());
    }

    #[test]
    fn what_parses_has_one_encoding(seq in 1..=SEQ_MAX, cut in 0usize..40, byte: u8) {
        let mut room = Room::new(Protection::Confidential, Origin::Group);
        let mut bytes = room.multicast(seq, b"x").to_vec();
        bytes[2 + cut] = byte;
        if let Ok(frame) = DataFrame::parse(&bytes.into()) {
            let prefix = frame.header().to_prefix();
            prop_assert_eq!(&prefix[..], frame.prefix());
        }
    }
}

fn at(ms: u64) -> Time {
    Time::from_start(std::time::Duration::from_millis(ms))
}

#[test]
fn a_view_is_unknown_then_readable_then_ended() {
    let mut keyring = Keyring::new(&rules());
    let digest = view_id(1).digest;
    assert_eq!(keyring.lookup(&digest, at(0)), Lookup::Unknown);
    keyring.install(keyed(1));
    assert_eq!(keyring.lookup(&digest, at(1_000_000)), Lookup::Readable);
    keyring.install(keyed(2));
    assert_eq!(keyring.current().map(KeyedView::id), Some(view_id(2)));
    keyring.retire(&digest, at(10));
    assert!(keyring.readable(&digest, at(9)).is_some());
    assert_eq!(keyring.next_wakeup(), Some(at(10)));
    assert_eq!(keyring.lookup(&digest, at(10)), Lookup::Ended, "even before its key is erased");
    assert!(keyring.readable(&digest, at(10)).is_none());
    keyring.expire(at(10));
    assert_eq!((keyring.lookup(&digest, at(10)), keyring.next_wakeup()), (Lookup::Ended, None));
    keyring.add_readable(keyed(1), at(99));
    assert_eq!(keyring.lookup(&digest, at(11)), Lookup::Ended, "an ended view does not come back");
    keyring.add_readable(keyed(3), at(20));
    assert_eq!(keyring.lookup(&view_id(3).digest, at(19)), Lookup::Readable);
    assert_eq!(keyring.current().map(KeyedView::id), Some(view_id(2)));
}

/// Leaders publish up to forty views a second, and people come and go: what is under way is read until its overlap ends.
#[test]
fn a_view_is_readable_for_its_overlap_however_many_come_after_it() {
    let mut keyring = Keyring::new(&rules());
    let (overlap_ms, spacing_ms) = (10_000, 25);
    for epoch in 1..=1_000 {
        let now = epoch * spacing_ms;
        keyring.expire(at(now));
        if let Some(before) = keyring.current().map(|view| view.id().digest) {
            keyring.retire(&before, at(now + overlap_ms));
        }
        keyring.install(keyed(epoch));
        let lookup = |epoch: u64| keyring.lookup(&view_id(epoch).digest, at(now));
        let first = epoch.saturating_sub(overlap_ms / spacing_ms).max(1);
        assert!((first..=epoch).all(|epoch| lookup(epoch) == Lookup::Readable), "at view {epoch}");
        assert!(first == 1 || lookup(first - 1) == Lookup::Ended, "at view {epoch}");
    }
    assert_eq!(keyring.next_wakeup(), Some(at(601 * spacing_ms + overlap_ms)), "the next that ends");
}

/// Whoever was in a view that others skipped can be heard under it for one overlap, and not as long as others follow.
#[test]
fn a_view_that_was_skipped_ends_with_the_view_that_followed_it() {
    let (mut keyring, overlap) = (Keyring::new(&rules()), 100);
    for (epoch, now) in [(2, 0), (4, 50), (6, 120), (8, 200)] {
        keyring.expire(at(now));
        if let Some(before) = keyring.current().map(|view| view.id().digest) {
            keyring.retire(&before, at(now + overlap));
        }
        keyring.install(keyed(epoch));
    }
    let latest = at(200 + overlap);
    let ends = [1, 3, 5, 7, 8, 9].map(|epoch| keyring.end_of_skipped(view_id(epoch), latest));
    assert_eq!(ends, [at(150), at(150), at(220), latest, latest, latest]);
    let mut newcomer = Keyring::new(&rules());
    newcomer.install(keyed(4));
    assert_eq!(newcomer.end_of_skipped(view_id(3), latest), latest, "it has followed nothing yet");
}

#[test]
fn readable_views_are_bounded_and_the_one_that_ends_first_goes_first() {
    let mut keyring = Keyring::new(&rules());
    keyring.install(keyed(1));
    let last = 2 + u64::try_from(VIEWS_MAX).unwrap();
    for epoch in 2..=last {
        keyring.add_readable(keyed(epoch), at(1000 + epoch));
    }
    let readable = |epoch| keyring.lookup(&view_id(epoch).digest, at(0)) == Lookup::Readable;
    assert_eq!((1..=last).filter(|epoch| readable(*epoch)).count(), VIEWS_MAX);
    assert!(readable(1) && readable(last) && !readable(2), "the current one stays");
}

#[test]
fn departed_members_are_bounded_and_expire() {
    let mut departed = Departed::default();
    let ana = identity("ana", 1);
    for i in 0..u64::try_from(DEPARTED_MAX).unwrap() + 5 {
        let user: UserName = format!("u{i}").parse().unwrap();
        let id = MemberId { user, incarnation: Incarnation(1) };
        let evicted = departed.insert(crate::view::MemberEntry { id, ..ana.entry() }, at(1000 + i));
        let over = i.checked_sub(u64::try_from(DEPARTED_MAX).unwrap());
        assert_eq!(evicted.map(|id| id.user.to_string()), over.map(|place| format!("u{place}")), "it is told");
    }
    let gone = |n: u64| MemberId { user: format!("u{n}").parse().unwrap(), incarnation: Incarnation(1) };
    assert!(departed.get(&gone(4)).is_none() && departed.get(&gone(5)).is_some());
    assert_eq!(departed.expire(at(1006)), [gone(5), gone(6)]);
    assert_eq!(departed.next_wakeup(), Some(at(1007)));
    let members = MemberSet::default();
    let peers = Peers { current: &members, departed: &departed };
    assert!(peers.entry(&gone(6)).is_none() && peers.entry(&gone(7)).is_some());
    assert!(peers.entry(&MemberId { incarnation: Incarnation(2), ..gone(7) }).is_none(), "another stay");
}

#[test]
fn who_comes_and_goes_again_and_again_takes_the_room_of_its_own_stays() {
    let mut departed = Departed::default();
    let keys = identity("ana", 1).entry();
    let entry = |name: &str, stay| {
        let id = MemberId { user: name.parse().unwrap(), incarnation: Incarnation(stay) };
        crate::view::MemberEntry { id, ..keys.clone() }
    };
    assert_eq!(departed.insert(entry("bo", 1), at(1)), None, "its time ends first");
    let most = u64::try_from(DEPARTED_MAX).unwrap();
    let evicted: Vec<MemberId> =
        (1..most + 3).filter_map(|stay| departed.insert(entry("mal", stay), at(10 + stay))).collect();
    assert_eq!(evicted, [1, 2, 3].map(|stay| entry("mal", stay).id));
    assert!(departed.get(&entry("bo", 1).id).is_some());
}

#[test]
fn secrets_do_not_print() {
    let mut keyring = Keyring::new(&rules());
    keyring.install(KeyedView::new(view_id(1), Secret32::new([0xAB; 32])));
    let shown = format!("{keyring:?} {:?}", identity("ana", 1));
    assert!(shown.contains("redacted") && !shown.contains("171") && !shown.to_lowercase().contains("abab"));
}
