//! The decoders of files that people, operators and users hand to Ringfort.

use ringfort_documents::{NewSecret, NewUser};
use ringfort_documents::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN};
use ringfort_node::folder::{OperatorRequest, texts};
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::login::{Certificate, EnrolmentRecord, Registration};
use ringfort_protocol::{Policy, UserName};

use crate::fixture::{UNIX_S, fixture, user};
use crate::meter::bounded;
use crate::wire::canonical;

/// Memory that parsing a text may take: TOML keeps a tree with a place for each value.
fn room(text: &str) -> usize {
    512 * text.len() + 128 * 1024
}

fn split(data: &[u8]) -> Option<(u8, &[u8], Option<&str>)> {
    let (kind, body) = data.split_first()?;
    Some((*kind, body, std::str::from_utf8(body).ok()))
}

/// The group file: what is read is sound, and is written and read again as the same group.
pub fn group_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match bounded("reading a group file", room(text) + 1024 * 1024, || ringfort_documents::texts::group(text)) {
        Ok(group) => {
            assert_eq!(group.policy.check(), Ok(()), "a group's policy is within its bounds");
            assert_eq!(group.leaders.len(), usize::from(group.rules.n()));
            assert!(3 * group.rules.f() < group.rules.n(), "more hacked leaders than may be");
            let again = ringfort_documents::texts::group(
                &ringfort_documents::texts::group_text(&group).expect("what was read can be written"),
            );
            assert_eq!(again.expect("what was written can be read").id(), group.id());
        }
        // An honest reader stops here; a forger would write the fingerprint that the content has.
        Err(error) => {
            let told = error.to_string();
            let found = told.split("has the fingerprint ").nth(1).and_then(|rest| rest.split(',').next());
            let stated = text.lines().find(|line| line.starts_with("fingerprint = "));
            if let (Some(found), Some(stated)) = (found, stated) {
                let forged = text.replacen(stated, &format!("fingerprint = \"{found}\""), 1);
                if forged != text {
                    group_file(forged.as_bytes());
                }
            }
        }
    }
}

/// The policy, as people write it and as it is encoded.
pub fn policy_file(data: &[u8]) {
    let Some((kind, body, text)) = split(data) else { return };
    if kind % 2 == 0 {
        canonical::<Policy>(body);
        return;
    }
    let Some(text) = text else { return };
    if let Ok(policy) = bounded("reading a policy", room(text), || ringfort_documents::texts::policy(text)) {
        assert_eq!(policy.check(), Ok(()), "a policy that was read is within its bounds");
        assert_eq!(decode::<Policy>(&encode(&policy)).as_ref(), Ok(&policy));
        assert!(policy.confirm_within() >= 2 * policy.heartbeat());
    }
}

/// A leader's secrets: nothing but the true ones belong to the group, and errors do not quote the file.
pub fn leader_secrets(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let group = &fixture().group;
    match bounded("reading secrets", room(text) + 64 * 1024, || texts::leader_secrets(text, group)) {
        Ok(secrets) => {
            let index = usize::from(secrets.id.number()) - 1;
            let (read, dealt) = (texts::leader_secrets_text(group, &secrets), &fixture().secrets[index]);
            assert_eq!(*read, *texts::leader_secrets_text(group, dealt), "other secrets pass for a leader's");
        }
        Err(error) => {
            let told = error.to_string();
            for digits in text.split('"').filter(|part| part.len() == 64 && part.is_ascii()) {
                assert!(!told.contains(&digits[..16]), "an error quotes a secret: {told}");
            }
        }
    }
}

/// Enrolment records as text and as bytes, and the registrations inside them.
pub fn enrolment(data: &[u8]) {
    let Some((kind, body, text)) = split(data) else { return };
    match kind % 3 {
        0 => canonical::<EnrolmentRecord>(body),
        1 => {
            let room = 64 * body.len() + 1024;
            if let Some(registration) = bounded("a registration", room, || Registration::from_bytes(body)) {
                assert_eq!(registration.to_bytes().as_slice(), body, "one registration has one encoding");
            }
        }
        _ => {
            let Some(text) = text else { return };
            let Ok(record) = bounded("reading a record", room(text), || texts::record(text)) else { return };
            let again = texts::record(&texts::record_text(&record)).expect("what was written can be read");
            assert_eq!(again, record);
            opens_only_if_true(&record);
        }
    }
}

/// A record opens at the leader it was sealed to, and only as its user made it.
fn opens_only_if_true(record: &EnrolmentRecord) {
    let fixture = fixture();
    for secrets in &fixture.secrets {
        let opened = record.open(&fixture.group, secrets).is_ok();
        let is_true = fixture.records.contains(record) && record.leader == secrets.id;
        assert_eq!(opened, is_true, "record of {} at {}", record.user, secrets.id);
    }
}

/// A user's key file, a list of users, a certificate.
pub fn user_files(data: &[u8]) {
    let Some((kind, body, text)) = split(data) else { return };
    let Some(text) = text else {
        canonical::<Certificate>(body);
        return;
    };
    match kind % 5 {
        0 => canonical::<Certificate>(body),
        1 => certificate(text),
        2 => {
            if let Ok(users) = bounded("reading users", room(text), || ringfort_documents::texts::users(text)) {
                check_users(&users);
            }
        }
        3 => {
            if let Ok(key) = bounded("reading a key", room(text), || ringfort_documents::texts::user_key(text)) {
                let again = ringfort_documents::texts::user_key(&ringfort_documents::texts::user_key_text(&key))
                    .expect("what was written can be read");
                assert_eq!(again.verifying_key(), key.verifying_key());
            }
        }
        _ => {
            if let Ok(key) = bounded("reading a public key", room(text), || ringfort_documents::parse_public_key(text))
            {
                let again = ringfort_documents::public_key_text(&key);
                assert_eq!(again, text.trim().to_ascii_lowercase(), "one key has one text");
            }
        }
    }
}

fn certificate(text: &str) {
    let Ok(certificate) = bounded("reading a certificate", room(text), || ringfort_documents::texts::certificate(text))
    else {
        return;
    };
    let written = ringfort_documents::texts::certificate_text(&certificate).expect("what was read can be written");
    assert_eq!(ringfort_documents::texts::certificate(&written).as_ref().ok(), Some(&certificate));
    let fixture = fixture();
    if certificate.check(&fixture.group, &user("cat"), UNIX_S).is_ok() {
        assert_eq!(certificate, fixture.certificate, "a certificate that its authority never signed");
    }
}

fn check_users(users: &[NewUser]) {
    let mut names: Vec<&UserName> = users.iter().map(|user| &user.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), users.len(), "a user is listed twice");
    for user in users {
        if let NewSecret::Password(password) = &user.secret {
            assert!(password.chars().count() >= PASSWORD_CHARS_MIN && password.len() <= PASSWORD_BYTES_MAX);
        }
    }
}

/// What an operator leaves in a running leader's inbox.
pub fn operator_request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(request) = bounded("reading a request", room(text), || texts::request(text)) else { return };
    let written = texts::request_text(&request).expect("what was read can be written");
    assert_eq!(texts::request(&written).as_ref().ok(), Some(&request));
    if let OperatorRequest::Accept(record) = &request {
        opens_only_if_true(record);
    }
}
