//! Leaders that were away, and leaders that come back with their records (P5, P10, J1).

use super::*;

/// A cluster in which everything has happened: stays, ends, a refresh, an expulsion.
fn eventful(absent: u8) -> Cluster {
    let mut cluster = Cluster::new(4, 1, absent);
    let all: Vec<u8> = (1..=4 - absent).collect();
    for name in ["ana", "bo", "cy", "di"] {
        cluster.admit(&all, &entry(name, 1));
    }
    cluster.deliver_all();
    cluster.remove(&all, &entry("bo", 1).id, Cause::Left);
    cluster.remove(&all, &entry("cy", 1).id, Cause::Lost);
    cluster.expel(&[1, 2], "di");
    cluster.deliver_all();
    cluster.admit(&all, &entry("cy", 2));
    all.iter().for_each(|number| cluster.step(*number, Coordination::refresh));
    cluster.deliver_all();
    cluster.assert_same();
    assert_eq!(cluster.at(1).members().len(), 2);
    cluster
}

#[test]
fn a_leader_that_was_away_comes_to_the_same_state() {
    let mut cluster = eventful(1);
    let away = Coordination::new(&cluster.group, &cluster.secrets[3], []);
    cluster.leaders.insert(leader(4), away);
    (0..3).for_each(|_| cluster.compare());
    cluster.assert_same();
    assert!(
        matches!(cluster.at(4).admit(&entry("di", 2)).unwrap_err(), Denial::Expelled(_)),
        "the barred are barred here too"
    );
    assert_eq!(cluster.at(4).ended(&entry("bo", 1).id), Some(Cause::Left));
    assert_eq!(cluster.blames, vec![]);
}

#[test]
fn one_leader_alone_brings_nobody_up_to_its_state() {
    let mut cluster = eventful(1);
    let mut away = Coordination::new(&cluster.group, &cluster.secrets[3], []);
    let theirs = away.buckets_of_nothing();
    for output in cluster.at(1).on_buckets(leader(4), &theirs) {
        let Output::Tell(_, PeerMessage::Proposals(list)) = output else { panic!("{output:?}") };
        assert!(list.iter().all(|p| p.accepted));
        let _ = away.on_proposals(leader(1), list);
    }
    assert_eq!(away.epoch(), Epoch(0));
}

impl Coordination {
    fn buckets_of_nothing(&self) -> Vec<[u8; 32]> {
        assert!(self.members().is_empty());
        vec![[0; 32]; crate::wire::BUCKETS]
    }

    fn buckets_now(&mut self) -> Vec<[u8; 32]> {
        match self.on_status(leader(9), [0; 32]).pop() {
            Some(Output::Tell(_, PeerMessage::Buckets(buckets))) => buckets,
            other => panic!("not buckets: {other:?}"),
        }
    }
}

#[test]
fn an_expulsion_that_one_leader_missed_reaches_it() {
    let mut cluster = Cluster::new(4, 1, 0);
    cluster.admit(&[1, 2, 3, 4], &entry("ana", 1));
    cluster.deliver_all();
    cluster.remove(&[1, 2, 3, 4], &entry("ana", 1).id, Cause::Left);
    cluster.deliver_all();
    // The leaders agree that Ana has left; then two expel her, and nobody hears it but leader 3.
    cluster.expel(&[1, 2], "ana");
    cluster.mail.retain(|(_, to, _)| to.number() <= 3);
    cluster.deliver_all();
    assert!(cluster.at(4).admit(&entry("ana", 2)).is_ok());
    cluster.mail.clear();
    (0..3).for_each(|_| cluster.compare());
    assert!(matches!(cluster.at(4).admit(&entry("ana", 3)).unwrap_err(), Denial::Expelled(_)));
}

#[test]
fn records_restore_the_same_state() {
    let cluster = eventful(0);
    for secrets in &cluster.secrets {
        let records = cluster.records[&secrets.id].values().cloned();
        let mut restored = Coordination::new(&cluster.group, secrets, records);
        assert_eq!(state_of(&restored), cluster.state_of(secrets.id), "{}", secrets.id);
        let old = &cluster.leaders[&secrets.id];
        for (name, stay) in [("ana", 1), ("bo", 1), ("cy", 1), ("cy", 2), ("di", 1), ("nobody", 1)] {
            assert_eq!(restored.ended(&entry(name, stay).id), old.ended(&entry(name, stay).id), "{name}#{stay}");
            assert_eq!(restored.last_incarnation(&user(name)), old.last_incarnation(&user(name)), "{name}");
        }
        assert!(matches!(restored.admit(&entry("di", 2)).unwrap_err(), Denial::Expelled(_)));
        assert_eq!(restored.admit(&entry("ana", 1)), Ok((true, vec![])));
    }
}

