//! A deterministic world of leaders that order messages: frames that are late, reordered and lost, partitions, a scheduler
//! that knows every coin as soon as `f + 1` shares of it are out, leaders that crash, sleep, lose their disks or are hacked.
//! One seed replays one run; checkers look at every event.

pub mod check;
pub mod dice;
pub mod graph;
pub mod hacked;
pub mod keys;
pub mod network;
pub mod node;
pub mod plays;
pub mod run;
pub mod world;

pub use hacked::Strategy;
pub use run::{Outcome, Plan, run};
pub use world::World;
