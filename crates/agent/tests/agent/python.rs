//! The example of a program that is a plugin, as the documentation tells to run it.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ringfort_agent::Options;
use tokio::process::Command;

use super::common::client::Socket;
use super::common::{DEADLINE, World, together};

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_answers_in_the_chat() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/dice.py");
    let text = std::fs::read_to_string(&script).unwrap();
    assert!(text.lines().filter(|line| !line.trim().is_empty()).count() <= 55, "it is to be short");
    if Command::new("python3").arg("--version").stdout(Stdio::null()).status().await.is_err() {
        eprintln!("skipped: there is no python3");
        return;
    }
    let world = World::start(&["ana", "ben"]).await;
    let options = Options { programs: vec!["chat".into()], ..Options::default() };
    let (ana, ben) = (world.agent_with("ana", options).await, world.agent("ben").await);
    together(&[&ana, &ben], &["ana", "ben"]).await;
    let (mut page, _) = Socket::page(&ben, "", 0).await;
    let access = ana.programs().remove(0);
    let mut dice = Command::new("python3")
        .arg(script)
        .env("RINGFORT_SOCKET", &access.url)
        .env("RINGFORT_TOKEN", &access.token)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // What was said before the program came is not answered.
    let started = Instant::now();
    while !page.seen.iter().any(|line| line["text"] == "ben rolls [1, 1, 1]: 3") {
        assert!(started.elapsed() < DEADLINE, "{:#?}", page.seen);
        page.send("chat", "!roll 3d1").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(dice.try_wait().unwrap().is_none(), "the program has ended");
    let mut wrong = Command::new("python3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/dice.py");
    wrong.arg(script).env("RINGFORT_SOCKET", &access.url).env("RINGFORT_TOKEN", "0").stderr(Stdio::piped());
    let said = wrong.output().await.unwrap();
    assert!(!said.status.success());
    assert!(String::from_utf8_lossy(&said.stderr).contains("does not accept the token"));
}
