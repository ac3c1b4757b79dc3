//! Login hardening: a threshold oblivious function of the password (2HashTDH).
//!
//! The client blinds its password to a point, at least `threshold` leaders apply their shares of the login key, and the
//! client removes the blind. The leaders learn nothing of the password; the result equals `OPRF(a0, password)` of
//! RFC 9497 in mode 0x00 with suite ristretto255-SHA512, whichever leaders answered.
//!
//! Source: Jarecki, Kiayias, Krawczyk, Xu 2017 (TOPPSS) over RFC 9497. Deviation: each answer carries a proof, so that a lying
//! leader is named instead of the login failing for an unknown reason. Assumes the threshold one-more Diffie-Hellman
//! problem is hard. Anyone who can ask `threshold` leaders can guess online: they must limit the rate per user, which
//! limits something only if every user has a key of its own ([`crate::login_key`]).

use core::fmt;

use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_core::CryptoRng;
use sha2::{Digest, Sha512};
use zeroize::{Zeroize, Zeroizing};

use crate::hash::hash_to_group;
use crate::secret::Secret;
use crate::threshold::{CombineError, Evaluation, InputPoint, KeyRole, PublicKeySet, SecretShare};
use curve25519_dalek::traits::IsIdentity;

/// RFC 9497 §4.1: "HashToGroup-" and the context string of mode 0x00.
const HASH_TO_GROUP_DST: &[u8] = b"HashToGroup-OPRFV1-\x00-ristretto255-SHA512";

/// Why a login's answers do not give its secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OprfError {
    /// The keys given are not the login keys.
    #[error("not a login key")]
    WrongRole,
    /// Too few answers, or bad ones, named by index.
    #[error(transparent)]
    Shares(#[from] CombineError),
}

/// The blinded password on the wire; unchecked until a leader evaluates it. Reveals nothing of the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlindedElement(pub [u8; 32]);

/// The client's state between asking and answering: password and blind, both wiped when dropped.
#[derive(Clone)]
pub struct OprfClient {
    password: Zeroizing<Vec<u8>>,
    blind: Scalar,
    input: InputPoint,
}

impl OprfClient {
    /// Blinds a password. Source: RFC 9497 §3.3.1 `Blind`.
    ///
    /// `None` when the password is longer than 65,535 bytes, or (once in 2^252) hashes to the identity.
    pub fn blind(password: &[u8], rng: &mut dyn CryptoRng) -> Option<(OprfClient, BlindedElement)> {
        let mut blind = Scalar::random(rng);
        while blind == Scalar::ZERO {
            blind = Scalar::random(rng);
        }
        Self::blind_with(password, blind)
    }

    fn blind_with(password: &[u8], blind: Scalar) -> Option<(OprfClient, BlindedElement)> {
        u16::try_from(password.len()).ok()?;
        let mut element: RistrettoPoint = hash_to_group(HASH_TO_GROUP_DST, password);
        if element.is_identity() {
            return None;
        }
        let blinded = (element * blind).compress().to_bytes();
        element.zeroize();
        let input = InputPoint::from_blinded(&blinded)?;
        let client = Self { password: Zeroizing::new(password.to_vec()), blind, input };
        Some((client, BlindedElement(blinded)))
    }

    /// Checks the answers together, combines `threshold` of them and removes the blind.
    ///
    /// Source: RFC 9497 §3.3.1 `Finalize`. The secret is the same whichever leaders answered.
    ///
    /// # Errors
    /// [`OprfError`]; bad answers are named by index: drop them and call again.
    pub fn finalize(&self, keys: &PublicKeySet, evaluations: &[(u16, &Evaluation)]) -> Result<Secret<64>, OprfError> {
        if keys.role() != KeyRole::Login {
            return Err(OprfError::WrongRole);
        }
        let combined = keys.verify_and_combine(&self.input, evaluations)?;
        let unblind = Zeroizing::new(self.blind.invert());
        let unblinded = Zeroizing::new((combined.point() * *unblind).compress().to_bytes());
        let length = u16::try_from(self.password.len()).expect("blind refused longer passwords");
        let mut output = Secret::new([0; 64]);
        let hasher = Sha512::new()
            .chain_update(length.to_be_bytes())
            .chain_update(self.password.as_slice())
            .chain_update(32u16.to_be_bytes())
            .chain_update(unblinded.as_slice())
            .chain_update(b"Finalize");
        hasher.finalize_into(output.expose_mut().into());
        Ok(output)
    }
}

impl Drop for OprfClient {
    fn drop(&mut self) {
        self.blind.zeroize();
    }
}

impl fmt::Debug for OprfClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OprfClient(redacted)")
    }
}

impl SecretShare {
    /// A leader's answer to a blinded password, with its proof. Source: RFC 9497 §3.3.1 `BlindEvaluate`.
    ///
    /// `None` when this is not a login share, or the element is not the canonical encoding of a point other than the
    /// identity.
    pub fn evaluate_blinded(&self, element: &BlindedElement, rng: &mut dyn CryptoRng) -> Option<Evaluation> {
        if self.role() != KeyRole::Login {
            return None;
        }
        Some(self.evaluate(&InputPoint::from_blinded(&element.0)?, rng))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hex, hex_array, rng};
    use crate::threshold::{deal, deal_from_secret_for_testing_only};
    use curve25519_dalek::ristretto::CompressedRistretto;

