//! Plays an attack under every order of deliveries inside a small window.
//!
//! The exploration is stateless: a play is a function, run from its start for each schedule. Inside a
//! [`Stage::window`] each link keeps its order and the order between links is a list of choices; depth-first search goes
//! through them. Two deliveries that touch different nodes commute, so of schedules that differ only in their
//! order one is enough (sleep sets; Godefroid 1996): "complete" means complete up to that equivalence.

use std::collections::BTreeSet;

use bytes::Bytes;
use ringfort_protocol::Policy;
use ringfort_protocol::rules::Rule;

use crate::bench::{Bench, Lane, Node, Route};
use crate::dice::Dice;

/// An attack, played once under one schedule: what was observed, or how it ended otherwise.
pub type Play = fn(&mut Stage) -> Result<String, Ended>;

/// Why a play did not end with the attack refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The attack succeeded.
    Broken(String),
    /// The attack did not come about.
    NotMade(String),
    /// An equivalent schedule is played elsewhere.
    Pruned,
}

/// The play goes on only if something the attack needs has come about.
pub fn made(came_about: bool, why_not: &str) -> Result<(), Ended> {
    if came_about { Ok(()) } else { Err(Ended::NotMade(why_not.to_owned())) }
}

/// The play goes on only if a promise was kept.
pub fn kept(promise: bool, broken: impl Into<String>) -> Result<(), Ended> {
    if promise { Ok(()) } else { Err(Ended::Broken(broken.into())) }
}

/// A part that an attack needs.
pub fn need<T>(part: Option<T>, why_not: &str) -> Result<T, Ended> {
    part.ok_or_else(|| Ended::NotMade(why_not.to_owned()))
}

/// How far an exploration goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Deliveries whose order is a choice; later ones keep the order in which they were sent.
    pub depth: usize,
    /// Schedules played.
    pub plays: usize,
}

/// What an exploration saw.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the first schedule observed, or the first schedule that did not end well.
    pub outcome: Result<String, Ended>,
    /// Schedules played to their end.
    pub interleavings: usize,
    /// Schedules left early because an equivalent one was played.
    pub pruned: usize,
    /// Schedules drawn by chance, where there were too many to play all: the search sees one corner of them.
    pub sampled: usize,
    /// Whether every order of deliveries within the window and its depth was played.
    pub complete: bool,
    /// Whether some window was longer than the depth.
    pub cut: bool,
    /// The seed.
    pub seed: u64,
    /// The choices of the schedule that the outcome is of.
    pub schedule: Vec<usize>,
}

/// One play's surroundings.
pub struct Stage {
    rule: Option<Rule>,
    seed: u64,
    schedule: Schedule,
}

impl Stage {
    /// A bench of four leaders. The window applies to it alone.
    pub fn bench(&self, change: impl FnOnce(&mut Policy)) -> Bench {
        Bench::new(self.seed, self.rule, change)
    }

    /// A bench of other sizes.
    pub fn bench_of(&self, sizes: (u8, u8), change: impl FnOnce(&mut Policy)) -> Bench {
        Bench::of(self.seed, sizes, self.rule, change)
    }

    /// The rule that honest nodes do not keep, if any.
    pub fn rule(&self) -> Option<Rule> {
        self.rule
    }

    /// What everything random follows from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Delivers all that is under way. The order of frames `inside` the window, and of what the attacker added, is
    /// the schedule's; everything else arrives at once.
    pub fn window(&mut self, bench: &mut Bench, inside: impl Fn(&Route, &Bytes) -> bool) -> Result<(), Ended> {
        bench.pump_outside(&inside);
        bench.wires.take_touched();
        self.schedule.sleep.clear();
        loop {
            let lanes = bench.wires.lanes();
            if lanes.is_empty() || bench.restless {
                return Ok(());
            }
            let lane = self.schedule.choose(&lanes)?;
            bench.step_lane(lane);
            bench.pump_outside(&inside);
            self.schedule.delivered(bench.wires.take_touched());
        }
    }
}

type Footprint = BTreeSet<Node>;

/// The choices of one play, and what is left to try.
#[derive(Default)]
struct Schedule {
    choices: Vec<Choice>,
    at: usize,
    depth: usize,
    /// Deliveries that need not be tried now, because they were tried before and nothing they touch was since.
    sleep: Vec<(Lane, Footprint)>,
    cut: bool,
    last_was_choice: bool,
    script: Option<Vec<usize>>,
    /// Chance in place of the search, and what it chose.
    chance: Option<(Dice, Vec<usize>)>,
}

