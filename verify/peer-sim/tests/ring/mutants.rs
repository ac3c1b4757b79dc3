//! A rule that is weakened is noticed by some seed: the checkers would see it if the rule were missing.

use ringfort_peer::{Rule, Rules};
use ringfort_peer_sim::{Profile, run};

/// Seeds that are tried for one rule.
const SEEDS: u64 = 60;

/// Rules whose lack shows in so many random runs. The choice of the largest clique shows in more of them only;
/// what a site owes, holes and oversleeping show in none so far.
const RULES: [Rule; 6] = [
    Rule::SafeRound,
    Rule::TransitionalSignal,
    Rule::CounterDurable,
    Rule::RecoverAll,
    Rule::ExchangeFirst,
    Rule::LaneOrder,
];

#[test]
fn a_weakened_rule_is_noticed_in_random_runs() {
    let mut unnoticed = Vec::new();
    for rule in RULES {
        let profile = Profile { rules: Rules::mutated_for_testing_only(rule), ..Profile::CHAOS };
        let noticed = (0..SEEDS).find_map(|seed| {
            let complaints = run(seed, profile).complaints();
            complaints.into_iter().next().map(|complaint| (seed, complaint))
        });
        match noticed {
            Some((seed, complaint)) => println!("{rule:?}: seed {seed}: {complaint}"),
            None => unnoticed.push(rule),
        }
    }
    assert!(unnoticed.is_empty(), "no seed notices that these are missing: {unnoticed:?}");
}
