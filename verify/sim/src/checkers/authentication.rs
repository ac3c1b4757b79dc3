//! Valid Authentication: whom an honest leader accepts, an honest leader has authenticated (seed 002 §3.2).

use ringfort_protocol::leader::Event;

use super::{Checker, Seen, What};
use crate::world::Facts;

/// And it is the user's own program, with its own keys.
pub struct ValidAuthentication;

impl Checker for ValidAuthentication {
    fn name(&self) -> &'static str {
        "valid authentication"
    }

    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, wrong: &mut Vec<String>) {
        let What::Leader { id, core: Some(core), event } = &seen.what else { return };
        match event {
            Event::Admitted(member) => {
                if !facts.announced.contains(member) {
                    wrong.push(format!("{id} admitted {member}, whom no honest leader authenticated"));
                }
                if let Some(entry) = core.members().get_member(member)
                    && !facts.genuine.contains(entry)
                {
                    wrong.push(format!("{id} admitted {member} with keys that are not the user's"));
                }
                if !facts.registered.contains(&member.user) {
                    wrong.push(format!("{id} admitted {member}, who is not registered"));
                }
            }
            Event::Authenticated(member) if !facts.genuine.iter().any(|e| e.id == *member) => {
                wrong.push(format!("{id} authenticated {member}, which no program of the user is"));
            }
            _ => {}
        }
    }
}
