//! Four real components on loopback: one is stopped, one is killed and started again.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use ringfort_ttcb::client::{Client, ClientError, Decision, Index, Mask, Refusal, Verdict, signed};
use ringfort_ttcb::site::{self, Site};
use rustix::process::{Pid, Signal, kill_process};

/// Only a hang takes as long.
const CEILING: Duration = Duration::from_secs(90);
const NAMES: [&str; 4] = ["north", "east", "south", "west"];
/// Four processes at 100 rounds a second are enough for one machine at a time.
static ONE: Mutex<()> = Mutex::new(());

struct Hosts {
    folder: tempfile::TempDir,
    processes: [Option<Child>; 4],
    _one: MutexGuard<'static, ()>,
}

impl Hosts {
    fn start() -> Self {
        let one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let folder = tempfile::tempdir().unwrap();
        let addresses = ringfort_loopback::addresses::<4>().unwrap();
        let named: Vec<_> = NAMES.iter().map(|name| (*name).to_owned()).zip(addresses).collect();
        site::init(folder.path(), &named).unwrap();
        let mut hosts = Hosts { folder, processes: [const { None }; 4], _one: one };
        (0..4).for_each(|place| hosts.run(place));
        hosts
    }

    fn run(&mut self, place: usize) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfort-ttcb"));
        command.arg("run").arg(self.at(place, "component")).stdout(Stdio::null());
        self.processes[place] = Some(command.spawn().unwrap());
    }

    fn at(&self, place: usize, part: &str) -> PathBuf {
        self.folder.path().join(NAMES[place]).join(part)
    }

    fn site(&self, place: usize) -> Site {
        Site::read(&self.at(place, "site")).unwrap()
    }

    fn socket(&self, place: usize) -> PathBuf {
        self.at(place, "component").join("socket")
    }

    fn connect(&self, place: usize) -> Client {
        let site = self.site(place);
        until("a component answers", || Client::connect(&self.socket(place), &site.group, &site.key).ok())
    }

    /// Until each of these hears all of them and can tell the time.
    fn ready(&self, places: &[usize]) -> Vec<Client> {
        let all: Mask = places.iter().filter_map(|place| Index::new(*place)).collect();
        let mut clients: Vec<Client> = places.iter().map(|place| self.connect(*place)).collect();
        for client in &mut clients {
            until("all are heard", || {
                let status = client.status().unwrap();
                (status.heard == all && status.timely && status.error_us.is_some()).then_some(())
            });
        }
        clients
    }

    fn signal(&self, place: usize, signal: Signal) {
        let child = self.processes[place].as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    fn kill(&mut self, place: usize) {
        let mut child = self.processes[place].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
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

/// All propose in one agreement: the tag of each. Tried again if the machine was too slow to propose before the start.
fn propose(hosts: &Hosts, clients: &mut [Client], name: u64, blocks: &[[u8; 32]]) -> Vec<[u8; 16]> {
    let keys = hosts.site(0).entities;
    until("all have proposed before the start", || {
        let start_us = clients[0].status().unwrap().now_us + 400_000;
        let terms = clients[0].terms(Decision::Equality, start_us, name, &keys).unwrap();
        let tags = clients.iter_mut().zip(blocks).map(|(client, block)| client.propose(&terms, *block));
        match tags.collect::<Result<Vec<_>, _>>() {
            Ok(tags) => Some(tags),
            Err(ClientError::Refused(Refusal::TooLate | Refusal::Full | Refusal::NotSynchronised)) => None,
            Err(error) => panic!("{error}"),
        }
    })
}

/// The result, in time or late.
fn result(client: &mut Client, tag: [u8; 16]) -> (Verdict, [u8; 64]) {
    until("it is decided", || match client.decide(tag) {
        Ok(decided) => decided,
        Err(ClientError::TimingFailure) => None,
        Err(error) => panic!("{error}"),
    })
}

fn same(verdict: &Verdict) -> Verdict {
    Verdict { late: false, latency_us: 0, ..*verdict }
}

#[test]
fn decisions_are_equal_though_one_component_is_stopped_and_another_is_killed_and_started_again() {
    let mut hosts = Hosts::start();
    let mut clients = hosts.ready(&[0, 1, 2, 3]);
    let (good, bad) = (site::block(7, b"view"), site::block(7, b"another view"));

    let tags = propose(&hosts, &mut clients, 1, &[good, good, bad, good]);
    assert!(tags.iter().all(|tag| *tag == tags[0]));
    let results: Vec<_> = clients.iter_mut().map(|client| result(client, tags[0])).collect();
    for (client, (verdict, signature)) in clients.iter().zip(&results) {
        assert_eq!(same(verdict), same(&results[0].0));
        let group = hosts.site(0).group;
        let words = signed::verdict(&group, client.me(), client.entity().epoch, verdict);
        assert_eq!(words.verify(signature), Ok(()), "a stranger with the group's file can check it");
    }
    let verdict = results[0].0;
    assert_eq!((verdict.block, verdict.silent), (Some(good), Mask::EMPTY));
    assert_eq!(verdict.deviant.iter().map(Index::place).collect::<Vec<_>>(), [2]);

    // One proposes nothing: the others wait for the start.
    let tags = propose(&hosts, &mut clients[..3], 5, &[good; 3]);
    for client in &mut clients {
        let (verdict, _) = result(client, tags[0]);
        assert_eq!(verdict.silent.iter().map(Index::place).collect::<Vec<_>>(), [3]);
        assert!(verdict.latency_us >= 20_000, "nothing is fixed before three rounds have passed: {verdict:?}");
        println!("{}: {} us after the start, late: {}", NAMES[client.me().place()], verdict.latency_us, verdict.late);
    }

    // One is stopped before the start and wakes after the deadline. Two propose, so nothing is fixed before the start.
    let tag = propose(&hosts, &mut clients[..2], 2, &[good; 2])[0];
    hosts.signal(2, Signal::STOP);
    let awake = result(&mut clients[0], tag).0;
    thread::sleep(Duration::from_millis(600));
    hosts.signal(2, Signal::CONT);
    let late = until("the one that was stopped learns of the result", || match clients[2].decide(tag) {
        Ok(Some((verdict, _))) => Some(Some(verdict)),
        Ok(None) => panic!("what is past its deadline is not pending"),
        Err(ClientError::TimingFailure) => None,
        // The machine was so slow that it is over.
        Err(ClientError::Refused(Refusal::Unknown)) => Some(None),
        Err(error) => panic!("{error}"),
    });
    if let Some(late) = late {
        assert!(late.late, "it learned of it after the deadline: {late:?}");
        assert_eq!(same(&late), same(&awake), "late, and the same");
    }
    let woken = until("it has noticed", || Some(clients[2].status().unwrap()).filter(|status| status.gaps > 0));
    assert!(woken.gap_us_max > 500_000, "it knows for how long: {woken:?}");

    // One is killed with its proposal made, and comes back with another epoch.
    let tags = propose(&hosts, &mut clients, 3, &[good; 4]);
    hosts.kill(1);
    let results: Vec<Verdict> = [0, 2, 3].map(|place| result(&mut clients[place], tags[0]).0).to_vec();
    assert!(results.iter().all(|verdict| same(verdict) == same(&results[0])));
    assert!(matches!(clients[1].status(), Err(ClientError::Unreachable(_))));
    let old = clients[1].entity().epoch;
    hosts.run(1);
    let mut clients = hosts.ready(&[0, 1, 2, 3]);
    assert!(clients[1].entity().epoch > old);
    assert!(
        matches!(clients[1].decide(tags[0]), Err(ClientError::Refused(Refusal::Unknown))),
        "what it knew died with it"
    );
    let tags = propose(&hosts, &mut clients, 4, &[good; 4]);
    let results: Vec<Verdict> = clients.iter_mut().map(|client| result(client, tags[0]).0).collect();
    assert!(results.iter().all(|verdict| same(verdict) == same(&results[0])));
}

#[test]
#[cfg(target_os = "linux")]
fn the_process_has_nothing_that_it_does_not_need() {
    let hosts = Hosts::start();
    drop(hosts.ready(&[0, 1, 2, 3]));
    let process = PathBuf::from("/proc").join(hosts.processes[0].as_ref().unwrap().id().to_string());
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap().to_owned();
    assert_eq!((of("Seccomp:").as_str(), of("NoNewPrivs:").as_str(), of("Threads:").as_str()), ("2", "1", "1"));
    let open = std::fs::read_dir(process.join("fd")).unwrap().count();
    assert!(open <= 8, "{open} files and sockets");
}

#[test]
fn a_majority_that_is_stopped_leaves_the_rest_with_a_timing_failure_and_no_guess() {
    let hosts = Hosts::start();
    let mut clients = hosts.ready(&[0, 1, 2, 3]);
    let tags = propose(&hosts, &mut clients, 1, &[[1; 32]; 4]);
    assert!(result(&mut clients[0], tags[0]).0.block.is_some());
    // Who relays another host's socket is an entity of that host, and not the one that is listed.
    let (site, keys) = (hosts.site(0), hosts.site(0).entities);
    let mut relayed = Client::connect(&hosts.socket(1), &site.group, &site.key).unwrap();
    assert_eq!(relayed.me().place(), 1);
    let start_us = relayed.status().unwrap().now_us + 2_000_000;
    let terms = relayed.terms(Decision::Equality, start_us, 3, &keys).unwrap();
    assert!(matches!(relayed.propose(&terms, [3; 32]), Err(ClientError::Refused(Refusal::NotListed))));

    // One proposes, so nothing is fixed before the start, and then there is no majority.
    let start_us = clients[0].status().unwrap().now_us + 3_500_000;
    let terms = clients[0].terms(Decision::Equality, start_us, 2, &keys).unwrap();
    let tag = clients[0].propose(&terms, [2; 32]).unwrap();
    [1, 2].into_iter().for_each(|place| hosts.signal(place, Signal::STOP));
    until("it notices", || (!clients[0].status().unwrap().timely).then_some(()));
    assert!(matches!(clients[0].wait(tag), Err(ClientError::TimingFailure)));
    [1, 2].into_iter().for_each(|place| hosts.signal(place, Signal::CONT));
    hosts.ready(&[0, 1, 2, 3]);
}

#[test]
fn entities_authenticate_each_other_and_share_a_key_for_each_pair() {
    let hosts = Hosts::start();
    let mut clients = hosts.ready(&[0, 1, 2, 3]);
    let keys = hosts.site(0).entities;
    let mut name = 0;
    let shared = until("all have authenticated", || {
        name += 1;
        let start_us = clients[0].status().unwrap().now_us + 600_000;
        let all = thread::scope(|scope| {
            let keys = &keys;
            let running: Vec<_> = clients
                .iter_mut()
                .map(|client| scope.spawn(move || client.authenticate(start_us, name, keys)))
                .collect();
            running.into_iter().map(|one| one.join().unwrap().ok()).collect::<Option<Vec<_>>>()
        });
        thread::sleep(Duration::from_millis(200));
        all
    });
    for (one, keys) in shared.iter().enumerate() {
        assert_eq!(keys.len(), 3);
        for (other, key) in keys {
            let back = shared[other.place()].iter().find(|(index, _)| index.place() == one).unwrap();
            assert!(*key == back.1, "{one} and {other:?} have one key");
        }
    }
}

#[test]
fn the_command_compares_data_and_names_the_site_that_deviates() {
    let hosts = Hosts::start();
    drop(hosts.ready(&[0, 1, 2, 3]));
    let compare = |place: usize, data: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfort-ttcb"));
        let (site, socket): (&Path, &Path) = (&hosts.at(place, "site"), &hosts.socket(place));
        command.arg("compare").args([site, socket]).args(["7", data, "--times", "6"]);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<Child> =
        ["a", "a", "forged", "a"].iter().enumerate().map(|(place, data)| compare(place, data)).collect();
    let outputs: Vec<_> = running.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let texts: Vec<String> = outputs.iter().map(|output| String::from_utf8(output.stdout.clone()).unwrap()).collect();
    for text in [&texts[0], &texts[1], &texts[3]] {
        assert!(text.contains("equal: north east west; deviant: south; elsewhere: -; silent: -"), "{texts:?}");
        assert!(!text.contains("deviant: north") && !text.contains("deviant: east"), "{text}");
    }
    assert_eq!(outputs[0].status.code(), Some(3));

    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfort-ttcb"));
    command.arg("status").args([hosts.at(0, "site"), hosts.socket(0)]);
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(text.contains("component: north, start 1") && text.contains("hears: north east south west"), "{text}");
}
