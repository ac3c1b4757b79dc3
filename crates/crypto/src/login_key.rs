//! The keys that [`crate::oprf`] evaluates passwords with: one of its own for every user, and one for every name that is nobody's.
//!
//! A blinded password does not show whose it is. Were there one key for all, an evaluation asked for under any name would do for any
//! user's password, and limits per user would limit nothing. So each user's machine deals a key for that user alone, and an
//! evaluation under another name is of another function. The key is announced by `g_1 .. g_t`, its first `threshold` verification
//! keys: they determine the rest.
//!
//! Names that are nobody's get a [`Decoys`] key, so that an answer does not show that they are. It is `t a0`, for an `a0` that nobody
//! knows and a `t` that leaders derive from the name and a secret they share. Two keys announced under `t` and `t'` look unrelated
//! to whoever does not know that secret, if deciding Diffie-Hellman is hard: `(g_1, g_2, g_1^t, g_2^t)` is then a random tuple. A hacked
//! leader knows `t`, and still needs `threshold` shares of `a0`: what somebody evaluates under a decoy, by a misspelt name say,
//! gives it no offline guess.

use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_core::CryptoRng;

use crate::KeyError;
use crate::hash::hash_to_scalar;
use crate::oprf::OprfClient;
use crate::secret::{Secret, Secret32};
use crate::threshold::{DealError, Evaluation, KeyRole, PublicKeySet, SecretShare, deal, decompress};

/// One user's key, as long as its machine deals it. The shares are wiped when dropped.
pub struct UserKey {
    keys: PublicKeySet,
    shares: Vec<SecretShare>,
}

impl UserKey {
    /// Draws a key of which any `threshold` of `n` shares evaluate.
    ///
    /// # Errors
    /// [`DealError`] unless `1 <= threshold <= n <= SHARES_MAX`.
    pub fn deal(n: u16, threshold: u16, rng: &mut dyn CryptoRng) -> Result<Self, DealError> {
        let (keys, shares) = deal(KeyRole::Login, n, threshold, rng)?;
        Ok(Self { keys, shares })
    }

    /// What the key is announced by.
    pub fn announced(&self) -> Vec<[u8; 32]> {
        self.keys.announced()
    }

    /// The shares, in order of their index.
    pub fn shares(&self) -> &[SecretShare] {
        &self.shares
    }

    /// What a login with this password comes to. `None` for what [`OprfClient::blind`] refuses.
    pub fn evaluate(&self, password: &[u8], rng: &mut dyn CryptoRng) -> Option<Secret<64>> {
        let (client, blinded) = OprfClient::blind(password, rng)?;
        let mut evaluations: Vec<(u16, Evaluation)> = Vec::new();
        for share in self.shares.iter().take(usize::from(self.keys.threshold())) {
            evaluations.push((share.index(), share.evaluate_blinded(&blinded, rng)?));
        }
        let evaluations: Vec<(u16, &Evaluation)> = evaluations.iter().map(|(index, e)| (*index, e)).collect();
        client.finalize(&self.keys, &evaluations).ok()
    }
}

impl core::fmt::Debug for UserKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("UserKey(redacted)")
    }
}

/// One leader's means to answer for names that are nobody's.
pub struct Decoys {
    share: SecretShare,
    /// `g_1 .. g_t` of `a0`.
    announced: Vec<RistrettoPoint>,
    seed: Secret32,
}

impl Decoys {
    /// `share` and `keys` are of `a0`; `seed` is the same at all leaders.
    ///
    /// # Errors
    /// [`KeyError`] when they are no login keys, or do not belong together.
    pub fn new(share: &SecretShare, keys: &PublicKeySet, seed: Secret32) -> Result<Self, KeyError> {
        if share.role() != KeyRole::Login || !share.belongs_to(keys) {
            return Err(KeyError);
        }
        let announced = keys.announced().iter().map(decompress).collect::<Option<_>>().ok_or(KeyError)?;
        Ok(Self { share: share.clone(), announced, seed })
    }

    /// This leader's share of the key that stands in for `name`'s, and what that key is announced by. Constant time.
    pub fn of(&self, name: &[u8]) -> (SecretShare, Vec<[u8; 32]>) {
        let mut factor = hash_to_scalar("login decoy", "factor", &[self.seed.expose(), name]);
        if factor == Scalar::ZERO {
            factor = Scalar::ONE; // once in 2^252 names
        }
        // Halved, because doubling and compressing together shares one field inversion.
        let half = factor.div_by_2();
        let halves: Vec<RistrettoPoint> = self.announced.iter().map(|key| key * half).collect();
        let announced = RistrettoPoint::double_and_compress_batch(&halves).iter().map(|key| key.to_bytes()).collect();
        (self.share.scaled(&factor), announced)
    }
}

