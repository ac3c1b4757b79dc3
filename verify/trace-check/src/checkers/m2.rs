//! Local monotony: the views of a group grow at a process, and the rings at a site, over its lives too.

use std::collections::BTreeMap;

use crate::record::{Event, ViewId};
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for (p, events) in &history.events {
        let mut last: BTreeMap<&str, ViewId> = BTreeMap::new();
        let mut last_ring = [0; 2];
        for event in events {
            match event {
                Event::Reg { g, id, .. } => {
                    let before = last.insert(g, *id);
                    let grows = before.is_none_or(|before| before < *id);
                    report.expect(grows, || format!("{p} got view {id:?} of {g} after {before:?}"));
                }
                Event::Ring { id, .. } => {
                    report.expect(*id > last_ring, || format!("{p} installed ring {id:?} after {last_ring:?}"));
                    last_ring = *id;
                }
                _ => {}
            }
        }
    }
}
