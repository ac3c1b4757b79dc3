//! Members who lie about their part of the key, and what comes of it.

use std::collections::BTreeSet;
use std::time::Duration;

use ringfort_peer::{Name, Service};
use ringfort_peer_keys::wire::{DataFrame, Frame};
use ringfort_peer_keys::{Event, KeyProtocol, Policy, Ristretto, Rules};

use super::attacks::{PROTOCOLS, count, together};
use super::checks::check;
use super::symbolic::{self, Lie, Symbolic};
use super::world::{Seen, World, name, text};

#[test]
fn wrong_contributions_stop_a_key_and_never_split_the_group_over_two() {
    for protocol in PROTOCOLS {
        let (mut world, mut choices) = together::<Symbolic>(&["a", "b", "c", "d", "e"], protocol, Rules::all());
        for liar in ["e", "c"] {
            symbolic::lie_as(Some((liar, Lie::Random)));
            world.refresh(&name(liar));
            world.settle(Duration::from_secs(10), &mut choices);
            world.refresh(&name("a"));
            world.settle(Duration::from_secs(30), &mut choices);
            symbolic::lie_as(None);
            // Once it stops, or is gone, the others have a key.
            world.make_peace(&mut choices);
            assert!(world.is_whole(), "{protocol:?}: {liar}");
        }
        let complaints: Vec<String> = check(&world);
        assert!(complaints.is_empty(), "{protocol:?}: {complaints:#?}");
    }
}

#[test]
fn wrong_contributions_are_noticed_before_the_key_is_used() {
    let (mut world, mut choices) = together::<Symbolic>(&["a", "b", "c", "d", "e"], KeyProtocol::Tgdh, Rules::all());
    let before = world.context(&name("a"));
    symbolic::lie_as(Some(("e", Lie::Random)));
    world.refresh(&name("e"));
    world.settle(Duration::from_secs(3), &mut choices);
    let noticed = ["a", "b", "c", "d"]
        .iter()
        .any(|who| count(&world, who, |seen| matches!(seen, Seen::Other(Event::KeysDiffer))) > 0);
    for who in world.names() {
        let peer = world.processes[&who].peer.as_ref().unwrap();
        println!("{who:?} {:?} {:?}", peer.round(), peer.awaited());
    }
    assert!(noticed && world.context(&name("a")) == before, "nobody uses a key that not all have");
}

#[test]
fn who_was_there_before_or_after_learns_no_key_of_a_view_without_it() {
    for protocol in PROTOCOLS {
        let (mut world, mut choices) = together::<Symbolic>(&["a", "b", "c", "d", "e"], protocol, Rules::all());
        // Members go and come in every order; everybody keeps all that it ever held.
        for pair in ["ab", "ba", "ce", "ec", "da", "eb", "cd"] {
            for who in pair.chars() {
                world.leave(&name(&who.to_string()));
                world.settle(Duration::from_secs(1), &mut choices);
            }
            for who in pair.chars() {
                world.join(&name(&who.to_string()));
                world.settle(Duration::from_secs(1), &mut choices);
            }
        }
        assert!(world.is_whole());
        let complaints = check(&world);
        assert!(complaints.is_empty(), "{protocol:?}: {complaints:#?}");
    }
}

#[test]
fn halves_that_merge_have_a_key_that_neither_half_had_and_everybody_has_a_part_in_it() {
    for protocol in PROTOCOLS {
        let (mut world, mut choices) = together::<Symbolic>(&["a", "b", "c", "d", "e", "f"], protocol, Rules::all());
        for part in [&["a", "b"][..], &["a", "c", "e"], &["f"]] {
            let part: BTreeSet<Name> = part.iter().map(|text| name(text)).collect();
            world.split(0, &part, &mut choices);
            world.settle(Duration::from_secs(2), &mut choices);
            let contexts: BTreeSet<_> = world.names().iter().map(|name| world.context(name)).collect();
            assert_eq!(contexts.len(), 2, "each half goes on with a key of its own");
            world.merge(0, 1);
            world.settle(Duration::from_secs(2), &mut choices);
            assert!(world.is_whole(), "{protocol:?}");
            let view = world.secure_view(&name("a")).unwrap();
            assert!(view.moved.iter().all(|who| part.contains(who) == part.contains(&name("a"))), "{:?}", view.moved);
        }
        let complaints = check(&world);
        assert!(complaints.is_empty(), "{protocol:?}: {complaints:#?}");
    }
}

