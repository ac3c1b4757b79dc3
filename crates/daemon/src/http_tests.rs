#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ringfort_node::leader::Told;

use super::*;
use crate::fixture::{facts, report};
use crate::status;

fn ask(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn served(settings: &str, folder: &Path) -> (Arc<State>, SocketAddr, Serving) {
    let text = format!("[status]\nhttp = \"127.0.0.1:0\"\n{settings}");
    let config = crate::config::Config::parse(&text).unwrap().status;
    let state = Arc::new(State::new(facts()));
    std::fs::create_dir_all(folder.join("state")).unwrap();
    let doors = Doors::open(&config, folder).unwrap();
    let address = doors.http_address().unwrap();
    let serving = doors.serve(&config, state.clone()).unwrap();
    (state, address, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_probes_and_scrapes() {
    let folder = tempfile::tempdir().unwrap();
    let (state, address, serving) = served("http_names = [\"leader-1\"]", folder.path());
    let get = |path: &str| ask(address, &format!("GET {path} HTTP/1.0\r\nHost: localhost"));
    assert!(get("/health").starts_with("HTTP/1.0 503") && get("/ready").contains("does not listen yet"));
    state.take(&Told::Listening("127.0.0.1:1".parse().unwrap()));
    assert!(get("/health").starts_with("HTTP/1.0 200"));
    state.take(&Told::Report(&report(&[(2, true), (3, true)])));
    assert!(get("/ready").starts_with("HTTP/1.0 200"));
    let metrics = get("/metrics");
    assert!(metrics.contains("openmetrics-text") && metrics.contains("ringfort_members{leader=\"1\"} 5"), "{metrics}");
    assert!(get("/../etc/passwd").starts_with("HTTP/1.0 404"));
    assert!(ask(address, "POST /status HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0").starts_with("HTTP/1.0 405"));

    let document = status::ask(folder.path()).unwrap();
    assert_eq!((document.members, document.leader), (5, 1));
    let mode = std::fs::metadata(folder.path().join(SOCKET_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(serving);
    assert!(status::ask(folder.path()).is_err());
    assert!(!folder.path().join(SOCKET_FILE).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_cannot_ask_under_a_name_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (_state, address, _serving) = served("http_names = [\"leader-1\"]", folder.path());
    let status = |host: &str| ask(address, &format!("GET /metrics HTTP/1.0\r\nHost: {host}"))[9..12].to_owned();
    for host in ["127.0.0.1", "127.0.0.1:9740", "[::1]:9740", "[::1]", "localhost:9740", "leader-1:9740"] {
        assert_eq!(status(host), "200", "{host}");
    }
    for host in ["evil.example", "evil.example:9740", "localhost.evil.example", "127.0.0.1.evil.example", ""] {
        assert_eq!(status(host), "421", "{host}");
    }
    assert!(ask(address, "GET /metrics HTTP/1.0").starts_with("HTTP/1.0 421"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_and_end() {
    let folder = tempfile::tempdir().unwrap();
    let (_state, address, _serving) = served("connections_max = 2", folder.path());
    // Two that say nothing take both places, and a third waits for neither.
    let mut silent: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
    let started = Instant::now();
    assert!(ask(address, "GET /metrics HTTP/1.0\r\nHost: localhost").starts_with("HTTP/1.0 200"));
    // The older of the two has made way at once; the other one's time is up later.
    let is_open = |held: &mut TcpStream| {
        held.set_nonblocking(true).unwrap();
        held.read(&mut [0; 16]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    let until_over = |held: &mut TcpStream| {
        held.set_nonblocking(false).unwrap();
        held.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // Closed in order or not: it is over either way.
        let read = held.read(&mut [0; 16]);
        assert!(!read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "it stays open");
    };
    until_over(&mut silent[0]);
    assert!(is_open(&mut silent[1]), "it went {:?} after the first two came", started.elapsed());
    until_over(&mut silent[1]);
    assert!(started.elapsed() > Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_socket_left_behind_makes_way_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("state")).unwrap();
    let path = folder.path().join(SOCKET_FILE);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let config = StatusAt::default();
    assert!(Doors::open(&config, folder.path()).unwrap().socket.is_some());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "kept").unwrap();
    assert!(Doors::open(&config, folder.path()).unwrap().socket.is_none());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
}
