//! Scenes in which the lack of one rule shows: for rules that random runs exercise too rarely.

use std::time::Duration;

use ringfort_agreement::checkpoint::{Certificate, Parts, State, Statement};
use ringfort_agreement::sequence::Log;
use ringfort_agreement::transfer::{Taken, Transfer};
use ringfort_agreement::wire::PartName;
use ringfort_agreement::{Author, AuthorSet, Digest, Rule, Time};

use crate::check::Checks;
use crate::hacked::Strategy;
use crate::network::Weather;
use crate::node::Peak;
use crate::run::{EPOCH, Plan, build, run};
use crate::world::World;

/// A plan without faults but those of the scene.
pub const SCENE: Plan = Plan { weather: Some(Weather::Kind), hacked: false, faults: 0, lossy: false, ..Plan::CHAOS };

/// Messages are given to everybody for a while.
pub fn load(world: &mut World, millis: u64, bytes: usize) {
    for _ in 0..millis / 2 {
        for who in world.honest() {
            world.submit(who, bytes);
        }
        world.go(Duration::from_millis(2));
    }
}

/// Whether all honest leaders have everything, in so much time.
pub fn comes_together(world: &mut World, within: Duration) -> bool {
    world.go_until(within, |world| {
        let there: Vec<u64> = world.honest().iter().map(|who| world.checks.application(*who).index).collect();
        world.checks.undelivered() == 0 && there.windows(2).all(|pair| matches!(pair, [a, b] if a == b))
    })
}

/// The most that any honest leader held.
pub fn peak(world: &World) -> Peak {
    let mut most = Peak::default();
    for (_, node) in world.nodes.iter().filter(|(who, _)| world.checks.honest.has(**who)) {
        most.bytes = most.bytes.max(node.peak.bytes);
        most.blocks = most.blocks.max(node.peak.blocks);
        most.waiting = most.waiting.max(node.peak.waiting);
        most.wanted = most.wanted.max(node.peak.wanted);
    }
    most
}

fn violations(checks: &Checks) -> Option<String> {
    checks.violations.first().cloned()
}

/// What a scene about `rule` shows when `weakened` is weakened.
pub fn complaint(rule: Rule, weakened: Option<Rule>) -> Option<String> {
    let plan = Plan { weakened, ..SCENE };
    match rule {
        Rule::RoundWindow => far_rounds(&plan),
        Rule::VariantsAsked => many_variants(&plan),
        Rule::CheckpointQuorum => (7..9).find_map(|seed| away_with(seed, &plan, Strategy::BadCheckpoint)),
        Rule::PartHash => bad_part(&plan),
        Rule::PayloadCap => nothing_decided(&plan),
        Rule::CoinAfterWave => early_coin(&plan),
        Rule::IdleRests | Rule::OneBlockARound | Rule::LostDisk => {
            random(&Plan { hacked: false, weakened, ..Plan::CHAOS })
        }
        Rule::CoinProof => random(&Plan { strategy: Some(Strategy::BadShares), weakened, ..Plan::CHAOS }),
        Rule::MedianTime => random(&Plan { strategy: Some(Strategy::WildClock), weakened, ..Plan::CHAOS }),
        Rule::Signature => random(&Plan { strategy: Some(Strategy::Forge), weakened, ..Plan::CHAOS }),
        Rule::CommonFloor => random(&Plan { weakened, ..Plan::CHAOS }),
        Rule::ParentQuorum | Rule::Certificate | Rule::DirectCommit | Rule::DirectSkip | Rule::AnchorDistance => {
            let play = crate::graph::PLAYS.iter().find(|play| play.rule == rule);
            play.map_or(Some("there is no play".to_owned()), |play| play.complaint(weakened))
        }
    }
}

fn random(plan: &Plan) -> Option<String> {
    (0..60).find_map(|seed| run(seed, plan).complaints.into_iter().next())
}

