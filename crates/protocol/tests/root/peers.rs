//! What one leader can make another do: its share, and no more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringfort_protocol::codec::encode;
use ringfort_protocol::coordination::{LifeRecord, Operation, SignedProposal, VOTES_PER_SUBJECT_MAX};
use ringfort_protocol::data::Identity;
use ringfort_protocol::fault::{Culprit, Fault};
use ringfort_protocol::leader::{Effect, Event, Leader, Record, Step};
use ringfort_protocol::time::{Cx, Time};
use ringfort_protocol::view::Cause;
use ringfort_protocol::wire::{self, BUCKETS, PROPOSALS_MAX, PeerMessage};
use ringfort_protocol::{Incarnation, LeaderId, MemberId};

use crate::harness::{dealt, leader_id, rng, user};

/// Leader 1, whose peers this test plays.
struct Room {
    leader: Leader,
    now: Time,
}

impl Room {
    fn new(records: impl IntoIterator<Item = Record>) -> Self {
        let (group, mut secrets) = dealt();
        let now = Time::from_start(Duration::from_secs(1));
        let cx = &mut Cx { now, unix_ms: 0, rng: &mut rng(1) };
        let mut leader = Leader::new(cx, Arc::new(group), secrets.swap_remove(0), records);
        (2..=4).for_each(|peer| drop(leader.on_peer_up(leader_id(peer))));
        Room { leader, now }
    }

    fn hears(&mut self, from: LeaderId, frame: &Bytes) -> Step {
        let cx = &mut Cx { now: self.now, unix_ms: 0, rng: &mut rng(2) };
        self.leader.on_peer_frame(cx, from, frame)
    }
}

fn vote(by: u8, operation: Operation) -> SignedProposal {
    let (group, secrets) = dealt();
    let key = &secrets[usize::from(by) - 1].signing;
    SignedProposal::sign(key, leader_id(by), group.session(), operation, false)
}

fn removal(name: &str, stay: u64) -> Operation {
    Operation::Remove(MemberId { user: user(name), incarnation: Incarnation(stay) }, Cause::Left)
}

fn frame(votes: Vec<SignedProposal>) -> Bytes {
    wire::plain(&PeerMessage::Proposals(votes))
}

/// Four votes each on as many users as fit; from one `first` to another none is known.
fn crowd(by: u8, first: u64) -> Bytes {
    let votes = (0..PROPOSALS_MAX as u64).map(|n| vote(by, removal(&format!("nobody{}", n / 4), first + n % 4)));
    frame(votes.collect())
}

fn cuts(step: &Step) -> Vec<(LeaderId, Duration)> {
    let cut = |event: &Event| match event {
        Event::CutOff(leader, length) => Some((*leader, *length)),
        _ => None,
    };
    step.events.iter().filter_map(cut).collect()
}

fn blamed(step: &Step) -> Vec<Fault> {
    let fault = |event: &Event| match event {
        Event::Blamed(Culprit::Leader(_), fault) => Some(*fault),
        _ => None,
    };
    step.events.iter().filter_map(fault).collect()
}

#[test]
fn votes_that_nobody_keeps_are_paid_for_and_their_sender_is_cut_off_for_growing_times() {
    let mut room = Room::new([]);
    let floods = [crowd(4, 2), crowd(4, 10)];
    let mut lengths = Vec::new();
    // Eight hundred frames a second for a minute: 2.9 MB/s.
    for flood in floods.iter().cycle().take(48_000) {
        lengths.extend(cuts(&room.hears(leader_id(4), flood)).into_iter().map(|(_, length)| length.as_secs()));
        room.now = room.now + Duration::from_micros(1_250);
    }
    assert_eq!(lengths, [1, 2, 4, 8, 16, 32], "the first after half a second of work");
    // The others are heard all the while.
    let entry = Identity::generate(user("ana"), Incarnation(1), &mut rng(3)).entry();
    for by in [2, 3] {
        let _ = room.hears(leader_id(by), &frame(vec![vote(by, Operation::Join(entry.clone()))]));
    }
    assert_eq!(room.leader.members().len(), 1);
}

#[test]
fn more_votes_on_one_user_than_a_leader_can_have_are_refused_before_any_is_checked() {
    let mut room = Room::new([]);
    let votes = |most: u64| frame((2..2 + most).map(|stay| vote(4, removal("nobody", stay))).collect());
    let most = VOTES_PER_SUBJECT_MAX as u64;
    let step = room.hears(leader_id(4), &votes(most));
    assert_eq!((blamed(&step), cuts(&step)), (vec![], vec![]), "as many as an honest leader may have");
    let step = room.hears(leader_id(4), &votes(most + 1));
    assert_eq!(blamed(&step), [Fault::Flooding]);
    assert_eq!(cuts(&step), [(leader_id(4), Duration::from_secs(1))], "who does it is cut off at once");
}

