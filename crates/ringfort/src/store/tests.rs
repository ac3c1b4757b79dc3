use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::coordination::Operation;
use ringfort_protocol::view::Cause;
use ringfort_protocol::{Incarnation, MemberId};

use ringfort_protocol::UserName;
use ringfort_protocol::codec::encode;
use ringfort_protocol::coordination::LifeRecord;
use ringfort_protocol::login::{Attempts, Registration, ThrottleKey};
use rusqlite::params;

use super::rows::subject_of;
use super::*;

mod formats;

const GROUP: GroupId = GroupId([1; 32]);

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn registration(user: &str, byte: u8) -> Record {
    // A password, with leader 1's share of a key, and what announces it.
    let mut share = [0; 32];
    share[0] = byte.max(1);
    let bytes = [&[3][..], &[byte; 32], &[1, 0], &share, &[2, 0, 0, 0], &[byte; 64]].concat();
    Record::Registration(name(user), Registration::from_bytes(&bytes).unwrap())
}

fn key(user: &str) -> Record {
    Record::Registration(
        name(user),
        Registration::Key(SigningKey::from_secret(&Secret32::new([7; 32])).verifying_key()),
    )
}

fn refresh(count: u64) -> Record {
    Record::Life(LifeRecord::of(Operation::Refresh(count)))
}

fn removed(user: &str, stay: u64) -> Record {
    let operation = Operation::Remove(MemberId { user: name(user), incarnation: Incarnation(stay) }, Cause::Left);
    Record::Life(LifeRecord { barred: true, ..LifeRecord::of(operation) })
}

fn attempts(user: &str, left: Option<u32>) -> Record {
    Record::Attempts(Attempts { key: ThrottleKey::User(name(user)), left })
}

fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(path, GROUP, None)
}

fn create(path: &Path) -> Store {
    Store::create(path, GROUP, None).unwrap()
}

/// Records as what can be compared.
fn told(records: &[Record]) -> Vec<(String, Vec<u8>)> {
    let tell = |record: &Record| match record {
        Record::Life(life) => (format!("life {}", subject_of(life)), encode(life)),
        Record::Registration(user, registration) => (format!("user {user}"), registration.to_bytes().to_vec()),
        Record::Attempts(attempts) => (format!("attempts {}", attempts.key), encode(&attempts.left)),
        Record::CatchingUp(is) => ("catching up".to_owned(), encode(is)),
    };
    records.iter().map(tell).collect()
}

fn home() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state.db");
    (home, path)
}

#[track_caller]
fn assert_tells_what_to_do(error: &StoreError, path: &Path) {
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()), "{message}");
    let (_, action) = message.rsplit_once(": ").unwrap();
    assert!(
        ["run", "put", "restore", "stop", "check", "make", "give"].iter().any(|verb| action.starts_with(verb)),
        "{message}"
    );
}

#[test]
fn what_was_persisted_is_loaded_and_the_latest_counts() {
    let (_home, path) = home();
    let mut store = create(&path);
    assert!(store.load().unwrap().is_empty());
    store.persist(&[]).unwrap();
    store.persist(&[&refresh(1), &registration("bo", 1), &removed("ana", 1)]).unwrap();
    store.persist(&[&registration("bo", 2), &refresh(2), &refresh(3)]).unwrap();
    let expected = told(&[refresh(3), removed("ana", 1), registration("bo", 2)]);
    assert_eq!(told(&store.load().unwrap()), expected);
    drop(store);
    assert_eq!(told(&open(&path).unwrap().load().unwrap()), expected);
}

#[test]
fn the_files_are_for_their_owner_alone() {
    let (home, path) = home();
    let mut store = create(&path);
    store.persist(&[&registration("bo", 1)]).unwrap();
    let mut files = 0;
    for entry in fs::read_dir(home.path()).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        files += 1;
    }
    assert!(files >= 2, "database and log");
    drop(store);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Permissions { mode: 0o640, .. }));
    assert_tells_what_to_do(&error, &path);
}

