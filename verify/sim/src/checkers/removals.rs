//! Nobody is put out without a reason that an honest leader saw: f hostile leaders remove nobody (A15, A16).

use ringfort_protocol::leader::Event;
use ringfort_protocol::view::Cause;

use super::{Checker, Seen, What};
use crate::world::Facts;

/// Judged whenever an honest leader accepts the end of a stay.
pub struct Removals;

impl Checker for Removals {
    fn name(&self) -> &'static str {
        "removals"
    }

    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, wrong: &mut Vec<String>) {
        let What::Leader { id, event: Event::Ended(user, cause), .. } = &seen.what else { return };
        let left = facts.left.iter().any(|m| m.user == *user);
        let silent = facts.silent.iter().any(|m| m.user == *user);
        let expelled = facts.expelled.contains(user);
        let over = facts.session_over_for(user);
        if facts.hacked.contains(user) {
            return;
        }
        if !(left || silent || expelled || over) {
            wrong.push(format!("{id} removed {user} ({cause:?}), who did nothing"));
        }
        if *cause == Cause::SessionOver && !over {
            wrong.push(format!("{id} ended the session of {user}, and no operator asked for it"));
        }
        if *cause == Cause::Expelled && !expelled {
            wrong.push(format!("{id} expelled {user}, and no operator asked for it"));
        }
    }
}
