//! Figure 3 of *Intrusion-Tolerant Enclaves* (seed 002 §3.2) as the paper writes it.
//!
//! Each leader holds a number `n_i` and a view `M_i`, and counts in both each change it accepts. A proposal
//! ⟨Propose, j, A, n_j⟩ is valid at leader i if it is signed, `n_j >= n_i` and A is not in `M_i`. A leader sends its
//! own proposal for A once: when it has authenticated A, or has f+1 valid ones. With n-f valid ones, its own among
//! them, it accepts A, and `n_i` grows by one.
//!
//! Nothing here is ours: the model exists so that the checker shows the stall, and `ARCHITECTURE.md` says what our
//! coordination does instead. No leader need be hacked for it: two users who join at the same time are enough.

use stateright::{Model, Property};

/// Leaders, all of them honest unless one keeps silent.
const LEADERS: usize = 4;
const F: usize = 1;
const AMPLIFY: usize = F + 1;
const ACCEPT: usize = LEADERS - F;

/// The promise of the paper that the stall breaks.
pub const LIVENESS: &str = "liveness (seed 002 §3.2): whom f+1 honest leaders announce, all honest leaders accept";
/// The other one.
pub const CONSISTENCY: &str = "consistency (seed 002 §3.2): whom one honest leader accepts, all honest leaders accept";
/// This one holds.
pub const VALID: &str = "valid authentication (seed 002 §3.2): whom an honest leader accepts, one has announced";

/// The world of the figure.
#[derive(Clone, Debug)]
pub struct Figure3 {
    /// Users who join, at the same time.
    pub users: u8,
    /// Whether leader 4 says nothing: it crashed, or is hacked and keeps quiet.
    pub one_is_silent: bool,
}

/// One leader, as in the paper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Leader {
    /// `n_i`.
    pub number: u8,
    /// `M_i`, one bit for each user.
    pub view: u8,
    /// For each user, whose valid proposals it holds, one bit for each leader.
    valid: Vec<u8>,
    /// For each user, whether it has sent its own.
    sent: u8,
}

/// All leaders, and what is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Whole {
    /// The leaders.
    pub leaders: Vec<Leader>,
    /// Proposals that have not arrived yet, sorted: to whom, from whom, for whom, and `n_j`.
    under_way: Vec<(u8, u8, u8, u8)>,
    /// Who has authenticated whom, one bit for each user.
    announced: Vec<u8>,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A leader authenticates a user.
    Authenticates(u8, u8),
    /// A proposal arrives: at whom, from whom, for whom, with which number.
    Arrives(u8, u8, u8, u8),
}

impl Figure3 {
    fn honest(&self) -> u8 {
        if self.one_is_silent { LEADERS as u8 - 1 } else { LEADERS as u8 }
    }

    /// ⟨Propose, i, A, n_i⟩ to all leaders, if it has not already done so.
    fn propose(&self, whole: &mut Whole, by: u8, user: u8) {
        let Some(leader) = whole.leaders.get_mut(usize::from(by)) else { return };
        if leader.sent & (1 << user) != 0 {
            return;
        }
        leader.sent |= 1 << user;
        let number = leader.number;
        for to in (0..self.honest()).filter(|to| *to != by) {
            whole.under_way.push((to, by, user, number));
        }
        whole.under_way.sort_unstable();
        self.receive(whole, (by, by, user, number));
    }

    /// A proposal is received: kept if it is valid now; then the second and third rule.
    fn receive(&self, whole: &mut Whole, (at, from, user, number): (u8, u8, u8, u8)) {
        let Some(leader) = whole.leaders.get_mut(usize::from(at)) else { return };
        let valid = number >= leader.number && leader.view & (1 << user) == 0;
        let Some(votes) = leader.valid.get_mut(usize::from(user)).filter(|_| valid) else { return };
        *votes |= 1 << from;
        let count = votes.count_ones() as usize;
        let own = *votes & (1 << at) != 0;
        if count >= ACCEPT && own {
            leader.view |= 1 << user;
            leader.number += 1;
        } else if count >= AMPLIFY {
            self.propose(whole, at, user);
        }
    }
}

impl Model for Figure3 {
    type State = Whole;
    type Action = Act;

    fn init_states(&self) -> Vec<Whole> {
        let leader = Leader { valid: vec![0; usize::from(self.users)], ..Leader::default() };
        let honest = usize::from(self.honest());
        vec![Whole { leaders: vec![leader; honest], under_way: Vec::new(), announced: vec![0; honest] }]
    }

    fn actions(&self, whole: &Whole, acts: &mut Vec<Act>) {
        for (by, announced) in (0..).zip(&whole.announced) {
            let new = (0..self.users).filter(|user| announced & (1 << user) == 0);
            acts.extend(new.map(|user| Act::Authenticates(by, user)));
        }
        acts.extend(whole.under_way.iter().map(|(at, from, user, number)| Act::Arrives(*at, *from, *user, *number)));
    }

    fn next_state(&self, whole: &Whole, act: Act) -> Option<Whole> {
        let mut next = whole.clone();
        match act {
            Act::Authenticates(by, user) => {
                *next.announced.get_mut(usize::from(by))? |= 1 << user;
                self.propose(&mut next, by, user);
            }
            Act::Arrives(at, from, user, number) => {
                let proposal = (at, from, user, number);
                next.under_way.retain(|p| *p != proposal);
                self.receive(&mut next, proposal);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(LIVENESS, |model: &Figure3, whole: &Whole| {
                !model.is_stuck(whole) || model.all_let_in(whole)
            }),
            Property::always(CONSISTENCY, |model: &Figure3, whole: &Whole| {
                !model.is_stuck(whole) || whole.leaders.iter().all(|a| whole.leaders.iter().all(|b| a.view == b.view))
            }),
            Property::always(VALID, |model: &Figure3, whole: &Whole| {
                (0..model.users).all(|user| {
                    let is_in = whole.leaders.iter().any(|leader| leader.view & (1 << user) != 0);
                    !is_in || whole.announced.iter().any(|announced| announced & (1 << user) != 0)
                })
            }),
            Property::sometimes("all users are in everywhere", |model: &Figure3, whole: &Whole| {
                model.all_let_in(whole)
            }),
        ]
    }
}

impl Figure3 {
    /// Every user has authenticated everywhere, every message has arrived: nothing can happen any more.
    pub fn is_stuck(&self, whole: &Whole) -> bool {
        let everybody = u8::MAX >> (8 - self.users);
        whole.under_way.is_empty() && whole.announced.iter().all(|announced| *announced == everybody)
    }

    fn all_let_in(&self, whole: &Whole) -> bool {
        let everybody = u8::MAX >> (8 - self.users);
        whole.leaders.iter().all(|leader| leader.view == everybody)
    }
}

/// One event in words.
pub fn tell(act: &str) -> String {
    let numbers: Vec<u8> = act.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    let user = |which: u8| char::from(b'A' + which);
    match numbers[..] {
        [by, who] => format!("leader {} authenticates {} and proposes", by + 1, user(who)),
        [at, from, who, number] => {
            format!("leader {} gets <Propose, {}, {}, n={number}>", at + 1, from + 1, user(who))
        }
        _ => act.to_owned(),
    }
}
