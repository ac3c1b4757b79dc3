//! Session life: who can end a session, what ends with it, and that no order of what leaders hear matters (A22).

use super::*;
use crate::fault::Rejected;
use crate::ids::{SESSIONS_MAX, SessionNumber};

const SIZES: [(u8, u8); 3] = [(4, 1), (7, 2), (10, 3)];

fn number(number: u64) -> SessionNumber {
    SessionNumber::new(number).unwrap()
}

fn running(of: u64) -> Session {
    Session { number: number(of), open: true }
}

fn over(of: u64) -> Session {
    Session { number: number(of), open: false }
}

/// The number of a stay in a session.
fn stay(session: u64, count: u64) -> u64 {
    number(session).base().0 + count
}

impl Cluster {
    fn order(&mut self, numbers: impl IntoIterator<Item = u8>, order: SessionOrder) {
        for number in numbers {
            self.step(number, |state| state.order_session(order).unwrap());
        }
    }

    fn all_in(&mut self, session: Session) {
        for id in self.ids() {
            assert_eq!(self.leaders[&id].session(), session, "{id}");
        }
        self.assert_same();
    }
}

#[test]
fn f_votes_amplify_no_end_and_f_plus_1_do_and_n_minus_f_accept() {
    for (n, f) in SIZES {
        for rank in [1, 2] {
            let mut room = Room::new(n, f);
            room.accepts(&join("ana", 1));
            let end = Operation::Session(rank);
            for by in 2..2 + f {
                assert_eq!(room.hears(by, &end), vec![], "n={n}: {} leaders", by - 1);
            }
            let mut outputs = room.hears(2 + f, &end);
            assert_eq!(proposed(&outputs), vec![end.clone()], "n={n}: f+1 contain an honest one");
            let mut by = 2 + f;
            while by < n - f {
                assert!(!changed(&outputs) && room.is_member("ana"), "n={n}: {by} votes, one's own among them");
                by += 1;
                outputs = room.hears(by, &end);
            }
            assert!(changed(&outputs) && !room.is_member("ana"), "n={n}: n-f votes");
            assert_eq!(room.me.session().rank(), rank);
            assert!(outputs.contains(&Output::Session(room.me.session())));
        }
    }
}

#[test]
fn f_operators_end_nothing_and_f_plus_1_do() {
    for (n, f) in SIZES {
        let mut cluster = Cluster::new(n, f, 0);
        cluster.admit(&(1..=n).collect::<Vec<_>>(), &entry("ana", 1));
        cluster.deliver_all();
        cluster.order(1..=f, SessionOrder::End(number(1)));
        cluster.deliver_all();
        (0..2).for_each(|_| cluster.compare());
        cluster.all_in(running(1));
        assert_eq!(cluster.at(n).members().len(), 1);
        assert_eq!(cluster.at(n).session_asked(), Some((over(1), usize::from(f))), "operators can see it");

        cluster.order([f + 1], SessionOrder::End(number(1)));
        cluster.deliver_all();
        cluster.all_in(over(1));
        for by in 1..=n {
            let state = cluster.at(by);
            assert!(state.members().is_empty() && state.session_asked().is_none());
            assert_eq!(state.ended(&entry("ana", 1).id), Some(Cause::SessionOver));
            assert_eq!(state.admit(&entry("ana", 2)).unwrap_err(), Denial::NoSession(Incarnation(1)));
            assert_eq!(
                state.admit(&entry("ana", stay(2, 1))).unwrap_err(),
                Denial::NoSession(Incarnation(1)),
                "it has not begun"
            );
        }
    }
}

