//! The leader's part.

use super::*;

#[test]
fn a_relay_forwards_to_the_right_members_and_serves_repairs() {
    let mut room = Room::sealed();
    let mut relay = Relay::new(&room.policy);
    let (ana, bo, cy) = (room.ana.me.id.clone(), room.bo.me.id.clone(), room.cy.me.id.clone());
    let frame = room.ana.multicast(at(0), Service::Fifo, b"x");
    assert_eq!(relay.on_frame(at(1), &ana, &frame), RelayAction::Forward(Audience::Group));
    assert_eq!(relay.on_frame(at(1), &ana, &frame), RelayAction::Ignore(None), "a repeat is no offence");
    let private = room.private(at(0), &["bo"], b"psst");
    assert_eq!(relay.on_frame(at(1), &ana, &private), RelayAction::Forward(Audience::Only(vec![name("bo")])));
    let marks = room.ana.marks(at(300));
    let audiences: Vec<_> = marks.iter().map(|mark| relay.on_frame(at(301), &ana, mark)).collect();
    let bo_only = Audience::Only(vec![name("bo")]);
    assert_eq!(audiences, [RelayAction::Forward(Audience::Group), RelayAction::Forward(bo_only)]);

    let group = RepairRequest::new(room.group_stream(Service::Fifo), Seq(1), Seq(3)).unwrap();
    let answer = relay.on_repair(at(400), &cy, &group);
    assert_eq!(answer.frames, [frame]);
    assert_eq!(answer.wanted, RepairRequest::new(group.stream.clone(), Seq(2), Seq(3)));
    let stream = StreamKey { sender: ana.clone(), channel: Channel::Private(name("bo")) };
    let secret = RepairRequest::new(stream, Seq(1), Seq(1)).unwrap();
    assert_eq!(relay.on_repair(at(400), &bo, &secret).frames, [private]);
    assert_eq!(relay.on_repair(at(400), &cy, &secret), RepairAnswer::default(), "not to Cy");

    relay.forget(&ana, at(1000));
    assert_eq!(relay.on_repair(at(999), &cy, &group).frames.len(), 1);
    assert_eq!(relay.on_repair(at(999), &cy, &group).wanted, None, "nobody left to ask");
    assert_eq!(relay.next_wakeup(), Some(at(1000)));
    relay.expire(at(1000));
    assert_eq!((relay.size(), relay.next_wakeup()), ((0, 0), None));
}

#[test]
fn short_best_effort_is_urgent_and_none_of_it_is_kept() {
    let mut room = Room::sealed();
    let mut relay = Relay::new(&room.policy);
    let ana = room.ana.me.id.clone();
    let spoken = room.ana.multicast(at(0), Service::BestEffort, &[7; 200]);
    assert_eq!(relay.on_frame(at(1), &ana, &spoken), RelayAction::ForwardLive(Audience::Group));
    let piece = room.ana.multicast(at(0), Service::BestEffort, &[7; LIVE_BYTES_MAX]);
    assert_eq!(relay.on_frame(at(1), &ana, &piece), RelayAction::Forward(Audience::Group));
    assert_eq!(relay.size(), (0, 0));
}

#[test]
fn a_relay_refuses_another_name_and_two_messages_under_one_number() {
    let mut room = Room::sealed();
    let mut relay = Relay::new(&room.policy);
    let frame = room.ana.multicast(at(0), Service::Fifo, b"x");
    let action = relay.on_frame(at(1), &room.cy.me.id, &frame);
    assert_eq!(action, RelayAction::Ignore(Some(Fault::BadData)));
    let mut later = room.ana.me.id.clone();
    later.incarnation.0 += 1;
    assert_eq!(relay.on_frame(at(1), &later, &frame), RelayAction::Ignore(Some(Fault::BadData)));
    assert_eq!(relay.size().0, 0);
    relay.on_frame(at(1), &room.ana.me.id, &frame);
    let mut other = frame.to_vec();
    *other.last_mut().unwrap() ^= 1;
    let action = relay.on_frame(at(1), &room.ana.me.id, &other.into());
    assert_eq!(action, RelayAction::Ignore(Some(Fault::Equivocated)));
}

#[test]
fn history_is_bounded_per_sender_and_a_loud_one_pushes_out_itself() {
    let mut room = Room::sealed();
    room.policy.history_frames_max = 10;
    room.policy.history_bytes_max = 20_000;
    let mut relay = Relay::new(&room.policy);
    let (ana, bo) = (room.ana.me.id.clone(), room.bo.me.id.clone());
    let quiet = room.bo.multicast(at(0), Service::Reliable, b"quiet");
    relay.on_frame(at(0), &bo, &quiet);
    for _ in 0..50 {
        let frame = room.ana.multicast(at(0), Service::Reliable, b"small");
        relay.on_frame(at(0), &ana, &frame);
    }
    assert_eq!(relay.size().0, 11, "ten of Ana, one of Bo");
    for _ in 0..50 {
        let frame = room.ana.multicast(at(0), Service::Reliable, &[0; 4000]);
        relay.on_frame(at(0), &ana, &frame);
        assert!(relay.size().1 <= 20_000);
    }
    let stream = StreamKey { sender: bo, channel: Channel::Group(Service::Reliable) };
    let request = RepairRequest::new(stream, Seq(1), Seq(1)).unwrap();
    assert_eq!(relay.on_repair(at(1), &ana, &request).frames, [quiet]);
}

#[test]
fn answers_are_bounded_and_a_greedy_member_waits() {
    let mut room = Room::sealed();
    room.policy.message_bytes_max = 200_000;
    let mut relay = Relay::new(&room.policy);
    room.ana.outbox = Outbox::new(&room.policy);
    for _ in 0..3 {
        let frame = room.ana.multicast(at(0), Service::Fifo, &vec![0; 150_000]);
        assert_eq!(relay.on_frame(at(0), &room.ana.me.id, &frame), RelayAction::Forward(Audience::Group));
    }
    let request = RepairRequest::new(room.group_stream(Service::Fifo), Seq(1), Seq(3)).unwrap();
    assert_eq!(relay.on_repair(at(0), &room.bo.me.id, &request).frames.len(), 1, "150 of 256 KiB");
    let mut served = 1;
    for _ in 0..1000 {
        served += relay.on_repair(at(0), &room.bo.me.id, &request).frames.len();
    }
    assert_eq!(served, 13, "two mebibytes at once");
    assert_eq!(relay.on_repair(at(0), &room.cy.me.id, &request).frames.len(), 1, "others are not affected");
    assert_eq!(relay.on_repair(at(500), &room.bo.me.id, &request).frames.len(), 1, "and budgets fill again");
}
