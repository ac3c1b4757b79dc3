//! A group of four leaders, each a process, and members of it in this one.

use std::process::Stdio;
use std::time::Duration;

use ringfort::{Credentials, Group, JoinOptions, Kv};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::ServicesOptions;
use crate::led::{self, Files, PASSWORD};
use crate::{BenchError, lost, setup};

/// How long a member tries to come in.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Led {
    files: Files,
    leaders: Vec<Child>,
    members: Vec<Group>,
    events: JoinSet<()>,
    _temp: TempDir,
}

impl Led {
    /// Starts the leaders of a group with so many users.
    pub fn start(options: &ServicesOptions, users: usize) -> Result<Self, BenchError> {
        let temp = tempfile::tempdir().map_err(setup)?;
        let addresses = ringfort_loopback::addresses().map_err(setup)?;
        let names: Vec<String> = (0..users).map(name).collect();
        let files = led::make(&temp.path().join("group"), addresses, &names)?;
        let mut leaders = Vec::new();
        for folder in &files.folders {
            let mut command = Command::new(&options.program);
            command.arg("leader").arg(folder).stdin(Stdio::null()).stdout(Stdio::null());
            leaders.push(led::start(&mut command, Stdio::null())?);
        }
        Ok(Led { files, leaders, members: Vec::new(), events: JoinSet::new(), _temp: temp })
    }

    /// The store as so many members see it, each by itself; those that are not there yet join.
    pub async fn members(&mut self, many: usize) -> Result<Vec<Kv>, BenchError> {
        while self.members.len() < many {
            let credentials = Credentials::password(&name(self.members.len()), PASSWORD).map_err(setup)?;
            let options = JoinOptions { timeout: PATIENCE, ..JoinOptions::default() };
            let (group, mut events) =
                Group::join_with(self.files.group.clone(), credentials, options).await.map_err(setup)?;
            self.events.spawn(async move { while events.next().await.is_some() {} });
            self.members.push(group);
        }
        let stores: Vec<Kv> = self.members.iter().take(many).map(Group::kv).collect();
        // The order names a member some time after it is in.
        for store in &stores {
            let named = tokio::time::timeout(PATIENCE, store.get(b"bench")).await;
            named.map_err(|_| lost("the store does not answer"))?.map_err(lost)?;
        }
        Ok(stores)
    }

    /// The leaders' processes.
    pub fn processes(&self) -> Vec<u32> {
        self.leaders.iter().filter_map(Child::id).collect()
    }
}

fn name(n: usize) -> String {
    format!("member-{n}")
}
