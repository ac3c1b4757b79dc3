//! `ringfort-peer-sim [FIRST] [COUNT] [static|chaos]`: plays seeds; prints what is wrong and how to replay it.
//! `ringfort-peer-sim trace SEED [static|chaos]`: prints the trace of one run.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use ringfort_peer_sim::{Profile, run};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let profile = if args.last().is_some_and(|word| word == "static") { Profile::STATIC } else { Profile::CHAOS };
    let number = |place: usize, default: u64| args.get(place).and_then(|text| text.parse().ok()).unwrap_or(default);
    if args.first().is_some_and(|word| word == "trace") {
        let outcome = run(number(1, 0), profile);
        for record in &outcome.world.records {
            println!("{}", serde_json::to_string(record).unwrap_or_default());
        }
        return ExitCode::SUCCESS;
    }
    let (first, count) = (number(0, 0), number(1, 1000));
    let mut bad = 0;
    let mut looked: BTreeMap<&str, u64> = BTreeMap::new();
    let mut rings = 0;
    let mut slowest = (Duration::ZERO, first);
    for seed in first..first + count {
        let outcome = run(seed, profile);
        outcome.report.looked.iter().for_each(|(property, times)| *looked.entry(property).or_default() += times);
        rings += outcome.counts.rings;
        slowest = slowest.max((outcome.healed_after, seed));
        let complaints = outcome.complaints();
        if !complaints.is_empty() {
            bad += 1;
            println!("seed {seed}: {} complaints", complaints.len());
            complaints.iter().take(4).for_each(|complaint| println!("    {complaint}"));
        }
    }
    println!("together again after {:?} at the most (seed {})", slowest.0, slowest.1);
    println!("{count} seeds, {rings} rings installed, {bad} seeds with complaints; looked: {looked:?}");
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
