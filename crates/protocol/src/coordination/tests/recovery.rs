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
    assert_eq!(cluster.at(4).admit(&entry("di", 2)).unwrap_err(), Denial::Expelled, "the barred are barred here too");
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
    fn buckets_of_nothing(&self) -> Vec<[u8; 16]> {
        assert!(self.members().is_empty());
        vec![[0; 16]; crate::wire::BUCKETS]
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
    assert_eq!(cluster.at(4).admit(&entry("ana", 3)).unwrap_err(), Denial::Expelled);
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
        assert_eq!(restored.admit(&entry("di", 2)).unwrap_err(), Denial::Expelled);
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
        let operation = Operation::Join(MemberEntry { id: id.clone(), ..one.clone() });
        LifeRecord { user: Some(id.user), rank: 1, operation, barred: false, unwanted: false }
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
