//! Memories that are damaged, and disks that are full.

use super::*;

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
fn a_row_whose_parts_do_not_agree_is_damage() {
    let Record::Life(true_life) = removed("ana", 2) else { unreachable!() };
    let Record::Life(other) = removed("bo", 3) else { unreachable!() };
    let Record::Life(earlier) = removed("ana", 1) else { unreachable!() };
    let other_user = LifeRecord { subject: Subject::User(name("bo")), ..true_life.clone() };
    let no_user = LifeRecord { subject: Subject::Key, ..true_life.clone() };
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
