//! Self-inclusion: a process is a member of every view that it gets.

use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for span in &history.spans {
        let is_in = span.members.iter().any(|member| member == span.p);
        report.expect(is_in, || format!("{} got view {:?} of {} without being in it", span.p, span.id, span.g));
    }
}
