use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::login::Certificate;
use ringfort_protocol::view::SessionVerifyingKey;

use super::*;

#[test]
fn a_users_key_is_read_back_and_private() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ana.key");
    let key = create_user_key(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(read_user_key(&path).unwrap().verifying_key(), key.verifying_key());
    assert_refused(create_user_key(&path), FileErrorKind::Exists, &path);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing unfinished is left");

    set_mode(&path, 0o604);
    assert_refused(read_user_key(&path), FileErrorKind::Permissions, &path);
    set_mode(&path, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let other = public_key_text(&SigningKey::generate(&mut os_rng()).verifying_key());
    replace(&path, &text.replace(&public_key_text(&key.verifying_key()), &other));
    assert_refused(read_user_key(&path), FileErrorKind::Altered, &path);
    replace(&path, &text.replace("secret_key = \"", "secret_key = \"x"));
    assert_refused(read_user_key(&path), FileErrorKind::Malformed, &path);

    let nowhere = home.path().join("no").join("ana.key");
    assert_refused(create_user_key(&nowhere), FileErrorKind::Unwritable, &nowhere);
}

#[test]
fn a_public_key_is_read_as_people_paste_it() {
    let key = SigningKey::generate(&mut os_rng()).verifying_key();
    let text = public_key_text(&key);
    assert_eq!(parse_public_key(&format!(" {}\n", text.to_uppercase())).unwrap(), key);
    for bad in ["", &text[1..], "zz", &"0".repeat(64)] {
        let error = parse_public_key(bad).unwrap_err();
        assert_eq!(error.kind(), FileErrorKind::Malformed);
        assert_tells_what_to_do(&error.to_string(), bad);
    }
}

#[test]
fn a_certificate_is_read_back_and_any_change_shows() {
    let home = tempfile::tempdir().unwrap();
    let authority = SigningKey::generate(&mut os_rng());
    let mut options = options(4, 1);
    options.policy.authorities = vec![authority.verifying_key().to_bytes()];
    let group = init(&home.path().join("group"), options).unwrap().group;
    let user = SigningKey::generate(&mut os_rng()).verifying_key();
    let certificate = Certificate::issue(&group, 0, &authority, name("cy"), SessionVerifyingKey(user), 2_000_000_000);

    let path = home.path().join("cy.certificate");
    write_certificate(&path, &certificate).unwrap();
    let read = read_certificate(&path).unwrap();
    assert_eq!(read, certificate);
    read.check(&group, &name("cy"), 1_900_000_000).unwrap();

    let text = fs::read_to_string(&path).unwrap();
    for line in text.lines().filter(|line| line.contains(" = ")) {
        let altered = match line.split_once(" = ") {
            Some((key, number)) if number.parse::<u64>().is_ok() => format!("{key} = {}1", number),
            Some(("user", _)) => "user = \"eve\"".to_owned(),
            _ => line
                .chars()
                .rev()
                .collect::<String>()
                .replacen('1', "2", 1)
                .replacen('0', "1", 1)
                .chars()
                .rev()
                .collect(),
        };
        replace(&path, &text.replace(line, &altered));
        let refused = read_certificate(&path).map(|c| c.check(&group, &name("cy"), 1_900_000_000).is_err());
        assert!(refused.unwrap_or(true), "{altered}");
    }
    replace(&path, &format!("{text}more = 1\n"));
    assert_refused(read_certificate(&path), FileErrorKind::Malformed, &path);
}