#[test]
fn another_group_a_newer_format_and_other_files_are_refused() {
    let (_home, path) = home();
    drop(create(&path));
    let error = Store::open(&path, GroupId([2; 32]), None).unwrap_err();
    assert!(matches!(error, StoreError::OtherGroup { found: GROUP, .. }));
    assert_tells_what_to_do(&error, &path);

    let set = |name, value: i64| Connection::open(&path).unwrap().pragma_update(None, name, value).unwrap();
    set("user_version", FORMAT + 1);
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found, .. } if found == FORMAT + 1));
    assert_tells_what_to_do(&error, &path);

    set("user_version", FORMAT);
    set("application_id", 7);
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore { .. }));
    assert_tells_what_to_do(&error, &path);

    fs::write(&path, "this is a text and no database, whatever its name says it might be\n".repeat(40)).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");

    let nowhere = path.join("state.db");
    let error = open(&nowhere).unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error:?}");
    assert_tells_what_to_do(&error, &nowhere);
}

#[test]
fn what_this_software_never_wrote_is_told_as_damage() {
    for damage in [
        "UPDATE life SET value = x'00'",
        "UPDATE life SET key = 'eve'",
        "UPDATE registration SET value = x'0102'",
        "UPDATE registration SET key = 'No Name'",
        "UPDATE attempts SET value = x'ffffffff'",
        "UPDATE meta SET catching_up = 1",
        "DELETE FROM meta",
        "DROP TABLE life",
    ] {
        let (_home, path) = home();
        create(&path).persist(&[&removed("ana", 1), &registration("bo", 1), &attempts("bo", Some(3))]).unwrap();
        Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        match open(&path).and_then(|store| store.load()) {
            Err(error @ (StoreError::Corrupt { .. } | StoreError::Sqlite { .. })) => {
                assert_tells_what_to_do(&error, &path);
            }
            other => panic!("{damage}: {other:?}"),
        }
    }
}

#[test]
fn a_log_cut_anywhere_gives_whole_transactions() {
    let (home, path) = home();
    let mut store = create(&path);
    for count in 1..=20 {
        store.persist(&[&refresh(count), &removed("ana", count)]).unwrap();
    }
    let log = fs::read(home.path().join("state.db-wal")).unwrap();
    let database = fs::read(&path).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for cut in (0..log.len()).step_by(1500).chain([log.len()]) {
        let (_crashed_home, crashed) = self::home();
        create_private(&crashed).unwrap();
        fs::write(&crashed, &database).unwrap();
        fs::write(crashed.with_file_name("state.db-wal"), &log[..cut]).unwrap();
        let records = open(&crashed).unwrap().load().unwrap();
        let count = match &records[..] {
            [] => 0,
            [Record::Life(key), Record::Life(ana)] => {
                assert_eq!(ana.rank(), 2 * key.rank(), "all of a transaction or nothing");
                key.rank()
            }
            other => panic!("{other:?}"),
        };
        seen.insert(count);
    }
    assert!(seen.contains(&20) && seen.len() > 10, "{seen:?}");
}

#[test]
fn a_killed_process_forgets_nothing_it_had_persisted() {
    if let Some(path) = std::env::var_os("RINGFORT_STORE_TEST_CHILD") {
        let mut store = create(Path::new(&path));
        for count in 1.. {
            store.persist(&[&refresh(count), &removed("ana", count)]).unwrap();
            println!("\npersisted {count}");
        }
    }
    let (_home, path) = home();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::a_killed_process_forgets_nothing_it_had_persisted", "--nocapture"])
        .env("RINGFORT_STORE_TEST_CHILD", &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let counts = lines.filter_map(|line| line.strip_prefix("persisted ").and_then(|n| n.parse::<u64>().ok()));
    let last = counts.take(200).last().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let records = open(&path).unwrap().load().unwrap();
    let [Record::Life(key), Record::Life(ana)] = &records[..] else { panic!("{records:?}") };
    assert!(key.rank() >= last && last == 200, "{} after {last}", key.rank());
    assert_eq!(ana.rank(), 2 * key.rank());
}

#[test]
fn a_row_whose_parts_do_not_agree_is_damage() {
    let Record::Life(true_life) = removed("ana", 2) else { unreachable!() };
    let Record::Life(other) = removed("bo", 3) else { unreachable!() };
    let Record::Life(earlier) = removed("ana", 1) else { unreachable!() };
    let other_user = LifeRecord { user: Some(name("bo")), ..true_life.clone() };
    let no_user = LifeRecord { user: None, ..true_life.clone() };
    let others_vote = LifeRecord { votes: other.accepted.into_iter().collect(), ..true_life.clone() };
    let old_vote = LifeRecord { votes: earlier.accepted.into_iter().collect(), ..true_life };
    for life in [other_user, no_user, others_vote, old_vote] {
        let (_home, path) = home();
        let mut store = create(&path);
        store.persist(&[&Record::Life(life)]).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Corrupt { .. })));
    }
}

