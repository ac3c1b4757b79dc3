//! No duplicates: a process gets a message at most once, over all its views.

use std::collections::BTreeSet;

use crate::record::Event;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for (p, events) in &history.events {
        let mut seen = BTreeSet::new();
        for event in events {
            if let Event::Deliver { m, .. } = event {
                report.expect(seen.insert(m), || format!("{p} got {m} twice"));
            }
        }
    }
}