#[test]
fn f_hacked_leaders_end_and_bring_back_nothing() {
    for (n, f) in SIZES {
        let mut cluster = Cluster::new(n, f, f);
        let honest: Vec<u8> = (1..=n - f).collect();
        cluster.admit(&honest, &entry("ana", 1));
        cluster.deliver_all();
        let say = |cluster: &mut Cluster, operation: &Operation| {
            for by in n - f + 1..=n {
                let key = &cluster.secrets[usize::from(by) - 1].signing;
                let session = cluster.group.session();
                let words: Vec<_> = [false, true]
                    .map(|accepted| SignedProposal::sign(key, leader(by), session, operation.clone(), accepted))
                    .into();
                let message = PeerMessage::Proposals(words);
                honest.iter().for_each(|to| cluster.mail.push_back((leader(by), leader(*to), message.clone())));
            }
            cluster.deliver_all();
        };
        say(&mut cluster, &Operation::Session(1));
        say(&mut cluster, &Operation::Session(2));
        cluster.all_in(running(1));
        assert_eq!(cluster.at(1).members().len(), 1, "f alone end nothing");

        cluster.order(1..=f + 1, SessionOrder::Restart(number(1)));
        cluster.deliver_all();
        cluster.all_in(running(2));
        // What was true once, and what never was.
        for operation in [join("ana", 1), join("ana", 2), Operation::Session(1), Operation::Session(7)] {
            say(&mut cluster, &operation);
        }
        cluster.all_in(running(2));
        assert!(cluster.at(1).members().is_empty(), "nobody is brought back");
    }
}

#[test]
fn a_join_that_one_leader_accepted_just_before_the_end_of_the_session_leaves_all_in_one_state() {
    // Leader 4 is hacked: it votes for the join to leader 3 alone, and says nothing else. Leader 1 does not know her.
    for (n, f) in SIZES {
        let mut cluster = Cluster::new(n, f, f);
        let ana = join("ana", 1);
        let honest = n - f;
        let votes = |cluster: &Cluster, by: std::ops::RangeInclusive<u8>, accepted| -> Vec<(u8, PeerMessage)> {
            let session = cluster.group.session();
            let key = |by: u8| &cluster.secrets[usize::from(by) - 1].signing;
            let sign = |by| SignedProposal::sign(key(by), leader(by), session, ana.clone(), accepted);
            by.map(|by| (by, PeerMessage::Proposals(vec![sign(by)]))).collect()
        };
        // n-f votes at the last honest leader: its own, f+1 of other honest ones but one, and those of the hacked.
        cluster.admit(&(honest - f..=honest).collect::<Vec<_>>(), &entry("ana", 1));
        cluster.mail.retain(|(_, to, _)| to.number() == honest);
        for (by, message) in votes(&cluster, honest + 1..=n, false) {
            cluster.mail.push_back((leader(by), leader(honest), message));
        }
        cluster.deliver_all();
        assert_eq!(cluster.at(honest).members().len(), 1, "n={n}: accepted by one leader");
        cluster.mail.clear();
        cluster.order(1..=f + 1, SessionOrder::Restart(number(1)));
        cluster.mail.retain(|(.., message)| match message {
            PeerMessage::Proposals(list) => list.iter().all(|said| matches!(said.operation, Operation::Session(_))),
            _ => true,
        });
        cluster.deliver_all();
        (0..6).for_each(|_| cluster.compare());
        cluster.all_in(running(2));
    }
}

#[test]
fn a_user_comes_in_again_in_the_next_session_and_only_with_a_stay_of_it() {
    let mut cluster = Cluster::new(4, 1, 0);
    let all = [1, 2, 3, 4];
    cluster.admit(&all, &entry("ana", 1));
    cluster.deliver_all();
    cluster.order([1, 2], SessionOrder::Restart(number(1)));
    cluster.deliver_all();
    cluster.all_in(running(2));
    let base = number(2).base();
    for by in all {
        let state = cluster.at(by);
        assert_eq!(state.login_floor(&user("ana")), base, "what is told at a login");
        assert_eq!(state.login_floor(&user("new")), base);
        for old in [2, 7, base.0, stay(3, 1), stay(2, INCARNATION_JUMP_MAX + 1)] {
            assert_eq!(state.admit(&entry("ana", old)).unwrap_err(), Denial::Incarnation(base), "stay {old}");
        }
        assert_eq!(state.ended(&entry("new", 1).id), Some(Cause::SessionOver), "a join that was never settled");
        assert_eq!(state.ended(&entry("new", stay(2, 1)).id), None);
    }
    cluster.admit(&all, &entry("ana", stay(2, 1)));
    cluster.deliver_all();
    cluster.assert_same();
    assert_eq!(cluster.at(3).members().get(&user("ana")), Some(&entry("ana", stay(2, 1))));
    assert_eq!(cluster.at(3).ended(&entry("ana", 1).id), Some(Cause::SessionOver), "of the stay before it");
    assert_eq!(cluster.at(3).last_incarnation(&user("ana")).session(), number(2));
}

