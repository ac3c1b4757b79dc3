//! Removing any one defence makes at least one scenario fail.

use std::time::Duration;

use ringfort_protocol::rules::Rule;
use ringfort_sim::attacks::Attack;
use ringfort_sim::explore::Limits;
use ringfort_sim::mutants::{Judgement, judge, pairs};
use serde::Serialize;

use crate::catalogue;
use crate::play::in_parallel;

/// How far a weakened group is explored until somebody notices.
pub const LIMITS: Limits = Limits { depth: 8, plays: 64 };

/// What became of one play with one defence removed.
#[derive(Clone, Debug, Serialize)]
pub struct Defence {
    /// The rule that honest nodes did not keep.
    pub removed: String,
    /// The play.
    pub play: &'static str,
    /// The scenarios that it belongs to.
    pub scenarios: Vec<&'static str>,
    /// Whether somebody noticed; for an implied rule, that nobody can.
    pub as_expected: bool,
    /// Whether other rules imply the removed one.
    pub implied: bool,
    /// What was noticed.
    pub noticed: String,
    /// In which order of deliveries, counted from 1.
    pub order: usize,
}

impl From<Judgement> for Defence {
    fn from(judgement: Judgement) -> Self {
        Defence {
            removed: format!("{:?}", judgement.rule),
            play: judgement.attack.name,
            scenarios: scenarios_of(judgement.attack),
            as_expected: judgement.is_good(),
            implied: judgement.implied.is_some(),
            noticed: judgement.noticed().to_owned(),
            order: judgement.report.interleavings,
        }
    }
}

fn scenarios_of(attack: &Attack) -> Vec<&'static str> {
    catalogue::all().filter(|s| s.simulated.contains(&attack.name)).map(|s| s.name).collect()
}

/// Removes every defence in turn and plays every attack that it stands against. `told` hears of each one.
pub fn remove_each(told: impl Fn(&Defence) + Sync) -> Vec<Defence> {
    in_parallel(&pairs(), |(rule, attack): &(Rule, &'static Attack)| {
        let defence = Defence::from(judge(*rule, attack, LIMITS));
        told(&defence);
        defence
    })
}

/// How many plays [`remove_each`] has.
pub fn count() -> usize {
    pairs().len()
}

/// What removing defences took, for people.
pub fn summary(defences: &[Defence], took: Duration) -> String {
    let rules: std::collections::BTreeSet<&str> = defences.iter().map(|d| d.removed.as_str()).collect();
    let noticed = defences.iter().filter(|d| d.as_expected && !d.implied).count();
    let implied = defences.iter().filter(|d| d.as_expected && d.implied).count();
    let missed = defences.iter().filter(|d| !d.as_expected).count();
    format!(
        "{} defences removed one at a time: noticed in {noticed} plays, {implied} implied by others, {missed} missed; {:.1} s",
        rules.len(),
        took.as_secs_f64()
    )
}
