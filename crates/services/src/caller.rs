//! A member's side: gives requests to leaders, and believes what f+1 of them answer equally.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ringfort_crypto::hash::digest;
use ringfort_crypto::sign::Signature;
use ringfort_kernel::Time;
use ringfort_protocol::{Fault, GroupId, LeaderId};

use crate::limits::{AGAIN_AFTER, AGAIN_AFTER_MAX, BODY_BYTES_MAX, CALLS_MAX, NUMBERS_KEPT, OPEN_MAX};
use crate::request::{Answer, Request, Stay};
use crate::rules::Rules;

/// Names a call of this member: the number of its request.
pub type Call = u64;

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// f+1 leaders answer this.
    Done {
        /// Which call.
        call: Call,
        /// Its place among all requests that were applied.
        place: u64,
        /// What the machine replied.
        reply: Vec<u8>,
    },
    /// f+1 leaders say that the request was applied, and answer it when something happens.
    Later {
        /// Which call.
        call: Call,
        /// Its place among all requests that were applied.
        place: u64,
        /// What the machine tells now.
        note: Vec<u8>,
    },
    /// f+1 leaders say that the request was applied and that its reply is gone.
    Forgotten {
        /// Which call.
        call: Call,
        /// Its place among all requests that were applied; 0 if that is not known.
        place: u64,
        /// What the machine gave to be kept in place of the reply. Nothing if the request changed nothing, or waited: it can be
        /// asked again.
        kept: Option<Vec<u8>>,
    },
    /// A leader answers otherwise than f+1 others, otherwise than before, or what nobody asked.
    Blamed(LeaderId, Fault),
}

/// What is to be sent, and what came of it.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Step {
    /// Requests for leaders.
    pub sends: Vec<(LeaderId, Bytes)>,
    /// What happened.
    pub events: Vec<Event>,
}

/// A call that is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The request is too long.
    #[error("a request of {0} bytes is above the bound of {BODY_BYTES_MAX}")]
    TooLarge(usize),
    /// Too many wait already.
    #[error("{CALLS_MAX} calls of this program wait already: go on when some are answered")]
    Busy,
}

/// The calls of one stay.
#[derive(Debug)]
pub struct Caller {
    rules: Rules,
    group: GroupId,
    stay: Stay,
    next: Call,
    /// Calls that are not answered.
    open: BTreeMap<Call, Open>,
    /// Calls of which f+1 leaders say that they are answered when something happens.
    waiting: BTreeMap<Call, Open>,
    /// What f+1 leaders answered to the last calls: place and reply.
    settled: BTreeMap<Call, Said>,
    /// Who was blamed, and which call was the next one then.
    blamed: BTreeMap<LeaderId, Call>,
}

/// A place and the digest of the reply.
type Said = (u64, [u8; 32]);

#[derive(Debug)]
struct Open {
    request: Bytes,
    /// When all leaders are asked (again); `None` before any is.
    again_at: Option<Time>,
    times: u32,
    /// What each leader answered.
    said: BTreeMap<LeaderId, Said>,
    /// Who says that it is answered later, and what meanwhile.
    later: BTreeMap<LeaderId, Said>,
    /// What f+1 of them say.
    put_off: Option<Said>,
    /// Who says where it was applied, and what is kept of the reply, and no more.
    forgotten: BTreeMap<LeaderId, (u64, Option<Vec<u8>>)>,
}

impl Caller {
    /// For the stay that signs.
    pub fn new(group: GroupId, rules: Rules, stay: Stay) -> Self {
        let (open, waiting, settled, blamed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Caller { rules, group, stay, next: 1, open, waiting, settled, blamed }
    }

    /// Asks something. `reachable` are the leaders that can be asked, best first.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn call(
        &mut self,
        now: Time,
        body: &[u8],
        reachable: &[LeaderId],
        sign: impl FnOnce(&[u8; 32]) -> Signature,
    ) -> Result<(Call, Step), Refused> {
        if body.len() > BODY_BYTES_MAX {
            return Err(Refused::TooLarge(body.len()));
        }
        if self.open.len() + self.waiting.len() >= CALLS_MAX {
            return Err(Refused::Busy);
        }
        let call = self.next;
        self.next += 1;
        let request = Request::signed(&self.group, &self.stay, call, body.to_vec(), sign).encode().into();
        self.open.insert(call, Open::new(request));
        Ok((call, self.tend(now, reachable)))
    }

