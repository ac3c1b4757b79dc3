use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::leader::Record;
use ringfort_protocol::login::Registration;

use super::*;

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

const MADE: [&str; 5] = ["group.toml", "leader-1", "leader-2", "leader-3", "leader-4"];

#[test]
fn a_setup_makes_a_public_file_and_a_folder_per_leader() {
    let (home, dir, summary) = made();
    assert_eq!(entries(&dir), MADE);
    assert_eq!(entries(home.path()), ["group"]);
    assert_eq!(summary.folders.len(), 4);
    assert_eq!(summary.fingerprint, read_group(&dir.join(GROUP_FILE)).unwrap().fingerprint());
}

#[test]
fn an_empty_folder_is_filled_where_it_is() {
    let home = tempfile::tempdir().unwrap();
    let before = fs::metadata(home.path()).unwrap().ino();
    init(home.path(), options(4, 1)).unwrap();
    assert_eq!(entries(home.path()), MADE);
    assert_eq!(fs::metadata(home.path()).unwrap().ino(), before);
    assert_refused(init(home.path(), options(4, 1)), FileErrorKind::Exists, home.path());
}

#[test]
fn users_may_come_with_a_key_or_a_password() {
    let home = tempfile::tempdir().unwrap();
    let key = SigningKey::generate(&mut os_rng()).verifying_key();
    let list = home.path().join("users.toml");
    let text = format!(
        "[[user]]\nname = \"ana\"\npassword = \"correct horse\"\n[[user]]\nname = \"bo\"\nkey = \"{}\"\n",
        public_key_text(&key)
    );
    replace(&list, &text);
    set_mode(&list, 0o600);
    let users = read_users(&list).unwrap();
    assert!(!format!("{users:?}").contains("horse"));
    let summary = init(&home.path().join("group"), InitOptions { users, ..options(4, 1) }).unwrap();
    let mut passwords = std::collections::BTreeSet::new();
    for folder in &summary.folders {
        let records = LeaderFolder::open(folder).unwrap().store.load().unwrap();
        let [
            Record::Registration(ana, Registration::Password(password)),
            Record::Registration(bo, Registration::Key(stored)),
        ] = &records[..]
        else {
            panic!("{records:?}")
        };
        assert_eq!((ana.as_str(), bo.as_str(), *stored), ("ana", "bo", key));
        passwords.insert(*password.key().expose());
    }
    assert_eq!(passwords.len(), 4, "what one leader stores opens no other");
}

#[test]
fn a_list_of_users_is_strict_and_private() {
    let home = tempfile::tempdir().unwrap();
    let list = home.path().join("users.toml");
    let user = |rest: &str| format!("[[user]]\nname = \"ana\"\n{rest}\n");
    replace(&list, &user("password = \"correct horse\""));
    set_mode(&list, 0o644);
    assert_refused(read_users(&list), FileErrorKind::Permissions, &list);
    set_mode(&list, 0o600);
    assert_eq!(read_users(&list).unwrap().len(), 1);
    let twice = user("password = \"correct horse\"").repeat(2);
    for bad in [
        user(""),
        user("password = \"hunter2-is-secret\"\nkey = \"00\""),
        user("password = \"2short\""),
        user("pasword = \"hunter2-is-secret\""),
        user("key = \"0000000000000000000000000000000000000000000000000000000000000000\""),
        user("password = 12345678"),
        twice,
        "[[user]]\nname = \"Ana\"\npassword = \"hunter2-is-secret\"\n".to_owned(),
        "[[users]]\nname = \"ana\"\n".to_owned(),
    ] {
        replace(&list, &bad);
        let error = read_users(&list).unwrap_err();
        assert!(!error.to_string().contains("hunter2") && !error.to_string().contains("12345678"), "{error}");
        assert_refused(Err::<(), _>(error), FileErrorKind::Malformed, &list);
    }
}

