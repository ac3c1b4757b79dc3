//! The CPU time of this process by thread, as the system counts it.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use serde::{Deserialize, Serialize};

/// CPU time; all zero where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cpu {
    /// The thread that orders.
    pub order: Duration,
    /// The thread that submits for the measurement.
    pub load: Duration,
    /// All others in the program itself: links with their ciphers, the leader's loop.
    pub links: Duration,
    /// The same in the system for them: sockets, waking.
    pub links_system: Duration,
}

impl Cpu {
    pub fn now() -> Self {
        let mut cpu = Cpu::default();
        for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let Some((name, user, system)) =
                fs::read_to_string(task.path().join("stat")).ok().as_deref().and_then(read)
            else {
                continue;
            };
            match name.as_str() {
                "order" => cpu.order += user + system,
                "load" => cpu.load += user + system,
                _ => (cpu.links, cpu.links_system) = (cpu.links + user, cpu.links_system + system),
            }
        }
        cpu
    }

    pub fn since(&self, before: &Cpu) -> Cpu {
        Cpu {
            order: self.order.saturating_sub(before.order),
            load: self.load.saturating_sub(before.load),
            links: self.links.saturating_sub(before.links),
            links_system: self.links_system.saturating_sub(before.links_system),
        }
    }

    pub fn add(&mut self, other: &Cpu) {
        self.order += other.order;
        self.load += other.load;
        self.links += other.links;
        self.links_system += other.links_system;
    }
}

/// The name, and the time in the program and in the system, of a line of `stat`.
fn read(line: &str) -> Option<(String, Duration, Duration)> {
    let (before, after) = line.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let mut ticks = after.split_whitespace().skip(11).map(str::parse::<u64>);
    let mut next = || Some(Duration::from_secs_f64(ticks.next()?.ok()? as f64 / clock_ticks_per_second() as f64));
    Some((name, next()?, next()?))
}

/// The CPU time of whole processes, this one's children.
pub(crate) fn of_processes(ids: &[u32]) -> Duration {
    let of = |id: &u32| read(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?);
    ids.iter().filter_map(of).map(|(_, user, system)| user + system).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_name_holds() {
        let ticks = clock_ticks_per_second();
        let line = format!("7 (a ) (b) S 1 1 1 0 -1 64 5 0 0 0 {} {} 0 0 20 0", 3 * ticks, 2 * ticks);
        assert_eq!(read(&line), Some(("a ) (b".to_owned(), Duration::from_secs(3), Duration::from_secs(2))));
        assert_eq!(read("7 (a) S 1"), None);
    }
}