/// With a site's help a member seals a message under the key of another's, which all members can derive.
#[test]
fn where_the_policy_wants_signatures_no_member_speaks_for_another() {
    for signed in [false, true] {
        let mut world = World::<Ristretto>::new(&["a", "b", "c"], KeyProtocol::Tgdh, Rules::all());
        world.policy = Policy { signed, ..(*world.policy).clone() }.into();
        let mut choices = super::choices::Choices::seeded(1);
        for who in world.names() {
            world.join(&who);
            world.settle(Duration::from_secs(1), &mut choices);
        }
        assert!(world.is_whole());
        // The frame is b's own; the site says that it is a's.
        world.send(&name("b"), Service::Agreed, None);
        let (_, bytes) = world.frames.last().unwrap().clone();
        let before = count(&world, "c", |seen| matches!(seen, Seen::Got { .. }));
        world.give(&name("c"), &name("a"), &bytes);
        assert_eq!(count(&world, "c", |seen| matches!(seen, Seen::Got { .. })), before, "not under a's name");
        // Altered in every field it opens for nobody.
        let Some(Frame::Data(frame)) = Frame::decode(&bytes) else { panic!("it is data") };
        let altered = [
            DataFrame { context: [7; 32], ..frame.clone() },
            DataFrame { counter: 9, ..frame.clone() },
            DataFrame { service: Service::Safe, ..frame.clone() },
            DataFrame { to: Some(name("c")), ..frame.clone() },
            DataFrame { sealed: frame.sealed.iter().map(|byte| byte ^ 1).collect(), ..frame.clone() },
            DataFrame { sealed: Vec::new(), ..frame.clone() },
        ];
        for frame in altered {
            world.give(&name("c"), &name("b"), &Frame::Data(frame).encode());
        }
        if signed {
            world.give(&name("c"), &name("b"), &Frame::Data(DataFrame { signature: None, ..frame.clone() }).encode());
            world.give(&name("c"), &name("b"), &Frame::Data(DataFrame { signature: Some([3; 64]), ..frame }).encode());
        }
        assert_eq!(count(&world, "c", |seen| matches!(seen, Seen::Got { .. })), before);
        world.settle(Duration::from_secs(1), &mut choices);
        assert_eq!(count(&world, "c", |seen| matches!(seen, Seen::Got { .. })), before + 1, "the true one arrives");
    }
}

#[test]
fn a_private_message_opens_for_one_member_alone() {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c"], KeyProtocol::Tgdh, Rules::all());
    assert!(world.send(&name("a"), Service::Agreed, Some(&name("b"))));
    let (_, bytes) = world.frames.last().unwrap().clone();
    world.give(&name("c"), &name("a"), &bytes);
    // Said to be for c, it is not what a sealed.
    let Some(Frame::Data(frame)) = Frame::decode(&bytes) else { panic!("it is data") };
    for to in [None, Some(name("c"))] {
        world.give(&name("c"), &name("a"), &Frame::Data(DataFrame { to, ..frame.clone() }).encode());
    }
    world.settle(Duration::from_secs(1), &mut choices);
    let got = |who: &str| count(&world, who, |seen| matches!(seen, Seen::Got { private: true, .. }));
    assert_eq!((got("a"), got("b"), got("c")), (0, 1, 0));
    let got = |who: &str| count(&world, who, |seen| matches!(seen, Seen::Got { .. }));
    assert_eq!(got("c"), 0, "{}", text(&name("c")));
}

/// How long this thread has had a processor: other programs do not count.
fn worked() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(told.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_flood_of_control_frames_costs_little_and_changes_nothing() {
    let (mut world, mut choices) = together::<Ristretto>(&["a", "b", "c"], KeyProtocol::Tgdh, Rules::all());
    world.refresh(&name("a"));
    for _ in 0..10 {
        world.step(&mut choices);
    }
    let frames = world.frames.clone();
    let before = worked();
    for n in 0..20_000usize {
        let (_, bytes) = &frames[n % frames.len()];
        let mut bytes = bytes.to_vec();
        let place = n * 31 % bytes.len();
        bytes[place] ^= 1;
        world.give(&name("c"), &name("b"), &bytes);
    }
    let took = worked() - before;
    assert!(took < Duration::from_secs(5), "{took:?}");
    world.make_peace(&mut choices);
    assert!(world.is_whole());
}
