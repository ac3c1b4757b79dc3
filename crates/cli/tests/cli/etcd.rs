//! Clients of etcd, as they are, use a group's store by `ringfort kv serve`, with a leader killed.
//!
//! `etcdctl` is Debian's (`apt-get install etcd-client`); without it the tests are skipped, and say so. With
//! `RINGFORT_ETCD=required` they fail then.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::json;

use super::process::{Running, Said, eventually, finish, finish_with_input, ringfort, text};
use super::world::{ANA, BEN, World, write_private};

fn has_etcdctl() -> bool {
    let found = Command::new("etcdctl").arg("version").env("ETCDCTL_API", "3").output();
    let works = found.is_ok_and(|found| found.status.success());
    if !works {
        let required = std::env::var("RINGFORT_ETCD").is_ok_and(|wanted| wanted == "required");
        assert!(!required, "etcdctl is required and is not there");
        eprintln!("SKIPPED: there is no etcdctl on this machine; apt-get install etcd-client");
    }
    works
}

fn etcdctl(endpoint: &str, args: &[&str]) -> Command {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "3").args(["--endpoints", endpoint, "--command-timeout=60s"]).args(args);
    command
}

fn ctl(endpoint: &str, args: &[&str]) -> Said {
    finish(etcdctl(endpoint, args))
}

/// Ana's front.
fn serve(world: &World, more: &[&str]) -> Running {
    let group = world.group();
    let mut command = ringfort(&[&["kv", "serve", text(&group), "--user", ANA.0, "--json"], more].concat());
    command.env("RINGFORT_PASSWORD", ANA.1);
    Running::start(command)
}

/// A client that goes on, with what it prints in a file.
struct Follower {
    client: std::process::Child,
    out: std::path::PathBuf,
}

impl Follower {
    fn start(folder: &Path, endpoint: &str, args: &[&str]) -> Self {
        let out = folder.join(format!("{}.out", args.join("-").replace('/', "_")));
        let file = std::fs::File::create(&out).unwrap();
        let client = etcdctl(endpoint, args).stdin(Stdio::null()).stdout(file).stderr(Stdio::null()).spawn().unwrap();
        Follower { client, out }
    }

    /// Waits until it has printed this.
    fn prints(&self, wanted: &str) {
        eventually(wanted, || std::fs::read_to_string(&self.out).unwrap().contains(wanted).then_some(()));
    }

    fn stop(mut self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.client), signal).unwrap();
        self.client.wait().unwrap();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

#[test]
fn etcdctl_puts_reads_watches_leases_locks_and_elects_with_one_leader_killed() {
    if !has_etcdctl() {
        return;
    }
    let mut world = World::new("order = true\n");
    (1..=4).for_each(|number| world.start(number));
    let socket = world.path("front/etcd.sock");
    let mut front = serve(&world, &["--listen", &format!("unix:{}", text(&socket))]);
    let endpoint = front.event("serving")["endpoint"].as_str().unwrap().to_owned();
    assert_eq!(endpoint, format!("unix://{}", text(&socket)));
    let folder = world.path("");
    let watch = Follower::start(&folder, &endpoint, &["watch", "--prefix", "col", "--rev=2"]);
    let ctl = |args: &[&str]| ctl(&endpoint, args);

    assert_eq!(ctl(&["put", "colour", "red"]).succeeded(), "OK\n");
    assert_eq!(ctl(&["get", "colour"]).succeeded(), "colour\nred\n");
    world.kill(2);
    assert_eq!(ctl(&["put", "colour", "blue", "--prev-kv"]).succeeded(), "OK\ncolour\nred\n");
    ctl(&["put", "cold", "yes"]).succeeded();
    assert_eq!(ctl(&["get", "", "--prefix", "--sort-by=CREATE", "--print-value-only"]).succeeded(), "blue\nyes\n");
    assert_eq!(ctl(&["get", "colour", "--rev=2"]).succeeded(), "colour\nred\n", "the past");
    watch.prints("PUT\ncolour\nred\n");
    watch.prints("PUT\ncolour\nblue\nPUT\ncold\nyes\n");

    let swap = "mod(\"colour\") > \"1\"\n\nput colour green\nget cold\n\nput colour wrong\n\n";
    let swapped = finish_with_input(etcdctl(&endpoint, &["txn"]), swap).succeeded();
    assert!(swapped.starts_with("SUCCESS\n") && swapped.contains("cold\nyes"), "{swapped}");
    assert_eq!(ctl(&["del", "cold"]).succeeded(), "1\n");
    watch.prints("DELETE\ncold\n");

    let granted = ctl(&["lease", "grant", "600"]).succeeded();
    let lease = granted.split_whitespace().nth(1).unwrap();
    ctl(&["put", "brief", "x", "--lease", lease]).succeeded();
    assert!(ctl(&["lease", "keep-alive", "--once", lease]).succeeded().contains("keepalived with TTL(600)"));
    assert!(ctl(&["lease", "timetolive", "--keys", lease]).succeeded().contains("attached keys([brief])"));
    ctl(&["lease", "revoke", lease]).succeeded();
    assert_eq!(ctl(&["get", "brief"]).succeeded(), "");
    let short = ctl(&["lease", "grant", "2"]).succeeded();
    ctl(&["put", "brief", "x", "--lease", short.split_whitespace().nth(1).unwrap()]).succeeded();
    eventually("the lease ends", || ctl(&["get", "brief"]).succeeded().is_empty().then_some(()));

    let held = Follower::start(&folder, &endpoint, &["lock", "gate"]);
    held.prints("gate/");
    let next = Follower::start(&folder, &endpoint, &["lock", "gate", "echo", "mine"]);
    eventually("two in the queue", || {
        let queue = ctl(&["get", "gate/", "--prefix", "--keys-only"]).succeeded();
        (queue.matches("gate/").count() == 2).then_some(())
    });
    held.stop(Signal::INT);
    next.prints("mine");
    let elected = Follower::start(&folder, &endpoint, &["elect", "office", "ana"]);
    elected.prints("\nana\n");
    let observed = Follower::start(&folder, &endpoint, &["elect", "--listen", "office"]);
    observed.prints("\nana\n");

    // A member that does not use etcd's clients sees the same.
    let mut ben = ringfort(&["kv", "get", text(&world.group()), "--user", BEN.0, "colour"]);
    ben.env("RINGFORT_PASSWORD", BEN.1);
    assert_eq!(finish(ben).succeeded(), "green");
    let members = ctl(&["member", "list"]).succeeded();
    assert_eq!(members.lines().count(), 4, "{members}");
    // Whether a member is well, etcdctl says on the side.
    let health = ctl(&["endpoint", "health", "--cluster"]);
    let is_well = health.status == 0 && health.err.contains("is healthy");
    assert!(is_well, "who goes on with the members' addresses comes back: {health:?}");
    let refused = ctl(&["member", "add", "more", "--peer-urls=http://127.0.0.1:1"]);
    assert!(refused.status != 0 && refused.err.contains("does not offer this"), "{refused:?}");
    assert_eq!(front.terminate(), 0);
    assert!(!socket.exists(), "nobody waits at a socket that nobody listens on");
}

