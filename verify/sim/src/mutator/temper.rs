//! What a hacked node is like in one run: which messages it touches, what it does to them, how often.
//!
//! Runs differ more if each has a few habits than if all have all of them (swarm testing; Groce et al. 2012).

use super::script::Hacked;
use crate::dice::Dice;

/// Kinds of message, as far as a mutator tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A leader's word on its present view.
    Claim,
    /// A leader's word on a past view.
    PastClaim,
    /// A part of a member list.
    List,
    /// Proof of life, either way.
    Heartbeat,
    /// A question for lost messages.
    Repair,
    /// The end of a stay.
    End,
    /// A vote, or a question for one.
    Vote,
    /// Proposals between leaders.
    Proposals,
    /// What leaders compare.
    Status,
    /// A step of a login.
    Login,
    /// A member's message.
    Data,
    /// Whatever else there is.
    Other,
}

impl Kind {
    const ALL: [Kind; 12] = [
        Kind::Claim,
        Kind::PastClaim,
        Kind::List,
        Kind::Heartbeat,
        Kind::Repair,
        Kind::End,
        Kind::Vote,
        Kind::Proposals,
        Kind::Status,
        Kind::Login,
        Kind::Data,
        Kind::Other,
    ];
}

/// What is done to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It is not sent.
    Drop,
    /// It is sent later, and so behind others.
    Hold,
    /// It is sent twice, once of it later.
    Repeat,
    /// It is sent a hundred times.
    Flood,
    /// Some get it, and others do not.
    Some,
    /// Some field of it is another.
    Alter,
    /// Its lists hold more: what is so already, or what is not so at all.
    Pad,
    /// An older one of its kind is sent in its place.
    Stale,
}

impl Deed {
    const ALL: [Deed; 8] =
        [Deed::Drop, Deed::Hold, Deed::Repeat, Deed::Flood, Deed::Some, Deed::Alter, Deed::Pad, Deed::Stale];
}

/// What comes to a hacked leader's mind of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idea {
    /// The lies of the single strategies.
    Classic,
    /// A view that is about to come, claimed before anybody has it.
    Foresee,
    /// Questions for what members have sent.
    Wanted,
    /// Past views that nobody asked for.
    PastViews,
    /// Questions that cost the asked one much.
    Compare,
    /// Known proposals, again and again.
    Proposals,
    /// Members are said to be lost.
    Lost,
    /// Views of a long list that is made up.
    LongList,
}

impl Idea {
    const ALL: [Idea; 8] = [
        Idea::Classic,
        Idea::Foresee,
        Idea::Wanted,
        Idea::PastViews,
        Idea::Compare,
        Idea::Proposals,
        Idea::Lost,
        Idea::LongList,
    ];
}

/// The habits of one hacked node in one run.
#[derive(Clone, Debug)]
pub struct Temper {
    /// Messages of its kinds that are changed, of a thousand.
    pub rate: u64,
    kinds: Vec<Kind>,
    deeds: Vec<Deed>,
    ideas: Vec<Idea>,
    /// Moments at which it has an idea, of a thousand.
    pub idea_rate: u64,
}

fn some_of<T: Copy>(dice: &mut Dice, all: &[T]) -> Vec<T> {
    match dice.below(10) {
        0..3 => dice.pick(all).copied().into_iter().collect(),
        3..8 => all.iter().copied().filter(|_| dice.chance(400)).collect(),
        _ => all.to_vec(),
    }
}

/// What a node that does one thing only does, to each message of a kind.
const OBSESSIONS: [(Kind, Deed); 12] = [
    (Kind::Claim, Deed::Pad),
    (Kind::Claim, Deed::Alter),
    (Kind::Claim, Deed::Some),
    (Kind::Claim, Deed::Stale),
    (Kind::PastClaim, Deed::Alter),
    (Kind::Heartbeat, Deed::Stale),
    (Kind::Heartbeat, Deed::Hold),
    (Kind::Proposals, Deed::Some),
    (Kind::Proposals, Deed::Pad),
    (Kind::Status, Deed::Flood),
    (Kind::Login, Deed::Alter),
    (Kind::Data, Deed::Some),
];

impl Temper {
    /// Drawn from a run's seed.
    pub fn draw(seed: u64, who: Hacked) -> Self {
        let mut dice = Dice::new(seed, &format!("temper {who}"));
        if dice.chance(250) {
            let (kind, deed) = *dice.pick(&OBSESSIONS).expect("a fixed list");
            let rate = if dice.chance(500) { 1000 } else { 300 };
            return Temper { rate, kinds: vec![kind], deeds: vec![deed], ideas: Vec::new(), idea_rate: 0 };
        }
        let rate = *dice.pick(&[20, 80, 250, 600]).expect("a fixed list");
        let kinds = some_of(&mut dice, &Kind::ALL);
        let deeds = some_of(&mut dice, &Deed::ALL);
        let ideas = some_of(&mut dice, &Idea::ALL);
        let idea_rate = *dice.pick(&[0, 30, 200, 1000]).expect("a fixed list");
        Temper { rate, kinds, deeds, ideas, idea_rate }
    }

    /// What is done to a message of a kind, if anything.
    pub fn deed(&self, dice: &mut Dice, kind: Kind) -> Option<Deed> {
        let concerned = self.kinds.contains(&kind) && dice.chance(self.rate);
        concerned.then(|| dice.pick(&self.deeds).copied()).flatten()
    }

    /// What comes to mind, if anything.
    pub fn idea(&self, dice: &mut Dice) -> Option<Idea> {
        dice.chance(self.idea_rate).then(|| dice.pick(&self.ideas).copied()).flatten()
    }
}