#[test]
fn what_cannot_be_a_group_is_refused_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("group");
    let good = || options(4, 1);
    let mut same = good();
    same.addresses[1] = same.addresses[0].clone();
    let mut portless = good();
    portless.addresses[3] = "host".to_owned();
    let mut cases = vec![same, portless];
    cases.push(InitOptions { addresses: vec!["a:1".to_owned()], ..good() });
    cases.push(InitOptions { name: String::new(), ..good() });
    cases.push(InitOptions { name: "two\nlines".to_owned(), ..good() });
    cases.push(InitOptions { policy: Policy { relays: 5, ..policy() }, ..good() });
    cases.push(InitOptions { policy: Policy { members_max: 0, ..policy() }, ..good() });
    cases.push(InitOptions { policy: Policy { authorities: vec![[0; 32]], ..policy() }, ..good() });
    cases.push(InitOptions { users: [good().users, good().users].concat(), ..good() });
    for case in cases {
        assert_refused(init(&dir, case), FileErrorKind::Malformed, &dir);
        assert_eq!(entries(home.path()), [""; 0]);
    }
}

#[test]
fn addresses_that_no_leader_can_have_are_refused_with_the_reason() {
    for (bad, why) in [
        ("2001:db8::5", "in brackets"),
        ("2001:db8::5:7400", "in brackets"),
        ("http://a.example:7400", "neither"),
        ("*:7400", "neither"),
        ("a_b/c:7400", "neither"),
        ("0.0.0.0:7400", "stands for every address"),
        ("[::]:7400", "stands for every address"),
        ("[2001:db8::5:7400", "between its brackets"),
        ("[host]:7400", "between its brackets"),
        ("224.0.0.1:7400", "no machine's"),
        ("300.1.1.1:7400", "neither"),
        ("-a.example:7400", "neither"),
        ("a..example:7400", "neither"),
        (":7400", "neither"),
        ("a.example:0", "no port"),
        ("a.example", "host:port"),
        ("a.example:70000", "host:port"),
    ] {
        let told = check_address(bad).expect_err(bad);
        assert!(told.contains(why), "{bad}: {told}");
    }
    for good in
        ["a.example:7400", "leader-1:1", "192.0.2.1:7400", "[2001:db8::5]:7400", "a.example.:7400", "127.0.0.1:7400"]
    {
        assert_eq!(check_address(good), Ok(()), "{good}");
    }
    for (address, local) in [
        ("127.0.0.1:1", true),
        ("[::1]:1", true),
        ("LocalHost:1", true),
        ("192.0.2.1:1", false),
        ("a.example:1", false),
    ] {
        assert_eq!(is_loopback(address), local, "{address}");
    }
}

#[test]
fn a_place_that_cannot_take_it_is_refused_and_left_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let full = home.path().join("full");
    fs::create_dir(&full).unwrap();
    replace(&full.join("note"), "mine");
    assert_refused(init(&full, options(4, 1)), FileErrorKind::Exists, &full);
    assert_eq!(entries(&full), ["note"]);

    let file = full.join("note");
    assert_refused(init(&file, options(4, 1)), FileErrorKind::Exists, &file);
    let below_file = file.join("group");
    assert_refused(init(&below_file, options(4, 1)), FileErrorKind::Unwritable, &below_file);
    let nowhere = home.path().join("no").join("where");
    assert_refused(init(&nowhere, options(4, 1)), FileErrorKind::Unwritable, &nowhere);
    assert_eq!(entries(home.path()), ["full"]);
}

#[test]
fn a_failure_on_the_way_out_takes_everything_back() {
    let home = tempfile::tempdir().unwrap();
    let staging = disk::Staging::make(home.path().join(".unfinished")).unwrap();
    fs::create_dir(staging.path().join("leader-1")).unwrap();
    let moves = ["leader-1".to_owned(), "missing".to_owned()];
    staging.finish_into(home.path(), &moves).unwrap_err();
    assert_eq!(entries(home.path()), [""; 0]);
}

/// A reader who may not write: meaningless for root, who may.
#[test]
fn a_place_of_others_is_told_as_such() {
    let home = tempfile::tempdir().unwrap();
    set_mode(home.path(), 0o500);
    let dir = home.path().join("group");
    let root = fs::write(home.path().join("probe"), "").is_ok();
    if !root {
        let error = init(&dir, options(4, 1)).unwrap_err();
        assert_eq!(error.kind(), FileErrorKind::Unwritable);
        assert_tells_what_to_do(&error.to_string(), &home.path().display().to_string());
    }
    set_mode(home.path(), 0o700);
}
