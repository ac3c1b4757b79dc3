//! Floods: memory stays within its limits, and honest traffic gets through.

use super::*;
use crate::data::{DataHeader, FrameKind, SEQ_MAX, Shape, seal_mark, seal_multicast};
use crate::ids::{Incarnation, MemberId, ViewDigest};

fn forged(sender: MemberId, view: ViewDigest, seq: u64, body: usize) -> Bytes {
    let kind = FrameKind::Multicast { service: Service::Fifo, seq: Seq(seq), view_start: Seq(1) };
    let header = DataHeader { sender, view, kind };
    [&[1, 3], borsh::to_vec(&header).unwrap().as_slice(), &vec![7; body]].concat().into()
}

#[test]
fn forged_frames_cost_no_memory_and_burn_no_number() {
    let mut room = Room::sealed();
    let ana = room.ana.me.id.clone();
    for i in 0..3000 {
        let user = name(&format!("u{i}"));
        let stranger = MemberId { user, incarnation: Incarnation(1) };
        for sender in [stranger, ana.clone()] {
            assert_eq!(room.bo(at(i), 2, &forged(sender, view_id(1).digest, 1 + i % 1000, 200)), []);
        }
        assert_eq!(room.bo(at(i), 3, &forged(ana.clone(), view_id(1).digest, 2000 + i, 4000)), []);
    }
    let (streams, waiting, (copies, bytes)) = room.bo.inbox.size();
    assert_eq!((streams, waiting), (0, (0, 0)));
    assert!(copies > 64 && copies <= 128 && bytes <= 512 * 1024, "{copies} {bytes}");
    for _ in 0..1000 {
        let frame = room.ana.multicast(at(5000), Service::Fifo, b"x");
        assert_eq!(told(&room.bo(at(5000), 1, &frame)).len(), 1);
    }
}

#[test]
fn a_flood_of_unknown_views_crowds_out_only_its_own_relay() {
    let mut room = Room::sealed();
    room.ana.keyring.install(keyed(2));
    let honest = room.ana.multicast(at(0), Service::Fifo, b"x");
    let mut asked_views = 0;
    let mut flood = |room: &mut Room, from: u64| {
        for i in from..from + 3000 {
            let user = name(&format!("u{}", i % 100));
            let sender = MemberId { user, incarnation: Incarnation(1) };
            let mut digest = [9; 32];
            digest[..8].copy_from_slice(&i.to_be_bytes());
            asked_views += room.bo(at(1), 2, &forged(sender, ViewDigest(digest), 1, 4000)).len();
        }
    };
    flood(&mut room, 0);
    assert_eq!(
        room.bo(at(1), 1, &honest),
        [InboxEvent::NeedView(view_id(2).digest, leader(1), crate::testing::user("ana"))]
    );
    flood(&mut room, 3000);
    assert_eq!(asked_views, 8);
    let (streams, (frames, bytes), _) = room.bo.inbox.size();
    assert!(streams == 0 && frames <= 257 && bytes <= 2 * 1024 * 1024 + honest.len(), "{frames} {bytes}");
    room.bo.keyring.install(keyed(2));
    assert_eq!(told(&room.bo_reads_view(at(2), 2)), [1]);
}

#[test]
fn one_sender_fills_a_part_of_what_waits() {
    let mut room = Room::sealed();
    room.ana.keyring.install(keyed(2));
    let cy = room.cy.me.id.clone();
    room.bo(at(0), 1, &forged(cy, view_id(2).digest, 1, 200));
    for i in 0..500 {
        room.bo(at(0), 1, &forged(room.ana.me.id.clone(), view_id(2).digest, 1 + i, 200));
    }
    assert_eq!(room.bo.inbox.size().1.0, 65);
}

#[test]
fn a_member_that_leaves_holes_everywhere_is_held_to_the_bounds() {
    let mut room = Room::sealed();
    let shape = Shape::of(&room.policy);
    let mut view = keyed(1);
    let mut seen = 0u64;
    let mut log = Vec::new();
    for i in 1..=3000 {
        let numbers = (Service::Fifo, Seq(2 * i), Seq(1));
        let frame = seal_multicast(&shape, &room.ana.me, &mut view, numbers, &topic(), &[0; 64]);
        let told = told(&room.bo(at(0), 1, &frame));
        seen += told.len() as u64;
        log.extend(told);
    }
    // At most 256 holes stay open, so all but as many pairs of gap and message were told, in order.
    assert_eq!(seen, 2 * (3000 - 256));
    assert!(log.chunks(2).zip(1..).all(|(pair, i)| pair == [-1, 2 * i]));
    assert_eq!(asked(&room.bo_wakes(at(50))).len(), 1, "one request names many holes");
}

