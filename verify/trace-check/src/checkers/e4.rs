//! FIFO: a sender's ordered messages come in the order of their sending, and none of them without those before it
//! that belong to the same view.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::Service;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    let mut last: BTreeMap<(&str, &str), (usize, &str)> = BTreeMap::new();
    let mut got: Vec<(usize, &str, &str)> =
        history.spans.iter().flat_map(|span| span.got.iter().map(|got| (got.at, span.p, got.m))).collect();
    got.sort_unstable_by_key(|(at, p, _)| (*p, *at));
    for (_, p, m) in got {
        let Some(sent) = history.sent.get(m).filter(|sent| sent.svc >= Service::Fifo) else { continue };
        let before = last.insert((p, sent.p), (sent.at, m));
        let in_order = before.is_none_or(|(at, _)| at <= sent.at);
        report.expect(in_order, || format!("{p} got {m} of {} after {:?}", sent.p, before.map(|(_, m)| m)));
    }
    for (g, id) in history.views.keys() {
        let mut of_view: BTreeMap<&str, BTreeSet<(usize, &str)>> = BTreeMap::new();
        for got in history.in_view(g, *id).flat_map(|span| span.got.iter().filter(|got| !got.transitional)) {
            if let Some(sent) = history.sent.get(got.m).filter(|sent| sent.svc >= Service::Fifo) {
                of_view.entry(sent.p).or_default().insert((sent.at, got.m));
            }
        }
        for span in history.in_view(g, *id) {
            let has: BTreeSet<&str> = span.got.iter().map(|got| got.m).collect();
            for (sender, messages) in &of_view {
                let newest = messages.iter().rev().find(|(_, m)| has.contains(m)).map_or(0, |(at, _)| *at);
                let before = messages.iter().take_while(|(at, _)| *at < newest);
                let lacking: Vec<_> =
                    before.filter(|(_, m)| !has.contains(m) && !history.is_discarded(m, span.p)).collect();
                report.expect(lacking.is_empty(), || {
                    format!("{} got a later message of {sender} in view {id:?} of {g} without {lacking:?}", span.p)
                });
            }
        }
    }
}