/// One point where several frames could be delivered next.
struct Choice {
    lanes: Vec<Lane>,
    chosen: usize,
    sleep: Vec<(Lane, Footprint)>,
    done: Vec<(Lane, Footprint)>,
    footprint: Footprint,
}

impl Choice {
    fn is_open(&self, place: usize) -> bool {
        let sleeps = |lane: &Lane| self.sleep.iter().chain(&self.done).any(|(l, _)| l == lane);
        self.lanes.get(place).is_some_and(|lane| !sleeps(lane))
    }
}

impl Schedule {
    fn choose(&mut self, lanes: &[Lane]) -> Result<Lane, Ended> {
        let first = *lanes.first().expect("something is under way");
        self.last_was_choice = false;
        if let Some(script) = &self.script {
            let chosen = script.get(self.at).copied().unwrap_or(0);
            self.at += 1;
            return Ok(lanes.get(chosen).copied().unwrap_or(first));
        }
        if let Some((dice, chosen)) = &mut self.chance {
            let place = dice.index(lanes.len());
            chosen.push(place);
            return Ok(lanes.get(place).copied().unwrap_or(first));
        }
        if self.at >= self.depth {
            self.cut |= lanes.len() > 1;
            return Ok(first);
        }
        if self.at == self.choices.len() {
            let choice = Choice {
                lanes: lanes.to_vec(),
                chosen: 0,
                sleep: self.sleep.clone(),
                done: Vec::new(),
                footprint: Footprint::new(),
            };
            let open = (0..lanes.len()).find(|place| choice.is_open(*place)).ok_or(Ended::Pruned)?;
            self.choices.push(Choice { chosen: open, ..choice });
        }
        let choice = self.choices.get(self.at).expect("just made, or played before");
        self.at += 1;
        self.last_was_choice = true;
        Ok(choice.lanes.get(choice.chosen).copied().unwrap_or(first))
    }

    fn delivered(&mut self, footprint: Footprint) {
        if !self.last_was_choice {
            return;
        }
        let Some(choice) = self.choices.get_mut(self.at - 1) else { return };
        let commutes = |(_, other): &&(Lane, Footprint)| {
            !other.contains(&Node::All) && !footprint.contains(&Node::All) && other.is_disjoint(&footprint)
        };
        self.sleep = choice.sleep.iter().chain(&choice.done).filter(commutes).cloned().collect();
        choice.footprint = footprint;
    }

    /// Prepares the next schedule; false if there is none.
    fn advance(&mut self) -> bool {
        self.at = 0;
        self.sleep.clear();
        while let Some(choice) = self.choices.last_mut() {
            if let Some(lane) = choice.lanes.get(choice.chosen) {
                choice.done.push((*lane, std::mem::take(&mut choice.footprint)));
            }
            if let Some(open) = (0..choice.lanes.len()).find(|place| choice.is_open(*place)) {
                choice.chosen = open;
                return true;
            }
            self.choices.pop();
        }
        false
    }

    fn chosen(&self) -> Vec<usize> {
        let mut chosen: Vec<usize> = match &self.chance {
            Some((_, chosen)) => chosen.clone(),
            None => self.choices.iter().take(self.at).map(|c| c.chosen).collect(),
        };
        while chosen.last() == Some(&0) {
            chosen.pop();
        }
        chosen
    }
}

/// Plays an attack under every schedule within the limits, until one does not end well.
pub fn explore(play: Play, rule: Option<Rule>, seed: u64, limits: Limits) -> Report {
    let mut stage = Stage { rule, seed, schedule: Schedule { depth: limits.depth, ..Schedule::default() } };
    let (mut interleavings, mut pruned, mut sampled) = (0, 0, 0);
    let mut first = None;
    loop {
        let outcome = play(&mut stage);
        match &outcome {
            Err(Ended::Pruned) => pruned += 1,
            outcome => {
                interleavings += 1;
                let schedule = stage.schedule.chosen();
                if outcome.is_err() {
                    let cut = stage.schedule.cut;
                    let outcome = outcome.clone();
                    return Report { outcome, interleavings, pruned, sampled, complete: false, cut, seed, schedule };
                }
                first.get_or_insert((outcome.clone(), schedule));
            }
        }
        let searching = stage.schedule.chance.is_none();
        let more = !searching || stage.schedule.advance();
        if more && interleavings + pruned >= limits.plays && sampled < limits.plays / 4 {
            sampled += 1;
            let dice = Dice::new(seed, &format!("schedule {sampled}"));
            stage.schedule.chance = Some((dice, Vec::new()));
            stage.schedule.sleep.clear();
        } else if !more || interleavings + pruned >= limits.plays {
            let nothing = (Err(Ended::NotMade("no schedule was played to its end".into())), Vec::new());
            let (outcome, schedule) = first.unwrap_or(nothing);
            let cut = stage.schedule.cut;
            return Report { outcome, interleavings, pruned, sampled, complete: !more, cut, seed, schedule };
        }
    }
}