    /// An answer of a leader.
    pub fn on_answer(&mut self, now: Time, from: LeaderId, bytes: &[u8], reachable: &[LeaderId]) -> Step {
        let mut step = Step::default();
        match Answer::decode(bytes) {
            None => self.blame(from, Fault::Malformed, &mut step),
            // Of another program that announced the same stay: leaders know their members by its name.
            Some(answer) if *answer.key() != self.stay.key => {}
            Some(Answer::Done { number, place, reply, .. }) => self.on_done(from, number, place, reply, &mut step),
            Some(Answer::Later { number, place, note, .. }) => self.on_later(from, number, place, note, &mut step),
            Some(Answer::Forgotten { number, place, kept, .. }) => {
                self.on_forgotten(from, number, place, kept, &mut step)
            }
        }
        let Step { sends, .. } = self.tend(now, reachable);
        step.sends = sends;
        step
    }

    fn on_done(&mut self, from: LeaderId, call: Call, place: u64, reply: Vec<u8>, step: &mut Step) {
        let said = (place, digest("ringfort service reply", &[&reply]));
        let differs = |settled: &Said| *settled != said;
        let Some(open) = open_call(&mut self.open, &mut self.waiting, call) else {
            let wrong = self.is_unasked(call) || self.settled.get(&call).is_some_and(differs);
            return self.blame_if(wrong, from, step);
        };
        if let Some(before) = open.said.get(&from) {
            let differs = *before != said;
            return self.blame_if(differs, from, step);
        }
        open.said.insert(from, said);
        let equal = open.said.values().filter(|other| **other == said).count();
        if equal < self.rules.replies() {
            return;
        }
        let others = open.said.iter().filter(|(_, other)| **other != said).map(|(leader, _)| *leader);
        others.collect::<Vec<_>>().into_iter().for_each(|leader| self.blame(leader, Fault::WrongAnswer, step));
        self.settle(call, Some(said));
        step.events.push(Event::Done { call, place, reply });
    }

    /// A leader may say so before it gives the reply, or repeat it while others have given theirs.
    fn on_later(&mut self, from: LeaderId, call: Call, place: u64, note: Vec<u8>, step: &mut Step) {
        let said = (place, digest("ringfort service reply", &[&note]));
        let Some(open) = open_call(&mut self.open, &mut self.waiting, call) else {
            return self.blame_if(self.is_unasked(call), from, step);
        };
        let before = *open.later.entry(from).or_insert(said);
        let elsewhere = open.said.get(&from).is_some_and(|(before, _)| *before != place);
        if before != said || elsewhere || open.put_off.is_some_and(|accepted| accepted != said) {
            return self.blame(from, Fault::WrongAnswer, step);
        }
        let equal = open.later.values().filter(|other| **other == said).count();
        if open.put_off.is_some() || equal < self.rules.replies() {
            return;
        }
        open.put_off = Some(said);
        let others = open.later.iter().filter(|(_, other)| **other != said).map(|(leader, _)| *leader);
        others.collect::<Vec<_>>().into_iter().for_each(|leader| self.blame(leader, Fault::WrongAnswer, step));
        self.waiting.extend(self.open.remove_entry(&call));
        step.events.push(Event::Later { call, place, note });
    }

