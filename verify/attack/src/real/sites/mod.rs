//! Three sites of a peer network, each a process of its own, with wires between them that somebody else holds.
//!
//! The demonstration cuts the wires; scenarios also replay, forge and flood on them.

mod talk;
mod wires;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use rand_core::Rng;
use ringfort_site::client::Door;
use ringfort_site::{DoorOptions, Folder, Network, Options, Report, folder, prepare, status};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::hosting::{input_ended, tell};
pub use talk::{Talk, Told};
pub use wires::{Datagram, Wires};

/// The sites, in the order of their places.
pub const NAMES: [&str; 3] = ["north", "south", "west"];
/// How long a site's process may take to listen: more than a busy machine needs.
const START_WITHIN: Duration = Duration::from_secs(40);

/// Runs a site until its standard input ends. It says where it listens.
///
/// # Errors
/// As a site's that cannot start or go on.
pub async fn host(folder: &Path, listen: SocketAddr) -> anyhow::Result<()> {
    let doors = DoorOptions { unix: Some(folder::clients_socket(folder)), ..DoorOptions::default() };
    let options = Options { listen: Some(listen), doors, ..Options::default() };
    let mut running = prepare(Folder::open(folder)?, &options)?.start().await?;
    tell(&json!({ "event": "listening", "port": running.address.port() }));
    tokio::select! {
        outcome = running.ended() => return Ok(outcome?),
        () = input_ended() => {}
    }
    Ok(running.stop().await?)
}

/// The sites' folders, processes and wires. Dropping it kills the processes.
pub struct Sites {
    dir: PathBuf,
    program: PathBuf,
    wires: Wires,
    running: [Option<Running>; 3],
}

struct Running {
    child: Child,
    /// It ends when this is closed.
    _input: ChildStdin,
    /// Kept open, so that nothing it says later is an error.
    _output: BufReader<ChildStdout>,
}

impl Sites {
    /// Makes the sites' folders in `dir`; `program` knows the hidden command `demo-site`. None runs yet.
    ///
    /// # Errors
    /// There is no room for it.
    pub async fn set(dir: &Path, program: &Path) -> anyhow::Result<Self> {
        let wires = Wires::lay().await.context("the wires between sites")?;
        let mut cards = Vec::new();
        for (name, address) in NAMES.iter().zip(wires.addresses()) {
            cards.push(folder::create(&dir.join(name), name, &address.to_string(), seed())?);
        }
        let network = Network::new("plant".to_owned(), cards)?;
        for name in NAMES {
            folder::install_network(&dir.join(name), &network)?;
        }
        Ok(Sites { dir: dir.to_owned(), program: program.to_owned(), wires, running: [None, None, None] })
    }

    /// What lies between them.
    pub fn wires(&self) -> &Wires {
        &self.wires
    }

    /// A site's folder.
    pub fn folder(&self, place: usize) -> PathBuf {
        self.dir.join(NAMES.get(place).copied().unwrap_or_default())
    }

    /// Where a site lets its clients in.
    pub fn door(&self, place: usize) -> Door {
        Door::Unix(folder::clients_socket(&self.folder(place)))
    }

    /// How a site says that it is, if it runs.
    pub fn report(&self, place: usize) -> Option<Report> {
        status::ask(&self.folder(place)).ok()
    }

    /// Starts a site's process.
    ///
    /// # Errors
    /// It does not come to listen.
    pub async fn start(&mut self, place: usize) -> anyhow::Result<()> {
        self.start_from(place, &self.folder(place)).await
    }

    /// Starts, in the place of a site, the one of another folder.
    ///
    /// # Errors
    /// It does not come to listen.
    pub async fn start_from(&mut self, place: usize, folder: &Path) -> anyhow::Result<()> {
        let (running, port) = self.launch(folder).await?;
        self.wires.knows(place, port, running.child.id().unwrap_or_default());
        let spot = self.running.get_mut(place).context("there are three sites")?;
        *spot = Some(running);
        Ok(())
    }

    async fn launch(&self, folder: &Path) -> anyhow::Result<(Running, u16)> {
        let mut command = Command::new(&self.program);
        command.arg("demo-site").arg(folder).args(["--listen", "127.0.0.1:0"]);
        let complaints = folder.with_extension("log");
        let log = std::fs::File::create(&complaints).context("a file for what a site's process complains of")?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true).process_group(0);
        let mut child = command.spawn().context("a site's process")?;
        let input = child.stdin.take().context("its input")?;
        let mut output = BufReader::new(child.stdout.take().context("its output")?);
        let mut line = String::new();
        let read = tokio::time::timeout(START_WITHIN, output.read_line(&mut line)).await;
        read.context("a site's process says nothing")??;
        let said: Value = serde_json::from_str(&line).with_context(|| {
            format!("a site's process ended at once: {}", std::fs::read_to_string(&complaints).unwrap_or_default())
        })?;
        let port = said.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        Ok((Running { child, _input: input, _output: output }, port.context("it does not say where it listens")?))
    }

    /// Kills a site's process, as a power cut would.
    pub async fn kill(&mut self, place: usize) {
        if let Some(mut running) = self.running.get_mut(place).and_then(Option::take) {
            // It may have ended by itself.
            let _ = running.child.kill().await;
        }
    }

    /// The process of a site that runs.
    pub fn process(&self, place: usize) -> Option<u32> {
        self.running.get(place)?.as_ref()?.child.id()
    }

    /// Ends all of them.
    pub async fn close(mut self) {
        for place in 0..NAMES.len() {
            self.kill(place).await;
        }
    }

    /// Whether these, and no others, say that they are in one ring.
    pub fn are_together(&self, places: &[usize]) -> bool {
        let reports: Option<Vec<Report>> = places.iter().map(|place| self.report(*place)).collect();
        let Some(reports) = reports else { return false };
        let expected: Vec<&str> = places.iter().filter_map(|place| NAMES.get(*place).copied()).collect();
        let number = reports.first().map(|report| report.ring_number);
        reports.iter().all(|report| report.ring == expected && Some(report.ring_number) == number)
    }

    /// Waits until these are in one ring.
    ///
    /// # Errors
    /// They are not, for too long.
    pub async fn together(&self, places: &[usize], within: Duration) -> anyhow::Result<Duration> {
        let began = std::time::Instant::now();
        while !self.are_together(places) {
            let states: Vec<String> = places.iter().filter_map(|place| Some(self.report(*place)?.state)).collect();
            ensure!(began.elapsed() < within, "sites {places:?} do not come together: {}", states.join("; "));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(began.elapsed())
    }
}

fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    ringfort_documents::os_rng().fill_bytes(&mut seed);
    seed
}
