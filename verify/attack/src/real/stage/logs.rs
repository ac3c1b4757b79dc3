//! Where things are: members' logs, and the program that runs on all machines.

use std::path::{Path, PathBuf};

use super::super::machines::Machine;
use super::Stage;

impl Stage {
    /// These members keep a log of their stays from now on.
    pub fn keep_logs(&mut self, names: &[&str]) {
        self.logged.extend(names.iter().map(|name| (*name).to_owned()));
    }

    /// Where a member keeps its log.
    pub fn log_of(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.log"))
    }

    /// The program that knows the hidden commands of leaders and sites.
    pub fn program(&self) -> &Path {
        self.machines.first().map(Machine::program).unwrap_or(Path::new(""))
    }
}
