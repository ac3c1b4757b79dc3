//! One hacked leader against a member's tracker.

use super::*;

#[test]
fn a_false_pairing_of_view_and_refreshes_does_not_block_the_true_one() {
    let world = World::new(4, 1, 2);
    let all = members(&[("ana", 1), ("bo", 1)]);
    let view = world.view(5, &all);
    let renumbered = ViewId { epoch: Epoch(4), ..view };
    for (claimed, refreshes) in [(view, 7), (renumbered, 0), (ViewId { epoch: Epoch(u64::MAX), ..view }, 0)] {
        let mut ana = world.tracker();
        let share = world.share(4, claimed, refreshes);
        let poison = ViewClaim { view: claimed, refreshes, share, ..world.claim(4, 5, &all) };
        assert_eq!(blames(&ana.hears(4, poison)), vec![(4, Fault::BadView)]);
        assert!(ana.hears(1, world.claim(1, 5, &all)).is_empty());
        assert_eq!(installed(&ana.hears(2, world.claim(2, 5, &all))).map(|(view, _)| view), Some(view));
    }
}

#[test]
fn a_false_pairing_does_not_take_an_honest_leaders_list() {
    let world = World::new(4, 1, 2);
    let all = crowd(40);
    let view = world.view(5, &all);
    for (epoch, refreshes) in [(5, 7), (4, 0), (9, 0)] {
        let claimed = ViewId { epoch: Epoch(epoch), ..view };
        let mut ana = world.tracker();
        let poison = ViewClaim { view: claimed, refreshes, ..world.bare(4, 5, &all) };
        let _ = ana.hears(4, poison);
        (1..=2).for_each(|by| drop(ana.hears(by, world.bare(by, 5, &all))));
        let outputs = ana.is_sent(1, view, &all, None);
        assert!(blames(&outputs).is_empty(), "the honest sender is not blamed");
        assert!(installed(&outputs).is_some(), "pairing {epoch} {refreshes}");
    }
}

#[test]
fn an_invented_view_far_ahead_neither_installs_nor_blocks() {
    let world = World::new(4, 1, 2);
    let mut ana = world.in_view(5, &members(&[("ana", 1)]));
    let _ = ana.hears(4, world.claim(4, u64::MAX, &members(&[("ana", 1), ("eve", 1)])));
    let next = members(&[("ana", 1), ("bo", 1)]);
    for by in 1..=2 {
        let _ = ana.hears(by, world.claim(by, 6, &next));
    }
    assert_eq!(ana.view(), Some(world.view(6, &next)));
}

#[test]
fn a_flood_of_views_is_bounded_and_in_nobodys_way() {
    let world = World::new(4, 1, 2);
    let mut ana = world.in_view(5, &members(&[("ana", 1)]));
    let next = members(&[("ana", 1), ("bo", 1)]);
    let _ = ana.hears(1, world.claim(1, 6, &next));
    let share = [3; 128];
    for number in 0..1000u64 {
        let digest = ViewDigest([u8::try_from(number % 251).unwrap(); 32]);
        let view = ViewId { epoch: Epoch(6 + number), digest };
        let statement = world.statement(4, view, number);
        let (base, changes) = (Base::Omitted, vec![]);
        let claim = ViewClaim { number, view, refreshes: number, base, changes, share, statement };
        let past = ViewClaim { view: ViewId { epoch: Epoch(number % 6), digest }, ..claim.clone() };
        let _ = ana.hears(4, claim);
        let _ = ana.tracker.on_past_claim(&world.group, leader(4), &past);
        let _ = ana.tracker.on_snapshot(&world.group, leader(4), digest, None, vec![], false);
    }
    let (candidates, lists) = ana.tracker.sizes_for_tests();
    assert!(candidates <= 64 && lists <= 4, "{candidates} candidates, {lists} lists");
    assert!(installed(&ana.hears(2, world.claim(2, 6, &next))).is_some(), "what honest leaders claim is still there");
}

#[test]
fn a_flood_of_ends_is_bounded() {
    let world = World::new(4, 1, 2);
    let mut ana = world.in_view(5, &members(&[("ana", 1), ("bo", 1)]));
    let base = world.view(5, &members(&[("ana", 1), ("bo", 1)]));
    for i in 0..100 {
        let invented = Change::Removed(user(&format!("x{i}")), Cause::Expelled);
        let _ = ana.hears(4, world.step(4, 6 + i, &members(&[("ana", 1)]), base, vec![invented, removed("bo")]));
    }
    assert_eq!(ana.tracker.obituaries_for_tests(), 1, "only stays that a view had can end");
}

#[test]
fn candidates_are_rewritten_when_another_view_is_installed() {
    let world = World::new(4, 1, 2);
    let start = members(&[("ana", 1), ("bo", 1), ("cy", 1)]);
    let first = members(&[("ana", 1), ("bo", 2), ("di", 1)]);
    let second = members(&[("ana", 1), ("cy", 1), ("di", 1), ("ed", 1)]);
    let mut ana = world.in_view(5, &start);
    // Leader 4 is ahead; its view is known as a difference from the one installed at the time.
    let _ = ana.hears(4, world.claim(4, 20, &second));
    for by in 1..=2 {
        let _ = ana.hears(by, world.claim(by, 9, &first));
        let _ = ana.tracker.on_fates(&world.group, leader(by), vec![], vec![entry("cy", 1).id]);
    }
    assert_eq!(ana.view(), Some(world.view(9, &first)));
    let _ = ana.hears(3, world.bare(3, 20, &second));
    let bo = || vec![(entry("bo", 2).id, Cause::Left)];
    let _ = ana.tracker.on_fates(&world.group, leader(3), bo(), vec![]);
    let outputs = ana.tracker.on_fates(&world.group, leader(4), bo(), vec![]);
    assert_eq!(installed(&outputs).map(|(view, _)| view), Some(world.view(20, &second)), "no list was sent again");
    assert_eq!(ana.tracker.installed().unwrap().members.hash(), second.hash());
    assert_eq!(ana.names(), ["ana", "cy", "di", "ed"]);
}
