//! Overtaking: a reliable message may overtake what others sent, never what its own sender sent before it.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{Event, Service};
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for (p, events) in &history.events {
        // By sender, the places of what came already.
        let mut came: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for event in events {
            let Event::Deliver { m, .. } = event else { continue };
            let Some(sent) = history.sent.get(m.as_str()).filter(|sent| sent.svc >= Service::Reliable) else {
                continue;
            };
            let so_far = came.entry(sent.p).or_default();
            let overtaken = so_far.last().is_some_and(|last| *last > sent.at);
            report.expect(!overtaken, || format!("{p} got {m} of {} behind what that sent later", sent.p));
            so_far.insert(sent.at);
        }
    }
}
