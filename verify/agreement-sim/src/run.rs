//! One seed, one run: trouble, then peace, then the checkers.

use std::time::Duration;

use ringfort_agreement::{Author, Digest, Rule, Rules};

use crate::dice::Dice;
use crate::hacked::Strategy;
use crate::keys;
use crate::network::{Network, Weather};
use crate::node::CrashAt;
use crate::world::World;

/// What kind of run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Leaders, and how many of them may be hacked.
    pub sizes: (u8, u8),
    /// Rounds from one coin to the next.
    pub period: u64,
    /// How frames travel.
    pub weather: Option<Weather>,
    /// What the hacked ones do; drawn if `None`.
    pub strategy: Option<Strategy>,
    /// Whether leaders are hacked at all.
    pub hacked: bool,
    /// Steps of trouble, of some milliseconds each.
    pub steps: u64,
    /// Faults of leaders and links in a thousand steps.
    pub faults: u64,
    /// Whether frames may be lost.
    pub lossy: bool,
    /// A rule that is weakened.
    pub weakened: Option<Rule>,
    /// Whether the real keys are used.
    pub real_keys: bool,
    /// Whether no coin is ever known.
    pub no_coins: bool,
    /// An honest leader crashes where it makes something durable.
    pub crash_at: Option<CrashAt>,
}

impl Plan {
    /// Four leaders, one of them hacked, a network that does what it likes, and faults.
    pub const CHAOS: Plan = Plan {
        sizes: (4, 1),
        period: 1,
        weather: None,
        strategy: None,
        hacked: true,
        steps: 120,
        faults: 60,
        lossy: true,
        weakened: None,
        real_keys: false,
        no_coins: false,
        crash_at: None,
    };

    /// The rules of the run.
    pub fn rules(&self) -> Rules {
        let (n, f) = self.sizes;
        let rules = Rules::with_period_for_testing_only(n, f, self.period).expect("sizes of a plan make a group");
        match self.weakened {
            Some(rule) => rules.mutated_for_testing_only(rule),
            None => rules,
        }
    }
}

/// What a run showed.
pub struct Outcome {
    /// The world at its end.
    pub world: World,
    /// What the checkers found, and what did not come about in time.
    pub complaints: Vec<String>,
}

/// The group's name in every run.
pub const EPOCH: Digest = Digest([42; 32]);

/// A world as a plan wants it, with everybody started.
pub fn build(seed: u64, plan: &Plan) -> World {
    let mut dice = Dice::new(seed, 2);
    let rules = plan.rules();
    let (n, f) = plan.sizes;
    let hacked = if plan.hacked { f } else { 0 };
    let weather = plan.weather.or_else(|| dice.pick(&[Weather::Kind, Weather::Wild, Weather::Hostile]));
    let network = Network::new(seed, rules, weather.unwrap_or(Weather::Kind), usize::from(hacked));
    let all = match (plan.real_keys, plan.no_coins) {
        (true, _) => keys::real(seed, EPOCH, n, f),
        (false, true) => keys::without_coins(seed, n),
        (false, false) => keys::simulated(seed, n, f),
    };
    let mut world = World::new(seed, rules, all, EPOCH, network);
    world.network.loss = if plan.lossy && dice.chance(400) { dice.below(80) } else { 0 };
    let mut places: Vec<Author> = Author::all(n).collect();
    for _ in 0..hacked {
        let place = dice.index(places.len());
        let who = places.swap_remove(place);
        let strategy = plan.strategy.or_else(|| dice.pick(&Strategy::ALL)).unwrap_or(Strategy::Silent);
        world.hack(who, strategy);
    }
    for (who, node) in &mut world.nodes {
        if world.checks.honest.has(*who) {
            node.clock_off_ms = -(dice.below(30) as i64);
        }
    }
    if let (Some(who), Some(crash)) = (world.honest().first().copied(), plan.crash_at)
        && let Some(node) = world.nodes.get_mut(&who)
    {
        node.crash_at = Some(crash);
    }
    world.start_all();
    world
}

