//! The tree by itself: shapes, and what a hostile shape does.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use ringfort_peer::Name;

use super::tree::{DEPTH_MAX, Flat, Renewed, Tree};
use crate::group::{Group, Ristretto};
use crate::rules::Rules;

fn name(n: usize) -> Name {
    Name::new(format!("m{n:04}")).unwrap()
}

fn leaf(n: usize) -> Tree<Ristretto> {
    let mut rng = ChaCha20Rng::seed_from_u64(n as u64);
    Tree::leaf(name(n), Ristretto::generate(&Ristretto::random(&mut rng)))
}

fn tree(range: std::ops::Range<usize>) -> Tree<Ristretto> {
    Tree::join(range.map(leaf).collect(), &mut Renewed::default()).unwrap()
}

#[test]
fn members_who_join_one_after_the_other_make_a_balanced_tree() {
    for n in 1..40usize {
        let tree = tree(0..n);
        assert_eq!(tree.names().len(), n);
        assert_eq!(tree.height(), n.next_power_of_two().trailing_zeros() as usize, "n = {n}");
    }
}

#[test]
fn a_tree_goes_into_a_taller_one_without_making_it_grow_where_there_is_room() {
    let mut renewed = Renewed::default();
    let merged = Tree::join(vec![tree(100..102), tree(0..5)], &mut renewed).unwrap();
    assert_eq!((merged.height(), merged.names().len()), (3, 7));
    assert_eq!(renewed.sponsors.len(), 2, "one of either side");
    let merged = Tree::join(vec![tree(0..4), tree(100..104)], &mut Renewed::default()).unwrap();
    assert_eq!(merged.height(), 3, "over the root");
}

#[test]
fn who_leaves_is_replaced_by_its_sibling_and_somebody_there_renews_its_share() {
    let mut renewed = Renewed::default();
    let left = tree(0..8).retain(&|who| *who != name(3), &mut renewed).unwrap();
    assert_eq!(left.names().len(), 7);
    assert_eq!(renewed.sponsors, [name(2)].into());
    let mut renewed = Renewed::default();
    let left = tree(0..8).retain(&|who| *who < name(2) || *who == name(6), &mut renewed).unwrap();
    assert_eq!((left.names().len(), left.height()), (3, 2));
    assert!(renewed.sponsors.contains(&name(6)) && renewed.sponsors.contains(&name(1)), "{:?}", renewed.sponsors);
}

#[test]
fn a_tree_that_is_sent_is_read_again_and_one_that_is_none_is_not() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let mut tree = tree(0..9);
    tree.replace(&BTreeSet::new(), &BTreeMap::new());
    let flat = tree.flatten();
    assert!(matches!(flat.first(), Some(Flat::Inner(None))), "the root's blinded key is nobody's business");
    let read = Tree::<Ristretto>::unflatten(&flat, Rules::all()).unwrap();
    assert_eq!(read.digest(), tree.digest());
    let element = Ristretto::encode(&Ristretto::generate(&Ristretto::random(&mut rng)));
    let twice = [Flat::Inner(None), Flat::Leaf(name(1), element), Flat::Leaf(name(1), element)];
    let identity = [Flat::Inner(None), Flat::Leaf(name(1), element), Flat::Leaf(name(2), [0; 32])];
    let mut more = flat.clone();
    more.push(Flat::Leaf(name(77), element));
    for bad in [&flat[..3], &[][..], &twice, &identity, &more] {
        assert!(Tree::<Ristretto>::unflatten(bad, Rules::all()).is_none(), "{bad:?}");
    }
}

