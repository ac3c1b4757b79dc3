//! Certificates, roles and rules of a peer file, with real processes.

use std::time::Duration;

use super::process::{Running, run, text};
use super::secure::{command, prepare, secure};
use super::world::World;

const DAY_S: u64 = 24 * 3600;

#[test]
fn a_certificate_lets_somebody_in_while_an_officer_is_there_and_until_it_is_revoked() {
    let world = World::running();
    let key = |name: &str| {
        let file = world.path(&format!("{name}.key"));
        run(&["peer", "key", text(&file)]).succeeded().trim().to_owned()
    };
    let (plant, eve) = (key("plant"), key("eve"));
    prepare(&world, "tgdh", &[&format!("--authority=plant={plant}")]);
    let peer = world.path("peer.toml");
    let file = std::fs::read_to_string(&peer).unwrap();
    let rule = "\n[[rule]]\nrole = \"observer\"\nonly_while = \"officer\"\n";
    let file = file.replace("name = \"ben\"\n", "name = \"ben\"\nrole = \"officer\"\n") + rule;
    std::fs::write(&peer, &file).unwrap();
    let (out, own) = (world.path("eve.certificate"), world.path("plant.key"));
    let member = format!("eve={eve}");
    let certify = |key: &str| {
        let args = ["peer", "certify", text(&peer), "--authority-key", key, "--member", &member, "--role", "observer"];
        run(&[&args[..], &["--out", text(&out), "--json"]].concat())
    };
    certify(text(&world.path("ana.key"))).failed(20, &["no authority of this peer file"]);
    let id = certify(text(&own)).json()["id"].as_str().unwrap().to_owned();
    let shown = run(&["peer", "status", text(&peer)]).succeeded();
    assert!(shown.contains("Admitted: ana, ben, cy, whom plant certifies."), "{shown}");
    // Alone with ana she waits; with an officer she is in, and out again with the officer's leaving.
    let mut ana = Running::start(command(&world, "listen", 0, "ana", &[]));
    secure(&mut ana, &["ana"]);
    let mut eve = Running::start(command(&world, "listen", 1, "eve", &["--certificate", text(&out)]));
    eve.next("to wait", |line| line["event"] == "out" && line["why"] == "not_now");
    let mut ben = Running::start(command(&world, "listen", 2, "ben", &[]));
    let three = ["ana", "ben", "eve (by plant)"];
    let tag = secure(&mut ana, &three);
    assert_eq!((secure(&mut ben, &three), secure(&mut eve, &three)), (tag.clone(), tag));
    assert_eq!(ben.terminate(), 0);
    secure(&mut ana, &["ana"]);
    eve.next("to wait again", |line| line["event"] == "out" && line["why"] == "not_now");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(eve.terminate(), 0, "whoever waits can leave");
    ana.terminate();
    // Revoked in the file, altered, or another's: one sentence each.
    let listen =
        |user: &str| super::process::finish(command(&world, "listen", 1, user, &["--certificate", text(&out)]));
    let revoked = file.replace("name = \"plant\"", &format!("name = \"plant\"\nrevoked = [\"{id}\"]"));
    std::fs::write(&peer, revoked).unwrap();
    listen("eve").failed(20, &["revokes this certificate"]);
    std::fs::write(&peer, &file).unwrap();
    listen("plant").failed(20, &["not for this key and group"]);
    let whole = std::fs::read_to_string(&out).unwrap();
    std::fs::write(&out, whole.replace("observer", "officer")).unwrap();
    listen("eve").failed(20, &["no authority of the peer file has signed it"]);
    std::fs::write(&out, "key = 7").unwrap();
    listen("eve").failed(10, &["is no certificate"]);
    // One that is over, as an authority would have made it some time ago.
    let (authority, public) = (
        ringfort_documents::read_user_key(&own).unwrap(),
        ringfort_documents::read_user_key(&world.path("eve.key")).unwrap(),
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let old = ringfort_peer_keys::Certificate {
        group: "talk".to_owned(),
        user: "eve".to_owned(),
        role: String::new(),
        key: public.verifying_key().to_bytes(),
        from_unix_s: now - 3 * DAY_S,
        until_unix_s: now - DAY_S,
        authority: [0; 32],
        signature: [0; 64],
    };
    let old = ringfort_peer_keys::Certificate::issue(&authority, old);
    std::fs::remove_file(&out).unwrap();
    ringfort_site::secure::file::certificate::write(&out, &old).unwrap();
    listen("eve").failed(20, &["the certificate has expired"]);
}
