//! New shares of an old key: leaders share out their shares anew, and the old ones are worth nothing beside the new.
//!
//! Source: Herzberg, Jarecki, Krawczyk, Yung 1995, "Proactive Secret Sharing", in the form of Desmedt and Jajodia 1997, and of Wong,
//! Wang and Wing 2002: each dealer `i` shares its `x_i` with a fresh polynomial `P_i`, and the new polynomial is `sum b_i P_i`, with the
//! Lagrange coefficients `b_i` of the dealers. Its constant term is `a0` again; the rest is random as soon as one dealer is honest.
//! Unlike a refresh by sharings of zero it gives a share also to whoever has none.
//!
//! Dealing and the check of one dealt share are Feldman's (the library of FROST does them); here is what comes out of many.

use curve25519_dalek::traits::VartimeMultiscalarMul;
use curve25519_dalek::{RistrettoPoint, Scalar};
use zeroize::Zeroizing;

use super::lagrange::Inverses;
use super::{KeyRole, PublicKeySet, SecretShare, decompress};
use crate::KeyError;
use crate::secret::Secret32;

/// The new share of the leader `index`, from what each dealer of `1 ..= n` dealt to it.
///
/// # Errors
/// [`KeyError`] for dealers out of range or named twice, for bytes that are no scalar, and where the share comes out as zero.
///
/// # Security
/// That each dealt share fits its dealer's commitments, and that there are as many dealers as the key takes shares, is for the caller to see to.
pub fn reshared(role: KeyRole, index: u16, n: u16, dealt: &[(u16, Secret32)]) -> Result<SecretShare, KeyError> {
    let dealers: Vec<u16> = dealt.iter().map(|(dealer, _)| *dealer).collect();
    let coefficients = Inverses::up_to(n).coefficients(&dealers).ok_or(KeyError)?;
    let mut sum = Zeroizing::new(Scalar::ZERO);
    for ((_, bytes), coefficient) in dealt.iter().zip(&coefficients) {
        let share: Option<Scalar> = Scalar::from_canonical_bytes(*bytes.expose()).into();
        let share = Zeroizing::new(share.ok_or(KeyError)?);
        *sum += *share * coefficient;
    }
    if *sum == Scalar::ZERO {
        return Err(KeyError);
    }
    Ok(SecretShare::new(role, index, *sum))
}

