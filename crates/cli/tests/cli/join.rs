//! `ringfort join`: the page's address, the door behind it, programs, plugins that are skipped, and its end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::process::{Running, finish, ringfort, run, text};
use super::world::{ANA, BEN, World};

/// The head of the answer to a GET.
fn get(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn join_serves_a_page_until_it_is_told_to_end() {
    let world = World::running(4);
    let plugins = world.path("plugins");
    std::fs::create_dir_all(plugins.join("broken")).unwrap();
    let options = ["--json", "--program", "weather", "--plugins", plugins.to_str().unwrap()];
    let mut agent = Running::start(world.member("join", ANA, &options));
    assert_eq!(agent.event("skipped_plugin")["folder"], "broken");
    let program = agent.event("program");
    assert_eq!(program["topic"], "weather");
    assert!(program["url"].as_str().unwrap().starts_with("ws://127.0.0.1:"));
    let page = agent.event("page");
    let url = page["url"].as_str().unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    assert!(get(url).starts_with("HTTP/1.1 303 "), "the token opens");
    let (place, _) = url.split_once('?').unwrap();
    assert!(get(place).starts_with("HTTP/1.1 403 "), "without it, nothing does");
    assert_eq!(agent.event("joined")["user"], ANA.0);
    world.send(BEN, &["hello"]).succeeded();
    assert_eq!(agent.terminate(), 0);
}

/// What a program is started with can be read by every user of the machine.
#[test]
fn no_secret_stands_on_the_command_line_of_the_browser() {
    let world = World::running(4);
    let (programs, private) = (world.path("bin"), world.path("run"));
    let told = programs.join("told");
    for folder in [&programs, &private] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let script = format!("#!/bin/sh\nprintf %s \"$*\" > '{0}.new' && mv '{0}.new' '{0}'\n", told.display());
    for name in ["xdg-open", "open"] {
        std::fs::write(programs.join(name), &script).unwrap();
        std::fs::set_permissions(programs.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = world.member("join", ANA, &["--json", "--open"]);
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env("XDG_RUNTIME_DIR", &private);
    let mut agent = Running::start(command);
    agent.event("joined");
    let until = Instant::now() + Duration::from_secs(20);
    while !told.exists() {
        assert!(Instant::now() < until, "no browser is started");
        std::thread::sleep(Duration::from_millis(20));
    }
    let argument = std::fs::read_to_string(&told).unwrap();
    assert!(!argument.contains("token") && !argument.contains("http:"), "{argument}");
    let file = Path::new(&argument);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let lead = std::fs::read_to_string(file).unwrap();
    let url = lead.split_once("url=").unwrap().1.split_once('"').unwrap().0.replace("&amp;", "&");
    let first = get(&url);
    assert!(first.starts_with("HTTP/1.1 200 ") && first.contains("ringfort="), "{first}");
    assert!(get(&url).starts_with("HTTP/1.1 403 "), "it opens once");
    assert_eq!(agent.terminate(), 0);
    assert!(!file.exists());
}

#[test]
fn without_a_secret_the_page_asks_and_the_terminal_does_not() {
    let world = World::running(4);
    let mut command = world.member("join", ANA, &["--json"]);
    command.env_remove("RINGFORT_PASSWORD");
    let mut agent = Running::start(command);
    let page = agent.event("page");
    assert!(get(page["url"].as_str().unwrap()).starts_with("HTTP/1.1 303 "));
    assert_eq!(agent.terminate(), 0);
    let group = world.group();
    let nameless = Running::start(ringfort(&["join", group.to_str().unwrap(), "--json"])).event("page");
    assert!(nameless["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let mut without = ringfort(&["join", group.to_str().unwrap()]);
    without.env("RINGFORT_PASSWORD", "of nobody");
    finish(without).failed(2, &["--user"]);
    assert_eq!(finish(ringfort(&["join", group.to_str().unwrap(), "--no-web"])).status, 2);
}

#[test]
fn join_says_what_keeps_it_out() {
    let world = World::running(4);
    finish(world.member("join", (ANA.0, "wrong password"), &[])).failed(20, &["do not accept this name and password"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let busy = finish(world.member("join", ANA, &["--port", &port]));
    assert_eq!((busy.status, busy.err.contains(&port)), (15, true), "{busy:?}");
    finish(world.member("join", ANA, &["--program", "no topic"])).failed(2, &["no topic"]);
}

/// The lid is closed for longer than leaders wait, and opened again.
#[test]
fn who_slept_too_long_joins_again_by_itself() {
    let world = World::running(4);
    let mut ben = world.listen(BEN, &[]);
    let mut agent = Running::start(world.member("join", ANA, &["--json"]));
    agent.event("joined");
    ben.next("Ana", |line| line["event"] == "view" && line["joined"][0] == "ana");
    agent.signal(rustix::process::Signal::STOP);
    let went = ben.next("Ana's end", |line| line["event"] == "view" && line["left"][0]["user"] == "ana");
    assert_eq!(went["left"][0]["cause"], "lost");
    agent.signal(rustix::process::Signal::CONT);
    assert_eq!(agent.event("ended")["how"], "lost");
    assert_eq!(agent.event("joined")["user"], ANA.0);
    ben.next("Ana again", |line| line["event"] == "view" && line["joined"][0] == "ana");
}

/// Nobody who was put out, or who left, comes back by itself.
#[test]
fn who_was_expelled_does_not_join_again_by_itself() {
    let world = World::running(4);
    let mut agent = Running::start(world.member("join", ANA, &["--json"]));
    agent.event("joined");
    for number in [1, 2] {
        run(&["expel", text(&world.leader_folder(number)), ANA.0]).succeeded();
    }
    assert_eq!(agent.event("ended")["how"], "expelled");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(agent.poll("joined").is_none());
}
