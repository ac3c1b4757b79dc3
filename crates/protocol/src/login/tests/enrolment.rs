//! Enrolment records (A2, K39).

use super::*;
use crate::fault::Rejected;

fn records(group: &GroupInfo) -> Vec<EnrolmentRecord> {
    enrol(group, &user("ana"), &Credential::Password(Secret32::new([8; 32])), &mut rng(4))
}

fn stored(registration: &Registration) -> Vec<u8> {
    registration.to_bytes().to_vec()
}

#[test]
fn a_record_opens_at_its_leader_and_nowhere_else() {
    let (group, secrets) = group_of_four();
    for record in records(&group) {
        for leader in &secrets {
            let opened = record.open(&group, leader);
            assert_eq!(opened.is_ok(), leader.id == record.leader, "{} at {}", record.leader, leader.id);
        }
    }
}

#[test]
fn an_altered_record_is_refused() {
    let (group, secrets) = group_of_four();
    let record = &records(&group)[0];
    let altered = |record: EnrolmentRecord| record.open(&group, &secrets[0]).unwrap_err() == Rejected::BadRecord;
    for at in 0..record.sealed.len() {
        let mut sealed = record.sealed.clone();
        sealed[at] ^= 1;
        assert!(altered(EnrolmentRecord { sealed, ..record.clone() }), "byte {at}");
        let cut = EnrolmentRecord { sealed: record.sealed[..at].to_vec(), ..record.clone() };
        assert!(altered(cut), "cut at {at}");
    }
    assert!(altered(EnrolmentRecord { user: user("eve"), ..record.clone() }), "under another name");
    assert!(altered(EnrolmentRecord { leader: leader(2), ..record.clone() }), "under another leader's number");
}

#[test]
fn a_record_that_announces_more_than_a_registration_is_refused() {
    let (group, _) = group_of_four();
    let record = &records(&group)[0];
    let long = EnrolmentRecord { sealed: vec![0; 1025], ..record.clone() };
    assert!(crate::codec::decode::<EnrolmentRecord>(&crate::codec::encode(&long)).is_err());
    let bytes = crate::codec::encode(record);
    let announced = bytes.len() - record.sealed.len() - 4;
    for length in [1025, u32::MAX] {
        let mut told = bytes.clone();
        told[announced..announced + 4].copy_from_slice(&length.to_le_bytes());
        assert!(crate::codec::decode::<EnrolmentRecord>(&told).is_err(), "{length}");
    }
    assert_eq!(crate::codec::decode::<EnrolmentRecord>(&bytes).as_ref(), Ok(record));
}

#[test]
fn a_record_of_another_group_is_refused() {
    let (group, secrets) = group_of_four();
    let g = group.clone();
    let keys = [g.group_keys, g.coin_keys, g.login_keys];
    let twin = GroupInfo::new("twin".into(), g.nonce, g.rules, g.leaders, keys, g.policy);
    assert_eq!(records(&twin)[0].open(&group, &secrets[0]).unwrap_err(), Rejected::BadRecord);
    assert!(records(&twin)[0].open(&twin, &secrets[0]).is_ok());
}

#[test]
fn what_leaders_store_differs_per_leader_and_per_user() {
    let (group, secrets) = group_of_four();
    let root = Secret32::new([8; 32]);
    let mut seen = std::collections::BTreeSet::new();
    for name in ["ana", "bo"] {
        for (record, secrets) in
            enrol(&group, &user(name), &Credential::Password(root.clone()), &mut rng(4)).iter().zip(&secrets)
        {
            seen.insert(stored(&record.open(&group, secrets).unwrap()));
        }
    }
    assert_eq!(seen.len(), 8);
    assert!(seen.iter().all(|stored| !stored.ends_with(root.expose())), "nobody stores the root");
}

#[test]
fn a_stored_registration_reads_back() {
    let key = SigningKey::generate(&mut rng(1)).verifying_key();
    for registration in [Registration::Password(Secret32::new([1; 32])), Registration::Key(key)] {
        let bytes = stored(&registration);
        assert_eq!(stored(&Registration::from_bytes(&bytes).unwrap()), bytes);
        assert!(Registration::from_bytes(&bytes[..bytes.len() - 1]).is_none());
        assert!(Registration::from_bytes(&[bytes.clone(), vec![0]].concat()).is_none());
    }
    assert!(Registration::from_bytes(&[]).is_none() && Registration::from_bytes(&[9; 33]).is_none());
}

#[test]
fn the_dealer_and_the_leaders_harden_alike() {
    let mut room = Room::new();
    let shares: Vec<_> = room.secrets.iter().map(|s| &s.login_share).collect();
    let dealt = enrol_as_dealer(&room.group, &shares, &user("ana"), b"correct horse", &mut rng(6)).unwrap();
    let too_few = enrol_as_dealer(&room.group, &shares[..1], &user("ana"), b"correct horse", &mut rng(6));
    assert!(too_few.is_none());
    room.register("ana", &dealt);
    let live = room.harden("ana", b"correct horse", &[2, 4]).unwrap();
    let outcome = room.login(3, "ana", &live);
    speak(&room, outcome);
}

#[test]
fn nothing_secret_is_printed() {
    let secret = Secret32::new([0x5a; 32]);
    let shown = format!("{:?} {:?}", Credential::Password(secret.clone()), Registration::Password(secret));
    assert!(!shown.contains("90") && !shown.contains("5a"), "{shown}");
}
