//! How long sites waited for a processor that the machine had given to others: that time proves nothing about them.
//!
//! The system counts for each thread how long it was ready and did not run, and adds a wait when it ends. Waits of several
//! threads at one moment count once, and time that nobody waited for a processor counts not at all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Shorter waits are nothing.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// The waits of some processes since this was made.
pub struct Waits {
    processes: Vec<u32>,
    began: Instant,
    /// By process and thread.
    known: BTreeMap<(u32, u32), Duration>,
    /// From, to.
    waits: Vec<(Duration, Duration)>,
}

impl Waits {
    pub fn of(processes: Vec<u32>) -> Self {
        let mut waits = Waits { processes, began: Instant::now(), known: BTreeMap::new(), waits: Vec::new() };
        waits.look();
        waits
    }

    /// Sleeps, and looks. The network between the sites lies in this process: a sleep that is too long is a wait of its own.
    pub async fn sleep(&mut self, length: Duration) {
        let asleep = self.began.elapsed();
        tokio::time::sleep(length).await;
        let due = asleep + length;
        self.waits.extend(Some((due, self.began.elapsed())).filter(|(from, to)| *to >= *from + WAIT_MIN * 2));
        self.look();
    }

    /// To be called often: a wait is known to have ended by now, and not when.
    fn look(&mut self) {
        for process in self.processes.clone() {
            for (thread, total) in threads(process) {
                let now = self.began.elapsed();
                let wait = self
                    .known
                    .insert((process, thread), total)
                    .map_or(Duration::ZERO, |known| total.saturating_sub(known));
                if wait >= WAIT_MIN {
                    self.waits.push((now.saturating_sub(wait), now));
                }
            }
        }
    }

    /// How long somebody waited, in all.
    pub fn total(&self) -> Duration {
        union(self.waits.clone())
    }
}

fn threads(process: u32) -> Vec<(u32, Duration)> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let read = |task: std::fs::DirEntry| {
        let thread: u32 = task.file_name().to_str()?.parse().ok()?;
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let waited_ns: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
        Some((thread, Duration::from_nanos(waited_ns)))
    };
    tasks.filter_map(read).collect()
}

fn union(mut waits: Vec<(Duration, Duration)>) -> Duration {
    waits.sort();
    let (mut total, mut end) = (Duration::ZERO, Duration::ZERO);
    for (from, to) in waits {
        total += to.saturating_sub(from.max(end));
        end = end.max(to);
    }
    total
}

#[test]
fn waits_at_one_moment_count_once() {
    let ms = Duration::from_millis;
    assert_eq!(union(Vec::new()), ms(0));
    assert_eq!(union(vec![(ms(10), ms(20)), (ms(30), ms(35))]), ms(15));
    assert_eq!(union(vec![(ms(30), ms(40)), (ms(0), ms(35)), (ms(10), ms(20))]), ms(40));
}

#[test]
fn a_busy_machine_is_seen_and_an_idle_process_waits_for_nothing() {
    // More threads than any machine has processors: some of them wait.
    let mut waits = Waits::of(vec![std::process::id()]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..3 * processors {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(10));
            waits.look();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(waits.total() > Duration::from_millis(50), "{:?}", waits.total());
    let mut asleep = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let mut waits = Waits::of(vec![asleep.id()]);
    std::thread::sleep(Duration::from_millis(300));
    waits.look();
    let waited = waits.total();
    asleep.kill().unwrap();
    asleep.wait().unwrap();
    assert_eq!(waited, Duration::ZERO);
}
