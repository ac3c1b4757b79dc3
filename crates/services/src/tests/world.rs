//! A deterministic world: members, leaders, a network that reorders and loses, and an order into which hacked leaders write.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use ringfort_crypto::sign::SigningKey;
use ringfort_kernel::Time;
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::fault::{Culprit, Fault};
use ringfort_protocol::{GroupId, Incarnation, LeaderId, MemberId, Policy, Role};

use crate::caller::{Caller, Event};
use crate::kv::{Kv, KvReply, KvRequest, Operation, OperationResult, Outcome, Transacted, Transaction};
use crate::machine::{Machine, Ordered, Reply};
use crate::replica::{Origin, Output, Replica};
use crate::request::{Answer, Message, Request, Stay};
use crate::rules::Rules;

pub const GROUP: GroupId = GroupId([9; 32]);

pub fn rules(n: u8, f: u8) -> Rules {
    ringfort_protocol::Rules::new(n, f, f + 1).unwrap().into()
}

pub fn leader(number: u8) -> LeaderId {
    LeaderId::new(number).unwrap()
}

pub fn put(key: &str, value: &str) -> KvRequest {
    KvRequest::Transact(Transaction::of(vec![Operation::put(key.as_bytes(), value.as_bytes())]))
}

pub fn get(key: &str) -> KvRequest {
    KvRequest::Transact(Transaction::of(vec![Operation::get(key.as_bytes())]))
}

pub struct Member {
    pub stay: Stay,
    pub key: SigningKey,
    pub caller: Caller,
    pub asked: BTreeMap<u64, Asked>,
    pub done: BTreeMap<u64, (u64, KvReply)>,
    /// Calls that were to be answered later, and their places.
    pub put_off: BTreeMap<u64, u64>,
    pub blamed: BTreeSet<LeaderId>,
}

/// A call: what, and the highest place that any member knew of when it was made.
pub struct Asked {
    pub request: KvRequest,
    pub behind: u64,
}

pub struct Server {
    pub replica: Replica<Kv>,
    /// Entries of the order that it has taken.
    pub taken: usize,
    pub blamed: BTreeMap<Culprit, usize>,
}

enum Packet {
    Ask(usize, LeaderId, Vec<u8>),
    Answer(LeaderId, usize, Vec<u8>),
}

pub struct World {
    pub rng: ChaCha12Rng,
    pub rules: Rules,
    n: u8,
    pub now: Time,
    pub servers: BTreeMap<LeaderId, Server>,
    pub members: Vec<Member>,
    /// Stays that are over.
    past: Vec<Member>,
    pub hacked: BTreeSet<LeaderId>,
    /// What hacked leaders do not pass on, and do not answer.
    pub silent: bool,
    pool: Vec<(LeaderId, Vec<u8>)>,
    pub log: Vec<(LeaderId, Vec<u8>)>,
    net: Vec<Packet>,
    /// Of a thousand packets, how many are lost.
    pub lost: u64,
}

impl World {
    pub fn new(seed: u64, (n, f): (u8, u8), rules: Rules, hacked: &[u8], users: &[&str]) -> World {
        assert!(hacked.len() <= usize::from(f));
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let server = |number| {
            let replica = Replica::new(leader(number), GROUP, rules, Policy::default());
            (leader(number), Server { replica, taken: 0, blamed: BTreeMap::new() })
        };
        let members = users.iter().map(|user| Member::new(user, 1, rules, &mut rng)).collect();
        let mut world = World {
            rules,
            n,
            now: Time::ZERO,
            servers: (1..=n).map(server).collect(),
            members,
            past: Vec::new(),
            hacked: hacked.iter().map(|number| leader(*number)).collect(),
            silent: false,
            pool: Vec::new(),
            log: Vec::new(),
            net: Vec::new(),
            lost: 0,
            rng,
        };
        world.admit_all();
        world
    }

    fn admit_all(&mut self) {
        let stays: Vec<Stay> = self.members.iter().map(|member| member.stay.clone()).collect();
        LeaderId::all(self.n).for_each(|leader| self.accept(leader, &stays));
    }

    /// A leader's members are these.
    pub fn accept(&mut self, leader: LeaderId, stays: &[Stay]) {
        let out = self.servers.get_mut(&leader).unwrap().replica.on_members(stays.to_vec());
        self.carry_out(leader, out);
    }

