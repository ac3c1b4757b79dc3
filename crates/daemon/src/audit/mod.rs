//! The audit: one JSON line for each security decision, in files of the leader's or to syslog.
//!
//! A line is written before the leader goes on, and never holds it up for longer than a write takes: what cannot be
//! written is counted, said in the log and in the first line that can be written again, and seen as a gap in `seq`. Whoever
//! can cause lines has an account of its own for them, so that nobody fills a disk, pushes an older line out, or hides
//! what somebody else did. Operators' orders are kept in a second file as well, which nothing else is written to.

mod accounts;
mod decision;
mod journal;
mod purses;
mod sink;

use std::path::Path;
use std::time::Instant;

use ringfort_kernel::Time;
use serde::Serialize;

use self::accounts::Accounts;
pub use self::decision::Decision;
pub use self::journal::Journal;
pub use self::purses::Purses;
use self::sink::Sink;
use crate::config::Config;

/// What each line says of its writer.
#[derive(Debug, Serialize)]
struct Head {
    leader: u8,
    group: String,
}

/// Writes the audit.
#[derive(Debug)]
pub struct Audit {
    journal: Journal<Head>,
    accounts: Accounts,
    started: Instant,
}

impl Audit {
    /// Opens what the configuration says, for the leader with this number of the group with this short name.
    ///
    /// # Errors
    /// A file that cannot be written, no syslog.
    pub fn open(config: &Config, folder: &Path, leader: u8, group: &str) -> Result<Self, String> {
        let sink = Sink::open(config, folder)?;
        let accounts = Accounts::new(config.audit.refusals_per_minute_max, config.audit.peer_lines_per_minute_max);
        let head = Head { leader, group: group.to_owned() };
        Ok(Audit { journal: Journal::new(head, sink), accounts, started: Instant::now() })
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

    /// As [`Journal::reopen`].
    pub fn reopen(&mut self) {
        self.journal.reopen();
    }

    /// Lines that could not be written.
    pub fn lost(&self) -> u64 {
        self.journal.lost()
    }

    /// The file's length, bytes.
    pub fn bytes(&self) -> u64 {
        self.journal.bytes()
    }

    fn put(&mut self, decision: &Decision) {
        self.journal.put(decision, decision.is_order(), |count| Decision::LinesLost { count });
    }
}

#[cfg(test)]
mod tests;
