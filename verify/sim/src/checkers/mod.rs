//! The properties, one a file. Each sees what honest nodes do, and the facts, and says what is wrong.
//!
//! Safety holds all along; what is judged at the end is judged after the network has been kind and the
//! group has had time to settle, with `f` leaders as hostile as ever.

mod agreement;
mod authentication;
mod blame;
mod consistency;
mod current;
pub mod delivery;
mod endings;
mod forward;
pub mod gaps;
mod integrity;
mod liveness;
mod logs;
mod lost;
mod readability;
mod removals;
mod secrecy;
mod sessions;
mod views;
mod word;
mod work;

use std::time::Duration;

use ringfort_protocol::leader::{self, Leader};
use ringfort_protocol::member::{self, Member};
use ringfort_protocol::{LeaderId, Time};

use crate::setup::Setup;
use crate::world::{ClientId, Facts, World};

/// Something an honest node did.
pub struct Seen<'a> {
    /// When.
    pub at: Time,
    /// What.
    pub what: What<'a>,
}

/// What an honest node did.
pub enum What<'a> {
    /// A leader.
    Leader {
        /// Which.
        id: LeaderId,
        /// Its state after it.
        core: Option<&'a Leader>,
        /// What it reports.
        event: &'a leader::Event,
    },
    /// A member.
    Member {
        /// Which run of its program.
        client: ClientId,
        /// Its state after it.
        member: &'a Member,
        /// What it reports.
        event: &'a member::Event,
    },
}

/// The end of a run.
pub struct End<'a> {
    /// How long the group took to settle; `None` if it did not.
    pub settled: Option<Duration>,
    /// Everything.
    pub world: &'a World,
}

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Which property.
    pub property: &'static str,
    /// When, in seconds of the run.
    pub at_s: f64,
    /// How it shows.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {:.3} s: {}", self.property, self.at_s, self.what)
    }
}

/// One property.
pub trait Checker {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Looks at one thing that happened.
    fn see(&mut self, _facts: &Facts, _seen: &Seen<'_>, _wrong: &mut Vec<String>) {}

    /// Looks at everything, from time to time.
    fn look(&mut self, _world: &World, _wrong: &mut Vec<String>) {}

    /// Looks at the end.
    fn finish(&mut self, _end: &End<'_>, _wrong: &mut Vec<String>) {}
}

/// Violations kept of one run.
const VIOLATIONS_MAX: usize = 20;

/// All properties of one run.
#[derive(Default)]
pub struct Checkers {
    checkers: Vec<Box<dyn Checker>>,
    violations: Vec<Violation>,
    verbose: bool,
}

impl Checkers {
    /// Those that apply to a setup.
    pub fn new(setup: &Setup) -> Self {
        let overlap = setup.policy.overlap();
        let mut checkers: Vec<Box<dyn Checker>> = vec![
            Box::new(consistency::Consistency),
            Box::new(liveness::Liveness),
            Box::new(authentication::ValidAuthentication),
            Box::new(removals::Removals),
            Box::new(agreement::Agreement::default()),
            Box::new(views::TrueViews),
            Box::new(word::Word),
            Box::new(forward::Forward::default()),
            Box::new(integrity::Integrity::default()),
            Box::new(readability::Readability::new(overlap)),
            Box::new(delivery::Delivery),
            Box::new(secrecy::Secrecy),
            Box::new(sessions::Sessions::default()),
            Box::new(logs::Logs::default()),
            Box::new(endings::Endings { tls: setup.wire == crate::network::Wire::Tls }),
        ];
        if setup.wire == crate::network::Wire::Tls {
            checkers.push(Box::new(blame::Blame));
        }
        if setup.vice == crate::strategy::Vice::Mutate {
            checkers.push(Box::new(lost::Lost::new(setup)));
            checkers.push(Box::new(current::Current::new(setup)));
            checkers.push(Box::<work::Work>::default());
        }
        if setup.tells_gaps {
            checkers.push(Box::new(gaps::Gaps));
        }
        Checkers { checkers, violations: Vec::new(), verbose: setup.verbose }
    }

    /// Shows everybody what happened.
    pub fn see(&mut self, facts: &Facts, seen: &Seen<'_>) {
        let mut wrong = Vec::new();
        for checker in &mut self.checkers {
            checker.see(facts, seen, &mut wrong);
            note(&mut self.violations, self.verbose, checker.name(), seen.at, &mut wrong);
        }
    }

    /// Looks at everything.
    pub fn look(&mut self, world: &World) {
        let mut wrong = Vec::new();
        for checker in &mut self.checkers {
            checker.look(world, &mut wrong);
            note(&mut self.violations, self.verbose, checker.name(), world.now, &mut wrong);
        }
    }

    /// What is wrong so far.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The verdict.
    pub fn finish(mut self, end: &End<'_>) -> Vec<Violation> {
        let mut wrong = Vec::new();
        for checker in &mut self.checkers {
            checker.finish(end, &mut wrong);
            note(&mut self.violations, self.verbose, checker.name(), end.world.now, &mut wrong);
        }
        self.violations
    }
}

fn note(violations: &mut Vec<Violation>, verbose: bool, property: &'static str, at: Time, wrong: &mut Vec<String>) {
    for what in wrong.drain(..) {
        let violation = Violation { property, at_s: at.since_start().as_secs_f64(), what };
        if verbose {
            println!("VIOLATION {violation}");
        }
        if violations.len() < VIOLATIONS_MAX {
            violations.push(violation);
        }
    }
}
