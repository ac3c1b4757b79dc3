//! `ringfort-agreement-sim [FIRST] [COUNT] [N] [F] [PERIOD]`: plays seeds; prints what is wrong and how to replay it.

use std::process::ExitCode;

use ringfort_agreement::Rule;
use ringfort_agreement_sim::{Plan, plays, run};

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
