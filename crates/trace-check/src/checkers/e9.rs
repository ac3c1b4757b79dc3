//! Safe delivery implies installation: every member of the view in whose regular part one gets a safe message had that
//! view, unless it stopped.

use crate::record::Service;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for span in &history.spans {
        let is_safe = |m: &str| history.service(m) == Some(Service::Safe);
        if !span.got.iter().any(|got| !got.transitional && is_safe(got.m)) {
            continue;
        }
        for q in span.members {
            let had = history.in_view(span.g, span.id).any(|other| other.p == q);
            report.expect(had || history.stopped.contains(q.as_str()), || {
                format!("{} got a safe message in view {:?} of {}, which {q} never had", span.p, span.id, span.g)
            });
        }
    }
}
