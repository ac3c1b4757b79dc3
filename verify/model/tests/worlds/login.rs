//! The worlds of the login, whole, and what becomes of them when a defence is taken away.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use ringfort_model::login::{AUTHENTIC, Defence, FORWARD, KEYS, LEADER, ONCE, SECRET, World};
use ringfort_model::report::{check, refute};
use ringfort_model::worlds;

/// Steps after which a search for a counterexample gives up.
const STEPS_MAX: usize = 1_000_000;

fn world(name: &str) -> World {
    worlds::logins().into_iter().find(|(other, ..)| *other == name).unwrap().1
}

#[test]
fn every_small_world_holds() {
    for (name, world, _) in worlds::logins().into_iter().filter(|(.., large)| !large) {
        let report = check(world, 1, None);
        println!("{name}: {} states, {} steps, depth {}, {:?}", report.states, report.steps, report.depth, report.took);
        assert!(report.is_good(), "{name}: {report:#?}");
    }
}

/// Without a defence, with sound links or without, since one defence stands in for another.
fn world_without(name: &str, defence: Defence, links_are_sound: bool) -> World {
    World { without: Some(defence), links_are_sound, ..world(name) }
}

#[track_caller]
fn breaks(world: World, property: &'static str) {
    let told = format!("{world:?}: nobody notices, though {property:?} should break");
    let events = refute(world, property, STEPS_MAX);
    println!("{property}: {:?}", events.expect(&told));
}

#[test]
fn without_links_the_login_still_tells_who_is_who() {
    for name in ["password", "key"] {
        let report = check(World { links_are_sound: false, ..world(name) }, 1, None);
        for property in [AUTHENTIC, ONCE, KEYS] {
            assert!(report.held.contains(&property), "{name}, {property}: {report:#?}");
        }
        // What only links give: secrecy after a leak, and for key logins any secrecy at all.
        assert!(report.breaks(FORWARD), "{report:#?}");
        assert_eq!(report.breaks(SECRET), name == "key", "{report:#?}");
    }
}

#[test]
fn without_the_exporter_value_a_leaked_password_opens_old_sessions() {
    breaks(world_without("password", Defence::Exporter, true), FORWARD);
}

#[test]
fn without_nonces_an_acknowledgement_is_replayed_where_links_do_not_protect() {
    for name in ["password", "key"] {
        breaks(world_without(name, Defence::Nonce, false), ONCE);
    }
    // The exporter value alone would do as well.
    let report = check(world_without("password", Defence::Nonce, true), 1, None);
    assert!(report.complete && report.held.contains(&ONCE), "{report:#?}");
}

#[test]
fn without_possession_a_user_announces_another_users_keys() {
    breaks(world_without("password", Defence::Possession, true), KEYS);
}

#[test]
fn without_the_leaders_name_a_hacked_leader_passes_a_login_on_where_links_do_not_protect() {
    breaks(world_without("key", Defence::LeaderName, false), AUTHENTIC);
}

#[test]
fn with_one_key_for_all_leaders_a_hacked_one_is_ana() {
    // The attacker announces Ana with keys of its own, at a leader to which she never acknowledged.
    for property in [AUTHENTIC, KEYS] {
        breaks(world_without("password", Defence::KeyPerLeader, true), property);
    }
}

#[test]
fn without_the_leaders_proof_anybody_answers_for_it() {
    breaks(world_without("password", Defence::LeaderProof, true), LEADER);
}