/// The front sleeps for longer than leaders wait. Meanwhile others write, and what its clients have begun goes on behind it.
#[test]
fn a_front_whose_stay_is_lost_joins_again_and_its_clients_go_on() {
    if !has_etcdctl() {
        return;
    }
    let mut world = World::new("order = true\n");
    (1..=4).for_each(|number| world.start(number));
    let mut ben = world.listen(BEN, &[]);
    let mut front = serve(&world, &["--listen", &format!("unix:{}", text(&world.path("front/etcd.sock")))]);
    let endpoint = front.event("serving")["endpoint"].as_str().unwrap().to_owned();
    let folder = world.path("");
    let watch = Follower::start(&folder, &endpoint, &["watch", "--prefix", "col"]);
    let held = Follower::start(&folder, &endpoint, &["lock", "--ttl=600", "gate"]);
    held.prints("gate/");
    let next = Follower::start(&folder, &endpoint, &["lock", "--ttl=600", "gate", "echo", "mine"]);
    eventually("two in the queue, and a watch", || {
        ctl(&endpoint, &["put", "colour", "red"]).succeeded();
        let queue = ctl(&endpoint, &["get", "gate/", "--prefix", "--keys-only"]).succeeded();
        let watches = std::fs::read_to_string(&watch.out).unwrap().contains("PUT\ncolour\nred\n");
        (watches && queue.matches("gate/").count() == 2).then_some(())
    });
    front.signal(Signal::STOP);
    ben.next("Ana's end", |line| line["event"] == "view" && line["left"][0]["user"] == "ana");
    let group = world.group();
    let mut put = ringfort(&["kv", "put", text(&group), "--user", BEN.0, "colour", "blue"]);
    put.env("RINGFORT_PASSWORD", BEN.1);
    finish(put).succeeded();
    front.signal(Signal::CONT);
    front.event("lost");
    front.event("joined_again");
    watch.prints("PUT\ncolour\nblue\n");
    assert_eq!(ctl(&endpoint, &["put", "colour", "green", "--prev-kv"]).succeeded(), "OK\ncolour\nblue\n");
    watch.prints("PUT\ncolour\nblue\nPUT\ncolour\ngreen\n");
    held.stop(Signal::INT);
    next.prints("mine");
    assert_eq!(front.terminate(), 0);
}

#[test]
fn a_port_asks_for_a_password_and_a_folder_that_others_may_use_is_refused() {
    if !has_etcdctl() {
        return;
    }
    let mut world = World::new("order = true\n");
    (1..=4).for_each(|number| world.start(number));
    let file = world.path("password");
    let mut front = serve(&world, &["--listen", "127.0.0.1:0", "--client-password-file", text(&file)]);
    let serving = front.event("serving");
    assert_eq!((&serving["user"], serving.get("password")), (&json!("ana"), None), "it is in the file");
    let endpoint = serving["endpoint"].as_str().unwrap();
    let password = std::fs::read_to_string(&file).unwrap();
    assert!(ctl(endpoint, &["put", "a", "1"]).err.contains("user name is empty"));
    assert!(ctl(endpoint, &["--user", "ana:guess", "put", "a", "1"]).err.contains("authentication failed"));
    let user = format!("ana:{}", password.trim());
    assert_eq!(ctl(endpoint, &["--user", &user, "put", "a", "1"]).succeeded(), "OK\n");
    assert_eq!(front.terminate(), 0);

    let open = world.path("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let refused = |listen: &str| {
        let group = world.group();
        let mut command = ringfort(&["kv", "serve", text(&group), "--user", ANA.0, "--listen", listen]);
        command.env("RINGFORT_PASSWORD", ANA.1);
        finish(command)
    };
    let path = |name: &str| format!("unix:{}", text(&world.path(name)));
    refused(&path("open/etcd.sock")).failed(13, &["others may use this folder", "chmod 700"]);
    write_private(&world.path("thing"), "");
    std::fs::create_dir(world.path("mine")).unwrap();
    std::fs::set_permissions(world.path("mine"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    write_private(&world.path("mine/thing"), "");
    refused(&path("mine/thing")).failed(14, &["there is something that is no socket"]);
    refused("192.0.2.1:2379").failed_usage();
}
