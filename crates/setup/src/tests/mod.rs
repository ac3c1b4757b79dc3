//! The ceremony in a simulated network.

mod finish;
mod hostile;
mod world;

use ringfort_crypto::threshold::{InputPoint, KeyRole};
use ringfort_protocol::{Policy, Rules};

use crate::{BadTerms, Terms};
use world::{World, introduction, rng, terms};

#[test]
fn four_and_seven_make_a_group_whose_shares_combine() {
    for (n, f, seed) in [(4, 1, 1), (4, 1, 2), (5, 1, 3), (7, 2, 4)] {
        let mut world = World::new(seed, n, f);
        world.start_all();
        world.run();
        assert!(world.failed.is_empty(), "{:?}", world.failed);
        assert_eq!(world.confirmed.len(), usize::from(n));
        assert_eq!(world.settled.len(), usize::from(n));
        world.check_agreement();

        let group = &world.persisted[&world::leader(1)].group;
        assert_eq!(group.introductions().len(), usize::from(n));
        let input = InputPoint::hash(KeyRole::GroupKey, &[b"view"]);
        let evaluations: Vec<_> = world
            .persisted
            .values()
            .map(|u| (u.secrets.id.share_index(), u.secrets.group_share.evaluate(&input, &mut rng(9))))
            .collect();
        let key = |range: std::ops::Range<usize>| {
            let some: Vec<_> = evaluations[range].iter().map(|(index, e)| (*index, e)).collect();
            assert_eq!(group.group_keys.verify_batch(&input, &some), Ok(()));
            group.group_keys.combine(&input, &some).unwrap().key("test", &[])
        };
        let (needed, n) = (usize::from(f) + 1, usize::from(n));
        assert_eq!(key(0..needed), key(n - needed..n), "any f+1 shares make the key");
    }
}

#[test]
fn the_two_keys_have_nothing_in_common() {
    let mut world = World::new(5, 4, 1);
    world.start_all();
    world.run();
    let group = &world.persisted[&world::leader(1)].group;
    let all = [group.group_keys.to_bytes(), group.coin_keys.to_bytes()].concat();
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), 8);
}

#[test]
fn a_crash_anywhere_ends_in_one_group_for_all_or_in_none_for_any() {
    let (mut restarted, mut given_up) = (0, 0);
    for seed in 0..60 {
        let mut world = World::new(seed, 4, 1);
        world.crash = Some((world::leader(1 + (seed % 4) as u8), 1 + (seed * 7 % 60) as u32));
        world.start_all();
        world.run();
        world.check_agreement();
        if !world.failed.is_empty() {
            restarted += 1;
        }
        // Whatever came of it: everybody runs it again, on the same terms.
        world.crash = None;
        world.start_all();
        world.run();
        world.check_agreement();
        world.check_all_or_none();
        let (finished, confirmed) = (world.confirmed.len(), world.persisted.len());
        if finished == 4 {
            continue;
        }
        // Some had confirmed what the one that crashed had not: nothing can come of these keys, and all say so.
        assert!(finished == 0 && (1..4).contains(&confirmed), "seed {seed}: {confirmed} of 4: {:?}", world.failed);
        given_up += 1;
        let mut again = World::new(seed + 1000, 4, 1);
        again.start_all();
        again.run();
        assert_eq!(again.confirmed.len(), 4, "new keys, and it works");
    }
    assert!(restarted > 5, "crashes came at the wrong moments: {restarted}");
    assert!(given_up > 0, "no crash came between the confirmations");
    assert!(given_up < 15, "most crashes cost nothing: {given_up}");
}

#[test]
fn terms_that_make_no_group_are_refused() {
    let four = |change: &dyn Fn(&mut Vec<_>)| {
        let mut all: Vec<_> = (1..=4).map(|number| introduction(1, number)).collect();
        change(&mut all);
        Terms::new(Rules::new(4, 1, 2).unwrap(), Policy::default(), all).map(|terms| terms.digest())
    };
    let (one, two) = (world::leader(1), world::leader(2));
    assert_eq!(four(&|all| all.reverse()), Ok(terms(1, 4, 1).digest()), "the order does not matter");
    assert_eq!(four(&|all| drop(all.pop())), Err(BadTerms::Missing(world::leader(4), 4)));
    assert_eq!(four(&|all| all[1] = introduction(2, 1)), Err(BadTerms::Twice(one)));
    assert_eq!(four(&|all| all.push(introduction(1, 5))), Err(BadTerms::Extra(world::leader(5), 4)));
    assert_eq!(four(&|all| all[1].info.address.push('1')), Err(BadTerms::NotSigned(two)));
    let policy = Policy { members_max: 7, ..Policy::default() };
    let all = (1..=4).map(|number| introduction(1, number)).collect();
    let other = Terms::new(Rules::new(4, 1, 2).unwrap(), policy, all).unwrap();
    assert_ne!(other.fingerprint(), terms(1, 4, 1).fingerprint());
    let alone = Terms::new(Rules::new(1, 0, 1).unwrap(), Policy::default(), vec![introduction(1, 1)]);
    assert!(matches!(alone, Err(BadTerms::NoFaults)));
}