#[test]
fn a_subject_out_of_order_is_damage() {
    let (_home, path) = home();
    let mut store = create(&path);
    store.persist(&[&registration("ana", 1), &registration("pia", 2)]).unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<usize> = (0..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == b"ana\x03").collect();
    assert!(!places.is_empty(), "the row is in the file");
    places.into_iter().for_each(|at| bytes[at] = b'z');
    fs::write(&path, &bytes).unwrap();
    let refused = open(&path).and_then(|store| store.load());
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })));
}

#[test]
fn attempts_and_catching_up_are_kept_until_they_are_over() {
    let (_home, path) = home();
    let mut store = create(&path);
    store.persist(&[&attempts("ana", Some(9)), &attempts("bo", Some(0)), &Record::CatchingUp(true)]).unwrap();
    store.persist(&[&attempts("ana", Some(6))]).unwrap();
    let kept = told(&[attempts("ana", Some(6)), attempts("bo", Some(0)), Record::CatchingUp(true)]);
    assert_eq!(told(&store.load().unwrap()), kept);
    drop(store);
    let mut store = open(&path).unwrap();
    assert_eq!(told(&store.load().unwrap()), kept);
    store.persist(&[&attempts("ana", None), &attempts("bo", None), &Record::CatchingUp(false)]).unwrap();
    drop(store);
    assert!(open(&path).unwrap().load().unwrap().is_empty());
}

