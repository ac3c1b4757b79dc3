//! The threshold OPRF in front of a password login (A6, K39), and its limits.

use std::time::Duration;

use ringfort_crypto::threshold::{Evaluation, KeyRole, PublicKeySet};

use super::*;

fn evaluation(room: &mut Room, number: u8, name: &str, hardening: &Hardening) -> [u8; 128] {
    match room.blind(number, name, hardening.blinded().0) {
        Ok(LoginAnswer::Evaluated { evaluation }) => evaluation,
        other => panic!("leader {number} answers {other:?}"),
    }
}

#[test]
fn a_lying_leader_is_named_and_the_others_suffice() {
    let mut room = Room::new();
    let mut hardening = Hardening::start(user("ana"), b"correct horse", &mut rng(1)).unwrap();
    let [good_1, good_2, good_3] = [1, 2, 3].map(|number| evaluation(&mut room, number, "ana", &hardening));
    let mut lie = good_2;
    lie[5] ^= 1;
    assert!(matches!(hardening.on_evaluation(&room.group, leader(1), &good_1), (None, caught) if caught.is_empty()));
    let (root, caught) = hardening.on_evaluation(&room.group, leader(2), &lie);
    assert!(root.is_none());
    assert_eq!(caught, vec![leader(2)]);
    let (root, caught) = hardening.on_evaluation(&room.group, leader(2), &good_2);
    assert!(root.is_none() && caught.is_empty(), "who was caught is not heard again");
    let (root, caught) = hardening.on_evaluation(&room.group, leader(3), &good_3);
    assert!(caught.is_empty());
    let honest = room.harden("ana", b"correct horse", &[1, 4]).unwrap();
    assert_eq!(root.as_ref(), password_root(&honest));
}

#[test]
fn one_leader_speaks_once() {
    let mut room = Room::new();
    let mut hardening = Hardening::start(user("ana"), b"correct horse", &mut rng(1)).unwrap();
    for _ in 0..3 {
        let again = evaluation(&mut room, 1, "ana", &hardening);
        assert!(hardening.on_evaluation(&room.group, leader(1), &again).0.is_none());
    }
}

#[test]
fn every_altered_byte_of_an_evaluation_is_noticed() {
    let mut room = Room::new();
    let blank = || Hardening::start(user("ana"), b"correct horse", &mut rng(1)).unwrap();
    let [good_1, good_2] = [1, 2].map(|number| evaluation(&mut room, number, "ana", &blank()));
    for at in 0..128 {
        let mut hardening = blank();
        let mut lie = good_2;
        lie[at] ^= 0x40;
        let _ = hardening.on_evaluation(&room.group, leader(1), &good_1);
        let (root, caught) = hardening.on_evaluation(&room.group, leader(2), &lie);
        assert!(root.is_none(), "byte {at}");
        assert_eq!(caught, vec![leader(2)], "byte {at}");
    }
}

fn password_root(credential: &Credential) -> Option<&Secret32> {
    match credential {
        Credential::Password(root) => Some(root),
        _ => None,
    }
}

#[test]
fn the_root_depends_on_user_password_and_group_alone() {
    let mut room = Room::new();
    let root = |room: &mut Room, name: &str, password: &[u8], pair: &[u8]| {
        password_root(&room.harden(name, password, pair).unwrap()).unwrap().clone()
    };
    let first = root(&mut room, "ana", b"correct horse", &[1, 2]);
    assert_eq!(first, root(&mut room, "ana", b"correct horse", &[3, 4]));
    assert_ne!(first, root(&mut room, "ana", b"correct horsf", &[1, 2]));
    assert_ne!(first, root(&mut room, "bo", b"correct horse", &[1, 2]));
    let mut elsewhere = Room::of(group_of(7, 2, 3, quick_policy()));
    assert_ne!(first, root(&mut elsewhere, "ana", b"correct horse", &[1, 2, 3]));
}

#[test]
fn f_stolen_login_shares_do_not_evaluate_a_password() {
    for (n, f) in [(4, 1), (7, 2)] {
        let (group, secrets) = group_of(n, f, f + 1, quick_policy());
        let mut hardening = Hardening::start(user("ana"), b"correct horse", &mut rng(1)).unwrap();
        let stolen: Vec<(u16, Evaluation)> = secrets
            .iter()
            .take(usize::from(f))
            .map(|s| {
                let share = &s.login_share;
                (share.index(), share.evaluate_blinded(&hardening.blinded(), &mut rng(2)).unwrap())
            })
            .collect();
        for (index, evaluation) in &stolen {
            let number = leader(u8::try_from(*index).unwrap());
            assert!(hardening.on_evaluation(&group, number, &evaluation.to_bytes()).0.is_none());
        }
        // The shares lie on no polynomial of lower degree, so no smaller set determines the key.
        let keys = group.login_keys.to_bytes();
        assert!(PublicKeySet::from_bytes(KeyRole::Login, u16::from(f), &keys).is_err());
        assert!(PublicKeySet::from_bytes(KeyRole::Login, u16::from(f) + 1, &keys).is_ok());
    }
}

#[test]
fn each_leader_limits_evaluations_per_user() {
    let mut room = Room::new();
    let limit = quick_policy().login_attempts_per_minute;
    let blinded = Hardening::start(user("ana"), b"guess", &mut rng(1)).unwrap().blinded().0;
    let credential = room.with_password("ana", b"correct horse");
    let throttled = |answer| matches!(answer, Ok(LoginAnswer::Denied { reason: Denial::Throttled, .. }));
    room.now = Time::from_start(Duration::from_secs(600));
    for (name, number) in [("ana", 1), ("nobody", 1), ("ana", 2)] {
        let allowed = (0..limit * 3).filter(|_| !throttled(room.blind(number, name, blinded))).count();
        assert_eq!(allowed, usize::try_from(limit).unwrap(), "{name} at leader {number}");
    }
    assert!(!throttled(room.blind(1, "bo", blinded)), "another user is not held up");
    assert!(!throttled(room.blind(3, "ana", blinded)), "nor the user at another leader");

    assert!(throttled(room.blind(1, "ana", blinded)));
    let outcome = room.login(1, "ana", &credential);
    assert!(outcome.is_ok(), "the throttle is on evaluations, not on proofs");
    assert!(!throttled(room.blind(1, "ana", blinded)), "a successful login gives its evaluation back");
    assert!(throttled(room.blind(1, "ana", blinded)));
}

#[test]
fn one_link_gets_few_evaluations() {
    let mut room = Room::new();
    let blinded = Hardening::start(user("ana"), b"guess", &mut rng(1)).unwrap().blinded().0;
    let mut link = LoginServerLink::default();
    for user_number in 0..3 {
        assert!(room.blind_on(&mut link, 1, &format!("user{user_number}"), blinded).is_ok());
    }
    for _ in 0..300 {
        assert_eq!(room.blind_on(&mut link, 1, "another", blinded).unwrap_err(), Fault::Flooding);
    }
}

#[test]
fn what_is_no_point_is_not_evaluated() {
    let mut room = Room::new();
    for bad in [[0; 32], [0xff; 32]] {
        assert_eq!(room.blind(1, "ana", bad).unwrap_err(), Fault::Malformed);
    }
}
