//! Leaders that do not do as they should, in the core's place: what they say comes late, or twice and differently.

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ringfort::agreement::agreement::Agreement;
use ringfort::agreement::block::Sealed;
use ringfort::agreement::fault::Fault as Deviation;
use ringfort::agreement::keys::LeaderKeys;
use ringfort::agreement::verify::{Checked, Verifier};
use ringfort::agreement::wire::Frame;
use ringfort::agreement::{Author, AuthorSet, Cx, Effect, Step, Time};
use ringfort::order::{CoreFigures, OrderCore};

/// How late a slow leader's frames leave.
const LATE: Duration = Duration::from_millis(200);

/// What is the matter with one of the leaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is not there.
    Silent,
    /// Everything that it says is 200 ms late.
    Slow,
    /// It shows one half of the leaders another block than the other half, in every round.
    Equivocating,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 4] = [Fault::None, Fault::Silent, Fault::Slow, Fault::Equivocating];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Fault::None => "none",
            Fault::Silent => "silent",
            Fault::Slow => "slow",
            Fault::Equivocating => "equivocating",
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Fault::ALL.into_iter().find(|fault| fault.word() == word);
        found.ok_or_else(|| format!("{word} is no fault of a leader"))
    }
}

/// The core with a fault.
pub(super) struct Faulty {
    core: Agreement,
    keys: Arc<LeaderKeys>,
    fault: Fault,
    /// What leaves later, by when.
    held: VecDeque<(Time, Effect)>,
}

impl Faulty {
    pub fn new(core: Agreement, keys: Arc<LeaderKeys>, fault: Fault) -> Self {
        Faulty { core, keys, fault, held: VecDeque::new() }
    }

    fn bend(&mut self, now: Time, step: Step) -> Step {
        let mut effects = Vec::new();
        for effect in step.effects {
            match (self.fault, effect) {
                (Fault::Slow, effect @ Effect::Send { .. }) => self.held.push_back((now + LATE, effect)),
                (Fault::Equivocating, Effect::Send { to, frame }) => {
                    let (some, others) = halves(to);
                    let other = self.variant(&frame).unwrap_or_else(|| frame.clone());
                    effects.push(Effect::Send { to: some, frame });
                    effects.push(Effect::Send { to: others, frame: other });
                }
                (_, effect) => effects.push(effect),
            }
        }
        while self.held.front().is_some_and(|(due, _)| *due <= now) {
            effects.extend(self.held.pop_front().map(|(_, effect)| effect));
        }
        Step { effects, ..step }
    }

    /// Another block for the same round.
    fn variant(&self, frame: &[u8]) -> Option<bytes::Bytes> {
        let Ok(Frame::Block(block)) = Frame::decode(frame) else { return None };
        let mut body = block.body;
        body.clock_us += 1;
        body.payload.clear();
        let sealed = Sealed::sign(body, &*self.keys);
        Some(Frame::Block(sealed.block().as_ref().clone()).encode())
    }
}

fn halves(to: AuthorSet) -> (AuthorSet, AuthorSet) {
    let (some, others): (Vec<Author>, Vec<Author>) = to.iter().partition(|author| author.index() % 2 == 0);
    (some.into_iter().collect(), others.into_iter().collect())
}

impl OrderCore for Faulty {
    fn admits(&mut self, now: Time, from: Author, frame: &[u8]) -> bool {
        self.core.admits(now, from, frame)
    }

    fn verifier(&self) -> Verifier {
        self.core.verifier()
    }

    fn on_many(&mut self, cx: &mut Cx<'_>, frames: Vec<(Author, Result<Checked, Deviation>)>) -> Step {
        let step = self.core.on_many(cx, frames);
        self.bend(cx.now, step)
    }

    fn submit_all(&mut self, cx: &mut Cx<'_>, messages: Vec<Vec<u8>>) -> (Step, Vec<Vec<u8>>) {
        let (step, refused) = self.core.submit_all(cx, messages);
        (self.bend(cx.now, step), refused)
    }

    fn provide_state(&mut self, cx: &mut Cx<'_>, position: u64, state: Vec<u8>) -> Step {
        let step = self.core.provide_state(cx, position, state);
        self.bend(cx.now, step)
    }

    fn on_peer_up(&mut self, cx: &mut Cx<'_>, peer: Author) -> Step {
        let step = self.core.on_peer_up(cx, peer);
        self.bend(cx.now, step)
    }

    fn on_wakeup(&mut self, cx: &mut Cx<'_>) -> Step {
        let step = self.core.on_wakeup(cx);
        self.bend(cx.now, step)
    }

    fn next_wakeup(&self) -> Option<Time> {
        let held = self.held.front().map(|(due, _)| *due);
        held.into_iter().chain(self.core.next_wakeup()).min()
    }

    fn figures(&self) -> CoreFigures {
        OrderCore::figures(&self.core)
    }
}
