//! What one hacked leader can make the others keep.

use super::*;

/// Distinct joins of invented users, signed by leader 4.
fn flood(room: &Room, count: usize) -> Vec<SignedProposal> {
    let entry = entry("x", 1);
    let named =
        |i: usize| MemberEntry { id: MemberId { user: user(&format!("x{i}")), ..entry.id.clone() }, ..entry.clone() };
    (0..count).map(|i| room.signed(4, &Operation::Join(named(i)), false)).collect()
}

#[test]
fn a_flood_of_invented_users_is_bounded_and_in_nobodys_way() {
    let mut room = Room::new(4, 1);
    let proposals = flood(&room, PENDING_PER_LEADER_MAX + 2);
    let mut checked = 0;
    let outputs = room.me.on_proposals_within(leader(4), proposals, &mut || {
        checked += 1;
        true
    });
    assert_eq!(blamed(&outputs), vec![], "an honest leader may hear as many log in");
    assert_eq!(room.me.lives.len(), PENDING_PER_LEADER_MAX);
    assert_eq!(checked, PENDING_PER_LEADER_MAX, "what is not kept is not checked");

    room.accepts(&join("ana", 1));
    assert!(room.is_member("ana"));
    let _ = room.hears(4, &join("bo", 1));
    assert!(!room.me.lives.contains_key(&Subject::User(user("bo"))), "leader 4 is the first to speak of him");
    let _ = room.hears(3, &join("bo", 1));
    let _ = room.hears(4, &join("bo", 1));
    assert!(room.is_member("bo"), "what another wants too is counted, however much it has said before");
}

#[test]
fn who_joins_in_has_room_of_its_own_for_what_the_first_takes_back() {
    let mut room = Room::new(7, 2);
    let of_six: Vec<_> = flood(&room, PENDING_PER_LEADER_MAX).into_iter().map(|said| said.operation).collect();
    let signed = |room: &Room, by: u8, operations: &[Operation]| -> Vec<SignedProposal> {
        operations.iter().map(|operation| room.signed(by, operation, false)).collect()
    };
    let all = |room: &mut Room, by: u8, operations: &[Operation]| {
        let list = signed(room, by, operations);
        assert_eq!(room.me.on_proposals(leader(by), list), vec![]);
    };
    all(&mut room, 6, &of_six);
    all(&mut room, 7, &of_six);
    let pending = |room: &Room, by: u8| room.me.pending.get(&(leader(by), false)).copied().unwrap_or(0);
    assert_eq!((pending(&room, 6), pending(&room, 7)), (PENDING_PER_LEADER_MAX, 0));
    // Leader 7 speaks first of some more. Then leader 6 comes over a new link, again and again.
    let own: Vec<Operation> = (0..10).map(|number| join(&format!("y{number}"), 1)).collect();
    all(&mut room, 7, &own);
    for _ in 0..3 {
        room.me.on_peer_up(leader(6));
        all(&mut room, 6, &of_six);
    }
    assert_eq!(pending(&room, 7), PENDING_PER_LEADER_MAX);
    assert!(room.me.lives.len() <= 2 * PENDING_PER_LEADER_MAX, "{} subjects", room.me.lives.len());
    let of_seven = |life: &Life| life.ballots.iter().any(|ballot| ballot.votes.contains_key(&leader(7)));
    let kept = room.me.lives.values().filter(|life| of_seven(life)).count();
    assert_eq!(kept, PENDING_PER_LEADER_MAX, "nobody pays for them but leader 7");
}

/// Nobody is hacked, and leader 4 is off: thousands of programs logged in where only leader 2 could be reached, and gave up.
#[test]
fn an_honest_leader_that_alone_hears_thousands_log_in_is_heard_on_all_others() {
    let mut cluster = Cluster::new(4, 1, 1);
    let one = entry("x", 1);
    for number in 0..PENDING_PER_LEADER_MAX + 100 {
        let id = MemberId { user: user(&format!("user{number}")), ..one.id.clone() };
        cluster.admit(&[2], &MemberEntry { id, ..one.clone() });
    }
    cluster.deliver_all();
    cluster.compare();
    assert_eq!(cluster.blames.first(), None, "{} blames", cluster.blames.len());
    // Zoe is the last that leader 2 tells of; all three hear her.
    let zoe = entry("zoe", 1);
    for numbers in [[2].as_slice(), &[1, 3]] {
        cluster.admit(numbers, &zoe);
        cluster.deliver_all();
    }
    for _ in 0..=PENDING_PER_LEADER_MAX / 256 + 1 {
        cluster.compare();
    }
    for number in 1..=3 {
        assert!(cluster.at(number).members().get(&user("zoe")).is_some(), "leader {number}");
    }
    assert_eq!(cluster.blames, vec![]);
}

