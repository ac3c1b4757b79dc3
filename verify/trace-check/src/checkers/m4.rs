//! Causes: a join adds exactly one member, a leave and a disconnect take exactly one away, and the set names it.

use std::collections::BTreeSet;

use crate::history::Span;
use crate::record::Cause;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for span in history.spans.iter().filter(|span| span.cause != Cause::Network) {
        let (p, g, id) = (span.p, span.g, span.id);
        let named: Vec<&str> = span.sets.iter().flatten().map(String::as_str).collect();
        report.expect(named.len() == 1, || format!("{p}: view {id:?} of {g} names {named:?} as the change"));
        let Some(who) = named.first() else { continue };
        let now = set(span);
        let is_in = now.contains(who);
        report.expect(is_in == (span.cause == Cause::Join), || format!("{p}: view {id:?} of {g} and {who} disagree"));
        let Some(before) = span.before else {
            report.expect(*who == p, || format!("{p}'s first view {id:?} of {g} is the join of {who}"));
            continue;
        };
        let Some(before) = history.in_view(g, before).find(|before| before.p == p) else { continue };
        let changed: Vec<&str> = set(before).symmetric_difference(&now).copied().collect();
        report.expect(changed == [*who], || format!("{p}: view {id:?} of {g} says {who}, and {changed:?} changed"));
    }
}

fn set<'a>(span: &Span<'a>) -> BTreeSet<&'a str> {
    span.members.iter().map(String::as_str).collect()
}
