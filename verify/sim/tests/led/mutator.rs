//! Hacked nodes whose every message chance decides on: a short sweep, and the tools around it.

use std::collections::BTreeSet;

use ringfort_protocol::rules::Rule;
use ringfort_sim::mutator::minimise::minimise;
use ringfort_sim::mutator::script::{Script, Turn};
use ringfort_sim::mutator::sweep::Line;
use ringfort_sim::run::{Verdict, run};
use ringfort_sim::setup::Setup;

const CORPUS: &str = include_str!("../../corpus/mutations.txt");

fn check(line: &Line) -> Verdict {
    let verdict = run(line.setup());
    let Line { seed, n, hours, script } = line;
    let hours = hours.map_or_else(String::new, |hours| format!(" --hours {hours}"));
    let replay =
        format!("cargo run --release -p ringfort-sim -- mutate --seeds {seed} --n {n}{hours} --script '{script}'");
    assert!(verdict.is_good(), "replay: {replay}\n{:#?}", verdict.violations);
    verdict
}

fn sweep(n: u8, seeds: &[u64]) {
    let (mut changes, mut delivered) = (0, 0);
    for seed in seeds {
        let verdict = check(&Line { seed: *seed, n, hours: None, script: Script::Chance });
        changes += verdict.tried.len();
        delivered += verdict.messages.1;
    }
    assert!(changes > 100 && delivered > 300, "{changes} changes, {delivered} deliveries");
}

#[test]
fn no_property_falls_to_hacked_nodes_at_four_leaders() {
    sweep(4, &[100, 102, 104, 107, 108, 110, 111, 112]);
}

#[test]
fn no_property_falls_to_hacked_nodes_at_seven_leaders() {
    sweep(7, &[100, 101, 102]);
}

#[test]
fn what_hacked_nodes_broke_once_stays_mended() {
    let lines = CORPUS.lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        check(&Line::read(line).unwrap_or_else(|| panic!("`{line}` is no line of the corpus")));
    }
}

#[test]
fn a_script_of_all_that_was_done_is_the_same_run() {
    let setup = Setup::mutated(102, 4);
    let first = run(setup.clone());
    let turns: BTreeSet<Turn> = first.tried.iter().map(|tried| tried.turn).collect();
    assert!(turns.len() > 20, "{turns:?}");
    let again = run(Setup { script: Script::Only(turns), ..setup.clone() });
    assert_eq!((first.digest, first.tried), (again.digest, again.tried));
    let without = run(Setup { script: Script::Only(BTreeSet::new()), ..setup });
    assert!(without.tried.is_empty() && without.digest != first.digest);
}

/// Nobody checks that content fits its digest any more: chance finds it, and one change is enough to show it.
#[test]
fn a_rule_that_is_missing_is_found_by_chance_and_told_in_few_changes() {
    for seed in 100..180 {
        let setup = Setup { mutation: Some(Rule::ViewDigest), ..Setup::mutated(seed, 4) };
        let verdict = run(setup.clone());
        let Some(first) = verdict.violations.first() else { continue };
        let turns: BTreeSet<Turn> = verdict.tried.iter().map(|tried| tried.turn).collect();
        let all = turns.len();
        let least = minimise(&setup, turns, first.property, 30).expect("the same run fails again");
        let Script::Only(left) = &least.script else { panic!("a script of turns") };
        println!("seed {seed}: {all} changes, {} needed: {:?}", left.len(), least.verdict.tried);
        assert!(left.len() < all, "nothing could be spared of {all} changes");
        return;
    }
    panic!("eighty seeds did not show that content is not compared with its digest");
}
