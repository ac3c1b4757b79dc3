//! Once, in order, from the right sender, in the right view; and whom to blame.

use ringfort_crypto::secret::Secret32;

use super::*;
use crate::data::{KeyedView, Shape, seal_multicast};

#[test]
fn a_message_is_delivered_once_however_many_copies_come() {
    for service in [Service::BestEffort, Service::Reliable, Service::Fifo] {
        let mut room = Room::sealed();
        let frame = room.ana.multicast(at(0), service, b"hello");
        let events = room.bo(at(1), 1, &frame);
        let [InboxEvent::Deliver(delivery)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((&delivery.sender, delivery.view), (&room.ana.me.id, view_id(1)));
        assert_eq!((delivery.topic.as_str(), &delivery.payload[..]), ("chat", b"hello".as_slice()));
        assert_eq!((delivery.seq, delivery.service, delivery.private), (Seq(1), service, false));
        assert!(delivery.recipients.is_empty());
        for relay in [1, 2, 3] {
            assert_eq!(room.bo(at(2), relay, &frame), []);
        }
    }
}

#[test]
fn a_private_message_is_delivered_once_and_names_all_recipients() {
    let mut room = Room::sealed();
    let frame = room.private(at(0), &["cy", "bo", "cy", "ana"], b"psst");
    let events = room.bo(at(1), 1, &frame);
    let [InboxEvent::Deliver(delivery)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((delivery.private, &delivery.recipients), (true, &vec![name("bo"), name("cy")]));
    assert_eq!(room.bo(at(2), 2, &frame), [], "replayed");
    let other = room.private(at(3), &["cy"], b"not for Bo");
    assert_eq!(blamed(&room.bo(at(4), 2, &other)), [(Culprit::Leader(leader(2)), Fault::BadRelay)]);
    let next = room.private(at(5), &["bo"], b"again");
    assert_eq!(told(&room.bo(at(6), 1, &next)), [2], "numbers are between the two: no gap");
}

#[test]
fn a_replay_is_refused_in_every_later_view() {
    let mut room = Room::sealed();
    let frames: Vec<_> = (0..5).map(|_| room.ana.multicast(at(0), Service::Fifo, b"x")).collect();
    for frame in &frames {
        assert_eq!(room.bo(at(1), 1, frame).len(), 1);
    }
    room.bo.keyring.install(keyed(2));
    for frame in &frames {
        assert_eq!(room.bo(at(2), 1, frame), [], "the old view is still readable, the number is not new");
    }
    room.ana.keyring.install(keyed(2));
    let frame = room.ana.multicast(at(3), Service::Fifo, b"y");
    assert_eq!(told(&room.bo(at(4), 1, &frame)), [6], "numbers go on across views");
    assert_eq!(room.bo(at(5), 1, &frame), []);
}

#[cfg(feature = "mutants")]
#[test]
fn without_the_replay_rule_a_replay_is_delivered() {
    for service in [Service::BestEffort, Service::Reliable, Service::Fifo] {
        let mut room = Room::sealed();
        room.rules = room.rules.mutated_for_testing_only(crate::rules::Rule::DataReplay);
        let frame = room.ana.multicast(at(0), service, b"x");
        assert_eq!(told(&room.bo(at(1), 1, &frame)), [1]);
        assert_eq!(told(&room.bo(at(1), 1, &frame)), [1]);
    }
}

#[cfg(feature = "mutants")]
#[test]
fn without_the_overlap_rule_an_old_view_is_read_for_ever() {
    let mut room = Room::sealed();
    room.bo.keyring = Keyring::new(&room.rules.mutated_for_testing_only(crate::rules::Rule::OverlapEnds));
    room.bo.keyring.install(keyed(1));
    let frame = room.ana.multicast(at(0), Service::Fifo, b"x");
    room.bo.keyring.install(keyed(2));
    room.bo.keyring.retire(&view_id(1).digest, at(100));
    room.bo.keyring.expire(at(200));
    assert_eq!(told(&room.bo(at(200), 1, &frame)), [1]);
}

#[test]
fn a_forged_copy_does_not_burn_the_number_and_its_relay_is_named_as_one_of_two() {
    for (protection, origin) in crate::data::tests::modes().filter(|m| *m != (Protection::None, Origin::Group)) {
        let mut room = Room::new(protection, origin);
        let frame = room.ana.multicast(at(0), Service::Fifo, b"true");
        let mut forged = frame.to_vec();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(room.bo(at(1), 2, &forged.into()), [], "nobody is blamed yet: the sender may be the one");
        let events = room.bo(at(2), 1, &frame);
        assert_eq!(told(&events), [1]);
        assert_eq!(blamed(&events), [(Culprit::Leader(leader(2)), Fault::Altered)]);
        assert!(!Fault::Altered.is_deviation(), "the sender may have given leader 2 another body than leader 1");
    }
}

#[test]
fn who_signs_two_bodies_under_one_header_is_blamed_and_no_relay_is() {
    for expel_on_evidence in [false, true] {
        let mut room = Room::sealed();
        room.policy.expel_on_evidence = expel_on_evidence;
        room.bo.inbox = Inbox::new(&room.policy);
        let (shape, numbers) = (Shape::of(&room.policy), (Service::Fifo, Seq(1), Seq(1)));
        let frame = room.ana.multicast(at(0), Service::Fifo, b"true");
        let mut wrong_key = KeyedView::new(view_id(1), Secret32::new([9; 32]));
        let other = seal_multicast(&shape, &room.ana.me, &mut wrong_key, numbers, &topic(), b"true");
        assert_eq!(room.bo(at(1), 2, &other), [], "it does not open");
        let events = room.bo(at(2), 1, &frame);
        assert_eq!(told(&events), [1]);
        assert_eq!(blamed(&events), [(Culprit::Member(room.ana.me.id.clone()), Fault::Equivocated)]);
        let shown = events.contains(&InboxEvent::Conflict(frame, other));
        assert_eq!(shown, expel_on_evidence, "both signatures are the proof");
    }
}

#[test]
fn a_bad_copy_under_another_header_proves_nothing_against_its_relay() {
    let mut room = Room::sealed();
    let frame = room.ana.multicast(at(0), Service::Fifo, b"true");
    // Same stream and number, another view: a sender that goes wrong can make this, and leaders relay it.
    room.bo.keyring.install(keyed(2));
    let numbers = (Service::Fifo, Seq(1), Seq(1));
    let shape = Shape::of(&room.policy);
    let mut other = seal_multicast(&shape, &room.ana.me, &mut keyed(2), numbers, &topic(), b"true").to_vec();
    *other.last_mut().unwrap() ^= 1;
    assert_eq!(room.bo(at(1), 2, &other.into()), []);
    let events = room.bo(at(2), 1, &frame);
    assert_eq!((told(&events), blamed(&events)), (vec![1], vec![]));
}

#[test]
fn what_an_honest_leader_checks_is_blamed_on_the_leader() {
    let mut room = Room::sealed();
    let mut relay = Relay::new(&room.policy);
    let too_long = [room.ana.marks(at(0)).first().cloned().unwrap_or_default().as_ref(), b"junk"].concat();
    let above = vec![0; 5000];
    let big = {
        let shape = Shape { message_bytes_max: 5000, ..Shape::of(&room.policy) };
        seal_multicast(&shape, &room.ana.me, &mut keyed(1), (Service::Fifo, Seq(1), Seq(1)), &topic(), &above)
    };
    for bad in [Bytes::from(too_long), big, Bytes::new()] {
        assert_eq!(blamed(&room.bo(at(1), 3, &bad)), [(Culprit::Leader(leader(3)), Fault::Malformed)]);
        let action = relay.on_frame(at(1), &room.ana.me.id, &bad);
        assert_eq!(action, RelayAction::Ignore(Some(Fault::Malformed)), "an honest leader never relays it");
    }
}

#[test]
fn only_members_are_heard_and_the_departed_for_the_overlap() {
    let mut room = Room::sealed();
    let frames: Vec<_> = (0..3).map(|_| room.ana.multicast(at(0), Service::Fifo, b"x")).collect();
    let entry = room.members.remove(&name("ana")).unwrap();
    assert_eq!(room.bo(at(1), 1, &frames[0]), [], "expelled: no longer heard");
    assert_eq!(room.departed.insert(entry, at(100)), None);
    assert_eq!(told(&room.bo(at(2), 1, &frames[0])), [1], "left: what was in flight is read");
    room.departed.expire(at(100));
    assert_eq!(room.bo(at(100), 1, &frames[1]), []);
    // A later stay of the same user is somebody else.
    let mut later = room.ana.me.entry();
    later.id.incarnation.0 += 1;
    room.members.insert(later);
    assert_eq!(room.bo(at(101), 1, &frames[2]), []);
}

#[test]
fn in_flight_messages_outlive_a_rekey_by_the_overlap_and_no_longer() {
    let mut room = Room::sealed();
    let frames: Vec<_> = (0..2).map(|_| room.ana.multicast(at(0), Service::Fifo, b"x")).collect();
    room.bo.keyring.install(keyed(2));
    room.bo.keyring.retire(&view_id(1).digest, at(1000));
    assert_eq!(told(&room.bo(at(999), 1, &frames[0])), [1]);
    assert_eq!(room.bo(at(1000), 1, &frames[1]), [InboxEvent::Blame(Culprit::Leader(leader(1)), Fault::OldView)]);
    assert!(!Fault::OldView.is_deviation());
}

#[test]
fn frames_that_come_before_their_view_are_read_with_it() {
    let mut room = Room::sealed();
    room.ana.keyring.install(keyed(2));
    let frames: Vec<_> = (0..3).map(|_| room.ana.multicast(at(0), Service::Fifo, b"x")).collect();
    assert_eq!(
        room.bo(at(1), 1, &frames[0]),
        [InboxEvent::NeedView(view_id(2).digest, leader(1), crate::testing::user("ana"))]
    );
    assert_eq!(
        room.bo(at(2), 2, &frames[1]),
        [InboxEvent::NeedView(view_id(2).digest, leader(2), crate::testing::user("ana"))],
        "what this relay passed on waits for it too"
    );
    for relay in [1, 2] {
        assert_eq!(room.bo(at(2), relay, &frames[2]), [], "each relay is named once");
    }
    assert_eq!(room.bo_reads_view(at(3), 9), []);
    room.bo.keyring.install(keyed(2));
    assert_eq!(told(&room.bo_reads_view(at(4), 2)), [1, 2, 3]);
    assert_eq!(room.bo_reads_view(at(5), 2), []);
}

#[test]
fn a_newcomer_is_heard_once_its_view_is_installed() {
    let mut room = Room::sealed();
    room.ana.keyring.install(keyed(2));
    let frame = room.ana.multicast(at(0), Service::BestEffort, b"hello, I am new");
    let entry = room.members.remove(&name("ana")).unwrap();
    room.bo.keyring.add_readable(keyed(2), at(9000));
    assert_eq!(room.bo(at(1), 1, &frame), [], "readable already, but its members are not known");
    room.members.insert(entry);
    room.bo.keyring.install(keyed(2));
    assert_eq!(told(&room.bo_reads_view(at(2), 2)), [1]);
    room.members.remove(&name("ana"));
    let late = room.ana.multicast(at(3), Service::BestEffort, b"expelled");
    room.bo(at(3), 1, &late);
    assert_eq!(room.bo.inbox.size().1, (0, 0), "in the current view strangers do not wait");
}

#[test]
fn a_frame_does_not_wait_for_its_view_for_ever() {
    let mut room = Room::sealed();
    room.ana.keyring.install(keyed(2));
    let frame = room.ana.multicast(at(0), Service::BestEffort, b"x");
    room.bo(at(1), 1, &frame);
    assert_eq!(room.bo.inbox.next_wakeup(), Some(at(10_001)));
    assert_eq!(room.bo_wakes(at(10_001)), []);
    assert_eq!(room.bo.inbox.next_wakeup(), None);
    room.bo.keyring.install(keyed(2));
    assert_eq!(room.bo_reads_view(at(10_002), 2), []);
}

#[test]
fn one_that_joins_mid_stream_gets_no_false_gap_but_later_holes_count() {
    for service in [Service::Reliable, Service::Fifo] {
        let mut room = Room::sealed();
        for _ in 0..7 {
            let _ = room.ana.multicast(at(0), service, b"before Bo");
        }
        room.ana.keyring.install(keyed(2));
        room.bo.keyring = Keyring::new(&room.rules);
        room.bo.keyring.install(keyed(2));
        let frames: Vec<_> = (0..3).map(|_| room.ana.multicast(at(1), service, b"x")).collect();
        // The first readable one is lost: Bo knows, since his view's first number is told.
        room.bo(at(2), 1, &frames[1]);
        assert_eq!(asked(&room.bo_wakes(at(52))), [(1, 8, 8)]);
        let events = room.bo(at(60), 1, &frames[0]);
        let expected: &[i64] = if service == Service::Fifo { &[8, 9] } else { &[8] };
        assert_eq!(told(&events), expected);
    }
}

#[test]
fn of_one_that_joined_later_everything_is_expected() {
    let mut room = Room::sealed();
    let _lost = room.ana.multicast(at(0), Service::Fifo, b"x");
    room.ana.keyring.install(keyed(2));
    room.bo.keyring.install(keyed(2));
    room.bo.inbox.on_joined(&room.ana.me.id);
    let frame = room.ana.multicast(at(1), Service::Fifo, b"y");
    assert_eq!(told(&room.bo(at(2), 1, &frame)), []);
    assert_eq!(asked(&room.bo_wakes(at(52))), [(1, 1, 1)]);
}

#[test]
fn what_cannot_be_sent_is_rejected() {
    use crate::fault::Rejected;
    let mut room = Room::sealed();
    let (topic, large) = (topic(), vec![0; 5000]);
    let message = Message { topic: &topic, payload: b"x" };
    let Side { me, keyring, outbox, .. } = &mut room.ana;
    let mut writing = Writing { me, keyring };
    let too_large = outbox.multicast(at(0), &mut writing, Service::Fifo, Message { payload: &large, ..message });
    assert_eq!(too_large, Err(Rejected::TooLarge { bytes: 5000, bytes_max: 4096 }));
    let mut send = |to: &[UserName]| outbox.send_to(at(0), &mut writing, &room.members, to, message, &mut rng(1));
    assert_eq!(send(&[]), Err(Rejected::Recipients { max: 64 }));
    assert_eq!(send(&[name("ana")]), Err(Rejected::Recipients { max: 64 }));
    let many: Vec<_> = (0..65).map(|i| name(&format!("u{i}"))).collect();
    assert_eq!(send(&many), Err(Rejected::Recipients { max: 64 }));
    assert_eq!(send(&[name("bo"), name("zoe")]), Err(Rejected::NotAMember(name("zoe"))));
    let mut none = Keyring::new(&room.rules);
    let mut writing = Writing { me: &room.bo.me, keyring: &mut none };
    assert_eq!(room.bo.outbox.multicast(at(0), &mut writing, Service::Fifo, message), Err(Rejected::NotJoined));
}
