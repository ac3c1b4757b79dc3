//! Every attack is refused, and the suite notices every weakened rule.

use std::collections::BTreeSet;

use ringfort_protocol::rules::Rule;
use ringfort_sim::attacks;
use ringfort_sim::explore::Limits;
use ringfort_sim::mutants::{SEED, judge, pairs};

const REFUSED: Limits = Limits { depth: 6, plays: 8 };
const NOTICED: Limits = Limits { depth: 8, plays: 64 };

#[test]
fn every_rule_is_attacked() {
    let attacked: BTreeSet<Rule> = pairs().iter().map(|(rule, _)| *rule).collect();
    assert_eq!(attacked, Rule::ALL.into_iter().collect());
}

#[test]
fn attacks_have_names_of_their_own() {
    let names: BTreeSet<&str> = attacks::all().map(|attack| attack.name).collect();
    assert_eq!(names.len(), attacks::all().count());
}

#[test]
fn every_attack_is_refused() {
    let failed: Vec<_> = attacks::all()
        .map(|attack| (attack, attack.explore(None, SEED, REFUSED)))
        .filter(|(_, report)| report.outcome.is_err())
        .map(|(attack, report)| format!("{} {:?}: {:?}", attack.name, report.schedule, report.outcome))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_mutant_is_noticed_by_every_attack_that_its_rule_defends_against() {
    let missed: Vec<_> = pairs()
        .into_iter()
        .map(|(rule, attack)| judge(rule, attack, NOTICED))
        .filter(|judgement| !judgement.is_good())
        .map(|judgement| format!("{:?} by {}: {:?}", judgement.rule, judgement.attack.name, judgement.report.outcome))
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
}
