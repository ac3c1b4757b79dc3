//! What goes wrong with files and places, without a leader.

use std::os::unix::fs::PermissionsExt;

use super::process::{finish, ringfort, run, text};
use super::world::{ANA, World, write_private};

#[test]
fn a_setup_overwrites_nothing_and_asks_for_the_possible() {
    let world = World::new("");
    let taken = world.path("g");
    run(&["init", text(&taken)]).failed(14, &["not empty", "choose a new folder"]);
    let below_a_file = world.path("users.toml/g");
    run(&["init", text(&below_a_file)]).failed(13, &["cannot be written", "choose another place"]);
    let new = world.path("new");
    run(&["init", text(&new), "--leaders", "3"]).failed(2, &["3 leaders cannot tolerate 1"]);
    run(&["init", text(&new), "--key-threshold", "1"]).failed(2, &["key threshold 1 is outside 2 to 3"]);
    run(&["init", text(&new), "--listen", "a:1,b:2"]).failed(2, &["2 addresses were given for 4 leaders"]);
    let missing = world.path("missing.toml");
    run(&["init", text(&new), "--policy", text(&missing)]).failed(10, &["missing.toml: does not exist"]);
    assert!(!new.exists());
    let made = run(&["init", text(&new), "--leaders", "1", "--faults", "0", "--json"]).json();
    assert_eq!(made["addresses"][0], "127.0.0.1:7400");
    assert_eq!(made["folders"].as_array().unwrap().len(), 1);
}

#[test]
fn a_group_file_is_checked_before_anything_else() {
    let world = World::new("");
    let group = world.group();
    let original = std::fs::read_to_string(&group).unwrap();

    let altered = world.path("altered.toml");
    std::fs::write(&altered, original.replace("name = \"garden\"", "name = \"gardem\"")).unwrap();
    let send = |file: &std::path::Path| {
        let mut command = ringfort(&["send", text(file), "--user", ANA.0, "hi"]);
        command.env("RINGFORT_PASSWORD", ANA.1);
        finish(command)
    };
    send(&altered).failed(11, &["was altered", "get the group file again"]);
    run(&["status", text(&altered)]).failed(11, &["was altered"]);

    let garbage = world.path("garbage.toml");
    std::fs::write(&garbage, "what is this").unwrap();
    send(&garbage).failed(10, &["garbage.toml", "not a group file as it should be"]);
    send(&world.path("nowhere.toml")).failed(10, &["does not exist"]);
    let newer = world.path("newer.toml");
    std::fs::write(&newer, original.replace("format = 1", "format = 3")).unwrap();
    send(&newer).failed(16, &["has format 3"]);
}

#[test]
fn a_fingerprint_is_compared_wherever_a_group_is_given() {
    let world = World::new("");
    let (group, right) = (world.group(), world.fingerprint());
    let plain = right.replace('-', "").to_uppercase();
    run(&["fingerprint", text(&group), "--fingerprint", &plain]).succeeded();
    let wrong = "0000-0000-0000-0000-0000-0000-0000-0000";
    for command in [vec!["fingerprint"], vec!["status"], vec!["send", "--user", "ana"], vec!["chat", "--user", "ana"]] {
        let args = [&command[..1], &[text(&group), "--fingerprint", wrong], &command[1..]].concat();
        run(&args).failed(12, &["fingerprint", &right, "get the group file again from an operator"]);
    }
    // The folder of a setup stands for its group file.
    assert_eq!(run(&["fingerprint", text(&world.path("g"))]).succeeded().trim(), right);
}

#[test]
fn a_leaders_folder_is_private_and_whole() {
    let world = World::new("");
    let folder = world.leader_folder(1);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    run(&["leader", text(&folder)]).failed(13, &["others can get at it", "chmod 700"]);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::copy(world.leader_folder(2).join("leader.toml"), folder.join("leader.toml")).unwrap();
    std::fs::copy(world.path("g/group.toml"), folder.join("group.toml")).unwrap();
    let elsewhere = World::new("");
    std::fs::copy(elsewhere.group(), folder.join("group.toml")).unwrap();
    run(&["leader", text(&folder)]).failed(11, &["do not belong to the group.toml beside them"]);
    run(&["leader", text(&world.path("nowhere"))]).failed(10, &["does not exist"]);
}

#[test]
fn keys_are_made_once_and_shown() {
    let world = World::new("");
    let file = world.path("ana.key");
    let made = run(&["key", "new", text(&file)]).succeeded();
    assert_eq!(run(&["key", "show", text(&file), "--json"]).json()["public_key"], made.trim());
    run(&["key", "new", text(&file)]).failed(14, &["exists already"]);
    let certificate = world.path("c.toml");
    let certify = |key: &str| {
        let group = world.group();
        let args = ["--authority-key", text(&file), "--user", "eva", "--key", key, "--out", text(&certificate)];
        run(&[&["certify", text(&group)], &args[..]].concat())
    };
    certify(made.trim()).failed(20, &["none of the authorities"]);
    certify("abc").failed(10, &["not a public key"]);
}

#[test]
fn passwords_come_from_where_they_should() {
    let world = World::new("");
    let group = world.group();
    // No terminal to ask on, in a session of its own.
    let mut command = std::process::Command::new("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_ringfort"), "send", text(&group), "--user", "ana", "hi"]);
    command.env_remove("RINGFORT_PASSWORD");
    finish(command).failed(2, &["no terminal", "--password-file or RINGFORT_PASSWORD"]);
    let file = world.path("password");
    let send = ["send", text(&group), "--user", "ana", "--password-file", text(&file), "hi"];
    run(&send).failed(10, &["password file cannot be read"]);
    write_private(&file, "\n");
    run(&send).failed(2, &["is empty"]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    run(&send).failed(13, &["others can read this secret", "chmod 600"]);
    run(&["send", text(&group), "--user", "Ana", "hi"]).failed_usage();
}

#[test]
fn a_closed_pipe_is_no_trouble() {
    let mut command = ringfort(&["--help"]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(super::process::wait(&mut child) >= 0);

    let world = World::new("");
    let group = world.group();
    let mut command = ringfort(&["fingerprint", text(&group)]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let said = child.wait_with_output().unwrap();
    assert!(said.stderr.is_empty(), "{said:?}");
}
