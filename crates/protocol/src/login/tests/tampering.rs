//! Altered, moved, replayed and forged messages.

use super::*;

/// One credential of each kind, registered for Ana.
fn credentials(room: &mut Room) -> Vec<Credential> {
    let password = room.with_password("ana", b"correct horse");
    let key = Credential::Key(SigningKey::generate(&mut rng(1)));
    vec![password, key]
}

#[test]
fn no_byte_of_any_message_can_be_altered() {
    let mut room = Room::new();
    for credential in credentials(&mut room) {
        room.register("ana", &credential);
        let mut lengths = [0; 4];
        let mut measure = |number: u8, bytes: Vec<u8>| {
            lengths[usize::from(number)] = bytes.len();
            bytes
        };
        assert!(room.attempt(Attempt::of("ana", &credential, &mut measure)).is_ok());
        for target in 1..=3 {
            for at in 0..lengths[usize::from(target)] {
                let mut alter = |number: u8, mut bytes: Vec<u8>| {
                    if number == target {
                        bytes[at] ^= 1 << (at % 8);
                    }
                    bytes
                };
                let outcome = room.attempt(Attempt::of("ana", &credential, &mut alter));
                assert!(outcome.is_err(), "{credential:?}: message {target}, byte {at}");
            }
        }
    }
}

#[test]
fn nothing_can_be_added_to_the_proof() {
    let mut room = Room::new();
    let credential = room.with_password("ana", b"correct horse");
    let mut add_a_signature = |number: u8, mut bytes: Vec<u8>| {
        if number == 3 {
            assert_eq!(bytes.pop(), Some(0), "a password login has no identity signature");
            bytes.push(1);
            bytes.extend([7; 64]);
        }
        bytes
    };
    assert!(denied(room.attempt(Attempt::of("ana", &credential, &mut add_a_signature))));
}

#[test]
fn a_login_arrives_only_over_its_own_link() {
    let mut room = Room::new();
    for credential in credentials(&mut room) {
        room.register("ana", &credential);
        let outcome = room.attempt_at(1, [9; 32], Attempt::of("ana", &credential, &mut unaltered));
        assert!(matches!(outcome, Err(Stopped::AtMember(_))), "the leader's answer is bound to its link");
    }
}

#[test]
fn a_login_meant_for_one_leader_is_none_at_another() {
    let mut room = Room::new();
    for credential in credentials(&mut room) {
        room.register("ana", &credential);
        let outcome = room.attempt_at(2, exporter(1), Attempt::of("ana", &credential, &mut unaltered));
        assert_eq!(outcome.err(), Some(Stopped::AtMember(LoginFailure::Fault(Fault::BadLoginProof))));
    }
}

#[test]
fn a_login_for_one_group_or_session_is_none_in_another() {
    let mut room = Room::new();
    let g = room.group.clone();
    let keys = [g.group_keys, g.coin_keys];
    let twin = GroupInfo::new("twin".into(), g.nonce, g.rules, g.leaders, keys, g.policy);
    assert_ne!(twin.session(), room.group.session());
    for credential in credentials(&mut room) {
        room.register("ana", &credential);
        let outcome = room.attempt(Attempt { group: Some(&twin), ..Attempt::of("ana", &credential, &mut unaltered) });
        assert!(matches!(outcome, Err(Stopped::AtMember(_))), "same leaders and keys, other name");
    }
}

#[test]
fn a_login_as_one_user_is_none_as_another() {
    let mut room = Room::new();
    for credential in credentials(&mut room) {
        room.register("ana", &credential);
        match credential {
            Credential::Password(_) => drop(room.with_password("bo", b"correct horse")),
            _ => room.register("bo", &credential),
        }
        let mut rename = |number: u8, bytes: Vec<u8>| match decode(&bytes) {
            Ok(LoginRequest::Init { method, n1, asks, .. }) if number == 1 => {
                encode(&LoginRequest::Init { user: user("bo"), method, n1, asks })
            }
            _ => bytes,
        };
        assert!(room.attempt(Attempt::of("ana", &credential, &mut rename)).is_err());
    }
}

#[test]
fn messages_1_and_3_replayed_do_not_log_in_again() {
    let mut room = Room::new();
    for credential in credentials(&mut room) {
        room.register("ana", &credential);
        let mut recorded = Vec::new();
        let mut record = |_: u8, bytes: Vec<u8>| {
            recorded.push(bytes.clone());
            bytes
        };
        assert!(room.attempt(Attempt::of("ana", &credential, &mut record)).is_ok());
        let (init, ack) = (decode(&recorded[0]).unwrap(), decode(&recorded[2]).unwrap());
        let LoginRequest::Init { user: name, method, n1, asks } = init else { unreachable!() };

        let secrets = &room.secrets[0];
        let mut cx = Cx { now: room.now, unix_ms: UNIX_S * 1000, rng: &mut room.rng };
        for exporter in [exporter(1), [77; 32]] {
            let mut link = LoginServerLink::default();
            let message = (name.clone(), method.clone(), n1, asks);
            let server = &mut room.servers[0];
            let _ = server.on_init(&mut cx, &room.group, secrets, &mut link, &exporter, Incarnation(0), message);
            let again = server.on_ack(&cx, &room.group, secrets, &mut link, &exporter, &ack, &room.admitted);
            assert!(again.is_err(), "even over a link with the same exporter value: N2 is fresh");
        }
    }
}

