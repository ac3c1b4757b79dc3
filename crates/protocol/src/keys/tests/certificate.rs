//! What is installed is certified, and what is not signed counts for nothing.

use std::sync::Arc;

use super::*;
use crate::login::WireSignature;
use crate::statement::Word;
use crate::succession::{Certified, Succession};

fn words(outputs: &[TrackerOutput]) -> Option<Vec<Word>> {
    outputs.iter().find_map(|output| match output {
        TrackerOutput::Installed { words, .. } => Some(words.clone()),
        _ => None,
    })
}

#[test]
fn a_claim_without_its_leaders_signature_counts_for_nothing_and_is_blamed() {
    let world = World::new(4, 1, 2);
    let all = members(&[("ana", 1), ("bo", 1)]);
    let view = world.view(5, &all);
    let good = world.statement(1, view, 0);
    let bad = [
        ("another leader's", world.statement(2, view, 0)),
        ("of another view", world.statement(1, world.view(6, &all), 0)),
        ("of another count of refreshes", world.statement(1, view, 1)),
        ("with another time", Statement { at_ms: good.at_ms + 1, ..good }),
        (
            "of nobody",
            Statement { signature: WireSignature(ringfort_crypto::sign::Signature::from_bytes([0; 64])), ..good },
        ),
    ];
    for (what, statement) in bad {
        let mut ana = world.tracker();
        assert!(ana.hears(1, ViewClaim { statement, ..world.claim(1, 5, &all) }).is_empty());
        let outputs = ana.hears(2, world.claim(2, 5, &all));
        assert_eq!(blames(&outputs), vec![(1, Fault::BadStatement)], "{what}");
        assert!(installed(&outputs).is_none(), "{what}: one signature is not f+1");
        let outputs = ana.hears(3, world.claim(3, 5, &all));
        assert!(blames(&outputs).is_empty(), "blamed once");
        assert_eq!(words(&outputs).map(|w| w.iter().map(|w| w.leader.number()).collect()), Some(vec![2, 3]), "{what}");
    }
}

#[test]
fn a_leader_may_mend_its_claim() {
    let world = World::new(4, 1, 2);
    let all = members(&[("ana", 1)]);
    let mut ana = world.tracker();
    let bad = Statement { at_ms: 0, ..world.statement(1, world.view(5, &all), 0) };
    let _ = ana.hears(1, ViewClaim { statement: bad, ..world.claim(1, 5, &all) });
    let _ = ana.hears(2, world.claim(2, 5, &all));
    assert_eq!(ana.view(), None);
    assert!(installed(&ana.hears(1, world.claim(1, 5, &all))).is_some());
}

#[test]
fn words_that_come_after_the_view_are_kept_once_and_checked() {
    let world = World::new(4, 1, 2);
    let all = members(&[("ana", 1)]);
    let mut ana = world.tracker();
    ana.tracker.keep_late_words();
    for by in 1..=3 {
        let _ = ana.hears(by, world.claim(by, 5, &all));
    }
    let unsigned = Statement { at_ms: 9, ..world.statement(4, world.view(5, &all), 0) };
    let _ = ana.hears(4, ViewClaim { statement: unsigned, ..world.claim(4, 5, &all) });
    let (late, blamed) = ana.tracker.take_late_words(&world.group);
    assert_eq!(late.iter().map(|w| w.leader.number()).collect::<Vec<_>>(), vec![3]);
    assert_eq!(blames(&blamed), vec![(4, Fault::BadStatement)]);
    for by in 1..=4 {
        ana.tracker.on_link(leader(by));
        let _ = ana.hears(by, world.claim(by, 5, &all));
    }
    assert!(ana.tracker.take_late_words(&world.group).0.is_empty(), "each leader's word is taken once");
}

/// The world in its next generation, with another machine in the place of one leader.
fn with_newcomer(world: &World, place: u8) -> World {
    let (mut group, mut secrets) = group_of(4, 1, 2, quick_policy());
    let index = usize::from(place) - 1;
    secrets[index].signing = ringfort_crypto::sign::SigningKey::generate(&mut rng(77));
    group.leaders[index].signing_key = secrets[index].signing.verifying_key();
    let keys = [Vec::new(), Vec::new()];
    let succession = Succession { group: group.id().0, base: 0, number: 1, newcomer: None, keys, deals: [0; 32] };
    let certified = Certified { succession, votes: Vec::new() };
    group.succeeded = Some((Arc::new(certified), Arc::new(world.group.clone())));
    let hasher = ViewHasher::new(&group, group.session());
    World { group, secrets, hasher }
}

#[test]
fn whoever_takes_a_place_is_not_blamed_for_what_the_one_before_said() {
    let world = World::new(4, 1, 2);
    let all = members(&[("ana", 1)]);
    for place in 1..=3 {
        let next = with_newcomer(&world, place);
        let mut ana = world.tracker();
        ana.tracker.keep_late_words();
        for by in 1..=4 {
            let _ = ana.hears(by, world.claim(by, 5, &all));
        }
        // The one before was hacked: its share of the next view is bad, and its statement is signed with its own key.
        let bad = ViewClaim { share: world.share(place, world.view(9, &all), 0), ..world.claim(place, 6, &all) };
        assert_eq!(blames(&ana.hears(place, bad)), vec![], "{place}");
        let mut ana = Ana { world: &next, tracker: ana.tracker };
        let mut outputs = ana.tracker.on_succession(&next.group);
        outputs.extend(ana.tracker.take_late_words(&next.group).1);
        ana.tracker.on_link(leader(place));
        outputs.extend(ana.hears(place, next.claim(place, 5, &all)));
        outputs.extend(ana.tracker.take_late_words(&next.group).1);
        for by in (1..=4).filter(|by| *by != place) {
            outputs.extend(ana.hears(by, next.claim(by, 6, &all)));
        }
        assert_eq!(blames(&outputs), vec![], "{place}");
        assert_eq!(words(&outputs).map(|w| w.iter().any(|w| w.leader == leader(place))), Some(false), "{place}");
        assert_eq!(ana.view(), Some(next.view(6, &all)), "{place}");
        // What it says itself is judged by its own key.
        let _ = ana.hears(place, next.claim(place, 6, &all));
        assert_eq!(blames(&ana.tracker.take_late_words(&next.group).1), vec![], "{place}");
    }
}
