//! What became of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::audit::Audit;
use super::plan::Fault;
use crate::load::Times;
use crate::real::ledger::Totals;

/// Memory and disk of leaders may grow so much from the first half to the second, beside a fifth: what histories and
/// allocators fill up with.
const SLACK_KIB: u64 = 12 * 1024;

/// The most that any leader used, in KiB.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Use {
    /// Resident memory.
    pub memory_kib: u64,
    /// Its folder on disk.
    pub disk_kib: u64,
}

impl Use {
    /// The more of both.
    pub fn most(self, other: Use) -> Use {
        Use { memory_kib: self.memory_kib.max(other.memory_kib), disk_kib: self.disk_kib.max(other.disk_kib) }
    }
}

/// A kind of fault.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Kind {
    /// How often it was made.
    pub count: u64,
    /// How long it took until all was well again once it was over, with everybody hearing that leader.
    pub recovery: Times,
    #[serde(skip)]
    times: Vec<Duration>,
}

/// The whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What it all follows from, but for the times of a real machine.
    pub seed: u64,
    /// How long it was.
    pub seconds: u64,
    /// Faults by name.
    pub faults: BTreeMap<String, Kind>,
    /// Members that joined, and how long it took.
    pub joins: Times,
    /// Members that left.
    pub leaves: u64,
    /// Views that members installed.
    pub views: u64,
    /// Messages sent, and deliveries of them.
    pub sent: u64,
    /// Deliveries.
    pub delivered: u64,
    /// How long deliveries took.
    pub delivery: Times,
    /// The most that a leader used in the first half and in the second.
    pub first_half: Use,
    /// In the second.
    pub second_half: Use,
    /// What an auditor found in the members' logs, with the group file alone.
    pub audit: Audit,
    /// Promises that were broken, in words; none in a good run.
    pub broken: Vec<String>,
    #[serde(skip)]
    joins_taken: Vec<Duration>,
}

impl Report {
    /// Of a run that has just begun.
    pub fn new(seed: u64) -> Self {
        Report { seed, ..Report::default() }
    }

    /// A fault was made, and this long after its end all was well.
    pub fn recovered(&mut self, fault: Fault, after: Duration) {
        let kind = self.faults.entry(fault.to_string()).or_default();
        kind.count += 1;
        kind.times.push(after);
    }

    /// Somebody joined.
    pub fn joined(&mut self, took: Duration) {
        self.joins_taken.push(took);
    }

    /// A log was audited.
    pub fn audited(&mut self, audit: Audit) {
        self.audit.moments += audit.moments;
        self.audit.open += audit.open;
        self.audit.tampered += audit.tampered;
    }

    /// A promise was broken.
    pub fn broke(&mut self, what: impl Into<String>) {
        self.broken.push(what.into());
    }

    /// What the members' books say, with what was lost and what was given up.
    pub fn judge(&mut self, totals: Totals, owed: u64, gaps: u64) {
        (self.sent, self.delivered) = (totals.sent, totals.delivered);
        let counts = [
            ("messages lost", owed),
            ("messages given up", gaps),
            ("messages delivered twice", totals.duplicated),
            ("messages out of order", totals.out_of_order),
            ("messages that nobody sent", totals.forged),
            ("messages delivered to others than meant", totals.leaked),
        ];
        self.broken
            .extend(counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")));
    }

    /// Closes the books: ranks times, and says whether anything was tried, and whether memory and disk stayed flat.
    pub fn close(&mut self, delivery: Vec<Duration>) {
        if self.faults.is_empty() {
            self.broke("no fault came about: that proves nothing");
        }
        self.delivery = Times::of(delivery);
        self.joins = Times::of(std::mem::take(&mut self.joins_taken));
        for kind in self.faults.values_mut() {
            kind.recovery = Times::of(std::mem::take(&mut kind.times));
        }
        let grown = [
            ("memory", self.first_half.memory_kib, self.second_half.memory_kib),
            ("disk", self.first_half.disk_kib, self.second_half.disk_kib),
        ];
        for (what, first, second) in grown {
            if second > first + first / 5 + SLACK_KIB {
                self.broken.push(format!("a leader's {what} grew from {first} KiB to {second} KiB"));
            }
        }
    }

    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.broken.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20} {:>6} {:>10} {:>10}", "fault", "count", "p50", "max")?;
        writeln!(f, "{:<20} {:>6} {:>10} {:>10}", "", "", "ms", "ms")?;
        for (name, kind) in &self.faults {
            let Times { p50_ms, max_ms, .. } = kind.recovery;
            writeln!(f, "{name:<20} {:>6} {p50_ms:>10.0} {max_ms:>10.0}", kind.count)?;
        }
        let faults: u64 = self.faults.values().map(|kind| kind.count).sum();
        writeln!(
            f,
            "\n{} s with seed {}: {faults} faults, {} joins (p50 {:.0} ms, longest {:.0} ms), {} leaves, {} keys installed",
            self.seconds, self.seed, self.joins.count, self.joins.p50_ms, self.joins.max_ms, self.leaves, self.views
        )?;
        writeln!(
            f,
            "{} messages sent, {} deliveries (p50 {:.1} ms, p99 {:.0} ms)",
            self.sent, self.delivered, self.delivery.p50_ms, self.delivery.p99_ms
        )?;
        writeln!(
            f,
            "members' logs: right about {} moments, {} of them left open, close to a change; {} tampered logs refused",
            self.audit.moments, self.audit.open, self.audit.tampered
        )?;
        let mib = |kib: u64| kib as f64 / 1024.0;
        writeln!(
            f,
            "a leader's memory at most {:.1} MiB in the first half and {:.1} MiB in the second; on disk {:.1} and {:.1} MiB",
            mib(self.first_half.memory_kib),
            mib(self.second_half.memory_kib),
            mib(self.first_half.disk_kib),
            mib(self.second_half.disk_kib)
        )?;
        self.broken.iter().try_for_each(|what| writeln!(f, "BROKEN: {what}"))?;
        writeln!(f, "{}", if self.is_good() { "Every promise was kept." } else { "NOT every promise was kept." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_and_every_growth_is_told() {
        let mut report = Report::default();
        report.close(Vec::new());
        assert!(!report.is_good(), "nothing was tried");

        let mut report = Report::default();
        report.recovered(Fault::Kill, Duration::ZERO);
        report.judge(Totals::default(), 0, 0);
        report.close(Vec::new());
        assert!(report.is_good());
        let totals = Totals { duplicated: 1, out_of_order: 1, forged: 1, leaked: 1, ..Totals::default() };
        report.judge(totals, 1, 1);
        assert_eq!(report.broken.len(), 6);

        let first_half = Use { memory_kib: 10_000, disk_kib: 10_000 };
        let second_half = Use { memory_kib: 12_000 + SLACK_KIB, disk_kib: 12_001 + SLACK_KIB };
        let mut report = Report { first_half, second_half, ..Report::default() };
        report.recovered(Fault::Kill, Duration::ZERO);
        report.close(Vec::new());
        assert_eq!(report.broken.len(), 1, "{:?}", report.broken);
    }
}
