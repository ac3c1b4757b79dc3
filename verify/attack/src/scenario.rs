//! What a scenario is, and how its plays end.

use std::collections::BTreeSet;
use std::pin::Pin;

use ringfort_protocol::rules::Rule;
use ringfort_sim::attacks::{self, Attack};
use ringfort_sim::explore::Ended;
use serde::Serialize;

/// An attack with its source, and the plays of it on each stage.
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
    /// Plays on the simulated stage, by name.
    pub simulated: &'static [&'static str],
    /// Plays on the real stage, by name.
    pub real: &'static [&'static str],
    /// Weakened variants that have the paper's flaw.
    pub twins: &'static [Twin],
}

impl Scenario {
    /// The plays on the simulated stage.
    pub fn simulated(&self) -> Vec<&'static Attack> {
        self.simulated.iter().filter_map(|name| attacks::named(name)).collect()
    }

    /// The plays on the real stage.
    pub fn real(&self) -> Vec<(&'static str, RealScenario)> {
        let all = crate::real::SCENARIOS.iter();
        all.filter(|(name, _)| self.real.contains(name)).copied().collect()
    }

    /// The defences: without any one of them a play of this scenario does not end well.
    pub fn defences(&self) -> BTreeSet<Rule> {
        self.simulated().iter().flat_map(|attack| attack.defences.iter().copied()).collect()
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

impl Holds {
    /// In a person's words.
    pub fn words(self) -> &'static str {
        match self {
            Holds::Network => "the network",
            Holds::HackedLeaders => "f leaders",
            Holds::ExMember => "an ex-member",
            Holds::OldTraffic => "old traffic",
            Holds::Insider => "a member",
            Holds::Stranger => "nothing",
        }
    }
}

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Plays a scenario against real processes.
pub type RealScenario = for<'a> fn(&'a mut crate::real::Stage) -> BoxFuture<'a, anyhow::Result<Outcome>>;

/// A weakened variant that has the flaw of the paper: the play must see it.
#[derive(Clone, Copy, Debug)]
pub struct Twin {
    /// Which play on the simulated stage sees it.
    pub play: &'static str,
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

    /// In one word.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Refused { .. } => "refused",
            Outcome::Broken { .. } => "BROKEN",
            Outcome::NotMade { .. } => "NOT MADE",
        }
    }

    /// What was seen, or missing.
    pub fn observed(&self) -> &str {
        match self {
            Outcome::Refused { observed } | Outcome::Broken { observed } => observed,
            Outcome::NotMade { why } => why,
        }
    }
}

impl From<Result<String, Ended>> for Outcome {
    fn from(ended: Result<String, Ended>) -> Self {
        match ended {
            Ok(observed) => Outcome::Refused { observed },
            Err(Ended::Broken(observed)) => Outcome::Broken { observed },
            Err(Ended::NotMade(why)) => Outcome::NotMade { why },
            Err(Ended::Pruned) => Outcome::not_made("no schedule was played to its end"),
        }
    }
}
