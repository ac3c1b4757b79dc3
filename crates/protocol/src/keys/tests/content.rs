//! Where the member list comes from: whole, as a difference, in parts (P3, B11, K19, K31).

use super::*;

#[test]
fn false_content_is_blamed_and_the_true_one_taken_from_another_leader() {
    let world = World::new(4, 1, 2);
    let all = members(&[("ana", 1), ("bo", 1)]);
    let twice = [added(&all), added(&members(&[("bo", 1)]))].concat();
    let false_content = [
        ("somebody missing", added(&members(&[("ana", 1)]))),
        ("somebody too many", added(&members(&[("ana", 1), ("bo", 1), ("eve", 1)]))),
        ("another stay", added(&members(&[("ana", 1), ("bo", 2)]))),
        ("somebody twice", twice),
        ("nobody", vec![]),
    ];
    for (what, changes) in false_content {
        let mut ana = world.tracker();
        let outputs = ana.hears(1, ViewClaim { changes, ..world.claim(1, 5, &all) });
        assert_eq!(blames(&outputs), vec![(1, Fault::BadView)], "{what}");
        assert!(installed(&ana.hears(2, world.claim(2, 5, &all))).is_some(), "{what}");
    }
}

#[test]
fn a_difference_from_the_installed_view_or_a_known_one_is_enough() {
    let world = World::new(4, 1, 2);
    let views = [
        members(&[("ana", 1)]),
        members(&[("ana", 1), ("bo", 1)]),
        members(&[("ana", 1), ("bo", 1), ("cy", 1)]),
        members(&[("ana", 1), ("cy", 1)]),
    ];
    let id = |i: usize| world.view(5 + i as u64, &views[i]);
    let changes = [Change::Added(entry("bo", 1)), Change::Added(entry("cy", 1)), removed("bo")];
    let step = |by, i: usize| world.step(by, 5 + i as u64, &views[i], id(i - 1), vec![changes[i - 1].clone()]);
    let mut ana = world.in_view(5, &views[0]);
    // Leader 1 runs ahead alone; leader 2 then claims only the last, on top of what leader 1 said.
    (1..=3).for_each(|i| assert!(ana.hears(1, step(1, i)).is_empty()));
    assert_eq!(installed(&ana.hears(2, step(2, 3))).map(|(view, _)| view), Some(id(3)));
    assert_eq!(ana.names(), ["ana", "cy"]);
}

#[test]
fn a_difference_from_an_unknown_view_is_asked_for_again() {
    let world = World::new(4, 1, 2);
    let (v1, v2) = (members(&[("ana", 1)]), members(&[("ana", 1), ("bo", 1)]));
    let v3 = members(&[("ana", 1), ("bo", 1), ("cy", 1)]);
    let mut ana = world.in_view(5, &v1);
    let cy = vec![Change::Added(entry("cy", 1))];
    for by in 2..=3 {
        assert!(ana.hears(by, world.step(by, 7, &v3, world.view(6, &v2), cy.clone())).is_empty());
    }
    let have = Some(world.view(5, &v1).digest);
    assert_eq!(ana.asks(0), Some((leader(2), Ask::Claim(have))));
    assert_eq!(ana.asks(1), Some((leader(3), Ask::Claim(have))), "another leader at the next attempt");
    let whole = vec![Change::Added(entry("bo", 1)), Change::Added(entry("cy", 1))];
    assert!(installed(&ana.hears(3, world.step(3, 7, &v3, world.view(5, &v1), whole))).is_some());
    assert_eq!(ana.asks(2), None, "nothing is missing any more");
}

#[test]
fn nothing_is_asked_about_a_view_that_fewer_than_f_plus_1_claim() {
    let world = World::new(4, 1, 2);
    let all = members(&[("ana", 1)]);
    let mut ana = world.tracker();
    assert_eq!(ana.asks(0), None);
    let _ = ana.hears(4, world.bare(4, 9, &all));
    assert!((0..20).all(|attempt| ana.asks(attempt).is_none()));
}

#[test]
fn missing_shares_are_asked_for() {
    let world = World::new(4, 1, 3);
    let all = members(&[("ana", 1)]);
    let mut ana = world.in_view(5, &all);
    let next = members(&[("ana", 1), ("bo", 1)]);
    let have = Some(world.view(5, &all).digest);
    let _ = ana.hears(1, world.claim(1, 6, &next));
    let _ = ana.hears(2, world.claim(2, 6, &next));
    assert_eq!(ana.asks(0), Some((leader(1), Ask::Claim(have))), "two shares of three");
}

/// Fetches the list that claims left out, from whom the tracker asks; returns the number of parts.
fn fetch(ana: &mut Ana<'_>, view: ViewId, all: &MemberSet) -> usize {
    let (from, mut ask) = (0..8)
        .find_map(|attempt| ana.asks(attempt).filter(|(_, ask)| matches!(ask, Ask::Snapshot(..))))
        .expect("the list is asked for in the end");
    for part in 1..100 {
        let Ask::Snapshot(digest, after) = ask else { panic!("{ask:?}") };
        assert_eq!(digest, view.digest);
        let outputs = ana.is_sent(from.number(), view, all, after);
        assert!(blames(&outputs).is_empty());
        match ana.tracker.rest_of_list(from) {
            Some(rest) => ask = rest,
            None => {
                assert!(installed(&outputs).is_some());
                return part;
            }
        }
    }
    panic!("the list never ends")
}

