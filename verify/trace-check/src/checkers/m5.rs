//! Sets: those of a network view divide its members, and two are in one set if and only if both come from one view and
//! neither lost the other on the way: then both had the transitional signal, and each may have got what the other did
//! not.

use crate::history::Span;
use crate::record::Cause;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for span in history.spans.iter().filter(|span| span.cause == Cause::Network) {
        let (p, g, id) = (span.p, span.g, span.id);
        let mut divided: Vec<&String> = span.sets.iter().flatten().collect();
        let mut members: Vec<&String> = span.members.iter().collect();
        divided.sort();
        members.sort();
        report.expect(divided == members, || format!("{p}: the sets of view {id:?} of {g} do not divide its members"));
        let mine = span.set_of(p).unwrap_or_default();
        for other in history.in_view(g, id).filter(|other| other.p != p) {
            let together = mine.iter().any(|q| q == other.p);
            let same = span.before.is_some() && span.before == other.before;
            let parted = || signalled(history, span) && signalled(history, other);
            report.expect(together == same || (same && parted()), || {
                format!(
                    "view {id:?} of {g}: {p} from {:?} and {} from {:?}, {together}",
                    span.before, other.p, other.before
                )
            });
        }
    }
}

/// Whether the signal came in the view before.
fn signalled(history: &History<'_>, span: &Span<'_>) -> bool {
    let Some(before) = span.before else { return false };
    history.in_view(span.g, before).any(|before| before.p == span.p && before.transitional)
}
