//! Many agreements at once: whose are spoken of, and that nobody's hold up another's.

use super::super::agreements::{AGREEMENTS_OF_USER_MAX, Agreements};
use super::super::frame::{RECORDS, Record};
use super::super::ids::{COMPONENTS_MAX, Decision, Entity, Epoch, Index, Tag};
use super::super::instance::Terms;
use super::super::rules::{AGREE_ROUNDS, ROUND, Rules};

const ROUND_US: u64 = ROUND.as_micros() as u64;
const BEGIN_US: u64 = 1_000_000;
const START_US: u64 = 1_200_000;

fn terms(count: usize, name: u64) -> (Tag, Terms) {
    let entities = [Entity { epoch: Epoch(1), key: [1; 12] }; COMPONENTS_MAX];
    let listed = (0..count).filter_map(Index::new).collect();
    let terms = Terms { decision: Decision::Equality, start_us: START_US, name, listed, entities };
    (terms.tag(&[0; 32]), terms)
}

fn group(count: usize) -> Vec<Agreements> {
    (0..count).filter_map(Index::new).map(|me| Agreements::new(me, Epoch(1), Rules::default())).collect()
}

/// Until every agreement is over its deadline.
const END_US: u64 = START_US + (AGREE_ROUNDS + 10) * ROUND_US;

/// Rounds in which what is said in one is heard in the next.
fn play(components: &mut [Agreements], from_us: u64, to_us: u64) {
    let mut now_us = from_us;
    while now_us < to_us {
        now_us += ROUND_US;
        let said: Vec<_> = components
            .iter_mut()
            .map(|component| {
                component.on_round(now_us, true);
                component.next_records()
            })
            .collect();
        for (from, records) in said.iter().enumerate() {
            for (_, component) in components.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                for record in records.iter().flatten() {
                    component.on_record(Index::new(from).unwrap(), Epoch(1), record, now_us + ROUND_US, true);
                }
            }
        }
    }
}

/// The users of one host open all the agreements that they may.
fn flood(component: &mut Agreements, count: usize, users: u32) {
    for user in 0..users {
        for place in 0..AGREEMENTS_OF_USER_MAX as u64 {
            let (tag, terms) = terms(count, 1_000 + u64::from(user) * 100 + place);
            component.propose(tag, &terms, [6; 32], user, BEGIN_US).unwrap();
        }
    }
}

#[test]
fn the_agreements_of_one_host_however_many_make_none_of_another_late() {
    for (count, flooding) in [(3, 1), (4, 1), (4, 2), (7, 3)] {
        let mut components = group(count);
        components.iter_mut().take(flooding).for_each(|component| flood(component, count, 4));
        // The others compare something, and it is not all who do: so it takes its start to be decided.
        let (tag, terms) = terms(count, 1);
        for component in &mut components[flooding..] {
            component.propose(tag, &terms, [7; 32], 1000, BEGIN_US).unwrap();
        }
        play(&mut components, BEGIN_US, END_US);
        for (at, component) in components.iter().enumerate() {
            let decided = component.get(&tag).and_then(|instance| instance.decided());
            let decided = decided.unwrap_or_else(|| panic!("{flooding} of {count} flood: undecided at {at}"));
            assert!(!decided.late, "{flooding} of {count} flood: late at {at}: {} us", decided.at_us - START_US);
            assert_eq!(decided.proposals.mask.count(), count - flooding);
        }
    }
}

#[test]
fn nor_those_of_another_user_in_which_an_entity_of_another_host_proposed() {
    for first in [0, 1] {
        let mut components = group(4);
        flood(&mut components[0], 4, 3);
        let (tag, terms) = terms(4, 1);
        // The others hear of it, and then the second proposes too.
        components[first].propose(tag, &terms, [7; 32], 1000, BEGIN_US).unwrap();
        play(&mut components, BEGIN_US, BEGIN_US + 60_000);
        components[1 - first].propose(tag, &terms, [7; 32], 1000, BEGIN_US + 60_000).unwrap();
        play(&mut components, BEGIN_US + 60_000, END_US);
        for (at, component) in components.iter().enumerate() {
            let decided = component.get(&tag).and_then(|instance| instance.decided());
            assert!(decided.is_some_and(|decided| !decided.late), "at {at}: {decided:?}");
        }
    }
}

#[test]
fn users_of_one_host_take_turns() {
    let mut component = group(3).remove(0);
    flood(&mut component, 3, 3);
    let (tag, terms) = terms(3, 1);
    let mut waited = Vec::new();
    for round in 1..=12u64 {
        component.on_round(BEGIN_US + round * ROUND_US, true);
        if round == 5 {
            component.propose(tag, &terms, [7; 32], 1000, BEGIN_US + round * ROUND_US).unwrap();
        }
        let said = component.next_records();
        assert!(said.iter().all(Option::is_some), "there is enough to say");
        waited.extend(said.iter().flatten().filter(|record| record.tag == tag).map(|_| round));
    }
    // Four users, two records a round: every second round is one's own.
    assert_eq!(RECORDS, 2);
    assert_eq!(waited, [5, 7, 9, 11]);
}

/// A component that has heard all that the first said, whose users open what they may.
fn third(users: u32) -> Agreements {
    let mut components = group(3);
    flood(&mut components[0], 3, users);
    let (heard, mut third) = (Index::new(0).unwrap(), components.remove(2));
    for _ in 0..40 {
        for record in components[0].next_records().iter().flatten() {
            third.on_record(heard, Epoch(1), record, BEGIN_US, true);
        }
        components[0].on_round(BEGIN_US, true);
    }
    third
}

/// What the first says of an agreement in which its entity proposed, and an entity of the second too or not.
fn said_of(name: u64, both: bool) -> Record {
    let (tag, terms) = terms(3, name);
    let mut first = group(3).remove(0);
    first.propose(tag, &terms, [1; 32], 1, BEGIN_US).unwrap();
    let mut record = first.next_records()[0].unwrap();
    if both {
        record.proposals.insert(Index::new(1).unwrap(), [2; 32]);
    }
    record
}

#[test]
fn what_entities_of_several_propose_has_the_turns_of_each() {
    let (mut third, first) = (third(3), Index::new(0).unwrap());
    for both in [false, true] {
        third.on_record(first, Epoch(1), &said_of(1, both), BEGIN_US, true);
    }
    let tag = said_of(1, true).tag;
    let rounds = (1..=8).filter(|round| {
        third.on_round(BEGIN_US + round * ROUND_US, true);
        third.next_records().iter().flatten().any(|record| record.tag == tag)
    });
    assert_eq!(rounds.count(), 8, "it is spoken of in each round, whatever else the first host does");
}

#[test]
fn what_entities_of_several_propose_takes_the_room_of_the_one_that_has_most() {
    let (mut third, first) = (third(4), Index::new(0).unwrap());
    third.on_record(first, Epoch(1), &said_of(1, false), BEGIN_US, true);
    let tag = said_of(1, true).tag;
    assert!(third.get(&tag).is_none(), "one component has its share, and no more");
    third.on_record(first, Epoch(1), &said_of(1, true), BEGIN_US, true);
    assert!(third.get(&tag).is_some(), "an entity of another host proposed in it too");
}
