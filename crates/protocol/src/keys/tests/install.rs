//! When a view is installed, and with which key (A10, B1–B4, P3, P6).

use super::*;

#[test]
fn f_plus_1_claims_and_the_threshold_of_shares_install_and_one_fewer_do_not() {
    for (n, f) in [(1, 0), (4, 1), (7, 2)] {
        for threshold in f + 1..=n - f {
            let world = World::new(n, f, threshold);
            let all = members(&[("ana", 1), ("bo", 1)]);
            let mut keys = Vec::new();
            // Whichever leaders come first, the key is the same.
            for first in 0..n {
                let mut ana = world.tracker();
                let order: Vec<u8> = (0..n).map(|i| (first + i) % n + 1).collect();
                for (count, by) in (1..).zip(&order) {
                    let outputs = ana.hears(*by, world.claim(*by, 5, &all));
                    assert!(blames(&outputs).is_empty());
                    let done = installed(&outputs);
                    assert_eq!(done.is_some(), count == threshold, "n={n} T={threshold}: {count} claims");
                    keys.extend(done);
                }
            }
            assert!(keys.iter().all(|(view, key)| *view == world.view(5, &all) && *key == keys[0].1));
        }
    }
}

#[test]
fn every_view_has_its_own_key() {
    let world = World::new(4, 1, 2);
    let key = |epoch, stays: &[(&str, u64)]| {
        let mut ana = world.tracker();
        let all = members(stays);
        let _ = ana.hears(1, world.claim(1, epoch, &all));
        installed(&ana.hears(2, world.claim(2, epoch, &all))).unwrap().1
    };
    let first = key(5, &[("ana", 1)]);
    assert_eq!(first, key(5, &[("ana", 1)]));
    assert_ne!(first, key(6, &[("ana", 1)]), "another epoch with the same members");
    assert_ne!(first, key(5, &[("ana", 1), ("bo", 1)]));
    assert_ne!(key(5, &[("ana", 1), ("bo", 1)]), key(5, &[("ana", 1), ("bo", 2)]), "another stay");
}

#[test]
fn the_refresh_count_and_the_session_enter_the_key() {
    let world = World::new(4, 1, 2);
    let view = world.view(5, &members(&[("ana", 1)]));
    let point = |session, view, refreshes| view_point(&world.group, session, view, refreshes).to_bytes();
    let here = world.group.session();
    assert_ne!(point(here, view, 0), point(here, view, 1));
    assert_ne!(point(here, view, 0), point(SessionId([1; 32]), view, 0), "K11: no key of one session in another");
    let other = World::new(7, 2, 3);
    assert_ne!(point(here, view, 0), view_point(&other.group, here, view, 0).to_bytes());
    let renumbered = ViewId { epoch: Epoch(6), ..view };
    assert_ne!(point(here, view, 0), point(here, renumbered, 0));
}

#[test]
fn claims_of_different_views_do_not_add_up() {
    let world = World::new(7, 2, 3);
    let mut ana = world.tracker();
    for by in 1..=6 {
        let stays: [&[(&str, u64)]; 3] = [&[("ana", 1)], &[("ana", 1), ("bo", 1)], &[("ana", 1), ("cy", 1)]];
        let all = members(stays[usize::from(by) % 3]);
        assert!(installed(&ana.hears(by, world.claim(by, 5, &all))).is_none(), "two claims of each of three views");
    }
    assert_eq!(ana.view(), None);
}

#[test]
fn bad_shares_are_blamed_and_good_ones_suffice() {
    for threshold in 2..=3 {
        let world = World::new(4, 1, threshold);
        let all = members(&[("ana", 1), ("bo", 1)]);
        let view = world.view(5, &all);
        let mut altered = world.share(1, view, 0);
        altered[100] ^= 1;
        let bad = [
            ("altered", altered),
            ("another leader's", world.share(2, view, 0)),
            ("of another view", world.share(1, world.view(4, &all), 0)),
            ("nothing at all", [0; 128]),
        ];
        for (what, share) in bad {
            let mut ana = world.tracker();
            let mut outputs = ana.hears(1, ViewClaim { share, ..world.claim(1, 5, &all) });
            for by in 2..=threshold + 1 {
                assert!(installed(&outputs).is_none());
                outputs.extend(ana.hears(by, world.claim(by, 5, &all)));
            }
            assert_eq!(blames(&outputs), vec![(1, Fault::BadShare)], "{what}");
            assert_eq!(ana.view(), Some(view), "{what}: {threshold} good shares are there");
        }
    }
}

