//! The real coordination component of each honest leader, and all that can be said in a scene.
//!
//! A leader's next state and words depend on its state and its input alone. So each state is kept once, under a
//! number, and each step is taken once; the checker then moves numbers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringfort_protocol::codec::encode;
use ringfort_protocol::coordination::inspect::LifeState;
use ringfort_protocol::coordination::{Coordination, LifeRecord, Operation, Output, SignedProposal, Subject};
use ringfort_protocol::data::Identity;
use ringfort_protocol::group::{GroupInfo, LeaderSecrets, deal_group};
use ringfort_protocol::rules::Rule;
use ringfort_protocol::view::Cause;
use ringfort_protocol::wire::PeerMessage;
use ringfort_protocol::{Incarnation, LeaderId, MemberId, Policy, Rules, UserName};

/// Honest leaders: 1 to 3.
pub const HONEST: usize = 3;

/// An operation of the scene, by its place in the scene's list.
pub type Op = u8;

/// What can be wanted, in small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A user comes in for a stay with some keys.
    Join {
        /// Who.
        user: u8,
        /// For which stay.
        stay: u8,
        /// With which keys: an honest user has one pair for each stay.
        keys: u8,
    },
    /// A stay ends.
    Remove {
        /// Whose.
        user: u8,
        /// Which.
        stay: u8,
        /// Why.
        cause: Cause,
    },
}

impl Wish {
    /// Whether both are the same to those who vote: all removals of a stay are one.
    pub fn same(self, other: Wish) -> bool {
        match (self, other) {
            (Wish::Remove { user: a, stay: s, .. }, Wish::Remove { user: b, stay: t, .. }) => (a, s) == (b, t),
            _ => self == other,
        }
    }

    /// Whose stay it is about.
    pub fn stay(self) -> (u8, u8) {
        match self {
            Wish::Join { user, stay, .. } | Wish::Remove { user, stay, .. } => (user, stay),
        }
    }

    fn operation(self) -> Operation {
        match self {
            Wish::Join { user, stay, keys } => {
                let seed = u64::from(user) * 64 + u64::from(stay) * 8 + u64::from(keys);
                let mut rng = ChaCha12Rng::seed_from_u64(seed);
                Operation::Join(Identity::generate(name(user), Incarnation(stay.into()), &mut rng).entry())
            }
            Wish::Remove { user, stay, cause } => {
                Operation::Remove(MemberId { user: name(user), incarnation: Incarnation(stay.into()) }, cause)
            }
        }
    }
}

/// What a leader is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A proposal arrives on the link of a leader.
    Hear {
        /// Whose link: 0 to 2 are honest, 3 is hacked.
        link: u8,
        /// In whose name.
        name: u8,
        /// Signed by whom.
        signer: u8,
        /// Of what.
        op: Op,
        /// Whether it says *accepted*.
        accepted: bool,
    },
    /// The user of a join has authenticated here.
    Admit(Op),
    /// The member of a removal has asked to leave here, or is not heard any more.
    Remove(Op),
    /// The operator wants a user out.
    Expel(u8),
    /// Anti-entropy with a leader in this state.
    CatchUp(u8, u32),
    /// The link to a leader is new.
    PeerUp(u8),
    /// It was killed, and starts from its disk.
    Restart,
}

/// What came of an input.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The state after it.
    pub node: u32,
    /// What was said to all others.
    pub said: Arc<[Op]>,
    /// What was said to the leader whose link is new.
    pub told: Arc<[Op]>,
    /// On the way to the new state, an accepted operation was replaced by an earlier one.
    pub fell: bool,
}

/// A state of a leader, and what checkers want to know of it.
pub struct Node {
    core: Coordination,
    disk: BTreeMap<Subject, LifeRecord>,
    /// For each user, the accepted operation.
    pub accepted: Vec<Option<Op>>,
    /// For each user, whether it was expelled.
    pub barred: Vec<bool>,
    /// For each user, how far its life has come.
    pub ranks: Vec<u64>,
    /// The number of the view.
    pub epoch: u64,
    /// The content of the view.
    pub members: [u8; 32],
    /// Some accepted operation would lack a vote without the hacked leader's.
    pub liar_counted: bool,
    /// Some operation was accepted when f+1 others had said that they have accepted it.
    pub caught_up: bool,
}

/// The group and everything said in a scene.
pub struct Universe {
    group: GroupInfo,
    secrets: Vec<LeaderSecrets>,
    wishes: Vec<Wish>,
    operations: Vec<Operation>,
    nodes: RwLock<Interned>,
    steps: RwLock<HashMap<(u32, Input), Outcome>>,
    words: RwLock<HashMap<(u8, u8, Op, bool), SignedProposal>>,
}

#[derive(Default)]
struct Interned {
    all: Vec<Arc<Node>>,
    numbers: HashMap<Vec<u8>, u32>,
}

fn name(user: u8) -> UserName {
    ["ana", "bo", "cy"].get(usize::from(user)).expect("three users").parse().expect("a name")
}