/// Plays one schedule again.
pub fn replay(play: Play, rule: Option<Rule>, seed: u64, schedule: Vec<usize>) -> Report {
    let script = Schedule { script: Some(schedule.clone()), ..Schedule::default() };
    let outcome = play(&mut Stage { rule, seed, schedule: script });
    Report { outcome, interleavings: 1, pruned: 0, sampled: 0, complete: false, cut: false, seed, schedule }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::l;
    use ringfort_protocol::policy::Service;

    const ALL: Limits = Limits { depth: 64, plays: 10_000 };

    /// Two frames to each of two members, of which every one has two links: the interleavings at one member are
    /// 4!/(2!2!) = 6, and the other member's are independent.
    fn two_messages(stage: &mut Stage) -> Result<String, Ended> {
        let mut bench = stage.bench(|_| {});
        let (ana, ben) = (bench.member("ana"), bench.member("ben"));
        bench.say(ana, Service::Fifo, b"one");
        bench.say(ana, Service::Fifo, b"two");
        let inside = bench.is_down_to(ben);
        stage.window(&mut bench, inside)?;
        let heard = bench.heard(ben);
        kept(heard == [b"one".to_vec(), b"two".to_vec()], format!("{heard:?}"))?;
        Ok("in order".into())
    }

    #[test]
    fn every_order_of_four_frames_on_two_links_is_played_once() {
        let report = explore(two_messages, None, 7, ALL);
        assert_eq!(report.outcome, Ok("in order".into()));
        assert_eq!((report.interleavings, report.complete, report.cut), (6, true, false));
        let bounded = explore(two_messages, None, 7, Limits { depth: 1, plays: 100 });
        assert_eq!((bounded.interleavings, bounded.complete, bounded.cut), (2, true, true));
        let capped = explore(two_messages, None, 7, Limits { depth: 64, plays: 3 });
        assert!(!capped.complete && capped.interleavings == 3 && capped.sampled == 0);
        let sampled = explore(two_messages, None, 7, Limits { depth: 64, plays: 5 });
        assert_eq!((sampled.complete, sampled.interleavings, sampled.sampled), (false, 6, 1));
    }

    fn to_two_members(stage: &mut Stage) -> Result<String, Ended> {
        let mut bench = stage.bench(|_| {});
        let (ana, ben, cy) = (bench.member("ana"), bench.member("ben"), bench.member("cy"));
        bench.say(ana, Service::Fifo, b"one");
        let (to_ben, to_cy) = (bench.is_down_to(ben), bench.is_down_to(cy));
        stage.window(&mut bench, |route, frame| to_ben(route, frame) || to_cy(route, frame))?;
        Ok(String::new())
    }

    #[test]
    fn deliveries_to_different_members_commute() {
        // Two copies to each of two members: 4! = 24 orders, of which 2 * 2 differ for somebody.
        let report = explore(to_two_members, None, 7, ALL);
        assert_eq!((report.interleavings, report.complete), (4, true));
    }

    /// Two forged frames on two lanes; a mistake that shows only if the second comes first.
    fn fails_in_one_order(stage: &mut Stage) -> Result<String, Ended> {
        let mut bench = stage.bench(|_| {});
        let ben = bench.member("ben");
        let down = need(bench.down(l(4), ben), "a link")?;
        let since = bench.passed.len();
        bench.inject(0, down.clone(), "a".into());
        bench.inject(1, down, "b".into());
        stage.window(&mut bench, |_, _| false)?;
        let order: Vec<_> = bench.frames(since, |_, _| true).into_iter().map(|(_, frame)| frame).collect();
        kept(order == ["a", "b"], format!("{order:?}"))?;
        Ok(String::new())
    }

    #[test]
    fn what_fails_in_one_order_only_is_found_and_replayed() {
        let report = explore(fails_in_one_order, None, 7, ALL);
        assert!(matches!(report.outcome, Err(Ended::Broken(_))), "{report:?}");
        assert_eq!((report.interleavings, report.schedule.as_slice()), (2, [1].as_slice()));
        let again = replay(fails_in_one_order, None, 7, report.schedule.clone());
        assert_eq!(again.outcome, report.outcome);
        assert_eq!(replay(fails_in_one_order, None, 7, Vec::new()).outcome, Ok(String::new()));
    }
}