/// Whoever is at the end of a link can compute the session key of a key login: it is the signatures that count.
#[test]
fn the_signatures_of_message_3_answer_one_n2() {
    let mut room = Room::new();
    let credential = Credential::Key(SigningKey::generate(&mut rng(1)));
    room.register("ana", &credential);
    let (group, secrets, server) = (&room.group, &room.secrets[0], &mut room.servers[0]);
    let mut cx = Cx { now: room.now, unix_ms: UNIX_S * 1000, rng: &mut room.rng };
    let (ana, exporter) = (user("ana"), exporter(1));
    let (mut client, init) = LoginClient::start(group, leader(1), exporter, &ana, &credential, cx.rng);
    let LoginRequest::Init { method, n1, asks, .. } = init else { unreachable!() };
    let message = || (ana.clone(), method.clone(), n1, asks);
    let mut link = LoginServerLink::default();
    let first = server.on_init(&mut cx, group, secrets, &mut link, &exporter, Incarnation(0), message()).unwrap();
    client.on_answer(group, &first).unwrap();
    let (ack, _) = client.acknowledge(group, &credential, &identity("ana", 1), cx.rng).unwrap();
    let LoginRequest::Ack { n3, incarnation, signing, sealing, possession, identity: id, .. } = ack else {
        unreachable!()
    };

    let second = server.on_init(&mut cx, group, secrets, &mut link, &exporter, Incarnation(0), message()).unwrap();
    let LoginAnswer::KeyDist { n2, .. } = second else { unreachable!() };
    let transcript = Transcript::new(group, &group.rules, leader(1), &exporter, &ana, &method, &n1);
    let transcript = transcript.asked(asks.as_ref());
    let session_key = transcript.session_key(&Secret32::new(exporter), &exporter, &n2);
    let signed = transcript.acknowledgement(&group.rules, &n2, &n3, &identity("ana", 1).entry());
    let tag = mac(&session_key, "ringfort login ack", &[&signed]);
    let forged = LoginRequest::Ack { n3, incarnation, signing, sealing, tag, possession, identity: id };
    assert!(server.on_ack(&cx, group, secrets, &mut link, &exporter, &forged, &room.admitted).is_err());
}

#[test]
fn message_3_counts_once_and_only_after_message_1() {
    let mut room = Room::new();
    let credential = room.with_password("ana", b"correct horse");
    let mut recorded = Vec::new();
    let mut record = |_: u8, bytes: Vec<u8>| {
        recorded.push(bytes.clone());
        bytes
    };
    let _ = room.attempt(Attempt::of("ana", &credential, &mut record));
    let ack: LoginRequest = decode(&recorded[2]).unwrap();
    let cx = Cx { now: room.now, unix_ms: UNIX_S * 1000, rng: &mut room.rng };
    let mut link = LoginServerLink::default();
    let (server, secrets) = (&mut room.servers[0], &room.secrets[0]);
    let refused = server.on_ack(&cx, &room.group, secrets, &mut link, &exporter(1), &ack, &room.admitted);
    assert_eq!(refused.unwrap_err(), (None, None), "nothing to answer: nobody has begun");
}

#[test]
fn a_leader_without_the_users_key_cannot_pose_as_one_that_has_it() {
    let mut room = Room::new();
    let credential = room.with_password("ana", b"correct horse");
    // Leader 1 got what was meant for leader 2; leader 3 knows nobody.
    let foreign = room.records["ana"][1].open(&room.group, &room.secrets[1]).unwrap();
    room.server(1).register(user("ana"), foreign);
    room.servers[2] = LoginServer::new(&room.group);
    for (number, failure) in [(1, LoginFailure::NoProof), (3, LoginFailure::Denied(Denial::NotAuthentic))] {
        let outcome = room.login(number, "ana", &credential);
        assert_eq!(outcome.err(), Some(Stopped::AtMember(failure)), "leader {number}");
    }
}

/// A login that has sent message 1 to leader 1, and that message.
fn begun(room: &mut Room, credential: &Credential) -> (LoginClient, LoginRequest) {
    LoginClient::start(&room.group, leader(1), exporter(1), &user("ana"), credential, &mut room.rng)
}

fn forged_denial(key: &SigningKey, transcript: &[u8; 32], reason: Denial) -> LoginAnswer {
    let signature = key.sign("ringfort login denied", &[transcript, &encode(&reason)]);
    LoginAnswer::Denied { reason, signature: WireSignature(signature) }
}

