//! The group goes on in another generation while this member is in it, or was while it was away.

use std::sync::Arc;

use super::{Event, Member, Step};
use crate::group::GroupInfo;
use crate::ids::LeaderId;
use crate::succession::{Certified, Generation};
use crate::time::Cx;
use crate::wire::MemberRequest;

impl Member {
    /// A leader says which generation its shares are of. Of one that is not known here, its successions tell.
    pub(super) fn on_generation(&mut self, from: LeaderId, generation: Generation, step: &mut Step) {
        self.generations.insert(from, generation);
        if let Some(tracker) = &mut self.tracker {
            // Shares of past views may come before a claim.
            tracker.on_generation(from, generation);
        }
        self.ask_for_successions(from, step);
    }

    fn ask_for_successions(&mut self, from: LeaderId, step: &mut Step) {
        let known = self.group.generation();
        let newer = self.generations.get(&from).is_some_and(|generation| *generation > known);
        let asked = self.successions_asked.get(&from).is_some_and(|(since, _)| *since == known);
        // Once on a link: whoever has nothing to tell makes no work.
        if newer && !asked {
            self.successions_asked.insert(from, (known, true));
            self.request(from, &MemberRequest::Successions(known), step);
        }
    }

    /// Takes what was asked for. Whoever tells it, only the signatures in it count.
    pub(super) fn on_successions(&mut self, cx: &mut Cx<'_>, from: LeaderId, list: Vec<Certified>, step: &mut Step) {
        match self.successions_asked.get_mut(&from) {
            Some((_, open)) if *open => *open = false,
            _ => return,
        }
        let before = self.group.clone();
        for certified in list {
            let Some(next) = self.group.succeed(certified) else { break };
            self.group = Arc::new(next);
        }
        if self.group.generation() == before.generation() {
            return;
        }
        for (leader, _) in replaced(&before, &self.group) {
            // Whatever the one before did, the new one has not done.
            self.caught.remove(&leader);
            self.hearing.remove(&leader);
            self.lagging.remove(&leader);
            self.failed.remove(&leader);
            self.ended_by.remove(&leader);
            self.generations.remove(&leader);
        }
        step.events.push(Event::Succeeded(self.group.clone()));
        self.track(cx, step, |tracker, group| tracker.on_succession(group));
        self.ask_for_successions(from, step);
    }
}

/// The leaders that have another link key or address than before, and the key they had.
pub fn replaced(before: &GroupInfo, now: &GroupInfo) -> Vec<(LeaderId, [u8; 32])> {
    let pairs = before.rules.leaders().zip(before.leaders.iter().zip(&now.leaders));
    let changed = pairs.filter(|(_, (old, new))| old.link_key != new.link_key || old.address != new.address);
    changed.map(|(leader, (old, _))| (leader, old.link_key)).collect()
}
