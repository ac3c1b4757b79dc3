//! A deterministic world of sites: datagrams that are lost, doubled, late or too large, one-way links, partitions,
//! sites that sleep, crash and come back. One seed replays one run, and a run is a trace for `ringfort-trace-check`.

pub mod dice;
pub mod run;
pub mod trace;
pub mod workload;
pub mod world;

pub use run::{Outcome, Profile, run};
pub use world::World;
