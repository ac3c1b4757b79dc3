//! Four leaders, each a process, that put messages into one order: messages a second and latency at rising load, with no
//! leader faulty and with one; beside what the machine charges for the signatures, hashes, bytes and writes that it took.
//!
//! Messages are submitted at the leaders that are not faulty, by a thread in each; latency is from when a message was to
//! be submitted until its leader has it in the log. Where the time goes is counted by the leaders, not estimated.

mod core;
mod delay;
mod floor;
mod lead;
mod leaders;
mod meter;
pub(crate) mod threads;

use std::path::PathBuf;
use std::time::Duration;

use self::floor::Floor;
use self::lead::{Load, Window};
use self::leaders::{Fault, Leaders};
use self::meter::{Count, Counted, Stage, Times};
use self::threads::Cpu;
use crate::BenchError;
use crate::row::{Report, Row};

pub use self::lead::lead;

/// What is measured, and how long.
#[derive(Clone, Debug)]
pub struct AgreementOptions {
    /// The `ringfort` program, which runs each leader.
    pub program: PathBuf,
    /// The length of a message, in bytes.
    pub bytes: usize,
    /// Messages a second that are offered, rising; after them, as many as are taken.
    pub rates: Vec<u64>,
    /// How long each load is measured; a quarter of it goes before.
    pub length: Duration,
}

/// How late the slow leader's links are.
const SLOW: Duration = Duration::from_millis(200);
/// Below this part of what is offered, more is not tried.
const KEEPS_UP: f64 = 0.9;

/// Measures the order; `told` is called with each row as it comes.
///
/// # Errors
/// [`BenchError`] if leaders cannot be started, or do not tell what they counted.
pub async fn run(options: &AgreementOptions, mut told: impl FnMut(&Row)) -> Result<Report, BenchError> {
    let mut report = Report::default();
    let mut add = |rows: Vec<Row>| {
        rows.iter().for_each(&mut told);
        report.rows.extend(rows);
    };
    let slow = format!("one leader late by {} ms", SLOW.as_millis());
    let faults =
        [("no leader faulty", Fault::None), ("one leader silent", Fault::Silent), (slow.as_str(), Fault::Slow(SLOW))];
    for (name, fault) in faults {
        let mut leaders = Leaders::start(&options.program, fault).await?;
        for rate in &options.rates {
            let seen = Seen::new(leaders.run(Load::Rate(*rate), options.bytes, options.length).await?, &leaders);
            let keeps_up = seen.rate() >= KEEPS_UP * *rate as f64;
            add(seen.steady(&format!("{name}, {rate}/s of {} B", options.bytes)));
            if !keeps_up {
                break;
            }
        }
        let seen = Seen::new(leaders.run(Load::Full, options.bytes, options.length).await?, &leaders);
        let floor = Floor::of(&seen.counted, seen.leaders, leaders.temp.path())?;
        add(seen.full(name, &floor));
        if fault == Fault::None {
            add(seen.budget(&floor));
        }
    }
    add(vec![Row::none("one leader signs two blocks for a round", "not measured: this program holds no adversary")]);
    Ok(report)
}

/// What all leaders counted in one window.
struct Seen {
    /// Leaders that told.
    leaders: usize,
    length: Duration,
    /// Messages that each has in its log, at the mean of those that submit.
    messages: f64,
    /// Sums over all that told.
    counted: Counted,
    cpu: Cpu,
    times: Times,
    refused: u64,
    missing: u64,
}

impl Seen {
    fn new(windows: Vec<Window>, leaders: &Leaders) -> Self {
        let mut seen = Seen {
            leaders: windows.len(),
            length: windows.first().map(|window| window.length).unwrap_or_default(),
            messages: 0.0,
            counted: Counted::default(),
            cpu: Cpu::default(),
            times: Times::default(),
            refused: 0,
            missing: 0,
        };
        for window in &windows {
            seen.counted.add(&window.counted);
            seen.cpu.add(&window.cpu);
            seen.times.merge(&window.times);
            seen.refused += window.refused;
            seen.missing += window.missing;
        }
        let submitting = windows.iter().take(leaders.submitting());
        let logs: u64 = submitting.map(|window| window.counted.get(Count::Messages)).sum();
        seen.messages = logs as f64 / leaders.submitting().max(1) as f64;
        seen
    }

