//! The keys that [`crate::oprf`] evaluates passwords with: one of its own for every user.
//!
//! A blinded password does not show whose it is. Were there one key for all, an evaluation asked for under any name would do for any
//! user's password, and limits per user would limit nothing. So each user's machine deals a key for that user alone, and an
//! evaluation under another name is of another function. The key is announced by `g_1 .. g_t`, its first `threshold` verification
//! keys: they determine the rest.

use rand_core::CryptoRng;

use crate::oprf::OprfClient;
use crate::secret::Secret;
use crate::threshold::{DealError, Evaluation, KeyRole, PublicKeySet, SecretShare, deal};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;
    use crate::threshold::decompress;

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
    fn debug_shows_nothing() {
        let key = UserKey::deal(4, 2, &mut rng(1)).unwrap();
        assert_eq!(format!("{key:?}"), "UserKey(redacted)");
    }
}
