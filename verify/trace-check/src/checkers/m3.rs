//! Agreement: one id, one list of members, at all that get it.

use std::collections::BTreeMap;

use crate::record::Event;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for (g, id) in history.views.keys() {
        let mut spans = history.in_view(g, *id);
        let Some(first) = spans.next() else { continue };
        for span in spans {
            let same = first.members == span.members && first.cause == span.cause;
            report.expect(same, || format!("view {id:?} of {g} is one at {} and another at {}", first.p, span.p));
        }
    }
    let mut rings: BTreeMap<[u64; 2], &[String]> = BTreeMap::new();
    for (p, event) in history.events.iter().flat_map(|(p, events)| events.iter().map(move |event| (p, event))) {
        if let Event::Ring { id, members } = event {
            let first = *rings.entry(*id).or_insert(members);
            report.expect(first == members, || format!("{p} installed ring {id:?} with other members than another"));
        }
    }
}
