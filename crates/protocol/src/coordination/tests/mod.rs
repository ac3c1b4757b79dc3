//! Tests of coordination: seed 002 Figure 3, rule by rule, then whole clusters.

mod convergence;
mod expulsion;
mod figure3;
mod limits;
mod recovery;
mod removal;
mod session;

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::testing::{entry, group_of, identity, leader, quick_policy, user};
use crate::wire::PROPOSALS_MAX;

fn join(name: &str, incarnation: u64) -> Operation {
    Operation::Join(entry(name, incarnation))
}

fn remove(name: &str, incarnation: u64, cause: Cause) -> Operation {
    Operation::Remove(entry(name, incarnation).id, cause)
}

/// One leader under test, numbered 1, and the keys of all.
struct Room {
    group: GroupInfo,
    secrets: Vec<LeaderSecrets>,
    me: Coordination,
}

impl Room {
    fn new(n: u8, f: u8) -> Self {
        let (group, secrets) = group_of(n, f, f + 1, quick_policy());
        let me = Coordination::new(&group, &secrets[0], []);
        Room { group, secrets, me }
    }

    fn signed(&self, by: u8, operation: &Operation, accepted: bool) -> SignedProposal {
        let key = &self.secrets[usize::from(by) - 1].signing;
        SignedProposal::sign(key, leader(by), self.group.session(), operation.clone(), accepted)
    }

    /// A proposal of another leader arrives.
    fn hears(&mut self, by: u8, operation: &Operation) -> Vec<Output> {
        let proposal = self.signed(by, operation, false);
        self.me.on_proposals(leader(by), vec![proposal])
    }

    /// A leader's word that it has accepted arrives.
    fn hears_accepted(&mut self, by: u8, operation: &Operation) -> Vec<Output> {
        let proposal = self.signed(by, operation, true);
        self.me.on_proposals(leader(by), vec![proposal])
    }

    fn is_member(&self, name: &str) -> bool {
        self.me.members().get(&user(name)).is_some()
    }

    /// Makes an operation accepted by the proposals of n-f others.
    fn accepts(&mut self, operation: &Operation) {
        let (n, f) = (self.group.rules.n(), self.group.rules.f());
        (2..=n - f + 1).for_each(|by| drop(self.hears(by, operation)));
        assert_eq!(self.me.lives[&operation.subject()].rank(), operation.rank(), "{operation:?}");
    }
}

/// The operations that this output proposes in the leader's own name.
fn proposed(outputs: &[Output]) -> Vec<Operation> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Broadcast(PeerMessage::Proposals(list)) => Some(list),
        _ => None,
    });
    sent.flatten().map(|proposal| proposal.operation.clone()).collect()
}

fn blamed(outputs: &[Output]) -> Vec<(u8, Fault)> {
    let faults = outputs.iter().filter_map(|output| match output {
        Output::Blame(leader, fault) => Some((leader.number(), *fault)),
        _ => None,
    });
    faults.collect()
}

fn changed(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Changed(_)))
}

/// Honest leaders, all but the last `absent`, with messages between them under way.
struct Cluster {
    group: GroupInfo,
    secrets: Vec<LeaderSecrets>,
    leaders: BTreeMap<LeaderId, Coordination>,
    mail: VecDeque<(LeaderId, LeaderId, PeerMessage)>,
    records: BTreeMap<LeaderId, BTreeMap<Subject, LifeRecord>>,
    blames: Vec<(LeaderId, Fault)>,
}

impl Cluster {
    fn new(n: u8, f: u8, absent: u8) -> Self {
        let (group, secrets) = group_of(n, f, f + 1, quick_policy());
        let honest = secrets.iter().take(usize::from(n - absent));
        let leaders = honest.map(|s| (s.id, Coordination::new(&group, s, []))).collect();
        let (mail, records, blames) = Default::default();
        Cluster { group, secrets, leaders, mail, records, blames }
    }

