//! Lines with a number each: what cannot be written is counted, and told in the first line that can be written again.

use std::io;
use std::path::Path;

use serde::Serialize;
use tracing::{info, warn};

use super::sink::Sink;

/// Lines of one writer. Each begins with when it was written, then the writer's own head, then its number.
#[derive(Debug)]
pub struct Journal<H> {
    head: H,
    pub(super) sink: Sink,
    seq: u64,
    lost: u64,
    /// Lines lost since the last that was written.
    lost_unsaid: u64,
}

#[derive(Serialize)]
struct Line<'a, H, D> {
    at: String,
    #[serde(flatten)]
    head: &'a H,
    /// Counts from 1 in each run: what is missing was not written.
    seq: u64,
    #[serde(flatten)]
    what: &'a D,
}

impl<H: Serialize> Journal<H> {
    pub(super) fn new(head: H, sink: Sink) -> Self {
        Journal { head, sink, seq: 0, lost: 0, lost_unsaid: 0 }
    }

    /// Writes to one file, which is renamed to FILE.1 when it is long, and so on up to `files_max`.
    ///
    /// # Errors
    /// A file that cannot be written, as a sentence.
    pub fn to_file(head: H, path: &Path, bytes_max: u64, files_max: u64) -> Result<Self, String> {
        Ok(Journal::new(head, Sink::file(path, bytes_max, files_max)?))
    }

    /// Writes a line. `lost` makes the line that tells how many were lost before.
    pub fn put<D: Serialize>(&mut self, what: &D, is_order: bool, lost: impl FnOnce(u64) -> D) {
        if self.lost_unsaid > 0 && self.append(&lost(self.lost_unsaid), false, self.seq + 1).is_ok() {
            self.seq += 1;
            self.lost_unsaid = 0;
            info!("the audit's lines are written again");
        }
        self.seq += 1;
        if let Err(error) = self.append(what, is_order, self.seq) {
            if self.lost_unsaid == 0 {
                warn!(%error, "the audit loses lines");
            }
            self.lose(1);
        }
    }

    /// Counts lines that were lost before they came here.
    pub fn lose(&mut self, count: u64) {
        self.lost += count;
        self.lost_unsaid += count;
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

    fn append<D: Serialize>(&mut self, what: &D, is_order: bool, seq: u64) -> io::Result<()> {
        let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let line = Line { at, head: &self.head, seq, what };
        self.sink.append(&serde_json::to_string(&line)?, is_order)
    }
}
