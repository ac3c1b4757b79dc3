use curve25519_dalek::Scalar;
use curve25519_dalek::traits::Identity;
use curve25519_dalek::{RistrettoPoint, constants};
use proptest::prelude::*;

use super::*;
use crate::testing::{FixedRng, rng};

fn dealt(n: u16, threshold: u16, seed: u64) -> (PublicKeySet, Vec<SecretShare>) {
    deal(KeyRole::GroupKey, n, threshold, &mut rng(seed)).unwrap()
}

fn input(name: &[u8]) -> InputPoint {
    InputPoint::hash(KeyRole::GroupKey, &[name])
}

fn evaluations(shares: &[SecretShare], at: &InputPoint) -> Vec<(u16, Evaluation)> {
    shares.iter().map(|share| (share.index(), share.evaluate(at, &mut rng(u64::from(share.index()))))).collect()
}

fn refs(evaluations: &[(u16, Evaluation)]) -> Vec<(u16, &Evaluation)> {
    evaluations.iter().map(|(index, e)| (*index, e)).collect()
}

fn key(output: &Output) -> Secret32 {
    output.key("test", &[b"context"])
}

/// The key computed from the dealer's secret, without shares.
fn key_of(secret: &Scalar, at: &InputPoint) -> Secret32 {
    key(&Output::new(at.role, at.point * secret))
}

fn subsets(n: usize, size: usize) -> Vec<Vec<usize>> {
    (0u32..1 << n)
        .filter(|mask| mask.count_ones() as usize == size)
        .map(|mask| (0..n).filter(|i| mask >> i & 1 == 1).collect())
        .collect()
}

#[test]
fn any_threshold_subset_gives_the_dealt_key() {
    for (n, f) in [(1u16, 0u16), (4, 1), (7, 2)] {
        for threshold in f + 1..=n - f {
            let secret = Scalar::from(77u64 + u64::from(threshold));
            let (keys, shares) =
                deal_from_secret_for_testing_only(KeyRole::GroupKey, n, threshold, &secret, &mut rng(1)).unwrap();
            let at = input(b"view");
            let all = evaluations(&shares, &at);
            for subset in subsets(usize::from(n), usize::from(threshold)) {
                let mut chosen: Vec<_> = subset.iter().map(|&i| (all[i].0, &all[i].1)).collect();
                chosen.reverse();
                keys.verify_batch(&at, &chosen).unwrap();
                assert_eq!(key(&keys.combine(&at, &chosen).unwrap()), key_of(&secret, &at), "n {n} of {subset:?}");
                assert_eq!(key(&keys.verify_and_combine(&at, &chosen).unwrap()), key_of(&secret, &at));
            }
        }
    }
}

#[test]
fn fewer_than_threshold_shares_give_nothing() {
    let (keys, shares) = dealt(4, 2, 3);
    let at = input(b"view");
    let all = evaluations(&shares, &at);
    let one = &refs(&all)[..1];
    assert!(keys.combine(&at, one).is_none());
    assert_eq!(keys.verify_and_combine(&at, one).unwrap_err(), CombineError::TooFew { have: 1, need: 2 });
    // A repeated share is still one share.
    let twice = [(1, &all[0].1), (1, &all[0].1)];
    assert!(keys.combine(&at, &twice).is_none());
    assert_eq!(keys.verify_and_combine(&at, &twice).unwrap_err(), CombineError::TooFew { have: 1, need: 2 });
}

#[test]
fn interpolating_as_if_the_threshold_were_lower_gives_another_key() {
    let secret = Scalar::from(5u64);
    let (keys, shares) = deal_from_secret_for_testing_only(KeyRole::GroupKey, 7, 3, &secret, &mut rng(4)).unwrap();
    let at = input(b"view");
    let all = evaluations(&shares, &at);
    for subset in subsets(7, 2) {
        let indices: Vec<u16> = subset.iter().map(|&i| all[i].0).collect();
        let b = keys.inverses().coefficients(&indices).unwrap();
        let sum = subset
            .iter()
            .zip(b)
            .fold(RistrettoPoint::identity(), |sum, (&i, b)| sum + decompress(&all[i].1.s).unwrap() * b);
        assert_ne!(key(&Output::new(KeyRole::GroupKey, sum)), key_of(&secret, &at));
    }
}