    /// Messages a second.
    fn rate(&self) -> f64 {
        self.messages / self.length.as_secs_f64()
    }

    fn each(&self, count: Count) -> f64 {
        self.counted.get(count) as f64 / self.leaders.max(1) as f64
    }

    /// At a rate that was offered.
    fn steady(&self, what: &str) -> Vec<Row> {
        let mut rows = vec![
            Row::rate(format!("{what}: ordered"), self.rate(), None),
            Row::time("  latency p50", self.times.percentile(50), None),
            Row::time("  latency p99", self.times.percentile(99), None),
            Row::number("  rounds a second", self.each(Count::Rounds) / self.length.as_secs_f64(), "1/s"),
            Row::number("  the leaders' CPU", self.all_cpu() / self.length.as_secs_f64(), "cores"),
        ];
        rows.extend(self.trouble());
        rows
    }

    /// With as many as are taken.
    fn full(&self, name: &str, floor: &Floor) -> Vec<Row> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let beside = |what: &str, seconds: f64| {
            Row::rate(format!("  beside {what}"), self.rate(), Some(self.messages / seconds.max(1e-9)))
        };
        let mut rows = vec![
            Row::rate(format!("{name}, as many as are taken: ordered"), self.rate(), None),
            beside("their signatures, made and checked", (floor.sign + floor.check) / cores),
            beside("their hashes", floor.hash / cores),
            beside("their bytes over loopback TCP", floor.tcp / cores),
            beside("their writes made durable", floor.sync),
            beside("all of that, nothing else", floor.whole(cores)),
            Row::number("  rounds a second", self.each(Count::Rounds) / self.length.as_secs_f64(), "1/s"),
            Row::number("  messages in a block", self.messages / self.each(Count::Entries).max(1.0), "msg"),
            Row::number(
                "  a leader waits for its disk",
                self.each(Count::SyncUs) / 1e6 / self.length.as_secs_f64(),
                "s/s",
            ),
        ];
        rows.extend(self.trouble());
        rows
    }

    fn trouble(&self) -> Vec<Row> {
        let told = [
            ("  found no room", self.refused),
            ("  not in the log after half a minute", self.missing),
            ("  frames dropped because a link was full", self.counted.get(Count::Dropped)),
        ];
        told.into_iter().filter(|(_, many)| *many > 0).map(|(what, many)| Row::number(what, many as f64, "")).collect()
    }

    /// Where the CPU time of one message goes, all leaders together.
    fn budget(&self, floor: &Floor) -> Vec<Row> {
        let part = |what: &str, spent: f64, floor: Option<f64>| {
            let each = |seconds: f64| seconds * 1e9 / self.messages.max(1.0);
            Row::cost(format!("  {what}"), each(spent), floor.map(each))
        };
        let floor_of = |stage: Stage| match stage {
            Stage::Read => Some(floor.read),
            Stage::Check => Some(floor.check),
            Stage::Sign => Some(floor.sign),
            _ => None,
        };
        let stages = Stage::ALL.map(|(stage, name)| {
            part(&format!("order: {name}"), self.counted.stage(stage).as_secs_f64(), floor_of(stage))
        });
        let links = [
            part("links: seal, open, copy", self.cpu.links.as_secs_f64(), Some(floor.seal)),
            part("links: sockets and waking, in the system", self.cpu.links_system.as_secs_f64(), Some(floor.tcp)),
            part("what submits messages here", self.cpu.load.as_secs_f64(), None),
            part("all of it", self.all_cpu(), None),
        ];
        let what = "one message's CPU time, all leaders together";
        [vec![Row::none(what, "")], stages.into(), links.into()].concat()
    }

    fn all_cpu(&self) -> f64 {
        (self.cpu.order + self.cpu.load + self.cpu.links + self.cpu.links_system).as_secs_f64()
    }
}