/// A hacked leader sends blocks of far rounds that name what there is not.
fn far_rounds(plan: &Plan) -> Option<String> {
    let mut world = build(5, &Plan { hacked: true, strategy: Some(Strategy::FarRounds), ..*plan });
    load(&mut world, 1500, 40);
    let most = peak(&world);
    let too_many = most.waiting > 60 || most.wanted > 200;
    too_many.then(|| format!("memory grows: {most:?}")).or(violations(&world.checks))
}

/// A hacked leader sends forty blocks for each round.
fn many_variants(plan: &Plan) -> Option<String> {
    let mut world = build(6, &Plan { hacked: true, strategy: Some(Strategy::Multiply), ..*plan });
    load(&mut world, 1000, 40);
    let most = peak(&world);
    (most.blocks > 6000).then(|| format!("memory grows: {most:?}")).or(violations(&world.checks))
}

/// An honest leader is cut off until the others have let go of what it lacks.
fn away_with(seed: u64, plan: &Plan, strategy: Strategy) -> Option<String> {
    let mut world = build(seed, &Plan { hacked: true, strategy: Some(strategy), ..*plan });
    load(&mut world, 100, 40);
    let away = world.honest().last().copied()?;
    world.network.split(&[away]);
    load(&mut world, 1200, 40);
    world.network.heal();
    let together = comes_together(&mut world, Duration::from_secs(6));
    let apart = (!together).then(|| format!("it does not catch up; {}", crate::run::describe(&world)));
    violations(&world.checks).or(apart)
}

/// A leader that gives another state than the certified one, in parts of the right sizes.
fn bad_part(plan: &Plan) -> Option<String> {
    let state = |position| State { log: Log { position, ..Log::default() }, application: vec![7; 100_000] };
    let (good, bad) = (Parts::of(&state(5))?, Parts::of(&state(6))?);
    let statement = Statement {
        epoch: EPOCH,
        position: 5,
        round: 9,
        index: 0,
        head: Digest::default(),
        state: good.digest(),
        state_bytes: good.bytes().len() as u64,
    };
    let giver = Author::new(1)?;
    let certificate = Certificate { statement, signatures: vec![(giver, [0; 64])] };
    let mut transfer = Transfer::new(Time::ZERO, certificate, plan.rules())?;
    for (part, parts) in [(0, &good), (1, &bad), (2, &good)] {
        let _ = transfer.ask(Time::ZERO, AuthorSet::EMPTY.with(giver));
        let name = PartName { position: 5, part };
        match transfer.take(Time::ZERO, giver, name, parts.part(part)?.to_vec()) {
            Taken::Complete(whole) if whole.0 != state(5) => return Some("another state is installed".to_owned()),
            _ => {}
        }
    }
    None
}

/// Nothing is decided for long: no coin is ever known.
fn nothing_decided(plan: &Plan) -> Option<String> {
    let mut world = build(8, &Plan { no_coins: true, ..*plan });
    load(&mut world, 2000, 1500);
    let most = peak(&world);
    (most.bytes > 5_000_000).then(|| format!("memory grows: {most:?}")).or(violations(&world.checks))
}

/// A scheduler that knows a coin holds back what it names.
fn early_coin(plan: &Plan) -> Option<String> {
    let mut world = build(9, &Plan { weather: Some(Weather::Hostile), ..*plan });
    world.network.hacked = usize::from(plan.sizes.1);
    world.network.hold_ms = 300;
    load(&mut world, 2000, 40);
    let positions = world.honest().iter().map(|who| world.core(*who).map_or(0, |core| core.log().position)).min()?;
    let starves = positions < 200;
    starves.then(|| format!("{positions} blocks are committed in two seconds")).or(violations(&world.checks))
}

/// A leader whose disk a backup was put back onto: it is one of the hacked from then on.
pub fn rolled_back(world: &mut World, who: Author, records: usize) {
    world.checks.honest = world.checks.honest.without(who);
    world.roll_back(who, records);
}

/// All leaders lose power at once, and come back.
pub fn power_cut(world: &mut World) {
    for who in world.all() {
        world.crash(who);
    }
    world.go(Duration::from_millis(300));
    for who in world.all() {
        world.restart(who);
    }
}