    fn on_forgotten(&mut self, from: LeaderId, call: Call, place: u64, kept: Option<Vec<u8>>, step: &mut Step) {
        let Some(open) = open_call(&mut self.open, &mut self.waiting, call) else {
            return self.blame_if(self.is_unasked(call), from, step);
        };
        // It may have given the reply before, and not remember where.
        if open.said.get(&from).is_some_and(|(before, _)| *before != place && place > 0) {
            return self.blame(from, Fault::WrongAnswer, step);
        }
        let said = (place, kept);
        open.forgotten.insert(from, said.clone());
        if open.forgotten.values().filter(|other| **other == said).count() >= self.rules.replies() {
            self.settle(call, None);
            step.events.push(Event::Forgotten { call, place, kept: said.1 });
        }
    }

    fn is_unasked(&self, call: Call) -> bool {
        call == 0 || call >= self.next
    }

    fn blame_if(&mut self, wrong: bool, leader: LeaderId, step: &mut Step) {
        if wrong {
            self.blame(leader, Fault::WrongAnswer, step);
        }
    }

    /// Once for each call that is made: who repeats itself tells the program nothing new.
    fn blame(&mut self, leader: LeaderId, fault: Fault, step: &mut Step) {
        if self.blamed.insert(leader, self.next) != Some(self.next) {
            step.events.push(Event::Blamed(leader, fault));
        }
    }

    fn settle(&mut self, call: Call, said: Option<Said>) {
        self.open.remove(&call);
        self.waiting.remove(&call);
        self.settled.extend(said.map(|said| (call, said)));
        let last = self.settled.last_key_value().map_or(0, |(last, _)| *last);
        self.settled = self.settled.split_off(&last.saturating_sub(NUMBERS_KEPT));
    }

    /// When [`Caller::on_wakeup`] is due.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.open.values().chain(self.waiting.values()).filter_map(|open| open.again_at).min()
    }

    /// Time has passed: what f+1 leaders have not answered is given to all.
    pub fn on_wakeup(&mut self, now: Time, reachable: &[LeaderId]) -> Step {
        self.tend(now, reachable)
    }

    /// Leaders keep replies to the last numbers only, so none is asked that is too far ahead of one that is open. What waits for
    /// its reply keeps no others back: leaders remember that it does.
    fn tend(&mut self, now: Time, reachable: &[LeaderId]) -> Step {
        let mut step = Step::default();
        let end = self.open.first_key_value().map_or(0, |(first, _)| *first + OPEN_MAX);
        for (_, open) in self.open.range_mut(..end).chain(&mut self.waiting) {
            let asked = match open.again_at {
                None => self.rules.asked(),
                Some(at) if at <= now => reachable.len(),
                Some(_) => continue,
            };
            let leaders = reachable.iter().take(asked);
            step.sends.extend(leaders.map(|leader| (*leader, open.request.clone())));
            open.again_at = Some(now + (AGAIN_AFTER * 2_u32.pow(open.times.min(10))).min(AGAIN_AFTER_MAX));
            open.times += 1;
        }
        step
    }

    #[cfg(test)]
    pub(crate) fn stay(&self) -> &Stay {
        &self.stay
    }

    /// Calls so far.
    #[cfg(test)]
    pub(crate) fn calls(&self) -> u64 {
        self.next - 1
    }

    /// Whether all calls are answered, or are to be when something happens.
    #[cfg(test)]
    pub(crate) fn has_only_waiting(&self) -> bool {
        self.open.is_empty()
    }

    /// Calls that are not answered.
    pub fn open(&self) -> BTreeSet<Call> {
        self.open.keys().chain(self.waiting.keys()).copied().collect()
    }
}

impl Open {
    fn new(request: Bytes) -> Self {
        let (said, later, forgotten) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Open { request, again_at: None, times: 0, said, later, put_off: None, forgotten }
    }
}

fn open_call<'a>(
    open: &'a mut BTreeMap<Call, Open>,
    waiting: &'a mut BTreeMap<Call, Open>,
    call: Call,
) -> Option<&'a mut Open> {
    open.get_mut(&call).or_else(|| waiting.get_mut(&call))
}
