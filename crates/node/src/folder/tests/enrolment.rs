use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::coordination::{LifeRecord, Operation};
use ringfort_protocol::leader::Record;
use ringfort_protocol::login::{EnrolmentRecord, Registration, enrol_key, enrol_password};

use ringfort_protocol::view::Cause;
use ringfort_protocol::{Incarnation, MemberId};

use super::*;

pub(super) fn records(summary: &InitSummary, user: &str) -> Vec<EnrolmentRecord> {
    let key = SigningKey::generate(&mut os_rng()).verifying_key();
    enrol_key(&summary.group, &name(user), &key, &mut os_rng()).records
}

#[test]
fn records_are_read_back_also_from_a_mail() {
    let (home, _, summary) = made();
    let records = records(&summary, "bo");
    let paths = write_records(home.path(), &records).unwrap();
    assert!(paths[1].ends_with("bo.leader-2.record"));
    assert_refused(write_records(home.path(), &records), FileErrorKind::Exists, &paths[0]);
    for (record, path) in records.iter().zip(&paths) {
        assert_eq!(&read_record(path).unwrap(), record);
        let mail =
            format!("Dear operator,\r\n\r\n  {}\r\nyours\r\n", fs::read_to_string(path).unwrap().replace('\n', "\r\n"));
        replace(path, &mail);
        assert_eq!(&read_record(path).unwrap(), record);
    }
}

#[test]
fn a_damaged_record_is_refused() {
    let (home, _, summary) = made();
    let paths = write_records(home.path(), &records(&summary, "bo")).unwrap();
    let path = &paths[0];
    let text = fs::read_to_string(path).unwrap();
    let digits = text.lines().nth(3).unwrap().to_owned();
    for damaged in [
        String::new(),
        "just a mail".to_owned(),
        text.replace("user bo", "user ana"),
        text.replace("leader 1", "leader 2"),
        text.replace("-----END", "---END"),
        text.replace(&digits, ""),
        text.replace(&digits, &format!("{digits}AAAA")),
        text.replace("Format 2", "For"),
        text.repeat(1000),
    ] {
        replace(path, &damaged);
        assert_refused(read_record(path), FileErrorKind::Malformed, path);
    }
    for other in ["Format 1", "Format 3"] {
        replace(path, &text.replace("Format 2", other));
        assert_refused(read_record(path), FileErrorKind::Version, path);
    }
}

#[test]
fn a_record_is_accepted_at_its_own_leader_only() {
    let (home, _, summary) = made();
    let (_other_home, _, other) = made();
    let paths = write_records(home.path(), &records(&summary, "bo")).unwrap();
    assert_refused(accept(&summary.folders[1], &paths[0]), FileErrorKind::ForeignRecord, &paths[0]);
    assert_refused(accept(&other.folders[0], &paths[0]), FileErrorKind::ForeignRecord, &paths[0]);
    assert_eq!(accept(&summary.folders[0], &paths[0]).unwrap().user.as_str(), "bo");

    let known = |folder: &Path| -> Vec<String> {
        let records = LeaderFolder::open(folder).unwrap().store.load().unwrap();
        records
            .iter()
            .map(|r| if let Record::Registration(user, _) = r { user.to_string() } else { String::new() })
            .collect()
    };
    assert_eq!(known(&summary.folders[0]), ["ana", "bo"]);
    assert_eq!(known(&summary.folders[1]), ["ana"]);
}

#[test]
fn an_altered_record_is_not_accepted() {
    let (home, _, summary) = made();
    let mut record = records(&summary, "bo").swap_remove(0);
    *record.sealed.last_mut().unwrap() ^= 1;
    let paths = write_records(home.path(), &[record]).unwrap();
    assert_refused(accept(&summary.folders[0], &paths[0]), FileErrorKind::ForeignRecord, &paths[0]);
}

#[test]
fn a_password_is_accepted_with_its_login_key() {
    let (home, _, summary) = made();
    let records = enrol_password(&summary.group, &name("bo"), b"correct horse", &mut os_rng()).unwrap().records;
    let paths = write_records(home.path(), &records).unwrap();
    for (folder, path) in summary.folders.iter().zip(&paths) {
        accept(folder, path).unwrap();
        let records = LeaderFolder::open(folder).unwrap().store.load().unwrap();
        assert!(matches!(records.last(), Some(Record::Registration(_, Registration::Password(_)))), "{records:?}");
    }
}

#[test]
fn accepting_beside_a_running_leader_is_busy() {
    let (home, _, summary) = made();
    let folder = &summary.folders[0];
    let paths = write_records(home.path(), &records(&summary, "bo")).unwrap();
    let running = LeaderFolder::open(folder).unwrap();
    assert_refused(accept(folder, &paths[0]), FileErrorKind::Busy, folder);

    drop_record(folder, &read_record(&paths[0]).unwrap(), false).unwrap();
    let taken = take_requests(folder);
    let [OperatorRequest::Accept(record)] = &taken[..] else { panic!("{taken:?}") };
    let open = running.record_opener();
    assert!(matches!(open(record), Ok(Registration::Key(_))));
}

#[test]
fn accepting_takes_an_expelled_user_back_and_nobody_else() {
    let (home, _, summary) = made();
    let folder = &summary.folders[0];
    let expelled = |user: &str| {
        let operation = Operation::Remove(MemberId { user: name(user), incarnation: Incarnation(3) }, Cause::Expelled);
        Record::Life(LifeRecord { barred: true, ..LifeRecord::of(operation) })
    };
    LeaderFolder::open(folder).unwrap().store.persist(&[&expelled("bo"), &expelled("ana")]).unwrap();
    let paths = write_records(home.path(), &records(&summary, "bo")).unwrap();
    accept(folder, &paths[0]).unwrap();
    let records = LeaderFolder::open(folder).unwrap().store.load().unwrap();
    let barred: Vec<_> = records
        .iter()
        .filter_map(|record| {
            if let Record::Life(life) = record { Some((life.subject.user().cloned(), life.barred)) } else { None }
        })
        .collect();
    assert_eq!(barred, [(Some(name("ana")), true), (Some(name("bo")), false)]);
}