#[test]
fn a_tree_that_is_too_deep_or_too_large_is_refused() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let element = Ristretto::encode(&Ristretto::generate(&Ristretto::random(&mut rng)));
    let comb = |depth: usize| -> Vec<Flat> {
        let mut nodes = Vec::new();
        for n in 0..depth {
            nodes.extend([Flat::Inner(None), Flat::Leaf(name(n), element)]);
        }
        nodes.push(Flat::Leaf(name(depth), element));
        nodes
    };
    assert!(Tree::<Ristretto>::unflatten(&comb(DEPTH_MAX), Rules::all()).is_some());
    assert!(Tree::<Ristretto>::unflatten(&comb(DEPTH_MAX + 1), Rules::all()).is_none());
    assert!(Tree::<Ristretto>::unflatten(&vec![Flat::Inner(None); 100_000], Rules::all()).is_none());
}

proptest! {
    /// Whoever stays is in the tree, nobody else is, whatever is cut off and put together.
    #[test]
    fn members_are_those_who_stay(stays in prop::collection::vec(any::<bool>(), 1..40), more in 0usize..20) {
        let n = stays.len();
        let mut renewed = Renewed::default();
        let kept = tree(0..n).retain(&|who| (0..n).any(|m| stays[m] && name(m) == *who), &mut renewed);
        let mut parts: Vec<_> = kept.into_iter().collect();
        parts.extend((100..100 + more).map(leaf));
        let expected: BTreeSet<Name> =
            (0..n).filter(|m| stays[*m]).chain(100..100 + more).map(name).collect();
        match Tree::join(parts, &mut renewed) {
            None => prop_assert!(expected.is_empty()),
            Some(tree) => {
                let names: BTreeSet<Name> = tree.names().into_iter().cloned().collect();
                prop_assert_eq!(&names, &expected);
                prop_assert!(renewed.sponsors.iter().all(|who| names.contains(who)));
            }
        }
    }
}

/// A member that makes up a past, with somebody else in it, or claims a past that it has no part in.
#[test]
fn a_made_up_tree_gives_nobody_a_leaf_that_it_did_not_bring() {
    use ringfort_kernel::codec;

    use super::{Offer, Tgdh};
    use crate::keys::KeyView;

    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let (a, x) = (name(1), name(2));
    let known = Ristretto::encode(&Ristretto::generate(&Ristretto::random(&mut rng)));
    let brought = Ristretto::encode(&Ristretto::generate(&Ristretto::random(&mut rng)));
    let mut honest = Tgdh::<Ristretto>::new(a.clone(), Rules::all());
    for round in 0..2 {
        let mine = honest.offer(&mut rng, &[a.clone()].into(), false, false);
        let own: Offer = codec::decode(&mine).unwrap();
        let shape = vec![Flat::Inner(None), Flat::Leaf(a.clone(), known), Flat::Leaf(x.clone(), brought)];
        let digest = Tree::<Ristretto>::unflatten(&shape, Rules::all()).unwrap().digest();
        // At first the tree is made up; then the past is the honest member's own, in which the other had no part.
        let tree = if round == 0 { Some(digest) } else { own.tree };
        let theirs = codec::encode(&Offer { leaf: brought, tree, shape: Some(shape), refresh: true });
        assert!(honest.accepts(&theirs));
        let members: Vec<(&Name, &[u8])> = vec![(&a, &mine), (&x, &theirs)];
        let output = honest.start(&KeyView { me: 0, members, attempt: 0, context: [0; 32] });
        assert!(output.secret.is_some(), "two leaves: nothing is awaited");
        let (plan, share) = honest.plan.take().unwrap();
        let leaf = Ristretto::encode(&Ristretto::generate(&share));
        let flat = plan.into_tree().flatten();
        assert!(flat.contains(&Flat::Leaf(a.clone(), leaf)), "its own share, which nobody else chose");
        assert!(!flat.contains(&Flat::Leaf(a.clone(), known)) && flat.len() == 3, "{flat:?}");
        // Alone it gets a past of its own.
        let alone = honest.offer(&mut rng, &[a.clone()].into(), false, false);
        let _ = honest.start(&KeyView { me: 0, members: vec![(&a, &alone)], attempt: 0, context: [1; 32] });
        honest.commit();
    }
}
