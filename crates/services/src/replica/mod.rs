//! A leader's side: what it puts into the order, what it applies of it, and what it answers.

mod waiting;

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::hash::digest;
use ringfort_protocol::codec::{DecodeError, decode, encode};
use ringfort_protocol::fault::{Culprit, Fault};
use ringfort_protocol::{GroupId, LeaderId, MemberId, Policy, UserName};

use crate::allowance::{Allowance, Rate};
use crate::callers::Callers;
use crate::limits::{LEADER_BURST, LEADER_PER_S, MUTED_ENTRIES, OPEN_MAX};
use crate::machine::{Machine, Ordered, Reply};
use crate::request::{Answer, Message, Request, Stay};
use crate::rules::{Rule, Rules};
use crate::words::Words;
use waiting::Waiting;

const RATE: Rate = Rate(LEADER_BURST, LEADER_PER_S);

/// What the order says of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Its index.
    pub index: u64,
    /// The order's time, Unix time in microseconds.
    pub time_us: u64,
    /// The leader that put it there.
    pub author: LeaderId,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Put this into the order.
    Submit(Vec<u8>),
    /// Answer the member, if it has a link here.
    Answer(MemberId, Vec<u8>),
    /// Somebody did wrong.
    Blamed(Culprit, Fault),
}

/// One leader's copy of the machine, with what decides which requests it is given.
#[derive(Debug)]
pub struct Replica<M> {
    me: LeaderId,
    rules: Rules,
    group: GroupId,
    policy: Policy,
    /// What follows from the order alone: the same at every honest leader.
    common: Common,
    machine: M,
    /// The order's time, as of the last entry.
    time_us: u64,
    /// The stays accepted here, once that is known.
    members: Option<BTreeMap<UserName, Stay>>,
    /// Whether words were put into the order and are not seen in it yet.
    is_telling: bool,
    /// Whether the words in the order may not be what this leader has to say.
    may_differ: bool,
    waiting: Waiting,
    /// Whether the order has gone on behind a state that could not be read.
    is_lost: bool,
}

#[derive(Clone, Debug, Default, BorshSerialize, BorshDeserialize)]
struct Common {
    words: Words,
    callers: Callers,
    /// Who put forged requests into the order: until which entry it is not listened to, and how often that was.
    muted: BTreeMap<LeaderId, (u64, u32)>,
    /// What may still be applied of what each leader puts into the order.
    allowances: BTreeMap<LeaderId, Allowance>,
    /// Requests that were applied.
    place: u64,
}

/// What comes of one entry.
#[derive(Default)]
struct Outcome {
    outputs: Vec<Output>,
    answers: BTreeMap<UserName, u64>,
}

impl Outcome {
    /// A request is short and its reply may be long: only whoever has more calls than it may have goes without.
    fn answer(&mut self, stay: &Stay, answer: &Answer) {
        let answers = self.answers.entry(stay.id.user.clone()).or_default();
        if *answers < OPEN_MAX {
            *answers += 1;
            self.outputs.push(Output::Answer(stay.id.clone(), encode(answer)));
        }
    }
}

impl<M: Machine> Replica<M> {
    /// A machine that was asked nothing yet.
    pub fn new(me: LeaderId, group: GroupId, rules: Rules, policy: Policy) -> Self {
        Replica {
            me,
            rules,
            group,
            policy,
            common: Common::default(),
            machine: M::default(),
            time_us: 0,
            members: None,
            is_telling: false,
            may_differ: true,
            waiting: Waiting::default(),
            is_lost: false,
        }
    }

    /// The stays that this leader has accepted.
    #[must_use]
    pub fn on_members(&mut self, stays: impl IntoIterator<Item = Stay>) -> Vec<Output> {
        let members: BTreeMap<UserName, Stay> = stays.into_iter().map(|stay| (stay.id.user.clone(), stay)).collect();
        self.waiting.keep(&members);
        self.members = Some(members);
        self.may_differ = true;
        self.tend(Vec::new())
    }

