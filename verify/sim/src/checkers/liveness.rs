//! Liveness: whoever f+1 honest leaders announce is accepted by all; when the group is stable everybody comes
//! to one view and one key (seed 002 §3.2, last paragraphs).

use super::{Checker, End};

/// Judged at the end of the patience after the last operation.
pub struct Liveness;

impl Checker for Liveness {
    fn name(&self) -> &'static str {
        "liveness"
    }

    fn finish(&mut self, end: &End<'_>, wrong: &mut Vec<String>) {
        if end.settled.is_some() {
            return;
        }
        let world = end.world;
        let mut parts = Vec::new();
        for leader in world.honest() {
            match &leader.core {
                Some(core) => parts.push(format!("{} in {} with {}", leader.id, core.view(), core.members().len())),
                None => parts.push(format!("{} down", leader.id)),
            }
        }
        for user in &world.users {
            let member = user.client.and_then(|c| world.client(c).member.as_ref());
            let view = member.map(|m| (m.id().map(ToString::to_string), m.view().map(|v| v.to_string())));
            parts.push(format!(
                "{} wants in: {}, may: {}, is: {view:?}",
                user.name,
                user.wants_in,
                user.is_admissible()
            ));
        }
        wrong.push(format!("not settled: {}", parts.join("; ")));
    }
}
