//! The scenes of the coordination, whole, and what becomes of them when a rule is weakened by one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use ringfort_model::coordination::properties::{AGREEMENT, FORWARD, KEYS, VALID_AUTHENTICATION};
use ringfort_model::coordination::scenes::scene;
use ringfort_model::coordination::{Coordinated, SCENES};
use ringfort_model::report::{check, refute};
use ringfort_protocol::rules::Rule;

/// Steps after which a search for a counterexample gives up.
const STEPS_MAX: usize = 3_000_000;

fn holds(name: &str) {
    let report = check(Coordinated::new(scene(name).unwrap(), None), 1, None);
    println!("{name}: {} states, {} steps, depth {}, {:?}", report.states, report.steps, report.depth, report.took);
    assert!(report.is_good(), "{name}: {report:#?}");
    assert!(report.states > 10_000, "{name}: a world of {} states shows little", report.states);
}

macro_rules! holds {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                holds($name);
            }
        )*

        #[test]
        fn every_small_scene_is_checked() {
            let checked = [$($name),*];
            let small: Vec<&str> = SCENES.iter().filter(|scene| !scene.large).map(|scene| scene.name).collect();
            assert_eq!(small, checked);
        }
    };
}

holds! {
    join: "join",
    stranger: "stranger",
    leave: "leave",
    expel: "expel",
    two_keys: "two keys",
    two_users: "two users",
    crash: "crash",
}

#[track_caller]
fn breaks(name: &str, rule: Rule, property: &'static str) {
    let events = refute(Coordinated::new(scene(name).unwrap(), Some(rule)), property, STEPS_MAX);
    let events = events.unwrap_or_else(|| panic!("{rule:?} is weakened, and in {name:?} nobody notices"));
    println!("{rule:?}: {} events", events.len());
    assert!(!events.is_empty());
}

#[test]
fn f_proposals_that_amplify_let_a_stranger_in() {
    breaks("stranger", Rule::Amplify, VALID_AUTHENTICATION);
}

#[test]
fn one_proposal_fewer_to_accept_leaves_leaders_apart() {
    breaks("join", Rule::Accept, AGREEMENT);
}

#[test]
fn f_acceptances_to_catch_up_let_a_stranger_in() {
    breaks("stranger", Rule::CatchUp, VALID_AUTHENTICATION);
}

#[test]
fn unchecked_signatures_let_the_hacked_leader_vote_for_all() {
    breaks("stranger", Rule::ProposalSignature, VALID_AUTHENTICATION);
}

#[test]
fn without_ranks_a_stay_that_ended_comes_back() {
    breaks("leave", Rule::Incarnation, FORWARD);
}

#[test]
fn a_key_of_f_shares_is_the_attackers() {
    let mut model = Coordinated::new(scene("join").unwrap(), None);
    model.key_threshold -= 1;
    assert!(refute(model, KEYS, STEPS_MAX).is_some());
}

#[test]
fn votes_that_a_crash_forgets_leave_leaders_apart() {
    breaks("crash", Rule::VoteDurable, AGREEMENT);
}
