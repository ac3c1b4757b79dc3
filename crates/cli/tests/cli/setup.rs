//! A group without a dealer: four machines, by commands alone, from nothing to a conversation.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::process::{Running, Said, eventually, finish, ringfort, run, text};

const ANA: (&str, &str) = ("ana", "correct horse");
const BEN: (&str, &str) = ("ben", "battery staple");
const POLICY: &str = "argon2_memory_kib = 8\nargon2_passes = 1\nheartbeat_ms = 200\nconfirm_within_ms = 1000\n\
                      remove_silent_after_ms = 5000\n";

/// Four machines on four addresses: each has a folder of its own, and what the others gave it.
struct Machines {
    folder: TempDir,
    hosts: [Ipv4Addr; 4],
}

impl Machines {
    fn new() -> Self {
        let hosts = [(); 4].map(|()| ringfort_loopback::host().unwrap());
        let machines = Machines { folder: tempfile::tempdir().unwrap(), hosts };
        std::fs::write(machines.path("policy.toml"), POLICY).unwrap();
        for number in 1..=4 {
            std::fs::create_dir(machines.path(&format!("m{number}"))).unwrap();
            machines.introduce(number, "").succeeded();
        }
        machines
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn machine(&self, number: u8) -> PathBuf {
        self.path(&format!("m{number}/garden"))
    }

    /// `setup new`, the first step of the handbook.
    fn introduce(&self, number: u8, suffix: &str) -> Said {
        let (leader, listen) = (number.to_string(), format!("{}:7400", self.hosts[usize::from(number) - 1]));
        let folder = self.path(&format!("m{number}/garden{suffix}"));
        let (owner, operator) = (format!("owner {}", number.min(3)), format!("operator {number}"));
        let facts = ["--owner", &owner, "--operator", &operator, "--place", "Bergen", "--hosting", &owner];
        let who = ["--name", "garden", "--leader", &leader, "--listen", &listen];
        run(&[&["setup", "new", text(&folder)], &who[..], &facts[..]].concat())
    }

    fn introductions(&self) -> Vec<PathBuf> {
        (1..=4).map(|number| self.machine(number).join(format!("leader-{number}.introduction"))).collect()
    }

    fn with_terms(&self, command: &[&str], more: &[&str]) -> Vec<String> {
        let introductions = self.introductions();
        let policy = self.path("policy.toml");
        let all = command.iter().copied().chain(introductions.iter().map(|path| text(path)));
        all.chain(["--policy", text(&policy)]).chain(more.iter().copied()).map(str::to_owned).collect()
    }

    fn terms(&self) -> serde_json::Value {
        let args = self.with_terms(&["setup", "terms"], &["--json"]);
        run(&args.iter().map(String::as_str).collect::<Vec<_>>()).json()
    }

    fn run(&self, number: u8, more: &[&str]) -> std::process::Command {
        let fingerprint = self.terms()["fingerprint"].as_str().unwrap().to_owned();
        let folder = self.machine(number);
        let command = ["setup", "run", text(&folder)];
        let args = self.with_terms(&command, &[&["--fingerprint", &fingerprint, "--json"], more].concat());
        ringfort(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// All four at once, to the same fingerprint.
    fn make_group(&self) -> String {
        let mut all: Vec<Running> = (1..=4).map(|number| Running::start(self.run(number, &[]))).collect();
        let ends: Vec<_> = all.iter_mut().map(|machine| machine.event("done")["fingerprint"].clone()).collect();
        assert!(ends.iter().all(|fingerprint| *fingerprint == ends[0]), "{ends:?}");
        assert!(all.into_iter().all(|machine| machine.finish() == 0));
        ends[0].as_str().unwrap().to_owned()
    }
}

#[test]
fn four_bare_machines_become_a_group_that_talks() {
    let machines = Machines::new();
    let terms = machines.terms();
    assert_eq!((&terms["name"], &terms["faults"], &terms["key_threshold"]), (&"garden".into(), &1.into(), &2.into()));
    let fingerprint = machines.make_group();

    let group = machines.machine(1).join("group.toml");
    assert_eq!(run(&["fingerprint", text(&group)]).succeeded().trim(), fingerprint);
    check_secrets(&machines);

    let leaders: Vec<Running> = (1..=4)
        .map(|number| {
            let folder = machines.machine(number).join(format!("leader-{number}"));
            let mut leader = Running::start(ringfort(&["leader", text(&folder), "--json"]));
            leader.event("listening");
            leader
        })
        .collect();
    let records = machines.path("records");
    for (user, password) in [ANA, BEN] {
        let mut enrol = ringfort(&["enrol", text(&group), "--user", user, "--out", text(&records)]);
        enrol.env("RINGFORT_PASSWORD", password);
        finish(enrol).succeeded();
        for number in 1..=4 {
            let folder = machines.machine(number).join(format!("leader-{number}"));
            let record = records.join(format!("{user}.leader-{number}.record"));
            run(&["accept", text(&folder), text(&record)]).succeeded();
        }
    }
    let member = |command: &str, (user, password): (&str, &str), more: &[&str]| {
        let mut made = ringfort(&[&[command, text(&group), "--user", user], more].concat());
        made.env("RINGFORT_PASSWORD", password);
        made
    };
    // A running leader takes what is accepted out of its inbox, each at its time.
    for user in [ANA, BEN] {
        let sends = || finish(member("send", user, &["warming up"])).status == 0;
        eventually("the leaders to know both", || sends().then_some(()));
    }
    let mut ben = Running::start(member("listen", BEN, &["--json"]));
    ben.event("joined");
    finish(member("send", ANA, &["no dealer was needed"])).succeeded();
    assert_eq!(ben.next("ana's word", |line| line["event"] == "message")["text"], "no dealer was needed");
    drop(leaders);
    check_review(&group);
}

/// Every secret is on one machine, and only its owner can read it there.
fn check_secrets(machines: &Machines) {
    let mut secrets: Vec<(u8, String)> = Vec::new();
    for number in 1..=4 {
        let folder = machines.machine(number);
        for file in [folder.join("making.toml"), folder.join(format!("leader-{number}/leader.toml"))] {
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{file:?}");
            let content = std::fs::read_to_string(&file).unwrap();
            let values = content.lines().filter(|line| !line.starts_with("group ") && !line.starts_with('#'));
            let hex = values.filter_map(|line| line.split('"').nth(1)).filter(|value| value.len() == 64);
            secrets.extend(hex.map(|value| (number, value.to_owned())));
        }
        assert!(!folder.join("unconfirmed").exists());
    }
    assert_eq!(secrets.len(), 4 * 8);
    for number in 1..=4 {
        let all = all_files(&machines.path(&format!("m{number}")));
        for (owner, secret) in secrets.iter().filter(|(owner, _)| *owner != number) {
            let raw = data_encoding::HEXLOWER.decode(secret.as_bytes()).unwrap();
            let found = memchr::memmem::find(&all, secret.as_bytes()).or(memchr::memmem::find(&all, &raw));
            assert_eq!(found, None, "machine {number} holds a secret of leader {owner}");
        }
        assert!(
            secrets
                .iter()
                .any(|(owner, secret)| *owner == number && memchr::memmem::find(&all, secret.as_bytes()).is_some())
        );
    }
}

fn all_files(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.extend(if path.is_dir() { all_files(&path) } else { std::fs::read(&path).unwrap() });
    }
    all
}

fn check_review(group: &Path) {
    let review = run(&["group", "review", text(group), "--json"]).json();
    let score = |kind: &str| review["scores"].as_array().unwrap().iter().find(|s| s["kind"] == kind).unwrap().clone();
    assert_eq!(score("operator")["needed"], 2);
    assert_eq!(score("owner")["single_point"], true);
    assert_eq!(score("owner")["values"][0]["leaders"], serde_json::json!([3, 4]));
    assert_eq!(score("network")["unknown"], serde_json::json!([1, 2, 3, 4]));
    let told = run(&["group", "review", text(group)]).succeeded();
    assert!(told.contains("WARNING: leaders 3 and 4 have one owner, owner 3"), "{told}");
    assert!(told.contains("WARNING: all 4 leaders have one place, Bergen"), "{told}");
}

#[test]
fn who_does_not_come_is_named_and_the_next_time_it_works() {
    let machines = Machines::new();
    let mut alone = Running::start(machines.run(1, &["--wait", "2"]));
    let others: Vec<Running> = [2, 3].map(|number| Running::start(machines.run(number, &["--wait", "60"]))).into();
    let failed = alone.event("failed");
    assert_eq!((&failed["blames"][0]["leader"], &failed["blames"][0]["fault"]), (&4.into(), &"silent".into()));
    assert_eq!(failed["blames"].as_array().unwrap().len(), 1);
    // Killed, in the middle of waiting.
    drop((alone, others));
    machines.make_group();
    let again = machines.introduce(1, "");
    again.failed(14, &["exists already"]);
}

#[test]
fn an_attempt_that_is_given_up_leaves_nothing_and_a_finished_one_is_kept() {
    let machines = Machines::new();
    let folder = machines.machine(4);
    run(&["setup", "give-up", text(&folder)]).succeeded();
    assert!(!folder.exists());
    machines.introduce(4, "").succeeded();
    machines.make_group();
    run(&["setup", "give-up", text(&folder)]).failed(14, &["has finished"]);
    assert!(folder.join("leader-4/leader.toml").exists());
}

#[test]
fn nothing_starts_on_terms_that_differ() {
    let machines = Machines::new();
    let folder = machines.machine(1);
    let run_with = |more: &[&str]| {
        let args = machines.with_terms(&["setup", "run", text(&folder)], more);
        run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    run_with(&["--fingerprint", "0000-1111"]).failed(12, &["not 0000-1111"]);
    run_with(&[]).failed(2, &["there is no terminal to ask"]);
    run_with(&["--faults", "0"]).failed(2, &["use `ringfort init`"]);
    let lacking = machines.introductions();
    let twice = [0, 1, 1, 2].map(|index: usize| text(&lacking[index]));
    run(&[&["setup", "terms"], &twice[..]].concat()).failed(2, &["two introductions of leader 2"]);
    let two = ["setup", "terms", text(&lacking[0]), text(&lacking[1])];
    run(&two).failed(2, &["2 introductions given", "those of leaders 3 and 4 are missing"]);
    let three = [0, 1, 3].map(|index: usize| text(&lacking[index]));
    run(&[&["setup", "terms"], &three[..]].concat()).failed(2, &["that of leader 3 is missing"]);

    let altered = machines.path("altered");
    let original = std::fs::read_to_string(&lacking[2]).unwrap();
    std::fs::write(&altered, original.replace("owner 3", "owner 9")).unwrap();
    run(&["setup", "terms", text(&altered)]).failed(11, &["not signed by its own key"]);
    run(&["setup", "verify", text(&altered), text(&lacking[0])]).failed(2, &[]);
    let open = machines.path("m1/garden/making.toml");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let fingerprint = machines.terms()["fingerprint"].as_str().unwrap().to_owned();
    run_with(&["--fingerprint", &fingerprint]).failed(13, &["chmod 600"]);
}