#[test]
fn who_sent_a_bad_share_of_a_view_is_not_heard_on_it_again() {
    let world = World::new(4, 1, 3);
    let all = members(&[("ana", 1)]);
    let mut ana = world.tracker();
    let _ = ana.hears(1, ViewClaim { share: [0; 128], ..world.claim(1, 5, &all) });
    let _ = ana.hears(2, world.claim(2, 5, &all));
    assert_eq!(blames(&ana.hears(3, world.claim(3, 5, &all))), vec![(1, Fault::BadShare)]);
    assert!(ana.hears(1, world.claim(1, 5, &all)).is_empty());
    assert!(installed(&ana.hears(4, world.claim(4, 5, &all))).is_some());
}

#[test]
fn the_epoch_never_falls() {
    let world = World::new(4, 1, 2);
    let now = members(&[("ana", 1), ("bo", 1)]);
    let mut ana = world.in_view(5, &now);
    for by in 1..=4 {
        ana.tracker.on_link(leader(by)); // even if every leader's numbering starts again
    }
    for by in 1..=4 {
        assert!(ana.hears(by, world.claim(by, 4, &members(&[("ana", 1)]))).is_empty());
    }
    assert_eq!(ana.view(), Some(world.view(5, &now)));
}

#[test]
fn a_view_of_the_same_epoch_follows_once_f_plus_1_no_longer_keep_the_installed_one() {
    let world = World::new(4, 1, 2);
    let (one, other) = (members(&[("ana", 1), ("bo", 1)]), members(&[("ana", 1), ("cy", 1)]));
    let mut ana = world.tracker();
    let _ = ana.hears(1, world.claim(1, 5, &one));
    let _ = ana.hears(2, world.claim(2, 5, &one));
    assert_eq!(ana.view(), Some(world.view(5, &one)));
    for by in 3..=4 {
        assert!(ana.hears(by, world.claim(by, 5, &other)).is_empty(), "f+1 leaders keep the installed view");
    }
    let both = members(&[("ana", 1), ("bo", 1), ("cy", 1)]);
    for by in 3..=4 {
        let bo = vec![entry("bo", 1).id];
        let outputs = ana.tracker.on_fates(&world.group, leader(by), vec![], bo);
        assert!(outputs.is_empty(), "they have not heard of Bo");
    }
    let moved = ana.hears(1, world.claim(1, 6, &both));
    assert_eq!(installed(&moved).map(|(view, _)| view), Some(world.view(5, &other)));
}

#[test]
fn concurrent_joins_do_not_lock_anybody_out() {
    let world = World::new(4, 1, 2);
    let (one, other) = (members(&[("ana", 1), ("bo", 1)]), members(&[("ana", 1), ("cy", 1)]));
    let both = members(&[("ana", 1), ("bo", 1), ("cy", 1)]);
    // Leaders 1 and 2 accepted Bo first, 3 and 4 Cy; then all have both. All are honest.
    let mut ana = world.in_view(4, &members(&[("ana", 1)]));
    let base = world.view(4, &members(&[("ana", 1)]));
    for (by, set, name) in [(1, &one, "bo"), (2, &one, "bo"), (3, &other, "cy"), (4, &other, "cy")] {
        let _ = ana.hears(by, world.step(by, 5, set, base, vec![Change::Added(entry(name, 1))]));
    }
    for (by, set, name) in [(1, &one, "cy"), (3, &other, "bo"), (2, &one, "cy"), (4, &other, "bo")] {
        let claim = world.step(by, 6, &both, world.view(5, set), vec![Change::Added(entry(name, 1))]);
        let _ = ana.hears(by, claim);
    }
    assert_eq!(ana.view(), Some(world.view(6, &both)), "Bo was missing from a view and has not died of it");
}

#[test]
fn a_stay_that_f_plus_1_leaders_ended_does_not_come_back() {
    let world = World::new(4, 1, 2);
    let before = members(&[("ana", 1), ("bo", 1)]);
    let after = members(&[("ana", 1)]);
    let mut ana = world.in_view(5, &before);
    let base = world.view(5, &before);
    for by in 1..=2 {
        let _ = ana.hears(by, world.step(by, 6, &after, base, vec![removed("bo")]));
    }
    assert_eq!(ana.names(), ["ana"]);
    // A late honest leader and a hacked one, further on in other ways.
    let stale = members(&[("ana", 1), ("bo", 1), ("cy", 1)]);
    for by in 3..=4 {
        assert!(installed(&ana.hears(by, world.claim(by, 7, &stale))).is_none());
    }
    let back = members(&[("ana", 1), ("bo", 2), ("cy", 1)]);
    for by in 3..=4 {
        let _ = ana.hears(by, world.claim(by, 8, &back));
    }
    assert_eq!(ana.names(), ["ana", "bo", "cy"], "Bo may come back in a new stay");
}

