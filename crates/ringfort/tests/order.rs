//! The ordering service on real links, with real journals: leaders that stop, lose their disks, and rest.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{next_message, quick_policy, wait_members};
use ringfort::protocol::{GroupInfo, Policy, Rules};
use ringfort::{Credentials, Group, JoinOptions};
use ringfort_agreement::readings::messages_of;
use ringfort_agreement::sequence::Entry;
use ringfort_documents::{NewSecret, NewUser};
use ringfort_node::folder::{InitOptions, LeaderFolder, init};
use ringfort_node::leader::{LeaderOptions, Told, run_leader_ordering};
use ringfort_node::order::{Figures, Machine, Ordering, Submitter};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Keeps the messages of the log in order; its state is all of them.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Vec<u8>>>>);

impl Machine for Recorder {
    fn on_entry(&mut self, entry: &Entry) {
        self.0.lock().unwrap().extend(messages_of(entry).map(|(_, message)| message.to_vec()));
    }

    fn state(&mut self) -> Vec<u8> {
        let mut state = Vec::new();
        for message in self.0.lock().unwrap().iter() {
            state.extend_from_slice(&u32::try_from(message.len()).unwrap().to_le_bytes());
            state.extend_from_slice(message);
        }
        state
    }

    fn install(&mut self, _index: u64, state: Vec<u8>) {
        let (mut messages, mut rest) = (Vec::new(), &state[..]);
        while let Some((length, after)) = rest.split_first_chunk() {
            let (message, after) = after.split_at(usize::try_from(u32::from_le_bytes(*length)).unwrap());
            messages.push(message.to_vec());
            rest = after;
        }
        *self.0.lock().unwrap() = messages;
    }
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    log: Recorder,
    submitter: Submitter,
    figures: Arc<Mutex<Figures>>,
}

struct World {
    info: Arc<GroupInfo>,
    folders: Vec<PathBuf>,
    running: BTreeMap<usize, Running>,
    _dir: tempfile::TempDir,
}

impl World {
    async fn start() -> World {
        let dir = tempfile::tempdir().unwrap();
        let held: Vec<_> = (0..4).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses = held.iter().map(|l| l.local_addr().unwrap().to_string()).collect();
        drop(held);
        let user = |name: &str| NewUser {
            name: name.parse().unwrap(),
            secret: NewSecret::Password(format!("{name}'s password").into()),
        };
        let options = InitOptions {
            name: "test".into(),
            rules: Rules::new(4, 1, 2).unwrap(),
            addresses,
            policy: Policy { order: true, ..quick_policy() },
            users: vec![user("ana"), user("ben")],
        };
        let summary = init(&dir.path().join("group"), options).unwrap();
        let mut world = World { info: summary.group, folders: summary.folders, running: BTreeMap::new(), _dir: dir };
        for number in 1..=4 {
            world.run(number).await;
        }
        world
    }

