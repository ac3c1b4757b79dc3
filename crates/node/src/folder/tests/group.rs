use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::policy::{Origin, Protection, Service, WhenStale, Window};

use ringfort_protocol::roles::{Role, RoleRule};

use super::*;

fn group_of_every_field() -> (tempfile::TempDir, PathBuf, String, InitSummary) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("group");
    let mut options = options(4, 1);
    options.policy.authorities =
        (0..2).map(|_| SigningKey::generate(&mut os_rng()).verifying_key().to_bytes()).collect();
    let summary = init(&dir, options).unwrap();
    let text = fs::read_to_string(dir.join(GROUP_FILE)).unwrap();
    let path = home.path().join("copy.toml");
    (home, path, text, summary)
}

#[test]
fn a_group_file_is_read_back_as_the_same_group() {
    let (_home, path, _, summary) = group_of_every_field();
    write_group(&path, &summary.group).unwrap();
    let read = read_group(&path).unwrap();
    assert_eq!(read.id(), summary.group.id());
    assert_eq!(read.policy, summary.group.policy);
    assert_eq!(read.fingerprint(), summary.fingerprint);
    assert_refused(write_group(&path, &read), FileErrorKind::Exists, &path);
}

#[test]
fn one_leader_alone_is_a_group_too() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("solo");
    let summary = init(&dir, options(1, 0)).unwrap();
    assert_eq!(read_group(&dir.join(GROUP_FILE)).unwrap().id(), summary.group.id());
}

/// Other values that each line could have: in hexadecimal, in numbers and in words.
fn other_values(value: &str) -> Vec<String> {
    let words = [
        ["\"confidential\"", "\"integrity\"", "\"none\""],
        ["\"signature\"", "\"group\"", "\"signature\""],
        ["\"fifo\"", "\"reliable\"", "\"best-effort\""],
        ["\"continue\"", "\"stop-sending\"", "\"continue\""],
    ];
    if let Ok(number) = value.parse::<u64>() {
        return vec![(number + 1).to_string(), number.saturating_sub(1).to_string(), "-1".into(), "\"1\"".into()];
    }
    let mut others: Vec<String> = words.iter().filter(|w| w[0] == value).flatten().map(|w| (*w).to_owned()).collect();
    let flipped: String = value.replace('1', "~").replace('2', "1").replace('~', "2");
    others.extend([flipped, value.replacen('a', "b", 1), value.to_uppercase(), "\"\"".into(), "7".into()]);
    others.push(value.replacen('"', "\"0", 1));
    others
}

