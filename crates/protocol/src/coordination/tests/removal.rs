//! Leaving, being lost, being expelled (A15, A16, K34, K36).

use super::*;
use crate::fault::Rejected;

#[test]
fn a_removal_takes_the_same_quorums_as_a_join() {
    let mut room = Room::new(7, 2);
    room.accepts(&join("ana", 1));
    let gone = remove("ana", 1, Cause::Left);
    for by in 2..4 {
        assert_eq!(room.hears(by, &gone), vec![], "f leaders evict nobody");
    }
    assert_eq!(proposed(&room.hears(4, &gone)), vec![gone.clone()]);
    assert!(room.is_member("ana"), "four of n-f = 5");
    assert!(changed(&room.hears(5, &gone)));
    assert!(!room.is_member("ana"));
}

#[test]
fn removals_with_different_causes_are_one_operation() {
    let mut room = Room::new(7, 2);
    room.accepts(&join("ana", 1));
    let causes = [Cause::Left, Cause::Lost, Cause::Expelled, Cause::Left, Cause::Lost];
    let outputs: Vec<Output> =
        (2..7).zip(causes).flat_map(|(by, cause)| room.hears(by, &remove("ana", 1, cause))).collect();
    assert!(changed(&outputs) && !room.is_member("ana"));
    assert_eq!(room.me.epoch(), Epoch(2));
    assert!(room.me.admit(&entry("ana", 2)).is_ok(), "one expelling leader of f+1 = 3 bars nobody");
}

#[test]
fn the_cause_told_is_the_one_that_f_plus_1_could_give() {
    let told = |causes: [Cause; 3]| {
        let mut room = Room::new(4, 1);
        room.accepts(&join("ana", 1));
        for (by, cause) in (2..=4).zip(causes) {
            let _ = room.hears(by, &remove("ana", 1, cause));
        }
        room.me.ended(&entry("ana", 1).id).unwrap()
    };
    use Cause::{Expelled, Left, Lost};
    assert_eq!(told([Left, Left, Lost]), Left);
    assert_eq!(told([Lost, Lost, Lost]), Lost);
    assert_eq!(told([Expelled, Expelled, Left]), Expelled);
    assert_eq!(told([Expelled, Lost, Lost]), Lost, "one leader alone calls nobody expelled");
    assert_eq!(told([Expelled, Left, Expelled]), Expelled, "f+1 expel, though it was accepted as leaving");
}

#[test]
fn one_operator_expels_nobody_and_f_plus_1_do() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.admit(&[1, 2, 3, 4], &entry("ana", 1));
    cluster.deliver_all();
    cluster.expel(&[2], "ana");
    cluster.deliver_all();
    assert!((1..=4).all(|number| cluster.at(number).members().len() == 1));

    cluster.expel(&[3], "ana");
    cluster.deliver_all();
    for number in 1..=4 {
        assert!(cluster.at(number).members().is_empty(), "leader {number}");
        assert_eq!(cluster.at(number).ended(&entry("ana", 1).id), Some(Cause::Expelled));
        let denied = cluster.at(number).admit(&entry("ana", 2)).unwrap_err();
        assert!(matches!(denied, Denial::Expelled(_)), "leader {number}");
    }
    cluster.assert_same();
}

#[test]
fn an_expelled_user_is_not_let_in_by_f_hacked_leaders() {
    for (n, f) in [(4, 1), (7, 2)] {
        let mut cluster = Cluster::new(n, f, f);
        let honest: Vec<u8> = (1..=n - f).collect();
        cluster.admit(&honest, &entry("ana", 1));
        cluster.deliver_all();
        cluster.expel(&honest[..usize::from(f) + 1], "ana");
        cluster.deliver_all();
        cluster.admit(&honest, &entry("ana", 2));
        for by in n - f + 1..=n {
            let key = &cluster.secrets[usize::from(by) - 1].signing;
            let said = SignedProposal::sign(key, leader(by), cluster.group.session(), join("ana", 2), true);
            let to_all = honest.iter().map(|to| (leader(by), leader(*to), PeerMessage::Proposals(vec![said.clone()])));
            cluster.mail.extend(to_all);
        }
        cluster.deliver_all();
        cluster.assert_same();
        assert!(cluster.at(1).members().is_empty());
    }
}

