//! Self-delivery: a process gets what it sends to a group that it is in, unless it stops.

use std::collections::BTreeSet;

use crate::record::Event;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for p in &history.ended {
        let Some(events) = history.events.get(p) else { continue };
        let got: BTreeSet<&str> = events.iter().filter_map(|event| delivered(event)).collect();
        let mut member_of: BTreeSet<&str> = BTreeSet::new();
        for event in events {
            match event {
                Event::Reg { g, .. } => {
                    member_of.insert(g);
                }
                // From the request on, what is sent comes behind the leave.
                Event::Leave { g } | Event::SelfLeave { g } => {
                    member_of.remove(g.as_str());
                }
                Event::Send { m, groups, discard: false, .. }
                    if groups.iter().any(|g| member_of.contains(g.as_str())) =>
                {
                    report.expect(got.contains(m.as_str()), || format!("{p} never got its own {m}"));
                }
                _ => {}
            }
        }
    }
}

fn delivered(event: &Event) -> Option<&str> {
    match event {
        Event::Deliver { m, .. } => Some(m),
        _ => None,
    }
}
