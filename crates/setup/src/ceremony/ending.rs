//! How a ceremony ends: all have confirmed, somebody has given up, or time has.

use ringfort_protocol::{Cx, LeaderId};

use super::rounds::Stage;
use super::{Ceremony, Effect, Event, Step};
use crate::board::Board;
use crate::evidence::Evidence;
use crate::message::{Body, Certificate, GaveUp, Message, Reason, Round};
use crate::outcome::{Blame, Fault, Verdict};

impl Ceremony {
    pub(super) fn on_gave_up(&mut self, cx: &mut Cx<'_>, gave_up: GaveUp, step: &mut Step) {
        if self.is_over() || gave_up.author == self.me || !gave_up.is_signed(&self.terms) {
            return;
        }
        let ours = self.session();
        let proof = gave_up.evidence.as_ref().filter(|e| e.session().is_none() || e.session() == ours);
        if let Some((culprit, _)) = proof.and_then(|proof| proof.check(&self.terms))
            && culprit != self.me
        {
            return gave_up.evidence.into_iter().for_each(|proof| self.fail_on(cx, proof, step));
        }
        if ours != Some(gave_up.session) && !self.left.contains(&gave_up.session) {
            return;
        }
        if matches!(self.stage, Stage::Waiting) {
            // It may have confirmed as well, before or since: the wait goes on, and whoever fails to confirm has a reason.
            self.refused.insert(gave_up.author, gave_up);
            return;
        }
        let late = self.deadline.is_some_and(|deadline| cx.now + self.limits.round / 2 >= deadline);
        let blame = self.hearsay(late, &gave_up);
        self.fail_with(cx, vec![blame], Some(Message::GaveUp(gave_up)), step);
    }

    /// What somebody gave up for, as its word alone, unless it can be seen from here, too. That somebody is silent can be seen when
    /// it is late, with half a round left at most: before, a word may be on its way.
    fn hearsay(&self, late: bool, gave_up: &GaveUp) -> Blame {
        let reason = Fault::from_code(gave_up.fault).map(|fault| (gave_up.about, fault));
        match reason.map(|(about, fault)| Blame::of(about, fault)) {
            Some(blame) if blame.fault == Fault::Silent && late && self.is_unheard(blame.leader) => blame,
            _ => Blame { reason, ..Blame::of(gave_up.author, Fault::GaveUp) },
        }
    }

    pub(super) fn on_done(&mut self, cx: &mut Cx<'_>, from: LeaderId, certificate: Certificate, step: &mut Step) {
        let Some(agreed) = certificate.check(&self.terms) else { return };
        if matches!(self.stage, Stage::Meeting) && !self.bound.contains_key(&from) {
            self.bound.insert(from, agreed.0);
            step.events.push(Event::Bound(from));
        }
        if self.unconfirmed == Some(agreed) {
            self.finish(cx, certificate, step);
        }
        if matches!(self.stage, Stage::Finished) && self.finished.insert(from) {
            self.settle(step);
        }
    }

    fn settle(&mut self, step: &mut Step) {
        if self.finished.len() + 1 == usize::from(self.terms.rules().n()) && self.deadline.take().is_some() {
            step.events.push(Event::Settled);
        }
    }

    pub(super) fn finish(&mut self, cx: &mut Cx<'_>, certificate: Certificate, step: &mut Step) {
        self.unconfirmed = None;
        self.keys = None;
        self.stage = Stage::Finished;
        self.deadline = Some(cx.now + self.limits.farewell);
        step.effects.push(Effect::Confirm(certificate.clone()));
        step.events.push(Event::Confirmed);
        let done = Message::Done(certificate);
        self.tell_all(&done, step);
        self.farewell = Some(done);
    }

    pub(super) fn fail_on(&mut self, cx: &mut Cx<'_>, evidence: Evidence, step: &mut Step) {
        if let Some((leader, fault)) = evidence.check(&self.terms) {
            let blame = Blame { evidence: Some(evidence), ..Blame::of(leader, fault) };
            self.fail(cx, vec![blame], step);
        }
    }

