//! What one leader says that the digest does not cover moves nothing.

use super::*;

fn told(outputs: &[TrackerOutput]) -> (Vec<Change>, Vec<(String, Cause)>) {
    let told = outputs.iter().find_map(|output| match output {
        TrackerOutput::Installed { changes, departed, .. } => {
            let departed = departed.iter().map(|(entry, cause)| (entry.id.user.to_string(), *cause));
            Some((changes.clone(), departed.collect()))
        }
        _ => None,
    });
    told.expect("a view is installed")
}

/// The changes that lead from one view to the next, with what is so already beside them.
fn poisoned(changes: &[Change]) -> Vec<Change> {
    [&[Change::Added(entry("bo", 1)), Change::Removed(user("ghost"), Cause::Expelled)], changes].concat()
}

#[test]
fn what_is_so_already_is_no_change_whoever_says_it_first() {
    let world = World::new(4, 1, 2);
    let start = members(&[("ana", 1), ("bo", 1)]);
    let next = members(&[("ana", 1), ("bo", 1), ("cy", 1)]);
    let base = world.view(5, &start);
    let added = vec![Change::Added(entry("cy", 1))];
    let mut ana = world.in_view(5, &start);
    let _ = ana.hears(1, world.step(1, 6, &next, base, poisoned(&added)));
    let outputs = ana.hears(2, world.step(2, 6, &next, base, added.clone()));
    assert_eq!(told(&outputs), (added, vec![]), "what people see and what the log signs");
}

#[test]
fn one_leader_cannot_freeze_a_members_view() {
    let world = World::new(4, 1, 2);
    let views = [
        members(&[("ana", 1), ("bo", 1), ("mal", 1)]),
        members(&[("ana", 1), ("bo", 1), ("cy", 1), ("mal", 1)]),
        members(&[("ana", 1), ("bo", 1), ("cy", 1)]),
        members(&[("ana", 1), ("bo", 1), ("cy", 1), ("di", 1)]),
    ];
    let changes = [Change::Added(entry("cy", 1)), removed("mal"), Change::Added(entry("di", 1))];
    let mut ana = world.in_view(5, &views[0]);
    for (i, change) in (1..).zip(&changes) {
        let base = world.view(4 + i as u64, &views[i - 1]);
        let step = |by, changes| world.step(by, 5 + i as u64, &views[i], base, changes);
        // The hacked leader is always the first.
        let _ = ana.hears(1, step(1, poisoned(std::slice::from_ref(change))));
        (2..=3).for_each(|by| drop(ana.hears(by, step(by, vec![change.clone()]))));
        assert_eq!(ana.view(), Some(world.view(5 + i as u64, &views[i])), "view {i} is installed");
    }
}

#[test]
fn a_view_on_top_of_one_that_a_hacked_leader_told_is_installed_as_well() {
    let world = World::new(4, 1, 2);
    let views = [
        members(&[("ana", 1), ("bo", 1), ("mal", 1)]),
        members(&[("ana", 1), ("bo", 1), ("cy", 1), ("mal", 1)]),
        members(&[("ana", 1), ("bo", 1), ("cy", 1)]),
    ];
    let id = |i: usize| world.view(5 + i as u64, &views[i]);
    let mut ana = world.in_view(5, &views[0]);
    // Leader 1 foresees the next view and tells it alone; the others' next step is from that one.
    let _ = ana.hears(1, world.step(1, 6, &views[1], id(0), poisoned(&[Change::Added(entry("cy", 1))])));
    for by in 2..=3 {
        let _ = ana.hears(by, world.step(by, 7, &views[2], id(1), vec![removed("mal")]));
    }
    assert_eq!(ana.view(), Some(id(2)));
    assert_eq!(ana.names(), ["ana", "bo", "cy"]);
}

#[test]
fn the_same_stay_with_other_keys_is_not_buried() {
    let world = World::new(4, 1, 2);
    let other = MemberEntry { id: entry("bo", 1).id, ..entry("bo", 9) };
    let mut second = members(&[("ana", 1)]);
    second.insert(other);
    let mut ana = world.in_view(5, &members(&[("ana", 1), ("bo", 1)]));
    (1..=2).for_each(|by| drop(ana.hears(by, world.claim(by, 6, &second))));
    assert_eq!(ana.view(), Some(world.view(6, &second)));
    second.insert(entry("cy", 1));
    (1..=2).for_each(|by| drop(ana.hears(by, world.claim(by, 7, &second))));
    assert_eq!(ana.view(), Some(world.view(7, &second)), "the stay goes on");
}

#[test]
fn one_leader_does_not_decide_the_cause() {
    let world = World::new(4, 1, 2);
    let (before, after) = (members(&[("ana", 1), ("bo", 1), ("mal", 1)]), members(&[("ana", 1), ("bo", 1)]));
    let base = world.view(5, &before);
    let says = |by, cause| world.step(by, 6, &after, base, vec![Change::Removed(user("mal"), cause)]);
    let mut ana = world.in_view(5, &before);
    let _ = ana.hears(1, says(1, Cause::Left));
    let (changes, departed) = told(&ana.hears(2, says(2, Cause::Expelled)));
    assert_eq!(departed, vec![("mal".into(), Cause::Expelled)], "the stricter, until f+1 say otherwise");
    assert_eq!(changes, vec![Change::Removed(user("mal"), Cause::Lost)], "and nothing is told that one leader says");
    assert!(ana.hears(3, says(3, Cause::Expelled)).is_empty());
}

#[test]
fn who_one_leader_calls_expelled_is_heard_again_once_f_plus_1_say_that_it_left() {
    let world = World::new(4, 1, 2);
    let (before, after) = (members(&[("ana", 1), ("bo", 1)]), members(&[("ana", 1)]));
    let base = world.view(5, &before);
    let says = |by, cause| world.step(by, 6, &after, base, vec![Change::Removed(user("bo"), cause)]);
    let mut ana = world.in_view(5, &before);
    let _ = ana.hears(1, says(1, Cause::Expelled));
    let (_, departed) = told(&ana.hears(2, says(2, Cause::Left)));
    assert_eq!(departed, vec![("bo".into(), Cause::Expelled)]);
    let outputs = ana.hears(3, says(3, Cause::Left));
    assert!(matches!(&outputs[..], [TrackerOutput::Reopened(bo)] if *bo == entry("bo", 1)), "{outputs:?}");
    assert!(ana.hears(4, says(4, Cause::Left)).is_empty(), "once");
}

#[test]
fn past_claims_of_one_leader_hide_no_view() {
    let world = World::new(4, 1, 2);
    let (then, now) = (members(&[("ana", 1)]), members(&[("ana", 1), ("bo", 1)]));
    let mut ana = world.in_view(6, &now);
    let group = &world.group;
    assert!(ana.tracker.on_past_claim(group, leader(2), &world.bare(2, 5, &then)).is_empty());
    for refreshes in 0..1000 {
        let invented = ViewClaim { refreshes, ..world.bare(4, 5, &members(&[("eve", 1)])) };
        assert!(ana.tracker.on_past_claim(group, leader(4), &invented).is_empty());
    }
    let outputs = ana.tracker.on_past_claim(group, leader(3), &world.bare(3, 5, &then));
    assert_eq!(readable(&outputs).map(|(view, _)| view), Some(world.view(5, &then)));
    assert!(ana.tracker.sizes_for_tests().0 <= 50, "one leader keeps so many alive and no more");
}
