//! What leaders use, and how long the honest wait.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinHandle;

use crate::real::desk::{Desk, State};

/// Time between two looks at the leaders' memory.
const PERIOD: Duration = Duration::from_millis(50);

/// Resident memory of a process in KiB, as the system counts it.
pub fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The most that any of these processes uses now.
pub fn most_kib(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| resident_kib(*pid)).max().unwrap_or_default()
}

/// The unit of times in `/proc`: a hundredth of a second, on every Linux that this runs on.
const TICK: Duration = Duration::from_millis(10);

/// What processes have used of the processors so far, all their threads together.
fn cpu_time(pids: &[u32]) -> Duration {
    let ticks = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before may hold anything, even spaces.
        let (_, fields) = stat.rsplit_once(')')?;
        let times = fields.split_whitespace().skip(11).take(2);
        times.map(|ticks| ticks.parse::<u32>().ok()).sum::<Option<u32>>()
    };
    TICK * pids.iter().filter_map(ticks).sum::<u32>()
}

/// Who uses how much of the processors, from now on.
pub struct Meter {
    began: Instant,
    pids: [Vec<u32>; 3],
    before: [Duration; 3],
}

impl Meter {
    /// Begins to measure a hacked leader, honest leaders, and this process.
    pub fn begin(hacked: Vec<u32>, honest: Vec<u32>) -> Self {
        let pids = [hacked, honest, vec![std::process::id()]];
        let before = pids.each_ref().map(|pids| cpu_time(pids));
        Meter { began: Instant::now(), pids, before }
    }

    /// What they used since.
    pub fn end(self) -> Cpu {
        let passed = self.began.elapsed().as_secs_f64();
        let mut used = self.pids.iter().zip(self.before).map(|(pids, before)| {
            let used = cpu_time(pids).saturating_sub(before);
            (used.as_secs_f64() / passed * 1e3).round() / 10.0
        });
        let mut next = || used.next().unwrap_or_default();
        Cpu { hacked: next(), honest: next(), own: next() }
    }
}

/// Who used how much of the processors, in hundredths of one.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cpu {
    /// The hacked leader.
    pub hacked: f64,
    /// All honest leaders together.
    pub honest: f64,
    /// This process, in which members are, and attackers but for a hacked leader.
    pub own: f64,
}

/// What the honest notice all the time.
pub struct Watch {
    peak: Arc<AtomicU64>,
    own_peak: Arc<AtomicU64>,
    unheard: Arc<Mutex<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Begins to look at these leaders' processes, at our own, and at which of the leaders members do not hear.
    pub fn begin(pids: Vec<u32>, desk: Arc<Desk>, leaders: Vec<u8>) -> Self {
        let (peak, own_peak, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default(), Arc::default());
        let unheard = Arc::<Mutex<BTreeSet<String>>>::default();
        let (seen, own_seen, silent, stopped) = (peak.clone(), own_peak.clone(), unheard.clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            while !AtomicBool::load(&stopped, Ordering::Acquire) {
                seen.fetch_max(most_kib(&pids), Ordering::AcqRel);
                own_seen.fetch_max(resident_kib(std::process::id()).unwrap_or_default(), Ordering::AcqRel);
                let now = desk.look(|state| deaf(state, &leaders));
                silent.lock().unwrap_or_else(PoisonError::into_inner).extend(now);
                tokio::time::sleep(PERIOD).await;
            }
        });
        Watch { peak, own_peak, unheard, stop, task }
    }

    /// Ends.
    pub async fn end(self) -> Seen {
        self.stop.store(true, Ordering::Release);
        // It cannot fail: it only looks.
        let _ = self.task.await;
        Seen {
            peak_kib: self.peak.load(Ordering::Acquire),
            own_peak_kib: self.own_peak.load(Ordering::Acquire),
            unheard: std::mem::take(&mut *self.unheard.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// What was seen meanwhile.
pub struct Seen {
    /// The most that one leader used, KiB.
    pub peak_kib: u64,
    /// The most that this process used, with all members in it, KiB.
    pub own_peak_kib: u64,
    /// Who did not hear which leader.
    pub unheard: BTreeSet<String>,
}

/// Members that show one of these leaders as silent.
fn deaf(state: &State, leaders: &[u8]) -> Vec<String> {
    let pairs = state.present().flat_map(|(name, member)| leaders.iter().map(move |leader| (name, member, leader)));
    let silent = pairs.filter(|(_, member, leader)| member.answers.get(*leader) == Some(&false));
    silent.map(|(name, _, leader)| format!("{name} shows leader {leader} as silent")).collect()
}

/// Times in order, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Times {
    /// How many.
    pub count: usize,
    /// The middle one.
    pub p50_ms: f64,
    /// One in a hundred is longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Times {
    /// Of these.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |share: usize| {
            let place = (times.len() * share / 100).min(times.len().saturating_sub(1));
            times.get(place).map_or(0.0, |time| (time.as_secs_f64() * 1e5).round() / 100.0)
        };
        Times { count: times.len(), p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_ranked() {
        let times = Times::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!((times.count, times.p50_ms, times.p99_ms, times.max_ms), (200, 101.0, 199.0, 200.0));
        assert_eq!(Times::of(Vec::new()).max_ms, 0.0);
    }

    #[test]
    fn a_process_has_memory() {
        assert!(resident_kib(std::process::id()).unwrap() > 100);
    }

    #[test]
    fn a_process_that_works_uses_a_processor() {
        let meter = Meter::begin(Vec::new(), Vec::new());
        let (began, mut sum) = (Instant::now(), 0_u64);
        while cpu_time(&[std::process::id()]) < Duration::from_millis(100) && began.elapsed().as_secs() < 60 {
            sum = std::hint::black_box(sum + 1);
        }
        let cpu = meter.end();
        assert!(cpu.own > 0.0 && cpu.hacked == 0.0 && cpu.honest == 0.0, "{cpu:?}");
    }
}