/// All that can be accepted about two users over two sessions.
fn history() -> Vec<Operation> {
    vec![
        join("ana", 1),
        join("bo", 1),
        remove("bo", 1, Cause::Left),
        Operation::Session(1),
        Operation::Session(2),
        join("ana", stay(2, 3)),
    ]
}

fn permutations(of: &[Operation]) -> Vec<Vec<Operation>> {
    let Some((first, rest)) = of.split_first() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for shorter in permutations(rest) {
        for place in 0..=shorter.len() {
            let mut longer = shorter.clone();
            longer.insert(place, first.clone());
            all.push(longer);
        }
    }
    all
}

/// Leader 1 after f+1 others say one after the other that they have accepted these.
fn after(group: &GroupInfo, secrets: &[LeaderSecrets], operations: &[Operation]) -> (Coordination, Vec<LifeRecord>) {
    let mut me = Coordination::new(group, &secrets[0], []);
    let mut disk: BTreeMap<Subject, LifeRecord> = BTreeMap::new();
    let mut epoch = Epoch(0);
    for operation in operations {
        for by in [2, 3] {
            let key = &secrets[by - 1].signing;
            let by = leader(u8::try_from(by).unwrap());
            let word = SignedProposal::sign(key, by, group.session(), operation.clone(), true);
            for output in me.on_proposals(by, vec![word]) {
                if let Output::Persist(record) = output {
                    disk.insert(record.subject.clone(), record);
                }
            }
        }
        assert!(me.epoch() >= epoch, "an epoch never falls");
        epoch = me.epoch();
        let session = me.session();
        assert!(me.members().iter().all(|entry| session.admits(entry.id.incarnation)), "{operations:?}");
    }
    (me, disk.into_values().collect())
}

#[test]
fn the_state_is_the_same_in_whatever_order_things_are_accepted() {
    let (group, secrets) = group_of(4, 1, 2, quick_policy());
    let all = history();
    let expected = state_of(&after(&group, &secrets, &all).0);
    assert_eq!(expected.members.len(), 1, "ana, in session 2");
    for (place, order) in permutations(&all).into_iter().enumerate() {
        let (state, disk) = after(&group, &secrets, &order);
        assert_eq!(state_of(&state), expected, "{order:?}");
        if place % 97 == 0 {
            let restored = Coordination::new(&group, &secrets[0], disk);
            assert_eq!(restored.session(), running(2));
            assert_eq!(state_of(&restored), expected, "{order:?}");
        }
    }
}

#[test]
fn a_join_that_races_with_the_end_makes_no_member_in_any_order() {
    let (group, secrets) = group_of(4, 1, 2, quick_policy());
    let race = [join("ana", 1), join("bo", 3), Operation::Session(1), remove("ana", 1, Cause::Lost)];
    let expected = state_of(&after(&group, &secrets, &race).0);
    assert!(expected.members.is_empty());
    assert_eq!(expected.epoch, Epoch(1 + 2 + 6), "each stay counts as ended");
    for order in permutations(&race) {
        let (state, disk) = after(&group, &secrets, &order);
        assert_eq!(state_of(&state), expected, "{order:?}");
        assert_eq!(state.session(), over(1));
        assert!(disk.iter().all(LifeRecord::is_sound));
        let joined = |record: &&LifeRecord| matches!(record.accepted, Some(Operation::Join(_)));
        assert_eq!(disk.iter().filter(joined).count(), 0, "nor is one on the disk");
    }
}

#[test]
fn a_stay_that_is_accepted_in_the_next_session_says_that_it_has_begun() {
    let (group, secrets) = group_of(4, 1, 2, quick_policy());
    let (state, _) = after(&group, &secrets, &[join("ana", 1), join("bo", stay(2, 1))]);
    assert_eq!(state.session(), running(2));
    assert_eq!(state.members().len(), 1, "bo alone: ana's session is over");
    assert_eq!(state.ended(&entry("ana", 1).id), Some(Cause::SessionOver));
}

