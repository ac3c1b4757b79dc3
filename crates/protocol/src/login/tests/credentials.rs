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
    assert_eq!(room.login(1, "bo", &password).err(), Some(Stopped::AtMember(LoginFailure::NoProof)));
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

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let mut room = Room::new();
    room.with_password("ana", b"correct horse");
    let mut seen = Vec::new();
    for name in ["ana", "eve"] {
        let credential = room.harden(name, b"wrong", &[1, 2]).unwrap();
        let mut answers = Vec::new();
        let mut note = |number: u8, bytes: Vec<u8>| {
            if number == 2 {
                // The number in it is under a mask, and as random as N2: see `a_stranger_cannot_tell_a_member_from_nobody`.
                answers.push((bytes[0], bytes.len(), vec![]));
            }
            bytes
        };
        let outcome = room.attempt(Attempt::of(name, &credential, &mut note));
        assert_eq!(outcome.err(), Some(Stopped::AtMember(LoginFailure::NoProof)), "{name}");
        let evaluation = room.blind(3, name, Hardening::start(user(name), b"x", &mut rng(5)).unwrap().blinded().0);
        let evaluation = encode(&evaluation.unwrap());
        answers.push((evaluation[0], evaluation.len(), vec![]));
        let denial = answer_to_a_made_up_proof(&mut room, name);
        answers.push((denial[0], denial.len(), vec![denial[1]]));
        seen.push(answers);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].len(), 3);
}

/// What leader 1 answers to a message 3 that proves nothing.
fn answer_to_a_made_up_proof(room: &mut Room, name: &str) -> Vec<u8> {
    let mut link = LoginServerLink::default();
    let (server, secrets) = (&mut room.servers[0], &room.secrets[0]);
    let mut cx = Cx { now: room.now, unix_ms: UNIX_S * 1000, rng: &mut room.rng };
    let init = (user(name), Method::Password, [5; 32], None);
    let exporter = exporter(1);
    let _ = server.on_init(&mut cx, &room.group, secrets, &mut link, &exporter, Incarnation(0), init).unwrap();
    let me = identity(name, 1);
    let ack = LoginRequest::Ack {
        n3: [1; 32],
        incarnation: Incarnation(1),
        signing: me.entry().signing,
        sealing: me.entry().sealing,
        tag: [2; 32],
        possession: WireSignature(me.signing.sign("x", &[])),
        identity: None,
    };
    let refused = server.on_ack(&cx, &room.group, secrets, &mut link, &exporter, &ack, &room.admitted);
    encode(&refused.unwrap_err().1.unwrap())
}
