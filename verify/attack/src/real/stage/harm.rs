//! What may happen to a leader's machine without an attacker.

use std::path::PathBuf;

use anyhow::Context;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::Stage;

impl Stage {
    /// A leader's process stands still: it neither answers nor ends.
    ///
    /// # Errors
    /// No process runs there.
    pub fn freeze(&mut self, leader: u8) -> anyhow::Result<()> {
        Ok(kill_process(self.process(leader)?, Signal::STOP)?)
    }

    /// A process that stood still goes on.
    ///
    /// # Errors
    /// No process runs there.
    pub fn thaw(&mut self, leader: u8) -> anyhow::Result<()> {
        Ok(kill_process(self.process(leader)?, Signal::CONT)?)
    }

    /// From now on no file of a leader's process grows, as on a disk that is full.
    ///
    /// # Errors
    /// No process runs there.
    pub fn fill_disk(&mut self, leader: u8) -> anyhow::Result<()> {
        // Processes that we start have our own limits: only the soft one is lowered.
        let full = Rlimit { current: Some(0), ..getrlimit(Resource::Fsize) };
        prlimit(Some(self.process(leader)?), Resource::Fsize, full)?;
        Ok(())
    }

    /// A leader's wall clock jumps: it is so many seconds ahead of ours from now on.
    ///
    /// # Errors
    /// No honest leader's process runs there.
    pub async fn shift_clock(&mut self, leader: u8, ahead_s: i64) -> anyhow::Result<()> {
        self.machine(leader)?.tell(&format!("clock {ahead_s}\n")).await
    }

    /// Whether a leader's process has ended by itself.
    ///
    /// # Errors
    /// There is no such leader.
    pub fn has_ended(&mut self, leader: u8) -> anyhow::Result<bool> {
        self.machine(leader)?.has_ended()
    }

    /// A leader's folder.
    pub fn leader_folder(&self, leader: u8) -> Option<PathBuf> {
        let place = usize::from(leader).checked_sub(1)?;
        self.machines.get(place).map(|machine| machine.folder().to_owned())
    }

    fn process(&self, leader: u8) -> anyhow::Result<Pid> {
        let pid = self.pid(leader).and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        pid.with_context(|| format!("no process runs on the machine of leader {leader}"))
    }
}
