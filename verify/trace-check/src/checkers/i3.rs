//! Addressing: a process gets only what goes to a group that it is in at that place, or to itself by name.

use std::collections::BTreeSet;

use crate::record::Event;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for (p, events) in &history.events {
        let mut member_of: BTreeSet<&str> = BTreeSet::new();
        for event in events {
            match event {
                Event::Reg { g, .. } => {
                    member_of.insert(g);
                }
                Event::SelfLeave { g } => {
                    member_of.remove(g.as_str());
                }
                Event::Deliver { m, groups, .. } => {
                    let addressed = groups.iter().any(|g| member_of.contains(g.as_str()) || g == p);
                    report.expect(addressed, || format!("{p} got {m}, which goes to none of its groups"));
                }
                _ => {}
            }
        }
    }
}
