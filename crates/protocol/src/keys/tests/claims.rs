//! The numbering of claims, and views of the past (P6, K11).

use super::*;

#[test]
fn a_leader_that_goes_back_is_blamed() {
    let world = World::new(4, 1, 2);
    let all = members(&[("ana", 1)]);
    let mut ana = world.tracker();
    let claim = |number, epoch| ViewClaim { number, ..world.claim(1, epoch, &all) };
    assert!(ana.hears(1, claim(3, 6)).is_empty());
    assert_eq!(blames(&ana.hears(1, claim(2, 7))), vec![(1, Fault::ClaimWentBack)], "in its numbers");
    assert_eq!(blames(&ana.hears(1, claim(4, 5))), vec![(1, Fault::ClaimWentBack)], "in its epochs");
    assert_eq!(ana.tracker.claimed_by(leader(1)), Some(world.view(6, &all)), "what it said before stands");
}

#[test]
fn two_views_under_one_number_are_blamed_and_a_repetition_is_not() {
    let world = World::new(4, 1, 2);
    let all = members(&[("ana", 1)]);
    let mut ana = world.tracker();
    let claim = |number, epoch| ViewClaim { number, ..world.claim(1, epoch, &all) };
    assert!(ana.hears(1, claim(3, 6)).is_empty());
    assert!(ana.hears(1, claim(3, 6)).is_empty());
    assert_eq!(blames(&ana.hears(1, claim(3, 7))), vec![(1, Fault::Equivocated)]);
    assert_eq!(blames(&ana.hears(1, claim(3, 5))), vec![(1, Fault::Equivocated)], "whichever came first");
    let other_count = ViewClaim { refreshes: 1, ..claim(3, 6) };
    assert_eq!(blames(&ana.hears(1, other_count)), vec![(1, Fault::Equivocated)]);
    assert!(ana.hears(1, claim(4, 7)).is_empty());
}

#[test]
fn numbering_starts_again_with_a_new_link_and_at_no_other_leader() {
    let world = World::new(4, 1, 2);
    let all = members(&[("ana", 1)]);
    let mut ana = world.tracker();
    let claim = |by, number, epoch| ViewClaim { number, ..world.claim(by, epoch, &all) };
    let _ = ana.hears(1, claim(1, 9, 6));
    let _ = ana.hears(3, claim(3, 9, 7));
    ana.tracker.on_link(leader(1));
    assert_eq!(ana.tracker.claimed_by(leader(1)), None);
    assert!(ana.hears(1, claim(1, 1, 6)).is_empty());
    assert_eq!(blames(&ana.hears(3, claim(3, 1, 7))), vec![(3, Fault::ClaimWentBack)]);
}

#[test]
fn a_link_that_is_gone_takes_its_claim_with_it() {
    let world = World::new(4, 1, 2);
    let all = members(&[("ana", 1)]);
    let mut ana = world.tracker();
    let _ = ana.hears(1, world.claim(1, 5, &all));
    ana.tracker.on_link(leader(1));
    assert!(installed(&ana.hears(2, world.claim(2, 5, &all))).is_none(), "one leader claims it now");
}

#[test]
fn a_past_view_is_readable_by_f_plus_1_shares_and_installs_nothing() {
    let world = World::new(4, 1, 2);
    let (then, now) = (members(&[("ana", 1)]), members(&[("ana", 1), ("bo", 1)]));
    let mut key = None;
    {
        let mut ana = world.tracker();
        let _ = ana.hears(1, world.claim(1, 5, &then));
        key.replace(installed(&ana.hears(2, world.claim(2, 5, &then))).unwrap().1);
    }
    let mut ana = world.in_view(6, &now);
    let past = |by| world.bare(by, 5, &then);
    let group = &world.group;
    assert!(ana.tracker.on_past_claim(group, leader(3), &past(3)).is_empty(), "one leader");
    assert!(ana.tracker.on_past_claim(group, leader(3), &past(3)).is_empty(), "the same leader");
    let outputs = ana.tracker.on_past_claim(group, leader(4), &past(4));
    assert_eq!(readable(&outputs), Some((world.view(5, &then), key.unwrap())));
    assert_eq!(ana.view(), Some(world.view(6, &now)));
    assert_eq!(ana.tracker.claimed_by(leader(3)), Some(world.view(6, &now)), "a past claim is no step back");
}

