//! Four leaders of one group, each a process of the program under measurement.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use ringfort::files::LeaderFolder;
use ringfort_protocol::group::deal_group;
use ringfort_protocol::{Policy, Rules};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::faulty::Fault;
use super::lost;
use super::node::Stretch;
use super::{AgreementOptions, LEADERS, setup};
use crate::BenchError;

/// A leader has this long for an answer, beyond what it was told to take.
const PATIENCE: Duration = Duration::from_secs(60);

struct Process {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

/// How far a leader's log is: messages, and the hash of all of them.
pub(super) type Place = (u64, String);

pub(super) struct Leaders {
    _temp: TempDir,
    running: BTreeMap<usize, Process>,
}

impl Leaders {
    /// Makes a group and runs its leaders; the last has the fault.
    pub async fn start(options: &AgreementOptions, fault: Fault) -> Result<Self, BenchError> {
        let temp = tempfile::tempdir().map_err(setup)?;
        let folders = make(&temp)?;
        let mut leaders = Leaders { _temp: temp, running: BTreeMap::new() };
        for (number, folder) in folders.into_iter().enumerate() {
            let is_last = number + 1 == LEADERS;
            if is_last && fault == Fault::Silent {
                continue;
            }
            let its = if is_last { fault } else { Fault::None };
            leaders.running.insert(number, spawn(options, folder, its)?);
        }
        for number in leaders.numbers() {
            leaders.line(number, PATIENCE).await?;
        }
        // The first messages wait for links.
        leaders.load(1_000, 64, 1).await?;
        Ok(leaders)
    }

    pub fn numbers(&self) -> Vec<usize> {
        self.running.keys().copied().collect()
    }

    /// Leaders that do as they should.
    pub fn honest(&self, fault: Fault) -> Vec<usize> {
        self.numbers().into_iter().filter(|number| fault == Fault::None || number + 1 < LEADERS).collect()
    }

    /// All of them, or those that are named, submit `rate` messages a second in all; 0: as many as are taken.
    pub async fn load(
        &mut self,
        rate: u64,
        bytes: usize,
        seconds: u64,
    ) -> Result<BTreeMap<usize, Stretch>, BenchError> {
        let numbers = self.numbers();
        self.tell_load(&numbers, rate, bytes, seconds).await?;
        self.loaded(&numbers, seconds).await
    }

    pub async fn tell_load(&mut self, who: &[usize], rate: u64, bytes: usize, seconds: u64) -> Result<(), BenchError> {
        let each = rate.div_ceil(who.len().max(1) as u64);
        for number in who {
            self.say(*number, &format!("load {each} {bytes} {seconds}")).await?;
        }
        Ok(())
    }

    pub async fn loaded(&mut self, who: &[usize], seconds: u64) -> Result<BTreeMap<usize, Stretch>, BenchError> {
        let mut stretches = BTreeMap::new();
        for number in who {
            let line = self.line(*number, PATIENCE + Duration::from_secs(seconds)).await?;
            stretches.insert(*number, Stretch::read(&line).ok_or_else(|| lost(line))?);
        }
        Ok(stretches)
    }

    /// How far a leader is.
    pub async fn place(&mut self, number: usize) -> Result<Place, BenchError> {
        self.say(number, "where").await?;
        let line = self.line(number, PATIENCE).await?;
        let mut words = line.strip_prefix("at ").unwrap_or_default().split_whitespace();
        let messages = words.next().and_then(|word| word.parse().ok());
        match (messages, words.next()) {
            (Some(messages), Some(hash)) => Ok((messages, hash.to_owned())),
            _ => Err(lost(line)),
        }
    }

    /// Waits until the logs of these are the same.
    pub async fn agree(&mut self, who: &[usize]) -> Result<u64, BenchError> {
        let mut places: Vec<Place> = Vec::new();
        for _ in 0..200 {
            places.clear();
            for number in who {
                places.push(self.place(*number).await?);
            }
            if let [first, rest @ ..] = places.as_slice()
                && rest.iter().all(|place| place == first)
            {
                return Ok(first.0);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(lost(format!("the leaders' logs are not the same: {places:?}")))
    }

    pub fn process(&self, number: usize) -> Option<u32> {
        self.running.get(&number)?.child.id()
    }

    async fn say(&mut self, number: usize, line: &str) -> Result<(), BenchError> {
        let process = self.running.get_mut(&number).ok_or_else(|| setup("no such leader runs"))?;
        process.input.write_all(format!("{line}\n").as_bytes()).await.map_err(lost)
    }

    async fn line(&mut self, number: usize, patience: Duration) -> Result<String, BenchError> {
        let process = self.running.get_mut(&number).ok_or_else(|| setup("no such leader runs"))?;
        let line = tokio::time::timeout(patience, process.lines.next_line()).await;
        let line = line.map_err(|_| lost(format!("leader {} does not answer", number + 1)))?.map_err(lost)?;
        line.ok_or_else(|| lost(format!("leader {} has ended", number + 1)))
    }
}

fn make(temp: &TempDir) -> Result<Vec<PathBuf>, BenchError> {
    let held: Result<Vec<TcpListener>, _> = (0..LEADERS).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let held = held.map_err(setup)?;
    let addresses: Result<Vec<_>, _> = held.iter().map(TcpListener::local_addr).collect();
    let addresses: Vec<String> = addresses.map_err(setup)?.iter().map(ToString::to_string).collect();
    let rules = Rules::new(LEADERS as u8, 1, 2).map_err(setup)?;
    let policy = Policy { order: true, ..Policy::default() };
    let mut rng = ChaCha20Rng::from_rng(&mut ringfort::os_rng());
    let (group, secrets) = deal_group("bench", rules, &addresses, policy, &mut rng);
    secrets.iter().map(|secrets| LeaderFolder::create(temp.path(), &group, secrets, &[]).map_err(setup)).collect()
}

fn spawn(options: &AgreementOptions, folder: PathBuf, fault: Fault) -> Result<Process, BenchError> {
    let mut child = Command::new(&options.program)
        .args(["bench", "agreement-leader"])
        .arg(folder)
        .arg(fault.word())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(setup)?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (Some(input), Some(output)) = (input, output) else { return Err(setup("a leader has no pipes")) };
    Ok(Process { child, input, lines: BufReader::new(output).lines() })
}