#[test]
fn who_is_cut_off_is_not_heard_and_then_heard_again() {
    let mut room = Room::new([]);
    let flood = frame((2..258).map(|stay| vote(4, removal("nobody", stay))).collect());
    while cuts(&room.hears(leader_id(4), &flood)).is_empty() {}
    let entry = Identity::generate(user("ana"), Incarnation(1), &mut rng(3)).entry();
    let joins = |by| frame(vec![vote(by, Operation::Join(entry.clone()))]);
    let _ = room.hears(leader_id(4), &joins(4));
    let _ = room.hears(leader_id(3), &joins(3));
    assert_eq!(room.leader.members().len(), 0, "leader 4 is not listened to");
    room.now = room.now + Duration::from_secs(1);
    let _ = room.hears(leader_id(4), &joins(4));
    assert_eq!(room.leader.members().len(), 1, "and a second later it is");
}

#[test]
fn who_deviates_on_its_own_link_is_blamed_and_cut_off_at_once_and_for_growing_times() {
    let mut room = Room::new([]);
    let malformed = Bytes::from_static(b"\x01\x01\xff");
    let mut seen = Vec::new();
    for _ in 0..70 {
        let step = room.hears(leader_id(4), &malformed);
        assert_eq!(blamed(&step).len(), cuts(&step).len(), "who is cut off is not heard");
        seen.extend(cuts(&step).into_iter().map(|(leader, length)| (leader, length.as_secs())));
        room.now = room.now + Duration::from_millis(500);
    }
    assert_eq!(seen, [1, 2, 4, 8, 16, 32].map(|length| (leader_id(4), length)), "one cut each time");
}

#[test]
fn a_new_link_does_not_lift_a_cut() {
    let mut room = Room::new([]);
    let flood = frame((2..258).map(|stay| vote(4, removal("nobody", stay))).collect());
    while cuts(&room.hears(leader_id(4), &flood)).is_empty() {}
    room.leader.on_peer_down(leader_id(4));
    let _ = room.leader.on_peer_up(leader_id(4));
    let malformed = Bytes::from_static(b"\x01\x01\xff");
    assert_eq!(blamed(&room.hears(leader_id(4), &malformed)), []);
    assert_eq!(blamed(&room.hears(leader_id(3), &malformed)), [Fault::Malformed]);
}

#[test]
fn who_sends_more_than_any_honest_leader_is_blamed_for_it() {
    let mut room = Room::new([]);
    let junk = Bytes::from([&[1, 1], &vec![9; 1_000_000][..]].concat());
    let mut faults = Vec::new();
    // A megabyte ten times a second: nothing of it is read, but for the first.
    for _ in 0..600 {
        faults.extend(blamed(&room.hears(leader_id(4), &junk)));
        room.now = room.now + Duration::from_millis(100);
    }
    assert!(faults.contains(&Fault::Flooding), "{faults:?}");
    assert!(faults.len() < 100, "{} lines of blame", faults.len());
}

#[test]
fn an_honest_leader_that_says_all_it_may_is_neither_blamed_nor_cut_off() {
    let mut room = Room::new([]);
    // A status tells of as many as 256 votes.
    let votes: Vec<_> = (0..256).map(|i| vote(2, removal(&format!("user{i}"), 1))).collect();
    let mut says: Vec<_> = votes.chunks(PROPOSALS_MAX).map(|part| frame(part.to_vec())).collect();
    says.push(wire::plain(&PeerMessage::Status([7; 32])));
    let classes = wire::plain(&PeerMessage::Buckets(vec![[7; 32]; BUCKETS]));
    // Five minutes, and what it said in one of them held back and delivered at once.
    for period in 0..600_u64 {
        for said in &says {
            let step = room.hears(leader_id(2), said);
            assert_eq!((blamed(&step), cuts(&step)), (vec![], vec![]), "period {period}");
        }
        let step = room.hears(leader_id(2), &classes);
        assert_eq!((blamed(&step), cuts(&step)), (vec![], vec![]), "period {period}");
        let held_back = (100..220).contains(&period);
        room.now = room.now + Duration::from_millis(if held_back { 0 } else { 500 });
    }
}