fn id(index: u8) -> LeaderId {
    LeaderId::new(index + 1).expect("four leaders")
}

impl Universe {
    /// Four leaders, of whom one may be hacked, and the wishes of a scene; one rule may be weakened.
    pub fn new(wishes: &[Wish], weakened: Option<Rule>) -> Self {
        let rules = Rules::new(4, 1, 2).expect("four leaders tolerate one hacked");
        let addresses: Vec<String> = (1..=4).map(|i| format!("leader-{i}:1")).collect();
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let (group, secrets) = deal_group("model", rules, &addresses, Policy::default(), &mut rng);
        let group = weakened.map_or(group.clone(), |rule| group.mutated_for_testing_only(rule));
        Universe {
            group,
            secrets,
            wishes: wishes.to_vec(),
            operations: wishes.iter().map(|wish| wish.operation()).collect(),
            nodes: RwLock::default(),
            steps: RwLock::default(),
            words: RwLock::default(),
        }
    }

    /// The rules that the leaders keep.
    pub fn rules(&self) -> &Rules {
        &self.group.rules
    }

    /// What can be wanted.
    pub fn wishes(&self) -> &[Wish] {
        &self.wishes
    }

    /// What is wanted.
    pub fn wish(&self, op: Op) -> Wish {
        *self.wishes.get(usize::from(op)).expect("an operation of the scene")
    }

    /// The state of a leader that knows nothing.
    pub fn fresh(&self, leader: u8) -> u32 {
        self.keep(self.core(leader, []), BTreeMap::new())
    }

    fn core(&self, leader: u8, disk: impl IntoIterator<Item = LifeRecord>) -> Coordination {
        let secrets = self.secrets.get(usize::from(leader)).expect("four leaders");
        Coordination::new(&self.group, secrets, disk)
    }

    /// A state by its number.
    pub fn node(&self, number: u32) -> Arc<Node> {
        let nodes = self.nodes.read().expect("no thread failed");
        nodes.all.get(number as usize).expect("a number that was given out").clone()
    }

    /// States of single leaders seen so far.
    pub fn nodes_seen(&self) -> usize {
        self.nodes.read().expect("no thread failed").all.len()
    }

    /// Gives a leader in some state an input.
    pub fn step(&self, leader: u8, number: u32, input: Input) -> Outcome {
        if let Some(known) = self.steps.read().expect("no thread failed").get(&(number, input)) {
            return known.clone();
        }
        let outcome = self.take_step(leader, number, input);
        self.steps.write().expect("no thread failed").insert((number, input), outcome.clone());
        outcome
    }

    fn take_step(&self, leader: u8, number: u32, input: Input) -> Outcome {
        let node = self.node(number);
        let (mut core, mut disk) = (node.core.clone(), node.disk.clone());
        let mut told = Vec::new();
        let outputs = match input {
            Input::Hear { link, name, signer, op, accepted } => {
                core.on_proposals(id(link), vec![self.word(name, signer, op, accepted)])
            }
            Input::Admit(op) => match self.operation(op) {
                Operation::Join(entry) => core.admit(entry).map_or(Vec::new(), |(_, outputs)| outputs),
                _ => Vec::new(),
            },
            Input::Remove(op) => match self.operation(op) {
                // As the root component does: who asks must be in, or be the last that came.
                Operation::Remove(member, cause)
                    if core.members().get_member(member).is_some()
                        || core.last_incarnation(&member.user) == member.incarnation =>
                {
                    core.remove(member, *cause)
                }
                _ => Vec::new(),
            },
            Input::Expel(user) => core.expel(&name(user)).unwrap_or_default(),
            Input::CatchUp(peer, state) => self.catch_up(&mut core, leader, peer, &self.node(state).core),
            Input::PeerUp(peer) => {
                core.on_peer_up(id(peer));
                told = core.status().into_iter().flat_map(|message| self.said(&message)).collect();
                Vec::new()
            }
            Input::Restart => {
                core = self.core(leader, disk.values().cloned());
                core.insist()
            }
        };
        let mut said = Vec::new();
        let mut fell = false;
        for output in outputs {
            match output {
                Output::Persist(record) => {
                    let rank = record.rank();
                    let before = disk.insert(record.subject.clone(), record);
                    fell |= before.is_some_and(|before| before.rank() > rank);
                }
                Output::Broadcast(message) => said.extend(self.said(&message)),
                Output::Tell(..) | Output::Changed(_) | Output::Session(_) | Output::CaughtUp | Output::Blame(..) => {}
            }
        }
        Outcome { node: self.keep(core, disk), said: said.into(), told: told.into(), fell }
    }

    /// Compares states with a peer and hears its accepted operations, where they differ.
    fn catch_up(&self, core: &mut Coordination, me: u8, peer: u8, theirs: &Coordination) -> Vec<Output> {
        let mut theirs = theirs.clone();
        let mut outputs = Vec::new();
        let Some(PeerMessage::Status(root)) = theirs.status().into_iter().next() else { return outputs };
        for told in core.on_status(id(peer), root) {
            let Output::Tell(_, PeerMessage::Buckets(buckets)) = told else { continue };
            for answer in theirs.on_buckets(id(me), &buckets) {
                if let Output::Tell(_, PeerMessage::Proposals(words)) = answer {
                    outputs.extend(core.on_proposals(id(peer), words));
                }
            }
        }
        outputs
    }