#[test]
fn a_disk_that_knows_the_end_and_not_what_ended_with_it_brings_nobody_back() {
    let (group, secrets) = group_of(4, 1, 2, quick_policy());
    for operations in [[join("ana", 1), Operation::Session(1)], [Operation::Session(2), join("ana", 1)]] {
        let records = operations.clone().map(LifeRecord::of);
        let state = Coordination::new(&group, &secrets[0], records);
        assert!(state.members().is_empty());
        assert_eq!(state_of(&state), state_of(&after(&group, &secrets, &operations).0));
    }
    let ahead = Coordination::new(&group, &secrets[0], [join("ana", stay(3, 1))].map(LifeRecord::of));
    assert_eq!((ahead.session(), ahead.members().len()), (running(3), 1));
}

#[test]
fn a_leader_that_was_away_learns_of_the_next_session_and_who_is_in_it() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.admit(&[1, 2, 3, 4], &entry("ana", 1));
    cluster.deliver_all();
    let away = cluster.leaders.remove(&leader(4)).unwrap();
    cluster.order([1, 2], SessionOrder::End(number(1)));
    cluster.deliver_all();
    cluster.order([2, 3], SessionOrder::Start(number(2)));
    cluster.deliver_all();
    cluster.admit(&[1, 2, 3], &entry("ana", stay(2, 1)));
    cluster.deliver_all();
    cluster.leaders.insert(leader(4), away);
    (0..3).for_each(|_| cluster.compare());
    cluster.all_in(running(2));
    assert_eq!(cluster.at(4).members().len(), 1);
}

#[test]
fn an_order_outlives_a_crash_and_counts_when_the_leader_is_back() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.order([2], SessionOrder::End(number(1)));
    // Leader 2 dies before anybody has heard of it.
    cluster.mail.clear();
    let records: Vec<_> = cluster.records[&leader(2)].values().cloned().collect();
    assert!(records.iter().all(LifeRecord::is_sound));
    let restored = Coordination::new(&cluster.group, &cluster.secrets[1], records);
    cluster.leaders.insert(leader(2), restored);
    cluster.order([3], SessionOrder::End(number(1)));
    cluster.deliver_all();
    assert_eq!(cluster.at(1).session(), running(1), "one vote is known");
    cluster.compare();
    cluster.all_in(over(1));
}

#[test]
fn who_was_expelled_stays_out_in_the_next_session() {
    let mut cluster = Cluster::new(4, 1, 0);
    let all = [1, 2, 3, 4];
    cluster.admit(&all, &entry("ana", 1));
    cluster.admit(&all, &entry("bo", 1));
    cluster.deliver_all();
    cluster.expel(&[1, 2], "ana");
    // One operator wants Bo out: it is not enough in this session, nor forgotten in the next.
    cluster.expel(&[1], "bo");
    cluster.deliver_all();
    cluster.order([3, 4], SessionOrder::Restart(number(1)));
    cluster.deliver_all();
    cluster.all_in(running(2));
    let refused = |by: &u8| matches!(cluster.at(*by).admit(&entry("ana", stay(2, 1))), Err(Denial::Expelled(_)));
    assert!(all.iter().all(refused));
    assert_eq!(cluster.at(2).ended(&entry("ana", 1).id), Some(Cause::Expelled));
    cluster.admit(&all, &entry("bo", stay(2, 1)));
    cluster.deliver_all();
    assert_eq!(cluster.at(2).members().len(), 1);
    cluster.expel(&[4], "bo");
    cluster.deliver_all();
    assert!(cluster.at(2).members().is_empty(), "the second operator, two sessions' orders together");
    cluster.assert_same();
}

#[test]
fn an_operator_can_expel_somebody_whose_session_is_over() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.admit(&[1, 2, 3, 4], &entry("ana", 1));
    cluster.deliver_all();
    cluster.order([3, 4], SessionOrder::Restart(number(1)));
    cluster.deliver_all();
    cluster.expel(&[1, 2], "ana");
    cluster.deliver_all();
    (0..2).for_each(|_| cluster.compare());
    assert!(matches!(cluster.at(3).admit(&entry("ana", stay(2, 1))).unwrap_err(), Denial::Expelled(_)));
}