/// The verification keys that come out, from what each dealer committed to: `g^(a_k)` of its polynomial, from the constant term on.
///
/// # Errors
/// [`KeyError`] unless as many different dealers as the key takes shares, or more, committed to polynomials of its degree whose constant
/// terms are their shares of `old`.
pub fn reshared_keys(old: &PublicKeySet, dealt: &[(u16, Vec<[u8; 32]>)]) -> Result<PublicKeySet, KeyError> {
    let threshold = usize::from(old.threshold());
    let belongs = |(dealer, commitments): &(u16, Vec<[u8; 32]>)| {
        commitments.len() == threshold && old.key(*dealer).is_some() && commitments.first().copied() == old.key(*dealer)
    };
    if dealt.len() < threshold || !dealt.iter().all(belongs) {
        return Err(KeyError);
    }
    let dealers: Vec<u16> = dealt.iter().map(|(dealer, _)| *dealer).collect();
    let coefficients = old.inverses().coefficients(&dealers).ok_or(KeyError)?;
    let mut polynomial = Vec::with_capacity(threshold);
    for degree in 0..threshold {
        let terms = dealt.iter().map(|(_, commitments)| commitments.get(degree).and_then(decompress));
        let terms: Vec<RistrettoPoint> = terms.collect::<Option<_>>().ok_or(KeyError)?;
        polynomial.push(RistrettoPoint::vartime_multiscalar_mul(&coefficients, terms));
    }
    let key = |index: u16| {
        let x = Scalar::from(index);
        let value = polynomial.iter().rev().fold(RistrettoPoint::default(), |sum, term| sum * x + term);
        value.compress().to_bytes()
    };
    let keys: Vec<[u8; 32]> = (1..=old.n()).map(key).collect();
    PublicKeySet::from_bytes(old.role(), old.threshold(), &keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;
    use crate::threshold::{Evaluation, InputPoint, deal};

    struct Dealer {
        commitments: Vec<[u8; 32]>,
        shares: Vec<Secret32>,
    }

    /// Feldman's sharing of a share, as a dealer makes it.
    fn share_out(share: &SecretShare, n: u16, threshold: u16, seed: u64) -> Dealer {
        let mut rng = rng(seed);
        let mut polynomial: Vec<Scalar> = vec![Scalar::from_canonical_bytes(*share.to_secret().expose()).unwrap()];
        polynomial.extend((1..threshold).map(|_| Scalar::random(&mut rng)));
        let at = |index: u16| polynomial.iter().rev().fold(Scalar::ZERO, |sum, a| sum * Scalar::from(index) + a);
        Dealer {
            commitments: polynomial.iter().map(|a| RistrettoPoint::mul_base(a).compress().to_bytes()).collect(),
            shares: (1..=n).map(|index| Secret32::new(at(index).to_bytes())).collect(),
        }
    }

    fn output(keys: &PublicKeySet, shares: &[&SecretShare]) -> Option<[u8; 32]> {
        let point = InputPoint::hash(keys.role(), &[b"a view"]);
        let evaluations: Vec<(u16, Evaluation)> =
            shares.iter().map(|share| (share.index(), share.evaluate(&point, &mut rng(9)))).collect();
        let evaluations: Vec<(u16, &Evaluation)> = evaluations.iter().map(|(index, e)| (*index, e)).collect();
        keys.combine(&point, &evaluations).map(|output| *output.key("test", &[]).expose())
    }

    #[test]
    fn the_key_stays_and_old_shares_are_worth_nothing_beside_new_ones() {
        for (n, threshold, dealers) in [(4u16, 2u16, vec![1, 3]), (4, 2, vec![1, 3, 4]), (7, 3, vec![2, 3, 5, 7])] {
            let (keys, old) = deal(KeyRole::GroupKey, n, threshold, &mut rng(1)).unwrap();
            let dealt: Vec<(u16, Dealer)> = dealers
                .iter()
                .map(|dealer| {
                    let share = &old[usize::from(*dealer) - 1];
                    (*dealer, share_out(share, n, threshold, 10 + u64::from(*dealer)))
                })
                .collect();
            let committed: Vec<_> = dealt.iter().map(|(dealer, d)| (*dealer, d.commitments.clone())).collect();
            let new_keys = reshared_keys(&keys, &committed).unwrap();
            let new: Vec<SecretShare> = (1..=n)
                .map(|index| {
                    let got: Vec<_> =
                        dealt.iter().map(|(i, d)| (*i, d.shares[usize::from(index) - 1].clone())).collect();
                    reshared(KeyRole::GroupKey, index, n, &got).unwrap()
                })
                .collect();
            assert!(new.iter().all(|share| share.belongs_to(&new_keys)), "also whoever dealt nothing");
            let t = usize::from(threshold);
            let truth = output(&keys, &old.iter().take(t).collect::<Vec<_>>());
            assert_eq!(output(&new_keys, &new.iter().rev().take(t).collect::<Vec<_>>()), truth);
            // One old share and all but one of the new ones that are needed; f of either kind.
            for of_old in 1..t {
                let mixed: Vec<&SecretShare> = old.iter().take(of_old).chain(new.iter().skip(of_old)).take(t).collect();
                for set in [&keys, &new_keys] {
                    assert_ne!(output(set, &mixed), truth, "{of_old} old shares of {t}");
                }
            }
        }
    }

    #[test]
    fn commitments_that_do_not_share_out_the_dealers_own_share_are_refused() {
        let (keys, old) = deal(KeyRole::Coin, 4, 2, &mut rng(1)).unwrap();
        let good = |dealer: u16| {
            let dealt = share_out(&old[usize::from(dealer) - 1], 4, 2, u64::from(dealer));
            (dealer, dealt.commitments)
        };
        assert!(reshared_keys(&keys, &[good(1), good(4)]).is_ok());
        assert!(reshared_keys(&keys, &[good(1)]).is_err(), "too few dealers");
        assert!(reshared_keys(&keys, &[good(1), good(1)]).is_err(), "one dealer twice");
        assert!(reshared_keys(&keys, &[good(1), (2, good(3).1)]).is_err(), "another's share");
        assert!(reshared_keys(&keys, &[good(1), (5, good(4).1)]).is_err(), "no such dealer");
        let mut short = good(4);
        short.1.pop();
        assert!(reshared_keys(&keys, &[good(1), short]).is_err(), "of lower degree");
        let mut long = good(4);
        long.1.push(long.1[0]);
        assert!(reshared_keys(&keys, &[good(1), long]).is_err(), "of higher degree");
        let share = |bytes| vec![(1, Secret32::new(bytes)), (2, Secret32::new([1; 32]))];
        assert!(reshared(KeyRole::Coin, 3, 4, &share([0xff; 32])).is_err(), "no scalar");
    }
}
