//! Self-discard hides a message from the session that sent it.

use crate::record::Event;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for (p, events) in &history.events {
        for event in events {
            if let Event::Deliver { m, .. } = event {
                report.expect(!history.is_discarded(m, p), || format!("{p} got {m}, which it sent to others only"));
            }
        }
    }
}