#[test]
fn somebody_who_just_left_can_still_be_expelled() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.admit(&[1, 2, 3, 4], &entry("ana", 1));
    cluster.deliver_all();
    cluster.remove(&[1, 2, 3, 4], &entry("ana", 1).id, Cause::Left);
    cluster.deliver_all();
    cluster.expel(&[1, 4], "ana");
    cluster.deliver_all();
    for number in 1..=4 {
        assert!(
            matches!(cluster.at(number).admit(&entry("ana", 2)).unwrap_err(), Denial::Expelled(_)),
            "leader {number}"
        );
    }
    cluster.assert_same();
}

#[test]
fn a_user_nobody_knows_is_not_expelled() {
    let mut room = Room::new(4, 1);
    assert_eq!(room.me.expel(&user("ana")).unwrap_err(), Rejected::NotAMember(user("ana")));
}

#[test]
fn f_plus_1_operators_revoke_a_user_that_was_never_in() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.step(2, |state| state.revoke(&user("ana")).unwrap());
    cluster.deliver_all();
    cluster.admit(&[1, 3, 4], &entry("ana", 1));
    cluster.deliver_all();
    assert!((1..=4).all(|number| cluster.at(number).members().len() == 1), "one operator keeps nobody out");

    for number in [1, 4] {
        cluster.step(number, |state| state.revoke(&user("ben")).unwrap());
    }
    cluster.deliver_all();
    for number in 1..=4 {
        for stay in [1, 2] {
            let denied = cluster.at(number).admit(&entry("ben", stay)).unwrap_err();
            assert!(matches!(denied, Denial::Expelled(_)), "leader {number}, stay {stay}");
        }
    }
    for number in 1..=4 {
        cluster.step(number, |state| state.unbar(&user("ben")));
    }
    cluster.admit(&[1, 2, 3, 4], &entry("ben", 2));
    cluster.deliver_all();
    cluster.assert_same();
    assert_eq!(cluster.at(2).members().get(&user("ben")), Some(&entry("ben", 2)));
}

#[test]
fn operators_take_an_expelled_user_back() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.admit(&[1, 2, 3, 4], &entry("ana", 1));
    cluster.deliver_all();
    cluster.expel(&[1, 2], "ana");
    cluster.deliver_all();
    for number in 1..=4 {
        cluster.step(number, |state| state.unbar(&user("ana")));
    }
    cluster.admit(&[1, 2, 3, 4], &entry("ana", 2));
    cluster.deliver_all();
    cluster.assert_same();
    assert_eq!(cluster.at(3).members().get(&user("ana")), Some(&entry("ana", 2)));
    assert!(cluster.at(1).unbar(&user("ana")).is_empty(), "nothing to undo any more");
}

#[test]
fn a_user_taken_back_stays_so_while_other_operators_are_still_at_it() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.admit(&[1, 2, 3, 4], &entry("ana", 1));
    cluster.deliver_all();
    cluster.expel(&[1, 2], "ana");
    cluster.deliver_all();
    for number in 1..=2 {
        cluster.step(number, |state| state.unbar(&user("ana")));
        cluster.compare();
        assert!(cluster.at(number).admit(&entry("ana", 2)).is_ok(), "leader {number}: a person took half a minute");
    }
}

