use ringfort_protocol::SessionNumber;
use ringfort_protocol::coordination::SessionOrder;

use super::enrolment::records;
use super::*;

fn session(number: u64) -> SessionNumber {
    SessionNumber::new(number).unwrap()
}

#[test]
fn requests_come_out_in_order_and_once() {
    let (_home, _, summary) = made();
    let folder = &summary.folders[0];
    assert_eq!(take_requests(folder), []);
    let asked = [
        OperatorRequest::Expel(name("ana")),
        OperatorRequest::Accept(records(&summary, "bo").swap_remove(0)),
        OperatorRequest::Refresh,
        OperatorRequest::Session(SessionOrder::End(session(1))),
        OperatorRequest::Session(SessionOrder::Start(session(2))),
        OperatorRequest::Session(SessionOrder::Restart(session(16_384))),
    ];
    for request in &asked {
        drop_request(folder, request).unwrap();
    }
    assert_eq!(take_requests(folder), asked);
    assert_eq!(take_requests(folder), []);
    assert_eq!(fs::read_dir(folder.join(INBOX)).unwrap().count(), 0);
}

#[test]
fn a_request_stays_until_it_is_done() {
    let (_home, _, summary) = made();
    let folder = &summary.folders[0];
    drop_request(folder, &OperatorRequest::Refresh).unwrap();
    assert_eq!(read_requests(folder).unwrap().waiting.len(), 1);
    let mut again = read_requests(folder).unwrap().waiting;
    assert_eq!(again.pop().unwrap().done().unwrap(), OperatorRequest::Refresh);
    assert_eq!(read_requests(folder).unwrap().waiting.len(), 0);
}

#[test]
fn a_record_for_another_leader_is_refused_at_the_door() {
    let (_home, _, summary) = made();
    let folder = &summary.folders[0];
    let mut records = records(&summary, "bo");
    assert_refused(drop_record(folder, &records.swap_remove(1), false), FileErrorKind::ForeignRecord, folder);
    assert_eq!(fs::read_dir(folder.join(INBOX)).unwrap().count(), 0);
}

#[test]
fn an_inbox_is_bounded() {
    let (_home, _, summary) = made();
    let folder = &summary.folders[0];
    let inbox = folder.join(INBOX);
    for _ in 0..REQUESTS_READ_MAX + 1 {
        drop_request(folder, &OperatorRequest::Refresh).unwrap();
    }
    assert_eq!(take_requests(folder).len(), REQUESTS_READ_MAX);
    assert_eq!(take_requests(folder).len(), 1);
    for number in 0..REQUESTS_WAITING_MAX {
        fs::write(inbox.join(format!("{number:05}.request")), "").unwrap();
    }
    assert_refused(drop_request(folder, &OperatorRequest::Refresh), FileErrorKind::Busy, &inbox);
}

#[test]
fn what_is_no_request_is_deleted_and_reported() {
    let (_home, _, summary) = made();
    let folder = &summary.folders[0];
    let inbox = folder.join(INBOX);
    let armoured = "format = 1\nrequest = \"accept\"\nrecord = \"none\"\n";
    let large = format!("format = 1\nrequest = \"refresh\"\n{}", "#".repeat(200 * 1024));
    let bad = [
        "nonsense",
        "",
        "format = 1\nrequest = \"shutdown\"",
        "format = 1\nrequest = \"expel\"\nuser = \"No Such\"",
        "format = 1\nrequest = \"expel\"",
        "format = 1\nrequest = \"refresh\"\nuser = \"ana\"",
        "format = 2\nrequest = \"refresh\"",
        "format = 1\nrequest = \"refresh\"\nsession = 1",
        "format = 1\nrequest = \"end-session\"",
        "format = 1\nrequest = \"start-session\"\nsession = 0",
        "format = 1\nrequest = \"restart-session\"\nsession = 1\nuser = \"ana\"",
        armoured,
        &large,
    ];
    for (number, text) in bad.iter().enumerate() {
        let path = inbox.join(format!("{number:05}.request"));
        fs::write(&path, text).unwrap();
        set_mode(&path, 0o600);
    }
    fs::write(inbox.join("readable-by-all.request"), "format = 1\nrequest = \"refresh\"").unwrap();
    set_mode(&inbox.join("readable-by-all.request"), 0o644);
    fs::create_dir(inbox.join("folder.request")).unwrap();
    fs::write(inbox.join("unrelated"), "kept").unwrap();

    let found = read_requests(folder).unwrap();
    assert_eq!(found.waiting.len(), 0, "{found:?}");
    assert_eq!(found.refused.len(), bad.len() + 2);
    for error in found.refused {
        assert_tells_what_to_do(&error.to_string(), ".request");
    }
    assert_eq!(fs::read_dir(&inbox).unwrap().count(), 1);
}

#[test]
fn an_inbox_that_others_can_write_to_is_not_read() {
    let (_home, _, summary) = made();
    let folder = &summary.folders[0];
    let inbox = folder.join(INBOX);
    drop_request(folder, &OperatorRequest::Refresh).unwrap();
    set_mode(&inbox, 0o770);
    assert_refused(read_requests(folder), FileErrorKind::Permissions, &inbox);
    assert_eq!(take_requests(folder), []);
    set_mode(&inbox, 0o700);
    assert_eq!(take_requests(folder), [OperatorRequest::Refresh]);
}

#[test]
fn a_leader_without_an_inbox_gets_one() {
    let (_home, _, summary) = made();
    let folder = &summary.folders[0];
    fs::remove_dir(folder.join(INBOX)).unwrap();
    assert_eq!(take_requests(folder), []);
    drop_request(folder, &OperatorRequest::Refresh).unwrap();
    assert_eq!(mode(&folder.join(INBOX)), 0o700);
    assert_eq!(take_requests(folder), [OperatorRequest::Refresh]);
}
