//! Enrolment records (A2, K39).

use ringfort_crypto::login_key::UserKey;
use ringfort_crypto::threshold::{KeyRole, PublicKeySet};

use super::super::registration::PasswordRegistration;
use super::*;
use crate::fault::Rejected;

fn records(group: &GroupInfo) -> Vec<EnrolmentRecord> {
    enrol_password(group, &user("ana"), b"correct horse", &mut rng(4)).unwrap().records
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
    let keys = [g.group_keys, g.coin_keys];
    let twin = GroupInfo::new("twin".into(), g.nonce, g.rules, g.leaders, keys, g.policy);
    assert_eq!(records(&twin)[0].open(&group, &secrets[0]).unwrap_err(), Rejected::BadRecord);
    assert!(records(&twin)[0].open(&twin, &secrets[0]).is_ok());
}

#[test]
fn what_leaders_store_differs_per_leader_and_per_user() {
    let (group, secrets) = group_of_four();
    let mut seen = std::collections::BTreeSet::new();
    for name in ["ana", "bo"] {
        let records = enrol_password(&group, &user(name), b"correct horse", &mut rng(4)).unwrap().records;
        let opened = records.iter().zip(&secrets).map(|(record, secrets)| record.open(&group, secrets).unwrap());
        for registration in opened {
            let Registration::Password(stored) = registration else { panic!("a password") };
            seen.extend([*stored.key().expose(), *stored.share().to_secret().expose()]);
        }
    }
    assert_eq!(seen.len(), 8 + 4, "the same dice deal both users the same shares");
}

#[test]
fn a_stored_registration_reads_back() {
    let (group, secrets) = group_of_four();
    let key = SigningKey::generate(&mut rng(1)).verifying_key();
    for registration in [records(&group)[0].open(&group, &secrets[0]).unwrap(), Registration::Key(key)] {
        let bytes = stored(&registration);
        assert_eq!(stored(&Registration::from_bytes(&bytes).unwrap()), bytes);
        assert!(!Registration::is_outdated(&bytes));
        for length in 0..bytes.len() {
            assert!(Registration::from_bytes(&bytes[..length]).is_none(), "{length} bytes");
        }
        assert!(Registration::from_bytes(&[bytes.clone(), vec![0]].concat()).is_none());
    }
    assert!(Registration::from_bytes(&[9; 33]).is_none());
    let outdated = [vec![1], vec![5; 32]].concat();
    assert!(Registration::is_outdated(&outdated) && Registration::from_bytes(&outdated).is_none());
}

/// Ana's record for leader 1, with the parts of its registration altered.
fn altered(alter: impl FnOnce(&mut PasswordRegistration, &PasswordRegistration)) -> Result<Registration, Rejected> {
    let (group, secrets) = group_of_four();
    let of = |number: usize| match records(&group)[number].open(&group, &secrets[number]).unwrap() {
        Registration::Password(stored) => stored,
        Registration::Key(_) => panic!("a password"),
    };
    let mut registration = of(0);
    alter(&mut registration, &of(1));
    let registration = Registration::Password(registration);
    EnrolmentRecord::seal(&group, &user("ana"), leader(1), &registration, &mut rng(5))
        .unwrap()
        .open(&group, &secrets[0])
}

#[test]
fn a_share_that_does_not_fit_is_refused() {
    let (group, _) = group_of_four();
    assert!(altered(|_, _| {}).is_ok());
    let refused = |alter: &dyn Fn(&mut PasswordRegistration, &PasswordRegistration)| {
        altered(|mine, of_2| alter(mine, of_2)).unwrap_err() == Rejected::BadLoginKey
    };
    assert!(refused(&|mine, of_2| mine.share = of_2.share.clone()), "another leader's share");
    let other = enrolled_key(&group, 9);
    assert!(refused(&|mine, _| mine.share = other.shares()[0].clone()), "a share of another key");
    assert!(refused(&|mine, _| mine.announced = AnnouncedKey(other.announced())), "another key");
    assert!(refused(&|mine, _| mine.announced.0.reverse()), "the parts in another order");
    assert!(refused(&|mine, _| mine.announced.0.truncate(1)), "a key that one leader evaluates");
    let all = |mine: &PasswordRegistration| {
        let keys = PublicKeySet::from_announced(KeyRole::Login, 4, &mine.announced.0).unwrap();
        AnnouncedKey(keys.to_bytes())
    };
    assert!(refused(&|mine, _| mine.announced = all(mine)), "a key that takes more leaders than there are honest");
    assert!(refused(&|mine, _| mine.announced.0[1] = [0; 32]), "no point");
}

fn enrolled_key(group: &GroupInfo, seed: u64) -> UserKey {
    let threshold = u16::try_from(group.rules.login_threshold()).unwrap();
    UserKey::deal(u16::from(group.rules.n()), threshold, &mut rng(seed)).unwrap()
}

#[test]
fn the_largest_groups_records_are_read() {
    let (group, secrets) = group_of(64, 21, 22, quick_policy());
    let records = records(&group);
    assert_eq!(records.len(), 64);
    let last: EnrolmentRecord = crate::codec::decode(&crate::codec::encode(&records[63])).unwrap();
    assert!(last.open(&group, &secrets[63]).is_ok());
}

#[test]
fn the_users_machine_and_the_leaders_harden_alike() {
    let mut room = Room::new();
    let live = room.with_password("ana", b"correct horse");
    let outcome = room.login(3, "ana", &live);
    speak(&room, outcome);
    let long = vec![b'x'; 65_536];
    assert!(enrol_password(&room.group, &user("ana"), &long, &mut rng(1)).is_none());
}

#[test]
fn nothing_secret_is_printed() {
    let (group, secrets) = group_of_four();
    let registration = records(&group)[0].open(&group, &secrets[0]).unwrap();
    let shown = format!("{:?} {registration:?}", Credential::Password(Secret32::new([0x5a; 32])));
    assert_eq!(shown, "Credential::Password(redacted) Registration::Password(redacted)");
}
