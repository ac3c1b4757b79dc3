//! A leader as its operator has it: configuration, status, audit, hooks, sandbox, restarts.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::process::{Running, eventually, ringfort, run, text};
use super::world::{ANA, BEN, World};

fn audit(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("state/audit.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn decisions(folder: &Path, word: &str) -> Vec<Value> {
    audit(folder).into_iter().filter(|line| line["decision"] == word).collect()
}

#[test]
fn the_configuration_is_printed_and_checked() {
    let world = World::new("");
    let folder = world.leader_folder(1);
    let printed = run(&["leader", "config"]).succeeded();
    let config = folder.join("config.toml");
    std::fs::write(&config, &printed).unwrap();
    let told = run(&["leader", "check-config", text(&folder)]).succeeded();
    assert!(told.contains("config.toml: a leader can run with this."), "{told}");

    std::fs::write(&config, "[limits]\nunauthenticated_max = 1\n").unwrap();
    let parts = ["[limits] unauthenticated_max = 1 is not allowed", "8 to 65536"];
    run(&["leader", "check-config", text(&folder)]).failed(2, &parts);
    run(&["leader", text(&folder)]).failed(2, &parts);
    std::fs::write(&config, "[limit]\n").unwrap();
    run(&["leader", text(&folder)]).failed(2, &["config.toml", "unknown field"]);
    let other = world.path("other.toml");
    run(&["leader", text(&folder), "--config", text(&other)]).failed(10, &["cannot be read"]);
    std::fs::write(&other, "[limits]\nframe_bytes_max = 8192\n").unwrap();
    run(&["leader", text(&folder), "--config", text(&other)]).failed(2, &["frame_bytes_max is below"]);
    std::fs::write(&other, "[hooks]\non_suspicion = [\"/nowhere/alarm\"]\n").unwrap();
    run(&["leader", "check-config", text(&folder), "--config", text(&other)]).failed(2, &["/nowhere/alarm"]);
    run(&["leader"]).failed_usage();
}

#[test]
fn status_audit_and_orders() {
    let mut world = World::new("");
    let folder = world.leader_folder(1);
    run(&["leader", "status", text(&folder)]).failed(10, &["no leader answers here"]);
    std::fs::write(folder.join("config.toml"), "[periods]\norder_patience_s = 1\n").unwrap();
    world.start(1);
    let alone = run(&["leader", "status", text(&folder), "--json"]);
    assert_eq!(alone.status, 22, "{alone:?}");
    let document: Value = serde_json::from_str(&alone.out).unwrap();
    assert_eq!((&document["healthy"], &document["ready"]), (&true.into(), &false.into()));
    assert!(document["why_not"].as_str().unwrap().contains("and 2 are needed"), "{document}");

    (2..=4).for_each(|number| world.start(number));
    let ready = eventually("a ready leader", || {
        let said = run(&["leader", "status", text(&folder), "--json"]);
        (said.status == 0).then(|| serde_json::from_str::<Value>(&said.out).unwrap())
    });
    assert_eq!((&ready["leader"], &ready["registered"], &ready["members"]), (&1.into(), &2.into(), &0.into()));
    assert!(ready["store_bytes"].as_u64().unwrap() > 0);
    world.send(ANA, &["hello"]).succeeded();
    world.send((ANA.0, "wrong horse"), &["hi"]).failed(20, &[]);
    run(&["refresh", text(&folder)]).succeeded();
    run(&["expel", text(&folder), "zoe"]).succeeded();
    eventually("the orders in the audit", || (decisions(&folder, "order").len() == 2).then_some(()));
    let told = run(&["leader", "status", text(&folder)]).succeeded();
    assert!(told.contains("It does its part.") && told.contains("leader 4: up"), "{told}");

    let orders = decisions(&folder, "order");
    assert_eq!((&orders[0]["order"], &orders[0]["done"]), (&"refresh".into(), &true.into()));
    // Nobody of that name was ever in the group.
    assert_eq!((&orders[1]["order"], &orders[1]["user"]), (&"expel".into(), &"zoe".into()));
    assert!(orders[1]["done"] == false && orders[1]["why_not"].as_str().unwrap().contains("zoe"), "{}", orders[1]);
    for (word, least) in [("started", 1), ("admitted", 1), ("removed", 1), ("view", 1), ("leader-link", 3)] {
        assert!(decisions(&folder, word).len() >= least, "{word}: {:#?}", audit(&folder));
    }
    let numbers: Vec<u64> = audit(&folder).iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(numbers.iter().zip(1..).all(|(seq, wanted)| *seq == wanted), "{numbers:?}");
    assert_eq!(std::fs::metadata(folder.join("state/audit.jsonl")).unwrap().permissions().mode() & 0o777, 0o600);

    // As a rotation does it.
    std::fs::rename(folder.join("state/audit.jsonl"), folder.join("rotated")).unwrap();
    world.leader(1).signal(rustix::process::Signal::HUP);
    eventually("the file opened again", || folder.join("state/audit.jsonl").exists().then_some(()));
    world.stop(1);
    assert_eq!(decisions(&folder, "stopping").len(), 1);
    assert!(!folder.join("state/status.sock").exists());
    run(&["leader", "status", text(&folder)]).failed(10, &["no leader answers here"]);
}

#[cfg(target_os = "linux")]
#[test]
fn every_thread_of_a_leader_is_in_the_sandbox() {
    let mut world = World::new("");
    let folder = world.leader_folder(1);
    let mut leader = Running::start(ringfort(&["leader", text(&folder), "--json"]));
    let line = leader.event("listening");
    // An older kernel knows less of Landlock; seccomp has been in all of them for ten years.
    assert!(line["sandbox"] == "enforced" || line["sandbox"] == "partly", "{line}");
    let tasks = std::fs::read_dir(format!("/proc/{}/task", leader.id())).unwrap();
    let mut threads = 0;
    for task in tasks {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
        threads += 1;
    }
    assert!(threads > 1, "the runtime has threads");
    world.keep(1, leader);
    world.stop(1);

    let mut open = Running::start(ringfort(&["leader", text(&folder), "--json", "--no-sandbox"]));
    assert_eq!(open.event("listening")["sandbox"], "off");
    assert_eq!(open.terminate(), 0);
    std::fs::write(folder.join("config.toml"), "[sandbox]\nrequired = true\n").unwrap();
    run(&["leader", text(&folder), "--no-sandbox"]).failed(1, &["requires a sandbox"]);
}

#[test]
fn a_suspicion_runs_the_operators_program_outside_the_sandbox() {
    let mut world = World::new("");
    let folder = world.leader_folder(1);
    let (program, out) = (world.path("alarm"), world.path("alarms"));
    // It writes where the leader may not.
    std::fs::write(&program, format!("#!/bin/sh\necho \"$1\" >> {0}; cat >> {0}\n", out.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let config = format!("[hooks]\non_suspicion = [{program:?}, \"a b\"]\nabout = [\"outsider\"]\n");
    std::fs::write(folder.join("config.toml"), config).unwrap();
    world.start(1);
    // A stranger whose first frame is no message.
    let group = ringfort_documents::read_group(&world.group()).unwrap();
    let leader = group.leaders.first().unwrap().clone();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _link = runtime.block_on(async move {
        use ringfort_link::{Class, ConnectOptions, LinkPublicKey, connect};
        let link = connect(&leader.address, LinkPublicKey(leader.link_key), None, &ConnectOptions::default()).await;
        let link = link.unwrap();
        link.sender().send(Class::Control, bytes::Bytes::from_static(b"nonsense")).unwrap();
        link
    });
    let alarm = eventually("the alarm", || {
        let text = std::fs::read_to_string(&out).ok()?;
        text.ends_with("}\n").then_some(text)
    });
    let (argument, line) = alarm.split_once('\n').unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((argument, &line["fault"], &line["kind"]), ("a b", &"malformed".into(), &"outsider".into()));
    world.stop(1);
}

/// Asks a leader to evaluate passwords of a name that nobody has, three times on each of so many links.
async fn knock(leader: &ringfort::protocol::group::LeaderInfo, links: usize) {
    use ringfort::protocol::login::LoginRequest;
    use ringfort_link::{Class, ConnectOptions, LinkPublicKey, connect};
    for _ in 0..links {
        let key = LinkPublicKey(leader.link_key);
        let link = connect(&leader.address, key, None, &ConnectOptions::default()).await.unwrap();
        let (sender, mut receiver) = link.split();
        for _ in 0..3 {
            let request = LoginRequest::Blind { user: "nobody".parse().unwrap(), blinded: [7; 32] };
            sender.send(Class::Control, ringfort::protocol::wire::plain(&request)).unwrap();
            receiver.recv().await.unwrap().unwrap();
        }
    }
}

/// A break-in by password would hide behind a second's worth of noise, if strangers' lines and members' were paid from one account.
#[test]
fn refused_strangers_hide_nobody_who_logs_in() {
    let mut world = World::running(4);
    let folder = world.leader_folder(1);
    let group = ringfort_documents::read_group(&world.group()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(knock(group.leaders.first().unwrap(), 40));
    let strangers = eventually("the refusals", || {
        let lines = decisions(&folder, "login-refused").len();
        (lines >= 60).then_some(lines)
    });
    assert!(strangers < 100, "{strangers} of 120 refusals were written: their account is not used up");
    world.send(ANA, &["hello"]).succeeded();
    eventually("ana in the audit", || {
        decisions(&folder, "login-accepted").iter().any(|line| line["user"] == ANA.0).then_some(())
    });
    world.stop(1);
}

/// Restart and upgrade: one leader after the other, under traffic.
#[test]
fn leaders_are_restarted_one_by_one_and_members_lose_nothing() {
    let mut world = World::running(4);
    let mut ben = world.listen(BEN, &[]);
    ben.confirmed_by(4);
    let mut ana = Running::start_with_input(world.member("send", ANA, &["--json", "-"]));
    let mut sent = 0;
    let mut send = |ana: &mut Running, count: u32| {
        for _ in 0..count {
            ana.write_line(&format!("message {sent}"));
            sent += 1;
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    send(&mut ana, 10);
    for number in 1..=4 {
        let stopped = std::time::Instant::now();
        world.stop(number);
        assert!(stopped.elapsed().as_secs() < 5, "a stop takes as long as its grace");
        send(&mut ana, 20);
        world.start(number);
        let folder = world.leader_folder(number);
        eventually("both members' return to the leader", || {
            let said = run(&["leader", "status", text(&folder), "--json"]);
            let status: Value = serde_json::from_str(&said.out).ok()?;
            (said.status == 0 && status["links_member"] == 2).then_some(())
        });
        send(&mut ana, 20);
    }
    ana.end_input();
    assert_eq!(ana.finish(), 0);
    let last = format!("message {}", sent - 1);
    if !ben.seen.iter().any(|line| line["text"] == last.as_str()) {
        ben.next("the last message", |line| line["text"] == last.as_str());
    }
    let texts = ben.seen.iter().filter(|line| line["event"] == "message").map(|line| line["text"].as_str().unwrap());
    let wanted: Vec<String> = (0..sent).map(|number| format!("message {number}")).collect();
    assert_eq!(texts.collect::<Vec<_>>(), wanted, "every message once, in order");
    // What a member is told of it: that a leader is away, and that it is back.
    let other: BTreeSet<&str> = ben.seen.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert!(other.is_subset(&BTreeSet::from(["joined", "message", "view", "leader", "confirmed"])), "{other:?}");
    let unconfirmed = ben.seen.iter().filter(|line| line["event"] == "confirmed" && line["confirmed"] == false);
    assert_eq!(unconfirmed.count(), 0);
    let lost = ben.seen.iter().filter(|line| line["event"] == "view" && line["left"].to_string().contains("lost"));
    assert_eq!(lost.count(), 0);
}
