//! Self-delivery: a process gets what it sends to a group that it is in, unless it stops.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::Requests;
use crate::record::Event;
use crate::{History, Report};

/// Whether a process is in a group, and by its requests will be when what it sends now comes.
#[derive(Default)]
struct State {
    requests: Requests,
    leaves: u64,
    is_in: bool,
}

pub fn check(history: &History<'_>, report: &mut Report) {
    for p in &history.ended {
        let Some(events) = history.events.get(p) else { continue };
        let got: BTreeSet<&str> = events.iter().filter_map(|event| delivered(event)).collect();
        let mut groups: BTreeMap<&str, State> = BTreeMap::new();
        for event in events {
            match event {
                Event::Join { g } => groups.entry(g).or_default().requests.join(),
                Event::Leave { g } => groups.entry(g).or_default().requests.leave(),
                Event::Reg { g, .. } => groups.entry(g).or_default().is_in = true,
                Event::SelfLeave { g } => {
                    let state = groups.entry(g).or_default();
                    (state.is_in, state.leaves) = (false, state.leaves + 1);
                }
                Event::Send { m, groups: to, discard: false, .. } => {
                    let stays = |state: &State| state.is_in && state.leaves == state.requests.leaves;
                    if to.iter().any(|g| groups.get(g.as_str()).is_some_and(stays)) {
                        report.expect(got.contains(m.as_str()), || format!("{p} never got its own {m}"));
                    }
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
