//! The transitional signal: at most one a view, with that view's id, before a network view and none other, and always
//! if the process moves on without a member that did not leave by itself. It may come without a loss of members: then
//! messages of others were lost.

use std::collections::BTreeMap;

use crate::history::{End, Span};
use crate::record::{Cause, Event, ViewId};
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for (p, events) in &history.events {
        let mut current: BTreeMap<&str, (ViewId, bool)> = BTreeMap::new();
        for event in events {
            match event {
                Event::Trans { g, old } => {
                    let fits = current.insert(g, (*old, true)) == Some((*old, false));
                    report.expect(fits, || format!("{p}: a second or wrong transitional signal of {g}, {old:?}"));
                }
                Event::Reg { g, id, cause, .. } => {
                    let before = current.insert(g, (*id, false));
                    let fits = *cause == Cause::Network || !before.is_some_and(|(_, signalled)| signalled);
                    report.expect(fits, || format!("{p}: {cause:?} view {id:?} of {g} behind the transitional signal"));
                }
                Event::SelfLeave { g } => {
                    current.remove(g.as_str());
                }
                _ => {}
            }
        }
    }
    history.spans.iter().for_each(|span| signal_fits_loss(history, span, report));
}

fn signal_fits_loss(history: &History<'_>, span: &Span<'_>, report: &mut Report) {
    let End::Next(id, Some(movers)) = &span.end else { return };
    let (p, g) = (span.p, span.g);
    let behind: Vec<&String> = span.members.iter().filter(|member| !movers.contains(member)).collect();
    let lost = behind.iter().any(|member| !history.left(member, g));
    report.expect(!lost || span.transitional, || format!("{p}: {g} lost members before {id:?} without a signal"));
}
