//! Integrity: what is delivered was sent, by that sender, with these bytes, this service and these groups.

use crate::record::Event;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for (p, event) in history.events.iter().flat_map(|(p, events)| events.iter().map(move |event| (p, event))) {
        if let Event::Deliver { m, from, svc, groups, hash } = event {
            let sent = history.sent.get(m.as_str());
            let same = sent.is_some_and(|s| s.p == from && s.svc == *svc && s.groups == groups && s.hash == *hash);
            report.expect(same, || format!("{p} got {m} from {from} in another form than it was sent"));
        }
    }
}
