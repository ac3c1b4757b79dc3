//! A self-leave ends a stay: nothing of the group follows until the process joins again.

use std::collections::BTreeMap;

use crate::history::Requests;
use crate::record::{Cause, Event};
use crate::{History, Report};

/// What a process saw of one group.
#[derive(Default)]
struct Seen {
    requests: Requests,
    is_in: bool,
    stays: u64,
    leaves: u64,
}

pub fn check(history: &History<'_>, report: &mut Report) {
    for (p, events) in &history.events {
        let mut groups: BTreeMap<&str, Seen> = BTreeMap::new();
        for event in events {
            match event {
                Event::Join { g } => groups.entry(g).or_default().requests.join(),
                Event::Leave { g } => groups.entry(g).or_default().requests.leave(),
                Event::SelfLeave { g } => {
                    let seen = groups.entry(g).or_default();
                    seen.leaves += 1;
                    // It may have left again before its first view came.
                    seen.stays += u64::from(!seen.is_in);
                    let asked = seen.leaves <= seen.requests.leaves && seen.stays <= seen.requests.joins;
                    report.expect(asked, || format!("{p} left {g} without being in it or asking"));
                    seen.is_in = false;
                }
                Event::Trans { g, .. } => {
                    let is_in = groups.entry(g).or_default().is_in;
                    report.expect(is_in, || format!("{p}: a signal of {g}, which it is not in"));
                }
                Event::Reg { g, cause, sets, .. } => {
                    let seen = groups.entry(g).or_default();
                    seen.stays += u64::from(!seen.is_in);
                    seen.is_in = true;
                    let asked = seen.stays <= seen.requests.joins;
                    report.expect(asked, || format!("{p}: a view of {g} after it left, and before it joined again"));
                    let its_own = *cause == Cause::Leave && sets.iter().flatten().any(|who| who == p);
                    report.expect(!its_own, || format!("{p} got the view of {g} that its own leave made"));
                }
                _ => {}
            }
        }
    }
}