#[test]
fn a_share_passes_for_no_other_input_index_role_or_key() {
    let (keys, shares) = dealt(4, 2, 5);
    let (other_keys, _) = dealt(4, 2, 6);
    let at = input(b"view 1");
    let evaluation = shares[0].evaluate(&at, &mut rng(0));
    assert_eq!(keys.verify(1, &at, &evaluation), Ok(()));
    assert_eq!(keys.verify(1, &input(b"view 2"), &evaluation), Err(BadShare));
    for index in [0, 2, 3, 4, 5, u16::MAX] {
        assert_eq!(keys.verify(index, &at, &evaluation), Err(BadShare), "{index}");
    }
    assert_eq!(other_keys.verify(1, &at, &evaluation), Err(BadShare));

    // The same scalars and the same point under another role: only the role differs.
    let coin_keys = PublicKeySet::from_bytes(KeyRole::Coin, 2, &keys.to_bytes()).unwrap();
    let coin_at = InputPoint { role: KeyRole::Coin, ..at };
    let coin_share = SecretShare::from_secret(KeyRole::Coin, 1, &shares[0].to_secret()).unwrap();
    assert_eq!(coin_keys.verify(1, &coin_at, &coin_share.evaluate(&coin_at, &mut rng(0))), Ok(()));
    assert_eq!(coin_keys.verify(1, &coin_at, &evaluation), Err(BadShare));
    assert_eq!(coin_keys.verify(1, &at, &evaluation), Err(BadShare));
    assert_eq!(keys.verify(1, &coin_at, &evaluation), Err(BadShare));
    assert_eq!(keys.verify(1, &at, &coin_share.evaluate(&at, &mut rng(0))), Err(BadShare));
    assert!(coin_keys.combine(&at, &[(1, &evaluation), (2, &evaluation)]).is_none());
}

#[test]
fn inputs_and_outputs_depend_on_the_role() {
    let roles = [KeyRole::GroupKey, KeyRole::Coin, KeyRole::Login];
    for a in roles {
        for b in roles {
            let (x, y) = (InputPoint::hash(a, &[b"x"]), InputPoint::hash(b, &[b"x"]));
            assert_eq!(a == b, x.to_bytes() == y.to_bytes());
            let point = constants::RISTRETTO_BASEPOINT_POINT;
            assert_eq!(a == b, key(&Output::new(a, point)) == key(&Output::new(b, point)));
        }
    }
    assert_ne!(input(b"ab"), InputPoint::hash(KeyRole::GroupKey, &[b"a", b"b"]));
}

#[test]
fn changing_any_bit_of_an_evaluation_is_noticed() {
    let (keys, shares) = dealt(4, 2, 7);
    let at = input(b"view");
    let good = shares[1].evaluate(&at, &mut rng(0)).to_bytes();
    assert_eq!(keys.verify(2, &at, &Evaluation::from_bytes(good)), Ok(()));
    for bit in 0..EVALUATION_BYTES * 8 {
        let mut bytes = good;
        bytes[bit / 8] ^= 1 << (bit % 8);
        let bad = Evaluation::from_bytes(bytes);
        assert_eq!(bad.to_bytes(), bytes);
        assert_eq!(keys.verify(2, &at, &bad), Err(BadShare), "bit {bit}");
    }
}

#[test]
fn a_wrong_share_with_its_best_proof_is_refused() {
    // A leader that answers s = g~^(x + 1) and proves as well as it can, knowing x.
    let (keys, shares) = dealt(4, 2, 8);
    let at = input(b"view");
    let x = Scalar::from_canonical_bytes(*shares[0].to_secret().expose()).unwrap();
    let liar = SecretShare::from_secret(KeyRole::GroupKey, 1, &Secret32::new((x + Scalar::ONE).to_bytes())).unwrap();
    assert!(!liar.belongs_to(&keys) && shares[0].belongs_to(&keys));
    let own_proof = liar.evaluate(&at, &mut rng(1));
    assert_eq!(keys.verify(1, &at, &own_proof), Err(BadShare));

    // Its s with an honest proof of the right share, and the right g_i in the challenge.
    let y = Scalar::from(9u64);
    let mut forged = Evaluation {
        s: own_proof.s,
        u: RistrettoPoint::mul_base(&y).compress().to_bytes(),
        v: (at.point * y).compress().to_bytes(),
        z: [0; 32],
    };
    let c = forged.challenge(KeyRole::GroupKey, 1, &keys.key(1).unwrap(), &at);
    forged.z = (y + c * x).to_bytes();
    assert_eq!(keys.verify(1, &at, &forged), Err(BadShare), "the first equation holds, the second must not");
    forged.s = shares[0].evaluate(&at, &mut rng(1)).s;
    let c = forged.challenge(KeyRole::GroupKey, 1, &keys.key(1).unwrap(), &at);
    forged.z = (y + c * x).to_bytes();
    assert_eq!(keys.verify(1, &at, &forged), Ok(()), "the control: the same proof for the right share");
    forged.v = (at.point * (y + Scalar::ONE)).compress().to_bytes();
    let c = forged.challenge(KeyRole::GroupKey, 1, &keys.key(1).unwrap(), &at);
    forged.z = (y + c * x).to_bytes();
    assert_eq!(keys.verify(1, &at, &forged), Err(BadShare));
}

