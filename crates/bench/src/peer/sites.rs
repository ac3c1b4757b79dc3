//! Three sites of one network, each a process of the program under measurement.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use ringfort_site::client::{Door, Incoming, Sender, connect, group};
use ringfort_site::{Network, Report, folder, status};
use ringfort_spread::Name;
use tempfile::TempDir;

use super::PeerOptions;
use crate::{BenchError, setup};

/// Names of the sites, in the network's order: the last one calls nobody.
const NAMES: [&str; 3] = ["east", "north", "west"];
/// The sites have this long to come together.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Sites {
    temp: TempDir,
    options: PeerOptions,
    /// Where the sites listen.
    pub listen: [SocketAddr; 3],
    running: [Option<Child>; 3],
    groups: AtomicU32,
}

impl Drop for Sites {
    fn drop(&mut self) {
        (0..3).for_each(|n| self.kill(n));
    }
}

impl Sites {
    /// Makes three sites and runs them. The network's file says that they are at `addresses`, or where they listen.
    pub async fn start(options: &PeerOptions, addresses: Option<[SocketAddr; 3]>) -> Result<Self, BenchError> {
        let mut sites = Sites {
            temp: tempfile::tempdir().map_err(setup)?,
            options: options.clone(),
            listen: ringfort_loopback::addresses().map_err(setup)?,
            running: [None, None, None],
            groups: AtomicU32::new(0),
        };
        sites.make(addresses)?;
        for n in 0..3 {
            sites.run(n)?;
        }
        Ok(sites)
    }

    fn make(&self, addresses: Option<[SocketAddr; 3]>) -> Result<(), BenchError> {
        let mut rng = ChaCha20Rng::from_rng(&mut ringfort_documents::os_rng());
        let mut infos = Vec::new();
        for (n, address) in addresses.unwrap_or(self.listen).into_iter().enumerate() {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            infos.push(folder::create(&self.folder(n), name(n), &address.to_string(), seed).map_err(setup)?);
        }
        let network = Network::new("bench".to_owned(), infos).map_err(setup)?;
        let network = network.with_datagrams(self.options.datagram_bytes).map_err(setup)?;
        (0..3).try_for_each(|n| folder::install_network(&self.folder(n), &network).map_err(setup))
    }

    /// Starts a site.
    pub fn run(&mut self, n: usize) -> Result<(), BenchError> {
        let listen = self.listen.get(n).map(SocketAddr::to_string).unwrap_or_default();
        let child = Command::new(&self.options.program)
            .args(["site", "run"])
            .arg(self.folder(n))
            .args(["--listen", &listen])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.map_err(setup)?;
        if let Some(place) = self.running.get_mut(n) {
            *place = Some(child);
        }
        Ok(())
    }

    /// Ends a site as a crash does.
    pub fn kill(&mut self, n: usize) {
        if let Some(mut child) = self.running.get_mut(n).and_then(Option::take) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits until exactly these sites are in one ring.
    pub async fn together(&self, which: &[usize]) -> Result<(), BenchError> {
        let started = Instant::now();
        let names: Vec<&str> = which.iter().map(|n| name(*n)).collect();
        while started.elapsed() < PATIENCE {
            let reports: Vec<Report> = which.iter().filter_map(|n| status::ask(&self.folder(*n)).ok()).collect();
            let number = reports.first().map(|report| report.ring_number);
            let alike = |report: &Report| report.ring == names && Some(report.ring_number) == number;
            if reports.len() == which.len() && reports.iter().all(alike) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(setup(format!("the sites {names:?} are not in one ring after {PATIENCE:?}")))
    }

    /// Connects a client to a site.
    pub async fn client(&self, n: usize) -> Result<(Sender, Incoming), BenchError> {
        let door = Door::Unix(folder::clients_socket(&self.folder(n)));
        connect(&door, None).await.map_err(setup)
    }

    /// A group that nobody was in before.
    pub fn fresh_group(&self) -> Result<Name, BenchError> {
        group(&format!("bench-{}", self.groups.fetch_add(1, Ordering::Relaxed))).map_err(setup)
    }

    fn folder(&self, n: usize) -> PathBuf {
        self.temp.path().join(name(n))
    }
}

fn name(n: usize) -> &'static str {
    NAMES.get(n).copied().unwrap_or_default()
}