    /// A request that came over the link of a member, whose stay the leader has accepted.
    #[must_use]
    pub fn on_request(&mut self, stay: &Stay, bytes: &[u8]) -> Vec<Output> {
        if self.is_lost {
            return Vec::new();
        }
        let blame = |fault| vec![Output::Blamed(Culprit::Member(stay.id.clone()), fault)];
        let Some(request) = Request::decode(bytes) else { return blame(Fault::Malformed) };
        if request.stay != *stay {
            return blame(Fault::BadData);
        }
        if let Some(answer) = self.common.callers.answer(&request) {
            return vec![Output::Answer(stay.id.clone(), encode(&answer))];
        }
        if !self.common.callers.is_fresh(&request, &self.rules) || self.waiting.knows(stay, request.number) {
            return Vec::new();
        }
        // A leader that puts into the order what nobody signed is not listened to.
        if !request.is_signed(&self.group) {
            return blame(Fault::BadData);
        }
        self.waiting.push(stay, request.number, bytes.to_vec(), &self.rules);
        self.tend(Vec::new())
    }

    /// The next entry of the order, with its messages.
    #[must_use]
    pub fn on_entry<'a>(&mut self, origin: Origin, messages: impl IntoIterator<Item = &'a [u8]>) -> Vec<Output> {
        if self.is_lost {
            return Vec::new();
        }
        self.time_us = origin.time_us;
        let mut out = Outcome::default();
        for message in messages {
            match Message::decode(message) {
                Some(Message::Words { added, removed }) => {
                    let users: Vec<UserName> =
                        added.iter().map(|stay| stay.id.user.clone()).chain(removed.clone()).collect();
                    self.common.words.change(origin.author, added, &removed);
                    users.iter().for_each(|user| self.let_go(user));
                    if origin.author == self.me {
                        self.is_telling = false;
                        self.may_differ = true;
                    }
                }
                Some(Message::Request(bytes)) => self.on_ordered(origin, &bytes, &mut out),
                // Somebody else's.
                None => {}
            }
        }
        self.tend(out.outputs)
    }

    fn on_ordered(&mut self, origin: Origin, bytes: &[u8], out: &mut Outcome) {
        let request = Request::decode(bytes);
        if let Some(request) = request.as_ref().filter(|_| origin.author == self.me) {
            self.waiting.arrived(&request.stay, request.number);
        }
        let muted = self.common.muted.get(&origin.author).is_some_and(|(until, _)| origin.index < *until);
        if muted && self.rules.enforces(Rule::Muted) {
            return;
        }
        let Some(request) = request else { return self.mute(origin, out) };
        let Common { words, callers, allowances, .. } = &mut self.common;
        let allowance = allowances.get(&origin.author).copied().unwrap_or(Allowance::full(RATE));
        if !words.let_speak(&request.stay, &self.rules)
            || !callers.is_fresh(&request, &self.rules)
            || !callers.can_pay(&request.stay, origin.time_us, &self.rules)
            || !allowance.covers(1, origin.time_us, RATE) && self.rules.enforces(Rule::PaidByLeader)
        {
            return;
        }
        if self.rules.enforces(Rule::Signature) && !request.is_signed(&self.group) {
            return self.mute(origin, out);
        }
        self.apply(origin, &request, out);
    }

    /// Whoever has left waits for nothing.
    fn let_go(&mut self, user: &UserName) {
        let Common { words, callers, .. } = &mut self.common;
        for place in callers.let_go(user, words, &self.rules) {
            self.machine.forget(place);
        }
    }

    fn apply(&mut self, origin: Origin, request: &Request, out: &mut Outcome) {
        self.common.place += 1;
        let (place, user) = (self.common.place, &request.stay.id.user);
        let may_wait = self.common.callers.may_wait(&request.stay, &self.rules);
        let order = Ordered { place, time_us: origin.time_us, user, role: self.policy.role(user), may_wait };
        let came = self.machine.apply(&order, &request.body);
        let Common { words, callers, allowances, .. } = &mut self.common;
        let allowance = allowances.entry(origin.author).or_insert(Allowance::full(RATE));
        allowance.spend(came.work.saturating_add(1), origin.time_us, RATE);
        let gone = callers.note(request, (place, origin.time_us), &came, words);
        let later: Vec<_> =
            came.later.into_iter().map(|(place, reply)| (place, callers.reply_later(place, &reply), reply)).collect();
        gone.into_iter().for_each(|place| self.machine.forget(place));
        self.waiting.done(&request.stay, request.number);
        let (key, number) = (request.stay.key, request.number);
        out.answer(
            &request.stay,
            &match came.reply {
                Reply::Now { reply, .. } => Answer::Done { key, number, place, reply },
                Reply::Later { note } => Answer::Later { key, number, place, note },
            },
        );
        for (place, to, reply) in later {
            if let Some((stay, number)) = to {
                out.answer(&stay, &Answer::Done { key: stay.key, number, place, reply });
            }
        }
    }

    /// An honest leader checks what it puts into the order: this one is not listened to for a while.
    fn mute(&mut self, origin: Origin, out: &mut Outcome) {
        let (until, times) = self.common.muted.entry(origin.author).or_default();
        *until = origin.index.saturating_add(MUTED_ENTRIES << (*times).min(20));
        *times = times.saturating_add(1);
        out.outputs.push(Output::Blamed(Culprit::Leader(origin.author), Fault::BadRelay));
    }

    /// What was to be put into the order was not, or nobody knows: members ask again.
    pub fn on_lost<'a>(&mut self, messages: impl IntoIterator<Item = &'a [u8]>) {
        for message in messages {
            match Message::decode(message) {
                Some(Message::Words { .. }) => self.is_telling = false,
                Some(Message::Request(bytes)) => {
                    if let Some(request) = Request::decode(&bytes) {
                        self.waiting.arrived(&request.stay, request.number);
                    }
                }
                None => {}
            }
        }
        self.may_differ = true;
    }

    /// What there is to put into the order now.
    #[must_use]
    pub fn on_wakeup(&mut self) -> Vec<Output> {
        self.tend(Vec::new())
    }

    fn tend(&mut self, mut out: Vec<Output>) -> Vec<Output> {
        if self.is_lost {
            return out;
        }
        if let Some(members) = self.members.as_ref().filter(|_| self.may_differ && !self.is_telling) {
            let unsaid = self.common.words.unsaid(self.me, members);
            self.is_telling = unsaid.is_some();
            self.may_differ = false;
            out.extend(unsaid.map(|words| Output::Submit(words.encode())));
        }
        let Replica { common, rules, waiting, me, time_us, .. } = self;
        if !waiting.is_empty() {
            let allowance = common.allowances.get(me).copied().unwrap_or(Allowance::full(RATE));
            // What nobody can pay would be as if it were not in the order. One goes in all the same: with it the order's time goes on.
            let can_pay = |stay: &Stay, own: usize, all: usize| {
                common.callers.can_pay_for(stay, own as u64 + 1, *time_us)
                    && allowance.covers(all as u64 + 1, *time_us, RATE)
            };
            let may_speak = |stay: &Stay, own, all| {
                let can_pay = all == 0 || can_pay(stay, own, all) || !rules.enforces(Rule::HeldBack);
                can_pay && common.words.let_speak(stay, rules)
            };
            while let Some(bytes) = waiting.next(rules, may_speak) {
                out.push(Output::Submit(Message::Request(bytes).encode()));
            }
        }
        out
    }

    /// All that follows from the order so far, for a checkpoint; bytes that are no state if it is not known.
    pub fn state(&self) -> Vec<u8> {
        if self.is_lost {
            return Vec::new();
        }
        encode(&(&self.common, self.machine.save()))
    }

    /// The order goes on behind a certified state. Until one can be read, nobody is answered: what is known is of a place
    /// long past, and f hacked leaders could make a reply of it.
    ///
    /// # Errors
    /// If the bytes are not what [`Replica::state`] gave.
    pub fn install(&mut self, state: &[u8]) -> Result<Vec<Output>, DecodeError> {
        self.is_lost = true;
        let (common, machine): (Common, Vec<u8>) = decode(state)?;
        self.machine = M::load(&machine)?;
        self.common = common;
        self.is_lost = false;
        // What was put into the order before may lie in the part that is not shown.
        self.waiting.lose_sight();
        self.is_telling = false;
        self.may_differ = true;
        Ok(self.tend(Vec::new()))
    }

    /// A name of all that follows from the order so far: the same at leaders that have applied the same.
    pub fn digest(&self) -> [u8; 32] {
        digest("ringfort services state", &[&self.state()])
    }

    /// The machine.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Requests that were applied.
    pub fn applied(&self) -> u64 {
        self.common.place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{APPLIED_BURST, APPLIED_PER_S};
    use crate::tests::hostile::signed;
    use crate::tests::world::{Member, World, leader, put, rules};

    /// A leader whose blocks may have nothing more applied, or one of whose members may not. Of requests that wait there,
    /// how many of each member's are put into the order until all that are in it have come.
    fn put_into_the_order(rules: Rules, of_all: u64, of_ana: u64) -> (usize, usize) {
        let mut world = World::new(1, (4, 1), rules, &[], &["ana", "ben"]);
        while world.step() {}
        let members: Vec<&Member> = world.members.iter().collect();
        let replica = &mut world.servers.get_mut(&leader(1)).unwrap().replica;
        replica.time_us = 1_000_000;
        let mut spent = Allowance::full(RATE);
        spent.spend(of_all, 1_000_000, RATE);
        replica.common.allowances.insert(leader(1), spent);
        let paid = Request::decode(&signed(members[0], 1, &put("a", ""))).unwrap();
        let came = crate::machine::Applied {
            reply: Reply::Now { reply: Vec::new(), kept: None },
            later: Vec::new(),
            work: of_ana,
        };
        drop(replica.common.callers.note(&paid, (1, 1_000_000), &came, &replica.common.words));
        let mut submitted = vec![0, 0];
        for number in 2..=12 {
            for (member, submitted) in members.iter().zip(&mut submitted) {
                let out = replica.on_request(&member.stay, &signed(member, number, &put("a", "")));
                *submitted += out.iter().filter(|output| matches!(output, Output::Submit(_))).count();
            }
        }
        (submitted[0], submitted[1])
    }

    #[test]
    fn what_cannot_be_paid_yet_waits_in_its_lane_and_is_not_lost_in_the_order() {
        let rules = rules(4, 1);
        assert_eq!(put_into_the_order(rules, 0, 0), (11, 11));
        assert_eq!(put_into_the_order(rules, LEADER_BURST, 0), (1, 0), "one goes, so that time passes");
        assert_eq!(put_into_the_order(rules, LEADER_BURST - 5, 0), (3, 2), "as many as there is something left for");
        assert_eq!(put_into_the_order(rules, 0, APPLIED_BURST), (1, 11), "who asks too much waits alone");
        assert_eq!(put_into_the_order(rules.without(Rule::HeldBack), LEADER_BURST, 0), (11, 11), "the rule does that");
    }

    #[test]
    fn what_was_held_back_goes_on_with_the_orders_time() {
        let mut world = World::new(1, (4, 1), rules(4, 1), &[], &["ana"]);
        while world.step() {}
        let member = &world.members[0];
        let replica = &mut world.servers.get_mut(&leader(1)).unwrap().replica;
        let mut spent = Allowance::full(RATE);
        spent.spend(LEADER_BURST + 100, 1_000_000, RATE);
        replica.common.allowances.insert(leader(1), spent);
        replica.time_us = 1_000_000;
        let mut out = Vec::new();
        (1..=10)
            .for_each(|number| out.extend(replica.on_request(&member.stay, &signed(member, number, &put("a", "")))));
        let [Output::Submit(first)] = &out[..] else { panic!("{out:?}") };
        let stay = member.stay.id.clone();
        let (before, origin) = (replica.applied(), |index, time_us| Origin { index, time_us, author: leader(1) });
        let out = replica.on_entry(origin(100, 1_000_010), [&first[..]]);
        let [Output::Submit(second)] = &out[..] else { panic!("{out:?}") };
        assert_eq!(replica.applied(), before, "the first could not be paid");
        let later = 1_000_000 + 200 * 1_000_000 / APPLIED_PER_S;
        let out = replica.on_entry(origin(101, later), [&second[..]]);
        assert_eq!(replica.applied(), before + 1);
        let answers = out.iter().filter(|output| matches!(output, Output::Answer(to, _) if *to == stay)).count();
        assert_eq!((answers, out.len()), (1, 9), "the others go together");
    }
}
