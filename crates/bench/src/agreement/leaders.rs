//! Four leaders under measurement, one of which may be faulty.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;

use super::delay;
use super::lead::{Load, Task, Window};
use crate::led::{self, LEADERS};
use crate::{BenchError, lost, setup};

/// The leaders have this long to be linked, and to do a task beyond its own time.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the last leader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// As honest as the others.
    None,
    /// Stopped by the system once all are linked: its links stay open and nothing comes over them.
    Silent,
    /// All that goes to it and comes from it is late by this.
    Slow(Duration),
}

pub(super) struct Leaders {
    running: Vec<Running>,
    fault: Fault,
    /// Where their journals are.
    pub temp: TempDir,
    _delay: JoinSet<()>,
}

struct Running {
    process: Child,
    tasks: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Leaders {
    /// Starts leaders that have never run, and waits until they are linked.
    pub async fn start(program: &Path, fault: Fault) -> Result<Self, BenchError> {
        let temp = tempfile::tempdir().map_err(setup)?;
        let [a, b, c, d, behind] = ringfort_loopback::addresses().map_err(setup)?;
        let files = led::make(&temp.path().join("group"), [a, b, c, d], &["ana".to_owned()])?;
        let mut delaying = JoinSet::new();
        // Leaders connect to those with a higher number, so all links of the last one come in at its address.
        let mut listen = None;
        if let Fault::Slow(by) = fault {
            delay::start(&mut delaying, d, behind, by).await?;
            listen = Some(behind);
        }
        let mut running = Vec::new();
        for (n, folder) in files.folders.iter().enumerate() {
            let listen = listen.filter(|_| n + 1 == LEADERS);
            running.push(Running::start(program, folder, listen)?);
        }
        for one in &mut running {
            let line = one.line().await?;
            if line != "linked" {
                return Err(setup(format!("a leader said {line:?} instead of that it is linked")));
            }
        }
        if fault == Fault::Silent {
            let last = running.last().and_then(|last| last.process.id()).and_then(|id| i32::try_from(id).ok());
            let last = last.and_then(Pid::from_raw).ok_or_else(|| setup("the last leader has ended"))?;
            kill_process(last, Signal::STOP).map_err(setup)?;
        }
        Ok(Leaders { running, fault, temp, _delay: delaying })
    }

    /// Submits at the leaders that are not faulty, and tells what each leader that answers has counted, the faulty one's last.
    pub async fn run(&mut self, load: Load, bytes: usize, length: Duration) -> Result<Vec<Window>, BenchError> {
        let submitting = if self.fault == Fault::None { LEADERS } else { LEADERS - 1 };
        let answering = if self.fault == Fault::Silent { LEADERS - 1 } else { LEADERS };
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        for (n, one) in self.running.iter_mut().enumerate().take(answering) {
            let load = match load {
                _ if n >= submitting => Load::None,
                Load::Rate(all) => Load::Rate(share(all, n, submitting)),
                load => load,
            };
            let task = Task { load, bytes, warm_ms: length_ms / 4, length_ms };
            let line = format!("{}\n", serde_json::to_string(&task).map_err(setup)?);
            one.tasks.write_all(line.as_bytes()).await.map_err(lost)?;
        }
        let mut windows = Vec::new();
        for one in self.running.iter_mut().take(answering) {
            let line = tokio::time::timeout(PATIENCE + length * 2, one.lines.next_line()).await;
            let line = line.map_err(|_| lost("a leader does not tell what it counted"))?.map_err(lost)?;
            let line = line.ok_or_else(|| lost("a leader has ended"))?;
            windows.push(serde_json::from_str(&line).map_err(lost)?);
        }
        Ok(windows)
    }

    /// How many of the leaders submit.
    pub fn submitting(&self) -> usize {
        if self.fault == Fault::None { LEADERS } else { LEADERS - 1 }
    }
}

/// The part of a rate that one of several leaders has.
fn share(all: u64, n: usize, of: usize) -> u64 {
    let (n, of) = (n as u64, of.max(1) as u64);
    all * (n + 1) / of - all * n / of
}

impl Running {
    fn start(program: &Path, folder: &Path, listen: Option<SocketAddr>) -> Result<Self, BenchError> {
        let mut command = Command::new(program);
        command.args(["bench", "run-leader"]).arg(folder);
        if let Some(listen) = listen {
            command.args(["--listen", &listen.to_string()]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = led::start(&mut command, Stdio::null())?;
        let no_pipe = || setup("a leader has no pipe");
        let tasks = process.stdin.take().ok_or_else(no_pipe)?;
        let lines = BufReader::new(process.stdout.take().ok_or_else(no_pipe)?).lines();
        Ok(Running { process, tasks, lines })
    }

    async fn line(&mut self) -> Result<String, BenchError> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.map_err(|_| setup("the leaders are not linked in time"))?.map_err(setup)?;
        line.ok_or_else(|| setup("a leader under measurement ended at once"))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_parts_of_a_rate_are_all_of_it() {
        for (all, of) in [(1000, 4), (1001, 4), (10, 3), (2, 3), (0, 4)] {
            let parts: Vec<u64> = (0..of).map(|n| super::share(all, n, of)).collect();
            assert_eq!(parts.iter().sum::<u64>(), all, "{parts:?}");
            assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1, "{parts:?}");
        }
    }
}
