//! Holes: noticed, asked for, filled or given up.

use super::*;

#[test]
fn a_hole_is_asked_for_again_and_again_then_given_up_once() {
    for service in [Service::Reliable, Service::Fifo] {
        let mut room = Room::sealed();
        let frames: Vec<_> = (0..6).map(|_| room.ana.multicast(at(0), service, b"x")).collect();
        assert_eq!(told(&room.bo(at(0), 1, &frames[0])), [1]);
        let early = told(&room.bo(at(0), 2, &frames[4]));
        assert_eq!(early, if service == Service::Fifo { vec![] } else { vec![5] });
        assert_eq!(room.bo_wakes(at(49)), [], "it may be mere reordering");
        let first = room.bo_wakes(at(50));
        let request = RepairRequest::new(room.group_stream(service), Seq(2), Seq(4)).unwrap();
        assert_eq!(first, [InboxEvent::Repair { attempt: 1, to: Some(leader(2)), request }]);
        let (mut attempts, mut end) = (vec![1], None);
        while let Some(wake) = room.bo.inbox.next_wakeup() {
            let events = room.bo_wakes(wake);
            attempts.extend(asked(&events).into_iter().map(|(attempt, _, _)| attempt));
            if !told(&events).is_empty() {
                end = Some((wake.since_start().as_millis(), told(&events)));
            }
        }
        assert_eq!(attempts, (1..=8).collect::<Vec<_>>());
        let gap_then_rest = if service == Service::Fifo { vec![-3, 5] } else { vec![-3] };
        assert_eq!(end, Some((10_300, gap_then_rest)));
        assert_eq!(told(&room.bo(at(11_000), 1, &frames[5])), [6]);
        assert_eq!(room.bo(at(11_000), 1, &frames[2]), [], "given up is given up");
    }
}

#[test]
fn many_holes_of_one_sender_are_told_about_as_soon_as_one() {
    let mut room = Room::sealed();
    let services = [Service::Reliable, Service::Fifo];
    let mut told_at = Vec::new();
    let wake_until = |room: &mut Room, end: u64, told_at: &mut Vec<u64>| {
        while let Some(wake) = room.bo.inbox.next_wakeup().filter(|wake| *wake <= at(end)) {
            let gaps = told(&room.bo_wakes(wake)).into_iter().filter(|number| *number < 0).count();
            told_at.extend(std::iter::repeat_n(u64::try_from(wake.since_start().as_millis()).unwrap(), gaps));
        }
    };
    // Every other message is lost, and each loss is noticed at a time of its own.
    for i in 0..60 {
        for service in services {
            let (_, frame) = [(); 2].map(|()| room.ana.multicast(at(0), service, b"x")).into();
            let now = 131 * i;
            wake_until(&mut room, now, &mut told_at);
            let _ = room.bo(at(now), 1, &frame);
        }
    }
    wake_until(&mut room, 120_000, &mut told_at);
    assert_eq!(told_at.len(), 120, "each loss is told");
    let last = told_at.iter().max();
    assert!(last < Some(&(60 * 131 + 15_000)), "{last:?}");
}

#[test]
fn best_effort_repairs_nothing_and_reports_nothing() {
    let mut room = Room::sealed();
    let frames: Vec<_> = (0..9).map(|_| room.ana.multicast(at(0), Service::BestEffort, b"x")).collect();
    assert_eq!(told(&room.bo(at(1), 1, &frames[8])), [9]);
    assert_eq!(told(&room.bo(at(1), 1, &frames[3])), [4], "late is not replayed");
    assert_eq!(room.bo(at(1), 2, &frames[3]), []);
    assert_eq!((room.bo.inbox.next_wakeup(), room.ana.outbox.next_wakeup()), (None, None));
    assert_eq!(room.ana.outbox.under_way(), 0, "nobody acknowledges it");
    let request = RepairRequest::new(room.group_stream(Service::BestEffort), Seq(1), Seq(9)).unwrap();
    assert_eq!(room.ana.outbox.on_wanted(at(500), leader(1), &request), Vec::<Bytes>::new());
}

