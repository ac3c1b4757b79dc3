//! Requests to the group's services: from a member's link to the service beside the leader, and back.

use bytes::Bytes;
use ringfort_kernel::Budget;

use super::link::attached_mut;
use super::{Effect, Leader, Step};
use crate::fault::{Culprit, Fault};
use crate::ids::{LinkId, MemberId};
use crate::time::Time;
use crate::view::MemberEntry;
use crate::wire::{LeaderNotice, SERVICE_BYTES_MAX};

/// What a request or an answer counts for beside its length, bytes: a signature, and its way through the order.
const EACH_BYTES: usize = 1024;
/// What one member may ask, bytes at once and in a second. Beyond it requests are not heard, and have to be repeated.
const ASKED_BURST: u64 = 2 * 1024 * 1024;
const ASKED_PER_S: u64 = 512 * 1024;
/// What it may be answered: less than its link holds, and less than it hears from an honest leader.
const ANSWERED_BURST: u64 = 3 * 1024 * 1024;
const ANSWERED_PER_S: u64 = 768 * 1024;

/// What one member may ask the services and be answered.
pub(super) struct Services {
    asked: Budget,
    answered: Budget,
}

impl Services {
    pub fn new(now: Time) -> Self {
        Services {
            asked: Budget::new(now, ASKED_PER_S, ASKED_BURST),
            answered: Budget::new(now, ANSWERED_PER_S, ANSWERED_BURST),
        }
    }
}

fn cost(bytes: usize) -> u64 {
    u64::try_from(bytes + EACH_BYTES).unwrap_or(u64::MAX)
}

impl Leader {
    /// Who asks too much is not heard for a moment, and asks again: no offence. A member that was not let in is not heard.
    pub(super) fn on_service_request(&mut self, now: Time, link: LinkId, request: Vec<u8>, step: &mut Step) {
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        if !self.group.policy.order || request.len() > SERVICE_BYTES_MAX {
            return step.blame(Culprit::Member(attached.entry.id.clone()), Fault::Malformed);
        }
        if attached.admitted && attached.services.asked.take(now, cost(request.len())) {
            step.effects.push(Effect::Serve(attached.entry.clone(), request.into()));
        }
    }

    /// The service beside this leader answers a member, if that has a link here.
    pub fn answer(&mut self, now: Time, member: &MemberId, answer: &Bytes) -> Step {
        let mut step = Step::default();
        let Some(link) = self.attached.get(&member.user).copied() else { return step };
        let Some(attached) = attached_mut(&mut self.links, link) else { return step };
        let is_theirs = attached.admitted && attached.entry.id == *member;
        if !is_theirs || !attached.services.answered.take(now, cost(answer.len())) {
            return step;
        }
        self.notify(link, &LeaderNotice::Service(answer.to_vec()), &mut step);
        step
    }

    /// The stays accepted here; `None` while this leader catches up, and its word on them would be worth nothing.
    pub fn stays(&self) -> Option<impl Iterator<Item = &MemberEntry>> {
        (!self.is_catching_up()).then(|| self.state.members().iter())
    }
}
