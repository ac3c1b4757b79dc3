//! One seed, one run: chaos, then peace, then the checkers.

use std::time::Duration;

use ringfort_peer::{Config, Rules, SiteId, SiteSet};
use ringfort_trace_check::{Report, check};

use crate::dice::Dice;
use crate::workload;
use crate::world::{Counts, Network, World};

/// What kind of run.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Sites, from and to.
    pub sites: (u8, u8),
    /// Steps of chaos; each is some client's action or a fault, and some milliseconds.
    pub steps: u64,
    /// Faults of sites and links, in a thousand steps.
    pub faults: u64,
    /// Whether datagrams are lost, doubled and late.
    pub lossy: bool,
    /// Rules in force.
    pub rules: Rules,
}

impl Profile {
    /// A static ring: no site fails, datagrams do.
    pub const STATIC: Profile = Profile { sites: (1, 5), steps: 400, faults: 0, lossy: true, rules: Rules::all() };
    /// Everything at once.
    pub const CHAOS: Profile = Profile { sites: (2, 5), steps: 500, faults: 40, lossy: true, rules: Rules::all() };
}

/// What a run showed.
pub struct Outcome {
    /// What the checkers found.
    pub report: Report,
    /// Whether all sites were in one ring at the end, in time.
    pub is_whole: bool,
    /// How long that took, from the moment at which everything was mended.
    pub healed_after: Duration,
    /// What was counted.
    pub counts: Counts,
    /// The world, with its trace.
    pub world: World,
}

impl Outcome {
    /// What is wrong, in words; nothing if nothing is.
    pub fn complaints(&self) -> Vec<String> {
        let broken = self.report.violations.iter().map(|v| format!("{}: {}", v.property, v.text));
        let apart = (!self.is_whole).then(|| "the sites did not come together".to_owned());
        apart.into_iter().chain(broken).collect()
    }
}

/// Plays one run.
pub fn run(seed: u64, profile: Profile) -> Outcome {
    let mut dice = Dice::new(seed, 2);
    let (low, high) = profile.sites;
    let sites = low + u8::try_from(dice.below(u64::from(high - low + 1))).unwrap_or(0);
    let first = SiteId::new(0).expect("zero is a site");
    let config = Config { rules: profile.rules, ..Config::new(first, SiteSet::EMPTY) };
    let mut world = World::new(seed, sites, config);
    if profile.lossy {
        let loss = if dice.chance(300) { 0 } else { dice.below(60) };
        world.network = Network { loss, doubled: 10, late: dice.below(80), ..Network::default() };
    }
    let calm = world.network;
    if dice.chance(700) {
        world.go_until(Duration::from_secs(3), World::is_whole);
    }
    workload::populate(&mut world, &mut dice);
    for _ in 0..profile.steps {
        if dice.chance(profile.faults) {
            fault(&mut world, &mut dice, calm);
        } else {
            workload::act(&mut world, &mut dice);
        }
        let pause = if dice.chance(30) { dice.between_us(10_000, 300_000) } else { dice.between_us(0, 4000) };
        world.go(pause);
    }
    let (is_whole, healed_after) = make_peace(&mut world, &mut dice);
    let report = check(&world.records);
    Outcome { report, is_whole, healed_after, counts: world.counts, world }
}

/// Everything is mended; the sites have some seconds to come together and to deliver what is left.
fn make_peace(world: &mut World, dice: &mut Dice) -> (bool, Duration) {
    let mended = world.now;
    world.heal();
    for site in world.sites() {
        world.start(site);
        world.wake(site, dice.chance(500));
    }
    let is_whole = world.go_until(Duration::from_secs(10), World::is_whole);
    let healed_after = world.now.since(mended);
    workload::populate(world, dice);
    world.go(Duration::from_secs(2));
    world.end();
    (is_whole && world.is_whole(), healed_after)
}

/// Something goes wrong, or is mended.
fn fault(world: &mut World, dice: &mut Dice, calm: Network) {
    let sites = world.sites();
    let Some(site) = dice.pick(&sites) else { return };
    let Some(other) = dice.pick(&sites) else { return };
    match dice.below(14) {
        0 | 1 => world.crash(site),
        2 | 3 => sites.iter().for_each(|site| world.start(*site)),
        4 | 5 => world.sleep(site),
        6 | 7 => {
            let timers_first = dice.chance(500);
            sites.iter().for_each(|site| world.wake(*site, timers_first));
        }
        8 | 9 => {
            let part: SiteSet = sites.iter().copied().filter(|_| dice.chance(500)).collect();
            world.split(part);
        }
        10 if site != other => {
            world.cut.insert((site, other));
        }
        11 | 12 => world.cut.clear(),
        _ => world.network.loss = if world.network.loss > calm.loss { calm.loss } else { 250 },
    }
}