#[test]
fn nobody_denies_in_a_leaders_name() {
    let mut room = Room::new();
    let credential = room.with_password("ana", b"correct horse");
    let (mut client, init) = begun(&mut room, &credential);
    let LoginRequest::Init { n1, .. } = init else { unreachable!() };
    let (group, to, ana) = (&room.group, leader(1), user("ana"));
    let transcript = Transcript::new(group, &group.rules, to, &exporter(1), &ana, &Method::Password, &n1).digest;
    let forged = LoginFailure::Fault(Fault::BadLoginProof);

    let by_another_leader = forged_denial(&room.secrets[1].signing, &transcript, Denial::Expelled(Incarnation(1)));
    assert_eq!(client.on_answer(&room.group, &by_another_leader), Err(forged));
    let of_another_login = forged_denial(&room.secrets[0].signing, &[0; 32], Denial::Expelled(Incarnation(1)));
    assert_eq!(client.on_answer(&room.group, &of_another_login), Err(forged));
    let genuine = forged_denial(&room.secrets[0].signing, &transcript, Denial::Expelled(Incarnation(1)));
    let LoginAnswer::Denied { signature, .. } = genuine else { unreachable!() };
    let other_reason = LoginAnswer::Denied { reason: Denial::Full, signature };
    assert_eq!(client.on_answer(&room.group, &other_reason), Err(forged), "the reason is signed too");
    assert_eq!(client.on_answer(&room.group, &genuine), Err(LoginFailure::Denied(Denial::Expelled(Incarnation(1)))));
}

#[test]
fn nobody_refuses_to_evaluate_in_a_leaders_name() {
    let mut room = Room::new();
    room.with_password("ana", b"correct horse");
    let blinded = Hardening::start(user("ana"), b"x", &mut rng(1)).unwrap().blinded().0;
    let answer = (0..20).find_map(|_| match room.blind(1, "ana", blinded) {
        Ok(LoginAnswer::Denied { reason: Denial::Throttled, signature }) => Some(signature),
        _ => None,
    });
    let signature = answer.unwrap();
    let genuine = |by: u8, link: u8, blinded: [u8; 32], reason| {
        refusal_is_genuine(&room.group, leader(by), &exporter(link), &blinded, (reason, &signature))
    };
    let reason = Denial::Throttled;
    assert!(genuine(1, 1, blinded, reason));
    assert!(!genuine(2, 1, blinded, reason) && !genuine(1, 2, blinded, reason) && !genuine(1, 1, [0; 32], reason));
    assert!(!genuine(1, 1, blinded, Denial::NotAuthentic), "the reason is signed");
}

#[test]
fn a_login_goes_on_only_from_the_expected_message() {
    let mut room = Room::new();
    let credential = room.with_password("ana", b"correct horse");
    let (mut client, init) = begun(&mut room, &credential);
    let me = identity("ana", 1);
    assert!(client.acknowledge(&room.group, &credential, &me, &mut rng(1)).is_none(), "before message 2");
    let evaluated = LoginAnswer::Evaluated { evaluation: [0; 128], key: AnnouncedKey(vec![]) };
    assert_eq!(client.on_answer(&room.group, &evaluated), Err(LoginFailure::Fault(Fault::Malformed)));

    let mut send_message_1_again = |number: u8, bytes| if number == 3 { encode(&init) } else { bytes };
    assert!(denied(room.attempt(Attempt::of("ana", &credential, &mut send_message_1_again))));
}

#[test]
fn the_session_key_cannot_be_had_without_the_exporter_value() {
    let group = group_of_four().0;
    let method = Method::Password;
    let transcript = Transcript::new(&group, &group.rules, leader(1), &exporter(1), &user("ana"), &method, &[1; 32]);
    // All that crosses the wire is in the transcript and N2; suppose P_a,i leaks too.
    let leaked = Secret32::new([3; 32]);
    let key = transcript.session_key(&leaked, &exporter(1), &[2; 32]);
    assert_eq!(key, transcript.session_key(&leaked, &exporter(1), &[2; 32]));
    assert_ne!(key, transcript.session_key(&leaked, &[0; 32], &[2; 32]), "the exporter value itself enters the key");
    assert_ne!(key, transcript.session_key(&Secret32::new([4; 32]), &exporter(1), &[2; 32]));
    assert_ne!(key, transcript.session_key(&leaked, &exporter(1), &[0; 32]));
}

#[test]
fn every_login_gives_a_fresh_session_key() {
    let mut room = Room::new();
    let credential = room.with_password("ana", b"correct horse");
    let (mut first, _) = room.login(1, "ana", &credential).unwrap();
    let (_, mut second) = room.login(1, "ana", &credential).unwrap();
    let frame = first.seal(b"x");
    assert_eq!(second.channel.open(&room.group.rules, &frame), Err(Fault::BadSeal));
}