#[test]
fn a_full_disk_is_told_and_nothing_of_the_call_is_kept() {
    let (_home, path) = home();
    let mut store = create(&path);
    store.limit_pages(24);
    let mut kept = 0;
    let error = loop {
        let stays: Vec<Record> = (0..20).map(|i| removed(&format!("u{kept}-{i}"), 1)).collect();
        match store.persist(&stays.iter().collect::<Vec<_>>()) {
            Ok(()) => kept += 20,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_tells_what_to_do(&error, &path);
    assert!(error.to_string().contains("make room on the disk"), "{error}");
    drop(store);
    assert_eq!(open(&path).unwrap().load().unwrap().len(), kept);
}

/// A memory in one file, with something of everything.
fn filled(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut store = create(path);
    let mut records: Vec<Record> = (0..30).map(|i| removed(&format!("user{i}"), 1)).collect();
    records.extend((0..30).map(|i| registration(&format!("user{i}"), i)));
    records.extend([attempts("ana", Some(3)), refresh(4), Record::CatchingUp(true)]);
    store.persist(&records.iter().collect::<Vec<_>>()).unwrap();
    told(&store.load().unwrap())
}

#[test]
fn a_changed_bit_is_noticed_or_changes_nothing() {
    let (_home, path) = home();
    let all = filled(&path);
    let bytes = fs::read(&path).unwrap();
    let (mut noticed, mut harmless) = (0, 0);
    for place in (0..bytes.len()).step_by(29) {
        let mut changed = bytes.clone();
        changed[place] ^= 1 << (place % 8);
        let (_other, path) = home();
        create_private(&path).unwrap();
        fs::write(&path, &changed).unwrap();
        match open(&path).and_then(|store| store.load()) {
            Ok(records) => {
                assert_eq!(told(&records), all, "byte {place}");
                harmless += 1;
            }
            Err(_) => noticed += 1,
        }
    }
    assert!(noticed > 100 && harmless > 0, "{noticed} noticed, {harmless} in unused places");
}

#[test]
fn a_file_cut_short_is_noticed() {
    let (_home, path) = home();
    filled(&path);
    let bytes = fs::read(&path).unwrap();
    for length in [0, 1, 100, 4095, 4096, bytes.len() / 2, bytes.len() - 4096, bytes.len() - 1] {
        let (_other, path) = home();
        create_private(&path).unwrap();
        fs::write(&path, &bytes[..length]).unwrap();
        let error = open(&path).and_then(|store| store.load()).expect_err("a part of a memory");
        assert_tells_what_to_do(&error, &path);
    }
}

#[test]
fn a_log_that_is_broken_before_its_end_is_not_taken_for_one_that_a_crash_cut() {
    let (home, path) = home();
    let mut store = create(&path);
    for count in 1..=20 {
        store.persist(&[&refresh(count), &removed("ana", count)]).unwrap();
    }
    let log = fs::read(home.path().join("state.db-wal")).unwrap();
    let database = fs::read(&path).unwrap();
    // A frame that denies its own log may be an old one, so its damage shows a transaction later.
    let last = log.len() * 18 / 20;
    let (mut noticed, mut silent) = (0, 0);
    for place in (0..log.len()).step_by(131) {
        let mut changed = log.clone();
        changed[place] ^= 4;
        let (_other, path) = self::home();
        create_private(&path).unwrap();
        fs::write(&path, &database).unwrap();
        fs::write(path.with_file_name("state.db-wal"), &changed).unwrap();
        match open(&path).and_then(|store| store.load()) {
            Err(StoreError::Corrupt { .. }) => noticed += 1,
            Ok(records) if told(&records) == told(&store.load().unwrap()) => silent += 1,
            other => assert!(place >= last, "byte {place} of {}: {other:?}", log.len()),
        }
    }
    assert!(noticed > 100, "{noticed} noticed, {silent} changed nothing");
}

#[test]
fn sealing_leaves_no_registration_in_plain_and_unsealing_gives_it_back() {
    let (home, path) = home();
    let mut store = create(&path);
    store.persist(&[&registration("ana", 0xa7), &registration("bo", 0xb8), &removed("cy", 1)]).unwrap();
    let all = told(&store.load().unwrap());
    let on_disk = |byte: u8| {
        let files = fs::read_dir(home.path()).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        files.into_iter().any(|bytes| bytes.windows(32).any(|window| window == [byte; 32]))
    };
    assert!(on_disk(0xa7) && on_disk(0xb8), "the search finds what is there");
    let key = StoreKey::draw();
    store.seal(Some(key.clone())).unwrap();
    store.persist(&[&registration("di", 0xd9)]).unwrap();
    assert!(!on_disk(0xa7) && !on_disk(0xb8) && !on_disk(0xd9));
    assert_eq!(store.load().unwrap().len(), 4);
    drop(store);
    for wrong in [None, Some(StoreKey::draw())] {
        let error = Store::open(&path, GROUP, wrong).unwrap_err();
        assert!(matches!(error, StoreError::Sealed { .. }), "{error:?}");
        assert!(error.to_string().contains("give the key"), "{error}");
    }
    let mut store = Store::open(&path, GROUP, Some(key)).unwrap();
    store.seal(None).unwrap();
    assert!(on_disk(0xa7));
    drop(store);
    let records = open(&path).unwrap().load().unwrap();
    assert_eq!(records.len(), all.len() + 1);
}

#[test]
fn a_sealed_registration_opens_for_its_user_alone() {
    let (_home, path) = home();
    let key = StoreKey::draw();
    let mut store = Store::create(&path, GROUP, Some(key.clone())).unwrap();
    store.persist(&[&registration("ana", 1)]).unwrap();
    drop(store);
    let connection = Connection::open(&path).unwrap();
    let value: Vec<u8> = connection.query_row("SELECT value FROM registration", [], |row| row.get(0)).unwrap();
    let sum = row_sum("registration", "bo", &value);
    connection.execute("UPDATE registration SET key = 'bo', sum = ?1", [sum]).unwrap();
    drop(connection);
    let refused = Store::open(&path, GROUP, Some(key)).unwrap().load();
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_backup_is_one_moment_of_a_memory_in_use() {
    let (home, path) = home();
    let mut store = create(&path);
    store.persist(&[&refresh(1), &removed("ana", 1)]).unwrap();
    let reading = Store::read(&path, GROUP, None).unwrap();
    let copy = home.path().join("copy.db");
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            for count in 2..=200 {
                store.persist(&[&refresh(count), &removed("ana", count)]).unwrap();
            }
        });
        for _ in 0..20 {
            reading.back_up(&copy).unwrap();
            let records = open(&copy).unwrap().load().unwrap();
            let [Record::Life(key), Record::Life(ana)] = &records[..] else { panic!("{records:?}") };
            assert_eq!(ana.rank(), 2 * key.rank());
            fs::remove_file(&copy).unwrap();
        }
        writing.join().unwrap();
    });
    assert!(matches!(reading.back_up(&path), Err(StoreError::Unusable { .. })), "nothing is replaced");
}