    /// Ends it, and says why.
    pub(super) fn fail(&mut self, cx: &mut Cx<'_>, blames: Vec<Blame>, step: &mut Step) {
        let session = self.board.as_ref().map_or([0; 32], Board::session);
        let why = self.keys.as_ref().zip(blames.first());
        let gave_up = why.map(|(keys, why)| GaveUp::sign(&self.terms, session, self.me, why, &keys.signing));
        self.fail_with(cx, blames, gave_up.map(Message::GaveUp), step);
    }

    /// The secrets of the session are wiped; a result that was confirmed is kept.
    fn fail_with(&mut self, cx: &mut Cx<'_>, blames: Vec<Blame>, farewell: Option<Message>, step: &mut Step) {
        if self.is_over() {
            return;
        }
        self.remember(&blames, step);
        self.stage = Stage::Failed;
        self.keys = None;
        self.deadline = Some(cx.now + self.limits.farewell);
        farewell.iter().for_each(|message| self.tell_all(message, step));
        self.farewell = farewell;
        step.events.push(Event::Failed(Verdict { blames, confirmed: self.unconfirmed.is_some() }));
    }

    /// Whoever has begun and not confirmed never will. The others may have: they are told why, also after a new start.
    fn remember(&mut self, blames: &[Blame], step: &mut Step) {
        let has_begun = matches!(self.stage, Stage::Dealt(..) | Stage::Shared(..) | Stage::Told);
        let (Some(keys), Some(session), Some(why)) = (&self.keys, self.session(), blames.first()) else { return };
        if !has_begun || self.unconfirmed.is_some() {
            return;
        }
        let why = match why.reason {
            Some((about, fault)) => Blame::of(about, fault),
            None => why.clone(),
        };
        let reason = GaveUp::sign(&self.terms, session, self.me, &why, &keys.signing);
        step.effects.push(Effect::Remember(Reason(reason.clone())));
        self.reason = Some(reason);
    }

    /// Whether nothing has come from it here, either.
    fn is_unheard(&self, leader: LeaderId) -> bool {
        match self.stage {
            Stage::Meeting => self.not_there().contains(&Blame::of(leader, Fault::Silent)),
            _ => self.unheard().contains(&leader),
        }
    }

    /// Whose word is missing in the round that this participant is in.
    fn unheard(&self) -> Vec<LeaderId> {
        let round = match self.stage {
            Stage::Dealt(..) => Round::Deal,
            Stage::Shared(..) => Round::Shares,
            _ => Round::Result,
        };
        let missing = self.board.as_ref().map(|board| board.missing(&self.terms, round)).unwrap_or_default();
        missing.into_iter().filter(|leader| *leader != self.me).collect()
    }

    /// Whom to blame if nothing more comes.
    pub(super) fn late(&self) -> Vec<Blame> {
        let Some(board) = self.board.as_ref().filter(|_| !matches!(self.stage, Stage::Meeting)) else {
            return self.not_there();
        };
        let missing = self.unheard();
        if !missing.is_empty() {
            return missing.into_iter().map(|leader| self.unsaid(leader)).collect();
        }
        let round = match self.stage {
            Stage::Dealt(..) => Round::Deal,
            Stage::Shared(..) => Round::Shares,
            _ => Round::Result,
        };
        let mut unfounded: Vec<LeaderId> =
            board.mismatches(&self.terms, round).into_iter().map(|(witness, _)| witness).collect();
        let group = self.unconfirmed.map(|(_, group)| group);
        let others = board.round(Round::Result).filter(|(_, body)| match body {
            Body::Complain { .. } => true,
            Body::Confirm { group: confirmed, .. } => group.is_some_and(|group| group != *confirmed),
            _ => false,
        });
        unfounded.extend(others.map(|(post, _)| post.author).filter(|author| *author != self.me));
        unfounded.dedup();
        unfounded.into_iter().map(|leader| Blame::of(leader, Fault::Unfounded)).collect()
    }

    /// It has not said its part, and perhaps why.
    fn unsaid(&self, leader: LeaderId) -> Blame {
        self.refused
            .get(&leader)
            .map_or_else(|| Blame::of(leader, Fault::Silent), |gave_up| self.hearsay(true, gave_up))
    }

    /// Whose confirmations are missing.
    pub(super) fn tell_waiting(&self, step: &mut Step) {
        step.events.push(Event::Waiting(self.unheard()));
    }
}