#[test]
fn records_are_the_same_after_encoding() {
    let cluster = eventful(0);
    for record in cluster.records.values().flat_map(BTreeMap::values) {
        let bytes = crate::codec::encode(record);
        assert_eq!(&crate::codec::decode::<LifeRecord>(&bytes).unwrap(), record);
    }
}

#[test]
fn a_restored_leader_takes_part_again() {
    let mut cluster = eventful(1);
    let records: Vec<_> = cluster.records[&leader(2)].values().cloned().collect();
    let restored = Coordination::new(&cluster.group, &cluster.secrets[1], records);
    cluster.leaders.insert(leader(2), restored);
    // Leader 4 is absent, so nothing is accepted without leader 2.
    cluster.admit(&[1, 2, 3], &entry("ed", 1));
    cluster.deliver_all();
    cluster.assert_same();
    assert_eq!(cluster.at(2).members().get(&user("ed")), Some(&entry("ed", 1)));
}

#[test]
fn many_members_are_caught_up_with_in_a_few_comparisons() {
    let mut cluster = Cluster::new(4, 1, 1);
    let one = identity("x", 1).entry();
    let count = 4_500;
    let record = |i: usize| {
        let id = MemberId { user: user(&format!("x{i}")), ..one.id.clone() };
        LifeRecord::of(Operation::Join(MemberEntry { id, ..one.clone() }))
    };
    let records: Vec<_> = (0..count).map(record).collect();
    for (id, secrets) in cluster.ids().into_iter().zip(&cluster.secrets) {
        cluster.leaders.insert(id, Coordination::new(&cluster.group, secrets, records.clone()));
    }
    let away = Coordination::new(&cluster.group, &cluster.secrets[3], []);
    cluster.leaders.insert(leader(4), away);
    (0..3).for_each(|_| cluster.compare());
    assert_eq!(cluster.at(4).members().len(), count);
    cluster.assert_same();
}

/// A leader that comes back with nothing. Two leaders tell it of all members, the one before the other.
#[test]
fn who_tells_one_that_comes_back_of_thousands_before_others_do_is_not_blamed() {
    let mut cluster = Cluster::new(4, 1, 1);
    let one = identity("x", 1).entry();
    let count = PENDING_PER_LEADER_MAX + 400;
    let record = |i: usize| {
        let id = MemberId { user: user(&format!("x{i}")), ..one.id.clone() };
        LifeRecord::of(Operation::Join(MemberEntry { id, ..one.clone() }))
    };
    let records: Vec<_> = (0..count).map(record).collect();
    let mut away = Coordination::new(&cluster.group, &cluster.secrets[3], []);
    for (id, secrets) in cluster.ids().into_iter().zip(&cluster.secrets) {
        cluster.leaders.insert(id, Coordination::new(&cluster.group, secrets, records.clone()));
    }
    let mut blames = Vec::new();
    for by in [1, 2, 1] {
        for _ in 0..count.div_ceil(2_048) {
            let theirs = away.buckets_now();
            for output in cluster.at(by).on_buckets(leader(4), &theirs) {
                let Output::Tell(_, PeerMessage::Proposals(list)) = output else { panic!("{output:?}") };
                blames.extend(blamed(&away.on_proposals(leader(by), list)));
            }
        }
    }
    assert_eq!(blames, vec![]);
    assert_eq!(away.members().len(), count);
}

/// A leader as it comes back from its disk.
pub(super) fn restart(cluster: &mut Cluster, number: u8) {
    let id = leader(number);
    let records: Vec<_> = cluster.records.get(&id).into_iter().flat_map(BTreeMap::values).cloned().collect();
    for record in &records {
        assert!(record.is_sound(), "{record:?}");
    }
    let secrets = &cluster.secrets[usize::from(number) - 1];
    cluster.leaders.insert(id, Coordination::new(&cluster.group, secrets, records));
    cluster.mail.retain(|(from, to, _)| *from != id && *to != id);
    for other in cluster.ids().into_iter().filter(|other| *other != id) {
        cluster.leaders.get_mut(&other).unwrap().on_peer_up(id);
        cluster.leaders.get_mut(&id).unwrap().on_peer_up(other);
    }
}

