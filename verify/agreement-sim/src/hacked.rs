//! What a hacked leader does: it runs the real component and rewrites what leaves it, with its own keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringfort_agreement::block::{Block, Body, Parent, Sealed, push_message};
use ringfort_agreement::checkpoint::{Certificate, Parts, Signed, State, Statement};
use ringfort_agreement::keys::{Keys, Purpose};
use ringfort_agreement::reached::{Answer, Reached};
use ringfort_agreement::sequence::Log;
use ringfort_agreement::wire::{Frame, Status};
use ringfort_agreement::{Author, Digest, Reference, Rules};

use crate::dice::Dice;

/// What a hacked leader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Says nothing.
    Silent,
    /// Shows one half another block than the other half, in every round.
    Equivocate,
    /// The same, each block naming the other one of the round before: two chains as deep as the history.
    EquivocateDeep,
    /// Shows both blocks to everybody, one after the other.
    EquivocateOpenly,
    /// Shows forty blocks of each round to everybody.
    Multiply,
    /// Shows its blocks to `f + 1` leaders and gives them to nobody.
    Partial,
    /// Sends every block as late as the others just wait for.
    Late,
    /// Names as few blocks as it may, and never those of one author.
    Withhold,
    /// Runs ahead: waits for nothing.
    Race,
    /// Gives shares of the coin that are wrong, to some.
    BadShares,
    /// Sends well signed blocks that are invalid or of far rounds.
    FarRounds,
    /// Fills its blocks to the brim.
    Inflate,
    /// Signs nothing right, and signs in the names of others.
    Forge,
    /// Says false things of checkpoints, and gives false parts of states.
    BadCheckpoint,
    /// Gives parts of states that are cut short or of other bytes.
    BadParts,
    /// Its clock is at either end of time.
    WildClock,
    /// Changes, cuts and repeats the bytes of its frames.
    Mangle,
    /// Asks without end, for blocks that there are and that there are not.
    Flood,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Strategy; 18] = [
        Strategy::Silent,
        Strategy::Equivocate,
        Strategy::EquivocateDeep,
        Strategy::EquivocateOpenly,
        Strategy::Multiply,
        Strategy::Partial,
        Strategy::Late,
        Strategy::Withhold,
        Strategy::Race,
        Strategy::BadShares,
        Strategy::FarRounds,
        Strategy::Inflate,
        Strategy::Forge,
        Strategy::BadCheckpoint,
        Strategy::BadParts,
        Strategy::WildClock,
        Strategy::Mangle,
        Strategy::Flood,
    ];

    fn equivocates(self) -> bool {
        matches!(self, Strategy::Equivocate | Strategy::EquivocateDeep | Strategy::EquivocateOpenly)
    }
}

/// A frame on its way out, with a delay of its own.
pub type Outgoing = (Author, Frame, Duration);

/// A hacked leader's mind.
pub struct Hacked {
    /// What it does.
    pub strategy: Strategy,
    me: Author,
    rules: Rules,
    epoch: Digest,
    keys: Arc<dyn Keys>,
    /// What was sent in place of an own block, by what the component made.
    sent: BTreeMap<Reference, Sealed>,
    /// The other block of a round.
    other: BTreeMap<u64, Sealed>,
    /// All that was signed, to answer questions.
    signed: BTreeMap<Reference, Sealed>,
    highest: u64,
    forged: Option<(Certificate, Parts)>,
}

impl Hacked {
    /// A mind for leader `me`.
    pub fn new(strategy: Strategy, me: Author, rules: Rules, epoch: Digest, keys: Arc<dyn Keys>) -> Self {
        let (sent, other, signed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Hacked { strategy, me, rules, epoch, keys, sent, other, signed, highest: 0, forged: None }
    }

    /// Other bytes in place of a frame's.
    pub fn mangled(&self, bytes: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
        if self.strategy != Strategy::Mangle || dice.chance(300) {
            return None;
        }
        let mut bytes = bytes.to_vec();
        match dice.below(4) {
            0 => bytes.truncate(dice.index(bytes.len() + 1)),
            1 => bytes.extend((0..dice.below(40)).map(|k| k as u8)),
            _ => {
                for _ in 0..=dice.below(3) {
                    let (place, to) = (dice.index(bytes.len()), dice.below(256) as u8);
                    bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte = to);
                }
            }
        }
        Some(bytes)
    }

    fn sign(&mut self, body: Body) -> Sealed {
        let sealed = Sealed::sign(body, &*self.keys);
        self.signed.insert(sealed.reference(), sealed.clone());
        sealed
    }

