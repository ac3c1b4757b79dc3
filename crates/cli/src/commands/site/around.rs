//! What is around a site that runs for years: its audit, and the endpoint that tells how it is over HTTP.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use ringfort_daemon::audit::{Journal, Purses};
use ringfort_daemon::http::Answers;
use ringfort_peer::Time;
use ringfort_site::audit::{Decision, Observe};
use ringfort_site::{Report, folder};
use serde::Serialize;
use tokio::sync::watch;

use crate::exit::{Failure, Outcome, Status};

/// The audit's file, in the folder that the site may write.
pub const AUDIT_FILE: &str = "audit.jsonl";
/// A longer file is renamed to FILE.1, and so many older ones are kept.
const AUDIT_BYTES_MAX: u64 = 64 * 1024 * 1024;
const AUDIT_FILES_MAX: u64 = 8;
/// Lines that wait to be written. A disk that is slow or full holds the site up for nothing.
const WAITING_MAX: usize = 1024;
/// Lines a minute that one user, one address or one other site can cause, and how many of these have an account each.
const LINES_PER_MINUTE_MAX: u64 = 120;
const ACCOUNTS_MAX: usize = 1024;
/// Everybody beyond those.
const OTHERS: &str = "others";
/// How long the last lines may take to be written.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// A site that has told nothing of itself for so long does not turn.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// What each line says of its writer.
#[derive(Debug, Serialize)]
struct Head {
    site: String,
    network: String,
}

/// The audit's file, open, and what is written to it.
pub struct Audit {
    journal: Journal<Head>,
    purses: Purses<String>,
    started: Instant,
}

impl Audit {
    /// Opens the file of the site on a folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(path: &Path, site: &str, network: &str) -> Outcome<Self> {
        let head = Head { site: site.to_owned(), network: network.to_owned() };
        let file = folder::state_folder(path).join(AUDIT_FILE);
        let journal = Journal::to_file(head, &file, AUDIT_BYTES_MAX, AUDIT_FILES_MAX);
        let journal = journal.map_err(|told| Failure::new(Status::Unreadable, told))?;
        Ok(Audit { journal, purses: Purses::default(), started: Instant::now() })
    }

    /// Writes from now on, on a thread of its own, which ends with the last who can tell it anything.
    pub fn start(self) -> Writer {
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let told = lost.clone();
        let thread = std::thread::spawn(move || self.write_all(&waiting, &told));
        Writer { lines, lost, thread }
    }

    fn write_all(mut self, waiting: &Receiver<Decision>, lost: &AtomicU64) {
        while let Ok(decision) = waiting.recv() {
            self.journal.lose(lost.swap(0, Ordering::Relaxed));
            self.write_at(Time::from_start(self.started.elapsed()), &decision);
        }
    }

    fn write_at(&mut self, now: Time, decision: &Decision) {
        for (about, count) in self.purses.unsaid(now) {
            self.put(&Decision::LinesNotWritten { about, count });
        }
        let paid = decision.account().is_none_or(|account| {
            let owner = account.to_owned();
            let owner = if self.purses.has_room_for(&owner, ACCOUNTS_MAX) { owner } else { OTHERS.to_owned() };
            self.purses.pay(now, owner, LINES_PER_MINUTE_MAX)
        });
        if paid {
            self.put(decision);
        }
    }

    fn put(&mut self, decision: &Decision) {
        self.journal.put(decision, false, |count| Decision::LinesLost { count });
    }
}

/// The way to the audit's thread.
pub struct Writer {
    lines: SyncSender<Decision>,
    lost: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    /// Writes a line, or counts it if too many wait.
    pub fn tell(&self, decision: Decision) {
        tell(&self.lines, &self.lost, decision);
    }

    /// The same, for a site.
    pub fn observe(&self) -> Observe {
        let (lines, lost) = (self.lines.clone(), self.lost.clone());
        Arc::new(move |decision| tell(&lines, &lost, decision.clone()))
    }

