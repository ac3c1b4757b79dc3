//! In a settled group nothing is lost: what a member multicasts reaches every other member (P9).

use super::{Checker, End};
use crate::world::World;

/// Judged on the probes that are sent once the group has settled.
///
/// A FIFO stream may still wait behind messages that were lost for good in the fault phase, until it tells the gap:
/// the run waits that long.
pub struct Delivery;

impl Checker for Delivery {
    fn name(&self) -> &'static str {
        "delivery"
    }

    fn finish(&mut self, end: &End<'_>, wrong: &mut Vec<String>) {
        wrong.extend(missing(end.world));
    }
}

/// Probes that have not arrived where they must.
pub fn missing(world: &World) -> Vec<String> {
    let mut missing = Vec::new();
    for (number, sent) in world.facts.sent.iter().filter(|(n, s)| s.probe && !world.facts.refused.contains(n)) {
        let honest = world.users.iter().filter(|u| !world.facts.hacked.contains(&u.name));
        for client in honest.filter_map(|u| u.client) {
            let id = world.client(client).member.as_ref().and_then(|m| m.id());
            let concerned = client != sent.client && id.is_some_and(|id| sent.members.contains(id));
            if concerned && !world.facts.heard.contains(&(client, *number)) {
                missing.push(format!("probe {number} of {} ({:?}) did not reach {id:?}", sent.sender, sent.service));
            }
        }
    }
    missing
}