    /// What leaves in place of a frame for these leaders.
    pub fn outgoing(&mut self, to: &[Author], frame: &Frame, dice: &mut Dice) -> Vec<Outgoing> {
        let each = |frame: &Frame| to.iter().map(|to| (*to, frame.clone(), Duration::ZERO)).collect();
        match (self.strategy, frame) {
            (Strategy::Silent, _) => Vec::new(),
            (Strategy::Partial, Frame::Answer(_)) => Vec::new(),
            (_, Frame::Block(block)) if block.body.author == self.me => self.own_block(to, block, dice),
            (Strategy::BadCheckpoint, Frame::Statement(signed)) => {
                let statement = Statement { state: Digest([9; 32]), ..signed.statement };
                let lies = Frame::Statement(self.state(&statement));
                let other = Statement { position: signed.statement.position + 1000, ..statement };
                let far = Frame::Statement(self.state(&other));
                let both: Vec<Outgoing> = each(&lies);
                let far: Vec<Outgoing> = each(&far);
                let true_one: Vec<Outgoing> = if dice.chance(300) { each(frame) } else { Vec::new() };
                both.into_iter().chain(far).chain(true_one).collect()
            }
            (Strategy::BadCheckpoint | Strategy::BadParts, Frame::Part(name, bytes)) => {
                let mut bytes = bytes.clone();
                match dice.below(if self.strategy == Strategy::BadParts { 4 } else { 3 }) {
                    0 => bytes.truncate(bytes.len() / 2),
                    1 | 3 => bytes.iter_mut().take(40).for_each(|byte| *byte ^= 0x55),
                    _ => bytes.clear(),
                }
                each(&Frame::Part(*name, bytes))
            }
            (Strategy::BadCheckpoint | Strategy::Flood, Frame::Reached(answer)) => {
                let reached = self.exaggerated(&answer.reached, dice);
                each(&Frame::Reached(Answer { reached, ..answer.clone() }))
            }
            _ => each(frame),
        }
    }

    /// A far round, with own signatures for it alone, or with what others signed for another.
    fn exaggerated(&self, reached: &Reached, dice: &mut Dice) -> Reached {
        let round = 1 << 40;
        let name = Reference { round, author: self.me, digest: Digest([9; 32]) };
        let message = ringfort_agreement::block::signed_bytes(&self.epoch, &name);
        let own = (self.me, name.digest, self.keys.sign(Purpose::Block, &message));
        let signers = match (dice.below(3), reached) {
            (0, _) => vec![own],
            (1, Reached::Blocks { signers, .. }) => {
                signers.iter().copied().filter(|signer| signer.0 != self.me).chain([own]).collect()
            }
            _ => vec![own; self.rules.honest_one()],
        };
        Reached::Blocks { round, signers }
    }

    fn state(&self, statement: &Statement) -> Signed {
        let bytes = encode(statement);
        Signed { author: self.me, statement: *statement, signature: self.keys.sign(Purpose::Checkpoint, &bytes) }
    }

    fn own_block(&mut self, to: &[Author], block: &Block, dice: &mut Dice) -> Vec<Outgoing> {
        let sealed = Sealed::sign(block.body.clone(), &*self.keys);
        let first = match self.sent.get(&sealed.reference()) {
            Some(sent) => sent.clone(),
            None => self.rewritten(&sealed, dice),
        };
        self.highest = self.highest.max(first.reference().round);
        let frame = |sealed: &Sealed| Frame::Block(sealed.block().as_ref().clone());
        let at = |to: &[Author], sealed: &Sealed, later: Duration| -> Vec<Outgoing> {
            to.iter().map(|to| (*to, frame(sealed), later)).collect()
        };
        let late = if self.strategy == Strategy::Late { dice.between_us(2000, 4000) } else { Duration::ZERO };
        if self.strategy == Strategy::Partial {
            let shown: Vec<Author> = to.iter().copied().take(self.rules.honest_one()).collect();
            return at(&shown, &first, late);
        }
        if self.strategy == Strategy::Multiply {
            return (0..40).flat_map(|k| at(to, &self.copy_of(&first, k), late)).collect();
        }
        if !self.strategy.equivocates() {
            return at(to, &first, late);
        }
        let second = self.other_of(&first);
        if self.strategy == Strategy::EquivocateOpenly {
            let later = dice.between_us(0, 2000);
            return at(to, &first, late).into_iter().chain(at(to, &second, later)).collect();
        }
        let (even, odd): (Vec<Author>, Vec<Author>) = to.iter().partition(|to| to.index() % 2 == 0);
        at(&even, &first, late).into_iter().chain(at(&odd, &second, late)).collect()
    }

