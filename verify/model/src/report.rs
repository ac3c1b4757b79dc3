//! Runs a checker and tells what it found.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// Steps taken, those to known states included.
    pub steps: usize,
    /// Events on the longest way that was followed.
    pub depth: usize,
    /// Whether every state within the bounds was seen.
    pub complete: bool,
    /// Time taken.
    pub took: Duration,
    /// `always` properties that some state breaks, each with the events that lead there.
    pub broken: Vec<(&'static str, Vec<String>)>,
    /// `sometimes` properties that no state fulfils.
    pub never: Vec<&'static str>,
    /// `sometimes` properties that some state fulfils, with the number of events to the first.
    pub happened: Vec<(&'static str, usize)>,
    /// `always` properties that hold in all states seen.
    pub held: Vec<&'static str>,
}

impl Report {
    /// Whether all that must hold holds, and all that must happen happens.
    pub fn is_good(&self) -> bool {
        self.broken.is_empty() && self.never.is_empty() && self.complete
    }

    /// Whether a property was broken.
    pub fn breaks(&self, property: &str) -> bool {
        self.broken.iter().any(|(name, _)| *name == property)
    }
}

/// Tries everything, breadth first; stops early only once each property has its example or counterexample.
pub fn check<M>(model: M, threads: usize, states_max: Option<usize>) -> Report
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let start = std::time::Instant::now();
    let mut builder = model.checker().threads(threads);
    if let Some(max) = states_max {
        builder = builder.target_state_count(max);
    }
    let checker = builder.spawn_bfs().join();
    let discoveries = checker.discoveries();
    let mut report = Report {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        complete: states_max.is_none_or(|max| checker.state_count() < max),
        took: start.elapsed(),
        broken: Vec::new(),
        never: Vec::new(),
        happened: Vec::new(),
        held: Vec::new(),
    };
    for property in checker.model().properties() {
        let found = discoveries.get(property.name);
        match (&property.expectation, found) {
            (Expectation::Sometimes, Some(path)) => {
                report.happened.push((property.name, path.clone().into_actions().len()));
            }
            (Expectation::Sometimes, None) => report.never.push(property.name),
            (_, Some(path)) => {
                let events = path.clone().into_actions().iter().map(|act| format!("{act:?}")).collect();
                report.broken.push((property.name, events));
            }
            (_, None) => report.held.push(property.name),
        }
    }
    report
}

/// Looks for a state that breaks a property, deep first, in at most `steps_max` steps: the events that lead there.
pub fn refute<M>(model: M, property: &'static str, steps_max: usize) -> Option<Vec<String>>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let found = HasDiscoveries::AllOf([property].into());
    let checker = model.checker().threads(1).finish_when(found).target_state_count(steps_max).spawn_dfs().join();
    let path = checker.discoveries().remove(property)?;
    Some(path.into_actions().iter().map(|act| format!("{act:?}")).collect())
}
