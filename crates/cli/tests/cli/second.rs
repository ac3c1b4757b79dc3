//! Leaders and members of two builds that compute with different libraries, in one group.
//!
//! `cargo xtask test-second` makes the second build and names it in `RINGFORT_SECOND`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Running, finish, ringfort, run, text};
use super::world::{ANA, BEN, World, is_accusation};

/// The second build's program, if there is one.
fn second() -> Option<PathBuf> {
    let named = std::env::var_os("RINGFORT_SECOND").map(PathBuf::from);
    if named.is_none() {
        eprintln!("skipped: there is no second build; `cargo xtask test-second` makes one");
    }
    named
}

/// The same command of the other build.
fn other_build(second: &Path, command: Command) -> Command {
    let mut other = Command::new(second);
    other.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other
}

#[test]
fn leaders_and_members_of_both_builds_work_together() {
    let Some(second) = second() else { return };
    let first_version = run(&["--version"]).succeeded();
    let second_version = finish(other_build(&second, ringfort(&["--version"]))).succeeded();
    assert!(first_version.contains("(aws-lc, dalek)"), "{first_version}");
    assert!(second_version.contains("(rustcrypto, fiat)"), "{second_version}");

    // Leaders 1 and 2 are of the first build, 3 and 4 of the second.
    let mut world = World::new("");
    (1..=2).for_each(|number| world.start(number));
    for number in 3..=4 {
        let command = ringfort(&["leader", text(&world.leader_folder(number)), "--json"]);
        let mut leader = Running::start(other_build(&second, command));
        assert_eq!(leader.event("listening")["back_ends"], "(rustcrypto, fiat)");
        world.keep(number, leader);
    }
    // Whether it does its part yet or not.
    let status = run(&["leader", "status", text(&world.leader_folder(3)), "--json"]).out;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["back_ends"], "(rustcrypto, fiat)");

    // Ana's program is of the first build and Ben's of the second, then the other way round; passwords are hardened by
    // leaders of both.
    for ana_first in [true, false] {
        let build = |command: Command, first: bool| if first { command } else { other_build(&second, command) };
        let mut ben = Running::start(build(world.member("listen", BEN, &["--json", "--count", "3"]), !ana_first));
        ben.event("joined");
        let send = |more: &[&str]| finish(build(world.member("send", ANA, more), ana_first)).succeeded();
        send(&["to all"]);
        assert_eq!(ben.event("message")["text"], "to all");
        send(&["--to", "ben", "to you"]);
        assert_eq!(ben.event("message")["to"][0], "ben");
        // Whichever leader is missing, the others agree on the view and make its key.
        let away = if ana_first { 4 } else { 1 };
        world.stop(away);
        finish(build(world.member("send", ANA, &["with one away"]), ana_first)).succeeded();
        assert_eq!(ben.event("message")["text"], "with one away");
        ben.event("left");
        assert!(!ben.seen.iter().any(is_accusation), "{:?}", ben.seen);
        assert_eq!(ben.finish(), 0);
        if ana_first {
            let command = ringfort(&["leader", text(&world.leader_folder(away)), "--json"]);
            let mut leader = Running::start(other_build(&second, command));
            leader.event("listening");
            world.keep(away, leader);
        }
    }
    for number in 2..=4 {
        let (status, told) = world.ended(number);
        assert_eq!((status, told.into_iter().find(is_accusation)), (0, None), "leader {number} blames somebody");
    }
}
