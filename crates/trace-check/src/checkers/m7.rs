//! A self-leave ends a stay: nothing of the group follows until the process joins again.

use std::collections::BTreeSet;

use crate::record::{Cause, Event};
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for (p, events) in &history.events {
        let mut out: BTreeSet<&str> = BTreeSet::new();
        for event in events {
            match event {
                Event::Join { g } => {
                    out.remove(g.as_str());
                }
                Event::SelfLeave { g } => {
                    report.expect(!out.contains(g.as_str()), || format!("{p} left {g} twice"));
                    let rejoins = joins_again(events, g, event);
                    if !rejoins {
                        out.insert(g);
                    }
                }
                Event::Trans { g, .. } => {
                    report.expect(!out.contains(g.as_str()), || format!("{p}: a signal of {g} after it left"));
                }
                Event::Reg { g, cause, sets, .. } => {
                    report.expect(!out.contains(g.as_str()), || format!("{p}: a view of {g} after it left"));
                    let its_own = *cause == Cause::Leave && sets.iter().flatten().any(|who| who == p);
                    report.expect(!its_own, || format!("{p} got the view of {g} that its own leave made"));
                }
                _ => {}
            }
        }
    }
}

/// Whether a join of `g` was asked for between the request that `leave` answers and `leave` itself.
fn joins_again(events: &[&Event], g: &str, leave: &Event) -> bool {
    let before = events.iter().take_while(|event| !std::ptr::eq(**event, leave));
    let asked = before.filter(|event| matches!(event, Event::Join { g: of } | Event::Leave { g: of } if of == g));
    matches!(asked.last(), Some(Event::Join { .. }))
}