/// Each forgery fixes a challenge first and then solves one equation for the field named: it passes if the
/// challenge leaves that field out, or if the equation it breaks is not checked.
#[test]
fn solving_for_a_field_after_the_challenge_forges_nothing() {
    let (keys, shares) = dealt(4, 2, 20);
    let at = input(b"view");
    let base = constants::RISTRETTO_BASEPOINT_POINT;
    let x = Scalar::from_canonical_bytes(*shares[0].to_secret().expose()).unwrap();
    let (y, wrong) = (Scalar::from(9u64), x + Scalar::ONE);
    let bytes = |point: RistrettoPoint| point.compress().to_bytes();
    let challenge = |e: &Evaluation| e.challenge(KeyRole::GroupKey, 1, &keys.key(1).unwrap(), &at);
    let start = |x: Scalar| {
        let mut e = Evaluation { s: bytes(at.point * x), u: bytes(base * y), v: bytes(at.point * y), z: [0; 32] };
        let c = challenge(&e);
        e.z = (y + c * x).to_bytes();
        (e, c)
    };
    assert_eq!(keys.verify(1, &at, &start(x).0), Ok(()), "the control");

    let (wrong_secret, c) = start(wrong);
    assert_eq!(keys.verify(1, &at, &wrong_secret), Err(BadShare), "only the second equation holds");
    let mut forged = wrong_secret;
    forged.u = bytes(base * (y + c * wrong) - base * (c * x));
    assert_eq!(keys.verify(1, &at, &forged), Err(BadShare), "u");

    let mut forged = Evaluation { s: bytes(at.point * wrong), u: bytes(base * y), v: bytes(at.point * y), z: [0; 32] };
    let c = challenge(&forged);
    forged.z = (y + c * x).to_bytes();
    forged.v = bytes(at.point * (y + c * x) - at.point * (wrong * c));
    assert_eq!(keys.verify(1, &at, &forged), Err(BadShare), "v");

    let mut forged = Evaluation { v: bytes(at.point * wrong), s: bytes(at.point * x), u: bytes(base * y), z: [0; 32] };
    let c = challenge(&forged);
    forged.z = (y + c * x).to_bytes();
    forged.s = bytes((at.point * (y + c * x) - at.point * wrong) * c.invert());
    assert_eq!(keys.verify(1, &at, &forged), Err(BadShare), "s");
}

/// Frozen encodings and hashes: changing any of them breaks every stored share and running group.
#[test]
fn golden_values() {
    let (keys, shares) = dealt(4, 2, 42);
    let at = input(b"view");
    let evaluation = shares[0].evaluate(&at, &mut rng(42));
    let second = shares[1].evaluate(&at, &mut rng(42));
    let output = keys.combine(&at, &[(1, &evaluation), (2, &second)]).unwrap();
    let shown = [
        crate::hash::digest("input", &[&at.to_bytes()]),
        crate::hash::digest("evaluation", &[&evaluation.to_bytes()]),
        *key(&output).expose(),
        crate::kdf::mac(&Secret32::new([1; 32]), "label", &[b"part"]),
        crate::hash::digest(
            "sign",
            &[&crate::sign::SigningKey::from_secret(&Secret32::new([1; 32])).sign("l", &[b"p"]).to_bytes()],
        ),
        crate::set_hash::SetHash::default().digest(),
    ]
    .map(|bytes| data_encoding::HEXLOWER.encode(&bytes[..8]));
    assert_eq!(shown, GOLDEN);
}

