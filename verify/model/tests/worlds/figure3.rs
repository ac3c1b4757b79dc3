//! The paper's Figure 3 as it is written: the checker finds the stall.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use ringfort_model::figure3::{Act, CONSISTENCY, Figure3, LIVENESS, VALID};
use ringfort_model::report::check;
use ringfort_model::worlds;
use stateright::Model;

#[test]
fn one_user_at_a_time_never_stalls_and_two_at_once_do() {
    for (name, model, stalls) in worlds::figures() {
        let report = check(model, 1, None);
        println!("{name}: {} states, {} steps, depth {}", report.states, report.steps, report.depth);
        assert!(report.complete && report.never.is_empty(), "{name}: {report:#?}");
        assert!(report.held.contains(&VALID), "{name}: nobody comes in unannounced");
        assert_eq!(report.breaks(LIVENESS), stalls, "{name}: {report:#?}");
        assert_eq!(report.breaks(CONSISTENCY), stalls, "{name}: {report:#?}");
    }
}

/// Three leaders, each of which hears everybody: two accept A first and one accepts B first, and then nobody's
/// proposal for the other user has a number that is high enough.
#[test]
fn the_stall_step_by_step() {
    let model = Figure3 { users: 2, one_is_silent: true };
    let mut whole = model.init_states().remove(0);
    let (a, b) = (0, 1);
    for leader in 0..3 {
        whole = model.next_state(&whole, Act::Authenticates(leader, a)).unwrap();
        whole = model.next_state(&whole, Act::Authenticates(leader, b)).unwrap();
    }
    let mut arrives = |at: u8, user: u8| {
        for from in (0..3).filter(|from| *from != at) {
            whole = model.next_state(&whole, Act::Arrives(at, from, user, 0)).unwrap();
        }
    };
    for (leader, first, second) in [(0, a, b), (1, a, b), (2, b, a)] {
        arrives(leader, first);
        arrives(leader, second);
    }
    assert!(model.is_stuck(&whole), "every message has arrived");
    let views: Vec<(u8, u8)> = whole.leaders.iter().map(|leader| (leader.number, leader.view)).collect();
    assert_eq!(views, [(1, 1 << a), (1, 1 << a), (1, 1 << b)], "each is in view 1, and for ever");
    let mut acts = Vec::new();
    model.actions(&whole, &mut acts);
    assert!(acts.is_empty(), "nothing can happen any more");
}
