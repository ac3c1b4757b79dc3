//! What a renewal promises, with f of n leaders hacked.

mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use ringfort_crypto::sign::SigningKey;
use ringfort_crypto::threshold::{Evaluation, InputPoint, PublicKeySet, SecretShare};
use ringfort_protocol::login::WireSignature;
use ringfort_protocol::succession::Certified;
use ringfort_protocol::{GroupInfo, LeaderId};

use super::message::{Body, Kind, Post};
use super::{Event, Refused};
use crate::outcome::Fault;
use world::{Deviation, Machine, World, leader, machine, rng, said_otherwise};

fn output(keys: &PublicKeySet, shares: &[&SecretShare]) -> [u8; 32] {
    let point = InputPoint::hash(keys.role(), &[b"a view"]);
    let made: Vec<(u16, Evaluation)> =
        shares.iter().map(|share| (share.index(), share.evaluate(&point, &mut rng(9)))).collect();
    let made: Vec<(u16, &Evaluation)> = made.iter().map(|(index, e)| (*index, e)).collect();
    *keys.combine(&point, &made).unwrap().key("test", &[]).expose()
}

fn old_shares(world: &World, number: u8) -> [&SecretShare; 2] {
    let secrets = &world.secrets[&leader(number)];
    [&secrets.group_share, &secrets.coin_share]
}

fn sets(group: &GroupInfo) -> [&PublicKeySet; 2] {
    [&group.group_keys, &group.coin_keys]
}

/// Every leader given has come to the same generation, with shares of it: the group, and the shares of each.
fn all_agree(world: &World, leaders: &[u8]) -> (GroupInfo, Vec<[SecretShare; 2]>) {
    let mut succession = None;
    let mut shares = Vec::new();
    let mut group = None;
    for number in leaders {
        let outcome = world.rooms[&leader(*number)].outcome().unwrap_or_else(|| panic!("leader {number} has none"));
        let named = world.package(*number).unwrap().certified.succession;
        assert_eq!(*succession.get_or_insert_with(|| named.clone()), named, "leader {number}");
        for (share, set) in outcome.shares.iter().zip(sets(&outcome.group)) {
            assert!(share.belongs_to(set));
        }
        shares.push(outcome.shares);
        group = Some(outcome.group);
    }
    (group.unwrap(), shares)
}

fn hack(world: &mut World, number: u8, deviation: impl FnMut(LeaderId, &Post, &SigningKey) -> Vec<Post> + 'static) {
    let key = world.secrets[&leader(number)].signing.clone();
    let mut deviation = deviation;
    let boxed: Deviation = Box::new(move |to, post| deviation(to, post, &key));
    world.hacked.insert(leader(number), boxed);
}

fn is_of(post: &Post, kind: Kind) -> bool {
    post.read().is_some_and(|body| body.kind() == kind)
}

#[test]
fn a_new_machine_takes_a_place_and_old_shares_are_worth_nothing() {
    for n in [4u8, 7] {
        let mut world = World::new(n, u64::from(n));
        let Machine { introduction, sealing } = machine(2, 50);
        // The hacked leader itself says nothing.
        hack(&mut world, 2, |_, _, _| Vec::new());
        let orders: Vec<u8> = [1u8, 3, 4].into_iter().take(usize::from((n - 1) / 3) + 1).collect();
        world.order(&orders, Some(&introduction), 3, 1);
        world.run();
        let others: Vec<u8> = (1..=n).filter(|number| *number != 2).collect();
        let (group, mut shares) = all_agree(&world, &others);
        assert_eq!((group.id(), group.generation()), (world.group.id(), 1));
        assert_eq!(group.leader(leader(2)).unwrap().link_key, introduction.info.link_key);
        assert_eq!(group.leader(leader(1)).unwrap().link_key, world.group.leader(leader(1)).unwrap().link_key);
        assert_eq!(group.retired(), [(leader(2), world.group.leader(leader(2)).unwrap().link_key)]);

        let (_, own) = world.package(1).unwrap().open(&world.group, leader(2), &[], &sealing).unwrap();
        shares.insert(1, own);
        for key in 0..2 {
            let (old_set, new_set) = (sets(&world.group)[key], sets(&group)[key]);
            let t = usize::from(old_set.threshold());
            let old: Vec<&SecretShare> = (1..=n).map(|number| old_shares(&world, number)[key]).collect();
            let new: Vec<&SecretShare> = shares.iter().map(|shares| &shares[key]).collect();
            let truth = output(old_set, &old[..t]);
            assert_eq!(output(new_set, &new[..t]), truth, "the key stays");
            assert_eq!(output(new_set, &new[usize::from(n) - t..]), truth, "whichever leaders make it");
            for of_old in 1..t {
                // As many old shares as there can be stolen ones, and new ones for the rest.
                let mixed: Vec<&SecretShare> = old[1..=of_old].iter().chain(&new[of_old + 1..=t]).copied().collect();
                assert_eq!(mixed.len(), t);
                assert_ne!(output(old_set, &mixed), truth, "{of_old} old shares of {t}");
            }
        }
    }
}

