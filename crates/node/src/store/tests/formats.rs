//! Memories of older formats.

use super::*;

/// How a password was registered before users had login keys of their own.
const OUTDATED: [u8; 33] = {
    let mut bytes = [7; 33];
    bytes[0] = 1;
    bytes
};

/// What format 1 held, as it was written.
fn format_1(path: &Path) {
    const LIFE: &str = "0103616e6103020000000000000103616e6102010000000000005925ba86e2189444a6c3b437b25d2ef35daecd1abf82c5\
                        fb36060f9fc0af428cca8b1b4de47ee98f116acfa4791afc0baa7a12702411456b2208a828adb68c710100";
    create_private(path).unwrap();
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE meta (group_id BLOB NOT NULL) STRICT;
             CREATE TABLE life (subject TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
             CREATE TABLE registration (user TEXT PRIMARY KEY, secret BLOB NOT NULL) STRICT, WITHOUT ROWID;
             PRAGMA journal_mode = wal; PRAGMA application_id = 0x52467374; PRAGMA user_version = 1;",
        )
        .unwrap();
    let life = data_encoding::HEXLOWER.decode(LIFE.as_bytes()).unwrap();
    connection.execute("INSERT INTO meta VALUES (?1)", params![GROUP.0]).unwrap();
    connection.execute("INSERT INTO life VALUES ('ana', ?1)", params![life]).unwrap();
    let Record::Registration(_, key) = key("bo") else { unreachable!() };
    connection.execute("INSERT INTO registration VALUES ('bo', ?1)", params![key.to_bytes().as_slice()]).unwrap();
    connection.execute("INSERT INTO registration VALUES ('pia', ?1)", params![&OUTDATED[..]]).unwrap();
}

#[test]
fn format_1_is_brought_up_to_date() {
    let (_home, path) = home();
    format_1(&path);
    assert!(matches!(Store::read(&path, GROUP), Err(StoreError::Older { found: 1, .. })), "reading changes nothing");
    for _ in 0..2 {
        let records = open(&path).unwrap().load().unwrap();
        let [Record::Life(life), bo] = &records[..] else { panic!("{records:?}") };
        let Some(Operation::Join(entry)) = &life.accepted else { panic!("{life:?}") };
        assert_eq!((entry.id.user.as_str(), entry.id.incarnation, life.rank()), ("ana", Incarnation(258), 515));
        assert!(life.barred && !life.unwanted && life.votes.is_empty());
        assert_eq!(told(std::slice::from_ref(bo)), told(&[key("bo")]), "pia has to be enrolled again");
    }
    let format: i64 =
        Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(format, FORMAT);
}

#[test]
fn passwords_of_format_2_are_left_out_until_they_are_enrolled_again() {
    let (_home, path) = home();
    create(&path).persist(&[&key("bo")]).unwrap();
    let sum = row_sum("registration", "pia", &OUTDATED);
    let connection = Connection::open(&path).unwrap();
    connection.execute("INSERT INTO registration VALUES ('pia', ?1, ?2)", params![&OUTDATED[..], sum]).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    drop(connection);
    assert!(matches!(Store::read(&path, GROUP), Err(StoreError::Older { found: 2, .. })), "reading changes nothing");
    for _ in 0..2 {
        assert_eq!(told(&open(&path).unwrap().load().unwrap()), told(&[key("bo")]));
    }
    open(&path).unwrap().persist(&[&registration("pia", 3)]).unwrap();
    assert_eq!(told(&open(&path).unwrap().load().unwrap()), told(&[key("bo"), registration("pia", 3)]));
}

#[test]
fn a_damaged_format_1_stays_as_it_is() {
    let (_home, path) = home();
    format_1(&path);
    Connection::open(&path).unwrap().execute_batch("UPDATE life SET subject = 'eve'").unwrap();
    assert!(matches!(open(&path), Err(StoreError::Corrupt { .. })));
    let format: i64 =
        Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(format, 1, "all of it or nothing");
}

#[test]
fn format_3_is_format_4_of_a_group_in_its_first_session() {
    let (_home, path) = home();
    create(&path).persist(&[&refresh(7), &removed("ana", 2), &key("bo")]).unwrap();
    let before = told(&open(&path).unwrap().load().unwrap());
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 3).unwrap();
    drop(connection);
    assert!(matches!(Store::read(&path, GROUP), Err(StoreError::Older { found: 3, .. })), "reading changes nothing");
    assert_eq!(told(&open(&path).unwrap().load().unwrap()), before);
    let session = Record::Life(LifeRecord::of(Operation::Session(2)));
    open(&path).unwrap().persist(&[&session]).unwrap();
    let records = open(&path).unwrap().load().unwrap();
    assert_eq!(records.len(), 4, "the session and the key are two subjects");
    let is_session = |record: &Record| matches!(record, Record::Life(life) if life.subject == Subject::Session);
    let found = records.iter().find(|record| is_session(record)).unwrap();
    assert_eq!(told(std::slice::from_ref(found)), told(&[session]));
}
