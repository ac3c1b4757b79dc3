use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use ringfort_crypto::secret::Secret32;
use ringfort_protocol::coordination::Operation;
use ringfort_protocol::view::Cause;
use ringfort_protocol::{Incarnation, MemberId};

use super::*;

const GROUP: GroupId = GroupId([1; 32]);

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn registration(user: &str, byte: u8) -> Record {
    Record::Registration(name(user), Registration::Password(Secret32::new([byte; 32])))
}

fn refresh(count: u64) -> Record {
    Record::Life(LifeRecord {
        user: None,
        rank: count,
        operation: Operation::Refresh(count),
        barred: false,
        unwanted: false,
    })
}

fn removed(user: &str, stay: u64) -> Record {
    let operation = Operation::Remove(MemberId { user: name(user), incarnation: Incarnation(stay) }, Cause::Left);
    Record::Life(LifeRecord {
        user: Some(name(user)),
        rank: operation.rank(),
        operation,
        barred: true,
        unwanted: false,
    })
}

/// Records as what can be compared.
fn told(records: &[Record]) -> Vec<(String, Vec<u8>)> {
    let tell = |record: &Record| match record {
        Record::Life(life) => (format!("life {}", subject_of(life)), encode(life)),
        Record::Registration(user, registration) => (format!("user {user}"), registration.to_bytes().to_vec()),
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
    assert!(["run", "put", "restore", "stop", "check"].iter().any(|verb| action.starts_with(verb)), "{message}");
}

#[test]
fn what_was_persisted_is_loaded_and_the_latest_counts() {
    let (_home, path) = home();
    let mut store = Store::open(&path, GROUP).unwrap();
    assert!(store.load().unwrap().is_empty());
    store.persist(&[]).unwrap();
    store.persist(&[&refresh(1), &registration("bo", 1), &removed("ana", 1)]).unwrap();
    store.persist(&[&registration("bo", 2), &refresh(2), &refresh(3)]).unwrap();
    let expected = told(&[refresh(3), removed("ana", 1), registration("bo", 2)]);
    assert_eq!(told(&store.load().unwrap()), expected);
    drop(store);
    assert_eq!(told(&Store::open(&path, GROUP).unwrap().load().unwrap()), expected);
}

#[test]
fn the_files_are_for_their_owner_alone() {
    let (home, path) = home();
    let mut store = Store::open(&path, GROUP).unwrap();
    store.persist(&[&registration("bo", 1)]).unwrap();
    let mut files = 0;
    for entry in fs::read_dir(home.path()).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        files += 1;
    }
    assert!(files >= 2, "database and log");
    drop(store);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = Store::open(&path, GROUP).unwrap_err();
    assert!(matches!(error, StoreError::Permissions { mode: 0o640, .. }));
    assert_tells_what_to_do(&error, &path);
}

#[test]
fn a_store_is_open_once() {
    let (_home, path) = home();
    let store = Store::open(&path, GROUP).unwrap();
    let error = Store::open(&path, GROUP).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error:?}");
    assert_tells_what_to_do(&error, &path);
    drop(store);
    Store::open(&path, GROUP).unwrap();
}

#[test]
fn another_group_a_newer_format_and_other_files_are_refused() {
    let (_home, path) = home();
    drop(Store::open(&path, GROUP).unwrap());
    let error = Store::open(&path, GroupId([2; 32])).unwrap_err();
    assert!(matches!(error, StoreError::OtherGroup { found: GROUP, .. }));
    assert_tells_what_to_do(&error, &path);

    let set = |name, value: i64| Connection::open(&path).unwrap().pragma_update(None, name, value).unwrap();
    set("user_version", FORMAT + 1);
    let error = Store::open(&path, GROUP).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found, .. } if found == FORMAT + 1));
    assert_tells_what_to_do(&error, &path);

    set("user_version", FORMAT);
    set("application_id", 7);
    let error = Store::open(&path, GROUP).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore { .. }));
    assert_tells_what_to_do(&error, &path);

    fs::write(&path, "this is a text and no database, whatever its name says it might be\n".repeat(40)).unwrap();
    let error = Store::open(&path, GROUP).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");

    let nowhere = path.join("state.db");
    let error = Store::open(&nowhere, GROUP).unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error:?}");
    assert_tells_what_to_do(&error, &nowhere);
}

#[test]
fn what_this_software_never_wrote_is_told_as_damage() {
    for damage in [
        "UPDATE life SET record = x'00'",
        "UPDATE life SET subject = 'eve'",
        "UPDATE registration SET secret = x'0102'",
        "UPDATE registration SET user = 'No Name'",
        "DELETE FROM meta",
        "DROP TABLE life",
    ] {
        let (_home, path) = home();
        Store::open(&path, GROUP).unwrap().persist(&[&removed("ana", 1), &registration("bo", 1)]).unwrap();
        Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        match Store::open(&path, GROUP).and_then(|store| store.load()) {
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
    let mut store = Store::open(&path, GROUP).unwrap();
    for count in 1..=20 {
        store.persist(&[&refresh(count), &removed("ana", count)]).unwrap();
    }
    let log = fs::read(home.path().join("state.db-wal")).unwrap();
    let database = fs::read(&path).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for cut in (0..log.len()).step_by(1500).chain([log.len()]) {
        let (_crashed_home, crashed) = self::home();
        drop(create_private(&crashed));
        fs::write(&crashed, &database).unwrap();
        fs::write(crashed.with_file_name("state.db-wal"), &log[..cut]).unwrap();
        let records = Store::open(&crashed, GROUP).unwrap().load().unwrap();
        let count = match &records[..] {
            [] => 0,
            [Record::Life(key), Record::Life(ana)] => {
                assert_eq!(ana.rank, 2 * key.rank, "all of a transaction or nothing");
                key.rank
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
        let mut store = Store::open(Path::new(&path), GROUP).unwrap();
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
    let records = Store::open(&path, GROUP).unwrap().load().unwrap();
    let [Record::Life(key), Record::Life(ana)] = &records[..] else { panic!("{records:?}") };
    assert!(key.rank >= last && last == 200, "{} after {last}", key.rank);
    assert_eq!(ana.rank, 2 * key.rank);
}

#[test]
fn a_row_whose_parts_do_not_agree_is_damage() {
    let Record::Life(true_life) = removed("ana", 2) else { unreachable!() };
    let other_rank = LifeRecord { rank: u64::MAX, ..true_life.clone() };
    let other_user = LifeRecord { user: Some(name("bo")), ..true_life.clone() };
    let no_user = LifeRecord { user: None, ..true_life };
    for life in [other_rank, other_user, no_user] {
        let (_home, path) = home();
        let mut store = Store::open(&path, GROUP).unwrap();
        store.persist(&[&Record::Life(life)]).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Corrupt { .. })));
    }
}

#[test]
fn a_subject_out_of_order_is_damage() {
    let (_home, path) = home();
    let mut store = Store::open(&path, GROUP).unwrap();
    store.persist(&[&registration("ana", 1), &registration("pia", 2)]).unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<usize> = (0..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == b"ana\x01").collect();
    assert!(!places.is_empty(), "the row is in the file");
    places.into_iter().for_each(|at| bytes[at] = b'z');
    fs::write(&path, &bytes).unwrap();
    let store = Store::open(&path, GROUP).unwrap();
    assert!(matches!(store.load(), Err(StoreError::Corrupt { .. })));
}
