//! Consistency: if one honest leader accepts an operation, all honest leaders eventually do (seed 002 §3.2).

use ringfort_protocol::ids::MemberId;

use super::{Checker, End};

/// Judged at the end: honest leaders hold the same members in the same view.
pub struct Consistency;

impl Checker for Consistency {
    fn name(&self) -> &'static str {
        "consistency"
    }

    fn finish(&mut self, end: &End<'_>, wrong: &mut Vec<String>) {
        if end.settled.is_some() {
            return;
        }
        let states: Vec<_> = end
            .world
            .honest()
            .filter_map(|l| l.core.as_ref().map(|core| (l.id, core)))
            .map(|(id, core)| (id, core.members().iter().map(|e| e.id.clone()).collect::<Vec<MemberId>>()))
            .collect();
        let Some((first, members)) = states.first() else { return };
        for (id, others) in &states {
            if others != members {
                wrong.push(format!("{first} has {}, {id} has {}", list(members), list(others)));
            }
        }
    }
}

fn list(members: &[MemberId]) -> String {
    members.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