    /// Waits until all is written, once whoever observes is gone.
    pub async fn close(self) {
        drop(self.lines);
        let started = Instant::now();
        while !self.thread.is_finished() && started.elapsed() < CLOSE_TIMEOUT {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn tell(lines: &SyncSender<Decision>, lost: &AtomicU64, decision: Decision) {
    if lines.try_send(decision).is_err() {
        lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the endpoint shows of a site.
pub struct SiteAnswers {
    started: Instant,
    /// Milliseconds from the start to the last report.
    told_ms: AtomicU64,
    report: watch::Receiver<Report>,
}

impl SiteAnswers {
    /// Of the site that reports here.
    pub fn new(report: watch::Receiver<Report>) -> Self {
        SiteAnswers { started: Instant::now(), told_ms: AtomicU64::new(0), report }
    }

    /// The site has told how it is.
    pub fn told(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.told_ms.store(now, Ordering::Relaxed);
    }
}

impl Answers for SiteAnswers {
    fn health(&self) -> Result<(), String> {
        let last = Duration::from_millis(self.told_ms.load(Ordering::Relaxed));
        let silent = self.started.elapsed().saturating_sub(last);
        if silent < SILENT_MAX {
            return Ok(());
        }
        Err(format!("the site has told nothing of itself for {} s", silent.as_secs()))
    }

    fn readiness(&self) -> Result<(), String> {
        self.health()?;
        let report = self.report.borrow();
        if report.ring.is_empty() { Err(report.state.clone()) } else { Ok(()) }
    }

    fn metrics(&self) -> (&'static str, String) {
        ("text/plain; version=0.0.4; charset=utf-8", self.report.borrow().metrics())
    }

    fn document(&self) -> serde_json::Result<String> {
        serde_json::to_string(&*self.report.borrow())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path.join("state").join(AUDIT_FILE)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn at(seconds: u64) -> Time {
        Time::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn whoever_comes_and_goes_a_thousand_times_fills_no_disk_and_hides_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let mut audit = Audit::open(folder.path(), "north", "plant").unwrap();
        let from = |user: u32| format!("user {user}");
        let refused = |user| Decision::ClientRefused { from: from(user), why: "it may not".to_owned() };
        (0..1000).for_each(|_| audit.write_at(at(1), &refused(7)));
        audit.write_at(at(1), &refused(8));
        audit.write_at(at(61), &Decision::Stopping);
        let lines = lines(folder.path());
        assert_eq!(lines.len() as u64, LINES_PER_MINUTE_MAX + 3);
        assert_eq!(
            (&lines[0]["site"], &lines[0]["network"], &lines[0]["seq"]),
            (&"north".into(), &"plant".into(), &1.into())
        );
        assert_eq!(lines[120]["from"], "user 8");
        assert_eq!((&lines[121]["decision"], &lines[121]["about"]), (&"lines-not-written".into(), &"user 7".into()));
        assert_eq!(lines[121]["count"], 1000 - LINES_PER_MINUTE_MAX);
    }

    #[test]
    fn lines_that_nobody_could_take_are_told_with_the_next() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let audit = Audit::open(folder.path(), "north", "plant").unwrap();
        let (lines_to, waiting) = sync_channel(2);
        let lost = AtomicU64::new(0);
        (0..5).for_each(|_| tell(&lines_to, &lost, Decision::Stopping));
        drop(lines_to);
        audit.write_all(&waiting, &lost);
        let lines = lines(folder.path());
        assert_eq!((&lines[0]["decision"], &lines[0]["count"]), (&"lines-lost".into(), &3.into()));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_site_is_ready_in_a_ring_and_healthy_while_it_tells() {
        let (report, reported) = watch::channel(Report { state: "looks for others".to_owned(), ..Report::default() });
        let answers = SiteAnswers::new(reported);
        assert_eq!((answers.health(), answers.readiness()), (Ok(()), Err("looks for others".to_owned())));
        report.send_replace(Report { ring: vec!["north".to_owned()], ..Report::default() });
        assert_eq!(answers.readiness(), Ok(()));
        let silent = SiteAnswers { started: Instant::now() - SILENT_MAX, ..answers };
        assert!(silent.readiness().unwrap_err().contains("told nothing of itself for 10 s"));
        silent.told();
        assert_eq!(silent.readiness(), Ok(()));
    }
}
