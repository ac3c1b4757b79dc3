//! Led groups of four leaders, each a process of the program under measurement.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use ringfort::protocol::{GroupInfo, Policy, Rules};
use ringfort_documents::{NewSecret, NewUser};
use ringfort_node::folder::{InitOptions, init};
use tokio::process::{Child, Command};

use crate::{BenchError, setup};

/// Every user's.
pub(crate) const PASSWORD: &str = "a password";
/// The leaders: one of them may be hacked.
pub(crate) const LEADERS: usize = 4;

/// The files of a group whose leaders have never run.
pub(crate) struct Files {
    pub group: Arc<GroupInfo>,
    /// By leader.
    pub folders: Vec<PathBuf>,
}

/// Sets up a group that orders, with leaders at these addresses, in a new folder.
pub(crate) fn make(folder: &Path, addresses: [SocketAddr; LEADERS], users: &[String]) -> Result<Files, BenchError> {
    let users = users.iter().map(|name| {
        let name = name.parse().map_err(setup)?;
        Ok(NewUser { name, secret: NewSecret::Password(PASSWORD.to_owned().into()) })
    });
    let policy =
        Policy { argon2_memory_kib: 64, argon2_passes: 1, rekey_period_ms: 0, order: true, ..Policy::default() };
    let options = InitOptions {
        name: "bench".into(),
        rules: Rules::new(4, 1, 2).map_err(setup)?,
        addresses: addresses.map(|at| at.to_string()).into(),
        policy,
        users: users.collect::<Result<_, BenchError>>()?,
    };
    let summary = init(folder, options).map_err(setup)?;
    Ok(Files { group: summary.group, folders: summary.folders })
}

/// Starts a process that lasts no longer than what is returned.
pub(crate) fn start(command: &mut Command, log: Stdio) -> Result<Child, BenchError> {
    command.stderr(log).kill_on_drop(true).spawn().map_err(setup)
}