#[test]
fn any_altered_value_is_refused() {
    let (_home, path, text, _) = group_of_every_field();
    let lines: Vec<&str> = text.lines().collect();
    let mut tried = 0;
    for (position, line) in lines.iter().enumerate() {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let mut changes: Vec<String> = other_values(value)
            .into_iter()
            .filter(|v| v != value && v != "\n")
            .map(|v| format!("{key} = {v}"))
            .collect();
        changes.extend([String::new(), format!("{line}\n{line}"), format!("{line}\nextra = 1")]);
        for change in changes.iter().filter(|change| change != line) {
            let mut altered = lines.clone();
            altered[position] = change;
            replace(&path, &altered.join("\n"));
            let error = read_group(&path).err().unwrap_or_else(|| panic!("read in spite of {change}"));
            assert_tells_what_to_do(&error.to_string(), &path.display().to_string());
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn a_changed_byte_is_refused_or_changes_nothing() {
    let (_home, path, text, summary) = group_of_every_field();
    let mut bytes = text.clone().into_bytes();
    let mut refused = 0;
    for position in (0..bytes.len()).step_by(11) {
        bytes[position] ^= 1 << (position % 7);
        fs::write(&path, &bytes).unwrap();
        match read_group(&path) {
            Ok(group) => assert_eq!(group.id(), summary.group.id()),
            Err(_) => refused += 1,
        }
        bytes[position] ^= 1 << (position % 7);
    }
    assert!(refused > bytes.len() / 11 / 2, "{refused}");
}

#[test]
fn an_altered_address_is_told_as_altered() {
    let (_home, path, text, _) = group_of_every_field();
    replace(&path, &text.replace("leader1.example", "mallory.example"));
    assert_refused(read_group(&path), FileErrorKind::Altered, &path);
}

#[test]
fn what_is_no_group_file_is_refused_for_its_own_reason() {
    let (home, path, text, _) = group_of_every_field();
    replace(&path, &text.replace("format = 1", "format = 3"));
    assert_refused(read_group(&path), FileErrorKind::Version, &path);
    replace(&path, &format!("{text}\n{}", "#".repeat(1024 * 1024)));
    assert_refused(read_group(&path), FileErrorKind::Malformed, &path);
    fs::write(&path, [0xff, 0xfe, 0]).unwrap();
    assert_refused(read_group(&path), FileErrorKind::Malformed, &path);
    replace(&path, "");
    assert_refused(read_group(&path), FileErrorKind::Malformed, &path);
    assert_refused(read_group(home.path()), FileErrorKind::Malformed, home.path());
    let missing = home.path().join("missing.toml");
    assert_refused(read_group(&missing), FileErrorKind::Unreadable, &missing);
}

#[test]
fn a_fingerprint_is_compared_as_people_type_it() {
    let (_home, _, _, summary) = group_of_every_field();
    let fingerprint = summary.group.fingerprint();
    for same in
        [fingerprint.clone(), fingerprint.to_uppercase(), fingerprint.replace('-', ""), format!(" {fingerprint}\n")]
    {
        check_fingerprint(&summary.group, &same).unwrap();
    }
    let mut last = fingerprint.clone();
    let digit = if last.pop() == Some('0') { '1' } else { '0' };
    for other in [String::new(), fingerprint[..9].to_owned(), format!("{last}{digit}"), format!("{fingerprint}-00")] {
        let error = check_fingerprint(&summary.group, &other).unwrap_err();
        assert_eq!(error.kind(), FileErrorKind::WrongFingerprint);
        assert_tells_what_to_do(&error.to_string(), &fingerprint);
    }
}

#[test]
fn a_policy_file_says_only_what_differs() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("policy.toml");
    replace(&path, "");
    assert_eq!(read_policy(&path).unwrap(), Policy::default());
    replace(
        &path,
        "protection = \"none\"\norigin = \"group\"\nservice = \"best-effort\"\nwhen_stale = \"stop-sending\"\nrelays = 3",
    );
    let policy = read_policy(&path).unwrap();
    assert_eq!((policy.protection, policy.origin), (Protection::None, Origin::Group));
    assert_eq!((policy.service, policy.when_stale), (Service::BestEffort, WhenStale::StopSending));
    assert_eq!(policy, Policy { relays: 3, ..policy.clone() });
    let roles = "[[role]]\nusers = \"press-*\"\nrole = \"receiver\"\n[[role]]\nusers = \"vault\"\nrole = \"archive\"";
    replace(&path, roles);
    let rule = |(users, role): (&str, Role)| RoleRule { users: users.parse().unwrap(), role };
    let policy = read_policy(&path).unwrap();
    let expected = [("press-*", Role::Receiver), ("vault", Role::Archive)].map(rule).to_vec();
    assert_eq!(policy, Policy { roles: expected, ..Policy::default() });
    replace(
        &path,
        "stay_s_max = 3600\n[[admission]]\nfrom_unix_s = 5\nlength_s = 60\nevery_s = 86400\n[[admission]]\nfrom_unix_s = 7\nlength_s = 1",
    );
    let policy = read_policy(&path).unwrap();
    let daily = Window { from_unix_s: 5, length_s: 60, every_s: 86_400 };
    let once = Window { from_unix_s: 7, length_s: 1, every_s: 0 };
    assert_eq!(policy, Policy { stay_s_max: 3600, admission: vec![daily, once], ..Policy::default() });
    for bad in [
        "[[role]]\nusers = \"*press\"\nrole = \"receiver\"",
        "[[role]]\nusers = \"press\"\nrole = \"reader\"",
        "[[role]]\nusers = \"press\"",
        "[[role]]\nusers = \"press\"\nrole = \"receiver\"\nuntil = 3",
        "origin = \"group\"\n[[role]]\nusers = \"press\"\nrole = \"receiver\"",
        "protection = \"integrity\"\n[[role]]\nusers = \"press\"\nrole = \"sender\"",
        "stay_s_max = 9",
        "[[admission]]\nfrom_unix_s = 5",
        "[[admission]]\nfrom_unix_s = 5\nlength_s = 0",
        "[[admission]]\nfrom_unix_s = 5\nlength_s = 61\nevery_s = 60",
        "[[admission]]\nfrom_unix_s = 5\nlength_s = 60\nuntil = 3",
        "heartbeat_ms = 1",
        "heartbeat = 1000",
        "protection = \"some\"",
        "authorities = [\"00\"]",
        "authorities = [\"0000000000000000000000000000000000000000000000000000000000000000\"]",
        "relays = 65",
        "heartbeat_ms = 5000000000",
    ] {
        replace(&path, bad);
        assert_refused(read_policy(&path), FileErrorKind::Malformed, &path);
    }
}
