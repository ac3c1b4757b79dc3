//! The real stage: leader processes, real sockets, a hostile proxy, a hostile client and a hostile leader.

use std::path::PathBuf;

use crate::scenario::RealScenario;

/// Scenarios that are played here, by the name they have in the catalogue.
pub const SCENARIOS: &[(&str, RealScenario)] = &[];

/// Processes and sockets of one scenario.
#[derive(Debug)]
pub struct Stage {
    /// The program whose hidden subcommands run the leaders.
    pub program: PathBuf,
}

impl Stage {
    /// An empty stage.
    pub async fn open(program: PathBuf) -> anyhow::Result<Stage> {
        Ok(Stage { program })
    }

    /// Ends all that was started.
    pub async fn close(self) {}
}
