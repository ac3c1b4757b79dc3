//! Requests to the group's services.

use std::collections::BTreeMap;

use ringfort_protocol::fault::Culprit;
use ringfort_protocol::member::Step;
use ringfort_protocol::{LeaderId, Rejected, Time};
use ringfort_services::{Call, Caller, Event as Answered, Refused, Stay, Step as Calling};
use tokio::sync::oneshot;

use super::driver::Driver;
use super::event::Event;

/// What a request came to, as f+1 leaders say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its place among all requests of the group, from 1: what has a lower one was done before.
    pub place: u64,
    /// What the service replied.
    pub bytes: Vec<u8>,
}

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The group has no services.
    #[error(
        "this group keeps nothing for its members, because its policy says `order = false`: only a group that was set up with `order = true` does"
    )]
    NotOrdered,
    /// The moment is wrong.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The request is too long, or too many wait.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The request changed nothing, and its reply was lost on the way: ask again.
    #[error("the reply was lost on the way: ask again")]
    Forgotten,
    /// The stay has ended: whether the request was done, nobody knows.
    #[error("you are no longer in the group, and whether this was done nobody knows: join again and look")]
    Ended,
}

/// What a caller is told.
pub(super) type Called = Result<Reply, CallError>;

/// The calls of this stay.
#[derive(Default)]
pub(super) struct Calls {
    caller: Option<Caller>,
    waiting: BTreeMap<Call, oneshot::Sender<Called>>,
}

impl Calls {
    pub fn next_wakeup(&self) -> Option<Time> {
        self.caller.as_ref().and_then(Caller::next_wakeup)
    }
}

impl Driver {
    pub(super) fn on_call(&mut self, request: &[u8], reply: oneshot::Sender<Called>) -> Step {
        match self.call(request) {
            Ok((call, calling)) => {
                self.calls.waiting.insert(call, reply);
                self.give_out(calling.sends)
            }
            Err(error) => {
                let _ = reply.send(Err(error));
                Step::default()
            }
        }
    }

    fn call(&mut self, request: &[u8]) -> Result<(Call, Calling), CallError> {
        if !self.info.policy.order {
            return Err(CallError::NotOrdered);
        }
        let stay = self.member.stay()?;
        let (group, rules) = (self.info.id(), self.info.rules.into());
        let caller = self.calls.caller.get_or_insert_with(|| Caller::new(group, rules, Stay::from(&stay)));
        let member = &self.member;
        let sign = |digest: &[u8; 32]| member.sign_request(digest).expect("a stay has a key");
        Ok(caller.call(self.outside.clock.now(), request, &member.reachable(), sign)?)
    }

    /// One leader's word.
    pub(super) async fn on_answer(&mut self, leader: LeaderId, answer: &[u8]) {
        let (now, reachable) = (self.outside.clock.now(), self.member.reachable());
        let Some(caller) = &mut self.calls.caller else { return };
        let step = caller.on_answer(now, leader, answer, &reachable);
        self.on_calling(step).await;
    }

    /// Asks again what is not answered in time.
    pub(super) async fn tend_calls(&mut self) {
        let (now, reachable) = (self.outside.clock.now(), self.member.reachable());
        let Some(caller) = &mut self.calls.caller else { return };
        let step = caller.on_wakeup(now, &reachable);
        self.on_calling(step).await;
    }

    async fn on_calling(&mut self, step: Calling) {
        let told = self.give_out(step.sends);
        Box::pin(self.carry_out(told)).await;
        for event in step.events {
            let (call, outcome) = match event {
                Answered::Done { call, place, reply } => (call, Ok(Reply { place, bytes: reply })),
                Answered::Forgotten(call) => (call, Err(CallError::Forgotten)),
                Answered::Blamed(leader, fault) => {
                    self.tell(Event::Blamed(Culprit::Leader(leader), fault)).await;
                    continue;
                }
            };
            if let Some(reply) = self.calls.waiting.remove(&call) {
                // Whoever has gone needs no answer.
                let _ = reply.send(outcome);
            }
        }
    }

    fn give_out(&mut self, sends: Vec<(LeaderId, bytes::Bytes)>) -> Step {
        let mut step = Step::default();
        for (leader, request) in sends {
            step.effects.extend(self.member.ask_service(leader, &request).effects);
        }
        step
    }
}