    /// RFC 9497 appendix A.1.1: ristretto255-SHA512, mode OPRF.
    const SK_SM: &str = "5ebcea5ee37023ccb9fc2d2019f9d7737be85591ae8652ffa9ef0f4d37063b0e";
    const BLIND: &str = "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706";
    /// Input, BlindedElement, EvaluationElement, Output.
    const VECTORS: [[&str; 4]; 2] = [
        [
            "00",
            "609a0ae68c15a3cf6903766461307e5c8bb2f95e7e6550e1ffa2dc99e412803c",
            "7ec6578ae5120958eb2db1745758ff379e77cb64fe77b0b2d8cc917ea0869c7e",
            "527759c3d9366f277d8c6020418d96bb393ba2afb20ff90df23fb7708264e2f3\
             ab9135e3bd69955851de4b1f9fe8a0973396719b7912ba9ee8aa7d0b5e24bcf6",
        ],
        [
            "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
            "da27ef466870f5f15296299850aa088629945a17d1f5b7f5ff043f76b3c06418",
            "b4cbf5a4f1eeda5a63ce7b77c7d23f461db3fcab0dd28e4e17cecb5c90d02c25",
            "f4a74c9c592497375e796aa837e907b1a045d34306a749db9f34221f7e750cb4\
             f2a6413a6bf6fa5e19ba6348eb673934a722a7ede2e7621306d18951e7cf2c73",
        ],
    ];

    #[test]
    fn rfc9497_a11_through_every_pair_of_four_leaders() {
        let secret = Scalar::from_canonical_bytes(hex_array(SK_SM)).unwrap();
        let (keys, shares) = deal_from_secret_for_testing_only(KeyRole::Login, 4, 2, &secret, &mut rng(1)).unwrap();
        for [password, blinded, evaluated, output] in VECTORS {
            let blind = Scalar::from_canonical_bytes(hex_array(BLIND)).unwrap();
            let (client, element) = OprfClient::blind_with(&hex(password), blind).unwrap();
            assert_eq!(element.0, hex_array(blinded));
            let expected = CompressedRistretto(hex_array(evaluated)).decompress().unwrap();
            let answers: Vec<Evaluation> =
                shares.iter().map(|share| share.evaluate_blinded(&element, &mut rng(2)).unwrap()).collect();
            for (i, j) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (3, 2)] {
                let pair = [(shares[i].index(), &answers[i]), (shares[j].index(), &answers[j])];
                assert_eq!(*keys.combine(&client.input, &pair).unwrap().point(), expected);
                assert_eq!(client.finalize(&keys, &pair).unwrap(), Secret::new(hex_array(output)));
            }
        }
    }

    #[test]
    fn the_result_depends_on_the_password_and_not_on_the_blind() {
        let (keys, shares) = deal(KeyRole::Login, 4, 2, &mut rng(3)).unwrap();
        let login = |password: &[u8], seed| {
            let (client, element) = OprfClient::blind(password, &mut rng(seed)).unwrap();
            let answers: Vec<(u16, Evaluation)> = shares
                .iter()
                .map(|share| (share.index(), share.evaluate_blinded(&element, &mut rng(seed)).unwrap()))
                .collect();
            let refs: Vec<(u16, &Evaluation)> = answers.iter().map(|(index, e)| (*index, e)).collect();
            (element, client.finalize(&keys, &refs).unwrap())
        };
        let (first, second) = (login(b"correct horse", 1), login(b"correct horse", 2));
        assert_ne!(first.0, second.0);
        assert_eq!(first.1, second.1);
        assert_ne!(first.1, login(b"correct horsf", 1).1);
    }

    #[test]
    fn lying_leaders_are_named() {
        let (keys, shares) = deal(KeyRole::Login, 4, 2, &mut rng(4)).unwrap();
        let (client, element) = OprfClient::blind(b"password", &mut rng(5)).unwrap();
        let (_, other) = OprfClient::blind(b"password", &mut rng(6)).unwrap();
        let good = shares[0].evaluate_blinded(&element, &mut rng(7)).unwrap();
        let stale = shares[2].evaluate_blinded(&other, &mut rng(7)).unwrap();
        assert_eq!(
            client.finalize(&keys, &[(1, &good), (3, &stale)]),
            Err(OprfError::Shares(CombineError::BadShares(vec![3])))
        );
        assert_eq!(
            client.finalize(&keys, &[(1, &good)]),
            Err(OprfError::Shares(CombineError::TooFew { have: 1, need: 2 }))
        );
        let group_keys = PublicKeySet::from_bytes(KeyRole::GroupKey, 2, &keys.to_bytes()).unwrap();
        assert_eq!(client.finalize(&group_keys, &[(1, &good)]), Err(OprfError::WrongRole));
    }

    #[test]
    fn only_login_shares_answer_and_only_to_points() {
        let (_, login) = deal(KeyRole::Login, 4, 2, &mut rng(8)).unwrap();
        let (_, element) = OprfClient::blind(b"password", &mut rng(9)).unwrap();
        assert!(login[0].evaluate_blinded(&element, &mut rng(1)).is_some());
        for role in [KeyRole::GroupKey, KeyRole::Coin] {
            let (_, shares) = deal(role, 4, 2, &mut rng(8)).unwrap();
            assert!(shares[0].evaluate_blinded(&element, &mut rng(1)).is_none(), "{role:?}");
        }
        for bad in [[0; 32], [0xff; 32], {
            let mut b = [0; 32];
            b[0] = 1;
            b
        }] {
            assert!(login[0].evaluate_blinded(&BlindedElement(bad), &mut rng(1)).is_none());
        }
        assert!(OprfClient::blind(&vec![0; 65_536], &mut rng(1)).is_none());
        assert!(OprfClient::blind(&vec![0; 65_535], &mut rng(1)).is_some());
    }

    #[test]
    fn debug_shows_nothing() {
        let (client, _) = OprfClient::blind(b"hunter2", &mut rng(1)).unwrap();
        assert_eq!(format!("{client:?}"), "OprfClient(redacted)");
    }
}