#[test]
fn an_idle_sender_marks_its_streams_four_times() {
    let mut room = Room::sealed();
    let _ = room.ana.multicast(at(0), Service::Fifo, b"x");
    let _ = room.private(at(0), &["bo"], b"x");
    let private = Channel::Private(name("bo"));
    for (from, channel) in [(1, Channel::Group(Service::Fifo)), (2, private)] {
        room.ana.outbox.on_received(leader(from), &[Receipt { channel, first: Seq(1), last: Seq(1) }], 1);
    }
    let mut times = Vec::new();
    while let Some(wake) = room.ana.outbox.next_wakeup() {
        times.push((wake.since_start().as_millis(), room.ana.marks(wake).len()));
    }
    assert_eq!(times, [(300, 2), (1000, 2), (3000, 2), (10_000, 2)]);
}

#[test]
fn a_lost_tail_is_found_by_its_mark_and_a_forged_mark_finds_nothing() {
    for (protection, origin) in crate::data::tests::modes() {
        let mut room = Room::new(protection, origin);
        let lost = room.ana.multicast(at(0), Service::Fifo, b"the last word");
        let lost_too = room.private(at(0), &["bo"], b"and a secret");
        let marks = room.ana.marks(at(300));
        for mark in &marks {
            if (protection, origin) != (Protection::None, Origin::Group) {
                let mut forged = mark.to_vec();
                *forged.last_mut().unwrap() ^= 1;
                assert_eq!(room.bo(at(310), 1, &forged.into()), []);
                assert_eq!(room.bo.inbox.size().0, usize::from(mark != &marks[0]), "no stream from a forgery");
            }
            assert_eq!(room.bo(at(310), 1, mark), []);
        }
        assert_eq!(asked(&room.bo_wakes(at(360))), [(1, 1, 1), (1, 1, 1)]);
        for frame in [lost, lost_too] {
            assert_eq!(told(&room.bo(at(400), 2, &frame)), [1]);
        }
        assert_eq!(room.bo.inbox.next_wakeup(), None);
        for mark in &marks {
            assert_eq!(room.bo(at(410), 2, mark), [], "tells nothing new");
        }
    }
}

#[test]
fn a_mark_of_a_new_view_gives_a_joiner_no_false_gap() {
    let mut room = Room::sealed();
    let _ = room.ana.multicast(at(0), Service::Fifo, b"before Bo");
    room.ana.keyring.install(keyed(2));
    room.bo.keyring = Keyring::new(&room.rules);
    room.bo.keyring.install(keyed(2));
    let marks = room.ana.marks(at(300));
    assert_eq!((marks.len(), room.bo(at(301), 1, &marks[0]).len()), (1, 0));
    assert_eq!(room.bo.inbox.next_wakeup(), None);
    let next = room.ana.multicast(at(400), Service::Fifo, b"x");
    assert_eq!(told(&room.bo(at(401), 1, &next)), [2]);
}

#[test]
fn a_sender_repeats_the_same_bytes_and_not_too_often() {
    let mut room = Room::sealed();
    let frames: Vec<_> = (0..3).map(|_| room.ana.multicast(at(0), Service::Fifo, b"x")).collect();
    let request = RepairRequest::new(room.group_stream(Service::Fifo), Seq(2), Seq(9)).unwrap();
    let mut wanted = |ms, from| room.ana.outbox.on_wanted(at(ms), leader(from), &request);
    assert_eq!(wanted(199, 1), Vec::<Bytes>::new());
    assert_eq!(wanted(200, 1), frames[1..].to_vec());
    assert_eq!(wanted(250, 1), Vec::<Bytes>::new());
    assert_eq!(wanted(250, 2), frames[1..].to_vec(), "another leader has not had it");
    assert_eq!(wanted(400, 1), frames[1..].to_vec());
}

#[test]
fn a_leader_that_goes_on_asking_gets_little() {
    let mut room = Room::sealed();
    room.policy.message_bytes_max = 100_000;
    room.ana.outbox = Outbox::new(&room.policy);
    for _ in 0..100 {
        let _ = room.ana.multicast(at(0), Service::Fifo, &vec![0; 100_000]);
    }
    let request = RepairRequest::new(room.group_stream(Service::Fifo), Seq(1), Seq(100)).unwrap();
    let mut bytes = 0;
    for i in 1..=600 {
        let frames = room.ana.outbox.on_wanted(at(100 * i), leader(1), &request);
        bytes += frames.iter().map(Bytes::len).sum::<usize>();
    }
    assert!(bytes <= 3 * 100 * 101_000, "each message three times at most: {bytes}");
    let honest = room.ana.outbox.on_wanted(at(60_000), leader(2), &request);
    assert_eq!(honest.len(), 2, "what one leader does takes nothing from another");
    let mut burst = 0;
    for i in 0..100 {
        burst += room.ana.outbox.on_wanted(at(60_300 + i), leader(3), &request).len();
    }
    assert!(burst <= 22, "two mebibytes at once: {burst}");
    room.ana.outbox.on_leader(at(61_000), leader(1));
    assert_eq!(room.ana.outbox.on_wanted(at(61_500), leader(1), &request).len(), 2, "a new link starts anew");
}

