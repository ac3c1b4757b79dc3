//! `ringfort-agreement-sim [FIRST] [COUNT] [N] [F] [PERIOD]`: plays seeds; prints what is wrong and how to replay it.
//! `ringfort-agreement-sim families [FIRST] [COUNT]`: plays COUNT seeds of each strategy, and of none, and counts.
//! `ringfort-agreement-sim mutants`: what the plays show for each weakened rule.
//! `ringfort-agreement-sim pace [MILLIS]`: real keys under load, to be timed from outside.

use std::process::ExitCode;
use std::time::Duration;

use ringfort_agreement::Rule;
use ringfort_agreement_sim::run::build;
use ringfort_agreement_sim::{Plan, Strategy, plays, run};

/// Seeds of one family that are played before the next family has its turn.
const TURN: u64 = 250;

/// Each strategy by turns, so that a sweep that is stopped has played all of them.
fn families(first: u64, count: u64) -> ExitCode {
    let mut bad = 0;
    let families: Vec<Option<Strategy>> = Strategy::ALL.into_iter().map(Some).chain([None]).collect();
    let mut from = 0;
    while from < count {
        let to = count.min(from + TURN);
        for family in &families {
            let plan = Plan { strategy: *family, hacked: family.is_some(), ..Plan::CHAOS };
            for seed in first + from..first + to {
                let outcome = run(seed, &Plan { real_keys: seed % 50 == 49, ..plan });
                if let Some(complaint) = outcome.complaints.first() {
                    bad += 1;
                    println!("{family:?} seed {seed}: {complaint}");
                }
            }
        }
        println!("{to} seeds of each of {} families: {bad} seeds with complaints", families.len());
        from = to;
    }
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Four leaders with real keys on a kind network, a hundred messages of 512 bytes a round in all: what is to be timed from
/// outside is what the component costs, without sockets and disks.
fn pace(millis: u64) -> ExitCode {
    let mut world = build(1, &Plan { real_keys: true, ..plays::SCENE });
    for _ in 0..millis / 2 {
        for who in world.honest() {
            world.submit_many(who, 25, 512);
        }
        world.go(Duration::from_millis(2));
    }
    let rounds = world.all().iter().filter_map(|who| world.core(*who)).map(|core| core.quorum_round()).max();
    println!("{millis} ms: {} messages, {:?} rounds, {} entries", millis / 2 * 100, rounds, world.checks.log.len());
    ExitCode::SUCCESS
}

/// What the corpus of plays shows for each rule.
fn mutants() -> ExitCode {
    for rule in Rule::ALL {
        let shown = plays::complaint(rule, None);
        println!("{rule:?}: {:?}; with all rules: {shown:?}", plays::complaint(rule, Some(rule)));
    }
    ExitCode::SUCCESS
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|word| word == "pace") {
        return pace(args.get(1).and_then(|text| text.parse().ok()).unwrap_or(2000));
    }
    if args.first().is_some_and(|word| word == "families") {
        let number = |place: usize, default| args.get(place).and_then(|text| text.parse().ok()).unwrap_or(default);
        return families(number(1, 0), number(2, 10_000));
    }
    if args.first().is_some_and(|word| word == "mutants") {
        return mutants();
    }
    let number = |place: usize, default: u64| args.get(place).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (first, count) = (number(0, 0), number(1, 1000));
    let sizes = (number(2, 4) as u8, number(3, 1) as u8);
    let (mut bad, mut entries, mut installed) = (0, 0, 0);
    for seed in first..first + count {
        let hacked = seed % 3 != 0;
        let plan = Plan { sizes, period: number(4, 1), hacked, real_keys: seed % 50 == 49, ..Plan::CHAOS };
        let outcome = run(seed, &plan);
        outcome.world.notes.iter().flatten().for_each(|note| println!("{note}"));
        entries += outcome.world.checks.log.len();
        installed += outcome.world.checks.installed;
        if !outcome.complaints.is_empty() {
            bad += 1;
            let minds = outcome.world.nodes.values().filter_map(|node| node.hacked.as_ref().map(|mind| mind.strategy));
            println!("seed {seed}: {:?} {:?}", outcome.world.network.weather, minds.collect::<Vec<_>>());
            outcome.complaints.iter().take(4).for_each(|complaint| println!("    {complaint}"));
        }
    }
    println!("{count} seeds, {entries} entries, {installed} states installed, {bad} seeds with complaints");
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