#[test]
fn shares_are_renewed_with_nobody_replaced_and_again() {
    let mut world = World::new(4, 1);
    world.order(&[1, 2], None, 1, 1);
    world.run();
    let (group, _) = all_agree(&world, &[1, 2, 3, 4]);
    assert_eq!(group.retired(), []);
    let first = world.package(1).unwrap();
    // What was signed for generation 1 makes nothing of generation 1.
    let group = Arc::new(group);
    assert!(group.succeed(first.certified.clone()).is_none(), "not twice");
    assert!(world.group.succeed(first.certified).is_some());
}

#[test]
fn f_leaders_order_nothing_and_the_replaced_one_has_no_say() {
    let mut world = World::new(4, 2);
    let machine = machine(3, 51).introduction;
    world.order(&[2], Some(&machine), 1, 1);
    world.run();
    assert!((1..=4).all(|number| !world.saw(number, &Event::Begun(1))), "one order of two");
    assert!(world.saw(4, &Event::Ordered(1, leader(2))), "but all know of it");
    // Leader 3 would give the second order, to put somebody else in its own place.
    world.order(&[3], Some(&machine), 1, 1);
    world.run();
    assert!((1..=4).all(|number| !world.saw(number, &Event::Begun(1))));
    // Another machine for the same place is another order.
    let other = world::machine(3, 52).introduction;
    world.order(&[4], Some(&other), 1, 1);
    world.run();
    assert!((1..=4).all(|number| !world.saw(number, &Event::Begun(1))));
    world.order(&[1], Some(&other), 1, 1);
    world.run();
    assert!(world.saw(2, &Event::Begun(1)), "two of the same");
    let (group, _) = all_agree(&world, &[1, 2, 4]);
    assert_eq!(group.leader(leader(3)).unwrap().link_key, other.info.link_key);
}

#[test]
fn an_order_that_fits_no_place_is_refused() {
    let mut world = World::new(4, 3);
    let mut cx_rng = rng(1);
    let mut cx = ringfort_protocol::Cx { now: ringfort_protocol::Time::ZERO, unix_ms: 0, rng: &mut cx_rng };
    let room = world.rooms.get_mut(&leader(1)).unwrap();
    let mut refused = |newcomer, coordinator| room.on_order(&mut cx, newcomer, coordinator, 1).err();
    let good = machine(2, 53).introduction;
    assert_eq!(refused(Some(machine(9, 53).introduction), leader(1)), Some(Refused::Unfit), "no such place");
    assert_eq!(refused(Some(good.clone()), leader(2)), Some(Refused::Unfit), "coordinated by the replaced one");
    let mut altered = good.clone();
    altered.info.address = "elsewhere.example:7400".to_owned();
    assert_eq!(refused(Some(altered), leader(1)), Some(Refused::Unfit), "altered on the way");
    let mut known = good.clone();
    known.info.link_key = world.group.leader(leader(2)).unwrap().link_key;
    assert_eq!(refused(Some(known), leader(1)), Some(Refused::Unfit), "the stolen link key again");
    assert_eq!(refused(Some(good), leader(1)), None);
}

/// Plays one deviation of f leaders in groups of four and seven; leaders that are honest come to the same all the same.
fn survives(deviate: impl Fn(&mut World, u8), named: &[Fault]) {
    for (n, hacked) in [(4u8, vec![4u8]), (7, vec![5, 7])] {
        for seed in 0..4 {
            let mut world = World::new(n, 100 + seed);
            for number in &hacked {
                deviate(&mut world, *number);
            }
            world.order(&[1, 2, 3], None, 1, 1);
            world.run();
            let honest: Vec<u8> = (1..=n).filter(|number| !hacked.contains(number)).collect();
            all_agree(&world, &honest);
            for number in &hacked {
                let named_by = |me: &u8| named.iter().any(|f| world.saw(*me, &Event::Blamed(1, leader(*number), *f)));
                assert!(named.is_empty() || honest.iter().all(named_by), "{number} of {n}");
            }
            let blamed = |event: &Event| match event {
                Event::Blamed(_, who, _) => Some(*who),
                _ => None,
            };
            let all: BTreeSet<LeaderId> =
                honest.iter().flat_map(|me| world.events[&leader(*me)].iter().filter_map(blamed)).collect();
            assert!(all.iter().all(|who| hacked.contains(&who.number())), "an honest leader is named: {all:?}");
        }
    }
}

