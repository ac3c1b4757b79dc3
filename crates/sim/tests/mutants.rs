//! The suite notices every weakened rule.

use std::collections::BTreeSet;

use ringfort_protocol::rules::Rule;
use ringfort_sim::mutants::attacks;

#[test]
fn every_rule_is_attacked() {
    let attacked: BTreeSet<Rule> = attacks().iter().map(|a| a.rule).collect();
    assert_eq!(attacked, Rule::ALL.into_iter().collect());
}

#[test]
fn every_mutant_is_caught_and_no_unmutated_attack_succeeds() {
    let mut missed = Vec::new();
    for attack in attacks() {
        let (fine, mutated, unmutated) = attack.judge();
        if !fine {
            missed.push(format!("{:?} ({}): mutated {mutated:?}, unmutated {unmutated:?}", attack.rule, attack.how));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
