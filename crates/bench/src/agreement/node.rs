//! One leader's process: orders, makes load when it is told to, and says what it saw. One line in, one line out.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringfort::agreement::Digest;
use ringfort::agreement::readings::messages_of;
use ringfort::agreement::sequence::Entry;
use ringfort::files::LeaderFolder;
use ringfort::leader::{LeaderOptions, Told, run_leader_ordering};
use ringfort::order::{Figures, Machine, Ordering, Submitter};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::oneshot;

use super::faulty::{Fault, Faulty};
use super::setup;
use crate::BenchError;
use crate::row::middle;

/// How often the load looks at the clock.
const TICK: Duration = Duration::from_millis(1);
/// What is submitted at once when there is no rate to keep.
const BURST: usize = 64;
/// How long the last messages have to come into the log.
const AFTER: Duration = Duration::from_millis(500);

/// What the log has shown.
#[derive(Debug, Default)]
struct Seen {
    messages: u64,
    hash: Digest,
    /// Times of own messages, from here to the log.
    took: Vec<Duration>,
}

struct Watching {
    seen: Arc<Mutex<Seen>>,
    me: usize,
    started: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine for Watching {
    fn on_entry(&mut self, entry: &Entry) {
        let mut seen = lock(&self.seen);
        let name = entry.block.reference().digest.0;
        seen.hash = Digest::of("ringfort bench log", &[seen.hash.0, name].concat());
        for (author, message) in messages_of(entry) {
            seen.messages += 1;
            if author.index() == self.me
                && let Some(at) = message.first_chunk::<8>()
            {
                let at = Duration::from_nanos(u64::from_le_bytes(*at));
                seen.took.push(self.started.elapsed().saturating_sub(at));
            }
        }
    }

    fn state(&mut self) -> Vec<u8> {
        let seen = lock(&self.seen);
        [&seen.messages.to_le_bytes()[..], &seen.hash.0].concat()
    }

    fn install(&mut self, _index: u64, state: Vec<u8>) {
        let mut seen = lock(&self.seen);
        seen.messages = state.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        seen.hash = Digest(state.get(8..).and_then(|rest| rest.first_chunk().copied()).unwrap_or_default());
    }
}

/// What one leader says of one stretch of load.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch {
    /// Messages of all leaders that came into its log.
    pub messages: u64,
    pub p50: Duration,
    pub p99: Duration,
    pub rounds: u64,
    pub cpu: Duration,
    pub syncs: u64,
    pub sync_time: Duration,
    pub dropped: u64,
    pub length: Duration,
}

impl Stretch {
    fn line(&self) -> String {
        let us = |time: Duration| time.as_micros();
        let Stretch { messages, rounds, syncs, dropped, .. } = self;
        let (p50, p99, cpu) = (us(self.p50), us(self.p99), us(self.cpu));
        let (sync_time, length) = (us(self.sync_time), us(self.length));
        format!("load {messages} {p50} {p99} {rounds} {cpu} {syncs} {sync_time} {dropped} {length}")
    }

    pub fn read(line: &str) -> Option<Self> {
        let mut numbers = line.strip_prefix("load ")?.split_whitespace().map(|word| word.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        let us = Duration::from_micros;
        Some(Stretch {
            messages: next()?,
            p50: us(next()?),
            p99: us(next()?),
            rounds: next()?,
            cpu: us(next()?),
            syncs: next()?,
            sync_time: us(next()?),
            dropped: next()?,
            length: us(next()?),
        })
    }
}

/// Time of all cores that this process has used: the kernel counts it in hundredths of a second.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks = |place: usize| after_name.split_whitespace().nth(place).and_then(|word| word.parse::<u64>().ok());
    Duration::from_millis(10 * (ticks(11).unwrap_or(0) + ticks(12).unwrap_or(0)))
}

struct Node {
    submitter: Submitter,
    seen: Arc<Mutex<Seen>>,
    figures: Arc<Mutex<Figures>>,
    started: Instant,
}