#[test]
fn whoever_says_nothing_stops_nothing() {
    survives(|world, number| hack(world, number, |_, _, _| Vec::new()), &[]);
}

#[test]
fn whoever_is_ready_and_then_deals_nothing_stops_nothing() {
    let silent = |world: &mut World, number| {
        hack(world, number, |_, post, _| if is_of(post, Kind::Deal) { Vec::new() } else { vec![post.clone()] });
    };
    survives(silent, &[]);
}

#[test]
fn whoever_deals_a_bad_share_is_named_and_left_out() {
    for victim in [1usize, 2] {
        let bad = move |world: &mut World, number| {
            hack(world, number, move |_, post, key| {
                let spoil = |body: &mut Body| {
                    if let Body::Deal { sealed, .. } = body {
                        sealed.swap(victim, 0);
                    }
                };
                vec![said_otherwise(post, key, spoil)]
            });
        };
        survives(bad, &[Fault::BadShare]);
    }
}

#[test]
fn whoever_shares_out_another_secret_is_named_and_left_out() {
    let bad = |world: &mut World, number| {
        hack(world, number, |_, post, key| {
            let spoil = |body: &mut Body| {
                if let Body::Deal { commitments: [group, coin], .. } = body {
                    std::mem::swap(group, coin);
                }
            };
            vec![said_otherwise(post, key, spoil)]
        });
    };
    survives(bad, &[Fault::BadDeal]);
}

#[test]
fn whoever_deals_differently_to_different_leaders_is_named_and_splits_nobody() {
    let two_faced = |world: &mut World, number| {
        hack(world, number, |to, post, key| {
            let other = said_otherwise(post, key, |body| {
                if let Body::Deal { sealed, .. } = body {
                    sealed.reverse();
                }
            });
            vec![if to.number() % 2 == 0 { post.clone() } else { other }]
        });
    };
    // Its bad shares may be complained of before both faces have met.
    survives(two_faced, &[Fault::Equivocated, Fault::BadShare]);
}

#[test]
fn whoever_complains_of_a_good_share_is_named_and_the_dealer_is_not() {
    let liar = |world: &mut World, number: u8| {
        let of_liar = leader(number);
        hack(world, number, move |_, post, key| {
            let mut said = vec![post.clone()];
            if is_of(post, Kind::Vote) {
                let Body::Vote { succession, .. } = post.read().unwrap() else { unreachable!() };
                let complaint = Body::Complaint { deal: succession.deals, secret: [7; 32] };
                said.push(Post::sign(post.plan, of_liar, &complaint, key));
            }
            said
        });
    };
    // A complaint about what nobody holds is nothing.
    survives(liar, &[]);

    let mut world = World::new(4, 8);
    world.order(&[1, 2], None, 1, 1);
    world.run();
    let deal = world.package(1).unwrap().deals.iter().find(|post| post.author == leader(2)).unwrap().clone();
    let key = world.secrets[&leader(4)].signing.clone();
    let lie = Post::sign(deal.plan, leader(4), &Body::Complaint { deal: deal.digest(), secret: [7; 32] }, &key);
    let mut dice = rng(1);
    let mut cx = ringfort_protocol::Cx { now: world::at(99_999), unix_ms: 0, rng: &mut dice };
    let step = world.rooms.get_mut(&leader(1)).unwrap().on_frame(&mut cx, leader(4), &lie.to_frame());
    assert!(step.events.contains(&Event::Blamed(1, leader(4), Fault::FalseComplaint)), "{:?}", step.events);
}

#[test]
fn under_a_hacked_coordinator_nothing_splits_and_the_next_attempt_succeeds() {
    for seed in 0..4 {
        let mut world = World::new(4, 200 + seed);
        // It proposes other deals to one half than to the other.
        hack(&mut world, 4, |to, post, key| {
            let fewer = said_otherwise(post, key, |body| {
                if let Body::Proposal { deals, .. } = body {
                    deals.pop();
                }
            });
            vec![if to.number() == 1 { post.clone() } else { fewer }]
        });
        world.order(&[1, 2], None, 4, 1);
        world.run();
        let named: BTreeSet<Vec<u8>> =
            (1..=3).filter_map(|me| world.package(me)).map(|p| p.certified.succession.digest().to_vec()).collect();
        assert!(named.len() <= 1, "two outcomes of one number");
        assert!((1..=3).any(|me| world.saw(me, &Event::Blamed(1, leader(4), Fault::Equivocated))));
        world.order(&[1, 3], None, 2, 2);
        world.run();
        let (group, _) = all_agree(&world, &[1, 2, 3]);
        assert_eq!(group.generation(), 2);
    }
}

