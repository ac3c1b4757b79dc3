//! Session life with real processes: one operator alone changes nothing, f+1 end and start sessions, and members come back.

use serde_json::Value;

use super::process::{Said, eventually, run, text};
use super::world::{ANA, BEN, World};

fn order(world: &World, leader: usize, what: &str, session: u64) -> Said {
    let folder = world.leader_folder(leader);
    run(&["session", what, text(&folder), &session.to_string(), "--json"])
}

fn status(world: &World, leader: usize) -> Value {
    let said = run(&["leader", "status", text(&world.leader_folder(leader)), "--json"]);
    serde_json::from_str(&said.out).unwrap_or_default()
}

/// Waits until every leader says that this session is running, or over.
fn all_in(world: &World, session: u64, open: bool) {
    for leader in 1..=4 {
        eventually("a session", || {
            let status = status(world, leader);
            (status["session"] == session && status["session_open"] == open).then_some(())
        });
    }
}

fn decisions(world: &World, leader: usize, word: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(world.leader_folder(leader).join("state/audit.jsonl")).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["decision"] == word).collect()
}

#[test]
fn f_plus_1_operators_restart_the_session_and_members_come_back() {
    let mut world = World::new("");
    std::fs::write(world.leader_folder(2).join("config.toml"), "[periods]\norder_patience_s = 1\n").unwrap();
    (1..=4).for_each(|number| world.start(number));
    let log = world.path("ben.log");
    let mut ben = world.listen(BEN, &["--log", text(&log)]);
    world.send(ANA, &["one"]).succeeded();
    assert_eq!(ben.event("message")["text"], "one");

    let asked = order(&world, 1, "restart", 1).json();
    assert_eq!((&asked["request"], &asked["session"]), (&"restart-session".into(), &1.into()));
    assert_eq!((&asked["state"], &asked["operators_needed"]), (&"left".into(), &2.into()));
    eventually("the order at another leader", || {
        let told = status(&world, 4)["session_asked"].as_str().map(ToOwned::to_owned);
        told.is_some_and(|told| told.contains("1 leader asks to end session 1 and start session 2")).then_some(())
    });
    world.send(ANA, &["two"]).succeeded();
    assert_eq!(ben.event("message")["text"], "two", "one operator alone changes nothing");
    assert_eq!((status(&world, 4)["session"].clone(), status(&world, 4)["members"].clone()), (1.into(), 1.into()));

    order(&world, 3, "restart", 1).json();
    assert_eq!(ben.event("ended")["cause"], "session-over");
    assert_eq!(ben.finish(), 24);
    all_in(&world, 2, true);
    let told = world.leader(4).event("session");
    assert_eq!((&told["session"], &told["open"]), (&2.into(), &true.into()));
    assert_eq!(decisions(&world, 4, "session").len(), 1);

    let mut ben = world.listen(BEN, &["--log", text(&log)]);
    world.send(ANA, &["three"]).succeeded();
    assert_eq!(ben.event("message")["text"], "three");
    assert!(ben.terminate() == 0);
    let verified = run(&["log", "verify", text(&world.group()), text(&log)]);
    assert_eq!(verified.status, 0, "one log over two sessions: {verified:?}");
    let shown = run(&["log", "show", text(&world.group()), text(&log)]).succeeded();
    assert!(shown.contains("the stay ended (session-over)"), "{shown}");

    // A third operator is late: the order is about a session that is over.
    order(&world, 2, "restart", 1).json();
    let refused = eventually("the order in the audit", || decisions(&world, 2, "order").pop());
    assert_eq!((&refused["done"], &refused["session"]), (&false.into(), &1.into()));
    assert!(refused["why_not"].as_str().unwrap().contains("session 2 is running"), "{refused}");
    assert_eq!(status(&world, 2)["session"], 2);
}

#[test]
fn between_two_sessions_nobody_gets_in() {
    let mut world = World::running(4);
    world.send(ANA, &["one"]).succeeded();
    [1, 2].into_iter().for_each(|leader| drop(order(&world, leader, "end", 1).json()));
    all_in(&world, 1, false);
    world.send(ANA, &["two"]).failed(21, &["the session is over"]);
    let told = run(&["leader", "status", text(&world.leader_folder(3))]).succeeded();
    assert!(told.contains("Session 1: over: nobody is in the group"), "{told}");

    // What is over stays so over a restart of the leaders.
    for number in 1..=4 {
        world.stop(number);
        world.start(number);
    }
    eventually("a leader that is ready", || (status(&world, 1)["ready"] == true).then_some(()));
    all_in(&world, 1, false);
    world.send(ANA, &["three"]).failed(21, &["the session is over"]);
    for leader in [3, 4] {
        let folder = world.leader_folder(leader);
        let asked = run(&["session", "start", text(&folder), "2"]).succeeded();
        assert!(asked.contains("start session 2") && asked.contains("once 2 operators ask"), "{asked}");
    }
    all_in(&world, 2, true);
    let mut ben = world.listen(BEN, &[]);
    world.send(ANA, &["four"]).succeeded();
    assert_eq!(ben.event("message")["text"], "four");
}

#[test]
fn an_order_must_name_a_session_that_can_be() {
    let world = World::new("");
    let folder = world.leader_folder(1);
    run(&["session", "end", text(&folder)]).failed_usage();
    run(&["session", "end", text(&folder), "0"]).failed_usage();
    run(&["session", "end", text(&folder), "16385"]).failed_usage();
    run(&["session", "end", text(&world.path("nowhere")), "1"]).failed(10, &[]);
}