    async fn run(&mut self, number: usize) {
        let folder = LeaderFolder::open(&self.folders[number - 1]).unwrap();
        let (log, figures) = (Recorder::default(), Arc::new(Mutex::new(Figures::default())));
        let (give, given) = oneshot::channel();
        let machine = Box::new(log.clone());
        let mut ordering = Ordering::with(move |submitter| {
            drop(give.send(submitter));
            machine
        });
        // Many checkpoints, so that who was away finds blocks gone.
        ordering.config = Box::new(|config| config.checkpoint_slots = 16);
        let (stop, stopped) = oneshot::channel::<()>();
        let told = figures.clone();
        let task = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            let observe = move |what: &Told<'_>| {
                if let Told::Report(report) = what {
                    *told.lock().unwrap() = report.order.unwrap();
                }
            };
            let options = LeaderOptions { report_period: Duration::from_millis(50), ..LeaderOptions::default() };
            run_leader_ordering(folder, options, ordering, observe, shutdown).await.unwrap();
        });
        let submitter = given.await.unwrap();
        self.running.insert(number, Running { stop, task, log, submitter, figures });
    }

    async fn stop(&mut self, number: usize) {
        let running = self.running.remove(&number).unwrap();
        drop(running.stop);
        running.task.await.unwrap();
    }

    fn journal(&self, number: usize) -> PathBuf {
        self.folders[number - 1].join("state/order")
    }

    fn submit(&self, number: usize, from: usize, to: usize) {
        let messages = (from..to).map(|count| format!("{number}: {count}").into_bytes()).collect();
        assert!(self.running[&number].submitter.submit(messages).is_empty());
    }

    fn log(&self, number: usize) -> Vec<Vec<u8>> {
        self.running[&number].log.0.lock().unwrap().clone()
    }

    fn figures(&self, number: usize) -> Figures {
        *self.running[&number].figures.lock().unwrap()
    }

    /// Waits until every running leader has so many messages, and checks that all have them in one order, each once.
    async fn agree_on(&self, messages: usize) -> Vec<Vec<u8>> {
        let all_there = async {
            while !self.running.keys().all(|number| self.log(*number).len() >= messages) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let lengths = || self.running.keys().map(|number| (*number, self.log(*number).len())).collect::<Vec<_>>();
        let waited = tokio::time::timeout(Duration::from_secs(30), all_there).await;
        waited.unwrap_or_else(|_| panic!("{messages} messages did not come: {:?}", lengths()));
        let logs: Vec<_> = self.running.keys().map(|number| self.log(*number)).collect();
        assert!(logs.iter().all(|log| *log == logs[0]), "leaders have different logs");
        let mut each: Vec<_> = logs[0].clone();
        each.sort();
        each.dedup();
        assert_eq!(each.len(), messages, "each message once, and none that was not submitted");
        logs[0].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_all_leaders_submit_is_in_one_order_everywhere_and_the_led_group_goes_on_beside_it() {
    let world = World::start().await;
    let join = async |user: &str| {
        let credentials = Credentials::password(user, format!("{user}'s password")).unwrap();
        Group::join_with(world.info.clone(), credentials, JoinOptions::default()).await.unwrap()
    };
    let ((ana, _), (ben, mut to_ben)) = tokio::join!(join("ana"), join("ben"));
    wait_members(&ana, &["ana", "ben"]).await;
    wait_members(&ben, &["ana", "ben"]).await;
    for number in 1..=4 {
        world.submit(number, 0, 50);
    }
    ana.multicast("chat", b"hello").await.unwrap();
    assert_eq!(next_message(&mut to_ben).await.payload, &b"hello"[..]);
    let log = world.agree_on(200).await;
    for number in 1..=4 {
        let of = format!("{number}: ");
        let own: Vec<_> = log.iter().filter(|message| message.starts_with(of.as_bytes())).collect();
        let expected: Vec<_> = (0..50).map(|count| format!("{of}{count}").into_bytes()).collect();
        assert!(own.into_iter().eq(&expected), "one leader's messages keep their order");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!((1..=4).all(|number| world.figures(number).faults == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_stopped_comes_back_to_the_same_log_by_blocks_or_by_a_state() {
    let mut world = World::start().await;
    world.submit(1, 0, 20);
    world.submit(4, 0, 20);
    world.agree_on(40).await;
    world.stop(4).await;
    // One after the other: so many committed blocks that the others let go of what leader 4 has not seen.
    for count in 20..120 {
        world.submit(1, count, count + 1);
        while world.log(2).len() < count + 21 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    world.agree_on(140).await;
    world.run(4).await;
    world.submit(4, 20, 40);
    world.agree_on(160).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_whose_journals_are_lost_one_after_the_other_contradict_nothing() {
    let mut world = World::start().await;
    let mut sum = 0;
    for number in 1..=4 {
        for each in 1..=4 {
            world.submit(each, number * 100, number * 100 + 30);
            sum += 30;
        }
        world.agree_on(sum).await;
        world.stop(number).await;
        std::fs::remove_dir_all(world.journal(number)).unwrap();
        let other = number % 4 + 1;
        world.submit(other, number * 100 + 50, number * 100 + 60);
        sum += 10;
        world.run(number).await;
        world.agree_on(sum).await;
    }
    let convicted = |number: usize| world.figures(number).faults;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((1..=4).map(convicted).collect::<Vec<_>>(), [0; 4], "nobody signed two blocks for one round");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_has_nothing_to_order_makes_no_block_and_writes_nothing() {
    let world = World::start().await;
    world.submit(2, 0, 10);
    world.agree_on(10).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before: Vec<_> = (1..=4).map(|number| world.figures(number)).collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (number, before) in (1..=4).zip(before) {
        let now = world.figures(number);
        assert_eq!((now.round, now.syncs), (before.round, before.syncs), "leader {number} works for nothing");
        assert!(now.frames_in - before.frames_in <= 12, "leader {number}: {before:?}, then {now:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_cannot_order_takes_a_bounded_number_of_messages_and_keeps_those() {
    let mut world = World::start().await;
    for number in [2, 3, 4] {
        world.stop(number).await;
    }
    let message = vec![7; 255 * 1024];
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..200 {
        match world.running[&1].submitter.submit(vec![message.clone()]).is_empty() {
            true => taken += 1,
            false => refused += 1,
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(refused > 0 && taken <= 60, "{taken} messages taken, {} MiB", taken / 4);
    for number in [2, 3] {
        world.run(number).await;
    }
    let in_the_log = async {
        while world.log(1).len() < taken {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), in_the_log).await.expect("what was taken is ordered");
}