#[test]
fn a_leader_stands_by_its_vote_after_a_crash() {
    let mut cluster = Cluster::new(4, 1, 1);
    let ana = entry("ana", 1);
    // Leaders 2 and 3 vote; the hacked leader 4 votes at leader 3 alone, which accepts, and leader 2 is killed.
    cluster.admit(&[2, 3], &ana);
    cluster.mail.retain(|(from, to, _)| (from.number(), to.number()) != (2, 1));
    let word = SignedProposal::sign(
        &cluster.secrets[3].signing,
        leader(4),
        cluster.group.session(),
        Operation::Join(ana.clone()),
        false,
    );
    cluster.step(3, |state| state.on_proposals(leader(4), vec![word]));
    let to_3 = cluster.mail.iter().position(|(from, to, _)| (from.number(), to.number()) == (2, 3)).unwrap();
    cluster.deliver_at(to_3);
    assert_eq!(cluster.at(3).members().len(), 1);
    restart(&mut cluster, 2);
    assert_eq!(cluster.at(2).last_incarnation(&user("ana")), Incarnation(1));
    (0..3).for_each(|_| cluster.compare());
    cluster.assert_same();
    assert_eq!(cluster.at(1).members().len(), 1);
    assert!(cluster.records[&leader(2)].values().all(|life| life.votes.is_empty()), "what is settled needs no vote");
}

#[test]
fn an_order_to_expel_outlives_a_crash_before_anything_is_accepted() {
    let mut cluster = Cluster::new(4, 1, 1);
    cluster.admit(&[1, 2], &entry("ana", 1));
    cluster.mail.clear();
    cluster.expel(&[1, 2], "ana");
    cluster.mail.clear();
    restart(&mut cluster, 1);
    restart(&mut cluster, 2);
    (0..3).for_each(|_| cluster.compare());
    cluster.assert_same();
    for number in 1..=3 {
        assert!(
            matches!(cluster.at(number).admit(&entry("ana", 2)).unwrap_err(), Denial::Expelled(_)),
            "at leader {number}"
        );
    }
}

#[test]
fn a_leader_whose_memory_is_old_says_nothing_before_f_plus_1_others_are_in_its_state() {
    let mut cluster = eventful(1);
    let mut away = Coordination::new(&cluster.group, &cluster.secrets[3], []);
    away.catch_up_first();
    cluster.leaders.insert(leader(4), away);
    cluster.admit(&[4], &entry("ed", 1));
    cluster.remove(&[4], &entry("ana", 1).id, Cause::Lost);
    cluster.step(4, Coordination::refresh);
    assert!(cluster.mail.is_empty(), "{:?}", cluster.mail);
    // One leader alone, hacked perhaps, is not enough.
    let PeerMessage::Status(same) = cluster.at(4).status().swap_remove(0) else { unreachable!() };
    assert_eq!(cluster.at(4).on_status(leader(1), same), vec![]);
    assert_eq!(cluster.at(4).on_status(leader(1), same), vec![]);
    assert!(cluster.at(4).is_catching_up());
    // Leaders 1 to 3 want Fay in; leader 4 hears of it, and says nothing yet.
    cluster.admit(&[1, 2], &entry("fay", 1));
    let before = cluster.mail.len();
    while let Some(place) = cluster.mail.iter().position(|(_, to, _)| *to == leader(4)) {
        cluster.deliver_at(place);
    }
    assert_eq!(cluster.mail.len() + 2, before);
    cluster.deliver_all();
    (0..4).for_each(|_| cluster.compare());
    cluster.assert_same();
    assert!(!cluster.at(4).is_catching_up());
    cluster.admit(&[4], &entry("gus", 1));
    assert_eq!(cluster.mail.len(), 3, "it votes again");
}

/// Ana's stay with keys that prevail over those with which she is in.
fn with_prevailing_keys(join_of_ana: &Operation) -> Operation {
    let stay =
        |seed| crate::data::Identity::generate(user("ana"), Incarnation(1), &mut crate::testing::rng(seed)).entry();
    let mut others = (1_000..1_100).map(|seed| Operation::Join(stay(seed)));
    others.find(|other| other.content() > join_of_ana.content()).unwrap()
}

#[test]
fn leaders_that_are_hacked_one_after_the_other_do_not_put_other_keys_in_the_place_of_a_members() {
    let mut room = Room::new(4, 1);
    room.accepts(&join("ana", 1));
    let (theirs, later) = (with_prevailing_keys(&join("ana", 1)), join("ana", 2));
    for invented in [&theirs, &later] {
        let _ = room.hears(2, invented);
        // Leader 2 is clean again, and comes over a new link. Then leader 3 is hacked.
        room.me.on_peer_up(leader(2));
        assert_eq!(proposed(&room.hears(3, invented)), vec![], "nobody honest has seen her with these keys");
        room.me.on_peer_up(leader(3));
    }
    assert!(room.me.members().get_member(&entry("ana", 1).id) == Some(&entry("ana", 1)));
}