#[test]
fn a_recipient_that_comes_back_starts_afresh_on_growing_numbers() {
    let mut room = Room::sealed();
    for _ in 0..4 {
        let _ = room.private(at(0), &["bo"], b"to the first stay");
    }
    let again = Identity::generate(name("bo"), crate::ids::Incarnation(2), &mut rng(77));
    room.members.insert(again.entry());
    room.bo = Side::new(&room.policy, again);
    let frame = room.private(at(1), &["bo"], b"to the second");
    assert_eq!(told(&room.bo(at(2), 1, &frame)), [5], "and no gap before it");
}

#[test]
fn forgetting_a_member_tells_what_still_waited() {
    let mut room = Room::sealed();
    let frames: Vec<_> = (0..5).map(|_| room.ana.multicast(at(0), Service::Fifo, b"x")).collect();
    for i in [0, 2, 4] {
        room.bo(at(1), 1, &frames[i]);
    }
    let ana = room.ana.me.id.clone();
    let events = room.bo_forgets(&ana);
    assert_eq!(told(&events), [-1, 3, -1, 5]);
    assert!(events.contains(&InboxEvent::UnknownTail(ana)), "and nobody knows whether that was all");
    assert_eq!((room.bo.inbox.next_wakeup(), room.bo.inbox.size().0), (None, 0));
}

#[test]
fn requests_are_bounded_on_the_wire() {
    let stream = Room::sealed().group_stream(Service::Fifo);
    let decode = |first: u64, last: u64| {
        let bytes = crate::codec::encode(&(stream.clone(), vec![(Seq(first), Seq(last))]));
        crate::codec::decode::<RepairRequest>(&bytes).is_ok()
    };
    assert!(decode(1, 1) && decode(1, 256) && decode(1000, 1255));
    assert!(!decode(1, 257) && !decode(0, 1) && !decode(2, 1) && !decode(1, u64::MAX) && !decode(u64::MAX, u64::MAX));

    let several = |ranges: &[(u64, u64)]| {
        let ranges: Vec<_> = ranges.iter().map(|(first, last)| (Seq(*first), Seq(*last))).collect();
        crate::codec::decode::<RepairRequest>(&crate::codec::encode(&(stream.clone(), ranges))).is_ok()
    };
    assert!(several(&[(1, 100), (102, 200)]) && several(&[(1, 1); 1]));
    assert!(
        !several(&[])
            && !several(&[(1, 200), (300, 400)])
            && !several(&[(5, 6), (6, 7)])
            && !several(&[(5, 6), (1, 2)])
    );
    let many: Vec<_> = (0..65).map(|i| (10 * i + 1, 10 * i + 1)).collect();
    assert!(several(&many[..64]) && !several(&many));
}

#[test]
fn who_sends_faster_than_leaders_take_it_is_told_to_wait_while_all_of_it_can_be_sent_again() {
    let mut room = Room::sealed();
    let (mut sent, me) = (0, room.ana.me.id.clone());
    while room.ana.outbox.has_room() {
        room.ana.multicast(at(0), Service::Fifo, b"x");
        sent += 1;
    }
    assert!((1_000..100_000).contains(&sent), "{sent}");
    let mut given = 0;
    for wake in 10..10_000 {
        given += room.ana.outbox.again(at(100 * wake), &me).len();
        if given >= usize::try_from(sent).unwrap() {
            break;
        }
    }
    assert_eq!(given, usize::try_from(sent).unwrap(), "all of it is still there");
    assert_eq!(room.ana.outbox.is_settled(0).1, 0, "nothing was lost sight of");
    let channel = Channel::Group(Service::Fifo);
    room.ana.outbox.on_received(leader(1), &[Receipt { channel, first: Seq(1), last: Seq(1) }], 1);
    assert!(room.ana.outbox.has_room());
}

