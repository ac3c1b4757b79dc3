//! A whole group on loopback, agents in it, and clients of their sockets.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

pub mod client;
pub mod screen;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringfort::protocol::{GroupInfo, Policy, Rules};
use ringfort::{Credentials, Events, Group, JoinOptions};
use ringfort_agent::{Agent, FilesOptions, Options};
use ringfort_documents::{NewSecret, NewUser};
use ringfort_node::folder::{InitOptions, LeaderFolder, init};
use ringfort_node::leader::{LeaderOptions, run_leader};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// After so long what is waited for will not come. It is no measure of pace: machines are busy.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Four leaders.
pub struct World {
    info: Arc<GroupInfo>,
    folders: Vec<PathBuf>,
    running: BTreeMap<usize, (oneshot::Sender<()>, JoinHandle<()>)>,
    dir: tempfile::TempDir,
}

impl World {
    pub async fn start(users: &[&str]) -> World {
        World::start_with(users, |_| {}).await
    }

    /// With another policy.
    pub async fn start_with(users: &[&str], change: impl FnOnce(&mut Policy)) -> World {
        let mut policy = Policy {
            heartbeat_ms: 200,
            confirm_within_ms: 1_000,
            remove_silent_after_ms: 5_000,
            overlap_ms: 2_000,
            argon2_memory_kib: 64,
            argon2_passes: 1,
            ..Policy::default()
        };
        change(&mut policy);
        let dir = tempfile::tempdir().unwrap();
        let addresses = ringfort_loopback::addresses::<4>().unwrap().map(|at| at.to_string()).into();
        let secret = |name: &str| NewSecret::Password(format!("{name}'s password").into());
        let users = users.iter().map(|name| NewUser { name: name.parse().unwrap(), secret: secret(name) }).collect();
        let options =
            InitOptions { name: "garden".into(), rules: Rules::new(4, 1, 2).unwrap(), addresses, policy, users };
        let summary = init(&dir.path().join("group"), options).unwrap();
        let mut world = World { info: summary.group, folders: summary.folders, running: BTreeMap::new(), dir };
        for leader in 1..=4 {
            world.run(leader).await;
        }
        world
    }

    /// Starts leader `number`, from 1.
    pub async fn run(&mut self, number: usize) {
        let folder = LeaderFolder::open(&self.folders[number - 1]).unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            run_leader(folder, LeaderOptions::default(), |_| {}, shutdown).await.unwrap();
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
        let credentials = Credentials::password(user, format!("{user}'s password")).unwrap();
        let options = JoinOptions { timeout: DEADLINE, ..JoinOptions::default() };
        Group::join_with(self.info.clone(), credentials, options).await.unwrap()
    }

    pub async fn agent(&self, user: &str) -> Agent {
        let files = FilesOptions { folder: Some(self.downloads(user)), ..FilesOptions::default() };
        self.agent_with(user, Options { files: Some(files), ..Options::default() }).await
    }

    /// Where a user's files go.
    pub fn downloads(&self, user: &str) -> PathBuf {
        self.dir.path().join("downloads").join(user)
    }

    /// An agent with nobody in it.
    pub async fn closed_agent(&self, options: Options) -> Agent {
        Agent::open(self.info.clone(), options).await.unwrap()
    }

    pub async fn agent_with(&self, user: &str, options: Options) -> Agent {
        let (group, events) = self.join(user).await;
        Agent::start(group, events, options).await.unwrap()
    }
}

/// Waits until all agents see exactly these members.
pub async fn together(agents: &[&Agent], members: &[&str]) {
    let here = |agent: &&Agent| agent.group().unwrap().members().iter().map(|m| m.as_str()).eq(members.iter().copied());
    let check = async {
        while !agents.iter().all(here) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, check).await.expect("they do not come together");
}
