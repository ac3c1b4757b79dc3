//! The threshold OPRF in front of a password login (A6, K39), and its limits.

use std::time::Duration;

use ringfort_crypto::login_key::UserKey;
use ringfort_crypto::threshold::{KeyRole, PublicKeySet};

use super::*;

type Answer = ([u8; 128], AnnouncedKey);

fn evaluation(room: &mut Room, number: u8, name: &str, hardening: &Hardening) -> Answer {
    match room.blind(number, name, hardening.blinded().0) {
        Ok(LoginAnswer::Evaluated { evaluation, key }) => (evaluation, key),
        other => panic!("leader {number} answers {other:?}"),
    }
}

fn hear(room: &Room, hardening: &mut Hardening, number: u8, (evaluation, key): &Answer) -> Hardened {
    hardening.on_evaluation(&room.group, leader(number), evaluation, key)
}

fn hardening(seed: u64) -> Hardening {
    Hardening::start(user("ana"), b"correct horse", &mut rng(seed)).unwrap()
}

#[test]
fn a_lying_leader_is_named_and_the_others_suffice() {
    let mut room = Room::new();
    let honest = room.with_password("ana", b"correct horse");
    let mut hardening = hardening(1);
    let [good_1, good_2, good_3] = [1, 2, 3].map(|number| evaluation(&mut room, number, "ana", &hardening));
    let mut lie = good_2.clone();
    lie.0[5] ^= 1;
    let first = hear(&room, &mut hardening, 1, &good_1);
    assert!(first.root.is_none() && first.caught.is_empty() && first.alone.is_empty());
    let second = hear(&room, &mut hardening, 2, &lie);
    assert!(second.root.is_none());
    assert_eq!(second.caught, vec![leader(2)]);
    let again = hear(&room, &mut hardening, 2, &good_2);
    assert!(again.root.is_none() && again.caught.is_empty(), "who was caught is not heard again");
    let third = hear(&room, &mut hardening, 3, &good_3);
    assert!(third.caught.is_empty());
    let (root, leaders) = third.root.unwrap();
    assert_eq!((Some(&root), leaders), (password_root(&honest), vec![leader(1), leader(3)]));
}

#[test]
fn one_leader_speaks_once() {
    let mut room = Room::new();
    room.with_password("ana", b"correct horse");
    let mut hardening = hardening(1);
    for _ in 0..3 {
        let again = evaluation(&mut room, 1, "ana", &hardening);
        assert!(hear(&room, &mut hardening, 1, &again).root.is_none());
    }
}

#[test]
fn every_altered_byte_of_an_answer_is_noticed() {
    let mut room = Room::new();
    room.with_password("ana", b"correct horse");
    let [good_1, good_2] = [1, 2].map(|number| evaluation(&mut room, number, "ana", &hardening(1)));
    for at in 0..128 {
        let mut hardening = hardening(1);
        let mut lie = good_2.clone();
        lie.0[at] ^= 0x40;
        let _ = hear(&room, &mut hardening, 1, &good_1);
        let heard = hear(&room, &mut hardening, 2, &lie);
        assert!(heard.root.is_none(), "byte {at}");
        assert_eq!(heard.caught, vec![leader(2)], "byte {at}");
    }
    for at in 0..64 {
        let mut hardening = hardening(1);
        let mut lie = good_2.clone();
        lie.1.0[at / 32][at % 32] ^= 0x40;
        let _ = hear(&room, &mut hardening, 1, &good_1);
        assert!(hear(&room, &mut hardening, 2, &lie).root.is_none(), "byte {at} of the key");
    }
}

#[test]
fn a_key_of_the_wrong_size_is_caught_at_once() {
    let mut room = Room::new();
    room.with_password("ana", b"correct horse");
    for size in [0, 1, 3] {
        let mut hardening = hardening(1);
        let mut lie = evaluation(&mut room, 2, "ana", &hardening);
        lie.1.0.resize(size, [7; 32]);
        assert_eq!(hear(&room, &mut hardening, 2, &lie).caught, vec![leader(2)], "{size} parts");
    }
}

