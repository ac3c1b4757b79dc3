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
    assert_eq!(answer.wanted, None, "nobody is asked for what it never sent");
    let since = Since::View(view_id(1).digest);
    let head =
        |next| Head { channel: Channel::Group(Service::Fifo), since, start: Seq(1), next: Seq(next), kept: Seq(3) };
    relay.on_heads(&ana, vec![head(4)], false);
    let answer = relay.on_repair(at(400), &cy, &group);
    assert_eq!(
        answer.wanted,
        RepairRequest::new(group.stream().clone(), Seq(3), Seq(3)),
        "nor for what it has no more"
    );
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
fn whoever_was_loud_first_makes_room_for_the_others_whatever_its_stay() {
    let mut room = Room::sealed();
    room.policy.history_bytes_max = 256 * 1024;
    let mut relay = Relay::new(&room.policy);
    let kept = |relay: &Relay, of: &Side| {
        let stream = StreamKey { sender: of.me.id.clone(), channel: Channel::Group(Service::Fifo) };
        relay.kept_for_tests(&stream)
    };
    let [mut mal, mut again] = [("mal", 1), ("mal", 2)].map(|(user, stay)| {
        let incarnation = crate::ids::Incarnation(stay);
        Side::new(&room.policy, Identity::generate(name(user), incarnation, &mut rng(9 + stay)))
    });
    for i in 0..1000 {
        let loud = if i % 2 == 0 { &mut mal } else { &mut again };
        let frame = loud.multicast(at(0), Service::Fifo, &[0; 1000]);
        relay.on_frame(at(0), &loud.me.id, &frame);
    }
    for _ in 0..40 {
        for quiet in [&mut room.ana, &mut room.bo] {
            let frame = quiet.multicast(at(0), Service::Fifo, &[0; 1000]);
            relay.on_frame(at(0), &quiet.me.id, &frame);
        }
        let frame = mal.multicast(at(0), Service::Fifo, &[0; 1000]);
        relay.on_frame(at(0), &mal.me.id, &frame);
    }
    assert_eq!((kept(&relay, &room.ana), kept(&relay, &room.bo)), (40, 40), "all that the quiet ones said");
    assert!(kept(&relay, &mal) + kept(&relay, &again) > 60, "and the loud one has the rest");
    relay.forget(&mal.me.id, at(0));
    relay.expire(at(0));
    assert_eq!((kept(&relay, &mal), kept(&relay, &room.ana)), (0, 40));
    assert!(kept(&relay, &again) > 0, "a stay's end is not another's");
}

#[test]
fn who_leaves_out_numbers_and_keeps_them_is_named_and_who_supplies_them_is_not() {
    let mut room = Room::sealed();
    let since = Since::View(view_id(1).digest);
    let head =
        |kept| Head { channel: Channel::Group(Service::Fifo), since, start: Seq(1), next: Seq(100), kept: Seq(kept) };
    let (ana, bo) = (room.ana.me.id.clone(), room.bo.me.id.clone());
    let frames: Vec<_> = (1..100).map(|_| room.ana.multicast(at(0), Service::Fifo, b"x")).collect();
    let request = RepairRequest::new(room.group_stream(Service::Fifo), Seq(1), Seq(99)).unwrap();
    // What it supplies of what it is asked for, from when on it says it has its messages, and whether it is named.
    for (supplies, kept, named) in [(0, 1, true), (99, 1, false), (10, 1, false), (0, 90, false)] {
        let mut relay = Relay::new(&room.policy);
        relay.on_heads(&ana, vec![head(kept)], false);
        let mut asked = 0;
        for tick in 0..10 {
            let now = at(tick * 500);
            let wanted = relay.on_repair(now, &bo, &request).wanted.and_then(|w| relay.ask_sender(now, &w));
            asked += wanted.map_or(0, |wanted| wanted.numbers().count());
            if let Some(frame) = frames.get(usize::try_from(tick).unwrap()).filter(|_| tick < supplies) {
                relay.on_frame(now, &ana, frame);
            }
            if supplies == 99 {
                frames.iter().for_each(|frame| drop(relay.on_frame(now, &ana, frame)));
            }
            let withheld = relay.withheld(now);
            assert_eq!(withheld.is_empty(), !(named && tick == 6), "{supplies} {kept} {tick}: {withheld:?}");
        }
        assert!(asked <= 5 * 99, "no number is asked for more than once in a second: {asked}");
    }
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