#[test]
fn shares_of_a_past_view_add_up_whatever_is_installed_between_them() {
    let world = World::new(4, 1, 2);
    let (then, now) = (members(&[("ana", 1)]), members(&[("ana", 1), ("bo", 1)]));
    let mut ana = world.in_view(6, &now);
    let group = &world.group;
    assert!(ana.tracker.on_past_claim(group, leader(3), &world.bare(3, 5, &then)).is_empty());
    for epoch in 7..150 {
        let _ = ana.hears(1, world.claim(1, epoch, &now));
        assert!(installed(&ana.hears(2, world.claim(2, epoch, &now))).is_some());
        if epoch == 9 {
            let outputs = ana.tracker.on_past_claim(group, leader(4), &world.bare(4, 5, &then));
            assert_eq!(readable(&outputs).map(|(view, _)| view), Some(world.view(5, &then)));
            assert_eq!(ana.tracker.sizes_for_tests().0, 0, "what is read is forgotten");
            assert!(ana.tracker.on_past_claim(group, leader(3), &world.bare(3, 5, &then)).is_empty());
        }
    }
    assert_eq!(ana.tracker.sizes_for_tests().0, 0, "and so is what nobody supplied");
}

#[test]
fn a_bad_share_of_a_past_view_is_blamed() {
    let world = World::new(4, 1, 2);
    let (then, now) = (members(&[("ana", 1)]), members(&[("ana", 1), ("bo", 1)]));
    let mut ana = world.in_view(6, &now);
    let group = &world.group;
    let bad = ViewClaim { share: [1; 128], ..world.bare(1, 5, &then) };
    assert!(ana.tracker.on_past_claim(group, leader(1), &bad).is_empty());
    let outputs = ana.tracker.on_past_claim(group, leader(2), &world.bare(2, 5, &then));
    assert_eq!(blames(&outputs), vec![(1, Fault::BadShare)]);
    assert!(readable(&ana.tracker.on_past_claim(group, leader(3), &world.bare(3, 5, &then))).is_some());
}

#[test]
fn a_view_that_is_not_older_is_readable_only_with_content_that_raises_nobody() {
    let world = World::new(4, 1, 2);
    let now = members(&[("ana", 1), ("bo", 1)]);
    let next = members(&[("ana", 1), ("bo", 1), ("cy", 1)]);
    let mut ana = world.in_view(5, &now);
    let group = &world.group;
    for by in 1..=2 {
        let outputs = ana.tracker.on_past_claim(group, leader(by), &world.bare(by, 6, &next));
        assert!(readable(&outputs).is_none(), "nobody knows who is in it");
    }
    assert!(ana.tracker.read(group, world.view(6, &next).digest).is_empty());

    // Leader 1 claims it with content, others may already send under it.
    let _ = ana.hears(1, world.claim(1, 6, &next));
    let outputs = ana.tracker.read(group, world.view(6, &next).digest);
    assert_eq!(readable(&outputs).map(|(view, _)| view), Some(world.view(6, &next)));
    assert_eq!(ana.view(), Some(world.view(5, &now)), "to be read is not to be installed");
}

#[test]
fn nothing_is_read_before_the_first_view() {
    let world = World::new(4, 1, 2);
    let mut ana = world.tracker();
    for by in 1..=4 {
        let outputs = ana.tracker.on_past_claim(&world.group, leader(by), &world.bare(by, 5, &members(&[("bo", 1)])));
        assert!(outputs.is_empty());
    }
}