    /// What is sent in place of what the component made; later blocks name it instead.
    fn rewritten(&mut self, made: &Sealed, dice: &mut Dice) -> Sealed {
        let mut body = made.body().clone();
        let before = body.round - 1;
        // The component has the block that it made, and hears of the one that was sent: it must not accuse itself.
        let me = self.me;
        body.evidence.retain(|evidence| evidence.author != me);
        for parent in body.parents.iter_mut().filter(|parent| parent.author == self.me) {
            let name = Reference { round: before, author: parent.author, digest: parent.digest };
            parent.digest = self.sent.get(&name).map_or(parent.digest, |sent| sent.reference().digest);
        }
        for weak in body.weak.iter_mut().filter(|weak| weak.author == self.me) {
            *weak = self.sent.get(weak).map_or(*weak, Sealed::reference);
        }
        match self.strategy {
            Strategy::Withhold => self.withhold(&mut body),
            Strategy::BadShares => {
                if let Some(share) = body.coin.as_mut().filter(|_| dice.chance(800)) {
                    share.iter_mut().skip(dice.index(2)).take(1).for_each(|byte| *byte ^= 1);
                }
            }
            Strategy::Inflate => {
                let length = 30_000 + dice.index(30_000);
                push_message(&mut body.payload, &vec![0xee; length]);
            }
            Strategy::WildClock => body.clock_us = if dice.chance(500) { u64::MAX } else { 0 },
            _ => {}
        }
        let sealed = self.sign(body);
        self.sent.insert(made.reference(), sealed.clone());
        sealed
    }

    fn withhold(&self, body: &mut Body) {
        let victim = Author::all(self.rules.n()).find(|author| *author != self.me);
        let spare = body.parents.len().saturating_sub(self.rules.quorum());
        let (me, mut dropped) = (self.me, 0);
        body.parents.retain(|parent| {
            let goes = Some(parent.author) == victim || parent.author != me;
            let goes = goes && dropped < spare;
            dropped += usize::from(goes);
            !goes
        });
        body.weak.clear();
    }

    fn copy_of(&mut self, first: &Sealed, number: u64) -> Sealed {
        let mut body = first.body().clone();
        body.clock_us = body.clock_us.saturating_add(number);
        self.sign(body)
    }

    fn other_of(&mut self, first: &Sealed) -> Sealed {
        let round = first.reference().round;
        if let Some(other) = self.other.get(&round) {
            return other.clone();
        }
        let mut body = first.body().clone();
        body.clock_us = body.clock_us.saturating_add(1);
        push_message(&mut body.payload, b"another");
        if self.strategy == Strategy::EquivocateDeep
            && let Some(before) = self.other.get(&(round - 1)).map(Sealed::reference)
        {
            let own = |parent: &&mut Parent| parent.author == self.me;
            if let Some(parent) = body.parents.iter_mut().find(own) {
                parent.digest = before.digest;
            }
        }
        let other = self.sign(body);
        self.other.insert(round, other.clone());
        other
    }

