//! What leaders use, and how long the honest wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinHandle;

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

/// Looks at processes' memory all the time.
pub struct Watch {
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Begins to look.
    pub fn begin(pids: Vec<u32>) -> Self {
        let (peak, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, stopped) = (peak.clone(), stop.clone());
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Acquire) {
                seen.fetch_max(most_kib(&pids), Ordering::AcqRel);
                tokio::time::sleep(PERIOD).await;
            }
        });
        Watch { peak, stop, task }
    }

    /// Ends; the most that was seen.
    pub async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        // It cannot fail: it only looks.
        let _ = self.task.await;
        self.peak.load(Ordering::Acquire)
    }
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
}
