//! The coordination of leaders, with the real component at its heart: four leaders, one of them hacked.
//!
//! Every order of events is tried: users authenticate, leave and are expelled at any honest leader at any time,
//! what honest leaders say arrives in any order, the hacked one says anything in the scene's alphabet to anybody at
//! any time, differently to each, and honest leaders crash and return. What is under way between honest leaders
//! arrives once, as on their links; a link that breaks loses it, and its ends say again what is not settled.

pub mod properties;
pub mod scenes;
mod universe;

use stateright::{Model, Property};

pub use properties::Flaw;
pub use scenes::{SCENES, Scene};
pub use universe::{HONEST, Op, Wish};
use universe::{Input, Outcome, Universe};

use ringfort_protocol::rules::Rule;

/// The hacked leader's index.
const LIAR: u8 = 3;

/// A scene with everything in it.
pub struct Coordinated {
    /// What may happen.
    pub scene: &'static Scene,
    /// Shares that make the group key.
    pub key_threshold: usize,
    universe: Universe,
}

/// The state of the whole: small, since each leader's state is a number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Whole {
    /// The honest leaders' states.
    pub nodes: [u32; HONEST],
    /// Proposals between honest leaders that are under way, one bit each.
    flight: u128,
    /// What users and operators have asked of each honest leader, one bit each.
    pub asked: [u16; HONEST],
    /// What they have ever asked of any.
    pub asked_ever: u16,
    /// Operations that some honest leader has accepted at some time, one bit each.
    pub accepted_ever: u16,
    /// What the hacked leader may still say.
    lies_left: u8,
    /// Crashes that may still happen.
    pub crashes_left: u8,
    /// Something happened that must never happen.
    pub flaw: Option<Flaw>,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A proposal arrives.
    Arrive {
        /// From an honest leader.
        from: u8,
        /// At another.
        to: u8,
        /// Of what.
        op: Op,
    },
    /// The hacked leader says something to one leader.
    Lie {
        /// To whom.
        to: u8,
        /// In whose name.
        name: u8,
        /// Of what.
        op: Op,
        /// Whether it says *accepted*.
        accepted: bool,
    },
    /// Users and operators ask a leader for something of the scene's list.
    Ask {
        /// Whom.
        of: u8,
        /// For what.
        op: Op,
    },
    /// Anti-entropy: a leader hears what another has accepted.
    CatchUp {
        /// Who hears.
        by: u8,
        /// Who tells.
        from: u8,
    },
    /// A leader is killed and starts again; its links break.
    Crash(u8),
}

impl Coordinated {
    /// A scene under the true rules, or with one of them weakened by one.
    pub fn new(scene: &'static Scene, weakened: Option<Rule>) -> Self {
        let universe = Universe::new(scene.wishes, weakened);
        let key_threshold = universe.rules().key_threshold();
        Coordinated { scene, key_threshold, universe }
    }

    /// States of single leaders seen so far.
    pub fn nodes_seen(&self) -> usize {
        self.universe.nodes_seen()
    }

    fn honest() -> impl Iterator<Item = u8> {
        0..HONEST as u8
    }

    fn bit(&self, from: u8, to: u8, op: Op) -> u128 {
        let route = from * HONEST as u8 + to;
        1 << (usize::from(route) * self.scene.wishes.len() + usize::from(op))
    }

    fn node_of(whole: &Whole, leader: u8) -> u32 {
        *whole.nodes.get(usize::from(leader)).expect("an honest leader")
    }

    /// Whether a leader was asked for an operation.
    fn was_asked(whole: &Whole, leader: u8, op: Op) -> bool {
        whole.asked.get(usize::from(leader)).is_some_and(|asked| asked & (1 << op) != 0)
    }

    /// Carries out one leader's step; `None` if it changed nothing.
    fn give(&self, whole: &Whole, leader: u8, input: Input) -> Option<Whole> {
        let before = Self::node_of(whole, leader);
        let Outcome { node, said, fell, .. } = self.universe.step(leader, before, input);
        if node == before && said.is_empty() && !fell {
            return None;
        }
        let mut next = whole.clone();
        if let Some(place) = next.nodes.get_mut(usize::from(leader)) {
            *place = node;
        }
        for op in said.iter() {
            for to in Self::honest().filter(|to| *to != leader) {
                next.flight |= self.bit(leader, to, *op);
            }
        }
        self.note(&mut next, before, node);
        if fell {
            next.flaw = Some(Flaw::WentBack);
        }
        Some(next)
    }

    /// Notes what a step has brought, and whether it may.
    fn note(&self, next: &mut Whole, before: u32, after: u32) {
        let (before, after) = (self.universe.node(before), self.universe.node(after));
        for op in after.accepted.iter().flatten() {
            next.accepted_ever |= 1 << op;
        }
        let fell = before.ranks.iter().zip(&after.ranks).any(|(before, after)| after < before);
        if fell || after.epoch < before.epoch {
            next.flaw = Some(Flaw::WentBack);
        }
        for (ended, now) in before.accepted.iter().zip(&after.accepted) {
            let (Some(ended), Some(now)) = (ended, now) else { continue };
            if let (Wish::Remove { stay: ended, .. }, Wish::Join { stay: now, .. }) =
                (self.universe.wish(*ended), self.universe.wish(*now))
                && now <= ended
            {
                next.flaw = Some(Flaw::Resurrected);
            }
        }
    }

