//! Failure atomicity: those who go together from one view to the next got the same messages in it. Reliable messages
//! may fall on either side of a join or a leave, so for them whole runs between network views are compared.

use std::collections::BTreeSet;

use crate::history::{End, Span};
use crate::record::{Cause, Service, ViewId};
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    let runs: Vec<Run<'_>> = history.spans.iter().filter_map(|span| Run::from(history, span)).collect();
    for (g, id) in history.views.keys() {
        let spans: Vec<&Span<'_>> = history.in_view(g, *id).collect();
        for (number, a) in spans.iter().enumerate() {
            for b in spans.iter().skip(number + 1).filter(|b| go_together(a, b)) {
                let ordered = |span: &Span<'_>| messages(history, span, &[a.p, b.p], true);
                compare(a, b, &ordered(a), &ordered(b), report);
            }
        }
    }
    for (number, a) in runs.iter().enumerate() {
        for b in runs.iter().skip(number + 1) {
            let same = (a.first.g, a.first.id, a.next) == (b.first.g, b.first.id, b.next);
            if same && a.first.p != b.first.p && a.movers.iter().any(|q| q == b.first.p) {
                let reliable = |run: &Run<'_>| -> BTreeSet<String> {
                    run.spans.iter().flat_map(|span| messages(history, span, &[a.first.p, b.first.p], false)).collect()
                };
                compare(a.first, b.first, &reliable(a), &reliable(b), report);
            }
        }
    }
}

fn go_together(a: &Span<'_>, b: &Span<'_>) -> bool {
    match (&a.end, &b.end) {
        (End::Next(next, movers), End::Next(other, _)) => {
            next == other && movers.as_ref().is_none_or(|movers| movers.iter().any(|q| q == b.p))
        }
        _ => false,
    }
}

fn messages(history: &History<'_>, span: &Span<'_>, both: &[&str], ordered: bool) -> BTreeSet<String> {
    let counts = |m: &str| {
        let svc = history.service(m);
        let right = if ordered { svc >= Some(Service::Fifo) } else { svc == Some(Service::Reliable) };
        right && !both.iter().any(|p| history.is_discarded(m, p))
    };
    span.got.iter().filter(|got| counts(got.m)).map(|got| got.m.to_owned()).collect()
}

fn compare(a: &Span<'_>, b: &Span<'_>, of_a: &BTreeSet<String>, of_b: &BTreeSet<String>, report: &mut Report) {
    report.expect(of_a == of_b, || {
        let differ: Vec<_> = of_a.symmetric_difference(of_b).collect();
        format!("{} and {} leave view {:?} of {} together and differ in {differ:?}", a.p, b.p, a.id, a.g)
    });
}

/// One process's views from one network view to the next.
struct Run<'a> {
    first: &'a Span<'a>,
    spans: Vec<&'a Span<'a>>,
    next: ViewId,
    movers: &'a [String],
}

impl<'a> Run<'a> {
    fn from(history: &'a History<'a>, first: &'a Span<'a>) -> Option<Self> {
        if first.cause != Cause::Network {
            return None;
        }
        let mut spans = vec![first];
        loop {
            let last = spans.last()?;
            match &last.end {
                End::Next(next, Some(movers)) => return Some(Run { first, next: *next, movers, spans }),
                End::Next(next, None) => {
                    let span = history.in_view(first.g, *next).find(|span| span.p == first.p)?;
                    spans.push(span);
                }
                _ => return None,
            }
        }
    }
}