    fn operation(&self, op: Op) -> &Operation {
        self.operations.get(usize::from(op)).expect("an operation of the scene")
    }

    /// The operations that a message proposes.
    fn said(&self, message: &PeerMessage) -> Vec<Op> {
        let PeerMessage::Proposals(words) = message else { return Vec::new() };
        words.iter().map(|word| self.place(&word.operation).expect("the scene lists what leaders say")).collect()
    }

    fn place(&self, operation: &Operation) -> Option<Op> {
        self.operations.iter().position(|o| o == operation).and_then(|place| u8::try_from(place).ok())
    }

    /// A proposal, signed once.
    fn word(&self, name: u8, signer: u8, op: Op, accepted: bool) -> SignedProposal {
        let key = (name, signer, op, accepted);
        if let Some(known) = self.words.read().expect("no thread failed").get(&key) {
            return known.clone();
        }
        let signing = &self.secrets.get(usize::from(signer)).expect("four leaders").signing;
        let session = self.group.session();
        let word = SignedProposal::sign(signing, id(name), session, self.operation(op).clone(), accepted);
        self.words.write().expect("no thread failed").insert(key, word.clone());
        word
    }

    /// Keeps a state; the same state has the same number.
    fn keep(&self, core: Coordination, disk: BTreeMap<Subject, LifeRecord>) -> u32 {
        let lives = core.state_for_testing_only();
        let key = self.key(&core, &lives, &disk);
        if let Some(number) = self.nodes.read().expect("no thread failed").numbers.get(&key) {
            return *number;
        }
        let mut nodes = self.nodes.write().expect("no thread failed");
        if let Some(number) = nodes.numbers.get(&key) {
            return *number;
        }
        let number = u32::try_from(nodes.all.len()).expect("fewer than 2^32 states of a leader");
        nodes.all.push(Arc::new(self.look(core, &lives, disk)));
        nodes.numbers.insert(key, number);
        number
    }

    /// All of a state, as bytes. A leader's own name is in its votes and in nothing else, so it is put in front.
    fn key(
        &self,
        core: &Coordination,
        lives: &BTreeMap<Subject, LifeState>,
        disk: &BTreeMap<Subject, LifeRecord>,
    ) -> Vec<u8> {
        let mut key = vec![core.me_for_testing_only().number()];
        for life in lives.values() {
            key.extend(encode(&(&life.accepted, life.barred, life.unwanted)));
            for (operation, votes) in &life.ballots {
                let votes: Vec<_> = votes.iter().map(|(leader, (accepted, cause))| (leader, accepted, cause)).collect();
                key.extend(encode(&(operation, votes)));
            }
        }
        key.extend(disk.values().flat_map(encode));
        key
    }

    fn look(
        &self,
        core: Coordination,
        lives: &BTreeMap<Subject, LifeState>,
        disk: BTreeMap<Subject, LifeRecord>,
    ) -> Node {
        let users = self.wishes.iter().map(|wish| wish.stay().0 + 1).max().unwrap_or(0);
        let life = |user: u8| lives.get(&Subject::User(name(user)));
        let accepted = |user| life(user).and_then(|life| life.accepted.as_ref());
        // The cause that is told of a removal may be any: the first removal of that stay stands for all.
        let place = |operation: &Operation| {
            let same = |o: &&Operation| (o.subject(), o.rank(), o.content()) == key_of(operation);
            self.operations.iter().find(same).and_then(|o| self.place(o))
        };
        let mut liar_counted = false;
        let mut caught_up = false;
        for life in lives.values() {
            let Some(done) = &life.accepted else { continue };
            for (operation, votes) in life.ballots.iter().filter(|(o, _)| key_of(o) == key_of(done)) {
                debug_assert!(operation.rank() == done.rank());
                let honest = votes.keys().filter(|leader| leader.number() != 4).count();
                let accepted = votes.values().filter(|(accepted, _)| *accepted).count();
                liar_counted |= votes.contains_key(&id(3)) && honest + 1 == self.group.rules.accept();
                caught_up |= accepted >= self.group.rules.catch_up();
            }
        }
        Node {
            accepted: (0..users).map(|user| accepted(user).and_then(place)).collect(),
            barred: (0..users).map(|user| life(user).is_some_and(|life| life.barred)).collect(),
            ranks: (0..users).map(|user| accepted(user).map_or(0, Operation::rank)).collect(),
            epoch: core.epoch().0,
            members: core.members().hash().digest(),
            liar_counted,
            caught_up,
            core,
            disk,
        }
    }
}

fn key_of(operation: &Operation) -> (Subject, u64, [u8; 32]) {
    (operation.subject(), operation.rank(), operation.content())
}
