#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use ringfort::protocol::LeaderId;
use ringfort::protocol::fault::{Culprit, Fault};

use super::sink::Syslog;
use super::*;

fn lines(path: &Path) -> Vec<serde_json::Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn audit(folder: &Path, settings: &str) -> Audit {
    let config = Config::parse(&format!("[audit]\n{settings}")).unwrap();
    fs::create_dir_all(folder.join("state")).unwrap();
    Audit::open(&config, folder, 2, "abcd").unwrap()
}

fn refusal() -> Decision {
    Decision::LoginRefused { user: "ana".to_owned(), reason: "throttled" }
}

fn order(user: &str) -> Decision {
    let user = Some(user.to_owned());
    Decision::Order { order: "expel", user, session: None, done: true, why_not: None }
}

#[test]
fn a_line_says_when_who_and_what() {
    let folder = tempfile::tempdir().unwrap();
    let mut audit = audit(folder.path(), "");
    audit.write(&refusal());
    audit.write(&Decision::blamed(&Culprit::Leader(LeaderId::new(3).unwrap()), Fault::Equivocated));
    let path = folder.path().join("state/audit.jsonl");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let lines = lines(&path);
    assert_eq!((&lines[0]["seq"], &lines[0]["leader"], &lines[0]["group"]), (&1.into(), &2.into(), &"abcd".into()));
    assert_eq!((&lines[0]["decision"], &lines[0]["reason"]), (&"login-refused".into(), &"throttled".into()));
    assert!(lines[0]["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{}", lines[0]);
    assert_eq!((&lines[1]["who"], &lines[1]["deviation"]), (&"leader 3".into(), &true.into()));
}

#[test]
fn strangers_cannot_fill_it_and_do_not_displace_what_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut audit = audit(folder.path(), "refusals_per_minute_max = 5");
    let at = |seconds| Time::from_start(Duration::from_secs(seconds));
    (0..1000).for_each(|_| audit.write_at(at(1), &refusal()));
    audit.write_at(at(2), &Decision::Stopping);
    assert_eq!(lines(&folder.path().join("state/audit.jsonl")).len(), 6);
    audit.write_at(at(61), &Decision::Stopping);
    let lines = lines(&folder.path().join("state/audit.jsonl"));
    assert_eq!((&lines[6]["decision"], &lines[6]["count"]), (&"refusals-not-written".into(), &995.into()));
    assert_eq!(lines[6]["about"], "strangers");
}

#[test]
fn orders_are_kept_where_nothing_else_pushes_them_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut audit = audit(folder.path(), "file_bytes_max = 400\nfiles_max = 1");
    audit.write(&order("mallory"));
    (0..200).for_each(|_| audit.write(&Decision::Stopping));
    let kept = |name: &str| fs::read_to_string(folder.path().join("state").join(name)).unwrap_or_default();
    assert!(!(kept("audit.jsonl") + &kept("audit.jsonl.1")).contains("mallory"));
    let orders = lines(&folder.path().join("state/orders.jsonl"));
    assert_eq!((orders.len(), &orders[0]["user"], &orders[0]["seq"]), (1, &"mallory".into(), &1.into()));
}

#[test]
fn it_is_bounded_and_follows_a_file_that_was_moved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/audit.jsonl");
    let mut audit = audit(folder.path(), "file_bytes_max = 400\nfiles_max = 2");
    (0..40).for_each(|_| audit.write(&Decision::Stopping));
    let all = fs::read_dir(folder.path().join("state")).unwrap();
    let mut names: Vec<String> = all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2", "orders.jsonl"]);
    assert!(fs::metadata(&path).unwrap().len() <= 400);
    fs::rename(&path, folder.path().join("moved")).unwrap();
    audit.reopen();
    audit.write(&Decision::Stopping);
    assert_eq!(lines(&path).len(), 1);
    assert_eq!((audit.lost(), audit.bytes()), (0, fs::metadata(&path).unwrap().len()));
}

#[test]
fn an_audit_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["audit.jsonl", "orders.jsonl"] {
        let path = folder.path().join("state").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Audit::open(&Config::default(), folder.path(), 1, "g").unwrap_err().contains("chmod 600"));
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn trying_it_leaves_nothing_behind_and_fails_as_a_start_would() {
    let folder = tempfile::tempdir().unwrap();
    let told = Audit::probe(&Config::default(), folder.path()).unwrap_err();
    assert!(told.contains("the audit cannot be written"), "{told}");
    fs::create_dir(folder.path().join("state")).unwrap();
    Audit::probe(&Config::default(), folder.path()).unwrap();
    assert_eq!(fs::read_dir(folder.path().join("state")).unwrap().count(), 0);
    audit(folder.path(), "").write(&order("ana"));
    Audit::probe(&Config::default(), folder.path()).unwrap();
    assert_eq!(lines(&folder.path().join("state/audit.jsonl")).len(), 1, "what is there stays");
}

fn heard(daemon: &UnixDatagram) -> String {
    let mut line = [0; 1024];
    daemon.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let length = daemon.recv(&mut line).unwrap();
    std::str::from_utf8(&line[..length]).unwrap().to_owned()
}

#[test]
fn a_syslog_daemon_that_starts_again_is_found_again_and_told_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("syslog");
    let first = UnixDatagram::bind(&place).unwrap();
    let mut audit = audit(folder.path(), "to = \"none\"");
    audit.journal.sink = Sink::Syslog(Syslog::open(&[folder.path().join("nowhere"), place.clone()]).unwrap());
    audit.write(&refusal());
    let line = heard(&first);
    assert!(line.starts_with("<85>ringfort-leader[") && line.ends_with("\"reason\":\"throttled\"}"), "{line}");

    drop(first);
    fs::remove_file(&place).unwrap();
    audit.write(&Decision::Stopping);
    audit.write(&Decision::Stopping);
    assert_eq!(audit.lost(), 2);

    let second = UnixDatagram::bind(&place).unwrap();
    audit.write(&order("mallory"));
    let line = heard(&second);
    assert!(line.contains("\"decision\":\"lines-lost\",\"count\":2"), "{line}");
    assert!(heard(&second).contains("mallory"));
    assert_eq!(audit.lost(), 2);
}
