//! A membership log that a real member keeps, read by somebody with the group file alone.

use std::fs;

use super::process::{Said, run, text};
use super::world::{ANA, BEN, World};

#[test]
fn an_auditor_tells_from_files_alone_who_could_read() {
    let mut world = World::running(4);
    let (log, group) = (world.path("ben.log"), world.group());
    let mut ben = world.listen(BEN, &["--count", "1", "--log", text(&log)]);
    world.send(ANA, &["hello"]).succeeded();
    ben.event("message");
    assert_eq!(ben.finish(), 0);
    // A second stay goes on in the same file.
    let mut ben = world.listen(BEN, &["--count", "1", "--log", text(&log)]);
    world.send(ANA, &["again"]).succeeded();
    ben.event("message");
    assert_eq!(ben.finish(), 0);
    // From here on no leader is needed.
    (1..=4).for_each(|number| world.stop(number));

    let read =
        |command: &str, more: &[&str]| -> Said { run(&[&["log", command, text(&group), text(&log)], more].concat()) };
    let sound = read("verify", &["--json"]).json();
    assert_eq!((&sound["user"], &sound["whole"]), (&"ben".into(), &true.into()));
    let shown = read("show", &["--json"]).succeeded();
    let views: Vec<serde_json::Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(sound["views"], views.len());
    let came = views.iter().find(|view| view["joined"][0] == "ana").unwrap();
    let at = (came["at_ms"].as_u64().unwrap() + 1).to_string();
    let who = read("who", &["--at", &at, "--json"]).json();
    assert_eq!((&who["readers"][0], &who["readers"][1]), (&"ana".into(), &"ben".into()));
    let eve = read("who", &["--at", &at, "--user", "eve"]).succeeded();
    assert!(eve.ends_with("eve could not read\n"), "{eve}");
    read("who", &["--at", "1000"]).failed(30, &["does not tell of 1970-01-01"]);

    let receipt = world.path("receipt");
    read("receipt", &["--at", &at, "--user", "ana", "--out", text(&receipt)]).succeeded();
    let told = run(&["log", "check-receipt", text(&group), text(&receipt), "--json"]).json();
    assert_eq!((&told["user"], &told["could_read"]), (&"ana".into(), &"yes".into()));
    run(&["verify-evidence", text(&group), text(&receipt)]).failed(11, &["no file of evidence"]);

    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    read("verify", &[]).failed(11, &["refused"]);
    read("who", &["--at", &at]).failed(11, &["refused"]);
}
