//! A group on this machine: its files, its leaders' processes, its members.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringfort::protocol::Fault;
use serde_json::Value;
use tempfile::TempDir;

use super::process::{Running, Said, finish, ringfort, run, text};

/// Fast enough for tests; everything else as always.
const POLICY: &str = "argon2_memory_kib = 8\nargon2_passes = 1\nheartbeat_ms = 200\nconfirm_within_ms = 1000\n\
                      remove_silent_after_ms = 5000\n";

pub const ANA: (&str, &str) = ("ana", "correct horse");
pub const BEN: (&str, &str) = ("ben", "battery staple");

pub struct World {
    folder: TempDir,
    /// Where the leaders listen.
    pub addresses: [SocketAddr; 4],
    leaders: Vec<Option<Running>>,
}

impl World {
    /// A group of four leaders that are not running yet.
    pub fn new(extra_policy: &str) -> Self {
        World::with_users(extra_policy, &[ANA, BEN])
    }

    /// The same with other users.
    pub fn with_users(extra_policy: &str, users: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let addresses: [SocketAddr; 4] = ringfort_loopback::addresses().unwrap();
        let user =
            |(name, password): &(&str, &str)| format!("[[user]]\nname = \"{name}\"\npassword = \"{password}\"\n");
        let users: String = users.iter().map(user).collect();
        write_private(&folder.path().join("users.toml"), &users);
        std::fs::write(folder.path().join("policy.toml"), format!("{POLICY}{extra_policy}")).unwrap();
        let world = World { folder, addresses, leaders: vec![None, None, None, None] };
        let listen = addresses[0].to_string();
        let (users, policy) = (world.path("users.toml"), world.path("policy.toml"));
        let options = ["--listen", &listen, "--users", text(&users), "--policy", text(&policy), "--name", "garden"];
        run(&[&["init", text(&world.path("g"))], &options[..]].concat()).succeeded();
        world
    }

    /// A group with the first `count` leaders running.
    pub fn running(count: usize) -> Self {
        let mut world = World::new("");
        (1..=count).for_each(|number| world.start(number));
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn group(&self) -> PathBuf {
        self.path("g/group.toml")
    }

    pub fn leader_folder(&self, number: usize) -> PathBuf {
        self.path(&format!("g/leader-{number}"))
    }

    pub fn start(&mut self, number: usize) {
        let mut leader = Running::start(ringfort(&["leader", text(&self.leader_folder(number)), "--json"]));
        let line = leader.event("listening");
        assert_eq!(line["leader"], number);
        self.leaders[number - 1] = Some(leader);
    }

    /// Keeps a leader that was started in another way.
    pub fn keep(&mut self, number: usize, leader: Running) {
        self.leaders[number - 1] = Some(leader);
    }

    pub fn leader(&mut self, number: usize) -> &mut Running {
        self.leaders[number - 1].as_mut().unwrap()
    }

    /// Stops a leader as its operator would.
    pub fn stop(&mut self, number: usize) {
        assert_eq!(self.leaders[number - 1].take().unwrap().terminate(), 0);
    }

    /// Kills a leader, whatever it is doing.
    pub fn kill(&mut self, number: usize) {
        self.leaders[number - 1].take().unwrap().killed();
    }

    /// Stops one; how it ended, and all that it told.
    pub fn ended(&mut self, number: usize) -> (i32, Vec<Value>) {
        self.leaders[number - 1].take().unwrap().terminated()
    }

    /// A command of a member.
    pub fn member(&self, command: &str, (user, password): (&str, &str), more: &[&str]) -> Command {
        let group = self.group();
        let mut made = ringfort(&[&[command, text(&group), "--user", user], more].concat());
        made.env("RINGFORT_PASSWORD", password);
        made
    }

    pub fn send(&self, who: (&str, &str), more: &[&str]) -> Said {
        finish(self.member("send", who, more))
    }

    /// A member that listens and has joined.
    pub fn listen(&self, who: (&str, &str), more: &[&str]) -> Running {
        let mut listener = Running::start(self.member("listen", who, &[&["--json"], more].concat()));
        listener.event("joined");
        listener
    }

    pub fn fingerprint(&self) -> String {
        run(&["fingerprint", text(&self.group())]).succeeded().trim().to_owned()
    }
}

/// Whether a program says of somebody what only that one can have caused. What came late on a busy machine is told, too.
pub fn is_accusation(line: &Value) -> bool {
    let deviation = |fault: &Fault| fault.is_deviation() && line["fault"] == fault.word();
    line["event"] == "blamed" && Fault::ALL.iter().any(deviation)
}

pub fn write_private(path: &Path, content: &str) {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
}