#[test]
fn what_was_pending_counts_until_it_is_settled_and_once() {
    let mut room = Room::new(4, 1);
    let pending = |room: &Room| room.me.pending.get(&(leader(4), false)).copied().unwrap_or(0);
    let _ = room.me.on_proposals(leader(4), flood(&room, 10));
    assert_eq!(pending(&room), 10);
    // Ana comes and goes with leader 4 taking part each time: its ten inventions are still there.
    for stay in 1..=5 {
        for operation in [join("ana", stay), remove("ana", stay, Cause::Left)] {
            let _ = room.hears(4, &operation);
            room.accepts(&operation);
            let _ = room.hears_accepted(4, &operation);
            assert_eq!(pending(&room), 10, "after {operation:?}");
        }
    }
}

#[test]
fn one_leader_keeps_few_operations_of_one_user_open() {
    let mut room = Room::new(4, 1);
    for stay in 1..=50 {
        let _ = room.hears(4, &join("ana", stay));
        let _ = room.hears(4, &remove("ana", stay, Cause::Expelled));
    }
    let life = &room.me.lives[&Subject::User(user("ana"))];
    assert_eq!(life.ballots.len(), 2 * BALLOTS_PER_SUBJECT_MAX, "stays that begin, and as many that end");
    for ends in [false, true] {
        assert_eq!(room.me.pending[&(leader(4), ends)], 1, "one subject, however many votes");
    }
    room.accepts(&join("ana", 1));
    assert!(room.is_member("ana"), "wild proposals for later stays do not hold the first one up");
}

#[test]
fn more_operations_of_one_user_than_are_kept_open_do_not_keep_a_leader_busy_for_ever() {
    let mut room = Room::new(7, 2);
    // f+1 others propose six operations of Ana, the lowest last; none gets n-f.
    let operations = (1..=3).flat_map(|stay| [join("ana", stay), remove("ana", stay, Cause::Lost)]);
    let operations: Vec<_> = operations.collect();
    for operation in operations.iter().rev() {
        let outputs: Vec<Output> = (2..=4).flat_map(|by| room.hears(by, operation)).collect();
        assert!(proposed(&outputs).len() <= 1, "{operation:?}");
    }
    room.accepts(&operations[5]);
}

#[test]
fn ones_own_unsupported_proposals_are_few_too() {
    let mut room = Room::new(4, 1);
    for stay in 1..=50 {
        assert!(room.me.admit(&entry("ana", stay)).is_ok());
    }
    assert_eq!(room.me.lives[&Subject::User(user("ana"))].ballots.len(), BALLOTS_PER_SUBJECT_MAX);
}

#[test]
fn conflicting_keys_for_one_stay_are_bounded_too() {
    let mut room = Room::new(4, 1);
    for number in 0..20 {
        let keys = entry("eve", number);
        let _ = room.hears(4, &Operation::Join(MemberEntry { id: entry("ana", 1).id, ..keys }));
    }
    assert_eq!(room.me.lives[&Subject::User(user("ana"))].ballots.len(), BALLOTS_PER_SUBJECT_MAX);
    room.accepts(&join("ana", 1));
}

/// Nobody is hacked: users' programs logged in where only leader 2 could be reached, as often as votes are kept.
#[test]
fn an_honest_leader_with_many_logins_that_are_not_settled_is_not_blamed() {
    let mut cluster = Cluster::new(4, 1, 2);
    for name in 0..1_025 {
        for stay in 1..=BALLOTS_PER_SUBJECT_MAX as u64 {
            cluster.admit(&[2], &entry(&format!("user{name}"), stay));
        }
    }
    cluster.deliver_all();
    cluster.compare();
    assert_eq!(cluster.blames.first(), None, "{} blames", cluster.blames.len());
}

