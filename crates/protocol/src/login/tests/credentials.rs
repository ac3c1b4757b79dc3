//! Passwords, keys, certificates and session keys (A5, A20).

use super::*;

#[test]
fn a_password_hardened_by_any_f_plus_1_leaders_logs_in_at_every_leader() {
    let mut room = Room::new();
    room.with_password("ana", b"correct horse");
    for pair in [[1, 2], [3, 4], [4, 1]] {
        let credential = room.harden("ana", b"correct horse", &pair).unwrap();
        for number in 1..=4 {
            let outcome = room.login(number, "ana", &credential);
            assert_eq!(outcome.as_ref().unwrap().1.entry, identity("ana", 1).entry());
            speak(&room, outcome);
        }
    }
}

#[test]
fn a_key_login_works_and_another_key_does_not() {
    let mut room = Room::new();
    let [key, other] = [1, 2].map(|seed| Credential::Key(SigningKey::generate(&mut rng(seed))));
    room.register("ana", &key);
    let outcome = room.login(2, "ana", &key);
    speak(&room, outcome);
    assert!(denied(room.login(2, "ana", &other)));
    assert!(denied(room.login(2, "eve", &key)), "an unregistered user");
}

#[test]
fn a_registration_of_one_kind_takes_no_login_of_another() {
    let mut room = Room::new();
    let key = Credential::Key(SigningKey::generate(&mut rng(1)));
    let password = room.with_password("ana", b"correct horse");
    room.register("bo", &key);
    assert!(denied(room.login(1, "ana", &key)));
    let refused = Stopped::AtMember(LoginFailure::Denied(Denial::NotAuthentic));
    assert_eq!(room.login(1, "bo", &password).err(), Some(refused));
    assert!(denied(room.login(1, "bo", &Credential::Session(SigningKey::generate(&mut rng(1))))));
}

/// What a certificate says, and by whom.
struct Issue<'a> {
    group: &'a GroupInfo,
    authority: u8,
    authority_key: &'a SigningKey,
    user: &'a str,
    expires_unix_s: u64,
}

impl Issue<'_> {
    fn to(&self, key: &SigningKey) -> Credential {
        let named = SessionVerifyingKey(key.verifying_key());
        let Issue { group, authority, authority_key, user: name, expires_unix_s } = *self;
        let certificate = Certificate::issue(group, authority, authority_key, user(name), named, expires_unix_s);
        Credential::Certificate(key.clone(), Box::new(certificate))
    }
}

#[test]
fn only_the_right_certificate_logs_in() {
    let [authority, stranger, key, other_key] = [11, 12, 13, 14].map(|seed| SigningKey::generate(&mut rng(seed)));
    let authorities = vec![[0xff; 32], authority.verifying_key().to_bytes()];
    let policy = Policy { authorities, ..quick_policy() };
    let mut room = Room::of(group_of(4, 1, 2, policy.clone()));
    let here = room.group.clone();
    let (elsewhere, _) = group_of(7, 2, 3, policy);
    let right =
        Issue { group: &here, authority: 1, authority_key: &authority, user: "ana", expires_unix_s: UNIX_S + 1 };

    let outcome = room.login(1, "ana", &right.to(&key));
    speak(&room, outcome);
    let wrong = [
        ("expired", Issue { expires_unix_s: UNIX_S, ..right }),
        ("not by the authority", Issue { authority_key: &stranger, ..right }),
        ("another authority's place, whose key is none", Issue { authority: 0, ..right }),
        ("an authority that does not exist", Issue { authority: 2, ..right }),
        ("for another group", Issue { group: &elsewhere, ..right }),
        ("for another user", Issue { user: "bo", ..right }),
    ];
    for (what, issue) in wrong {
        assert!(denied(room.login(1, "ana", &issue.to(&key))), "{what}");
    }
    let Credential::Certificate(_, certificate) = right.to(&key) else { unreachable!() };
    assert!(denied(room.login(1, "ana", &Credential::Certificate(other_key, certificate))), "a stolen certificate");
}

#[test]
fn an_admitted_member_logs_in_by_its_session_key_where_it_is_not_registered() {
    let mut room = Room::new();
    let me = identity("ana", 3);
    let credential = Credential::Session(me.signing.clone());
    let attempt = |room: &mut Room, me: Identity| {
        room.attempt(Attempt { me: Some(me), ..Attempt::of("ana", &credential, &mut unaltered) })
    };
    assert!(denied(attempt(&mut room, identity("ana", 3))), "not admitted yet");

    room.admitted.insert(me.entry());
    let outcome = attempt(&mut room, identity("ana", 3));
    speak(&room, outcome);
    assert!(denied(attempt(&mut room, identity("ana", 4))), "another stay");
    let posing = Identity { id: me.id.clone(), ..identity("eve", 1) };
    assert!(denied(attempt(&mut room, posing)), "somebody else's keys under the admitted name");
    let half = Identity { sealing: identity("eve", 1).sealing, ..identity("ana", 3) };
    assert!(denied(attempt(&mut room, half)), "another sealing key");
    assert!(denied(room.login(1, "bo", &credential)), "another user");
}

#[test]
fn a_session_key_is_shown_by_its_owner() {
    let mut room = Room::new();
    room.admitted.insert(identity("ana", 1).entry());
    let eve = SigningKey::generate(&mut rng(66));
    // Eve names Ana's public keys but signs with her own.
    let me = Identity { signing: eve.clone(), ..identity("ana", 1) };
    let credential = Credential::Session(eve);
    let mut name_anas_keys = |number: u8, bytes: Vec<u8>| match decode(&bytes) {
        Ok(LoginRequest::Ack { n3, incarnation, tag, possession, identity: id, .. }) if number == 3 => {
            let ana = identity("ana", 1).entry();
            let (signing, sealing) = (ana.signing, ana.sealing);
            encode(&LoginRequest::Ack { n3, incarnation, signing, sealing, tag, possession, identity: id })
        }
        _ => bytes,
    };
    let outcome = room.attempt(Attempt { me: Some(me), ..Attempt::of("ana", &credential, &mut name_anas_keys) });
    assert!(denied(outcome));
}

/// Names are no secret: they are in every view, and whoever may evaluate points of its choice can tell a made-up key from a user's.
#[test]
fn an_unknown_user_is_refused_before_anything_is_proved_and_a_wrong_password_after() {
    let mut room = Room::new();
    room.with_password("ana", b"correct horse");
    let wrong = room.harden("ana", b"wrong", &[1, 2]).unwrap();
    assert_eq!(room.login(1, "ana", &wrong).err(), Some(Stopped::AtMember(LoginFailure::NoProof)));
    let refused = Stopped::AtMember(LoginFailure::Denied(Denial::NotAuthentic));
    assert_eq!(room.login(1, "eve", &wrong).err(), Some(refused));
}