impl Node {
    /// Submits `rate` messages a second, or as many as are taken, and says what came into the log meanwhile.
    async fn load(&self, rate: u64, bytes: usize, length: Duration) -> Stretch {
        let (began, before, used) = (Instant::now(), *lock(&self.figures), cpu());
        let first = {
            let mut seen = lock(&self.seen);
            seen.took.clear();
            seen.messages
        };
        let mut sent = 0;
        while began.elapsed() < length {
            let due = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_mul(rate) / 1_000_000;
            let count = if rate == 0 { BURST } else { usize::try_from(due.saturating_sub(sent)).unwrap_or(0) };
            let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX).to_le_bytes();
            let mut message = vec![0; bytes.max(now.len())];
            message.iter_mut().zip(now).for_each(|(to, from)| *to = from);
            let refused = self.submitter.submit(vec![message; count]).len();
            sent += (count - refused) as u64;
            if rate != 0 || refused > 0 {
                tokio::time::sleep(TICK).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
        let (length, cpu) = (began.elapsed(), cpu().saturating_sub(used));
        let messages = lock(&self.seen).messages.saturating_sub(first);
        let after = *lock(&self.figures);
        tokio::time::sleep(AFTER).await;
        let mut took = std::mem::take(&mut lock(&self.seen).took);
        took.sort_unstable();
        let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
        Stretch {
            messages,
            p50: middle(took),
            p99,
            rounds: after.round.saturating_sub(before.round),
            cpu,
            syncs: after.syncs - before.syncs,
            sync_time: after.sync_time.saturating_sub(before.sync_time),
            dropped: after.frames_dropped - before.frames_dropped,
            length,
        }
    }

    /// How far it is, and the hash of all that was before.
    fn place(&self) -> String {
        let seen = lock(&self.seen);
        let hash: String = seen.hash.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("at {} {hash}", seen.messages)
    }
}

/// Runs one leader until its standard input ends.
///
/// # Errors
/// If its folder cannot be used.
pub async fn run_leader(folder: &Path, fault: Fault) -> Result<(), BenchError> {
    let open = LeaderFolder::open(folder).map_err(setup)?;
    let (seen, figures) = (Arc::new(Mutex::new(Seen::default())), Arc::new(Mutex::new(Figures::default())));
    let started = Instant::now();
    let me = usize::from(open.secrets.id.number()) - 1;
    let machine = Watching { seen: seen.clone(), me, started };
    let (give, given) = oneshot::channel();
    let mut ordering = Ordering::with(move |submitter| {
        drop(give.send(submitter));
        Box::new(machine)
    });
    ordering.core = match fault {
        Fault::None | Fault::Silent => Box::new(|core, _| Box::new(core)),
        Fault::Slow | Fault::Equivocating => Box::new(move |core, keys| Box::new(Faulty::new(core, keys, fault))),
    };
    let told = figures.clone();
    let observe = move |what: &Told<'_>| {
        if let Told::Report(report) = what {
            *lock(&told) = report.order.unwrap_or_default();
        }
    };
    let options = LeaderOptions { report_period: Duration::from_millis(20), ..LeaderOptions::default() };
    let (stop, stopped) = oneshot::channel::<()>();
    let leading = tokio::spawn(run_leader_ordering(open, options, ordering, observe, async { drop(stopped.await) }));
    let submitter = given.await.map_err(setup)?;
    let node = Arc::new(Node { submitter, seen, figures, started });
    println!("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.map_err(setup)? {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |place: usize| words.get(place).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        if words.first() == Some(&"load") {
            let (node, rate, bytes, seconds) = (node.clone(), number(1), number(2) as usize, number(3));
            tokio::spawn(
                async move { println!("{}", node.load(rate, bytes, Duration::from_secs(seconds)).await.line()) },
            );
        } else {
            println!("{}", node.place());
        }
    }
    drop(stop);
    leading.await.map_err(setup)?.map_err(setup)
}
