//! Stays that are over do not come back, however a member learned of their end.

use super::*;

/// Leader `by` answers what it was asked about: these stays are over, those not.
fn fates(ana: &mut Ana<'_>, by: u8, over: &[(&str, u64)], open: &[(&str, u64)]) -> Vec<TrackerOutput> {
    let id = |(name, stay): &(&str, u64)| entry(name, *stay).id;
    let over = over.iter().map(|stay| (id(stay), Cause::Expelled)).collect();
    let open = open.iter().map(id).collect();
    ana.tracker.on_fates(&ana.world.group, leader(by), over, open)
}

/// A hacked leader and a late one claim a newer view with Mal in it.
fn bring_mal_back(ana: &mut Ana<'_>, by: [u8; 2], epoch: u64) {
    let stale = members(&[("ana", 1), ("mal", 1), ("xi", 1), ("yo", 1)]);
    for by in by {
        ana.tracker.on_link(leader(by));
        let _ = ana.hears(by, ana.world.claim(by, epoch, &stale));
    }
}

#[test]
fn an_expulsion_learned_from_whole_lists_holds_as_well() {
    let world = World::new(4, 1, 2);
    let mut ana = world.in_view(5, &members(&[("ana", 1), ("mal", 1)]));
    for by in 2..=3 {
        assert!(
            installed(&ana.hears(by, world.claim(by, 6, &members(&[("ana", 1)])))).is_none(),
            "why is Mal missing?"
        );
    }
    let asked = Ask::Fates(vec![entry("mal", 1).id]);
    assert_eq!((0..2).map(|i| ana.asks(i)).collect::<Vec<_>>(), [2, 3].map(|by| Some((leader(by), asked.clone()))));
    assert!(fates(&mut ana, 2, &[("mal", 1)], &[]).is_empty());
    assert_eq!(ana.asks(0), Some((leader(3), asked)), "leader 2 has told");
    assert!(installed(&fates(&mut ana, 3, &[("mal", 1)], &[])).is_some());
    assert_eq!(ana.asks(0), None);
    bring_mal_back(&mut ana, [1, 4], 7);
    assert_eq!(ana.names(), ["ana"]);
}

#[test]
fn who_is_missing_because_leaders_have_not_heard_of_it_may_come() {
    let world = World::new(4, 1, 2);
    let mut ana = world.in_view(5, &members(&[("ana", 1), ("bo", 1)]));
    for by in 3..=4 {
        let _ = ana.hears(by, world.claim(by, 6, &members(&[("ana", 1), ("cy", 1)])));
        let _ = fates(&mut ana, by, &[], &[("bo", 1)]);
    }
    assert_eq!(ana.names(), ["ana", "cy"]);
    for by in 3..=4 {
        let _ = ana.hears(by, world.claim(by, 7, &members(&[("ana", 1), ("bo", 1), ("cy", 1)])));
    }
    assert_eq!(ana.names(), ["ana", "bo", "cy"]);
}

#[test]
fn an_end_that_a_hacked_leader_denies_waits_for_another_honest_word() {
    let world = World::new(4, 1, 2);
    let (before, after) = (members(&[("ana", 1), ("mal", 1)]), members(&[("ana", 1)]));
    let mut ana = world.in_view(5, &before);
    let step = |by| world.step(by, 6, &after, world.view(5, &before), vec![removed("mal")]);
    let _ = ana.hears(1, world.claim(1, 6, &after));
    let _ = fates(&mut ana, 1, &[], &[("mal", 1)]);
    assert!(installed(&ana.hears(2, step(2))).is_none(), "one word for the end, one against it");
    assert!(installed(&ana.hears(3, step(3))).is_some());
    bring_mal_back(&mut ana, [1, 4], 7);
    assert_eq!(ana.names(), ["ana"]);
}

#[test]
fn a_word_on_a_stay_counts_for_the_view_that_its_leader_claims_and_no_longer() {
    let world = World::new(4, 1, 2);
    let mut ana = world.in_view(5, &members(&[("ana", 1), ("bo", 1)]));
    let (six, seven) = (members(&[("ana", 1), ("cy", 1)]), members(&[("ana", 1), ("cy", 1), ("di", 1)]));
    let _ = ana.hears(3, world.claim(3, 6, &six));
    let _ = fates(&mut ana, 3, &[], &[("bo", 1)]);
    let _ = ana.hears(3, world.claim(3, 7, &seven));
    let _ = ana.hears(4, world.claim(4, 7, &seven));
    assert!(installed(&fates(&mut ana, 4, &[], &[("bo", 1)])).is_none(), "leader 3 may have heard of Bo's end since");
    assert!(installed(&fates(&mut ana, 3, &[], &[("bo", 1)])).is_some());
}

#[test]
fn a_flood_of_invented_ends_does_not_bring_the_expelled_back() {
    let world = World::new(4, 1, 2);
    let before = members(&[("ana", 1), ("mal", 1)]);
    let mut ana = world.in_view(5, &before);
    for by in 2..=3 {
        let step = world.step(by, 6, &members(&[("ana", 1)]), world.view(5, &before), vec![removed("mal")]);
        let _ = ana.hears(by, step);
    }
    assert_eq!(ana.names(), ["ana"]);
    let now = world.view(6, &members(&[("ana", 1)]));
    for round in 0..20u64 {
        // A view that only leader 1 knows, and the end of everybody in it.
        let invented = crowd(300);
        let added: Vec<_> =
            invented.iter().filter(|e| e.id.user.as_str() != "ana").cloned().map(Change::Added).collect();
        let gone = added.iter().map(|c| Change::Removed(c.user().clone(), Cause::Left)).collect();
        let made = world.view(6 + round, &invented);
        let _ = ana.hears(1, ViewClaim { number: 10 + 2 * round, ..world.step(1, 6 + round, &invented, now, added) });
        let _ = ana.hears(1, ViewClaim { number: 11 + 2 * round, ..world.step(1, 6 + round, &before, made, gone) });
    }
    assert!(ana.tracker.obituaries_for_tests() <= 1, "only stays that a member saw can end");
    bring_mal_back(&mut ana, [1, 4], 40);
    assert_eq!(ana.names(), ["ana"]);
}

#[test]
fn an_earlier_stay_does_not_take_the_place_of_a_later_one() {
    let world = World::new(4, 1, 2);
    let mut ana = world.in_view(5, &members(&[("ana", 1), ("bo", 2)]));
    for by in 3..=4 {
        assert!(installed(&ana.hears(by, world.claim(by, 8, &members(&[("ana", 1), ("bo", 1)])))).is_none());
    }
    assert_eq!(ana.view(), Some(world.view(5, &members(&[("ana", 1), ("bo", 2)]))));
}
