//! Does what receivers saw keep what extended virtual synchrony promises?
//!
//! This crate reads traces of clients, one JSON object a line ([`record`], docs/traces.md), and checks one property
//! a file ([`checkers`]). It knows no protocol and links none: the same traces come from the simulator, from
//! clients of a real site, and from clients of another system.

pub mod checkers;
pub mod history;
pub mod record;

use std::collections::BTreeMap;

pub use history::History;
pub use record::{BadTrace, Event, Record, parse};

/// A property that a trace breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property, by its id in docs/traces.md.
    pub property: &'static str,
    /// What was seen.
    pub text: String,
}

/// What the checkers found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Everything that is wrong.
    pub violations: Vec<Violation>,
    /// How often each property had something to say yes or no to: a check that never looked proves nothing.
    pub looked: BTreeMap<&'static str, u64>,
    property: &'static str,
}

impl Report {
    /// Checks one instance of the property at hand.
    pub(crate) fn expect(&mut self, holds: bool, text: impl FnOnce() -> String) {
        *self.looked.entry(self.property).or_default() += 1;
        if !holds {
            self.violations.push(Violation { property: self.property, text: text() });
        }
    }
}

/// Checks every property of a trace.
pub fn check(records: &[Record]) -> Report {
    let history = History::new(records);
    let mut report = Report::default();
    for (property, checker) in checkers::ALL {
        report.property = property;
        report.looked.entry(property).or_default();
        checker(&history, &mut report);
    }
    report
}
