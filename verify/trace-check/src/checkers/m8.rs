//! No phantoms: every member of a view had connected and joined. At the end, once the network is whole, the last view
//! of a group is everybody who is alive and in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::Event;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for (g, id) in history.views.keys() {
        let Some(span) = history.in_view(g, *id).next() else { continue };
        for member in span.members {
            let joined = history.events.get(member.as_str()).is_some_and(|events| joins(events, g));
            report.expect(joined, || format!("view {id:?} of {g} has {member}, which never joined"));
        }
    }
    let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for p in &history.ended {
        let mut groups: BTreeSet<&str> = BTreeSet::new();
        for event in history.events.get(p).into_iter().flatten() {
            match event {
                Event::Join { g } => groups.insert(g),
                Event::Leave { g } => groups.remove(g.as_str()),
                _ => false,
            };
        }
        groups.into_iter().for_each(|g| {
            wanted.entry(g).or_default().insert(p);
        });
    }
    for (g, members) in &wanted {
        for p in members {
            let last = history.spans.iter().rev().find(|span| span.p == *p && span.g == *g);
            let seen: BTreeSet<&str> = last.into_iter().flat_map(|span| span.members).map(String::as_str).collect();
            report
                .expect(seen == *members, || format!("at the end {p} sees {seen:?} in {g}, and there are {members:?}"));
        }
    }
}

fn joins(events: &[&Event], g: &str) -> bool {
    events.iter().any(|event| matches!(event, Event::Join { g: of } if of == g))
}
