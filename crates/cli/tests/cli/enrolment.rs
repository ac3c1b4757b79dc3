//! New users: by password, by key, by certificate; and their end.

use super::process::{Said, eventually, finish, ringfort, run, text};
use super::world::{ANA, BEN, World};

const EVA: (&str, &str) = ("eva", "a long enough one");

fn enrol(world: &World, more: &[&str]) -> Said {
    let (group, out) = (world.group(), world.path("records"));
    let args = ["enrol", text(&group), "--user", EVA.0, "--out", text(&out), "--json"];
    let mut command = ringfort(&[&args[..], more].concat());
    command.env("RINGFORT_PASSWORD", EVA.1);
    finish(command)
}

fn accept(world: &World, leader: usize, record_of: usize) -> Said {
    let folder = world.leader_folder(leader);
    let record = world.path(&format!("records/eva.leader-{record_of}.record"));
    run(&["accept", text(&folder), text(&record), "--json"])
}

#[test]
fn a_password_is_enrolled_by_f_plus_1_operators_at_running_leaders() {
    let mut world = World::running(4);
    let prepared = enrol(&world, &[]).json();
    assert_eq!(prepared["records"].as_array().unwrap().len(), 4);
    assert_eq!(prepared["operators_needed"], 2);
    enrol(&world, &[]).failed(14, &["exists already"]);
    world.send(EVA, &["hi"]).failed(20, &[]);

    accept(&world, 1, 2).failed(11, &["is for leader 2, not for leader 1"]);
    let accepted = accept(&world, 1, 1).json();
    assert_eq!((&accepted["state"], &accepted["code"]), (&"left".into(), &prepared["code"]));
    assert_eq!(accept(&world, 2, 2).json()["operators_needed"], 2);
    eventually("eva's join", || (world.send(EVA, &["hi"]).status == 0).then_some(()));

    let mut eva = world.listen(EVA, &[]);
    for leader in [1, 2] {
        let folder = world.leader_folder(leader);
        let asked = run(&["refresh", text(&folder)]).succeeded();
        assert!(asked.contains("once 2 operators ask for it"), "{asked}");
    }
    eva.next("a new key", |line| {
        line["event"] == "view" && line["joined"] == serde_json::json!([]) && line["left"] == serde_json::json!([])
    });
    for leader in [3, 4] {
        let folder = world.leader_folder(leader);
        assert_eq!(run(&["expel", text(&folder), "eva", "--json"]).json()["user"], "eva");
    }
    assert_eq!(eva.event("ended")["cause"], "expelled");
    assert_eq!(eva.finish(), 21);
    world.leader(1).next("eva's end", |line| line["event"] == "ended" && line["cause"] == "expelled");
    let said = world.send(EVA, &["hi"]);
    assert!([20, 21].contains(&said.status), "{said:?}");
}

#[test]
fn nobody_takes_the_place_of_a_user_unseen() {
    let mut world = World::new("");
    let prepared = enrol(&world, &[]).json();
    let accepted = accept(&world, 1, 1).json();
    assert_eq!((&accepted["state"], &accepted["code"]), (&"done".into(), &prepared["code"]));
    assert_eq!(accept(&world, 1, 1).json()["state"], "done", "the same record once more");
    (1..=4).for_each(|number| world.start(number));
    accept(&world, 2, 2).succeeded();

    // Somebody else makes records for the same name, and two operators get them.
    std::fs::remove_dir_all(world.path("records")).unwrap();
    let key = world.path("evil.key");
    run(&["key", "new", text(&key)]).succeeded();
    let other = enrol(&world, &["--key", text(&key)]).json();
    assert_ne!(other["code"], prepared["code"]);
    let known = prepared["code"].as_str().unwrap();
    let new = other["code"].as_str().unwrap();
    accept(&world, 1, 1).failed(14, &["eva is registered here already since 20", known, new, "--replace"]);
    eventually("the second leader to have taken its first record", || {
        (accept(&world, 2, 2).status == 14).then_some(())
    });

    let (folder, record) = (world.leader_folder(1), world.path("records/eva.leader-1.record"));
    let replaced = run(&["accept", text(&folder), text(&record), "--replace", "--json"]).json();
    assert_eq!((&replaced["request"], &replaced["replaces"]), (&"replace".into(), &known.into()));
    let audit = folder.join("state/audit.jsonl");
    eventually("the audit's word of it", || {
        let told = std::fs::read_to_string(&audit).unwrap_or_default();
        told.lines().any(|line| line.contains("\"replace\"") && line.contains("\"eva\"")).then_some(())
    });
}

#[test]
fn a_key_is_enrolled_at_stopped_leaders_and_logs_in() {
    let mut world = World::new("");
    let key = world.path("eva.key");
    run(&["key", "new", text(&key)]).succeeded();
    enrol(&world, &["--key", text(&key)]).succeeded();
    assert_eq!(accept(&world, 1, 1).json()["state"], "done");
    assert_eq!(accept(&world, 3, 3).json()["state"], "done");
    (1..=4).for_each(|number| world.start(number));
    let mut ben = world.listen(BEN, &["--count", "1"]);
    let group = world.group();
    run(&["send", text(&group), "--user", "eva", "--key", text(&key), "hi"]).succeeded();
    assert_eq!(ben.event("message")["from"], "eva");
    let other = world.path("other.key");
    run(&["key", "new", text(&other)]).succeeded();
    run(&["send", text(&group), "--user", "eva", "--key", text(&other), "hi"]).failed(20, &["do not accept"]);
    run(&["send", text(&group), "--user", ANA.0, "--key", text(&key), "hi"]).failed(20, &["do not accept"]);
}

#[test]
fn a_certificate_lets_a_stranger_in() {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.key");
    let public = run(&["key", "new", text(&authority)]).succeeded();
    let mut world = World::new(&format!("authorities = [\"{}\"]\n", public.trim()));
    (1..=3).for_each(|number| world.start(number));
    let (group, key, certificate) = (world.group(), world.path("eva.key"), world.path("eva.certificate"));
    let public = run(&["key", "new", text(&key)]).succeeded();
    let names = ["--user", "eva", "--key", public.trim(), "--days", "2", "--out", text(&certificate)];
    let certify = ["certify", text(&group), "--authority-key", text(&authority), "--authority", "0"];
    let told = run(&[&certify[..], &names].concat()).succeeded();
    assert!(told.contains("certifies eva in the group \"garden\" until"), "{told}");

    let as_whom = |user: &str| {
        let secret = ["--key", text(&key), "--certificate", text(&certificate), "hi"];
        run(&[&["send", text(&group), "--user", user], &secret[..]].concat())
    };
    as_whom("eva").succeeded();
    as_whom("zoe").failed(20, &["the certificate is for eva, not for zoe"]);
}