#[test]
fn a_long_list_comes_in_parts() {
    let world = World::new(4, 1, 2);
    for (size, parts) in [(40, 1), (1024, 1), (1025, 2), (2500, 3)] {
        let all = crowd(size);
        let view = world.view(5, &all);
        let mut ana = world.tracker();
        let _ = ana.hears(2, world.bare(2, 5, &all));
        let _ = ana.hears(4, world.bare(4, 5, &all));
        assert_eq!(ana.asks(0), Some((leader(2), Ask::Snapshot(view.digest, None))), "who has nothing wants all");
        assert_eq!(fetch(&mut ana, view, &all), parts, "{size} members");
        assert_eq!(ana.names().len(), size);
        assert_eq!(ana.view(), Some(view));
    }
}

#[test]
fn who_has_a_view_asks_for_the_difference_before_the_list() {
    let world = World::new(4, 1, 2);
    let all = crowd(40);
    let mut ana = world.in_view(4, &members(&[("ana", 1)]));
    let have = Some(world.view(4, &members(&[("ana", 1)])).digest);
    let view = world.view(50, &all);
    for by in 1..=2 {
        let _ = ana.hears(by, world.bare(by, 50, &all));
    }
    let asked: Vec<_> = (0..4).filter_map(|attempt| ana.asks(attempt)).collect();
    let list = Ask::Snapshot(view.digest, None);
    let difference = Ask::Claim(have);
    let expected = [(1, &difference), (2, &difference), (1, &list), (2, &list)];
    assert_eq!(asked, expected.map(|(by, ask)| (leader(by), ask.clone())));
    fetch(&mut ana, view, &all);
    assert_eq!(ana.names().len(), 40);
}

#[test]
fn a_false_list_is_blamed_on_its_sender_and_another_leader_asked() {
    let world = World::new(4, 1, 2);
    let all = crowd(40);
    let view = world.view(5, &all);
    let mut ana = world.tracker();
    (1..=3).for_each(|by| drop(ana.hears(by, world.bare(by, 5, &all))));
    let outputs = ana.is_sent(1, view, &crowd(39), None);
    assert_eq!(blames(&outputs), vec![(1, Fault::BadView)]);
    assert!(installed(&ana.is_sent(2, view, &all, None)).is_some());
}

#[test]
fn parts_of_one_leader_do_not_mix_into_anothers_list() {
    let world = World::new(4, 1, 2);
    let (all, fake) = (crowd(2000), crowd(1500));
    let view = world.view(5, &all);
    let mut ana = world.tracker();
    (1..=3).for_each(|by| drop(ana.hears(by, world.bare(by, 5, &all))));
    // Hacked leader 1 pushes its own first part before and after the honest one's.
    let _ = ana.is_sent(1, view, &fake, None);
    let _ = ana.is_sent(2, view, &all, None);
    let _ = ana.is_sent(1, view, &fake, None);
    let Some(Ask::Snapshot(_, after)) = ana.tracker.rest_of_list(leader(2)) else { panic!("a part is missing") };
    let outputs = ana.is_sent(2, view, &all, after);
    assert!(blames(&outputs).is_empty(), "an honest leader is not blamed for another's entries");
    assert!(installed(&outputs).is_some());
}

#[test]
fn a_leader_that_stops_in_the_middle_of_a_list_is_left() {
    let world = World::new(4, 1, 2);
    let all = crowd(1500);
    let view = world.view(5, &all);
    let mut ana = world.tracker();
    (1..=3).for_each(|by| drop(ana.hears(by, world.bare(by, 5, &all))));
    let _ = ana.is_sent(1, view, &all, None);
    let asked: Vec<u8> = (0..6).filter_map(|attempt| ana.asks(attempt)).map(|(by, _)| by.number()).collect();
    assert_eq!(asked, [1, 2, 3, 1, 2, 3]);
    assert_eq!(fetch(&mut ana, view, &all), 1, "leader 1 may go on where it stopped");
}

#[test]
fn only_whole_parts_of_the_claimed_view_are_taken() {
    let world = World::new(4, 1, 2);
    let all = crowd(1500);
    let view = world.view(5, &all);
    let mut ana = world.tracker();
    (1..=2).for_each(|by| drop(ana.hears(by, world.bare(by, 5, &all))));
    let entries: Vec<_> = all.iter().cloned().collect();
    let mut send = |by, digest, after: Option<&UserName>, entries: &[MemberEntry], last| {
        let outputs = ana.tracker.on_snapshot(&world.group, leader(by), digest, after, entries.to_vec(), last);
        assert!(outputs.is_empty());
        ana.tracker.rest_of_list(leader(by)).is_some()
    };
    let part = &entries[..SNAPSHOT_ENTRIES_MAX];
    assert!(!send(1, view.digest, None, &part[..10], false), "a short part that is not the last");
    assert!(!send(1, view.digest, None, &[], false), "an empty one");
    assert!(!send(1, ViewDigest([0; 32]), None, part, false), "of another view");
    assert!(!send(1, view.digest, Some(&user("bo")), part, false), "from the middle");
    assert!(!send(3, view.digest, None, part, false), "from a leader that claims no such view");
    assert!(send(1, view.digest, None, part, false));
}
