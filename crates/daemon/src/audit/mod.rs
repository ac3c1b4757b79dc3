//! The audit: one JSON line for each security decision, in files of the leader's or to syslog.
//!
//! A line is written before the leader goes on, and never holds it up for longer than a write takes: what cannot be
//! written is counted, said in the log and in the first line that can be written again, and seen as a gap in `seq`. Whoever
//! can cause lines has an account of its own for them, so that nobody fills a disk, pushes an older line out, or hides
//! what somebody else did. Operators' orders are kept in a second file as well, which nothing else is written to.

mod accounts;
mod decision;
mod sink;

use std::io;
use std::path::Path;
use std::time::Instant;

use ringfort_kernel::Time;
use serde::Serialize;
use tracing::{info, warn};

use self::accounts::Accounts;
pub use self::decision::Decision;
use self::sink::Sink;
use crate::config::Config;

/// A line of the audit.
#[derive(Serialize)]
struct Line<'a> {
    at: String,
    leader: u8,
    group: &'a str,
    /// Counts from 1 in each run of the leader: what is missing was not written.
    seq: u64,
    #[serde(flatten)]
    decision: &'a Decision,
}

/// Writes the audit.
#[derive(Debug)]
pub struct Audit {
    leader: u8,
    group: String,
    seq: u64,
    sink: Sink,
    accounts: Accounts,
    started: Instant,
    lost: u64,
    /// Lines lost since the last that was written.
    lost_unsaid: u64,
}

impl Audit {
    /// Opens what the configuration says, for the leader with this number of the group with this short name.
    ///
    /// # Errors
    /// A file that cannot be written, no syslog.
    pub fn open(config: &Config, folder: &Path, leader: u8, group: &str) -> Result<Self, String> {
        let sink = Sink::open(config, folder)?;
        let accounts = Accounts::new(config.audit.refusals_per_minute_max, config.audit.peer_lines_per_minute_max);
        let group = group.to_owned();
        Ok(Audit { leader, group, seq: 0, sink, accounts, started: Instant::now(), lost: 0, lost_unsaid: 0 })
    }

    /// Tries what [`Audit::open`] would do, and leaves nothing behind.
    ///
    /// # Errors
    /// As `open`.
    pub fn probe(config: &Config, folder: &Path) -> Result<(), String> {
        Sink::probe(config, folder)
    }

    /// Writes a decision, or counts it if whoever caused it has used up its account.
    pub fn write(&mut self, decision: &Decision) {
        self.write_at(Time::from_start(self.started.elapsed()), decision);
    }

    fn write_at(&mut self, now: Time, decision: &Decision) {
        for unsaid in self.accounts.unsaid(now) {
            self.put(&unsaid);
        }
        if self.accounts.admit(now, decision) {
            self.put(decision);
        }
    }

    /// Opens the files again under their names, after something else has moved them away, or connects to syslog again.
    pub fn reopen(&mut self) {
        match self.sink.reopen() {
            Ok(done) => info!("{done}"),
            Err(error) => warn!(%error, "the audit cannot be opened again: it goes on as it was"),
        }
    }

    /// Lines that could not be written.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The file's length, bytes.
    pub fn bytes(&self) -> u64 {
        self.sink.bytes()
    }

    fn put(&mut self, decision: &Decision) {
        if self.lost_unsaid > 0 && self.append(&Decision::LinesLost { count: self.lost_unsaid }, self.seq + 1).is_ok() {
            self.seq += 1;
            self.lost_unsaid = 0;
            info!("the audit's lines are written again");
        }
        self.seq += 1;
        if let Err(error) = self.append(decision, self.seq) {
            if self.lost_unsaid == 0 {
                warn!(%error, "the audit loses lines");
            }
            self.lost += 1;
            self.lost_unsaid += 1;
        }
    }

    fn append(&mut self, decision: &Decision, seq: u64) -> io::Result<()> {
        let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let line = Line { at, leader: self.leader, group: &self.group, seq, decision };
        self.sink.append(&serde_json::to_string(&line)?, decision.is_order())
    }
}

#[cfg(test)]
mod tests;
