//! The demo as a newcomer runs it: the real binary, real leaders' processes, real sockets.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use clap::{CommandFactory, Parser};
use serde_json::Value;

const KINDS: [&str; 13] = [
    "silent",
    "bad-shares",
    "bad-proofs",
    "ghost",
    "expel",
    "equivocate",
    "old-view",
    "drop",
    "tamper",
    "deny",
    "flood",
    "spy",
    "chaos",
];

/// The demo with its temporary files in `temporary`.
fn demo(temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfort-demo"));
    command.arg("demo").env("TMPDIR", temporary).env("NO_COLOR", "1").env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn summary(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "one JSON object and nothing else: {text}");
    serde_json::from_str(&text).unwrap()
}

/// What the demo told is kept in files if the test fails.
struct Kept<'a>(&'a Output);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
            for (name, content) in [("story.txt", &self.0.stderr), ("summary.json", &self.0.stdout)] {
                let file = folder.join(format!("demo-{}-{name}", std::process::id()));
                std::fs::write(&file, content).unwrap();
                eprintln!("kept in {}", file.display());
            }
        }
    }
}

/// The promises that were not kept.
fn broken(output: &Output) -> Vec<String> {
    let promises = summary(output)["promises"].as_array().unwrap().clone();
    let broken = promises.iter().filter(|p| p["held"] != Value::Bool(true));
    broken.map(|p| p["name"].as_str().unwrap().to_owned()).collect()
}

/// Nothing is left behind: neither files nor processes that work on them.
fn assert_clean(temporary: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !processes(temporary).is_empty() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(processes(temporary), BTreeSet::new(), "leaders outlive the demo");
    let left: Vec<_> = std::fs::read_dir(temporary).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "files are left: {left:?}");
}

/// Processes with the folder on their command line.
fn processes(folder: &Path) -> BTreeSet<String> {
    let folder = folder.to_str().unwrap();
    let lines = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains(folder).then_some(line)
    });
    lines.collect()
}

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn every_promise_holds_under_every_attack() {
    let temporary = tempfile::tempdir().unwrap();
    let output = demo(temporary.path()).args(["--script", "--json", "--seconds-per-attack", "0.3"]).output().unwrap();
    let _kept = Kept(&output);
    let story = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(broken(&output), [""; 0], "{story}");
    let summary = summary(&output);
    assert_eq!(output.status.code(), Some(0), "{story}");

    for counter in ["lost", "duplicated", "out_of_order"] {
        assert_eq!(summary[counter], 0, "{counter}");
    }
    let sent = summary["sent"].as_u64().unwrap();
    assert!(sent > 100 && summary["delivered"].as_u64().unwrap() > sent);
    let attacks = summary["attacks"].as_array().unwrap();
    let kinds: BTreeSet<&str> = attacks.iter().map(|a| a["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, KINDS.into_iter().collect());
    for attack in attacks {
        let tried: u64 = attack["tried"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        assert!(tried > 0, "{attack}");
        for counter in ["messages_sent", "messages_delivered", "keys_installed"] {
            assert!(attack[counter].as_u64().unwrap() > 0, "{counter} in {attack}");
        }
    }
    let leaders: BTreeSet<u64> = attacks.iter().map(|a| a["leader"].as_u64().unwrap()).collect();
    assert_eq!(leaders.len(), 4, "each leader is hacked at some time");
    for word in ["bad-share", "bad-proposal", "altered", "bad-evaluation", "flooding", "login-failed", "denied"] {
        assert!(summary["refusals"][word].as_u64().unwrap_or(0) > 0, "nobody refused {word}");
    }
    assert_clean(temporary.path());
}

#[test]
fn an_interrupted_story_is_a_broken_promise_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = demo(temporary.path()).args(["--script", "--json"]).spawn().unwrap();
    let mut story = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(story.any(|line| line.unwrap().contains("has joined")));
    interrupt(&child);
    story.for_each(drop);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(30));
    let summary = summary(&output);
    let broken = summary["promises"].as_array().unwrap().iter().filter(|p| p["held"] == Value::Bool(false));
    let names: Vec<_> = broken.map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["the story was told to its end"]);
    assert_clean(temporary.path());
}

#[test]
fn a_person_can_attack_and_recover() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = demo(temporary.path()).stdin(Stdio::piped()).spawn().unwrap();
    // A story that hangs is ended, so that the test fails instead of waiting for ever.
    let pid = child.id().to_string();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(400));
        drop(Command::new("kill").arg(pid).status());
    });
    let mut prompt = child.stdin.take().unwrap();
    let mut story = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |words: &str| assert!(story.any(|line| line.contains(words)), "the story ended before {words:?}");
    until("view 3 of 3 members");
    writeln!(prompt, "attack 9 tamper\nattack 2 nonsense\nattack 2 ghost").unwrap();
    until("there are leaders 1 to 4");
    until("no such attack");
    until("refuses what leader 2 says: bad-proposal");
    writeln!(prompt, "join dan").unwrap();
    until("dan        has joined");
    writeln!(prompt, "say dan a word from dan").unwrap();
    until("a word from dan  > ana, ben, eva");
    writeln!(prompt, "recover 2").unwrap();
    until("runs the honest program again");
    writeln!(prompt, "expel dan").unwrap();
    until("dan is out (Expelled)");
    writeln!(prompt, "join dan").unwrap();
    until("expelled by the operators");
    writeln!(prompt, "status\nquit").unwrap();
    until("duplicated 0, out of order 0");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!(complaints, "");
    assert_clean(temporary.path());
}

#[test]
fn without_a_page_it_ends_with_its_input() {
    let temporary = tempfile::tempdir().unwrap();
    let output = demo(temporary.path()).arg("--no-web").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let story = String::from_utf8(output.stdout).unwrap();
    assert!(story.contains("view 3 of 3 members") && !story.contains("http://"), "{story}");
    assert_clean(temporary.path());
}

#[test]
fn ctrl_c_ends_everything() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = demo(temporary.path()).stdin(Stdio::piped()).spawn().unwrap();
    let mut story = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(story.any(|line| line.contains("view 3 of 3 members")));
    assert_eq!(processes(temporary.path()).len(), 4, "four leaders run");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_clean(temporary.path());
}

#[test]
fn leaders_do_not_outlive_a_killed_demo() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = demo(temporary.path()).stdin(Stdio::piped()).spawn().unwrap();
    let mut story = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(story.any(|line| line.contains("view 3 of 3 members")));
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !processes(temporary.path()).is_empty() {
        assert!(Instant::now() < deadline, "leaders outlive the demo");
        std::thread::yield_now();
    }
}

#[test]
fn the_production_command_knows_no_attack() {
    let command = ringfort_cli::Cli::command();
    for own in ["demo", "demo-leader", "adversary", "attack"] {
        assert!(command.find_subcommand(own).is_none(), "ringfort has {own}");
        assert!(ringfort_cli::Cli::try_parse_from(["ringfort", own, "."]).is_err());
    }
    assert!(command.find_subcommand("leader").is_some());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/cli/Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    for word in ["ringfort-demo", "ringfort-sim", "mutants"] {
        assert!(!manifest.contains(word), "ringfort-cli depends on {word}");
    }
}
