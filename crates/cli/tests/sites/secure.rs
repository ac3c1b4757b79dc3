//! Secure groups with real processes: members on three sites, who come, go, are killed, stopped and cut off from each other.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ringfort_peer_keys::Event;
use ringfort_peer_keys::flush::OutWhy;
use ringfort_site::secure::file;
use ringfort_site::{SecureGroup, SecureOptions};
use rustix::process::Signal;
use serde_json::Value;

use super::process::{DEADLINE, Running, ringfort, run, text};
use super::proxy::Network;
use super::world::World;

const USERS: [&str; 3] = ["ana", "ben", "cy"];

/// Key files of all users, and a peer file that admits them.
pub fn prepare(world: &World, keys: &str, more: &[&str]) {
    let mut args = vec!["peer", "create"];
    let peer = world.path("peer.toml");
    let _ = std::fs::remove_file(&peer);
    let mut members = Vec::new();
    for user in USERS {
        let file = world.path(&format!("{user}.key"));
        let show: &[&str] = if file.exists() { &["--show"] } else { &[] };
        let public = run(&[&["peer", "key", text(&file)], show].concat()).succeeded();
        members.push(format!("--member={user}={}", public.trim()));
    }
    args.extend([text(&peer), "--group", "talk", "--keys", keys, "--patience", "1"]);
    args.extend(members.iter().map(String::as_str));
    args.extend(more);
    let told = run(&args).succeeded();
    assert!(told.contains("Group talk") && told.contains("Fingerprint: "), "{told}");
}

pub fn command(world: &World, what: &str, site: usize, user: &str, more: &[&str]) -> Command {
    let (folder, peer, key) = (world.folder(site), world.path("peer.toml"), world.path(&format!("{user}.key")));
    let args = ["peer", what, text(&folder), "--peer", text(&peer), "--key", text(&key), "--name", user, "--json"];
    ringfort(&[&args[..], more].concat())
}

fn listen(world: &World, n: usize) -> Running {
    Running::start(command(world, "listen", n, USERS[n], &[]))
}

fn users(view: &Value) -> Vec<String> {
    let members = view["members"].as_array().cloned().unwrap_or_default();
    let mut users: Vec<String> = members.iter().map(|member| member["user"].as_str().unwrap().to_owned()).collect();
    users.sort();
    users
}

/// The key's tag of the next view with exactly these users.
#[track_caller]
pub fn secure(member: &mut Running, wanted: &[&str]) -> String {
    let is = |line: &Value| line["event"] == "secure" && users(line) == wanted;
    member.next(&format!("a view of {wanted:?}"), is)["key_tag"].as_str().unwrap().to_owned()
}

#[test]
fn members_on_three_sites_have_one_key_and_another_one_whenever_they_change() {
    let world = World::running();
    for keys in ["tgdh", "gdh", "ckd"] {
        prepare(&world, keys, &[]);
        let mut ana = Running::start_with_input(command(&world, "chat", 0, "ana", &[]));
        let alone = secure(&mut ana, &["ana"]);
        let mut ben = listen(&world, 1);
        let two = secure(&mut ana, &["ana", "ben"]);
        assert_eq!(secure(&mut ben, &["ana", "ben"]), two, "{keys}");
        let mut cy = listen(&world, 2);
        let three = secure(&mut ana, &USERS);
        assert_eq!((secure(&mut ben, &USERS), secure(&mut cy, &USERS)), (three.clone(), three.clone()), "{keys}");
        ana.write_line("to all of you");
        for member in [&mut ben, &mut cy] {
            let message = member.event("message");
            assert_eq!((&message["text"], &message["user"]), (&"to all of you".into(), &"ana".into()));
        }
        ana.write_line("/to #cy#west to one");
        let message = cy.event("message");
        assert_eq!((&message["text"], &message["private"]), (&"to one".into(), &true.into()));
        ana.write_line("/refresh");
        let refreshed = secure(&mut ana, &USERS);
        assert_eq!((secure(&mut ben, &USERS), secure(&mut cy, &USERS)), (refreshed.clone(), refreshed.clone()));
        ben.killed();
        let without = secure(&mut ana, &["ana", "cy"]);
        assert_eq!(secure(&mut cy, &["ana", "cy"]), without, "{keys}");
        assert_eq!(cy.terminate(), 0, "it leaves in order");
        let last = secure(&mut ana, &["ana"]);
        let mut tags = vec![alone, two, three, refreshed, without, last];
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 6, "{keys}: each view has a key of its own");
        ana.end_input();
        assert_eq!(ana.finish(), 0);
    }
}

