//! A leader's folder: backups, restoring, sealing, and memories that are lost or damaged.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::process::{Running, eventually, finish, ringfort, run, text};
use super::world::{ANA, BEN, World, write_private};

fn check(folder: &Path) -> Value {
    run(&["leader", "check", text(folder), "--json"]).json()
}

/// Every file below a folder; not the socket of a leader that runs.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found
}

/// Hexadecimal secrets in a plain `leader.toml`.
fn secrets(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("leader.toml")).unwrap();
    let secret = |line: &str| {
        let (name, value) = line.split_once(" = ")?;
        (!["group", "format", "leader"].contains(&name)).then(|| value.trim_matches('"').to_owned())
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(secret).collect()
}

#[test]
fn a_sealed_leader_keeps_no_secret_in_plain_and_starts_with_its_key() {
    let mut world = World::new("");
    let folder = world.leader_folder(1);
    let canaries = secrets(&folder);
    assert_eq!(canaries.len(), 5, "{canaries:?}");
    let registration = {
        let records = ringfort_node::folder::LeaderFolder::open(&folder).unwrap().store.load().unwrap();
        let secret = records.iter().find_map(|record| match record {
            ringfort::protocol::leader::Record::Registration(_, registration) => {
                Some(registration.to_bytes()[1..].to_vec())
            }
            _ => None,
        });
        secret.unwrap()
    };
    let in_plain = |folder: &Path| {
        let is_in = |bytes: &[u8], needle: &[u8]| memchr::memmem::find(bytes, needle).is_some();
        let bytes_of = |hex: &String| data(hex);
        files(folder).iter().any(|(_, bytes)| {
            is_in(bytes, &registration)
                || canaries.iter().any(|hex| is_in(bytes, hex.as_bytes()) || is_in(bytes, &bytes_of(hex)))
        })
    };
    assert!(in_plain(&folder), "the search finds what is there");
    let key = world.path("leader-1.key");
    write_private(&key, "0123456789abcdef0123456789abcdef");
    let sealed = run(&["leader", "seal", text(&folder), "--key-file", text(&key), "--json"]).json();
    assert_eq!((&sealed["state"], &sealed["sealed"]), (&"sealed".into(), &true.into()));
    assert!(!in_plain(&folder));
    run(&["leader", "seal", text(&folder), "--key-file", text(&key)]).failed(14, &["is sealed already"]);

    // Without the key, or with another, it does not start, and says why.
    run(&["leader", text(&folder)]).failed(2, &["--key-file"]);
    let other = world.path("other.key");
    write_private(&other, "another key of thirty-two bytes!");
    run(&["leader", text(&folder), "--key-file", text(&other)]).failed(20, &["does not open with this key file"]);

    // As a service, with the manager's credential.
    let credentials = world.path("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::rename(&key, credentials.join("ringfort-leader")).unwrap();
    let mut command = ringfort(&["leader", text(&folder), "--json"]);
    command.env("CREDENTIALS_DIRECTORY", &credentials);
    let mut leader = Running::start(command);
    leader.event("listening");
    world.keep(1, leader);
    (2..=4).for_each(|number| world.start(number));
    let mut ana = world.listen(ANA, &[]);
    ana.confirmed_by(4);
    assert!(!in_plain(&folder), "nor while it runs");
    assert_eq!(check(&folder)["sealed"], true);
    world.stop(1);

    let credential = credentials.join("ringfort-leader");
    run(&["leader", "unseal", text(&folder), "--key-file", text(&credential)]).succeeded();
    assert!(in_plain(&folder));
    assert_eq!(secrets(&folder), canaries);
    world.start(1);
}

fn data(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

#[test]
fn a_passphrase_seals_too() {
    let world = World::new("");
    let folder = world.leader_folder(2);
    let (short, long, wrong) = (world.path("short"), world.path("long"), world.path("wrong"));
    write_private(&short, "too short\n");
    write_private(&long, "seven wet hens on a red roof\n");
    write_private(&wrong, "seven wet hens on a red barn\n");
    run(&["leader", "seal", text(&folder), "--passphrase-file", text(&short)]).failed(10, &["fewer than 12"]);
    run(&["leader", "seal", text(&folder), "--passphrase-file", text(&long)]).succeeded();
    run(&["leader", text(&folder), "--passphrase-file", text(&wrong)]).failed(20, &["does not open"]);
    let mut leader = Running::start(ringfort(&["leader", text(&folder), "--passphrase-file", text(&long), "--json"]));
    leader.event("listening");
    assert_eq!(leader.terminate(), 0);
}

#[test]
fn a_backup_of_a_running_leader_restores_to_one_that_catches_up_first() {
    let mut world = World::running(4);
    let ana = world.listen(ANA, &[]);
    let (folder, backup) = (world.leader_folder(3), world.path("backup"));
    let made = run(&["leader", "backup", text(&folder), text(&backup), "--json"]).json();
    assert_eq!((&made["leader"], &made["users"]), (&3.into(), &2.into()));
    run(&["leader", "backup", text(&folder), text(&backup)]).failed(14, &["overwrites nothing"]);
    assert_eq!(check(&backup)["state"], "whole");

    // Life goes on, and then the machine of leader 3 is lost.
    let ben = world.listen(BEN, &[]);
    let epoch = eventually("both in", || {
        let state = check(&folder);
        (state["members"] == 2).then(|| state["epoch"].as_u64().unwrap())
    });
    assert!(epoch > made["epoch"].as_u64().unwrap());
    world.stop(3);
    fs::remove_dir_all(&folder).unwrap();
    let restored = run(&["leader", "restore", text(&backup), text(&folder), "--json"]).json();
    assert_eq!((&restored["catching_up"], &restored["members"]), (&true.into(), &made["members"]));
    run(&["leader", "restore", text(&backup), text(&folder)]).failed(14, &["move it away first"]);
    world.start(3);
    world.leader(3).event("caught_up");
    let admitted = world.leader(3).seen.iter().any(|line| line["event"] == "admitted" && line["user"] == "ben");
    assert!(admitted, "by the word of f+1 others");
    eventually("the restored leader's state", || {
        let state = check(&folder);
        (state["catching_up"] == false && state["epoch"].as_u64().unwrap() >= epoch).then_some(())
    });
    drop((ana, ben));
}

#[test]
fn an_altered_backup_is_refused() {
    let world = World::new("");
    let (folder, backup) = (world.leader_folder(1), world.path("backup"));
    run(&["leader", "backup", text(&folder), text(&backup)]).succeeded();
    let memory = backup.join("state/state.db");
    let mut bytes = fs::read(&memory).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&memory, bytes).unwrap();
    run(&["leader", "check", text(&backup)]).failed(11, &["state.db", "use another backup"]);
    run(&["leader", "restore", text(&backup), text(&world.path("new"))]).failed(11, &["state.db"]);
    assert!(!world.path("new").exists(), "all or nothing");
}

#[test]
fn a_leader_whose_memory_is_gone_stops_and_comes_back_from_its_peers() {
    let mut world = World::running(4);
    let mut ana = world.listen(ANA, &[]);
    ana.confirmed_by(4);
    world.stop(2);
    let folder = world.leader_folder(2);
    let memory = folder.join("state/state.db");
    let bytes = fs::read(&memory).unwrap();
    fs::write(&memory, &bytes[..bytes.len() / 2]).unwrap();
    let told = run(&["leader", text(&folder)]);
    told.failed(11, &["damaged", "restore"]);
    run(&["leader", "check", text(&folder)]).failed(11, &["damaged"]);
    fs::remove_file(&memory).unwrap();
    run(&["leader", text(&folder)]).failed(10, &["missing", "restore"]);
    run(&["leader", "rebuild", text(&folder)]).succeeded();
    assert_eq!(check(&folder)["catching_up"], true);
    world.start(2);
    world.leader(2).event("caught_up");
    // Ana shows the keys that the others have accepted: leader 2 need not know her to take her back.
    ana.seen.clear();
    eventually("leader 2 to have ana in", || (check(&folder)["members"] == 1).then_some(()));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(finish(ringfort(&["leader", "check", text(&folder)])).status, 0);
}

/// Runs a leader on a small disk of its own that gets full once the file `$4` exists; then there is room again.
const ON_A_SMALL_DISK: &str = r#"
    mount -t tmpfs -o size=1m,mode=700 none "$1" && cp -a "$2" "$1/leader" || exit 99
    "$3" leader "$1/leader" --json & leader=$!
    until [ -e "$4" ]; do sleep 0.05; done
    dd if=/dev/zero of="$1/ballast" bs=4k 2> /dev/null
    wait $leader
    echo "{\"event\": \"exited\", \"status\": $?}"
    rm "$1/ballast"
    "$3" leader check "$1/leader" --json
    exec "$3" leader "$1/leader" --json
"#;

fn in_own_mounts(script: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "--kill-child", "--fork", "sh", "-c", script, "sh"]).args(arguments);
    command
}

