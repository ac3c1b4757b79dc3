//! What happens to a frame between its ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ringfort_protocol::Time;
use ringfort_protocol::leader::Class;

use crate::dice::Dice;

/// What links are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A link keeps order and bytes; losing a control frame ends it.
    Tls,
    /// Frames are lost, repeated, reordered, altered and injected inside a link.
    Raw,
}

/// What a network does besides losing and delaying frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Frames, of a hundred thousand, that are held up for long, and with them all behind them on their link.
    pub stalls_per_100k: u64,
    /// How long at most.
    pub stall_max_ms: u64,
    /// What hostile leaders send arrives before what others send.
    pub favours_hostile: bool,
    /// Time between two resets of a link, in which all that is under way is lost; zero for none.
    pub reset_every_ms: u64,
    /// Time between two outages of a leader or sleeps of a member; zero for none.
    pub outage_every_ms: u64,
}

/// One end of a connection: `0..n` are leaders, above them clients.
pub type Port = usize;

/// What becomes of one frame.
#[derive(Debug, Default)]
pub struct Fate {
    /// When and what arrives: nothing if it is lost, more than one if it is repeated.
    pub arrivals: Vec<(Time, Bytes)>,
    /// Whether the link breaks.
    pub cut: bool,
}

/// Frames of the past that an adversary on the wire keeps for replays.
const KEPT_MAX: usize = 64;

/// The network between all nodes.
pub struct Network {
    wire: Wire,
    dice: Dice,
    /// Whether it misbehaves.
    pub hostile: bool,
    /// In the fault phase, per mille.
    loss: u64,
    delay_max_ms: u64,
    cuts: BTreeSet<(Port, Port)>,
    /// Leaders that no member reaches, and members that reach no leader.
    pub deaf: BTreeSet<Port>,
    weather: Weather,
    /// When the last frame of a direction of a link arrives: order under TLS.
    last: BTreeMap<(u64, bool), Time>,
    kept: Vec<Bytes>,
}

impl Network {
    /// A network drawn from a seed.
    pub fn new(seed: u64, wire: Wire, weather: Weather) -> Self {
        let mut dice = Dice::new(seed, "network");
        let loss = *dice.pick(&[0, 5, 20, 60]).expect("a fixed list");
        let delay_max_ms = *dice.pick(&[10, 40, 200]).expect("a fixed list");
        Network {
            wire,
            dice,
            hostile: false,
            loss,
            delay_max_ms,
            cuts: BTreeSet::new(),
            deaf: BTreeSet::new(),
            weather,
            last: BTreeMap::new(),
            kept: Vec::new(),
        }
    }

    /// A frame sent now over link `link`, upwards or not, by a hostile leader or not.
    pub fn carry(&mut self, now: Time, link: u64, (up, by_hostile): (bool, bool), class: Class, frame: Bytes) -> Fate {
        let mut fate = Fate::default();
        let mut delay = self.delay();
        if self.hostile && self.weather.stalls_per_100k > 0 {
            let stalled = self.dice.below(100_000) < self.weather.stalls_per_100k;
            delay += if stalled { self.dice.between_ms(1_000, self.weather.stall_max_ms) } else { Duration::ZERO };
        }
        if by_hostile && self.weather.favours_hostile {
            delay = Duration::from_millis(1);
        }
        if !self.hostile {
            let at = self.in_order(link, up, now + delay);
            fate.arrivals.push((at, frame));
            return fate;
        }
        let lost = self.dice.chance(self.loss);
        match self.wire {
            Wire::Tls if lost => fate.cut = class == Class::Control,
            Wire::Tls => {
                let at = self.in_order(link, up, now + delay);
                fate.arrivals.push((at, frame));
            }
            Wire::Raw => {
                self.keep(&frame);
                if !lost {
                    let altered = if self.dice.chance(15) { self.alter(&frame) } else { frame.clone() };
                    fate.arrivals.push((now + delay, altered));
                }
                if self.dice.chance(30) {
                    fate.arrivals.push((now + self.delay(), frame));
                }
                if self.dice.chance(30)
                    && let Some(old) = self.dice.pick(&self.kept).cloned()
                {
                    fate.arrivals.push((now + self.delay(), old));
                }
            }
        }
        fate
    }

    /// Whether two ports can connect now.
    pub fn reaches(&self, a: Port, b: Port) -> bool {
        !self.cuts.contains(&(a.min(b), a.max(b)))
    }

    /// Parts two ports until the network heals.
    pub fn part(&mut self, a: Port, b: Port) {
        self.cuts.insert((a.min(b), a.max(b)));
    }

    /// All partitions end.
    pub fn heal(&mut self) {
        self.deaf.clear();
        self.cuts.clear();
    }

    /// A link is gone.
    pub fn forget(&mut self, link: u64) {
        self.last.remove(&(link, true));
        self.last.remove(&(link, false));
    }

    /// Time from one end to the other.
    pub fn delay(&mut self) -> Duration {
        let high = if self.hostile { self.delay_max_ms } else { 4 };
        self.dice.between_ms(1, high)
    }

    fn in_order(&mut self, link: u64, up: bool, at: Time) -> Time {
        let last = self.last.entry((link, up)).or_default();
        *last = at.max(*last + Duration::from_nanos(1));
        *last
    }

    fn keep(&mut self, frame: &Bytes) {
        if self.kept.len() < KEPT_MAX {
            self.kept.push(frame.clone());
        } else {
            let place = self.dice.index(KEPT_MAX);
            if let Some(kept) = self.kept.get_mut(place) {
                *kept = frame.clone();
            }
        }
    }

    fn alter(&mut self, frame: &Bytes) -> Bytes {
        if self.dice.chance(300) {
            return frame.slice(..self.dice.index(frame.len() + 1));
        }
        let mut bytes = frame.to_vec();
        let place = self.dice.index(bytes.len());
        let bit = 1u8 << self.dice.below(8);
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= bit;
        }
        bytes.into()
    }
}
