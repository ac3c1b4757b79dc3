//! What is around a leader that runs for years: its configuration, status and metrics, audit, hooks, the service manager, and
//! the sandbox that it puts itself into.
//!
//! The order is what matters, and [`Daemon`] keeps it: everything is opened first (folder, sockets, the audit's file, the
//! hooks' runner), then the sandbox closes behind the only thread there is, then the leader runs.
//!
//! Architecture invariants: no protocol decision is taken here; nothing here knows a secret; what any stranger can cause is
//! bounded in lines, connections, labels and runs of programs.

pub mod audit;
pub mod config;
mod daemon;
#[cfg(test)]
mod fixture;
pub mod hooks;
pub mod http;
mod listener;
pub mod metrics;
pub mod names;
pub mod notify;
mod places;
mod probe;
pub mod sandbox;
pub mod settings;
pub mod state;
pub mod status;
pub mod words;

pub use daemon::{Daemon, DaemonError, Helpers};
pub use probe::try_start;
