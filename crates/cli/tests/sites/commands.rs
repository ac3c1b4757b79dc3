//! What people and scripts type.

use std::os::unix::fs::PermissionsExt;

use super::process::{Running, finish, finish_with_input, ringfort, run, text};
use super::world::{NAMES, World, talk};

#[test]
fn three_machines_make_a_network_and_people_talk_over_it() {
    let world = World::running();
    let shown = run(&["site", "network", "show", text(&world.network())]).succeeded();
    let fingerprint = run(&["site", "network", "fingerprint", text(&world.folder(1))]).succeeded();
    assert!(shown.contains("Network plant: 3 sites.") && shown.contains(fingerprint.trim()), "{shown}");
    for name in NAMES {
        assert!(shown.contains(name), "{shown}");
    }
    let status = run(&["site", "status", text(&world.folder(0))]).succeeded();
    assert!(status.contains("Site north of network plant. It is in a ring with every site."), "{status}");
    assert!(status.contains("protected between sites"), "{status}");
    let metrics = run(&["site", "status", text(&world.folder(0)), "--metrics"]).succeeded();
    assert!(metrics.contains("ringfort_site_ring_sites{site=\"north\"} 3"), "{metrics}");

    let mut ben = Running::start(talk(
        &world.folder(1),
        "listen",
        &["--group", "talk", "--name", "ben", "--count", "2", "--json"],
    ));
    let view = ben.event("view");
    assert_eq!(view["members"], serde_json::json!(["#ben#south"]));
    let sent = run(&["site", "send", text(&world.folder(0)), "--group", "talk", "--name", "ana", "hello", "there"]);
    assert_eq!(sent.succeeded().trim(), "1 message sent as #ana#north.");
    let message = ben.event("message");
    assert_eq!((&message["text"], &message["sender"]), (&"hello there".into(), &"#ana#north".into()));
    let sending = talk(&world.folder(2), "send", &["--group", "talk", "--name", "cy", "--service", "safe", "--json"]);
    let said = finish_with_input(sending, "from a pipe\n").succeeded();
    assert!(said.contains("{\"event\":\"sent\",\"messages\":1}"), "{said}");
    let message = ben.event("message");
    assert_eq!((&message["text"], &message["service"]), (&"from a pipe".into(), &"safe".into()));
    assert_eq!(ben.finish(), 0, "two messages were asked for");
}

#[test]
fn three_sites_are_measured_beside_the_floor_and_what_is_not_installed_is_said_so() {
    let mut bench = ringfort(&["bench", "peer", "--sizes", "100", "--seconds", "1", "--changes", "1", "--json"]);
    // No other system is found, whatever this machine has.
    bench.env("PATH", "/nonexistent");
    let report: serde_json::Value = serde_json::from_str(&finish(bench).succeeded()).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let told = |name: &str| rows.iter().filter(|row| row["name"].as_str().unwrap().contains(name)).collect::<Vec<_>>();
    for (name, count) in
        [("messages a second", 4), ("latency p50", 2), ("client joins", 1), ("site crashes", 1), ("mended", 1)]
    {
        let rows = told(name);
        assert_eq!(rows.len(), count, "{name}: {report}");
        assert!(rows.iter().all(|row| row["value"].as_f64().unwrap() > 0.0), "{name}: {report}");
    }
    assert!(told("corosync").iter().all(|row| row["value"].is_null() && row["note"].is_string()), "{report}");
}

#[test]
fn a_chat_ends_with_its_input_and_says_who_is_there() {
    let world = World::running();
    let said = finish_with_input(talk(&world.folder(0), "chat", &["--group", "talk", "--name", "ana"]), "one\n\ntwo\n");
    assert_eq!(said.status, 0, "{said:?}");
}

