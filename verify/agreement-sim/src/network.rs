//! How frames travel: kindly, or as an adversary likes that may delay everything but lose nothing for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringfort_agreement::block::Block;
use ringfort_agreement::wire::Frame;
use ringfort_agreement::{Author, Rules};

use crate::dice::Dice;
use crate::keys;

/// How frames travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// A local network: everything arrives within about a millisecond.
    Kind,
    /// Frames of any age arrive in any order.
    Wild,
    /// As wild, by a scheduler that sees every share and holds back the blocks that a known coin names.
    Hostile,
}

/// The network between leaders.
#[derive(Clone, Debug)]
pub struct Network {
    /// How frames travel now.
    pub weather: Weather,
    /// Frames lost in a thousand.
    pub loss: u64,
    /// Links that carry nothing, by direction.
    pub cut: BTreeSet<(Author, Author)>,
    /// A link's own delay, added to every frame.
    pub slow: BTreeMap<Author, Duration>,
    /// How long a hostile scheduler holds back what a known coin names, in milliseconds.
    pub hold_ms: u64,
    seed: u64,
    rules: Rules,
    /// Shares of every coin that the scheduler has anyway.
    pub hacked: usize,
    /// Honest authors whose share of a coin was sent.
    shares: BTreeMap<u64, BTreeSet<Author>>,
}

impl Network {
    /// A network for one run.
    pub fn new(seed: u64, rules: Rules, weather: Weather, hacked: usize) -> Self {
        Network {
            weather,
            loss: 0,
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
            hold_ms: 120,
            seed,
            rules,
            hacked,
            shares: BTreeMap::new(),
        }
    }

    /// When a frame sent now arrives; `None` if it never does.
    pub fn delay(&mut self, dice: &mut Dice, from: Author, to: Author, frame: &Frame) -> Option<Duration> {
        if self.cut.contains(&(from, to)) || dice.chance(self.loss) {
            return None;
        }
        let own = self.slow.get(&from).copied().unwrap_or_default();
        let delay = match self.weather {
            Weather::Kind => dice.between_us(100, 900),
            Weather::Wild => wild(dice),
            Weather::Hostile => self.hostile(dice, from, frame),
        };
        Some(own + delay)
    }

    fn hostile(&mut self, dice: &mut Dice, from: Author, frame: &Frame) -> Duration {
        let (Frame::Block(block) | Frame::Answer(block)) = frame else { return wild(dice) };
        let body = &block.body;
        if let Some(coin) = self.rules.coin_due(body.round).filter(|_| body.author == from) {
            self.shares.entry(coin).or_default().insert(from);
        }
        if self.is_named(block) { Duration::from_millis(self.hold_ms) } else { dice.between_us(100, 900) }
    }

    /// Whether the coin for which this block stands is known already, and names it.
    fn is_named(&self, block: &Block) -> bool {
        let (round, author) = (block.body.round, block.body.author);
        let out = self.shares.get(&round).map_or(0, BTreeSet::len);
        self.rules.is_coin_round(round)
            && out > 0
            && out + self.hacked >= self.rules.honest_one()
            && keys::coin(self.seed, self.rules.n(), round) == author
    }

    /// Nothing goes between `part` and the others.
    pub fn split(&mut self, part: &[Author]) {
        for a in Author::all(self.rules.n()) {
            for b in Author::all(self.rules.n()).filter(|b| part.contains(&a) != part.contains(b)) {
                self.cut.insert((a, b));
            }
        }
    }

    /// Everything is mended.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.slow.clear();
        self.loss = 0;
        self.weather = Weather::Kind;
    }
}

fn wild(dice: &mut Dice) -> Duration {
    match dice.below(10) {
        0..6 => dice.between_us(100, 3000),
        6..9 => dice.between_us(1000, 15_000),
        _ => dice.between_us(10_000, 90_000),
    }
}
