//! Session life: a session ends and begins only by f+1 operators, never comes back, and nobody is a member of one that
//! is over (A22).

use std::collections::BTreeMap;

use ringfort_protocol::LeaderId;
use ringfort_protocol::coordination::Session;

use super::{Checker, End, Seen, What};
use crate::world::Facts;

/// Judged whenever an honest leader does something.
#[derive(Default)]
pub struct Sessions {
    last: BTreeMap<LeaderId, Session>,
}

/// Whether `now` is further on than `last`.
fn is_after(now: Session, last: Session) -> bool {
    (now.number, !now.open) > (last.number, !last.open)
}

impl Checker for Sessions {
    fn name(&self) -> &'static str {
        "sessions"
    }

    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, wrong: &mut Vec<String>) {
        let What::Leader { id, core: Some(core), .. } = &seen.what else { return };
        let now = core.session();
        for entry in core.members().iter().filter(|entry| !now.admits(entry.id.incarnation)) {
            wrong.push(format!("{id} has {} in, but {now}", entry.id));
        }
        let last = self.last.entry(*id).or_default();
        // Who crashed before all was on disk may have to be told again.
        if is_after(*last, now) && !facts.forgotten.contains_key(id) {
            wrong.push(format!("at {id} {last}, and then {now}"));
        }
        let ended = |number: u64| facts.sessions_over.iter().any(|over| over.get() == number);
        let over = now.number.get() - u64::from(now.open);
        if is_after(now, *last) && !(1..=over).all(ended) {
            wrong.push(format!("at {id} {now}, and operators ended {:?} only", facts.sessions_over));
        }
        *last = now;
    }

    fn finish(&mut self, end: &End<'_>, wrong: &mut Vec<String>) {
        let closed = end.world.honest().filter_map(|l| l.core.as_ref()).find(|core| !core.session().open);
        if let Some(core) = closed.filter(|_| end.settled.is_some()) {
            wrong.push(format!("{}, though operators started the next", core.session()));
        }
    }
}
