//! A rule that is weakened is noticed: the checkers would see it if the rule were missing.

use ringfort_peer_keys::{KeyProtocol, Rule, Rules};

use super::attacks;
use super::members;
use super::seeds::run;
use super::symbolic::Symbolic;

/// Seeds that are tried for one rule.
const SEEDS: u64 = 60;

/// Rules whose lack shows in random runs, without an attacker.
const BY_CHANCE: [Rule; 4] = [Rule::ContextBinding, Rule::ConfirmBeforeUse, Rule::FlushComplete, Rule::FreshShare];

/// What goes wrong when somebody tries.
type Play = fn(Rules) -> Vec<String>;

/// Rules whose lack needs a certain moment, or somebody who makes use of it: each with the play that does.
const BY_ATTACK: [(Rule, Play); 9] = [
    (Rule::SafeConfirmation, attacks::the_network_is_cut_while_a_key_is_confirmed),
    (Rule::ClosedGroup, attacks::a_member_that_was_apart_goes_on),
    (Rule::SendingView, attacks::a_member_speaks_after_its_word),
    (Rule::Admission, attacks::a_stranger_joins),
    (Rule::Signature, attacks::a_site_speaks_in_a_members_name),
    (Rule::ReplayCounter, attacks::a_site_repeats_and_reorders),
    (Rule::IdentityRefused, attacks::a_member_brings_the_identity),
    (Rule::ToAllInOrder, members::a_member_says_to_one_what_is_for_all),
    (Rule::Majority, members::two_quick_members_vote_against_the_rest),
];

#[test]
fn a_weakened_rule_is_noticed() {
    let mut unnoticed = Vec::new();
    for rule in BY_CHANCE {
        let noticed = (0..SEEDS).find_map(|seed| {
            let protocol = if seed % 2 == 0 { KeyProtocol::Tgdh } else { KeyProtocol::Gdh };
            let (_, complaints) = run::<Symbolic>(seed, protocol, Rules::mutated_for_testing_only(rule));
            complaints.into_iter().next().map(|complaint| (seed, complaint))
        });
        match noticed {
            Some((seed, complaint)) => println!("{rule:?}: seed {seed}: {complaint}"),
            None => unnoticed.push(rule),
        }
    }
    for (rule, attack) in BY_ATTACK {
        match attack(Rules::mutated_for_testing_only(rule)).first() {
            Some(complaint) => println!("{rule:?}: {complaint}"),
            None => unnoticed.push(rule),
        }
    }
    assert!(unnoticed.is_empty(), "nothing notices that these are missing: {unnoticed:?}");
}

#[test]
fn every_rule_is_in_the_corpus() {
    let mut all: Vec<Rule> = BY_CHANCE.into_iter().chain(BY_ATTACK.map(|(rule, _)| rule)).collect();
    all.sort_unstable();
    let mut expected = Rule::ALL.to_vec();
    expected.sort_unstable();
    assert_eq!(all, expected);
}
