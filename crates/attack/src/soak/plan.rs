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
    pub const PLAIN: [Fault; 8] = [
        Fault::Kill,
        Fault::Freeze,
        Fault::CutOff,
        Fault::CutLeaders,
        Fault::CutMember,
        Fault::FullDisk,
        Fault::ClockAhead,
        Fault::ClockBack,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Kill => "kill",
            Fault::Freeze => "freeze",
            Fault::CutOff => "cut-off",
            Fault::CutLeaders => "cut-leaders",
            Fault::CutMember => "cut-member",
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
    plain: VecDeque<Fault>,
    attacks: VecDeque<Fault>,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Self {
        Plan { rng: ChaCha20Rng::seed_from_u64(seed), plain: VecDeque::new(), attacks: VecDeque::new() }
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
                self.attacks = self.shuffled(Kind::ALL.into_iter().map(Fault::Attack).collect());
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
        Turn {
            leader: number(place),
            other: number(other),
            fault: self.fault(),
            lasts: self.between(Duration::from_millis(500), Duration::from_secs(4)),
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
            let mut plan = Plan::new(seed);
            (0..100).map(|_| plan.turn()).collect::<Vec<_>>()
        };
        assert_eq!(turns(7), turns(7));
        assert_ne!(turns(7), turns(8));
    }

    #[test]
    fn everything_happens_to_everybody_and_no_leader_is_its_own_other() {
        let mut plan = Plan::new(1);
        let turns: Vec<Turn> = (0..2_000).map(|_| plan.turn()).collect();
        let seen: BTreeSet<(Fault, u8)> = turns.iter().map(|turn| (turn.fault, turn.leader)).collect();
        assert_eq!(seen.len(), (Fault::PLAIN.len() + Kind::ALL.len()) * usize::from(N));
        assert!(turns.iter().all(|turn| turn.leader != turn.other && (1..=N).contains(&turn.other)));
        let early: BTreeSet<Fault> = turns.iter().take(60).map(|turn| turn.fault).collect();
        assert_eq!(early.len(), Fault::PLAIN.len() + Kind::ALL.len(), "all of them within a few minutes");
    }
}
