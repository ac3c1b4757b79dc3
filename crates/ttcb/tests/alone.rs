//! One real component, and what this host's processes and strangers on the network do to it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ringfort_kernel::Time;
use ringfort_ttcb::client::{Call, Client, ClientError, Epoch, Function, Index, Reply};
use ringfort_ttcb::core::frame::{Body, ClockWord, RECORDS};
use ringfort_ttcb::core::peers::Peers;
use ringfort_ttcb::core::rules::Rules;
use ringfort_ttcb::files::{read_group, read_secrets};
use ringfort_ttcb::site::{self, Site};

/// Only a hang takes as long.
const CEILING: Duration = Duration::from_secs(60);

struct Host {
    folder: tempfile::TempDir,
    addresses: Vec<SocketAddr>,
    process: Option<Child>,
}

impl Host {
    /// The component `one` of a group of so many; the others are not there.
    fn of(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let addresses: Vec<SocketAddr> = ringfort_loopback::addresses::<2>().unwrap().into_iter().take(count).collect();
        let named: Vec<_> = ["one", "two"].map(str::to_owned).into_iter().zip(addresses.iter().copied()).collect();
        site::init(folder.path(), &named).unwrap();
        Host { folder, addresses, process: None }
    }

    fn at(&self, name: &str, part: &str) -> PathBuf {
        self.folder.path().join(name).join(part)
    }

    fn socket(&self) -> PathBuf {
        self.at("one", "component").join("socket")
    }

    fn start(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfort-ttcb"));
        command.arg("run").arg(self.at("one", "component")).stdout(Stdio::null()).stderr(Stdio::piped());
        self.process = Some(command.spawn().unwrap());
    }

    fn connect(&self) -> Client {
        let site = Site::read(&self.at("one", "site")).unwrap();
        until("a component answers", || Client::connect(&self.socket(), &site.group, &site.key).ok())
    }

    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// What the component says if it cannot start with its socket at this path.
    fn refused(&self, socket: &Path) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfort-ttcb"));
        command.arg("run").arg(self.at("one", "component")).arg("--socket").arg(socket);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let status = until("it ends", || {
            let ended = process.try_wait().unwrap();
            ended.or_else(|| {
                Client::connect(socket, &self.site().group, &self.site().key).ok().and_then(|_| {
                    process.kill().unwrap();
                    process.wait().ok()
                })
            })
        });
        assert_eq!(status.code(), Some(1), "it does not run");
        let mut text = String::new();
        process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn site(&self) -> Site {
        Site::read(&self.at("one", "site")).unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end();
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < CEILING, "{what}: not within {CEILING:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_alarm_is_written_and_counted() {
    let mut host = Host::of(1);
    host.start();
    let (send, lines) = mpsc::channel();
    let output = host.process.as_mut().unwrap().stderr.take().unwrap();
    thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    let mut client = host.connect();
    until("an alarm is raised", || {
        // A busy machine may be late for it, and then says so.
        let now_us = client.status().unwrap().now_us;
        let Ok(Reply::Handle(handle)) =
            client.call(&Call::Execute(Function::Alarm, now_us, now_us + 2_000_000, [0xab; 32]))
        else {
            return None;
        };
        until("its moment comes", || match client.call(&Call::Executed(handle)).unwrap() {
            Reply::Executed(ringfort_ttcb::client::Timing::Pending, ..) => None,
            Reply::Executed(timing, ..) => Some(timing),
            other => panic!("{other:?}"),
        });
        (client.status().unwrap().alarms == 1).then_some(())
    });
    let line = lines.recv_timeout(CEILING).unwrap();
    let user = rustix::process::getuid().as_raw();
    assert!(line.contains("alarm 1: ") && line.contains(&format!("of user {user}, about abab")), "{line}");
}

#[test]
fn what_lies_at_the_socket_s_path_is_left_alone_unless_it_is_a_socket_that_nobody_listens_at() {
    let mut host = Host::of(1);
    let file = host.folder.path().join("precious");
    fs::write(&file, "years of work").unwrap();
    let said = host.refused(&file);
    assert!(said.contains("precious is there and is no socket, so it was left alone"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "years of work");

    let link = host.folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let said = host.refused(&link);
    assert!(said.contains("is no socket") && link.is_symlink() && file.exists(), "{said}");
    let said = host.refused(&host.folder.path().join("nowhere").join("socket"));
    assert!(said.contains("no socket can be made at"), "{said}");

    let used = host.folder.path().join("used");
    let listener = UnixListener::bind(&used).unwrap();
    let said = host.refused(&used);
    assert!(said.contains("a process listens at") && used.exists(), "{said}");
    drop(listener);

    // What a component that was killed leaves behind is in nobody's way.
    host.start();
    drop(host.connect());
    host.end();
    assert!(host.socket().exists());
    host.start();
    drop(host.connect());
    let said = host.refused(&host.folder.path().join("second"));
    assert!(said.contains(&format!("{} cannot be used", host.addresses[0])), "{said}");
}

#[test]
fn a_user_that_asks_too_much_is_told_so_once_a_round_and_no_more_often() {
    let mut host = Host::of(1);
    host.start();
    let mut client = host.connect();
    let begun = Instant::now();
    let (mut served, mut busy) = (0, 0);
    while begun.elapsed() < Duration::from_secs(4) && busy < 2_000 {
        match client.call(&Call::Random) {
            Ok(_) => served += 1,
            Err(ClientError::Busy) => busy += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let rounds = begun.elapsed().as_millis() / 10 + 2;
    assert!(busy > 0 && busy <= rounds, "{served} served, {busy} refused in {rounds} rounds");
}

#[test]
fn a_frame_that_comes_from_elsewhere_counts_for_nothing() {
    let mut host = Host::of(2);
    host.start();
    let mut client = host.connect();
    let group = read_group(&host.at("two", "component").join("group")).unwrap().group;
    let secrets = read_secrets(&host.at("two", "component").join("secrets")).unwrap();
    let [one, two] = [0, 1].map(|place| Index::new(place).unwrap());
    let mut peers = Peers::new(&group, two, &secrets, (Epoch(1), [7; 16]), Rules::default(), Time::ZERO);
    let listed = UdpSocket::bind(host.addresses[1]).unwrap();
    listed.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let elsewhere = UdpSocket::bind((host.addresses[1].ip(), 0)).unwrap();
    let mut speak = |from: &UdpSocket| {
        let mut frame = [0; 2048];
        if let Ok((length, _)) = listed.recv_from(&mut frame) {
            let _ = peers.open(Time::ZERO, &frame[..length]);
        }
        peers.next_round();
        let (echo_epoch, echo_boot, _) = peers.echo_to(one);
        let body = Body { echo_epoch, echo_boot, clock: ClockWord::default(), records: [None; RECORDS] };
        from.send_to(&peers.seal(one, &body).unwrap(), host.addresses[0]).unwrap();
    };
    let before = client.status().unwrap().refused;
    for _ in 0..50 {
        speak(&elsewhere);
    }
    let status =
        until("they were read", || Some(client.status().unwrap()).filter(|status| status.refused > before + 20));
    assert!(!status.heard.has(two), "{status:?}");
    until("the same from where it belongs is heard", || {
        speak(&listed);
        client.status().unwrap().heard.has(two).then_some(())
    });
}
