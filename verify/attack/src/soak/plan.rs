//! What goes wrong, and when: all of it follows from one seed.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::adversary::Kind;
use crate::real::stage::N;

/// What happens to one leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Its process is killed, and started again.
    Kill,
    /// Its process stands still, and goes on.
    Freeze,
    /// Nobody reaches it, and it reaches nobody.
    CutOff,
    /// Its link to one other leader is cut.
    CutLeaders,
    /// Its link to one member is cut.
    CutMember,
    /// Nobody reaches it for more than a minute: longer than members may be silent at it.
    LongCut,
    /// A member's machine sleeps: it reaches nobody for a while.
    Sleep,
    /// Its disk takes no more; once it has stopped, it is started again with room.
    FullDisk,
    /// Its clock jumps ahead, by minutes.
    ClockAhead,
    /// Its clock jumps back, by minutes.
    ClockBack,
    /// An attacker takes its machine over.
    Attack(Kind),
}

impl Fault {
    /// All that are no attacks.
    pub const PLAIN: [Fault; 10] = [
        Fault::Kill,
        Fault::Freeze,
        Fault::CutOff,
        Fault::CutLeaders,
        Fault::CutMember,
        Fault::LongCut,
        Fault::Sleep,
        Fault::FullDisk,
        Fault::ClockAhead,
        Fault::ClockBack,
    ];

    /// All attacks: those with a name, and chance.
    pub fn attacks() -> Vec<Fault> {
        Kind::ALL.into_iter().chain([Kind::Mutate]).map(Fault::Attack).collect()
    }

    /// How long it lasts: at least and at most. A short soak has no time for what takes a minute.
    fn lasts(self, long: bool) -> (Duration, Duration) {
        match self {
            _ if !long => (Duration::from_millis(500), Duration::from_secs(4)),
            Fault::LongCut => (Duration::from_secs(65), Duration::from_secs(80)),
            // Shorter than the overlap: what was said meanwhile can still be read.
            Fault::Sleep => (Duration::from_secs(5), Duration::from_secs(15)),
            Fault::Attack(Kind::Mutate) => (Duration::from_secs(5), Duration::from_secs(15)),
            _ => (Duration::from_millis(500), Duration::from_secs(4)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Kill => "kill",
            Fault::Freeze => "freeze",
            Fault::CutOff => "cut-off",
            Fault::CutLeaders => "cut-leaders",
            Fault::CutMember => "cut-member",
            Fault::LongCut => "long-cut",
            Fault::Sleep => "sleep",
            Fault::FullDisk => "full-disk",
            Fault::ClockAhead => "clock-ahead",
            Fault::ClockBack => "clock-back",
            Fault::Attack(kind) => return write!(f, "attack {}", kind.name()),
        })
    }
}

/// One thing that goes wrong, with one leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The leader, from 1.
    pub leader: u8,
    /// Another leader, where there are two ends.
    pub other: u8,
    /// What.
    pub fault: Fault,
    /// How long, at least.
    pub lasts: Duration,
    /// How long all is well afterwards.
    pub rest: Duration,
    /// Minutes, where a clock jumps.
    pub minutes: i64,
}

/// The turns, without end. Every plain fault and every attack comes before any comes again.
#[derive(Debug)]
pub struct Plan {
    rng: ChaCha20Rng,
    long: bool,
    plain: VecDeque<Fault>,
    attacks: VecDeque<Fault>,
}

impl Plan {
    /// The plan of a seed; a long one has faults of more than a minute.
    pub fn new(seed: u64, long: bool) -> Self {
        Plan { rng: ChaCha20Rng::seed_from_u64(seed), long, plain: VecDeque::new(), attacks: VecDeque::new() }
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.rng.next_u64() % end.max(1)
    }

    /// A time from `least` to `most`.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(u64::MAX);
        least + Duration::from_millis(self.below(span.saturating_add(1)))
    }

    fn shuffled(&mut self, mut faults: Vec<Fault>) -> VecDeque<Fault> {
        for place in (1..faults.len()).rev() {
            let other = usize::try_from(self.below(place as u64 + 1)).unwrap_or(0);
            faults.swap(place, other);
        }
        faults.into()
    }

    fn fault(&mut self) -> Fault {
        let attack = self.below(2) == 0;
        if attack {
            if self.attacks.is_empty() {
                self.attacks = self.shuffled(Fault::attacks());
            }
            self.attacks.pop_front().unwrap_or(Fault::Kill)
        } else {
            if self.plain.is_empty() {
                self.plain = self.shuffled(Fault::PLAIN.to_vec());
            }
            self.plain.pop_front().unwrap_or(Fault::Kill)
        }
    }

    /// What goes wrong next.
    pub fn turn(&mut self) -> Turn {
        let n = u64::from(N);
        let place = self.below(n);
        let other = (place + 1 + self.below(n - 1)) % n;
        let number = |place: u64| u8::try_from(place + 1).unwrap_or(1);
        let fault = self.fault();
        let (least, most) = fault.lasts(self.long);
        Turn {
            leader: number(place),
            other: number(other),
            fault,
            lasts: self.between(least, most),
            rest: self.between(Duration::from_millis(200), Duration::from_secs(2)),
            minutes: 1 + i64::try_from(self.below(30)).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn one_seed_is_one_plan() {
        let turns = |seed| {
            let mut plan = Plan::new(seed, true);
            (0..100).map(|_| plan.turn()).collect::<Vec<_>>()
        };
        assert_eq!(turns(7), turns(7));
        assert_ne!(turns(7), turns(8));
    }

    #[test]
    fn only_a_long_soak_has_faults_of_more_than_a_minute() {
        let longest = |long| {
            let mut plan = Plan::new(3, long);
            (0..500).map(|_| plan.turn().lasts).max()
        };
        assert!(longest(false) <= Some(Duration::from_secs(4)) && longest(true) > Some(Duration::from_secs(65)));
    }

    #[test]
    fn everything_happens_to_everybody_and_no_leader_is_its_own_other() {
        let mut plan = Plan::new(1, true);
        let turns: Vec<Turn> = (0..2_000).map(|_| plan.turn()).collect();
        let seen: BTreeSet<(Fault, u8)> = turns.iter().map(|turn| (turn.fault, turn.leader)).collect();
        assert_eq!(seen.len(), (Fault::PLAIN.len() + Fault::attacks().len()) * usize::from(N));
        assert!(turns.iter().all(|turn| turn.leader != turn.other && (1..=N).contains(&turn.other)));
        let early: BTreeSet<Fault> = turns.iter().take(72).map(|turn| turn.fault).collect();
        assert_eq!(early.len(), Fault::PLAIN.len() + Fault::attacks().len(), "all of them early");
    }
}
