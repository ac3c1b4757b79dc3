//! What is around a site: its audit, and what it tells over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use super::process::{Running, run, text};
use super::world::World;

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_site_tells_how_it_is_over_http_and_its_audit_who_was_let_in() {
    let mut world = World::new(None);
    let mut command = world.command(0);
    command.args(["--http", "127.0.0.1:0"]);
    let mut site = Running::start(command);
    let http = site.event("listening")["http"].as_str().unwrap().to_owned();
    world.sites[0] = Some(site);
    world.whole(&[0]);
    assert!(get(&http, "/health").starts_with("HTTP/1.0 200") && get(&http, "/ready").starts_with("HTTP/1.0 200"));
    let metrics = get(&http, "/metrics");
    assert!(metrics.contains("\nringfort_site_ring_sites{site=\"north\"} 1\n"), "{metrics}");
    assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
    assert!(get(&http, "/status").contains("\"absent\":[\"south\",\"west\"]"));
    run(&["site", "send", text(&world.folder(0)), "--group", "g", "--name", "ana", "hello"]).succeeded();
    world.stop(0);
    assert!(TcpStream::connect(&http).is_err());

    let file = world.folder(0).join("state/audit.jsonl");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let told = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().zip(1..).all(|(line, seq)| line["seq"] == seq && line["site"] == "north"), "{told}");
    let of =
        |decision: &str| lines.iter().find(|line| line["decision"] == decision).unwrap_or_else(|| panic!("{told}"));
    let user = format!("user {}", rustix::process::geteuid().as_raw());
    assert_eq!((&of("client-in")["client"], &of("client-in")["from"]), (&"#ana#north".into(), &user.as_str().into()));
    assert_eq!(of("client-out")["client"], "#ana#north");
    assert_eq!(of("ring")["absent"], serde_json::json!(["south", "west"]));
    assert!(of("no-link")["why"].as_str().unwrap().contains("nothing answers at its address"), "{told}");
    assert_eq!((&lines[0]["decision"], &lines[lines.len() - 1]["decision"]), (&"started".into(), &"stopping".into()));
}

#[test]
fn an_address_for_http_that_others_reach_has_to_be_meant() {
    let world = World::new(None);
    let mut command = world.command(0);
    command.args(["--http", "0.0.0.0:0"]);
    super::process::finish(command).failed(2, &["http_anywhere = true"]);
}
