//! All scenarios.

use crate::scenario::Scenario;

/// All scenarios, in the order of the rows.
pub const SCENARIOS: &[Scenario] = &[];