#[test]
fn what_its_sender_no_longer_has_is_not_awaited_for_ever() {
    let mut room = Room::sealed();
    let me = room.ana.me.id.clone();
    room.ana.multicast(at(0), Service::Fifo, b"x");
    room.ana.outbox.forget_history_for_testing_only();
    assert!(!room.ana.outbox.is_settled(1).0);
    assert!(room.ana.outbox.again(at(1_000), &me).is_empty());
    assert_eq!(room.ana.outbox.is_settled(1), (true, 1), "one was lost sight of, and who waits for it is told");
}

/// Bo hears of a loss of each of many senders at once, as after a minute out of reach, and nobody can supply it.
#[test]
fn losses_of_many_senders_at_once_are_told_within_half_a_minute() {
    let mut room = Room::sealed();
    let mut senders: Vec<Side> =
        (0..150u64).map(|i| Side::new(&room.policy, identity(&format!("m{i}"), 100 + i))).collect();
    senders.iter().for_each(|side| room.members.insert(side.me.entry()));
    for sender in &mut senders {
        let (_, frame) = [(); 2].map(|()| sender.multicast(at(0), Service::Fifo, b"x")).into();
        let _ = room.bo(at(0), 1, &frame);
    }
    let mut told_at = Vec::new();
    while let Some(wake) = room.bo.inbox.next_wakeup() {
        let gaps = told(&room.bo_wakes(wake)).into_iter().filter(|number| *number < 0).count();
        told_at.extend(std::iter::repeat_n(wake.since_start().as_millis(), gaps));
    }
    assert_eq!(told_at.len(), 150, "each loss is told");
    assert!(told_at.iter().max() < Some(&35_000), "{:?}", told_at.iter().max());
}

/// Four members leave out numbers without end.
#[test]
fn members_that_leave_out_numbers_do_not_keep_anothers_loss_from_being_told() {
    let mut room = Room::sealed();
    let mut hostile: Vec<Side> =
        (0..4u64).map(|i| Side::new(&room.policy, identity(&format!("a{i}"), 100 + i))).collect();
    hostile.iter().for_each(|side| room.members.insert(side.me.entry()));
    let mut zoe = Side::new(&room.policy, identity("zoe", 200));
    room.members.insert(zoe.me.entry());
    let mut told_at = None;
    for now in (0..120_000).step_by(50) {
        for side in &mut hostile {
            let (_, frame) = [(); 2].map(|()| side.multicast(at(now), Service::Reliable, b"x")).into();
            let _ = room.bo(at(now), 1, &frame);
        }
        if now == 20_000 {
            let (_, frame) = [(); 2].map(|()| zoe.multicast(at(now), Service::Fifo, b"x")).into();
            let _ = room.bo(at(now), 1, &frame);
        }
        for event in room.bo_wakes(at(now)) {
            if let InboxEvent::Gap { stream, .. } = event
                && stream.sender == zoe.me.id
            {
                told_at.get_or_insert(now);
            }
        }
    }
    assert!(told_at.is_some_and(|at| at < 20_000 + 30_000), "{told_at:?}");
}

/// Only a hacked leader still has what is missing, and it supplies one number whenever the receiver is about to give up.
#[test]
fn a_leader_that_supplies_one_number_at_a_time_does_not_hold_a_stream_up_for_long() {
    let mut room = Room::sealed();
    let frames: Vec<Bytes> = (0..60).map(|_| room.ana.multicast(at(0), Service::Fifo, b"x")).collect();
    let last = room.ana.multicast(at(0), Service::Fifo, b"x");
    let _ = room.bo(at(0), 1, &last);
    let mut supplied = frames.iter();
    let mut done = None;
    for now in (0..1_200_000).step_by(50) {
        let mut events = room.bo_wakes(at(now));
        if now % 8_000 == 7_950 {
            events.extend(supplied.next().map(|frame| room.bo(at(now), 1, frame)).unwrap_or_default());
        }
        if told(&events).contains(&61) {
            done.get_or_insert(now);
        }
    }
    assert!(done.is_some_and(|at| at < 120_000), "{done:?}");
}