    /// What a question is answered with, besides what the component says.
    pub fn answers(&self, from: Author, frame: &Frame) -> Vec<Outgoing> {
        if matches!(self.strategy, Strategy::Silent | Strategy::Partial) {
            return Vec::new();
        }
        let answer = |frame| (from, frame, Duration::ZERO);
        match frame {
            Frame::Fetch(references) => references
                .iter()
                .filter_map(|reference| self.signed.get(reference))
                .map(|sealed| answer(Frame::Answer(sealed.block().as_ref().clone())))
                .collect(),
            Frame::Ask(name) => {
                let forged = self.forged.as_ref().filter(|(c, _)| c.statement.position == name.position);
                let part = forged.and_then(|(_, parts)| parts.part(name.part));
                part.map(|bytes| answer(Frame::Part(*name, bytes.to_vec()))).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// What it sends of itself, some hundred times a second.
    pub fn tick(&mut self, others: &[Author], template: Option<&Sealed>, dice: &mut Dice) -> Vec<Outgoing> {
        let Some(to) = dice.pick(others) else { return Vec::new() };
        let out = |frame| vec![(to, frame, Duration::ZERO)];
        match self.strategy {
            Strategy::FarRounds => {
                let frames: Vec<Frame> =
                    template.map(|t| (0..4).map(|_| self.far(t, dice)).collect()).unwrap_or_default();
                frames.into_iter().flat_map(out).collect()
            }
            Strategy::Forge => template.map(|t| self.forged_blocks(to, others, t, dice)).unwrap_or_default(),
            Strategy::Flood => out(self.flood(template, dice)),
            Strategy::BadCheckpoint => out(self.forged_certificate()),
            _ => Vec::new(),
        }
    }

    fn far(&mut self, template: &Sealed, dice: &mut Dice) -> Frame {
        let mut body = template.body().clone();
        body.author = self.me;
        body.coin = None;
        match dice.below(8) {
            0 => body.round = 1 << 63,
            1 => body.round = u64::MAX,
            2 => body.round += 1_000_000,
            3 => body.round += 40 + dice.below(100),
            4 => body.parents = body.parents.iter().flat_map(|parent| [*parent, *parent]).collect(),
            5 => body.weak.push(Reference { round: body.round, author: self.me, digest: template.reference().digest }),
            6 => body.parents.iter_mut().for_each(|parent| parent.digest = Digest([dice.below(200) as u8; 32])),
            _ => body.epoch = Digest([1; 32]),
        }
        if self.rules.coin_due(body.round).is_some() {
            body.coin = Some([5; 128]);
        }
        Frame::Block(Sealed::sign(body, &*self.keys).block().as_ref().clone())
    }

    /// Blocks in others' names, and own ones with a signature that does not fit.
    fn forged_blocks(&mut self, to: Author, others: &[Author], template: &Sealed, dice: &mut Dice) -> Vec<Outgoing> {
        let mut body = template.body().clone();
        push_message(&mut body.payload, b"forged");
        let mut own = body.clone();
        own.author = self.me;
        let mut bad = Sealed::sign(own, &*self.keys).block().as_ref().clone();
        bad.signature.iter_mut().skip(dice.index(64)).take(1).for_each(|byte| *byte ^= 4);
        let victim = dice.pick(others).unwrap_or(to);
        body.author = victim;
        let forged = Sealed::sign(body.clone(), &*self.keys).block().as_ref().clone();
        // An own block that names the forged one makes others ask for it.
        let mut namer = body;
        namer.author = self.me;
        namer.payload.clear();
        let digest = Sealed::sign(forged.body.clone(), &*self.keys).reference().digest;
        namer.round += 1;
        namer.coin = self.rules.coin_due(namer.round).map(|coin| self.keys.coin_share(coin, dice.rng()));
        let authors: Vec<Author> = Author::all(self.rules.n()).collect();
        namer.parents = authors.into_iter().map(|author| Parent { author, digest }).collect();
        namer.weak.clear();
        let namer = Sealed::sign(namer, &*self.keys);
        self.signed.insert(
            Sealed::sign(forged.body.clone(), &*self.keys).reference(),
            Sealed::sign(forged.body.clone(), &*self.keys),
        );
        let frames = [Frame::Block(bad), Frame::Block(namer.block().as_ref().clone()), Frame::Answer(forged.clone())];
        frames.into_iter().map(|frame| (to, frame, Duration::ZERO)).collect()
    }

    fn flood(&self, template: Option<&Sealed>, dice: &mut Dice) -> Frame {
        let highest = template.map_or(1, |t| t.reference().round);
        match dice.below(4) {
            3 => Frame::Status(Status {
                quorum_round: u64::MAX - dice.below(2),
                lowest: u64::MAX - dice.below(2),
                have: vec![u64::MAX - dice.below(2); usize::from(self.rules.n())],
                checkpoint: u64::MAX,
                wants_round: u64::MAX,
                question: u64::MAX,
            }),
            0 => Frame::Status(Status {
                quorum_round: dice.below(highest + 5),
                lowest: dice.below(highest + 100),
                have: vec![0; usize::from(self.rules.n())],
                checkpoint: u64::MAX,
                wants_round: u64::MAX,
                question: 1 + dice.below(5),
            }),
            1 => Frame::Fetch(template.map(|t| t.references().collect()).unwrap_or_default()),
            _ => {
                let digest = Digest([dice.below(250) as u8; 32]);
                let name = Reference { round: dice.below(highest + 1), author: self.me, digest };
                Frame::Fetch(vec![name; 40])
            }
        }
    }

    /// A checkpoint that never was, with one signature.
    fn forged_certificate(&mut self) -> Frame {
        if self.forged.is_none() {
            let log = Log { position: 1 << 40, index: 7, round: 5000, ..Log::default() };
            let parts = Parts::of(&State { log, application: vec![1; 100] }).expect("a small state");
            let statement = Statement {
                epoch: self.epoch,
                position: 1 << 40,
                round: 5000,
                index: 7,
                head: Digest::default(),
                state: parts.digest(),
                state_bytes: parts.bytes().len() as u64,
            };
            let signed = self.state(&statement);
            let certificate = Certificate { statement, signatures: vec![(self.me, signed.signature)] };
            self.forged = Some((certificate, parts));
        }
        Frame::Certificate(self.forged.clone().expect("made above").0)
    }
}

fn encode(statement: &Statement) -> Vec<u8> {
    ringfort_agreement::checkpoint::signed_bytes(statement)
}