/// Plays one run.
pub fn run(seed: u64, plan: &Plan) -> Outcome {
    let mut world = build(seed, plan);
    let mut dice = Dice::new(seed, 3);
    let may_wipe = plan.sizes.1 > 0 && !plan.hacked;
    let mut wiped = false;
    for _ in 0..plan.steps {
        let honest = world.honest();
        if dice.chance(plan.faults) {
            fault(&mut world, &mut dice, may_wipe && !wiped, &mut wiped);
        } else if let Some(who) = dice.pick(&honest) {
            let bytes = if dice.chance(30) { 20_000 } else { 20 + dice.index(200) };
            world.submit(who, bytes);
        }
        let pause = dice.between_us(0, 6000);
        world.go(pause);
    }
    let mut complaints = make_peace(&mut world);
    complaints.extend(world.checks.violations.iter().cloned());
    Outcome { world, complaints }
}

/// Everything is mended; what was submitted has some seconds to be everywhere.
fn make_peace(world: &mut World) -> Vec<String> {
    world.network.heal();
    for who in world.all() {
        world.wake(who);
        world.restart(who);
    }
    let honest = world.honest();
    for who in &honest {
        world.submit(*who, 50);
    }
    let all_there = |world: &World| {
        let positions: Vec<u64> = world.honest().iter().map(|who| world.checks.application(*who).index).collect();
        let level = positions.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
        let idle =
            world.honest().iter().all(|who| world.core(*who).is_some_and(ringfort_agreement::Agreement::is_idle));
        world.checks.undelivered() == 0 && (level && idle || has_busy_hacked(world))
    };
    let mut complaints = Vec::new();
    if !world.go_until(Duration::from_secs(12), all_there) {
        complaints.push(format!(
            "not everything is ordered: {} messages are not; {}",
            world.checks.undelivered(),
            describe(world)
        ));
        return complaints;
    }
    let rounds: Vec<u64> = honest.iter().filter_map(|who| world.core(*who)).map(|core| core.quorum_round()).collect();
    let lowest = rounds.iter().min().copied().unwrap_or(0);
    world.checks.reliable_is_kept(lowest.saturating_sub(20));
    if !world.nodes.values().any(|node| node.hacked.is_some()) {
        world.go(Duration::from_millis(600));
        let before: Vec<Option<u64>> = honest.iter().map(|who| world.core(*who).map(|core| core.own_round())).collect();
        world.go(Duration::from_secs(3));
        let after: Vec<Option<u64>> = honest.iter().map(|who| world.core(*who).map(|core| core.own_round())).collect();
        if before != after {
            complaints.push(format!("an idle group makes blocks: {before:?}, then {after:?}"));
        }
    }
    complaints
}

/// Whether a hacked leader keeps giving the group something to order, so that it never rests.
fn has_busy_hacked(world: &World) -> bool {
    world.nodes.values().filter_map(|node| node.hacked.as_ref()).any(|mind| {
        matches!(
            mind.strategy,
            Strategy::Inflate
                | Strategy::Equivocate
                | Strategy::EquivocateDeep
                | Strategy::EquivocateOpenly
                | Strategy::Multiply
                | Strategy::Flood
                | Strategy::Race
                | Strategy::FarRounds
                | Strategy::Forge
        )
    })
}

/// Where every leader stands.
pub fn describe(world: &World) -> String {
    let one = |who: &Author| {
        let core = world.core(*who)?;
        let (log, waiting) = (core.log(), core.waiting());
        Some(format!(
            "[{who:?} own {} quorum {} next {:?} index {} waiting {waiting:?} from {} wants {:?} catching up {}]",
            core.own_round(),
            core.quorum_round(),
            log.next,
            log.index,
            core.dag().lowest(),
            core.wanted().take(4).collect::<Vec<_>>(),
            core.is_catching_up()
        ))
    };
    world.all().iter().filter_map(one).collect::<Vec<_>>().join(" ")
}

/// Something goes wrong, or is mended.
fn fault(world: &mut World, dice: &mut Dice, may_wipe: bool, wiped: &mut bool) {
    let honest = world.honest();
    let Some(who) = dice.pick(&honest) else { return };
    match dice.below(12) {
        0 | 1 => world.crash(who),
        2 | 3 => honest.iter().for_each(|who| world.restart(*who)),
        4 => world.sleep(who),
        5 | 6 => honest.iter().for_each(|who| world.wake(*who)),
        7 => {
            let part: Vec<Author> = world.all().into_iter().filter(|_| dice.chance(500)).collect();
            world.network.split(&part);
        }
        8 | 9 => world.network.cut.clear(),
        10 if may_wipe && world.all().iter().all(|who| world.is_up(*who)) => {
            *wiped = true;
            world.wipe(who);
        }
        _ => {
            world.network.slow.clear();
            world.network.slow.insert(who, dice.between_us(1000, 30_000));
        }
    }
}