const GOLDEN: [&str; 6] = [
    "2d28440fe0fe4fbd",
    "5de857839b734267",
    "36a3b30bfaf30315",
    "0ab9bf3e2d61170a",
    "5b47a8c93909c293",
    "f12f3a42adcf7823",
];

#[test]
fn errors_that_cancel_across_equations_or_shares_are_caught() {
    let (keys, shares) = dealt(4, 2, 9);
    let at = input(b"view");
    let mut pair = [shares[0].evaluate(&at, &mut rng(0)), shares[1].evaluate(&at, &mut rng(1))];
    // Responses off by +1 and -1: an unweighted sum of the equations would hold.
    for (evaluation, sign) in pair.iter_mut().zip([Scalar::ONE, -Scalar::ONE]) {
        let z = Scalar::from_canonical_bytes(evaluation.z).unwrap();
        evaluation.z = (z + sign).to_bytes();
    }
    assert_eq!(keys.verify_batch(&at, &[(1, &pair[0]), (2, &pair[1])]), Err(vec![1, 2]));
}

#[test]
fn a_failed_batch_names_exactly_the_bad() {
    let (keys, shares) = dealt(7, 3, 10);
    let at = input(b"view");
    let good = evaluations(&shares, &at);
    for mask in 0u32..1 << 7 {
        let mut mixed = good.clone();
        let mut expected = Vec::new();
        for (i, (index, evaluation)) in mixed.iter_mut().enumerate() {
            if mask >> i & 1 == 1 {
                expected.push(*index);
                match i % 4 {
                    0 => evaluation.z[0] ^= 1,
                    1 => *evaluation = good[(i + 1) % 7].1.clone(),
                    2 => evaluation.s = [0xff; 32],
                    _ => evaluation.z = [0xff; 32],
                }
            }
        }
        let verdict = keys.verify_batch(&at, &refs(&mixed));
        assert_eq!(verdict, if expected.is_empty() { Ok(()) } else { Err(expected.clone()) });
        let among_first: Vec<u16> = expected.into_iter().filter(|index| *index <= 3).collect();
        match keys.verify_and_combine(&at, &refs(&mixed)) {
            Ok(_) => assert!(among_first.is_empty()),
            Err(error) => assert_eq!(error, CombineError::BadShares(among_first)),
        }
    }
    assert_eq!(keys.verify_batch(&at, &[]), Ok(()));
    assert_eq!(keys.verify_batch(&at, &[(9, &good[0].1), (1, &good[0].1), (9, &good[1].1)]), Err(vec![9]));
}

#[test]
fn combine_refuses_unknown_and_repeated_indices() {
    let (keys, shares) = dealt(4, 2, 11);
    let at = input(b"view");
    let e = evaluations(&shares, &at);
    assert!(keys.combine(&at, &[(1, &e[0].1), (2, &e[1].1)]).is_some());
    assert!(keys.combine(&at, &[(1, &e[0].1), (2, &e[1].1), (2, &e[1].1)]).is_none());
    assert!(keys.combine(&at, &[(0, &e[0].1), (2, &e[1].1)]).is_none());
    assert!(keys.combine(&at, &[(5, &e[0].1), (2, &e[1].1)]).is_none());
    let garbage = Evaluation::from_bytes([0xff; EVALUATION_BYTES]);
    assert!(keys.combine(&at, &[(1, &garbage), (2, &e[1].1)]).is_none());
}

#[test]
fn a_repeated_generator_does_not_repeat_the_nonce() {
    let (_, shares) = dealt(4, 2, 12);
    let draw = |share: &SecretShare, at: &InputPoint| share.evaluate(at, &mut FixedRng(vec![0; 32]));
    let a = draw(&shares[0], &input(b"1"));
    assert_ne!(a.u, draw(&shares[0], &input(b"2")).u);
    assert_ne!(a.u, draw(&shares[1], &input(b"1")).u);
    assert_ne!(a.u, shares[0].evaluate(&input(b"1"), &mut FixedRng(vec![1; 32])).u, "and fresh randomness enters too");
}

