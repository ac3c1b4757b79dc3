//! All scenarios, by what they go for.

mod keys;
mod leaders;
mod leaving;
mod logins;
mod messages;
mod roles;
mod setup;
pub mod sites;

use crate::scenario::Scenario;

/// All scenarios.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    [
        messages::SCENARIOS,
        logins::SCENARIOS,
        keys::SCENARIOS,
        leaving::SCENARIOS,
        roles::SCENARIOS,
        leaders::SCENARIOS,
        setup::SCENARIOS,
        sites::SCENARIOS,
    ]
    .into_iter()
    .flatten()
}

/// The scenario with a name.
pub fn named(name: &str) -> Option<&'static Scenario> {
    all().find(|scenario| scenario.name == name)
}

/// The scenarios of a row.
pub fn of_row(id: &str) -> Vec<&'static Scenario> {
    all().filter(|scenario| scenario.rows.contains(&id)).collect()
}