#[test]
fn a_full_disk_stops_a_leader_with_a_clear_word_and_room_brings_it_back() {
    let world = World::running(3);
    let (disk, full) = (world.path("disk"), world.path("full"));
    fs::create_dir(&disk).unwrap();
    let may_mount = in_own_mounts("mount -t tmpfs none \"$1\"", &[&disk]).output();
    if !may_mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this system lets nobody mount a small disk");
        return;
    }
    let ringfort = Path::new(env!("CARGO_BIN_EXE_ringfort"));
    let command = in_own_mounts(ON_A_SMALL_DISK, &[&disk, &world.leader_folder(4), ringfort, &full]);
    let log = world.path("log");
    let mut leader = Running::start_logging(command, fs::File::create(&log).unwrap());
    leader.event("listening");
    let mut ana = world.listen(ANA, &[]);
    ana.confirmed_by(4);
    let before =
        leader.next("ana's view", |line| line["event"] == "published" && line["members"] == 1)["epoch"].clone();

    fs::write(&full, "").unwrap();
    // Whatever it has to remember next is too much.
    let ended = eventually("the leader's end", || {
        assert_eq!(world.send(BEN, &["the group goes on"]).status, 0);
        leader.poll("exited")
    });
    assert_eq!(ended["status"], 17);
    let told = fs::read_to_string(&log).unwrap();
    let sentences: Vec<&str> = told.lines().filter(|line| line.starts_with("ringfort: ")).collect();
    assert!(matches!(sentences[..], [one] if one.contains("the disk is full") && one.contains("make room")), "{told}");

    let state = leader.next("the check", |line| line["state"] == "whole");
    assert!(state["epoch"].as_u64() >= before.as_u64(), "nothing that it said is forgotten: {state}");
    leader.event("listening");
    leader.next("the others' view", |line| {
        line["event"] == "published" && line["epoch"].as_u64() > state["epoch"].as_u64()
    });
}