#[test]
fn f_plus_1_operators_take_an_expelled_user_back() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.admit(&[1, 2, 3, 4], &entry("ana", 1));
    cluster.deliver_all();
    cluster.expel(&[1, 2], "ana");
    cluster.deliver_all();
    (1..=2).for_each(|number| cluster.step(number, |state| state.unbar(&user("ana"))));
    cluster.admit(&[1, 2, 3, 4], &entry("ana", 2));
    cluster.deliver_all();
    cluster.compare();
    cluster.assert_same();
    for number in 1..=4 {
        let stay = cluster.at(number).admit(&entry("ana", 2));
        assert_eq!(stay, Ok((true, vec![])), "leader {number} takes its link too");
    }
}

#[test]
fn an_expelled_user_that_slips_back_in_is_expelled_again() {
    let mut cluster = Cluster::new(4, 1, 1);
    cluster.admit(&[1, 2, 3], &entry("ana", 1));
    cluster.deliver_all();
    cluster.expel(&[1, 2], "ana");
    // Leader 3 has not heard of it when it authenticates Ana's next stay, and hacked leader 4 joins in.
    cluster.mail.retain(|(_, to, _)| to.number() != 3);
    cluster.deliver_all();
    cluster.admit(&[3], &entry("ana", 2));
    for to in 1..=3 {
        let key = &cluster.secrets[3].signing;
        let said = SignedProposal::sign(key, leader(4), cluster.group.session(), join("ana", 2), false);
        cluster.mail.push_back((leader(4), leader(to), PeerMessage::Proposals(vec![said])));
    }
    cluster.deliver_all();
    cluster.compare();
    cluster.assert_same();
    for number in 1..=3 {
        assert!(cluster.at(number).members().is_empty(), "leader {number}");
        assert!(
            matches!(cluster.at(number).admit(&entry("ana", 3)).unwrap_err(), Denial::Expelled(_)),
            "leader {number}"
        );
    }
}

#[test]
fn an_operator_changes_its_mind_twice() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.admit(&[1, 2, 3, 4], &entry("ana", 1));
    cluster.deliver_all();
    let denied = |cluster: &mut Cluster| (1..=4).all(|n| cluster.at(n).admit(&entry("ana", 2)).is_err());
    cluster.expel(&[1, 2], "ana");
    cluster.deliver_all();
    (1..=4).for_each(|number| cluster.step(number, |state| state.unbar(&user("ana"))));
    cluster.compare();
    assert!(!denied(&mut cluster));
    cluster.mail.clear();
    cluster.expel(&[1, 2, 3, 4], "ana");
    cluster.deliver_all();
    cluster.compare();
    cluster.assert_same();
    assert!(denied(&mut cluster));
}

#[test]
fn a_user_taken_back_is_not_barred_at_a_leader_that_was_away() {
    let mut cluster = Cluster::new(4, 1, 1);
    cluster.admit(&[1, 2, 3], &entry("ana", 1));
    cluster.deliver_all();
    cluster.expel(&[1, 2], "ana");
    cluster.deliver_all();
    (1..=3).for_each(|number| cluster.step(number, |state| state.unbar(&user("ana"))));
    let away = Coordination::new(&cluster.group, &cluster.secrets[3], []);
    cluster.leaders.insert(leader(4), away);
    (0..3).for_each(|_| cluster.compare());
    cluster.assert_same();
    assert!(cluster.at(4).admit(&entry("ana", 2)).is_ok());
}

#[test]
fn what_an_operator_decided_outlives_a_restart() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.admit(&[1, 2, 3, 4], &entry("ana", 1));
    cluster.deliver_all();
    cluster.expel(&[1, 2], "ana");
    cluster.deliver_all();
    cluster.step(1, |state| state.unbar(&user("ana")));
    let records: Vec<_> = cluster.records[&leader(1)].values().cloned().collect();
    let restored = Coordination::new(&cluster.group, &cluster.secrets[0], records);
    cluster.leaders.insert(leader(1), restored);
    cluster.compare();
    assert!(cluster.at(1).admit(&entry("ana", 2)).is_ok());
    assert!(matches!(cluster.at(2).admit(&entry("ana", 2)).unwrap_err(), Denial::Expelled(_)));
}