/// What a network held back for a minute and delivers at once: all a user's comings and goings, which the others have settled.
#[test]
fn a_leader_says_no_more_of_one_user_than_others_hear() {
    let mut room = Room::new(4, 1);
    for stay in 1..=50 {
        assert!(room.me.admit(&entry("ana", stay)).is_ok());
        let _ = room.me.remove(&entry("ana", stay).id, Cause::Left);
    }
    let of_ana = |message: &PeerMessage| match message {
        PeerMessage::Proposals(list) => {
            list.iter().filter(|said| said.operation.subject() == Subject::User(user("ana"))).count()
        }
        _ => 0,
    };
    let said = room.me.status().iter().map(of_ana).max();
    assert!(said > Some(BALLOTS_PER_SUBJECT_MAX), "{said:?}: stays that begin, and such as end");
    assert!(said <= Some(VOTES_PER_SUBJECT_MAX), "{said:?}");
}

#[test]
fn a_full_group_takes_nobody_else_but_lets_members_back_in() {
    let policy = crate::policy::Policy { members_max: 2, ..quick_policy() };
    let (group, secrets) = group_of(4, 1, 2, policy);
    let me = Coordination::new(&group, &secrets[0], []);
    let mut room = Room { group, secrets, me };
    room.accepts(&join("ana", 1));
    room.accepts(&join("bo", 1));
    assert_eq!(room.me.admit(&entry("cy", 1)).unwrap_err(), Denial::Full);
    assert_eq!(room.me.admit(&entry("ana", 1)), Ok((true, vec![])), "over a new link");
    assert!(room.me.admit(&entry("bo", 2)).is_ok(), "in a new stay");
    room.accepts(&remove("ana", 1, Cause::Left));
    assert!(room.me.admit(&entry("cy", 1)).is_ok());
}

#[test]
fn buckets_of_the_wrong_number_are_blamed() {
    let mut room = Room::new(4, 1);
    for count in [0, 1, 255, 257] {
        let outputs = room.me.on_buckets(leader(2), &vec![[0; 32]; count]);
        assert_eq!(outputs, vec![Output::Blame(leader(2), Fault::Malformed)], "{count}");
    }
}

#[test]
fn leaders_in_one_state_say_no_more_than_that() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.admit(&[1, 2, 3, 4], &entry("ana", 1));
    cluster.deliver_all();
    let PeerMessage::Status(root) = cluster.at(1).status().swap_remove(0) else { unreachable!() };
    assert_eq!(cluster.at(1).status().len(), 1, "nothing is unsettled");
    assert_eq!(cluster.at(2).on_status(leader(1), root), vec![]);
    let PeerMessage::Buckets(theirs) = PeerMessage::Buckets(cluster.at(1).buckets_for_tests()) else { unreachable!() };
    assert_eq!(cluster.at(2).on_buckets(leader(1), &theirs), vec![]);
}

impl Coordination {
    /// What this leader sends to one whose status differs.
    fn buckets_for_tests(&mut self) -> Vec<[u8; 32]> {
        match self.on_status(leader(9), [0; 32]).swap_remove(0) {
            Output::Tell(_, PeerMessage::Buckets(buckets)) => buckets,
            other => panic!("not buckets: {other:?}"),
        }
    }
}

#[test]
fn joining_in_too_many_stays_of_one_user_comes_to_an_end() {
    let mut room = Room::new(7, 2);
    let stays = [1, 2, 3, 4, 5, 6, 3, 1];
    for stay in stays {
        for by in [2, 3, 4] {
            let _ = room.hears(by, &join("ana", stay));
        }
    }
    let life = &room.me.lives[&Subject::User(user("ana"))];
    assert_eq!(life.unsettled(room.me.me).len(), BALLOTS_PER_SUBJECT_MAX);
    let _ = room.hears(5, &join("ana", 6));
    assert!(room.is_member("ana"), "the last stay is what counts");
}
