//! Small cascades, all of them: every place at which the network can be cut, mended or lose a member in the middle of
//! a join, a merge and an agreement on a key.

use std::collections::BTreeSet;
use std::time::Duration;

use ringfort_peer::Name;
use ringfort_peer_keys::{KeyProtocol, Rules};

use super::checks::check;
use super::choices::Choices;
use super::symbolic::Symbolic;
use super::world::{World, name};

/// Moves among which something goes wrong: a whole join has about so many.
const MOVES: usize = 44;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Split(&'static [&'static str]),
    Merge,
    Crash(&'static str),
}

const FIRST: [Fault; 6] = [
    Fault::Split(&["a"]),
    Fault::Split(&["b"]),
    Fault::Split(&["c"]),
    Fault::Crash("a"),
    Fault::Crash("b"),
    Fault::Crash("c"),
];

/// Two are together, the third joins; at one move the first fault comes, and so many moves later the second.
fn play(protocol: KeyProtocol, first: (usize, Fault), second: Option<(usize, Fault)>, order: u64) -> Vec<String> {
    let mut world = World::<Symbolic>::new(&["a", "b", "c"], protocol, Rules::all());
    let mut calm = Choices::seeded(order);
    for who in ["a", "b"] {
        world.join(&name(who));
        world.settle(Duration::from_millis(20), &mut calm);
    }
    world.join(&name("c"));
    let mut faults = vec![first];
    faults.extend(second.map(|(after, fault)| (first.0 + after, fault)));
    let mut moves = 0;
    for (at, fault) in faults {
        while moves < at && world.step(&mut calm) {
            moves += 1;
        }
        match fault {
            Fault::Split(part) => {
                let part: BTreeSet<Name> = part.iter().map(|text| name(text)).collect();
                world.split(0, &part, &mut calm);
            }
            Fault::Merge if world.sites.components() > 1 => world.merge(0, 1),
            Fault::Merge => {}
            Fault::Crash(who) => world.crash(&name(who), &mut calm),
        }
    }
    let took = world.make_peace(&mut calm);
    let mut complaints = check(&world);
    if !world.is_whole() || took > Duration::from_secs(3) {
        complaints.push(format!("L1: after {took:?}"));
    }
    complaints
}

#[test]
fn a_fault_at_every_move_of_a_join() {
    for protocol in [KeyProtocol::Tgdh, KeyProtocol::Gdh, KeyProtocol::Ckd] {
        for at in 0..MOVES {
            for fault in FIRST {
                for order in 0..2 {
                    let complaints = play(protocol, (at, fault), None, order);
                    assert!(complaints.is_empty(), "{protocol:?}, move {at}, {fault:?}, {order}: {complaints:#?}");
                }
            }
        }
    }
}

#[test]
fn a_cut_in_a_join_and_a_merge_in_what_follows() {
    for protocol in [KeyProtocol::Tgdh, KeyProtocol::Gdh] {
        for at in (0..MOVES).step_by(2) {
            for fault in FIRST {
                for after in (1..25).step_by(3) {
                    let complaints = play(protocol, (at, fault), Some((after, Fault::Merge)), 3);
                    assert!(complaints.is_empty(), "{protocol:?}, {at}, {fault:?}, {after}: {complaints:#?}");
                }
            }
        }
    }
}
