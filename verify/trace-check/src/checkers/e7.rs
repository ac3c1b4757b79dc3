//! Holes: what others of a view got before a message is lacking only behind the transitional signal, and only if it
//! comes from a sender that is left behind.

use std::collections::BTreeSet;

use crate::history::Span;
use crate::record::Service;
use crate::{History, Report};

pub fn check(history: &History<'_>, report: &mut Report) {
    for (g, id) in history.views.keys() {
        let spans: Vec<&Span<'_>> = history.in_view(g, *id).collect();
        for a in &spans {
            let mine: BTreeSet<&str> = a.got.iter().filter(|got| agreed(history, got.m)).map(|got| got.m).collect();
            let signal = a.got.iter().filter(|got| got.transitional).map(|got| got.m).collect::<BTreeSet<_>>();
            for b in spans.iter().filter(|b| b.p != a.p) {
                let theirs: Vec<&str> = b.got.iter().map(|got| got.m).filter(|m| agreed(history, m)).collect();
                let upto = theirs.iter().rposition(|m| mine.contains(m)).map_or(0, |place| place + 1);
                let before = || theirs.iter().take(upto);
                for hole in before().filter(|m| !mine.contains(*m) && !history.is_discarded(m, a.p)) {
                    let first_after = before().skip_while(|m| m != &hole).find(|m| mine.contains(*m));
                    let signalled = first_after.is_some_and(|m| signal.contains(m));
                    let stays = |sender: &str| a.movers().is_some_and(|movers| movers.iter().any(|q| q == sender));
                    let lost = history.sent.get(hole).is_none_or(|sent| !stays(sent.p));
                    report.expect(signalled && lost, || {
                        format!("{} lacks {hole} in view {id:?} of {g}, which {} got before others", a.p, b.p)
                    });
                }
                report.expect(true, String::new);
            }
        }
    }
}

fn agreed(history: &History<'_>, m: &str) -> bool {
    history.service(m) >= Some(Service::Agreed)
}
