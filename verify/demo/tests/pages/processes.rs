//! Leaders, honest and hacked, and agents, as processes of the demonstration's binary.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ringfort_attack::adversary::Kind;
use ringfort_documents::{GROUP_FILE, NewSecret, NewUser};
use ringfort_node::folder::{InitOptions, init};
use ringfort_protocol::{Policy, Rules};
use serde_json::Value;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfort-demo"));
    command.env_remove("RINGFORT_PASSWORD").env_remove("RUST_LOG").stderr(Stdio::null());
    command
}

/// A process that is killed when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A group's folder and its leaders.
pub struct Group {
    file: PathBuf,
    folders: Vec<PathBuf>,
    leaders: BTreeMap<usize, Process>,
    dir: tempfile::TempDir,
}

pub fn password(user: &str) -> String {
    format!("{user}'s own password")
}

impl Group {
    pub fn start(users: &[&str]) -> Group {
        let policy = Policy {
            heartbeat_ms: 200,
            confirm_within_ms: 2_000,
            // Long enough that a busy machine takes nobody for lost.
            remove_silent_after_ms: 60_000,
            overlap_ms: 2_000,
            argon2_memory_kib: 64,
            argon2_passes: 1,
            ..Policy::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let addresses = ringfort_loopback::addresses::<4>().unwrap().map(|at| at.to_string()).into();
        let user =
            |name: &&str| NewUser { name: name.parse().unwrap(), secret: NewSecret::Password(password(name).into()) };
        let users = users.iter().map(user).collect();
        let rules = Rules::new(4, 1, 2).unwrap();
        let folder = dir.path().join("group");
        let dealt = init(&folder, InitOptions { name: "harbour".into(), rules, addresses, policy, users }).unwrap();
        let (file, leaders) = (folder.join(GROUP_FILE), BTreeMap::new());
        let mut group = Group { file, folders: dealt.folders, leaders, dir };
        (1..=4).for_each(|leader| group.heal(leader));
        group
    }

    fn run(&mut self, leader: usize, mut command: Command) {
        // The old one first: they share a folder and a port.
        drop(self.leaders.remove(&leader));
        // It runs until its input ends.
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        self.leaders.insert(leader, Process(child));
    }

    /// An attacker takes over a leader's machine, with its keys.
    pub fn hack(&mut self, leader: usize, kind: Kind) {
        let mut command = program();
        command.arg("adversary").arg(&self.folders[leader - 1]).args(["--kind", kind.name()]);
        self.run(leader, command);
    }

    /// The honest leader is back.
    pub fn heal(&mut self, leader: usize) {
        let mut command = program();
        command.arg("demo-leader").arg(&self.folders[leader - 1]);
        self.run(leader, command);
    }

    pub fn agent(&self, user: &str) -> Agent {
        let mut command = program();
        let downloads = self.dir.path().join("downloads").join(user);
        command.arg("join").arg(&self.file).args(["--user", user, "--json", "--downloads"]).arg(&downloads);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let page = lines.find_map(|line| {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            (line["event"] == "page").then(|| line["url"].as_str().unwrap().to_owned())
        });
        // Nobody reads what it says later, but the pipe stays open.
        std::thread::spawn(move || lines.for_each(drop));
        Agent { url: page.expect("the page's address"), downloads, _process: Process(child) }
    }
}

/// A member's agent. Killed, as by `kill -9`, when it is dropped.
pub struct Agent {
    pub url: String,
    /// Where files of others appear.
    pub downloads: PathBuf,
    _process: Process,
}