    pub fn honest(&self) -> impl Iterator<Item = LeaderId> + '_ {
        LeaderId::all(self.n).filter(|leader| !self.hacked.contains(leader))
    }

    pub fn draw(&mut self, below: usize) -> usize {
        usize::try_from(self.rng.next_u64() % below.max(1) as u64).unwrap()
    }

    /// A member asks; the leaders that it can reach are in an order of its own.
    pub fn ask(&mut self, member: usize, request: KvRequest) {
        let reachable = self.reachable();
        let behind = self.all_members().flat_map(|m| m.done.values().map(|(place, _)| *place)).max().unwrap_or(0);
        let Member { caller, key, asked, .. } = &mut self.members[member];
        let sign = |digest: &[u8; 32]| key.sign(ringfort_protocol::wire::SERVICE_LABEL, &[digest]);
        let (call, step) = caller.call(self.now, &encode(&request), &reachable, sign).unwrap();
        asked.insert(call, Asked { request, behind });
        self.on_step(member, step);
    }

    fn reachable(&mut self) -> Vec<LeaderId> {
        let mut leaders: Vec<LeaderId> = LeaderId::all(self.n).collect();
        let turn = self.draw(leaders.len());
        leaders.rotate_left(turn);
        leaders
    }

    fn on_step(&mut self, member: usize, step: crate::caller::Step) {
        let asks = step.sends.into_iter().map(|(leader, request)| Packet::Ask(member, leader, request.to_vec()));
        self.net.extend(asks);
        for event in step.events {
            let member = &mut self.members[member];
            match event {
                Event::Done { call, place, reply } => {
                    let reply: KvReply = decode(&reply).expect("a reply of an honest leader");
                    assert!(member.done.insert(call, (place, reply)).is_none(), "a call is answered once");
                }
                Event::Later { call, place, .. } => {
                    assert!(member.put_off.insert(call, place).is_none(), "a call is put off once");
                }
                Event::Forgotten { call, place, kept: Some(kept) } => {
                    let reply: KvReply = decode(&kept).expect("what an honest leader has kept");
                    assert!(member.done.insert(call, (place, reply)).is_none(), "a call is answered once");
                }
                Event::Forgotten { call, kept: None, .. } => {
                    let is_change = |operation: &Operation| !matches!(operation, Operation::Read(_));
                    let changes = |request: &KvRequest| match request {
                        KvRequest::Transact(Transaction { conditions, then, .. }) => {
                            conditions.is_empty() && then.iter().any(is_change)
                        }
                        _ => false,
                    };
                    assert!(!changes(&member.asked[&call].request), "a change is never forgotten");
                    member.asked.remove(&call);
                }
                Event::Blamed(leader, fault) => {
                    assert_eq!(fault, Fault::WrongAnswer);
                    member.blamed.insert(leader);
                }
            }
        }
    }

    fn carry_out(&mut self, leader: LeaderId, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Submit(_) if self.silent && self.hacked.contains(&leader) => {}
                Output::Submit(message) => self.pool.push((leader, message)),
                Output::Answer(id, answer) => self.answer(leader, &id, answer),
                Output::Blamed(culprit, _) => {
                    *self.servers.get_mut(&leader).unwrap().blamed.entry(culprit).or_default() += 1;
                }
            }
        }
    }

    fn answer(&mut self, leader: LeaderId, id: &MemberId, answer: Vec<u8>) {
        let Some(member) = self.members.iter().position(|member| member.stay.id == *id) else { return };
        let answer = match self.hacked.contains(&leader) {
            true if self.silent => return,
            true => self.lie(&answer),
            false => answer,
        };
        self.net.push(Packet::Answer(leader, member, answer));
    }

    /// Hacked leaders tell one lie together: another value at the right place, or the right one at another.
    fn lie(&mut self, answer: &[u8]) -> Vec<u8> {
        let reply = encode(&KvReply { revision: 1_000_000, outcome: Outcome::Changed });
        match decode(answer) {
            Ok(Answer::Done { key, number, place, .. }) => {
                encode(&Answer::Done { key, number, place: place + number % 2, reply })
            }
            // That it was done, or is put off elsewhere.
            Ok(Answer::Later { key, number, place, .. }) if number % 2 == 0 => {
                encode(&Answer::Done { key, number, place, reply })
            }
            Ok(Answer::Later { key, number, place, note }) => {
                encode(&Answer::Later { key, number, place: place + 1, note })
            }
            _ => answer.to_vec(),
        }
    }

    /// A hacked leader writes into the order.
    pub fn write(&mut self, author: LeaderId, message: Vec<u8>) {
        assert!(self.hacked.contains(&author));
        self.pool.push((author, message));
    }

    /// A request that nobody signed, or that a stranger did.
    pub fn forged(&mut self, stay: &Stay, number: u64) -> Vec<u8> {
        let stranger = SigningKey::generate(&mut self.rng);
        let body = encode(&put("forged", "forged"));
        let sign = |digest: &[u8; 32]| stranger.sign(ringfort_protocol::wire::SERVICE_LABEL, &[digest]);
        Message::Request(Request::signed(&GROUP, stay, number, body, sign).encode()).encode()
    }

    /// One thing happens, by chance; false if nothing can but time passing.
    pub fn step(&mut self) -> bool {
        let behind: Vec<LeaderId> =
            self.servers.iter().filter(|(_, s)| s.taken < self.log.len()).map(|(id, _)| *id).collect();
        let choices = [self.net.len(), self.pool.len(), behind.len()];
        let total: usize = choices.iter().sum();
        if total == 0 {
            return false;
        }
        let mut choice = self.draw(total);
        if choice < choices[0] {
            let packet = self.net.swap_remove(choice);
            if self.rng.next_u64() % 1000 >= self.lost {
                self.deliver(packet);
            }
            return true;
        }
        choice -= choices[0];
        if choice < choices[1] {
            // What one leader wrote stays in its order.
            let author = self.pool[choice].0;
            let first = self.pool.iter().position(|(other, _)| *other == author).unwrap();
            let entry = self.pool.remove(first);
            self.log.push(entry);
            return true;
        }
        self.take(behind[choice - choices[1]]);
        true
    }

    fn deliver(&mut self, packet: Packet) {
        match packet {
            Packet::Ask(member, to, bytes) => {
                let stay = self.members[member].stay.clone();
                let out = self.servers.get_mut(&to).unwrap().replica.on_request(&stay, &bytes);
                self.carry_out(to, out);
            }
            Packet::Answer(from, member, bytes) => {
                let reachable = self.reachable();
                let step = self.members[member].caller.on_answer(self.now, from, &bytes, &reachable);
                self.on_step(member, step);
            }
        }
    }

    fn take(&mut self, id: LeaderId) {
        let server = self.servers.get_mut(&id).unwrap();
        let (author, message) = &self.log[server.taken];
        let index = server.taken as u64;
        server.taken += 1;
        let origin = Origin { index, time_us: index * 10, author: *author };
        let out = server.replica.on_entry(origin, [message.as_slice()]);
        self.carry_out(id, out);
    }

    /// A leader is started again from a checkpoint of its own: what was only in its memory is gone.
    pub fn restart(&mut self, id: LeaderId) {
        let stays: Vec<Stay> = self.members.iter().map(|member| member.stay.clone()).collect();
        let server = self.servers.get_mut(&id).unwrap();
        let state = server.replica.state();
        server.replica = Replica::new(id, GROUP, self.rules, Policy::default());
        let out = server.replica.install(&state).unwrap();
        self.carry_out(id, out);
        self.accept(id, &stays);
    }

    /// A leader that was cut off goes on behind the state of another, with all that it remembers of its own.
    pub fn catch_up(&mut self, id: LeaderId) {
        let ahead = self.honest().map(|leader| &self.servers[&leader]).max_by_key(|server| server.taken).unwrap();
        let (taken, state) = (ahead.taken, ahead.replica.state());
        let server = self.servers.get_mut(&id).unwrap();
        if taken > server.taken {
            server.taken = taken;
            let out = server.replica.install(&state).unwrap();
            self.carry_out(id, out);
        }
    }

    /// A member joins again when its calls are answered, and leaders hear of it one after the other.
    pub fn join_again(&mut self, member: usize) {
        for _ in 0..100_000 {
            if self.members[member].caller.has_only_waiting() {
                break;
            }
            if !self.step() {
                self.pass_time();
            }
        }
        let Stay { id, .. } = self.members[member].stay.clone();
        let next = Member::new(id.user.as_str(), id.incarnation.0 + 1, self.rules, &mut self.rng);
        self.past.push(std::mem::replace(&mut self.members[member], next));
        // The links of the stay before are closed.
        self.net.retain(|packet| !matches!(packet, Packet::Ask(of, ..) | Packet::Answer(_, of, _) if *of == member));
        for leader in LeaderId::all(self.n) {
            let stays: Vec<Stay> = self.members.iter().map(|member| member.stay.clone()).collect();
            self.accept(leader, &stays);
            for _ in 0..self.draw(6) {
                self.step();
            }
        }
    }

    fn all_members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().chain(&self.past)
    }

    pub fn pass_time(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        for member in 0..self.members.len() {
            let reachable = self.reachable();
            let caller = &mut self.members[member].caller;
            if caller.next_wakeup().is_some_and(|at| at <= self.now) {
                let step = caller.on_wakeup(self.now, &reachable);
                self.on_step(member, step);
            }
        }
    }

    /// Goes on until every call is answered and everything is taken.
    pub fn settle(&mut self) -> Result<(), String> {
        self.settle_until(|caller| caller.open().is_empty())
    }

    /// The same, but for calls that wait for something to happen.
    pub fn settle_but_waiting(&mut self) -> Result<(), String> {
        self.settle_until(Caller::has_only_waiting)
    }

    fn settle_until(&mut self, is_settled: impl Fn(&Caller) -> bool) -> Result<(), String> {
        for _ in 0..200 {
            while self.step() {}
            if self.members.iter().all(|member| is_settled(&member.caller)) {
                return Ok(());
            }
            self.pass_time();
        }
        Err("calls are never answered".into())
    }

    /// What must be so whatever hacked leaders do.
    pub fn check(&self) -> Result<(), String> {
        let ensure = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        let mut digests = self.honest().map(|leader| self.servers[&leader].replica.digest());
        let first = digests.next();
        ensure(digests.all(|digest| Some(digest) == first), "honest leaders have come to different states")?;
        let applied = self.servers[&self.honest().next().unwrap()].replica.applied();
        let asked: u64 = self.all_members().map(|member| member.caller_calls()).sum();
        ensure(applied == asked, &format!("{asked} requests were asked, and {applied} applied"))?;
        for (server, leader) in self.honest().map(|leader| (&self.servers[&leader], leader)) {
            let honest = |culprit: &Culprit| !matches!(culprit, Culprit::Leader(l) if self.hacked.contains(l));
            let framed = server.blamed.keys().any(honest);
            ensure(!framed, &format!("{leader} blames somebody honest: {:?}", server.blamed.keys()))?;
        }
        let framed = self.all_members().any(|member| member.blamed.iter().any(|leader| !self.hacked.contains(leader)));
        ensure(!framed, "a member blames an honest leader")?;
        self.check_replies()
    }

    /// A store that is asked one after the other by place replies the same, and no place is before one that was known.
    fn check_replies(&self) -> Result<(), String> {
        let mut by_place = BTreeMap::new();
        for member in self.all_members() {
            let waiting = member.put_off.iter().filter(|(call, _)| !member.done.contains_key(call));
            let waiting = waiting.map(|(call, place)| (call, place, None));
            let done = member.done.iter().map(|(call, (place, reply))| (call, place, Some(reply)));
            for (call, place, reply) in done.chain(waiting) {
                let Some(Asked { request, behind }) = member.asked.get(call) else { continue };
                if place <= behind {
                    return Err(format!("place {place} was given to what was asked behind {behind}"));
                }
                if member.put_off.get(call).is_some_and(|before| before != place) {
                    return Err(format!("what was put off at another place is answered at {place}"));
                }
                if by_place.insert(*place, (member, request, reply)).is_some() {
                    return Err(format!("two replies for place {place}"));
                }
            }
        }
        let all_known = by_place.len() as u64 == by_place.last_key_value().map_or(0, |(place, _)| *place);
        if all_known { check_in_turn(&by_place) } else { Ok(()) }
    }
}

