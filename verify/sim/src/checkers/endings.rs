//! A stay ends, and a join fails, only for a reason: f hostile leaders cannot talk a member out (K23, K36).
//!
//! On bare wires, while they are hostile, altered logins are refused by honest leaders as they must be: whether a
//! join may fail is judged where links keep bytes.

use ringfort_protocol::login::Denial;
use ringfort_protocol::member::{Event, JoinFailure};
use ringfort_protocol::view::Cause;

use super::{Checker, Seen, What};
use crate::world::Facts;

/// Judged whenever a member's program reports an end.
pub struct Endings {
    /// Whether links keep order and bytes.
    pub tls: bool,
}

impl Checker for Endings {
    fn name(&self) -> &'static str {
        "endings"
    }

    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, wrong: &mut Vec<String>) {
        let What::Member { client, member, event } = &seen.what else { return };
        let user = member.user();
        match event {
            Event::Ended(cause) => {
                let Some(id) = member.id() else { return };
                let left = facts.left.contains(id);
                let silent = facts.silent.contains(id);
                let expelled = facts.expelled.contains(user);
                let newer = facts.announced.iter().any(|m| m.user == *user && m.incarnation > id.incarnation);
                // Two programs of the user announced the same stay, each with its own keys: one of them must try again.
                let twice = facts.genuine.iter().filter(|entry| entry.id == *id).count() > 1 && *cause == Cause::Lost;
                let over = facts.sessions_over.contains(&id.incarnation.session());
                let unfounded = *cause == Cause::Expelled && !expelled || *cause == Cause::SessionOver && !over;
                if !(left || silent || expelled || newer || twice || over) || unfounded {
                    wrong.push(format!("client {} ({id}) was told that its stay ended: {cause:?}", client.0));
                }
            }
            Event::JoinFailed(failure) if self.tls => {
                let expelled = facts.expelled.contains(user);
                let throttled = *failure == JoinFailure::Denied(Denial::Throttled);
                let sessionless = matches!(failure, JoinFailure::Denied(Denial::NoSession(_)));
                let between = sessionless && !facts.sessions_over.is_empty();
                if facts.registered.contains(user) && !expelled && !throttled && !between {
                    wrong.push(format!("client {} of {user} was refused: {failure:?}", client.0));
                }
            }
            _ => {}
        }
    }
}
