//! Agreement at its exact thresholds, and what follows from proposals.

use super::super::frame::{Proposals, Record};
use super::super::ids::{Block, COMPONENTS_MAX, Decision, Epoch, Index, Mask};
use super::super::instance::{Instance, Outcome};
use super::super::rules::Rules;

fn index(place: usize) -> Index {
    Index::new(place).unwrap()
}

fn listed(n: usize) -> Mask {
    (0..n).map(index).collect()
}

fn open(n: usize) -> Instance {
    Instance::new([0; 16], listed(n), Decision::Equality, 1_000_000, [Epoch(1); COMPONENTS_MAX])
}

fn accepted(from: &Instance, ballot: u32) -> Record {
    let mut proposals = Proposals::default();
    proposals.insert(index(0), [9; 32]);
    Record { promised: ballot, accepted: ballot, proposals, ..from.record() }
}

#[test]
fn it_takes_a_majority_of_those_listed() {
    for (n, majority) in [(3, 2), (4, 3), (5, 3), (7, 4), (10, 6)] {
        let mut instance = open(n);
        let record = accepted(&instance, 16);
        // This component accepts as soon as it hears of the ballot, so it and the first that it hears are two.
        for from in 1..majority {
            assert_eq!(instance.decided(), None, "{from} of {n} have accepted");
            instance.on_record(&Rules::default(), index(0), index(from), &record, 1_100_000, false);
        }
        assert!(instance.decided().is_some(), "{majority} of {n} have accepted");
    }
}

#[test]
fn the_same_component_twice_is_no_majority() {
    let mut instance = open(5);
    let record = accepted(&instance, 16);
    for _ in 0..5 {
        instance.on_record(&Rules::default(), index(0), index(1), &record, 1_100_000, false);
    }
    assert_eq!(instance.decided(), None);
}

#[test]
fn a_promise_is_kept() {
    let mut instance = open(3);
    let promise = Record { promised: 33, accepted: 0, ..instance.record() };
    instance.on_record(&Rules::default(), index(2), index(1), &promise, 1_100_000, false);
    let lower = accepted(&instance, 16);
    instance.on_record(&Rules::default(), index(2), index(0), &lower, 1_100_000, false);
    assert_eq!((instance.record().promised, instance.record().accepted), (33, 0), "a lower ballot is not accepted");
}

#[test]
fn proposals_count_until_the_start_and_not_after_it() {
    let mut instance = open(3);
    assert!(instance.is_open(999_999) && !instance.is_open(1_000_000));
    instance.propose(index(0), [1; 32]);
    instance.on_round(&Rules::default(), index(0), 1_030_000, false);
    assert!(!instance.is_open(999_999), "it is frozen");
    let mut late = Proposals::default();
    late.insert(index(1), [2; 32]);
    let record = Record { promised: 0, accepted: 0, proposals: late, ..instance.record() };
    instance.on_record(&Rules::default(), index(0), index(1), &record, 1_030_000, false);
    assert!(!instance.record().proposals.mask.has(index(1)), "what comes after it is frozen does not count");
}

fn block(place: u8, data: u8) -> Block {
    let mut block = [data; 32];
    block[..8].copy_from_slice(&[place; 8]);
    block
}

fn proposals(blocks: &[Option<Block>]) -> Proposals {
    let mut proposals = Proposals::default();
    for (place, block) in blocks.iter().enumerate() {
        block.iter().for_each(|block| proposals.insert(index(place), *block));
    }
    proposals
}

fn places(mask: Mask) -> Vec<usize> {
    mask.iter().map(Index::place).collect()
}

#[test]
fn equality_tells_who_deviates_who_is_elsewhere_and_who_is_silent() {
    let [good, bad, old] = [block(1, 7), block(1, 8), block(0, 7)];
    let all = proposals(&[Some(good), Some(bad), Some(good), Some(old), None, Some(good), Some(good)]);
    let outcome = Outcome::of(Decision::Equality, listed(7), &all);
    assert_eq!(outcome.block, Some(good));
    assert_eq!(places(outcome.proposed_ok), [0, 2, 5, 6]);
    assert_eq!(places(outcome.deviant), [1], "another block about the same");
    assert_eq!(places(outcome.elsewhere), [3], "a block about something else convicts nobody");
    assert_eq!(places(outcome.silent), [4]);
}

#[test]
fn without_a_majority_of_those_listed_nobody_deviates() {
    let [good, bad] = [block(1, 7), block(1, 8)];
    for all in [
        proposals(&[Some(good), Some(good), Some(bad), Some(bad)]),
        proposals(&[Some(good), Some(good), Some(bad), None]),
        proposals(&[Some(good), None, None, None]),
    ] {
        let outcome = Outcome::of(Decision::Equality, listed(4), &all);
        assert_eq!((outcome.block, outcome.deviant, outcome.elsewhere), (None, Mask::EMPTY, Mask::EMPTY));
    }
}

#[test]
fn the_other_decisions_are_functions_of_the_proposals_too() {
    let [a, b, c] = [block(1, 1), block(1, 2), block(1, 3)];
    let all = proposals(&[Some(c), Some(b), Some(a), Some(b), Some(a)]);
    let most = Outcome::of(Decision::Majority, listed(5), &all);
    assert_eq!((most.block, places(most.proposed_ok)), (Some(b), vec![1, 3]), "of equals, the lowest component's");
    assert!(most.deviant.is_empty() && most.elsewhere.is_empty());
    let of = |place| Outcome::of(Decision::Of(index(place)), listed(6), &all);
    assert_eq!((of(0).block, places(of(0).proposed_ok)), (Some(c), vec![0]));
    assert_eq!((of(5).block, places(of(5).silent)), (None, vec![5]));
    let collected = Outcome::of(Decision::Collect, listed(6), &all);
    assert_eq!(collected.proposed_ok, all.mask);
    let fewer = proposals(&[Some(c), Some(b), Some(a), Some(b)]);
    assert_ne!(collected.block, Outcome::of(Decision::Collect, listed(6), &fewer).block);
    let moved = proposals(&[Some(b), Some(c), Some(a), Some(b), Some(a)]);
    assert_ne!(collected.block, Outcome::of(Decision::Collect, listed(6), &moved).block, "who proposed what counts");
}