    /// A leader is killed between two steps; within one, nothing was said before what it says of is on disk, so that
    /// what is left is what an earlier step had left. What is under way to and from it is lost, its links are new, and both ends of each say
    /// what is not settled.
    fn crash(&self, whole: &Whole, leader: u8) -> Option<Whole> {
        let mut next = whole.clone();
        next.crashes_left = whole.crashes_left.checked_sub(1)?;
        for other in Self::honest().filter(|other| *other != leader) {
            for op in 0..self.scene.wishes.len() as u8 {
                next.flight &= !(self.bit(leader, other, op) | self.bit(other, leader, op));
            }
        }
        let before = Self::node_of(whole, leader);
        let restarted = self.universe.step(leader, before, Input::Restart);
        self.note(&mut next, before, restarted.node);
        self.say(&mut next, leader, None, &restarted.said);
        self.put(&mut next, leader, restarted.node);
        for other in Self::honest().filter(|other| *other != leader) {
            for (at, to) in [(leader, other), (other, leader)] {
                let outcome = self.universe.step(at, Self::node_of(&next, at), Input::PeerUp(to));
                self.put(&mut next, at, outcome.node);
                self.say(&mut next, at, Some(to), &outcome.told);
            }
        }
        Some(next)
    }

    fn put(&self, next: &mut Whole, leader: u8, node: u32) {
        if let Some(place) = next.nodes.get_mut(usize::from(leader)) {
            *place = node;
        }
    }

    fn say(&self, next: &mut Whole, from: u8, to: Option<u8>, said: &[Op]) {
        for op in said {
            for to in Self::honest().filter(|other| *other != from && to.is_none_or(|to| to == *other)) {
                next.flight |= self.bit(from, to, *op);
            }
        }
    }

    /// Whether nothing is under way and no two honest leaders have anything to tell each other.
    pub fn is_at_rest(&self, whole: &Whole) -> bool {
        let learns = |by: u8, from: u8| {
            let input = Input::CatchUp(from, Self::node_of(whole, from));
            let before = Self::node_of(whole, by);
            let outcome = self.universe.step(by, before, input);
            outcome.node != before || !outcome.said.is_empty()
        };
        whole.flight == 0 && Self::honest().all(|by| Self::honest().all(|from| by == from || !learns(by, from)))
    }

    fn ask(&self, whole: &Whole, of: u8, op: Op) -> Option<Whole> {
        let input = match self.universe.wish(op) {
            Wish::Join { .. } => Input::Admit(op),
            Wish::Remove { user, cause: ringfort_protocol::view::Cause::Expelled, .. } => Input::Expel(user),
            Wish::Remove { .. } => Input::Remove(op),
        };
        let mut next = self.give(whole, of, input)?;
        if let Some(asked) = next.asked.get_mut(usize::from(of)) {
            *asked |= 1 << op;
        }
        next.asked_ever |= 1 << op;
        Some(next)
    }
}

impl Model for Coordinated {
    type State = Whole;
    type Action = Act;

    fn init_states(&self) -> Vec<Whole> {
        let mut nodes = [0; HONEST];
        nodes.iter_mut().zip(0..).for_each(|(node, leader)| *node = self.universe.fresh(leader));
        vec![Whole {
            nodes,
            flight: 0,
            asked: [0; HONEST],
            asked_ever: 0,
            accepted_ever: 0,
            lies_left: self.scene.lies_max,
            crashes_left: self.scene.crashes_max,
            flaw: None,
        }]
    }

    fn actions(&self, whole: &Whole, actions: &mut Vec<Act>) {
        if whole.flaw.is_some() {
            return;
        }
        for to in Self::honest() {
            for from in Self::honest().filter(|from| *from != to) {
                let ops = 0..self.scene.wishes.len() as u8;
                let under_way = ops.filter(|op| whole.flight & self.bit(from, to, *op) != 0);
                actions.extend(under_way.map(|op| Act::Arrive { from, to, op }));
                actions.push(Act::CatchUp { by: to, from });
            }
            if whole.lies_left > 0 {
                for op in self.scene.lies.iter().copied() {
                    actions.extend([false, true].map(|accepted| Act::Lie { to, name: LIAR, op, accepted }));
                }
                actions.extend(self.scene.forgeries.iter().map(|op| Act::Lie {
                    to,
                    name: (to + 1) % 3,
                    op: *op,
                    accepted: true,
                }));
            }
            let asked = self.scene.asked.iter().filter(|(_, of)| of & (1 << to) != 0).map(|(op, _)| *op);
            actions.extend(asked.filter(|op| !Self::was_asked(whole, to, *op)).map(|op| Act::Ask { of: to, op }));
            if whole.crashes_left > 0 {
                actions.push(Act::Crash(to));
            }
        }
    }

    fn next_state(&self, whole: &Whole, act: Act) -> Option<Whole> {
        match act {
            Act::Arrive { from, to, op } => {
                let mut arrived = whole.clone();
                arrived.flight &= !self.bit(from, to, op);
                let input = Input::Hear { link: from, name: from, signer: from, op, accepted: false };
                Some(self.give(&arrived, to, input).unwrap_or(arrived))
            }
            Act::Lie { to, name, op, accepted } => {
                let input = Input::Hear { link: name, name, signer: LIAR, op, accepted };
                let mut next = self.give(whole, to, input)?;
                if self.scene.lies_max < u8::MAX {
                    next.lies_left -= 1;
                }
                Some(next)
            }
            Act::Ask { of, op } => self.ask(whole, of, op),
            Act::CatchUp { by, from } => self.give(whole, by, Input::CatchUp(from, Self::node_of(whole, from))),
            Act::Crash(leader) => self.crash(whole, leader),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self.scene)
    }
}
