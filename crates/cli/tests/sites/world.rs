//! Three sites of one network, each a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringfort_site::client::Door;
use ringfort_site::{Report, folder, status};
use tempfile::TempDir;

use super::process::{Running, eventually, ringfort, run, text};

pub const NAMES: [&str; 3] = ["north", "south", "west"];

pub struct World {
    temp: TempDir,
    /// Where the sites listen.
    pub listen: [SocketAddr; 3],
    pub sites: [Option<Running>; 3],
}

impl World {
    /// Three folders and a network's file, made as people make them. The file says that sites are at `addresses`.
    pub fn new(addresses: Option<[SocketAddr; 3]>) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let listen = ringfort_loopback::addresses().unwrap();
        let world = World { temp, listen, sites: [None, None, None] };
        for (name, address) in NAMES.iter().zip(addresses.unwrap_or(listen)) {
            let address = address.to_string();
            run(&["site", "new", text(&world.path(name)), "--name", name, "--address", &address]).succeeded();
        }
        let folders: Vec<PathBuf> = (0..3).map(|n| world.folder(n)).collect();
        let file = world.network();
        let cards: Vec<&str> = folders.iter().map(|folder| text(folder)).collect();
        run(&[&["site", "network", "new", text(&file), "--name", "plant"], &cards[..]].concat()).succeeded();
        for n in 0..3 {
            run(&["site", "install", text(&world.folder(n)), text(&file)]).succeeded();
        }
        world
    }

    pub fn running() -> Self {
        let mut world = World::new(None);
        (0..3).for_each(|n| world.start(n));
        world.whole(&[0, 1, 2]);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub fn folder(&self, n: usize) -> PathBuf {
        self.path(NAMES[n])
    }

    pub fn network(&self) -> PathBuf {
        self.path("network.toml")
    }

    pub fn command(&self, n: usize) -> Command {
        let listen = self.listen[n].to_string();
        ringfort(&["site", "run", text(&self.folder(n)), "--json", "--listen", &listen])
    }

    pub fn start(&mut self, n: usize) {
        let log = std::fs::File::options().create(true).append(true).open(self.log(n)).unwrap();
        let mut site = Running::start_logging(self.command(n), log);
        let line = site.event("listening");
        assert_eq!(line["site"], NAMES[n]);
        self.sites[n] = Some(site);
    }

    pub fn log(&self, n: usize) -> PathBuf {
        self.path(&format!("{}.log", NAMES[n]))
    }

    pub fn said(&self, n: usize) -> String {
        std::fs::read_to_string(self.log(n)).unwrap_or_default()
    }

    pub fn report(&self, n: usize) -> Option<Report> {
        status::ask(&self.folder(n)).ok()
    }

    /// Waits until these sites, and no other, are in one ring.
    pub fn whole(&self, which: &[usize]) {
        eventually(&format!("a ring of {which:?}"), || self.is_whole(which).then_some(()));
    }

    pub fn is_whole(&self, which: &[usize]) -> bool {
        let expected: Vec<&str> = which.iter().map(|n| NAMES[*n]).collect();
        let reports: Option<Vec<Report>> = which.iter().map(|n| self.report(*n)).collect();
        let Some(reports) = reports else { return false };
        reports.iter().all(|report| report.ring == expected && report.ring_number == reports[0].ring_number)
    }

    pub fn door(&self, n: usize) -> Door {
        Door::Unix(folder::clients_socket(&self.folder(n)))
    }

    /// Stops a site as its operator would.
    pub fn stop(&mut self, n: usize) {
        assert_eq!(self.sites[n].take().unwrap().terminate(), 0);
    }
}

/// A program that talks through a site.
pub fn talk(folder: &Path, what: &str, more: &[&str]) -> Command {
    ringfort(&[&["site", what, text(folder)], more].concat())
}
