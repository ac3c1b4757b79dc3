//! Plays of members that ask, on bad networks and past hacked leaders: each request is applied once, in one order.

use super::world::{World, leader, put, rules};
use crate::kv::{Condition, KvRequest, Operation, Range, Read, Transaction};
use crate::rules::{Rule, Rules};

/// Three members ask for some hundred things and join again, while leaders restart and catch up, packets are lost, and hacked
/// leaders lie, repeat and forge.
fn play(seed: u64, (n, f): (u8, u8), rules: Rules) -> Result<(), String> {
    let hacked: Vec<u8> = (1..=f).collect();
    let mut world = World::new(seed, (n, f), rules, &hacked, &["ana", "ben", "cy"]);
    world.lost = [0, 100, 300][world.draw(3)];
    world.silent = world.draw(4) == 0;
    let mut asked = 0;
    while asked < 90 {
        for _ in 0..world.draw(12) {
            world.step();
        }
        let member = world.draw(3);
        let request = any_request(&mut world);
        if world.members[member].caller.open().len() < 30 {
            world.ask(member, request);
            asked += 1;
        }
        match world.draw(40) {
            0 => {
                let honest = f + 1 + u8::try_from(world.draw(usize::from(n - f))).unwrap();
                world.restart(leader(honest));
            }
            1 => world.pass_time(),
            2..=4 => attack(&mut world),
            5 => {
                let honest = f + 1 + u8::try_from(world.draw(usize::from(n - f))).unwrap();
                world.catch_up(leader(honest));
            }
            6 => world.join_again(member),
            _ => {}
        }
    }
    world.settle_but_waiting()?;
    // Whoever still waits for a key that begins with `k` behind one of the first revisions is told.
    (0..20).for_each(|round| world.ask(0, put("k", &format!("the last {round}"))));
    world.settle()?;
    world.check()
}

fn any_request(world: &mut World) -> KvRequest {
    let key = format!("k{}", world.draw(4)).into_bytes();
    let expected = [None, Some(0), Some(world.draw(20) as u64)][world.draw(3)];
    let conditions: Vec<Condition> = expected.map(|revision| Condition::revision(&key, revision)).into_iter().collect();
    let mut otherwise = Vec::new();
    let then = match world.draw(10) {
        0 => vec![Operation::get(&key)],
        1 => vec![Operation::Read(Read::all(Range::prefix(b"k")))],
        2 => vec![Operation::delete(&key)],
        3 => vec![Operation::put(&key, &[1; 200])],
        4 => {
            otherwise = vec![Operation::get(&key)];
            vec![Operation::put(b"k0", &[2]), Operation::delete(b"k1"), Operation::put(b"k2", &key)]
        }
        // Its reply is too long to be kept.
        5 => vec![Operation::put(b"k3", &key), Operation::Read(Read::all(Range::prefix(b"k")))],
        6 | 7 => {
            let slot = u8::try_from(world.draw(3)).unwrap();
            return KvRequest::Wait { slot, range: Range::prefix(b"k"), after: world.draw(20) as u64 };
        }
        _ => vec![Operation::put(&key, format!("{}", world.draw(100)).as_bytes())],
    };
    KvRequest::Transact(Transaction { conditions, then, otherwise })
}

fn attack(world: &mut World) {
    let Some(author) = world.hacked.iter().next().copied() else { return };
    let (member, number) = (world.draw(3), 1 + world.draw(90) as u64);
    let stay = world.members[member].stay.clone();
    match world.draw(3) {
        0 => {
            let forged = world.forged(&stay, number);
            world.write(author, forged);
        }
        1 => world.write(author, b"no message of any service".to_vec()),
        _ if world.log.is_empty() => {}
        _ => {
            let place = world.draw(world.log.len());
            let repeated = world.log[place].1.clone();
            world.write(author, repeated);
        }
    }
}

fn first_failure(rule: Rule, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| play(seed, (4, 1), rules(4, 1).without(rule)).err().map(|error| (seed, error)))
}

#[test]
fn what_members_ask_is_applied_once_in_one_order_whatever_hacked_leaders_do() {
    for seed in 0..40 {
        play(seed, (4, 1), rules(4, 1)).unwrap_or_else(|error| panic!("seed {seed}, 4 leaders: {error}"));
    }
    for seed in 0..6 {
        play(seed, (7, 2), rules(7, 2)).unwrap_or_else(|error| panic!("seed {seed}, 7 leaders: {error}"));
        play(seed, (10, 3), rules(10, 3)).unwrap_or_else(|error| panic!("seed {seed}, 10 leaders: {error}"));
    }
}

#[test]
fn f_equal_answers_are_not_enough() {
    let (_, error) =
        first_failure(Rule::EqualReplies, 40).expect("a lie of one leader is believed, and nobody notices");
    assert!(error.contains("place") || error.contains("blames"), "{error}");
}

#[test]
fn without_the_rule_that_a_request_is_applied_once_it_is_applied_more_often() {
    let (_, error) = first_failure(Rule::Once, 40).expect("repeats are applied, and nobody notices");
    assert!(error.contains("applied") || error.contains("never"), "{error}");
}

#[test]
fn without_signatures_a_leader_asks_in_anybodys_name() {
    let (_, error) = first_failure(Rule::Signature, 40).expect("forged requests are applied, and nobody notices");
    let noticed = ["applied", "never", "answered", "blames"].iter().any(|what| error.contains(what));
    assert!(noticed, "{error}");
}

#[test]
fn all_of_f_hacked_leaders_can_be_told_from_the_members_blame() {
    let mut world = World::new(5, (4, 1), rules(4, 1), &[2], &["ana"]);
    for count in 0..20 {
        world.ask(0, put("a", &count.to_string()));
    }
    world.settle().unwrap();
    world.check().unwrap();
    assert_eq!(world.members[0].blamed.iter().copied().collect::<Vec<_>>(), [leader(2)]);
}
