//! A leader under measurement, in a process of its own: it is told what to submit, and tells what came of it.
//!
//! It reads one [`Task`] a line from its standard input and answers each with a [`Window`] on its standard output, both as
//! JSON. It ends with its input, and so with the program that measures it.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ringfort_node::folder::LeaderFolder;
use ringfort_node::leader::{LeaderOptions, Told, run_leader_ordering};
use ringfort_node::order::Submitter;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::core::counting;
use super::meter::{Count, Counted, Meter, Times};
use super::threads::Cpu;
use crate::{BenchError, setup};

/// Between two reports of the leader, which bring what its driver counts.
const REPORT_PERIOD: Duration = Duration::from_millis(50);
/// Messages are given in by the millisecond.
const TICK: Duration = Duration::from_millis(1);
/// What is given in at once while as much is given in as is taken.
const BURST_BYTES: usize = 128 * 1024;
/// How long a leader waits for the last of its messages.
const DRAIN: Duration = Duration::from_secs(30);

/// What to submit.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub load: Load,
    /// The length of a message.
    pub bytes: usize,
    /// What goes before the time that counts.
    pub warm_ms: u64,
    /// The time that counts.
    pub length_ms: u64,
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Load {
    /// Nothing: only count.
    None,
    /// So many messages a second, whatever becomes of them.
    Rate(u64),
    /// As many as are taken.
    Full,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Window {
    /// How long it was.
    pub length: Duration,
    /// What was counted in it.
    pub counted: Counted,
    /// The process's CPU time in it.
    pub cpu: Cpu,
    /// From when a message was to be submitted until this leader had it in the log, of those submitted in this time.
    pub times: Times,
    /// Messages that found no room.
    pub refused: u64,
    /// Messages that were taken and did not come into the log.
    pub missing: u64,
}

/// Runs a leader that has never run, until the standard input ends.
///
/// # Errors
/// [`BenchError`] when the leader cannot run.
pub async fn lead(folder: &Path, listen: Option<SocketAddr>) -> Result<(), BenchError> {
    let folder = LeaderFolder::open(folder).map_err(setup)?;
    let others = folder.group.leaders.len() - 1;
    let meter = Arc::new(Meter::start());
    let (give, given) = mpsc::channel();
    let ordering = counting(&meter, move |submitter| drop(give.send(submitter)));
    let linked = Arc::new(AtomicUsize::new(0));
    let (stop, stopped) = oneshot::channel::<()>();
    let watching = (meter.clone(), linked.clone());
    std::thread::Builder::new()
        .name("load".to_owned())
        .spawn(move || {
            if let Ok(submitter) = given.recv() {
                // Whoever gave the tasks has gone.
                drop(obey(&submitter, &meter, &linked, others));
            }
            drop(stop);
        })
        .map_err(setup)?;
    let observe = move |told: &Told<'_>| match told {
        Told::PeerUp(_) => {
            watching.1.fetch_add(1, Ordering::Relaxed);
        }
        Told::PeerDown(_) => {
            watching.1.fetch_sub(1, Ordering::Relaxed);
        }
        Told::Report(report) => {
            let order = report.order.unwrap_or_default();
            let sync_us = u64::try_from(order.sync_time.as_micros()).unwrap_or(u64::MAX);
            for (what, value) in
                [(Count::Syncs, order.syncs), (Count::SyncUs, sync_us), (Count::Dropped, order.frames_dropped)]
            {
                watching.0.set(what, value);
            }
        }
        _ => {}
    };
    let options = LeaderOptions { listen, report_period: REPORT_PERIOD, ..LeaderOptions::default() };
    let shutdown = async { drop(stopped.await) };
    run_leader_ordering(folder, options, ordering, observe, shutdown).await.map_err(setup)
}

/// Says when the links to all others are there, then does one task after the other.
fn obey(submitter: &Submitter, meter: &Meter, linked: &AtomicUsize, others: usize) -> std::io::Result<()> {
    while linked.load(Ordering::Relaxed) < others {
        std::thread::sleep(TICK);
    }
    let mut out = std::io::stdout();
    writeln!(out, "linked")?;
    for line in std::io::stdin().lock().lines() {
        let task: Task = serde_json::from_str(&line?)?;
        writeln!(out, "{}", serde_json::to_string(&Loading::begin(submitter, meter, task).run())?)?;
    }
    Ok(())
}

/// One task that is being done.
struct Loading<'a> {
    submitter: &'a Submitter,
    meter: &'a Meter,
    task: Task,
    /// Own messages in the log before it.
    before: u64,
    taken: u64,
    refused: u64,
    /// What found no room and is tried again.
    again: Vec<Vec<u8>>,
}

impl<'a> Loading<'a> {
    fn begin(submitter: &'a Submitter, meter: &'a Meter, task: Task) -> Self {
        Loading { submitter, meter, task, before: meter.own(), taken: 0, refused: 0, again: Vec::new() }
    }

    fn run(mut self) -> Window {
        let from = Instant::now() + Duration::from_millis(self.task.warm_ms);
        let to = from + Duration::from_millis(self.task.length_ms);
        self.meter.watch(from, to);
        self.until(from);
        let (began, counted, cpu) = (Instant::now(), self.meter.counted(), Cpu::now());
        self.refused = 0;
        self.until(to);
        let window = Window {
            length: began.elapsed(),
            counted: self.meter.counted().since(&counted),
            cpu: Cpu::now().since(&cpu),
            refused: self.refused,
            ..Window::default()
        };
        let drained = Instant::now() + DRAIN;
        while self.missing() > 0 && Instant::now() < drained {
            std::thread::sleep(TICK);
        }
        Window { times: self.meter.times(), missing: self.missing(), ..window }
    }

    fn missing(&self) -> u64 {
        (self.before + self.taken).saturating_sub(self.meter.own())
    }

    /// Submits until then. A message that is late because this thread had to wait was submitted when it was planned.
    fn until(&mut self, end: Instant) {
        let begin = Instant::now();
        let (mut planned, mut sent) = (begin, 0);
        while planned < end {
            match self.task.load {
                Load::None => {}
                Load::Rate(rate) => {
                    let passed = (planned + TICK).saturating_duration_since(begin).as_micros();
                    let due = u64::try_from(passed * u128::from(rate) / 1_000_000).unwrap_or(u64::MAX);
                    let refused = self.submit(self.messages(due - sent, planned));
                    self.refused += refused.len() as u64;
                    sent = due;
                }
                Load::Full => {
                    self.fill(end);
                    planned = Instant::now();
                }
            }
            planned += TICK;
            std::thread::sleep(planned.saturating_duration_since(Instant::now()));
        }
    }

    /// Submits until something is refused.
    fn fill(&mut self, end: Instant) {
        while Instant::now() < end {
            if self.again.is_empty() {
                let many = (BURST_BYTES / self.task.bytes).max(1) as u64;
                self.again = self.messages(many, Instant::now());
            }
            let again = std::mem::take(&mut self.again);
            self.again = self.submit(again);
            if !self.again.is_empty() {
                return;
            }
        }
    }

    fn messages(&self, many: u64, at: Instant) -> Vec<Vec<u8>> {
        let mut message = vec![7; self.task.bytes.max(8)];
        let stamp = self.meter.stamp(at).to_le_bytes();
        message.iter_mut().zip(stamp).for_each(|(to, from)| *to = from);
        (0..many).map(|_| message.clone()).collect()
    }

    fn submit(&mut self, messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let given = messages.len();
        let refused = self.submitter.submit(messages);
        self.taken += (given - refused.len()) as u64;
        refused
    }
}
