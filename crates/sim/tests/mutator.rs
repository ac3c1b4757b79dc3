//! Hacked nodes whose every message chance decides on: a short sweep, and the tools around it.

use std::collections::BTreeSet;

use ringfort_sim::mutator::script::{Script, Turn};
use ringfort_sim::mutator::sweep::Line;
use ringfort_sim::run::{Verdict, run};
use ringfort_sim::setup::Setup;

const CORPUS: &str = include_str!("../corpus/mutations.txt");

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
    sweep(7, &[100, 101]);
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