/// By place: who asked what, and what was replied, if anything was.
type ByPlace<'a> = BTreeMap<u64, (&'a Member, &'a KvRequest, Option<&'a KvReply>)>;

fn check_in_turn(by_place: &ByPlace<'_>) -> Result<(), String> {
    let (mut kv, mut expected) = (Kv::default(), BTreeMap::<u64, Vec<KvReply>>::new());
    for (place, (member, request, _)) in by_place {
        let user = &member.stay.id.user;
        let order = Ordered { place: *place, time_us: 0, user, role: Role::Member, may_wait: true };
        let came = kv.apply(&order, &encode(*request));
        if let Reply::Now { reply, kept } = came.reply {
            expected.insert(
                *place,
                kept.into_iter().chain([reply]).map(|reply| timeless(decode(&reply).unwrap())).collect(),
            );
        }
        expected.extend(came.later.iter().map(|(place, reply)| (*place, vec![decode(reply).unwrap()])));
    }
    for (place, (_, request, reply)) in by_place {
        let expected = expected.get(place).map_or(&[][..], Vec::as_slice);
        if reply.is_some_and(|reply| !expected.contains(&timeless(reply.clone()))) {
            return Err(format!("{request:?} was answered {reply:?} at {place}, not {expected:?}"));
        }
    }
    Ok(())
}

fn timeless(mut reply: KvReply) -> KvReply {
    if let Outcome::Transacted(Transacted { results: Some(results), .. }) = &mut reply.outcome {
        for result in results {
            if let OperationResult::Read { entries, .. } = result {
                entries.iter_mut().for_each(|entry| entry.time_us = 0);
            }
        }
    }
    reply
}

impl Member {
    pub fn new(user: &str, incarnation: u64, rules: Rules, rng: &mut ChaCha12Rng) -> Member {
        let key = SigningKey::generate(rng);
        let id = MemberId { user: user.parse().unwrap(), incarnation: Incarnation(incarnation) };
        let stay = Stay { id, key: key.verifying_key().to_bytes() };
        let caller = Caller::new(GROUP, rules, stay.clone());
        let (asked, done, put_off) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Member { stay, key, caller, asked, done, put_off, blamed: BTreeSet::new() }
    }

    fn caller_calls(&self) -> u64 {
        self.caller.calls()
    }
}
