//! Random graphs with an equivocator in them: whatever part of a graph two leaders have, they never decide otherwise.

use std::fmt::Write;

use ringfort_agreement::{Rule, Rules};
use ringfort_agreement_sim::dice::Dice;
use ringfort_agreement_sim::graph::Graph;

const ROUNDS: u64 = 12;

/// Lines of a graph of four leaders, of which the last is hacked: it makes two blocks for each round, and names as few
/// blocks as it may. With it, the names of all blocks.
fn lines(dice: &mut Dice, rules: &Rules) -> (String, Vec<Vec<String>>) {
    let mut text = String::new();
    let mut rounds: Vec<Vec<String>> = Vec::new();
    for round in 1..=ROUNDS {
        let mut names = Vec::new();
        for author in 0..5 {
            let name = if author < 4 { format!("{author}.{round}") } else { format!("3.{round}'") };
            let least = if author < 3 { rules.quorum() } else { rules.parents() };
            let parents = rounds.last().map(|before| parents(dice, before, author.min(3), least)).unwrap_or_default();
            writeln!(text, "{name} <- {}", parents.join(" ")).expect("a string takes everything");
            names.push(name);
        }
        rounds.push(names);
    }
    (text, rounds)
}

/// A quorum or more of the round before, own included, with either block of the equivocator.
fn parents(dice: &mut Dice, before: &[String], own: usize, least: usize) -> Vec<String> {
    let mut chosen = vec![own];
    while chosen.len() < least || chosen.len() < 4 && dice.chance(250) {
        let author = dice.index(4);
        if !chosen.contains(&author) {
            chosen.push(author);
        }
    }
    chosen.sort_unstable();
    let variant = if dice.chance(500) { 4 } else { 3 };
    let place = |author: usize| if author == 3 { variant } else { author };
    chosen.into_iter().filter_map(|author| before.get(place(author)).cloned()).collect()
}

/// Contradictions in so many graphs, and slots that both copies decided.
fn contradictions(seeds: u64, period: u64, weakened: Option<Rule>) -> (usize, usize) {
    let (mut wrong, mut decided) = (0, 0);
    for seed in 0..seeds {
        let mut dice = Dice::new(seed, 9);
        let rules = Rules::with_period_for_testing_only(4, 1, period).expect("sizes of a group");
        let rules = weakened.map_or(rules, |rule| rules.mutated_for_testing_only(rule));
        let (text, names) = lines(&mut dice, &rules);
        let graph = Graph::new(rules, &text);
        let slots: Vec<(u64, u8)> = (1..=ROUNDS).map(|round| (round, dice.below(4) as u8)).collect();
        let copies: Vec<_> = (0..3)
            .map(|_| {
                let top = names.iter().rev().take(1 + dice.index(6)).flatten();
                let some: Vec<String> = top.filter(|_| dice.chance(400)).cloned().collect();
                graph.copy(&some.join(" "))
            })
            .collect();
        for round in 1..=ROUNDS {
            let mut verdicts: Vec<String> = copies.iter().map(|copy| graph.verdict(copy, &slots, round)).collect();
            verdicts.retain(|verdict| verdict != "undecided");
            decided += usize::from(verdicts.len() > 1);
            verdicts.dedup();
            wrong += usize::from(verdicts.len() > 1);
        }
    }
    (wrong, decided)
}

#[test]
fn parts_of_one_graph_never_contradict_each_other() {
    for period in [1, 16] {
        let (wrong, decided) = contradictions(2500, period, None);
        assert_eq!(wrong, 0, "coins each {period} rounds");
        assert!(decided > 2000, "{decided} slots were decided by two copies");
    }
}

#[test]
fn parts_of_one_graph_do_contradict_each_other_where_a_rule_of_decision_is_weakened() {
    // Too few parents harm only where several things come together: a graph for it is written by hand (`graph.rs`).
    for rule in [Rule::Certificate, Rule::DirectCommit, Rule::DirectSkip, Rule::AnchorDistance] {
        let (wrong, _) = contradictions(2500, 16, Some(rule));
        println!("{rule:?}: {wrong} contradictions");
        assert!(wrong > 0, "{rule:?} is not needed in random graphs");
    }
}
