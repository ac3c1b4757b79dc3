//! What whoever only asks is told, and how often.

use super::*;

/// Leader 1's answer to message 1, where it knows of stay 9.
fn told(room: &mut Room, link: &mut LoginServerLink, init: &LoginRequest) -> Result<LoginAnswer, Fault> {
    let LoginRequest::Init { user, method, n1, asks } = init.clone() else { unreachable!() };
    let mut cx = Cx { now: room.now, unix_ms: UNIX_S * 1000, rng: &mut room.rng };
    let message = (user, method, n1, asks);
    room.servers[0].on_init(&mut cx, &room.group, &room.secrets[0], link, &exporter(1), Incarnation(9), message)
}

fn begin(room: &mut Room, credential: &Credential) -> (LoginClient, LoginRequest) {
    LoginClient::start(&room.group, leader(1), exporter(1), &user("ana"), credential, &mut room.rng)
}

/// What somebody without the user's secret can make of the answer: all that it knows is its link's.
fn as_seen_by_a_stranger(room: &Room, init: &LoginRequest, answer: &LoginAnswer) -> u64 {
    let LoginRequest::Init { user, method, n1, asks } = init else { unreachable!() };
    let LoginAnswer::KeyDist { n2, last, .. } = answer else { panic!("{answer:?}") };
    let (group, link) = (&room.group, exporter(1));
    let transcript = Transcript::new(group, &group.rules, leader(1), &link, user, method, n1).asked(asks.as_ref());
    u64::from_le_bytes(transcript.mask(&Secret32::new(link), n2, *last))
}

#[test]
fn who_proves_to_be_the_user_is_told_of_the_last_stay() {
    let mut room = Room::new();
    let key = Credential::Key(SigningKey::generate(&mut rng(1)));
    let password = room.with_password("ana", b"correct horse");
    for credential in [password, key] {
        room.register("ana", &credential);
        let (mut client, init) = begin(&mut room, &credential);
        let answer = told(&mut room, &mut LoginServerLink::default(), &init).unwrap();
        assert_eq!(client.on_answer(&room.group, &answer), Ok(Incarnation(9)));
    }
}

#[test]
fn a_stranger_cannot_tell_a_member_from_nobody() {
    let mut room = Room::new();
    let [key, other] = [1, 2].map(|seed| Credential::Key(SigningKey::generate(&mut rng(seed))));
    room.register("ana", &key);
    for credential in [&other, &Credential::Session(SigningKey::generate(&mut rng(3)))] {
        let (mut client, init) = begin(&mut room, credential);
        let answer = told(&mut room, &mut LoginServerLink::default(), &init).unwrap();
        assert_eq!(client.on_answer(&room.group, &answer), Ok(Incarnation(0)), "no number without the key");
    }
    // Another's word to be told, on another link.
    let (_, init) = begin(&mut room, &key);
    let LoginRequest::Init { user: name, method, asks, .. } = init else { unreachable!() };
    let stolen = LoginRequest::Init { user: name, method, n1: [9; 32], asks };
    let answer = told(&mut room, &mut LoginServerLink::default(), &stolen).unwrap();
    assert_eq!(as_seen_by_a_stranger(&room, &stolen, &answer), 0);

    let password = room.with_password("ana", b"correct horse");
    let (_, init) = begin(&mut room, &password);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let answer = told(&mut room, &mut LoginServerLink::default(), &init).unwrap();
        let LoginAnswer::KeyDist { last, .. } = &answer else { panic!("{answer:?}") };
        assert_ne!(as_seen_by_a_stranger(&room, &init, &answer), 9);
        seen.insert(*last);
    }
    assert_eq!(seen.len(), 8, "every answer has a mask of its own");
}

#[test]
fn one_link_begins_few_logins() {
    let mut room = Room::new();
    let credential = room.with_password("ana", b"correct horse");
    let (_, init) = begin(&mut room, &credential);
    let mut link = LoginServerLink::default();
    let answered = (0..1000).filter(|_| told(&mut room, &mut link, &init).is_ok()).count();
    assert_eq!(answered, 2);
    assert_eq!(told(&mut room, &mut link, &init), Err(Fault::Flooding));
}

#[test]
fn a_code_is_of_one_enrolment_and_the_same_in_all_its_records() {
    let room = Room::new();
    let (group, ana) = (&room.group, user("ana"));
    let code_of = |enrolment: &Enrolment| {
        let codes = enrolment
            .records
            .iter()
            .zip(&room.secrets)
            .map(|(record, secrets)| record.open(group, secrets).unwrap().code(group, &record.user));
        let codes: std::collections::BTreeSet<String> = codes.collect();
        assert_eq!(codes, [enrolment.code.clone()].into());
        enrolment.code.clone()
    };
    let key = |seed| SigningKey::generate(&mut rng(seed)).verifying_key();
    let by_password = |name: &str, seed| enrol_password(group, &user(name), b"correct horse", &mut rng(seed)).unwrap();
    let mut codes = vec![
        code_of(&by_password("ana", 1)),
        code_of(&by_password("ana", 2)),
        code_of(&by_password("bo", 1)),
        code_of(&enrol_key(group, &ana, &key(1), &mut rng(1))),
        code_of(&enrol_key(group, &ana, &key(2), &mut rng(1))),
        code_of(&enrol_key(group, &user("bo"), &key(1), &mut rng(1))),
    ];
    assert_eq!(code_of(&enrol_key(group, &ana, &key(1), &mut rng(9))), codes[3], "sealed again, it is the same key");
    let other = group_of(7, 2, 3, quick_policy()).0;
    codes.push(enrol_key(&other, &ana, &key(1), &mut rng(1)).code);
    codes.sort();
    codes.dedup();
    assert_eq!(codes.len(), 7);
    for code in codes {
        let digits = code.split(' ').all(|five| five.len() == 5 && five.bytes().all(|b| b.is_ascii_digit()));
        assert!(digits && code.len() == 29, "{code}");
    }
}
