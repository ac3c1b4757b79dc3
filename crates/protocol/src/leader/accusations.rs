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
        let authentic = |frame: &Bytes| {
            let frame = DataFrame::parse(frame).ok()?;
            let accused = self.state.members().get_member(&frame.header().sender)?;
            (signed_by(&shape, accused, &frame) || !enforced).then_some(frame)
        };
        // Where it is not, the accused may have gone in the meantime, or another program of the same user may hold the stay, with
        // other keys than the one that whoever accuses heard. That is nobody's fault.
        let Some(second) = authentic(&shown) else { return };
        // The first one too must be signed with the keys that the stay has now.
        let first = attached.shown.take().and_then(|first| authentic(&first));
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