    fn ids(&self) -> Vec<LeaderId> {
        self.leaders.keys().copied().collect()
    }

    fn at(&mut self, number: u8) -> &mut Coordination {
        self.leaders.get_mut(&leader(number)).unwrap()
    }

    fn carry_out(&mut self, by: LeaderId, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Persist(record) => {
                    self.records.entry(by).or_default().insert(record.subject.clone(), record);
                }
                Output::Broadcast(message) => {
                    let others: Vec<_> = self.group.rules.leaders().filter(|to| *to != by).collect();
                    self.mail.extend(others.into_iter().map(|to| (by, to, message.clone())));
                }
                Output::Tell(to, message) => self.mail.push_back((by, to, message)),
                Output::Changed(_) | Output::Session(_) | Output::CaughtUp => {}
                Output::Blame(culprit, fault) => self.blames.push((culprit, fault)),
            }
        }
    }

    fn step(&mut self, number: u8, input: impl FnOnce(&mut Coordination) -> Vec<Output>) {
        let outputs = input(self.at(number));
        self.carry_out(leader(number), outputs);
    }

    /// Leaders authenticate a user.
    fn admit(&mut self, numbers: &[u8], entry: &MemberEntry) {
        for number in numbers {
            self.step(*number, |state| state.admit(entry).map(|(_, outputs)| outputs).unwrap_or_default());
        }
    }

    fn remove(&mut self, numbers: &[u8], member: &MemberId, cause: Cause) {
        numbers.iter().for_each(|number| self.step(*number, |state| state.remove(member, cause)));
    }

    fn expel(&mut self, numbers: &[u8], name: &str) {
        numbers.iter().for_each(|number| self.step(*number, |state| state.expel(&user(name)).unwrap()));
    }

    fn deliver_at(&mut self, place: usize) {
        let Some((from, to, message)) = self.mail.remove(place) else { return };
        let Some(state) = self.leaders.get_mut(&to) else { return };
        let outputs = match message {
            PeerMessage::Proposals(list) => state.on_proposals(from, list),
            PeerMessage::Status(root) => state.on_status(from, root),
            PeerMessage::Buckets(theirs) => state.on_buckets(from, &theirs),
            PeerMessage::Unheard(_) => unreachable!("coordination tells no such thing"),
        };
        self.carry_out(to, outputs);
    }

    fn deliver_all(&mut self) {
        while !self.mail.is_empty() {
            self.deliver_at(0);
        }
    }

    /// Every leader tells every other its status, as it does from time to time.
    fn compare(&mut self) {
        for by in self.ids() {
            self.step(by.number(), Coordination::expel_again);
            for message in self.at(by.number()).status() {
                let is_short = |list: &[SignedProposal]| list.len() <= PROPOSALS_MAX;
                assert!(!matches!(&message, PeerMessage::Proposals(list) if !is_short(list)), "others refuse it");
                self.carry_out(by, vec![Output::Broadcast(message)]);
            }
        }
        self.deliver_all();
    }

    fn state_of(&self, id: LeaderId) -> State {
        state_of(&self.leaders[&id])
    }

    /// That all present leaders are in one state.
    fn assert_same(&self) {
        let ids = self.ids();
        for id in &ids {
            assert_eq!(self.state_of(*id), self.state_of(ids[0]), "{id} and {}", ids[0]);
        }
    }
}

/// All that leaders must agree on, in the end.
#[derive(Debug, PartialEq)]
struct State {
    members: Vec<MemberEntry>,
    hash: [u8; 32],
    epoch: Epoch,
    refreshes: u64,
    status: PeerMessage,
}

fn state_of(state: &Coordination) -> State {
    State {
        members: state.members().iter().cloned().collect(),
        hash: state.members().hash().digest(),
        epoch: state.epoch(),
        refreshes: state.refreshes(),
        status: PeerMessage::Status(state.root()),
    }
}