/// What f hacked leaders can do with a key of their own making: for each share that they hold, and for those of the honest too.
#[test]
fn f_leaders_that_agree_on_a_key_of_theirs_neither_fool_nor_stop_anybody() {
    for (n, f) in [(4, 1), (7, 2)] {
        let mut room = Room::of(group_of(n, f, f + 1, quick_policy()));
        room.with_password("ana", b"correct horse");
        let mut hardening = hardening(1);
        let theirs = UserKey::deal(u16::from(n), u16::from(f) + 1, &mut rng(8)).unwrap();
        for number in 1..=f {
            let share = &theirs.shares()[usize::from(number) - 1];
            let answer = share.evaluate_blinded(&hardening.blinded(), &mut rng(2)).unwrap();
            let told = (answer.to_bytes(), AnnouncedKey(theirs.announced()));
            let heard = hear(&room, &mut hardening, number, &told);
            assert!(heard.root.is_none() && heard.alone.is_empty(), "f leaders agree with themselves");
        }
        let mut alone = Vec::new();
        for number in f + 1..=n {
            let answer = evaluation(&mut room, number, "ana", &hardening);
            let heard = hear(&room, &mut hardening, number, &answer);
            assert_eq!(heard.root.is_some(), number > 2 * f, "f+1 honest leaders are enough");
            let right = room.harden("ana", b"correct horse", &(f + 1..=n).collect::<Vec<_>>()).unwrap();
            assert!(heard.root.is_none_or(|(root, _)| Some(&root) == password_root(&right)));
            alone = heard.alone;
        }
        assert_eq!(alone, (1..=f).map(leader).collect::<Vec<_>>(), "f of {n} are alone with their key in the end");
    }
}

/// Half of the leaders have accepted a new record, half still have the old one: each knows one password for its own.
#[test]
fn two_registrations_give_a_password_each_for_the_leaders_that_know_it() {
    let mut room = Room::new();
    room.with_password("ana", b"correct horse");
    let renewed = enrol_password(&room.group, &user("ana"), b"correct horse", &mut rng(12)).unwrap().records;
    room.accept(renewed.into_iter().take(2));
    let mut hardening = hardening(1);
    let mut roots = Vec::new();
    for number in [1, 3, 2, 4] {
        let answer = evaluation(&mut room, number, "ana", &hardening);
        let heard = hear(&room, &mut hardening, number, &answer);
        assert!(heard.caught.is_empty() && heard.alone.is_empty(), "nobody lies, and nobody is alone");
        roots.extend(heard.root);
    }
    let [(new, at_new), (old, at_old)] = &roots[..] else { panic!("two roots") };
    assert_ne!(new, old);
    assert_eq!((&at_new[..], &at_old[..]), (&[leader(1), leader(2)][..], &[leader(3), leader(4)][..]));
    for (root, leaders) in &roots {
        let credential = Credential::Password(root.clone());
        for number in 1..=4 {
            let outcome = room.login(number, "ana", &credential);
            assert_eq!(outcome.is_ok(), leaders.contains(&leader(number)), "leader {number}");
        }
    }
}

/// Some leaders know nobody of that name, one has an older registration, and one has the newer.
#[test]
fn who_is_alone_with_a_key_is_told_as_soon_as_the_others_have_said_that_they_know_none() {
    let mut room = Room::new();
    let records =
        |room: &mut Room| enrol_password(&room.group, &user("ana"), b"correct horse", &mut room.rng).unwrap().records;
    let (old, new) = (records(&mut room), records(&mut room));
    room.accept([old[0].clone(), new[1].clone()]);
    let mut hardening = hardening(1);
    for number in [1, 2] {
        let answer = evaluation(&mut room, number, "ana", &hardening);
        assert_eq!(hear(&room, &mut hardening, number, &answer).alone, vec![]);
    }
    assert!(room.refuses(3, "ana", hardening.blinded().0) && room.refuses(4, "ana", hardening.blinded().0));
    assert_eq!(hardening.on_unknown(&room.group, leader(3)), vec![]);
    assert_eq!(hardening.on_unknown(&room.group, leader(4)), vec![leader(1), leader(2)]);
}

#[test]
fn for_a_name_without_a_password_nothing_is_evaluated_and_nothing_is_counted() {
    let mut room = Room::new();
    room.register("kim", &Credential::Key(SigningKey::generate(&mut rng(1))));
    let blinded = hardening(1).blinded().0;
    let limit = quick_policy().login_attempts_per_minute;
    for name in ["kim", "nobody"] {
        assert!((0..3 * limit).all(|_| room.refuses(1, name, blinded)), "{name}");
        // Who is registered now is not held up by what was asked before.
        room.with_password(name, b"correct horse");
        assert!(matches!(room.blind(1, name, blinded), Ok(LoginAnswer::Evaluated { .. })), "{name}");
    }
}

