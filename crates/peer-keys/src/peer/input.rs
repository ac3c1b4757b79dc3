//! What comes from other members: who may say what, and what it costs.

use ringfort_kernel::Cx;
use ringfort_peer::{Name, Service};

use super::{Event, Peer, Step};
use crate::data::NotOpened;
use crate::flush::OutWhy;
use crate::group::Group;
use crate::ids::CONTROL_FRAMES_MAX;
use crate::rules::Rule;
use crate::wire::{Again, Body, DataFrame, FlushOk, Frame, Signed, Vote, Why};

/// How a message came, as the site says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// By which service.
    pub service: Service,
    /// To this member alone, not to the group.
    pub private: bool,
}

impl<G: Group> Peer<G> {
    /// A message that the site says is from `from`.
    pub fn on_message(&mut self, cx: &mut Cx<'_>, from: &Name, arrival: Arrival, bytes: &[u8]) -> Step {
        let mut step = Step::default();
        let Some(frame) = Frame::decode(bytes).filter(|_| !self.is_out) else { return step };
        let unasked = !self.config.rules.enforces(Rule::ToAllInOrder);
        if let Frame::Data(frame) = frame {
            let as_it_says = arrival == Arrival { service: frame.service, private: frame.to.is_some() };
            self.on_data(from, frame, unasked || (as_it_says && arrival.service.is_ordered()), &mut step);
            return step;
        }
        // What one member alone has, or others at another place in the order, would make it decide otherwise than they.
        let to_all_in_order = !arrival.private && arrival.service.is_ordered();
        if !(unasked || to_all_in_order) || !self.has_room(from) {
            return step;
        }
        match frame {
            Frame::FlushOk(signed) => self.on_flush_ok(cx, from, &signed, &mut step),
            Frame::Vote(signed) => self.on_vote(cx, from, &signed, &mut step),
            Frame::Again(signed) => self.on_again(cx, from, &signed, &mut step),
            Frame::Key(frame) => {
                if self.flush.is_agreeing() {
                    let outcomes = self.robust.on_frame(cx.rng, from, frame);
                    self.take(cx, outcomes, &mut step);
                }
            }
            Frame::Data(_) => {}
        }
        step
    }

    /// Whether another control frame of `from` is looked at in this round. All count alike, so all decide alike.
    fn has_room(&mut self, from: &Name) -> bool {
        if !self.flush.knows(from) {
            return false;
        }
        let taken = self.taken.entry(from.clone()).or_default();
        *taken += 1;
        *taken <= CONTROL_FRAMES_MAX
    }

    fn on_flush_ok(&mut self, cx: &mut Cx<'_>, from: &Name, signed: &Signed, step: &mut Step) {
        let Some(ok) = FlushOk::read(signed).filter(|ok| self.flush.wants_ok(from, ok.round)) else { return };
        let policy = &self.config.policy;
        let admitted = policy.admitted.contains_key(&ok.key) || !self.config.rules.enforces(Rule::Admission);
        let refused = if ok.policy != policy.digest() {
            Some(OutWhy::OtherPolicy)
        } else if !admitted || !FlushOk::verify(signed, &ok.key, &policy.group, from) {
            Some(OutWhy::Stranger)
        } else if !self.robust.accepts(&ok.offer) {
            Some(OutWhy::NoContribution)
        } else {
            None
        };
        let actions = self.flush.on_ok(cx.now, from, ok, refused);
        self.act(cx, actions, step);
    }

    fn on_vote(&mut self, cx: &mut Cx<'_>, from: &Name, signed: &Signed, step: &mut Step) {
        let Some(vote) = Vote::read(signed).filter(|vote| vote.round == self.flush.round()) else { return };
        if self.is_signed::<Vote>(from, signed) {
            let actions = self.flush.on_vote(cx.now, from, vote.round, &vote.against);
            self.act(cx, actions, step);
        }
    }

    fn on_again(&mut self, cx: &mut Cx<'_>, from: &Name, signed: &Signed, step: &mut Step) {
        let Some(again) = Again::read(signed).filter(|again| again.round == self.flush.round()) else { return };
        if self.is_signed::<Again>(from, signed) {
            let actions = self.flush.on_again(cx.now, from, again.round, again.why);
            let begins = self.flush.round() != again.round;
            self.afresh |= begins && again.why == Why::Failed;
            self.act(cx, actions, step);
        }
    }

    /// Whether a member that has answered this round signed this.
    fn is_signed<B: Body>(&self, from: &Name, signed: &Signed) -> bool {
        let Some(ok) = self.flush.answers().get(from) else { return false };
        !self.config.rules.enforces(Rule::Signature) || B::verify(signed, &ok.key, &self.config.policy.group, from)
    }

    fn on_data(&mut self, from: &Name, frame: DataFrame, came_as_it_says: bool, step: &mut Step) {
        let Some(channel) = &mut self.channel else { return };
        if !self.flush.hears(from) {
            return;
        }
        if !came_as_it_says {
            step.events.push(Event::NotOpened(from.clone(), NotOpened::Altered));
            return;
        }
        let (service, private) = (frame.service, frame.to.is_some());
        match channel.open(from, frame) {
            Ok((message, missed)) => {
                let user = channel.members().get(from).map(|member| member.user.clone()).unwrap_or_default();
                if missed > 0 {
                    step.events.push(Event::Missed(from.clone(), missed));
                }
                step.events.push(Event::Message { from: from.clone(), user, service, private, message });
            }
            Err(why) => step.events.push(Event::NotOpened(from.clone(), why)),
        }
    }
}