#[test]
fn the_word_of_leaders_that_come_after_the_view_counts_as_well() {
    let world = World::new(4, 1, 2);
    let (before, after) = (members(&[("ana", 1), ("bo", 1)]), members(&[("ana", 1)]));
    let mut ana = world.in_view(5, &before);
    let base = world.view(5, &before);
    // Leader 1 tells the difference, leader 2 the list: one word that Bo's stay is over.
    let _ = ana.hears(1, world.step(1, 6, &after, base, vec![removed("bo")]));
    let _ = ana.hears(2, world.claim(2, 6, &after));
    let _ = ana.hears(3, world.step(3, 6, &after, base, vec![removed("bo")]));
    let stale = members(&[("ana", 1), ("bo", 1), ("cy", 1)]);
    for by in [2, 4] {
        assert!(installed(&ana.hears(by, world.claim(by, 7, &stale))).is_none());
    }
}

#[test]
fn f_leaders_cannot_declare_a_stay_over() {
    let world = World::new(4, 1, 2);
    let before = members(&[("ana", 1), ("bo", 1)]);
    let mut ana = world.in_view(5, &before);
    let base = world.view(5, &before);
    let _ = ana.hears(4, world.step(4, 6, &members(&[("ana", 1)]), base, vec![removed("bo")]));
    // Bo drops out of a view in between for other reasons, and is there again.
    for by in 1..=2 {
        let _ = ana.hears(by, world.claim(by, 6, &members(&[("ana", 1), ("cy", 1)])));
    }
    for by in 1..=2 {
        let _ = ana.hears(by, world.claim(by, 7, &members(&[("ana", 1), ("bo", 1), ("cy", 1)])));
    }
    assert_eq!(ana.names(), ["ana", "bo", "cy"]);
}

#[test]
fn a_replaced_stay_does_not_come_back() {
    let world = World::new(4, 1, 2);
    let mut ana = world.in_view(5, &members(&[("ana", 1), ("bo", 1)]));
    for by in 1..=2 {
        let _ = ana.hears(by, world.claim(by, 7, &members(&[("ana", 1), ("bo", 2)])));
    }
    for by in 3..=4 {
        assert!(installed(&ana.hears(by, world.claim(by, 8, &members(&[("ana", 1), ("bo", 1)])))).is_none());
    }
}

#[test]
fn a_member_installs_no_view_without_itself_in_this_very_stay() {
    let world = World::new(4, 1, 2);
    let without: [&[(&str, u64)]; 3] = [&[("bo", 1)], &[("ana", 2), ("bo", 1)], &[]];
    for stays in without {
        let mut new = world.tracker();
        let mut old = world.in_view(4, &members(&[("ana", 1), ("bo", 1)]));
        for by in 1..=4 {
            assert!(installed(&new.hears(by, world.claim(by, 6, &members(stays)))).is_none(), "{stays:?}");
            assert!(installed(&old.hears(by, world.claim(by, 6, &members(stays)))).is_none(), "{stays:?}");
        }
    }
}

#[test]
fn who_departed_is_told_with_the_old_keys() {
    let world = World::new(4, 1, 2);
    let before = members(&[("ana", 1), ("bo", 1), ("cy", 1)]);
    let after = members(&[("ana", 1), ("bo", 2)]);
    let mut ana = world.in_view(5, &before);
    let changes = vec![Change::Added(entry("bo", 2)), Change::Removed(user("cy"), Cause::Expelled)];
    let mut outputs = Vec::new();
    for by in 1..=2 {
        outputs = ana.hears(by, world.step(by, 8, &after, world.view(5, &before), changes.clone()));
    }
    let Some(TrackerOutput::Installed { departed, changes: told, .. }) = outputs.pop() else { panic!("not installed") };
    assert_eq!(told, changes);
    assert_eq!(departed, vec![(entry("bo", 1), Cause::Left), (entry("cy", 1), Cause::Expelled)]);
}
