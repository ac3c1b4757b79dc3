//! Safe delivery implies installation: every member of the view in whose regular part one gets a safe message had that
//! view, unless it stopped, or its ring ended with a signal before the joins and leaves that led to the view came.

use crate::record::Service;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for span in &history.spans {
        let is_safe = |m: &str| history.service(m) == Some(Service::Safe);
        if !span.got.iter().any(|got| !got.transitional && is_safe(got.m)) {
            continue;
        }
        for q in span.members {
            let mut theirs = history.spans.iter().filter(|other| other.p == q && other.g == span.g);
            let had = theirs.any(|other| other.id == span.id || (other.id < span.id && other.transitional));
            report.expect(had || history.stopped.contains(q.as_str()), || {
                format!("{} got a safe message in view {:?} of {}, which {q} never had", span.p, span.id, span.g)
            });
        }
    }
}
