//! A whole group on loopback: real leaders, real links, real stores.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringfort::protocol::{GroupInfo, Policy, Rules};
use ringfort::{Credentials, Event, Events, Group, JoinError, JoinOptions, Message};
use ringfort_documents::{NewSecret, NewUser};
use ringfort_node::folder::{InitOptions, LeaderFolder, init};
use ringfort_node::leader::{LeaderOptions, run_leader};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// After so long what is waited for will not come. It is no measure of pace: machines are busy.
pub const DEADLINE: Duration = Duration::from_secs(120);

pub struct World {
    pub info: Arc<GroupInfo>,
    pub folders: Vec<PathBuf>,
    running: BTreeMap<usize, (oneshot::Sender<()>, JoinHandle<()>)>,
    _dir: tempfile::TempDir,
}

/// Short periods, and a password that costs nothing to harden.
pub fn quick_policy() -> Policy {
    Policy {
        heartbeat_ms: 200,
        confirm_within_ms: 1_000,
        remove_silent_after_ms: 5_000,
        overlap_ms: 2_000,
        argon2_memory_kib: 64,
        argon2_passes: 1,
        ..Policy::default()
    }
}

impl World {
    pub async fn start(users: &[&str], policy: Policy) -> World {
        let dir = tempfile::tempdir().unwrap();
        let addresses = ringfort_loopback::addresses::<4>().unwrap().map(|at| at.to_string()).into();
        let users = users
            .iter()
            .map(|name| NewUser {
                name: name.parse().unwrap(),
                secret: NewSecret::Password(format!("{name}'s password").into()),
            })
            .collect();
        let options =
            InitOptions { name: "test".into(), rules: Rules::new(4, 1, 2).unwrap(), addresses, policy, users };
        let summary = init(&dir.path().join("group"), options).unwrap();
        let mut world = World { info: summary.group, folders: summary.folders, running: BTreeMap::new(), _dir: dir };
        for leader in 1..=4 {
            world.run(leader).await;
        }
        world
    }

    /// Starts leader `number`, from 1.
    pub async fn run(&mut self, number: usize) {
        self.run_with(number, LeaderOptions::default()).await;
    }

    pub async fn run_with(&mut self, number: usize, options: LeaderOptions) {
        let folder = LeaderFolder::open(&self.folders[number - 1]).unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            run_leader(folder, options, |_| {}, shutdown).await.unwrap();
        });
        self.running.insert(number, (stop, task));
    }

    /// Stops leader `number` and waits until it is gone.
    pub async fn stop(&mut self, number: usize) {
        let (stop, task) = self.running.remove(&number).unwrap();
        drop(stop);
        task.await.unwrap();
    }

    pub async fn join(&self, user: &str) -> (Group, Events) {
        self.try_join(user, &format!("{user}'s password"), DEADLINE).await.unwrap()
    }

    pub async fn try_join(&self, user: &str, password: &str, timeout: Duration) -> Result<(Group, Events), JoinError> {
        let options = JoinOptions { timeout, ..JoinOptions::default() };
        Group::join_with(self.info.clone(), Credentials::password(user, password)?, options).await
    }
}

/// Waits until `pick` accepts an event.
pub async fn wait_for<T>(events: &mut Events, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    let search = async {
        loop {
            let event = events.next().await.unwrap_or_else(|| panic!("the stay ended while waiting for {what}"));
            if let Some(found) = pick(event) {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, search).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

pub async fn next_message(events: &mut Events) -> Message {
    wait_for(events, "message", |event| match event {
        Event::Message(message) => Some(message),
        Event::Gap { .. } | Event::Lagged(_) => panic!("lost a message: {event:?}"),
        _ => None,
    })
    .await
}

/// Waits until a group's view has exactly these members.
pub async fn wait_members(group: &Group, members: &[&str]) {
    let check = async {
        while group.members().iter().map(|m| m.as_str()).ne(members.iter().copied()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, check).await;
    waited.unwrap_or_else(|_| panic!("{} sees {:?}, not {members:?}", group.user(), group.members()));
}

/// Waits until every leader confirms the member's view.
pub async fn wait_heard(group: &Group) {
    let check = async {
        while !group.snapshot().leaders.iter().all(|leader| leader.confirms) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, check).await;
    waited.unwrap_or_else(|_| panic!("{} does not hear all leaders: {:?}", group.user(), group.snapshot().leaders));
}
