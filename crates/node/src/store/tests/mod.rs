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
use ringfort_protocol::coordination::{LifeRecord, Subject};
use ringfort_protocol::login::{Attempts, Registration};
use rusqlite::params;

use super::rows::subject_of;
use super::*;

mod damage;
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
    Record::Attempts(Attempts { user: name(user), left })
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
        Record::Attempts(attempts) => (format!("attempts {}", attempts.user), encode(&attempts.left)),
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
    let reading = Store::read(&path, GROUP).unwrap();
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

#[test]
fn a_look_counts_and_opens_nothing() {
    let (_home, path) = home();
    let mut store = Store::create(&path, GROUP, Some(StoreKey::draw())).unwrap();
    store.persist(&[&registration("ana", 1), &removed("ana", 2), &refresh(3), &attempts("bo", Some(1))]).unwrap();
    Store::mark_as_old(&path, GROUP).unwrap();
    let look = Store::read(&path, GROUP).unwrap().look().unwrap();
    let expected = Look { epoch: 7, users: 1, throttled: 1, is_sealed: true, is_catching_up: true, ..Look::default() };
    assert_eq!(look, expected);
}