#[test]
fn dealing_checks_its_numbers() {
    for (n, threshold) in [(0, 0), (4, 0), (4, 5), (SHARES_MAX + 1, 2)] {
        assert!(deal(KeyRole::Coin, n, threshold, &mut rng(1)).is_err(), "{n} {threshold}");
    }
    assert!(deal(KeyRole::Coin, 1, 1, &mut rng(1)).is_ok());
}

#[test]
fn public_keys_that_would_split_the_group_are_refused() {
    let (keys, shares) = dealt(7, 3, 13);
    let bytes = keys.to_bytes();
    let read = |threshold, bytes: &[[u8; 32]]| PublicKeySet::from_bytes(KeyRole::GroupKey, threshold, bytes);
    assert_eq!(read(3, &bytes).unwrap(), keys);
    assert!(read(2, &bytes).is_err(), "degree 2 is not below 2");
    assert!(read(0, &bytes).is_err() && read(8, &bytes).is_err() && read(1, &[]).is_err());
    let foreign = dealt(7, 3, 14).0.to_bytes();
    for i in 0..7 {
        let mut changed = bytes.clone();
        changed[i] = foreign[i];
        assert!(read(3, &changed).is_err(), "a foreign key at {i}");
        changed[i] = [0; 32];
        assert!(read(3, &changed).is_err(), "the identity at {i}");
        changed[i] = [0xff; 32];
        assert!(read(3, &changed).is_err(), "no point at {i}");
    }
    let mut swapped = bytes.clone();
    swapped.swap(0, 1);
    assert!(read(3, &swapped).is_err());
    for (share, key) in shares.iter().zip(&bytes) {
        assert_eq!(share.public_key(), *key);
    }
}

#[test]
fn shares_survive_storage_and_refuse_other_encodings() {
    let (keys, shares) = dealt(4, 2, 15);
    for share in &shares {
        let back = SecretShare::from_secret(share.role(), share.index(), &share.to_secret()).unwrap();
        assert!(back.belongs_to(&keys));
    }
    let moved = SecretShare::from_secret(KeyRole::GroupKey, 2, &shares[0].to_secret()).unwrap();
    assert!(!moved.belongs_to(&keys));
    let refused = |index, bytes| SecretShare::from_secret(KeyRole::GroupKey, index, &Secret32::new(bytes)).is_err();
    let one = Scalar::ONE.to_bytes();
    assert!(!refused(1, one));
    assert!(refused(0, one) && refused(SHARES_MAX + 1, one));
    assert!(refused(1, [0; 32]) && refused(1, [0xff; 32]));
}

#[test]
fn debug_shows_no_secret() {
    let (_, shares) = dealt(4, 2, 16);
    let at = input(b"view");
    let evaluation = shares[0].evaluate(&at, &mut rng(0));
    assert_eq!(format!("{:?}", shares[0]), "SecretShare(GroupKey, index 1, redacted)");
    assert_eq!(format!("{evaluation:?}"), "Evaluation(redacted)");
    assert_eq!(format!("{:?}", Output::new(KeyRole::Coin, at.point)), "Output(Coin, redacted)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_subset_in_any_order_gives_one_key(
        seed in any::<u64>(),
        (n, threshold) in (1u16..=12).prop_flat_map(|n| (Just(n), 1..=n)),
        order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
        name in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let (keys, shares) = dealt(n, threshold, seed);
        let at = input(&name);
        let all = evaluations(&shares, &at);
        let chosen: Vec<(u16, &Evaluation)> =
            order.iter().filter_map(|&i| all.get(i)).map(|(index, e)| (*index, e)).collect();
        let output = keys.verify_and_combine(&at, &chosen).unwrap();
        let first = keys.combine(&at, &refs(&all)).unwrap();
        prop_assert_eq!(key(&output), key(&first));
        prop_assert_ne!(key(&output), output.key("other label", &[b"context"]));
        prop_assert_ne!(key(&output), output.key("test", &[b"other context"]));
    }

    #[test]
    fn no_bytes_from_outside_panic_or_pass(bytes in proptest::collection::vec(any::<u8>(), EVALUATION_BYTES)) {
        let (keys, _) = dealt(4, 2, 17);
        let evaluation = Evaluation::from_bytes(bytes.try_into().unwrap());
        prop_assert_eq!(keys.verify(1, &input(b"view"), &evaluation), Err(BadShare));
    }
}