#[test]
fn a_crash_before_any_word_leaves_nothing_stuck() {
    let mut crashed = 0;
    for me in 1..=4 {
        for step in 1..=12 {
            let mut world = World::new(4, 300 + step);
            let Machine { introduction, sealing } = machine(2, 54);
            world.crash = Some((leader(me), u32::try_from(step).unwrap()));
            hack(&mut world, 2, |_, _, _| Vec::new());
            world.order(&[1, 3], Some(&introduction), 1, 1);
            world.run();
            crashed += u32::from(world.crash.is_none());
            let (group, _) = all_agree(&world, &[1, 3, 4]);
            assert!(world.package(4).unwrap().open(&world.group, leader(2), &[], &sealing).is_some());
            assert_eq!(group.generation(), 1, "leader {me} crashed before word {step}");
        }
    }
    assert!(crashed >= 20, "{crashed} of 48 crashed");
}

#[test]
fn a_leader_that_was_away_comes_to_the_same() {
    let mut world = World::new(7, 5);
    world.stop(leader(6));
    world.order(&[1, 2, 3], None, 1, 1);
    world.run();
    all_agree(&world, &[1, 2, 3, 4, 5, 7]);
    world.start(leader(6));
    world.run();
    let (group, shares) = all_agree(&world, &[1, 6]);
    assert!(shares[1][0].belongs_to(&group.group_keys));
}

#[test]
fn fewer_votes_make_no_generation() {
    let mut world = World::new(4, 6);
    let newcomer = machine(2, 55).introduction;
    world.order(&[1, 3], Some(&newcomer), 1, 1);
    world.run();
    let good = world.package(1).unwrap().certified;
    let base = &world.group;
    assert!(base.succeed(good.clone()).is_some());
    let with = |change: &dyn Fn(&mut Certified)| {
        let mut altered = good.clone();
        change(&mut altered);
        base.succeed(altered).is_some()
    };
    assert!(!with(&|c| c.votes.truncate(2)), "f+1 votes");
    assert!(!with(&|c| c.votes[2] = c.votes[0]), "one leader twice");
    assert!(!with(&|c| c.votes[1].1 = WireSignature(ringfort_crypto::sign::Signature::from_bytes([1; 64]))));
    assert!(!with(&|c| c.succession.newcomer = None), "another outcome");
    assert!(!with(&|c| c.succession.number = 2), "another number");
    // The hacked leader signs, with one operator: both count for nothing.
    let replaced = world.secrets[&leader(2)].signing.clone();
    assert!(!with(&|c| c.votes[2] = (leader(2), c.succession.sign(&replaced))), "the replaced leader's vote");
}

#[test]
fn an_attempt_with_a_higher_number_takes_the_place_of_one_that_came_late() {
    // Leader 4 goes on in generation 1; the others, who did not hear of its certificate, make generation 2 of generation 0.
    let mut world = World::new(4, 7);
    world.order(&[1, 2], None, 1, 1);
    world.run();
    let late = Arc::new(world.rooms[&leader(4)].outcome().unwrap().group);
    world.order(&[1, 2], None, 2, 2);
    world.run();
    let second = world.package(1).unwrap().certified;
    assert_eq!((second.succession.base, second.succession.number), (0, 2));
    let next = late.succeed(second.clone()).expect("a member in generation 1 follows");
    assert_eq!(next.generation(), 2);
    let (group, _) = all_agree(&world, &[1, 2, 3, 4]);
    assert_eq!(group.group_keys, next.group_keys);
    // And never back.
    let first = late.successions().pop().unwrap();
    assert!(Arc::new(next).succeed(Certified::clone(&first)).is_none());
}

#[test]
fn debug_shows_nothing() {
    let mut world = World::new(4, 9);
    world.order(&[1, 2], None, 1, 1);
    world.run();
    let room = &world.rooms[&leader(1)];
    assert_eq!(
        format!("{room:?} {:?}", room.outcome()),
        "Renewal(leader 1, 1 attempts) Some(Outcome(generation 1, redacted))"
    );
    assert_eq!(room.authors(1, Kind::Vote), 4);
}
