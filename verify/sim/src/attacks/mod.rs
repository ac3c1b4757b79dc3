//! Attacks: plays with real leaders and members on a bench, or runs of the world under one strategy.
//!
//! A play says what the attacker holds by what it uses: a hacked leader's secrets, a member's key, the wires. It shows
//! that the attack was made, that the promise was kept, and that the honest go on afterwards. Where an attacker
//! needs a hole elsewhere, such as a carrier without TLS, it is given one.

pub mod alone;
pub mod doors;
pub mod heartbeats;
pub mod leaving;
pub mod logins;
pub mod logs;
pub mod losses;
pub mod messages;
pub mod outages;
pub mod passwords;
pub mod roles;
pub mod sessions;
pub mod setups;
pub mod views;
pub mod votes;
pub mod worlds;

use ringfort_protocol::policy::Service;
use ringfort_protocol::rules::Rule;

use crate::bench::Bench;
use crate::explore::{Ended, Limits, Play, Report, explore};

/// A play and what defends against it.
#[derive(Clone, Copy)]
pub struct Attack {
    /// Its name in a replay.
    pub name: &'static str,
    /// The attack in a few words.
    pub how: &'static str,
    /// Without any one of these rules it succeeds.
    pub defences: &'static [Rule],
    /// A rule that it attacks in vain, because others imply it, and why.
    pub implied: Option<(Rule, &'static str)>,
    /// The play.
    pub play: Play,
}

impl std::fmt::Debug for Attack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attack({})", self.name)
    }
}

impl Attack {
    const fn new(name: &'static str, how: &'static str, defences: &'static [Rule], play: Play) -> Attack {
        Attack { name, how, defences, implied: None, play }
    }

    /// Plays it under every schedule within the limits.
    pub fn explore(&self, rule: Option<Rule>, seed: u64, limits: Limits) -> Report {
        explore(self.play, rule, seed, limits)
    }
}

/// All attacks.
pub const ALL: &[&[Attack]] = &[
    messages::ALL,
    losses::ALL,
    logins::ALL,
    passwords::ALL,
    views::ALL,
    logs::ALL,
    heartbeats::ALL,
    votes::ALL,
    leaving::ALL,
    outages::ALL,
    alone::ALL,
    roles::ALL,
    doors::ALL,
    sessions::ALL,
    setups::ALL,
    worlds::ALL,
];

/// All attacks, one after the other.
pub fn all() -> impl Iterator<Item = &'static Attack> {
    ALL.iter().copied().flatten()
}

/// The attack with a name.
pub fn named(name: &str) -> Option<&'static Attack> {
    all().find(|attack| attack.name == name)
}

/// The honest go on: a fresh message gets from one to the other, once.
pub(crate) fn go_on(bench: &mut Bench, from: usize, to: usize) -> Result<(), Ended> {
    let text = format!("still here, {}", bench.passed.len()).into_bytes();
    bench.pass(300);
    let taken = bench.say(from, Service::Fifo, &text);
    bench.pass(1_500);
    let heard = bench.times_heard(to, &text);
    if bench.restless {
        return Err(Ended::Broken("liveness: nodes go back and forth for ever".into()));
    }
    if taken && heard == 1 {
        return Ok(());
    }
    Err(Ended::Broken(format!("liveness: a message sent afterwards was taken: {taken}, and delivered {heard} times")))
}