#[test]
fn an_order_that_does_not_fit_the_session_is_refused() {
    use SessionOrder::{End, Restart, Start};
    let mut room = Room::new(4, 1);
    let refused = |room: &mut Room, orders: &[SessionOrder]| {
        for order in orders {
            let now = room.me.session();
            let refused = Rejected::OtherSession { asked: order.number(), now };
            assert_eq!(room.me.order_session(*order), Err(refused), "{order:?} in {now}");
        }
    };
    let [one, two, three] = [1, 2, 3].map(number);
    refused(&mut room, &[Start(one), Start(two), End(two), Restart(two)]);
    assert_eq!(proposed(&room.me.order_session(End(one)).unwrap()), vec![Operation::Session(1)]);
    room.accepts(&Operation::Session(1));
    refused(&mut room, &[End(one), Restart(one), Start(one), Start(three)]);
    assert_eq!(proposed(&room.me.order_session(Start(two)).unwrap()), vec![Operation::Session(2)]);
    room.accepts(&Operation::Session(2));
    refused(&mut room, &[End(one), Restart(one), Start(two), Start(three), End(three)]);
    assert_eq!(proposed(&room.me.order_session(Restart(two)).unwrap()), vec![Operation::Session(4)]);
}

#[test]
fn sessions_have_a_last_one_and_the_epoch_has_room_for_all_of_them() {
    let (group, secrets) = group_of(4, 1, 2, quick_policy());
    let last = Session { number: number(SESSIONS_MAX), open: true };
    let mut state = Coordination::new(&group, &secrets[0], [LifeRecord::of(Operation::Session(last.rank()))]);
    assert_eq!(state.session(), last);
    assert!(state.order_session(SessionOrder::Restart(last.number)).is_err());
    assert!(state.order_session(SessionOrder::End(last.number)).is_ok());
    let beyond = Operation::Session(last.rank() + 2);
    assert!(!LifeRecord::of(beyond.clone()).is_sound());
    let mut room = Room::new(4, 1);
    let stay = last.number.base().0 + (1 << 32);
    for operation in [beyond, join("ana", stay), remove("ana", stay, Cause::Left)] {
        assert_eq!(blamed(&room.hears(2, &operation)), vec![(2, Fault::BadProposal)], "{operation:?}");
    }

    let rank_max = u128::from(Operation::Session(last.rank()).rank()) + (2 << 32) * u128::from(SESSIONS_MAX);
    assert!(rank_max * SUBJECTS_MAX as u128 <= u128::from(u64::MAX), "of all subjects together");
}

#[test]
fn a_flood_of_users_leaves_room_for_the_session() {
    let mut room = Room::new(4, 1);
    let one = identity("x", 1).entry();
    let records = (0..SUBJECTS_MAX).map(|i| {
        let id = MemberId { user: user(&format!("x{i}")), incarnation: Incarnation(1) };
        LifeRecord::of(Operation::Remove(id, Cause::Left))
    });
    room.me = Coordination::new(&room.group, &room.secrets[0], records);
    assert!(room.me.admit(&one).unwrap().1.is_empty(), "no room for one more user");
    room.accepts(&Operation::Session(1));
    room.accepts(&Operation::Refresh(1));
    assert_eq!(room.me.session(), over(1));
}

#[test]
fn a_leader_that_has_not_heard_of_a_session_refuses_no_stay_in_it_that_it_voted_for() {
    for (rank, known) in [(0, running(1)), (1, over(1))] {
        let mut room = Room::new(5, 1);
        if rank == 1 {
            room.accepts(&Operation::Session(rank));
        }
        assert_eq!(room.me.session(), known);
        // It joins in with f+1 others, and n-f are more.
        let ana = entry("ana", stay(2, 1));
        for by in 2..=3 {
            let _ = room.hears(by, &Operation::Join(ana.clone()));
        }
        assert!(room.me.members().is_empty() && room.me.session() == known);
        assert_eq!(room.me.standing(&ana), Ok(Standing::VotedFor), "{known}");
        // Of a rival's stay it must not say that the session of that is over.
        let refused = room.me.standing(&MemberEntry { signing: entry("bo", 1).signing, ..ana });
        let speaks_of = match refused {
            Err(Denial::NoSession(last)) => last.session(),
            _ => number(1),
        };
        assert_eq!(speaks_of, number(1), "{refused:?}");
    }
}
