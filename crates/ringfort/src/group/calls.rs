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

/// What a request comes to first.
#[derive(Debug)]
pub enum Asked {
    /// It has its reply.
    Replied(Reply),
    /// f+1 leaders say that they reply when something happens.
    Waiting(Waiting),
}

/// A reply that is still to come.
#[derive(Debug)]
pub struct Waiting {
    /// The request's place among all requests of the group.
    pub place: u64,
    /// What the service tells now.
    pub note: Vec<u8>,
    replied: oneshot::Receiver<Result<Reply, CallError>>,
}

impl Waiting {
    /// The reply, once it is given. Waits for as long as it takes.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::Forgotten`] also if leaders took the stay for ended meanwhile.
    pub async fn reply(self) -> Result<Reply, CallError> {
        self.replied.await.unwrap_or(Err(CallError::Ended))
    }
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
    #[error("the reply was lost on the way, and nothing was changed: ask again")]
    Forgotten,
    /// The stay has ended: whether the request was done, nobody knows.
    #[error("you are no longer in the group, and whether this was done nobody knows: join again and look")]
    Ended,
}

/// What a caller is told.
pub(super) type Called = Result<Asked, CallError>;

/// Who waits for it.
enum Pending {
    /// For what the request comes to first.
    First(oneshot::Sender<Called>),
    /// For the reply that is still to come.
    Later(oneshot::Sender<Result<Reply, CallError>>),
}

/// The calls of this stay.
#[derive(Default)]
pub(super) struct Calls {
    caller: Option<Caller>,
    waiting: BTreeMap<Call, Pending>,
}

impl Calls {
    pub fn next_wakeup(&self) -> Option<Time> {
        self.caller.as_ref().and_then(Caller::next_wakeup)
    }

    /// Whoever has gone needs no answer.
    fn settle(&mut self, call: Call, outcome: Result<Reply, CallError>) {
        match self.waiting.remove(&call) {
            Some(Pending::First(asked)) => drop(asked.send(outcome.map(Asked::Replied))),
            Some(Pending::Later(asked)) => drop(asked.send(outcome)),
            None => {}
        }
    }

    fn put_off(&mut self, call: Call, place: u64, note: Vec<u8>) {
        let (later, replied) = oneshot::channel();
        if let Some(Pending::First(asked)) = self.waiting.insert(call, Pending::Later(later)) {
            drop(asked.send(Ok(Asked::Waiting(Waiting { place, note, replied }))));
        }
    }
}

impl Driver {
    pub(super) fn on_call(&mut self, request: &[u8], reply: oneshot::Sender<Called>) -> Step {
        match self.call(request) {
            Ok((call, calling)) => {
                self.calls.waiting.insert(call, Pending::First(reply));
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
            match event {
                Answered::Done { call, place, reply } => self.calls.settle(call, Ok(Reply { place, bytes: reply })),
                Answered::Later { call, place, note } => self.calls.put_off(call, place, note),
                // What is kept of the reply to a request that changed something is a reply too.
                Answered::Forgotten { call, place, kept: Some(bytes) } => {
                    self.calls.settle(call, Ok(Reply { place, bytes }));
                }
                Answered::Forgotten { call, kept: None, .. } => self.calls.settle(call, Err(CallError::Forgotten)),
                Answered::Blamed(leader, fault) => self.tell(Event::Blamed(Culprit::Leader(leader), fault)).await,
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