#[test]
fn who_leaves_out_numbers_costs_its_receivers_a_few_requests_and_others_losses_are_repaired() {
    let mut room = Room::sealed();
    let shape = Shape::of(&room.policy);
    let mut view = keyed(1);
    let (mut mals, mut others) = (0, 0);
    for i in 1..=4000u64 {
        let now = at(5 * i);
        let numbers = (Service::Reliable, Seq(2 * i), Seq(1));
        let frame = seal_multicast(&shape, &room.cy.me, &mut view, numbers, &topic(), &[0; 64]);
        room.bo(now, 1, &frame);
        if i % 400 == 0 {
            let lost = room.ana.multicast(now, Service::Fifo, b"lost");
            let next = room.ana.multicast(now, Service::Fifo, b"next");
            drop(lost);
            room.bo(now, 1, &next);
        }
        while let Some(wake) = room.bo.inbox.next_wakeup().filter(|wake| *wake <= now) {
            for event in room.bo_wakes(wake) {
                if let InboxEvent::Repair { request, .. } = event {
                    let mine = request.stream().sender == room.ana.me.id;
                    (mals, others) = (mals + usize::from(!mine), others + usize::from(mine));
                }
            }
        }
    }
    // Twenty seconds, 200 holes a second.
    assert!((40..=16 + 20 * 6 + 1).contains(&mals), "{mals}");
    assert!(others >= 10, "whoever loses something else gets it repaired: {others}");
}

#[test]
fn a_jump_to_the_end_of_all_numbers_is_one_gap() {
    let mut room = Room::sealed();
    let shape = Shape::of(&room.policy);
    let mark = seal_mark(&shape, &room.ana.me, &mut keyed(1), (Service::Fifo, Seq(1), Seq(SEQ_MAX)));
    room.bo(at(0), 1, &mark);
    let mut all = Vec::new();
    while let Some(wake) = room.bo.inbox.next_wakeup() {
        all.extend(told(&room.bo_wakes(wake)));
    }
    assert_eq!(all, [-i64::try_from(SEQ_MAX - 1).unwrap()]);
}

/// Ana's messages from the second on come at once, the first when Bo asks; then Bo gets whatever it asks for.
fn repaired(room: &mut Room, payload: &[u8], count: u64) -> (Vec<i64>, usize) {
    let frames: Vec<_> = (0..count).map(|_| room.ana.multicast(at(0), Service::Fifo, payload)).collect();
    let (mut log, mut held_bytes_max) = (Vec::new(), 0);
    for frame in &frames[1..] {
        log.extend(told(&room.bo(at(0), 1, frame)));
        held_bytes_max = held_bytes_max.max(room.bo.inbox.held_bytes_for_tests());
    }
    assert_eq!(log, [0; 0], "all wait for the first");
    for _ in 0..1000 {
        let Some(wake) = room.bo.inbox.next_wakeup() else { break };
        let events = room.bo_wakes(wake);
        log.extend(told(&events));
        for (_, first, last) in asked(&events) {
            for seq in first..=last {
                log.extend(told(&room.bo(wake, 1, &frames[usize::try_from(seq - 1).unwrap()])));
                held_bytes_max = held_bytes_max.max(room.bo.inbox.held_bytes_for_tests());
            }
        }
    }
    (log, held_bytes_max)
}

#[test]
fn what_there_is_no_room_for_is_asked_for_again_and_nothing_is_lost() {
    let mut room = Room::sealed();
    let (log, _) = repaired(&mut room, b"x", 5000);
    assert_eq!(log, (1..=5000).collect::<Vec<_>>());
}

#[test]
fn what_was_let_go_is_told_as_lost_when_its_sender_is_gone() {
    let mut room = Room::sealed();
    let frames: Vec<_> = (0..1500).map(|_| room.ana.multicast(at(0), Service::Fifo, b"x")).collect();
    for frame in &frames[1..] {
        assert_eq!(told(&room.bo(at(0), 1, frame)), []);
    }
    let ana = room.ana.me.id.clone();
    let log = told(&room.bo_forgets(&ana));
    let expected: Vec<i64> = std::iter::once(-1).chain(2..=1025).chain([-475]).collect();
    assert_eq!(log, expected, "a gap, what waited, and all that there was no room for");
}

#[test]
fn bytes_that_wait_for_their_turn_are_bounded() {
    let mut room = Room::sealed();
    room.policy.message_bytes_max = 1024 * 1024;
    room.ana.outbox = Outbox::new(&room.policy);
    room.bo.inbox = Inbox::new(&room.policy);
    let (log, held_bytes_max) = repaired(&mut room, &vec![0; 1024 * 1024], 20);
    assert_eq!(log, (1..=20).collect::<Vec<_>>());
    assert!((7 * 1024 * 1024..=9 * 1024 * 1024).contains(&held_bytes_max), "{held_bytes_max}");
}