#[test]
fn what_is_asked_under_other_names_is_nothing_for_anas_password() {
    let mut room = Room::new();
    let right = room.with_password("ana", b"correct horse");
    room.with_password("bo", b"battery staple");
    room.with_password("mal", b"correct horse");
    let guess = hardening(1);
    let own = [3, 4].map(|number| evaluation(&mut room, number, "ana", &guess));
    for name in ["bo", "mal"] {
        let borrowed = [1, 2].map(|number| evaluation(&mut room, number, name, &guess));
        assert_ne!(borrowed[0].1, own[0].1, "{name} has another key");
        // As they are, and with ana's key put in.
        for key in [&borrowed[0].1, &own[0].1] {
            let mut hardening = hardening(1);
            let mut heard = Hardened::default();
            for number in [1, 2] {
                let answer = (borrowed[usize::from(number) - 1].0, key.clone());
                heard = hear(&room, &mut hardening, number, &answer);
            }
            if let Some((root, _)) = heard.root {
                assert_ne!(Some(&root), password_root(&right));
                let outcome = room.login(1, "ana", &Credential::Password(root));
                assert_eq!(outcome.err(), Some(Stopped::AtMember(LoginFailure::NoProof)), "{name}");
            } else {
                assert_eq!(heard.caught, vec![leader(1), leader(2)], "{name}");
            }
        }
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
    for name in ["ana", "bo"] {
        room.with_password(name, b"correct horse");
    }
    let first = root(&mut room, "ana", b"correct horse", &[1, 2]);
    assert_eq!(first, root(&mut room, "ana", b"correct horse", &[3, 4]));
    assert_ne!(first, root(&mut room, "ana", b"correct horsf", &[1, 2]));
    assert_ne!(first, root(&mut room, "bo", b"correct horse", &[1, 2]));
    room.with_password("ana", b"correct horse");
    assert_ne!(first, root(&mut room, "ana", b"correct horse", &[1, 2]), "the same password enrolled again");
    let mut elsewhere = Room::of(group_of(7, 2, 3, quick_policy()));
    elsewhere.with_password("ana", b"correct horse");
    assert_ne!(first, root(&mut elsewhere, "ana", b"correct horse", &[1, 2, 3]));
}

#[test]
fn f_stolen_databases_do_not_evaluate_a_password() {
    for (n, f) in [(4, 1), (7, 2)] {
        let mut room = Room::of(group_of(n, f, f + 1, quick_policy()));
        room.with_password("ana", b"correct horse");
        let mut hardening = hardening(1);
        let mut stolen = Vec::new();
        for number in 0..usize::from(f) {
            let Registration::Password(stored) =
                room.records["ana"][number].open(&room.group, &room.secrets[number]).unwrap()
            else {
                panic!("a password");
            };
            let evaluation = stored.share().evaluate_blinded(&hardening.blinded(), &mut rng(2)).unwrap().to_bytes();
            stolen.push((evaluation, stored.announced().clone()));
        }
        for (number, answer) in (1..).zip(&stolen) {
            assert!(hear(&room, &mut hardening, number, answer).root.is_none());
        }
        // The shares lie on no polynomial of lower degree, so no smaller set determines the key.
        let keys = PublicKeySet::from_announced(KeyRole::Login, u16::from(n), &stolen[0].1.0).unwrap().to_bytes();
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
    room.with_password("bo", b"battery staple");
    for (name, number) in [("ana", 1), ("ana", 2)] {
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
    room.with_password("ana", b"correct horse");
    for name in ["ana", "nobody", "ana"] {
        assert!(room.blind_on(&mut link, 1, name, blinded).is_ok());
    }
    for _ in 0..300 {
        assert_eq!(room.blind_on(&mut link, 1, "another", blinded).unwrap_err(), Fault::Flooding);
    }
}

#[test]
fn what_is_no_point_is_not_evaluated() {
    let mut room = Room::new();
    room.with_password("ana", b"correct horse");
    for bad in [[0; 32], [0xff; 32]] {
        assert_eq!(room.blind(1, "ana", bad).unwrap_err(), Fault::Malformed);
    }
}
