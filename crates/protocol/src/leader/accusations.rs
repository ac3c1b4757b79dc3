//! Expulsion by evidence: a member that signed two messages under one number (A18; seed 002 §5).
//!
//! Whoever has both frames can show them to the leaders, one after the other. Each leader checks both signatures itself,
//! so nobody can be convicted by what others say, not even by f leaders.

use bytes::Bytes;

use super::link::attached_mut;
use super::{Event, Leader, Step};
use crate::data::{DataFrame, Shape, signed_by};
use crate::delivery::conflict;
use crate::fault::{Culprit, Fault};
use crate::ids::LinkId;
use crate::policy::Origin;
use crate::rules::Rule;
use crate::time::Cx;

impl Leader {
    /// A member shows a frame: the first of two, or the second.
    pub(super) fn on_accusation(&mut self, cx: &mut Cx<'_>, link: LinkId, shown: Vec<u8>, step: &mut Step) {
        let policy = &self.group.policy;
        let shape = Shape::of(policy);
        if !policy.expel_on_evidence || policy.origin != Origin::Signature {
            return;
        }
        let Some(attached) = attached_mut(&mut self.links, link) else { return };
        let shown = Bytes::from(shown);
        let enforced = self.group.rules.enforces(Rule::Accusation);
        let authentic = DataFrame::parse(&shown).ok().filter(|frame| {
            let accused = self.state.members().get_member(&frame.header().sender);
            accused.is_some_and(|accused| signed_by(&shape, accused, frame) || !enforced)
        });
        let Some(second) = authentic else {
            // The accused may have gone in the meantime: then nothing is left to do.
            let known = DataFrame::parse(&shown)
                .is_ok_and(|frame| self.state.members().get_member(&frame.header().sender).is_some());
            if known {
                step.blame(Culprit::Member(attached.entry.id.clone()), Fault::BadData);
            }
            return;
        };
        let first = attached.shown.take().and_then(|first| DataFrame::parse(&first).ok());
        let convicted = first.is_some_and(|first| conflict(&first, &second) || !enforced);
        if !convicted {
            attached.shown = Some(shown);
            return;
        }
        let accused = second.header().sender.clone();
        step.blame(Culprit::Member(accused.clone()), Fault::Equivocated);
        step.events.push(Event::Convicted(accused.clone()));
        let outputs = self.state.banish(&accused.user);
        self.absorb(cx, outputs, step);
    }
}
