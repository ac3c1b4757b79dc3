//! Safe delivery: if one gets a safe message in the regular part of a view, every member of that view gets it too or
//! stops; behind the transitional signal, everyone who moves along does. It gets it in the same view, or behind the
//! signal that ended its ring before the joins and leaves between its view and this one came.

use crate::history::{End, Span};
use crate::record::Service;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for span in &history.spans {
        for got in span.got.iter().filter(|got| history.service(got.m) == Some(Service::Safe)) {
            let duty: &[String] = if got.transitional { span.movers().unwrap_or_default() } else { span.members };
            for q in duty.iter().filter(|q| *q != span.p && !history.is_discarded(got.m, q)) {
                let has = gets(history, span, q, got.m);
                report.expect(has, || {
                    format!("{} got safe {} in view {:?} of {}, and {q} did not", span.p, got.m, span.id, span.g)
                });
            }
        }
    }
}

fn gets(history: &History<'_>, span: &Span<'_>, q: &str, m: &str) -> bool {
    let Some(other) = history.in_view(span.g, span.id).find(|other| other.p == q) else {
        let mut earlier = history.spans.iter().filter(|other| other.p == q && other.g == span.g && other.id < span.id);
        let behind_the_signal = earlier.any(|other| other.got.iter().any(|got| got.transitional && got.m == m));
        return behind_the_signal || history.stopped.contains(q);
    };
    other.has(m) || other.end == End::Stopped || (other.end == End::Open && !history.ended.contains(q))
}