#[test]
fn comparisons_are_answered_once_a_period_whoever_asks_oftener() {
    let one = Identity::generate(user("x"), Incarnation(1), &mut rng(3)).entry();
    let record = |i: usize| {
        let id = MemberId { user: user(&format!("x{i}")), ..one.id.clone() };
        let entry = ringfort_protocol::view::MemberEntry { id, ..one.clone() };
        Record::Life(LifeRecord::of(Operation::Join(entry)))
    };
    let mut room = Room::new((0..300).map(record));
    let classes = wire::plain(&PeerMessage::Buckets(vec![[0xaa; 32]; BUCKETS]));
    let sent = |step: &Step| {
        let bytes = |effect: &Effect| if let Effect::SendPeer(_, frame) = effect { frame.len() } else { 0 };
        step.effects.iter().map(bytes).sum::<usize>()
    };
    assert!(sent(&room.hears(leader_id(4), &classes)) > 30_000);
    for _ in 0..100 {
        assert_eq!(sent(&room.hears(leader_id(4), &classes)), 0);
    }
    assert!(sent(&room.hears(leader_id(3), &classes)) > 30_000, "another leader is answered");
    room.now = room.now + Duration::from_millis(500);
    assert!(sent(&room.hears(leader_id(4), &classes)) > 30_000, "and this one in the next period");
}

#[test]
fn a_list_that_is_too_long_is_refused_before_it_is_decoded() {
    let mut room = Room::new([]);
    for (kind, length) in [(1_u8, PROPOSALS_MAX + 1), (3, BUCKETS + 1), (1, usize::try_from(u32::MAX).unwrap())] {
        let body = encode(&(kind, u32::try_from(length).unwrap()));
        let step = room.hears(leader_id(4), &Bytes::from([&[1, 1], &body[..]].concat()));
        assert_eq!(blamed(&step), [Fault::Flooding], "{kind} {length}");
        room.now = room.now + Duration::from_secs(8);
    }
}

/// A leader comes back without its memory. Two others tell it of twelve thousand users, over links on which each message takes
/// three seconds.
#[test]
fn who_helps_a_leader_that_comes_back_over_slow_links_is_not_cut_off() {
    const USERS: usize = 12_000;
    let one = Identity::generate(user("x"), Incarnation(1), &mut rng(3)).entry();
    let record = |i: usize| {
        let id = MemberId { user: user(&format!("x{i}")), ..one.id.clone() };
        Record::Life(LifeRecord::of(Operation::Join(ringfort_protocol::view::MemberEntry { id, ..one.clone() })))
    };
    let records: Vec<Record> = (0..USERS).map(record).collect();
    let (start, mut chance) = (Time::from_start(Duration::from_secs(1)), rng(9));
    let mut leaders = BTreeMap::new();
    for (secrets, records) in dealt().1.into_iter().zip([Vec::new(), records.clone(), records]) {
        let cx = &mut Cx { now: start, unix_ms: 0, rng: &mut chance };
        leaders.insert(secrets.id, Leader::new(cx, Arc::new(dealt().0), secrets, records));
    }
    let ids: Vec<LeaderId> = leaders.keys().copied().collect();
    for (id, leader) in &mut leaders {
        ids.iter().filter(|peer| *peer != id).for_each(|peer| drop(leader.on_peer_up(*peer)));
    }
    let (mut mail, mut seen) = (Vec::<(Time, LeaderId, LeaderId, Bytes)>::new(), Vec::new());
    for turn in 0..900 {
        let now = start + Duration::from_millis(100 * turn);
        let cx = &mut Cx { now, unix_ms: 0, rng: &mut chance };
        let mut steps: Vec<(LeaderId, Step)> = Vec::new();
        let (due, rest) = mail.into_iter().partition(|(at, ..)| *at <= now);
        mail = rest;
        let due: Vec<(Time, LeaderId, LeaderId, Bytes)> = due;
        for (_, from, to, frame) in due {
            steps.push((to, leaders.get_mut(&to).unwrap().on_peer_frame(cx, from, &frame)));
        }
        for (id, leader) in leaders.iter_mut().filter(|(_, leader)| leader.next_wakeup().is_some_and(|at| at <= now)) {
            steps.push((*id, leader.on_wakeup(cx)));
        }
        for (id, step) in steps {
            seen.extend(cuts(&step).into_iter().map(|cut| (id, cut)));
            assert_eq!(blamed(&step), []);
            for effect in step.effects {
                let Effect::SendPeer(to, frame) = effect else { continue };
                mail.push((now + Duration::from_secs(3), id, to, frame));
            }
        }
        if leaders[&leader_id(1)].members().len() == USERS {
            break;
        }
    }
    assert_eq!(seen, []);
    assert_eq!(leaders[&leader_id(1)].members().len(), USERS);
}
