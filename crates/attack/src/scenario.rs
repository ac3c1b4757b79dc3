//! What a scenario is.

use std::pin::Pin;

use ringfort_protocol::rules::Rule;
use serde::Serialize;

/// An attack with its source, and the stages it is played on.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// The rows of the list of attacks that it plays.
    pub rows: &'static [&'static str],
    /// Where the paper states the flaw.
    pub source: &'static str,
    /// The flaw as the paper states it.
    pub flaw: &'static str,
    /// What the attacker holds.
    pub holds: &'static [Holds],
    /// What the attacker does.
    pub attack: &'static str,
    /// What must be observed.
    pub expected: &'static str,
    /// The defences; the scenario fails without any one of them.
    pub defences: &'static [Rule],
    /// The simulated stage.
    pub simulated: Option<Simulated>,
    /// Weakened variants that have the paper's flaw.
    pub twins: &'static [Twin],
}

impl Scenario {
    /// The real stage, if it is played there.
    pub fn real(&self) -> Option<RealScenario> {
        crate::real::SCENARIOS.iter().find(|(name, _)| *name == self.name).map(|(_, scenario)| *scenario)
    }
}

/// What an attacker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// Every wire: it reads, drops, delays, reorders, repeats, alters and adds.
    Network,
    /// Up to f leaders with all their keys.
    HackedLeaders,
    /// A former member's keys and all that it ever read.
    ExMember,
    /// A member's frames of before, as they were on the wire.
    OldTraffic,
    /// A current member.
    Insider,
    /// Nothing but a way to connect.
    Stranger,
}

/// Plays a scenario once, under one order of deliveries.
pub type Simulated = fn() -> Outcome;

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Plays a scenario against real processes.
pub type RealScenario = for<'a> fn(&'a mut crate::real::Stage) -> BoxFuture<'a, anyhow::Result<Outcome>>;

/// A weakened variant that has the flaw of the paper: the scenario must see it.
#[derive(Clone, Copy, Debug)]
pub struct Twin {
    /// What is missing in it.
    pub without: Rule,
    /// Which system of the papers is like that.
    pub like: &'static str,
}

/// How an attack ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It was made and failed, and the honest went on.
    Refused {
        /// What was seen.
        observed: String,
    },
    /// It succeeded.
    Broken {
        /// What was seen.
        observed: String,
    },
    /// It did not come about, which is a failure of the scenario.
    NotMade {
        /// What was missing.
        why: String,
    },
}

impl Outcome {
    /// It was made and failed.
    pub fn refused(observed: impl Into<String>) -> Outcome {
        Outcome::Refused { observed: observed.into() }
    }

    /// It succeeded.
    pub fn broken(observed: impl Into<String>) -> Outcome {
        Outcome::Broken { observed: observed.into() }
    }

    /// It did not come about.
    pub fn not_made(why: impl Into<String>) -> Outcome {
        Outcome::NotMade { why: why.into() }
    }

    /// Whether it was made and failed.
    pub fn is_refused(&self) -> bool {
        matches!(self, Outcome::Refused { .. })
    }
}