impl core::fmt::Debug for Decoys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Decoys(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    fn answer(shares: &[SecretShare], announced: &[[u8; 32]], password: &[u8], seed: u64) -> Option<Secret<64>> {
        let keys = PublicKeySet::from_announced(KeyRole::Login, 7, announced).ok()?;
        let (client, blinded) = OprfClient::blind(password, &mut rng(seed))?;
        let evaluations: Vec<(u16, Evaluation)> =
            shares.iter().map(|s| (s.index(), s.evaluate_blinded(&blinded, &mut rng(seed)).unwrap())).collect();
        let evaluations: Vec<(u16, &Evaluation)> = evaluations.iter().map(|(index, e)| (*index, e)).collect();
        client.finalize(&keys, &evaluations).ok()
    }

    #[test]
    fn what_is_announced_determines_every_verification_key() {
        for (n, threshold) in [(1, 1), (4, 2), (4, 4), (7, 3), (64, 22)] {
            let (keys, _) = deal(KeyRole::Login, n, threshold, &mut rng(u64::from(n))).unwrap();
            assert_eq!(keys.announced().len(), usize::from(threshold));
            let again = PublicKeySet::from_announced(KeyRole::Login, n, &keys.announced()).unwrap();
            assert_eq!(again, keys, "{threshold} of {n}");
        }
    }

    #[test]
    fn what_announces_no_key_is_refused() {
        let (keys, _) = deal(KeyRole::Login, 4, 2, &mut rng(1)).unwrap();
        let [first, second] = keys.announced()[..] else { panic!("two keys") };
        let refused = |n, announced: &[[u8; 32]]| PublicKeySet::from_announced(KeyRole::Login, n, announced).is_err();
        assert!(refused(4, &[]) && refused(1, &[first, second]), "too few, too many");
        assert!(refused(4, &[first, [0; 32]]) && refused(4, &[[0xff; 32], second]), "no points");
        // g_1 = 2 P and g_2 = P make g_3 the identity, with which anything could be proved.
        let point = decompress(&second).unwrap();
        let twice = (point + point).compress().to_bytes();
        assert!(refused(3, &[twice, second]) && !refused(2, &[twice, second]));
    }

    #[test]
    fn the_dealer_gets_what_any_leaders_answers_give() {
        let key = UserKey::deal(7, 3, &mut rng(1)).unwrap();
        let dealt = key.evaluate(b"correct horse", &mut rng(2)).unwrap();
        for (first, seed) in [(0, 3), (2, 4), (4, 5)] {
            let some = &key.shares()[first..first + 3];
            assert_eq!(answer(some, &key.announced(), b"correct horse", seed).as_ref(), Some(&dealt));
        }
        assert_ne!(answer(key.shares(), &key.announced(), b"correct horsf", 3), Some(dealt));
        assert!(answer(&key.shares()[..2], &key.announced(), b"correct horse", 3).is_none());
    }

    #[test]
    fn an_evaluation_under_one_key_is_nothing_under_another() {
        let [ana, bo] = [1, 2].map(|seed| UserKey::deal(7, 3, &mut rng(seed)).unwrap());
        let (client, blinded) = OprfClient::blind(b"correct horse", &mut rng(3)).unwrap();
        let by_bo: Vec<(u16, Evaluation)> =
            bo.shares().iter().map(|s| (s.index(), s.evaluate_blinded(&blinded, &mut rng(4)).unwrap())).collect();
        let by_bo: Vec<(u16, &Evaluation)> = by_bo.iter().map(|(index, e)| (*index, e)).collect();
        assert!(client.finalize(&ana.keys, &by_bo).is_err(), "no proof of bo's key holds for ana's");
        let taken = client.finalize(&bo.keys, &by_bo).unwrap();
        assert_ne!(Some(taken), ana.evaluate(b"correct horse", &mut rng(5)));
    }

    #[test]
    fn decoys_answer_like_users_each_name_under_a_key_of_its_own() {
        let (keys, shares) = deal(KeyRole::Login, 7, 3, &mut rng(1)).unwrap();
        let decoys = |seed| -> Vec<Decoys> {
            shares.iter().map(|share| Decoys::new(share, &keys, Secret32::new([seed; 32])).unwrap()).collect()
        };
        let asked = |decoys: &[Decoys], name: &[u8], seed| {
            let (shares, announced): (Vec<_>, Vec<_>) = decoys.iter().map(|d| d.of(name)).unzip();
            assert!(announced.iter().all(|a| *a == announced[0]), "leaders announce the same");
            (announced[0].clone(), answer(&shares[4..], &announced[0], b"correct horse", seed).unwrap())
        };
        let all = decoys(1);
        let first = asked(&all, b"ana", 2);
        assert_eq!(first, asked(&all, b"ana", 3), "a name has one key for ever");
        let others = [asked(&all, b"bo", 2), asked(&decoys(2), b"ana", 2)];
        for other in &others {
            assert!(other.0 != first.0 && other.1 != first.1);
        }
        assert!(first.0.iter().zip(keys.announced()).all(|(decoy, key)| *decoy != key));
    }

    #[test]
    fn decoys_need_a_login_share_of_their_key() {
        let (keys, shares) = deal(KeyRole::Login, 4, 2, &mut rng(1)).unwrap();
        let (other, _) = deal(KeyRole::Login, 4, 2, &mut rng(2)).unwrap();
        let (coins, coin_shares) = deal(KeyRole::Coin, 4, 2, &mut rng(1)).unwrap();
        let seed = || Secret32::new([1; 32]);
        assert!(Decoys::new(&shares[0], &keys, seed()).is_ok());
        assert!(Decoys::new(&shares[0], &other, seed()).is_err());
        assert!(Decoys::new(&coin_shares[0], &coins, seed()).is_err());
    }

    #[test]
    fn debug_shows_nothing() {
        let (keys, shares) = deal(KeyRole::Login, 4, 2, &mut rng(1)).unwrap();
        let decoys = Decoys::new(&shares[0], &keys, Secret32::new([1; 32])).unwrap();
        let key = UserKey::deal(4, 2, &mut rng(1)).unwrap();
        assert_eq!(format!("{decoys:?} {key:?}"), "Decoys(redacted) UserKey(redacted)");
    }
}
