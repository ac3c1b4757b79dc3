//! What a leader takes from itself once it has all that it needs open: so that whoever takes the process over has the leader's
//! own keys and links, which the group survives, and nothing else of the machine.
//!
//! Landlock leaves it the state in its own folder, its audit's folder, and TCP to listen on its own port and to connect to the other
//! leaders' ports. seccomp leaves it the system calls that a leader makes: no program can be started, no memory be made
//! executable, no socket be opened but TCP. Names are looked up outside ([`crate::names`]).
//!
//! Both hold for the calling thread and for those that it starts from then on: enter before there are others.
//! What it does not do: Landlock knows ports and not addresses, so other machines' servers at the leaders' ports stay in
//! reach; a network filter keeps those out.

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod files;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use ringfort::protocol::{GroupInfo, LeaderId};

/// What the leader goes on needing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Folders in which it reads and writes files.
    pub folders: Vec<PathBuf>,
    /// Ports on which it listens.
    pub listens: BTreeSet<u16>,
    /// Ports to which it connects.
    pub connects: BTreeSet<u16>,
}

impl Needs {
    /// Adds what it takes to connect to those leaders that `me` calls: the ones with a higher number.
    pub fn connect_to_leaders(&mut self, group: &GroupInfo, me: LeaderId) {
        for peer in group.rules.leaders().filter(|peer| *peer > me).filter_map(|peer| group.leader(peer)) {
            let Some((_, port)) = peer.address.rsplit_once(':') else { continue };
            self.connects.extend(port.parse::<u16>());
        }
    }
}

/// How much of one part the kernel enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Enforced,
    /// Some of it: the kernel is too old for the rest.
    Partly,
    /// Nothing, and why.
    Absent(String),
}

/// How much of the sandbox is enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforcement {
    /// Files and ports: Landlock.
    pub landlock: Part,
    /// System calls: seccomp.
    pub seccomp: Part,
}

impl Enforcement {
    /// In a word: "enforced", "partly" or "absent".
    pub fn word(&self) -> &'static str {
        match (&self.landlock, &self.seccomp) {
            (Part::Enforced, Part::Enforced) => "enforced",
            (Part::Absent(_), Part::Absent(_)) => "absent",
            _ => "partly",
        }
    }
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |part: &Part| match part {
            Part::Enforced => "enforced".to_owned(),
            Part::Partly => "enforced in part, for this kernel does not know all of it".to_owned(),
            Part::Absent(why) => format!("not enforced: {why}"),
        };
        write!(
            f,
            "files and ports (Landlock): {}; system calls (seccomp): {}",
            told(&self.landlock),
            told(&self.seccomp)
        )
    }
}

/// Enters the sandbox: there is no way back.
#[cfg(target_os = "linux")]
pub fn enter(needs: &Needs) -> Enforcement {
    // Landlock first: its own system calls are not among those that seccomp leaves.
    Enforcement { landlock: files::restrict(needs), seccomp: calls::restrict() }
}

/// Enters the sandbox: there is none on this system.
#[cfg(not(target_os = "linux"))]
pub fn enter(_: &Needs) -> Enforcement {
    let absent = || Part::Absent("only Linux has it".to_owned());
    Enforcement { landlock: absent(), seccomp: absent() }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
