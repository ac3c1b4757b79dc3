//! The real stage: leader processes, real sockets, a hostile proxy, a hostile client and a hostile leader.

pub mod client;
mod clocks;
pub mod desk;
pub mod hosting;
pub mod insider;
pub mod judging;
pub mod ledger;
mod machines;
pub mod members;
pub mod middleman;
mod outcast;
mod postmarks;
pub mod proxy;
pub mod scenarios;
pub mod sites;
pub mod stage;
pub mod story;
pub mod tls;
pub mod told;
pub mod trial;
pub mod wires;

use std::time::Duration;

use crate::scenario::RealScenario;
pub use members::Witness;
pub use stage::Stage;

/// Scenarios that are played here, by the name they have in the catalogue.
pub const SCENARIOS: &[(&str, RealScenario)] = scenarios::ALL;

/// How long anything may take that is not an attack: more than a busy machine needs.
pub const PATIENCE: Duration = Duration::from_secs(40);
