//! Members that do not send, and members that do not read.

use super::process::{finish, run, text};
use super::world::{ANA, World, is_accusation};

const RITA: (&str, &str) = ("press-rita", "correct horse");
const SUE: (&str, &str) = ("tip-sue", "battery staple");
const VAULT: (&str, &str) = ("vault", "tape and dust");

const ROLES: &str = "[[role]]\nusers = \"press-*\"\nrole = \"receiver\"\n\
                     [[role]]\nusers = \"tip-*\"\nrole = \"sender\"\n\
                     [[role]]\nusers = \"vault\"\nrole = \"archive\"\n";

#[test]
fn members_do_what_their_roles_let_them() {
    let mut world = World::with_users(ROLES, &[ANA, RITA, SUE, VAULT]);
    (1..=4).for_each(|number| world.start(number));
    let status = run(&["status", text(&world.group())]).succeeded();
    let told = "Roles, the first that fits: press-* receiver, tip-* sender, vault archive.";
    assert!(status.contains(told), "{status}");
    let status = run(&["status", text(&world.group()), "--json"]).json();
    assert_eq!((&status["roles"][2]["users"], &status["roles"][2]["role"]), (&"vault".into(), &"archive".into()));

    world
        .send(RITA, &["hi"])
        .failed(21, &["press-rita has the role receiver in this group: it receives and does not send"]);
    world.send(VAULT, &["hi"]).failed(21, &["vault has the role archive in this group"]);
    world.send(SUE, &["--to", "ana", "hi"]).failed(21, &["it sends to all who receive and to nobody alone"]);
    world
        .send(ANA, &["--to", "tip-sue", "hi"])
        .failed(21, &["tip-sue has the role sender in this group: it receives nothing"]);
    finish(world.member("receive-files", RITA, &[])).failed(21, &["only members that send and receive exchange files"]);

    let log = world.path("vault.log");
    let mut vault = world.listen(VAULT, &["--count", "2", "--log", text(&log)]);
    let mut rita = world.listen(RITA, &["--count", "2"]);
    world.send(SUE, &["a tip"]).succeeded();
    for reader in [&mut vault, &mut rita] {
        let tip = reader.event("message");
        assert_eq!((&tip["from"], &tip["text"]), (&"tip-sue".into(), &"a tip".into()));
        assert_eq!(tip["to"].as_array().map(Vec::len), Some(0), "it went to all who read");
    }
    // Sue is in the group while Ana speaks, and has nothing of it.
    let mut sue = world.listen(SUE, &["--for", "3"]);
    let joined = sue.seen.iter().find(|line| line["event"] == "joined").unwrap();
    assert_eq!((&joined["roles"]["vault"], &joined["roles"]["tip-sue"]), (&"archive".into(), &"sender".into()));
    rita.next("Sue's coming", |line| line["event"] == "view" && line["joined"][0] == "tip-sue");
    world.send(ANA, &["not for sue"]).succeeded();
    for reader in [&mut vault, &mut rita] {
        assert_eq!(reader.event("message")["text"], "not for sue");
    }
    let left = sue.event("left");
    assert_eq!(left["acknowledged"], true);
    assert!(!sue.seen.iter().any(|line| line["event"] == "message" || is_accusation(line)), "{:?}", sue.seen);
    assert_eq!((sue.finish(), vault.finish(), rita.finish()), (0, 0, 0));
    (1..=4).for_each(|number| world.stop(number));

    // Sue was a member then, and could not read.
    let group = world.group();
    let read = |command: &str, more: &[&str]| run(&[&["log", command, text(&group), text(&log)], more].concat());
    let shown = read("show", &["--json"]).succeeded();
    let mut views = shown.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let with_sue = views.rfind(|view| view["joined"][0] == "tip-sue").unwrap();
    let at = (with_sue["at_ms"].as_u64().unwrap() + 1).to_string();
    let who = read("who", &["--at", &at, "--user", "tip-sue", "--json"]).json();
    assert_eq!((&who["could_read"], &who["roles"]["vault"]), (&"no".into(), &"archive".into()));
    let readers = [&who["readers"], &who["perhaps"]].map(|list| list.to_string()).concat();
    assert!(readers.contains("vault") && readers.contains("press-rita") && !readers.contains("sue"), "{readers}");
    let who = read("who", &["--at", &at]).succeeded();
    assert!(who.contains("press-rita (receiver)") && who.contains("vault (archive)"), "{who}");
}