#[test]
fn a_site_is_invited_and_removed_and_everybody_compares() {
    let world = World::new(None);
    let file = world.network();
    let before = run(&["site", "network", "fingerprint", text(&file)]).succeeded();
    let east = world.path("east");
    run(&["site", "new", text(&east), "--name", "east", "--address", "127.0.0.1:4999"]).succeeded();
    let told = run(&["site", "invite", text(&file), text(&east.join("card.toml"))]).succeeded();
    assert!(told.contains("Network plant: 4 sites.") && told.contains("Next: give"), "{told}");
    run(&["site", "invite", text(&file), text(&east)]).failed(2, &["east cannot be added", "same name"]);
    run(&["site", "install", text(&east), text(&file), "--fingerprint", &before])
        .failed(12, &["another network's file", "Nothing was installed"]);
    let after = run(&["site", "network", "fingerprint", text(&file)]).succeeded();
    assert_ne!(before, after);
    run(&["site", "install", text(&east), text(&file), "--fingerprint", after.trim()]).succeeded();
    // The file's name alone, as people type it where it lies.
    let mut remove = ringfort(&["site", "network", "remove", "network.toml", "east"]);
    remove.current_dir(file.parent().unwrap());
    finish(remove).succeeded();
    assert_eq!(run(&["site", "network", "fingerprint", text(&file)]).succeeded(), before);
    run(&["site", "install", text(&east), text(&file)]).failed(11, &["no site `east` with this site's key"]);
}

#[test]
fn the_secret_key_is_private_and_leaves_the_folder_nowhere() {
    let world = World::new(None);
    let site = world.folder(0).join("site.toml");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&site), mode(&world.folder(0))), (0o600, 0o700));
    let secret = std::fs::read_to_string(&site).unwrap();
    let secret =
        secret.lines().find(|line| line.starts_with("secret_key")).unwrap().split('"').nth(1).unwrap().to_owned();
    assert_eq!(secret.len(), 64);
    for file in ["card.toml", "network.toml"] {
        assert!(!std::fs::read_to_string(world.folder(0).join(file)).unwrap().contains(&secret));
    }
    std::fs::set_permissions(&site, std::fs::Permissions::from_mode(0o644)).unwrap();
    run(&["site", "run", text(&world.folder(0))]).failed(13, &["holds a secret key", "chmod 600"]);
}

#[test]
fn mistakes_are_told_in_a_sentence() {
    let world = World::new(None);
    let folder = world.folder(0);
    run(&["site", "new", text(&folder), "--name", "x", "--address", "h:1"]).failed(14, &["exists already"]);
    run(&["site", "new", text(&world.path("y")), "--name", "a name", "--address", "h:1"]).failed(10, &["is no name"]);
    run(&["site", "new", text(&world.path("y")), "--name", "y", "--address", "0.0.0.0:1"]).failed(10, &["no address"]);
    run(&["site", "status", text(&folder)]).failed(10, &["no site answers here", "ringfort site run"]);
    run(&["site", "send", text(&folder), "--group", "g", "x"]).failed(10, &["no site answers here"]);
    run(&["site", "network", "show", text(&world.path("none"))]).failed(10, &["none"]);
    let wide = ["site", "run", text(&folder), "--tcp", "0.0.0.0:0"];
    run(&wide).failed(2, &["other machines can reach", "--tcp-from"]);
    run(&["site", "run", text(&folder), "--allow-user", "nobody-of-this-name"]).failed(2, &["there is no user"]);
    std::fs::write(folder.join("config.toml"), "listn = \"x\"").unwrap();
    run(&["site", "run", text(&folder)]).failed(2, &["config.toml", "listn"]);
}

#[test]
fn names_and_groups_that_are_none_are_refused_before_anything_is_sent() {
    let world = World::running();
    let folder = world.folder(0);
    let long = "g".repeat(32);
    let huge = "g".repeat(100_000);
    for group in ["", "#private#north", &long, &huge] {
        run(&["site", "send", text(&folder), "--group", group, "x"]).failed(2, &["no name for a group"]);
    }
    run(&["site", "send", text(&folder), "--group", "g", "--name", "eleven-char", "x"])
        .failed(2, &["no name for a client"]);
    let mut ana = Running::start(talk(&folder, "listen", &["--group", "g", "--name", "ana", "--json"]));
    ana.event("view");
    run(&["site", "send", text(&folder), "--group", "g", "--name", "ana", "x"])
        .failed(21, &["another client of this site has this name"]);
}
