//! Members that keep a membership log.

use std::path::PathBuf;

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
}