#[test]
fn a_program_that_is_no_member_sees_only_what_is_sealed_and_holds_nobody_up_for_long() {
    let world = World::running();
    prepare(&world, "tgdh", &["--signed"]);
    let mut ana = Running::start_with_input(command(&world, "chat", 0, "ana", &[]));
    secure(&mut ana, &["ana"]);
    let mut eve = Running::start(super::world::talk(&world.folder(0), "listen", &["--group", "talk", "--json"]));
    eve.event("view");
    let mut ben = listen(&world, 1);
    secure(&mut ana, &["ana", "ben"]);
    secure(&mut ben, &["ana", "ben"]);
    ana.write_line("the words that matter");
    assert_eq!(ben.event("message")["text"], "the words that matter");
    std::thread::sleep(Duration::from_millis(300));
    let seen = eve.killed();
    let sealed = seen.iter().filter(|line| line["event"] == "message").count();
    assert!(sealed > 3, "it sees everything that goes through the group: {sealed}");
    assert!(!format!("{seen:?}").contains("the words that matter"));
    // `send` waits for somebody to be there; `status` looks for a moment.
    let sent = super::process::finish(command(&world, "send", 2, "cy", &["--others", "2", "hello from cy"]));
    assert!(sent.succeeded().contains("\"sent\""));
    assert_eq!(ben.event("message")["text"], "hello from cy");
    let (peer, key, folder) = (world.path("peer.toml"), world.path("cy.key"), world.folder(2));
    let status = run(&["peer", "status", text(&peer), "--site", text(&folder), "--key", text(&key)]).succeeded();
    assert!(status.contains("Admitted: ana, ben, cy.") && status.contains("Present: "), "{status}");
    assert!(status.contains("ana (#ana#north)") && status.contains("ben (#ben#south)"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_of_a_cut_network_have_keys_of_their_own_and_one_again_when_they_meet() {
    let addresses = ringfort_loopback::addresses().unwrap();
    let mut world = World::new(Some(addresses));
    let network = Network::start(addresses, world.listen).await;
    for n in 0..3 {
        world.start(n);
        network.is(n, world.sites[n].as_ref().unwrap().id());
    }
    world.whole(&[0, 1, 2]);
    prepare(&world, "tgdh", &[]);
    let mut ana = Running::start_with_input(command(&world, "chat", 0, "ana", &[]));
    let (mut ben, mut cy) = (listen(&world, 1), listen(&world, 2));
    let whole = secure(&mut ana, &USERS);
    assert_eq!((secure(&mut ben, &USERS), secure(&mut cy, &USERS)), (whole.clone(), whole.clone()));
    network.split(&[0]);
    let alone = secure(&mut ana, &["ana"]);
    let pair = secure(&mut ben, &["ben", "cy"]);
    assert_eq!(secure(&mut cy, &["ben", "cy"]), pair);
    ana.write_line("said alone");
    assert_eq!(ana.event("message")["text"], "said alone");
    network.heal();
    let again = secure(&mut ana, &USERS);
    assert_eq!((secure(&mut ben, &USERS), secure(&mut cy, &USERS)), (again.clone(), again.clone()));
    let tags = [&whole, &alone, &pair, &again];
    assert!((0..4).all(|a| (0..a).all(|b| tags[a] != tags[b])), "{tags:?}");
    let view = ben.seen.last().unwrap();
    assert_eq!(view["moved_with_me"].as_array().unwrap().len(), 2, "ben and cy: {view}");
    ana.write_line("together again");
    for member in [&mut ben, &mut cy] {
        let message = member.event("message");
        assert_eq!(message["text"], "together again", "what was said in the other half stays there");
    }
}

#[test]
fn a_member_that_is_stopped_is_left_out_in_time_and_comes_back_by_itself() {
    let world = World::running();
    prepare(&world, "tgdh", &[]);
    let (mut ana, mut ben) = (listen(&world, 0), listen(&world, 1));
    secure(&mut ana, &["ana", "ben"]);
    secure(&mut ben, &["ana", "ben"]);
    ben.signal(Signal::STOP);
    let mut cy = listen(&world, 2);
    let pair = secure(&mut ana, &["ana", "cy"]);
    assert_eq!(secure(&mut cy, &["ana", "cy"]), pair);
    assert!(ana.seen.iter().any(|line| line["event"] == "out" && line["why"] == "silent"), "{:?}", ana.seen);
    ben.signal(Signal::CONT);
    ben.event("put_out");
    let all = secure(&mut ben, &USERS);
    assert_eq!((secure(&mut ana, &USERS), secure(&mut cy, &USERS)), (all.clone(), all));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_does_not_answer_a_flush_is_told_and_joins_again() {
    let world = World::running();
    prepare(&world, "tgdh", &[]);
    let policy = Arc::new(file::read(&world.path("peer.toml")).unwrap());
    let key = ringfort_documents::read_user_key(&world.path("ana.key")).unwrap();
    let options = SecureOptions { answer_flushes: false, ..SecureOptions::default() };
    let mut ana = SecureGroup::join(&world.door(0), policy, key, options).await.unwrap();
    let mut next = async |wanted: &dyn Fn(&Event) -> bool| {
        tokio::time::timeout(DEADLINE, async {
            loop {
                let event = ana.next().await.unwrap().unwrap();
                if wanted(&event) {
                    break event;
                }
            }
        })
        .await
        .expect("in time")
    };
    next(&|event| matches!(event, Event::Secure(_))).await;
    let mut ben = listen(&world, 1);
    next(&|event| *event == Event::FlushRequest).await;
    next(&|event| *event == Event::PutOut(OutWhy::OwnApplication)).await;
    next(&|event| matches!(event, Event::Secure(view) if view.members.len() == 2)).await;
    tokio::task::spawn_blocking(move || secure(&mut ben, &["ana", "ben"])).await.unwrap();
}

#[test]
fn who_may_not_or_goes_by_another_file_is_told_in_one_sentence() {
    let world = World::running();
    prepare(&world, "tgdh", &[]);
    let (peer, folder, strange) = (world.path("peer.toml"), world.folder(0), world.path("eve.key"));
    run(&["peer", "key", text(&strange)]).succeeded();
    let member =
        |peer: &str, key: &str| run(&["peer", "listen", text(&folder), "--peer", peer, "--key", key, "--for", "15"]);
    member(text(&peer), text(&strange)).failed(20, &["group `talk` does not admit this key", "added"]);
    let key = world.path("ben.key");
    // Somebody else's copy of the file says something else.
    let mut ana = listen(&world, 0);
    secure(&mut ana, &["ana"]);
    let other = world.path("other.toml");
    let text_of = std::fs::read_to_string(&peer).unwrap();
    std::fs::write(&other, text_of.replace("\"tgdh\"", "\"ckd\"")).unwrap();
    member(text(&other), text(&key))
        .failed(11, &["everybody else in the group goes by another peer file", "fingerprint"]);
    let out = ana.next("to be told", |line| line["event"] == "out");
    assert_eq!(out["why"], "other_policy");
    // Files that are none, or not private.
    std::fs::write(&other, "group = 7").unwrap();
    member(text(&other), text(&key)).failed(10, &["is no peer file"]);
    member(text(&world.path("none.toml")), text(&key)).failed(10, &["none.toml"]);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&key).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    member(text(&peer), text(&key)).failed(13, &["ben.key"]);
    run(&["peer", "key", text(&key)]).failed(14, &["ben.key"]);
    let public = run(&["peer", "key", text(&strange), "--show"]).succeeded();
    let (one, two) = (format!("--member=a={}", public.trim()), format!("--member=b={}", public.trim()));
    let fresh = world.path("fresh.toml");
    run(&["peer", "create", text(&fresh), "--group", "g", &one, &two]).failed(2, &["same key"]);
    run(&["peer", "create", text(&fresh), "--group", "#g", &one]).failed(2, &["no name for a group"]);
    run(&["peer", "create", text(&peer), "--group", "g", &one]).failed(14, &["peer.toml"]);
    run(&["peer", "create", text(&fresh), "--group", "g", "--member", "a"]).failed(2, &["NAME=KEY"]);
    let nobody = run(&["peer", "listen", text(&strange), "--peer", text(&peer), "--key", text(&world.path("cy.key"))]);
    nobody.failed(10, &["no site answers here"]);
}
