//! The machines that leaders run on: one process each, killed with the demo.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::desk::{Desk, Mode, Sight};
use super::hosting::Dial;
use super::story::Tone;
use crate::adversary::Kind;

/// One machine.
pub struct Machine {
    number: u8,
    folder: PathBuf,
    program: PathBuf,
    /// Where what runs here finds the other leaders.
    pub dials: Vec<Dial>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    readers: Vec<JoinHandle<()>>,
}

impl Machine {
    /// A machine that is switched off.
    pub fn new(number: u8, folder: PathBuf, program: PathBuf) -> Self {
        Machine { number, folder, program, dials: Vec::new(), running: None }
    }

    /// The process that runs, if one does.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().and_then(|running| running.child.id())
    }

    /// Writes to the process's standard input.
    ///
    /// # Errors
    /// No process runs here, or it does not read.
    pub async fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.running.as_mut().and_then(|running| running.child.stdin.as_mut());
        let input = input.with_context(|| format!("nothing runs on the machine of leader {}", self.number))?;
        Ok(input.write_all(line.as_bytes()).await?)
    }

    /// Whether what was started here has ended by itself.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        let Some(running) = &mut self.running else { return Ok(true) };
        Ok(running.child.try_wait()?.is_some())
    }

    /// What runs here knows the hidden commands of the demo.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The leader's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Kills what runs and waits until it is gone.
    pub async fn kill(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        // It may have ended by itself.
        let _ = running.child.kill().await;
        for reader in running.readers {
            let _ = reader.await;
        }
    }

    /// Starts the honest leader.
    pub fn start_honest(&mut self, desk: &Arc<Desk>) -> anyhow::Result<()> {
        let command = self.command("demo-leader");
        desk.with(|state| state.set_mode(self.number, Mode::Honest));
        self.start(desk, command)
    }

    /// Starts the attacker.
    pub fn start_hacked(&mut self, desk: &Arc<Desk>, kind: Kind, second: Option<PathBuf>) -> anyhow::Result<()> {
        let mut command = self.command("adversary");
        command.arg("--kind").arg(kind.name());
        if let Some(second) = second {
            command.arg("--group-folder").arg(second);
        }
        desk.with(|state| state.set_mode(self.number, Mode::Hacked(kind)));
        self.start(desk, command)
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(what).arg(&self.folder);
        for dial in &self.dials {
            command.arg("--dial").arg(dial.to_string());
        }
        command
    }

    fn start(&mut self, desk: &Arc<Desk>, mut command: Command) -> anyhow::Result<()> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
        let mut child = command.spawn().context("a leader's process")?;
        let number = self.number;
        let mut readers = Vec::new();
        if let Some(out) = child.stdout.take() {
            let desk = desk.clone();
            readers.push(tokio::spawn(read_lines(out, move |line| on_report(&desk, number, line))));
        }
        if let Some(err) = child.stderr.take() {
            let desk = desk.clone();
            let told = move |line: &str| desk.story.line(&format!("leader {number}"), Tone::Faint, line);
            readers.push(tokio::spawn(read_lines(err, told)));
        }
        self.running = Some(Running { child, readers });
        Ok(())
    }
}

async fn read_lines(from: impl AsyncRead + Unpin, mut told: impl FnMut(&str)) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        told(&line);
    }
}

/// A line of a leader's standard output. Attackers report what they tried, and nothing else they say counts.
fn on_report(desk: &Desk, number: u8, line: &str) {
    let Ok(report) = serde_json::from_str::<Value>(line) else { return };
    let text = |key: &str| report.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let hacked = desk.look(|state| matches!(state.leader(number).map(|l| l.mode), Some(Mode::Hacked(_))));
    let by = format!("leader {number}");
    match (text("event").as_str(), hacked) {
        ("tried", true) => {
            let counts = report.get("counts").and_then(|counts| serde_json::from_value(counts.clone()).ok());
            desk.with(|state| {
                let place = usize::from(number).checked_sub(1).and_then(|place| state.leaders.get_mut(place));
                if let (Some(leader), Some(counts)) = (place, counts) {
                    leader.tried = counts;
                }
            });
        }
        ("denied", false) => {
            let (user, reason) = (text("user"), text("reason"));
            desk.saw(Sight::new(&by, &format!("outsider {user}"), "denied"));
            desk.refused(&by, None, "denied", false, &format!("does not let {user} in: {reason}"));
        }
        ("cut_off", false) => {
            let peer = report.get("peer").and_then(Value::as_u64).unwrap_or_default();
            desk.saw(Sight::new(&by, &format!("leader {peer}"), "cut-off"));
        }
        ("blamed", false) => {
            let (whom, name, fault) = (text("whom"), text("name"), text("fault"));
            let deviation = report.get("deviation").and_then(Value::as_bool).unwrap_or(true);
            desk.saw(Sight::new(&by, &format!("{whom} {name}"), &fault));
            match whom.as_str() {
                "leader" => {
                    let what = format!("refuses what leader {name} says: {fault}");
                    desk.refused(&by, name.parse().ok(), &fault, deviation, &what);
                }
                "member" if deviation && !desk.look(|state| state.insiders.contains(&name)) => {
                    desk.with(|state| state.wronged.insert(format!("{by} blamed member {name}: {fault}")));
                }
                "outsider" => {
                    let name = if name.is_empty() { "somebody" } else { &name };
                    desk.refused(&by, None, &fault, false, &format!("turns {name} away: {fault}"));
                }
                _ => {}
            }
        }
        _ => {}
    }
}
