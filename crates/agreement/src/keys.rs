//! Signatures and the common coin, behind one interface.
//!
//! One rule decides whether a signature is good: that of [`ringfort_crypto::sign`], strict Ed25519 without the cofactor,
//! each signature by its own equation. [`Keys::verify`] takes many claims so that a driver may spread them over threads;
//! it never adds equations up. A summed equation and single ones can disagree about keys or signatures with a component
//! of small order, and here a disagreement would split the group: one leader takes a block that another must refuse.

use rand_core::CryptoRng;
use ringfort_crypto::sign::{Signature, SigningKey, VerifyingKey};
use ringfort_crypto::threshold::{CombineError, Evaluation, InputPoint, KeyRole, PublicKeySet, SecretShare};

use crate::ids::{Author, Digest};

/// A share of the coin with its proof, as it travels.
pub type CoinShare = [u8; 128];

/// What is signed; a signature for one purpose is none for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The name of a block.
    Block,
    /// A statement on a checkpoint.
    Checkpoint,
}

impl Purpose {
    const fn label(self) -> &'static str {
        match self {
            Purpose::Block => "agreement block",
            Purpose::Checkpoint => "agreement checkpoint",
        }
    }
}

/// That an author signed a message.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Who is said to have signed.
    pub author: Author,
    /// For what.
    pub purpose: Purpose,
    /// What was signed.
    pub message: Vec<u8>,
    /// The signature.
    pub signature: [u8; 64],
}

/// What came of combining shares of a coin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toss {
    /// The coin's value: the same whichever shares it was made of.
    Value(u64),
    /// More shares are needed.
    TooFew,
    /// The shares of these authors are wrong.
    Bad(Vec<Author>),
}

/// One leader's secret keys and everybody's public ones.
pub trait Keys: Send + Sync {
    /// Signs as this leader.
    fn sign(&self, purpose: Purpose, message: &[u8]) -> [u8; 64];

    /// Whether each claim holds. The verdict on a claim does not depend on the others.
    fn verify(&self, claims: &[Claim]) -> Vec<bool>;

    /// This leader's share of the coin of `round`.
    fn coin_share(&self, round: u64, rng: &mut dyn CryptoRng) -> CoinShare;

    /// Combines shares of different authors, checking the proof of each if `checked`.
    fn toss(&self, round: u64, shares: &[(Author, CoinShare)], checked: bool) -> Toss;
}

/// The keys that setup makes: Ed25519 for each leader, and a threshold key for the coin.
pub struct LeaderKeys {
    epoch: Digest,
    signing: SigningKey,
    verifying: Vec<VerifyingKey>,
    coin: PublicKeySet,
    share: SecretShare,
}

impl LeaderKeys {
    /// Keys for one epoch. `verifying` is by place.
    pub fn new(
        epoch: Digest,
        signing: SigningKey,
        verifying: Vec<VerifyingKey>,
        coin: PublicKeySet,
        share: SecretShare,
    ) -> Self {
        LeaderKeys { epoch, signing, verifying, coin, share }
    }

    /// Where the coin of a round is evaluated: at a point that no other use of the key meets.
    fn input(&self, round: u64) -> InputPoint {
        InputPoint::hash(KeyRole::Coin, &[b"order", &self.epoch.0, &round.to_be_bytes()])
    }
}

impl Keys for LeaderKeys {
    fn sign(&self, purpose: Purpose, message: &[u8]) -> [u8; 64] {
        self.signing.sign(purpose.label(), &[message]).to_bytes()
    }

    fn verify(&self, claims: &[Claim]) -> Vec<bool> {
        let holds = |claim: &Claim| {
            let signature = Signature::from_bytes(claim.signature);
            let key = self.verifying.get(claim.author.index());
            key.is_some_and(|key| key.verify(claim.purpose.label(), &[&claim.message], &signature).is_ok())
        };
        claims.iter().map(holds).collect()
    }

    fn coin_share(&self, round: u64, rng: &mut dyn CryptoRng) -> CoinShare {
        self.share.evaluate(&self.input(round), rng).to_bytes()
    }

    fn toss(&self, round: u64, shares: &[(Author, CoinShare)], checked: bool) -> Toss {
        let evaluations: Vec<(u16, Evaluation)> =
            shares.iter().map(|(author, share)| (author.share_index(), Evaluation::from_bytes(*share))).collect();
        let borrowed: Vec<(u16, &Evaluation)> = evaluations.iter().map(|(index, e)| (*index, e)).collect();
        let input = self.input(round);
        let output = if checked {
            match self.coin.verify_and_combine(&input, &borrowed) {
                Ok(output) => output,
                Err(CombineError::TooFew { .. }) => return Toss::TooFew,
                Err(CombineError::BadShares(bad)) => return Toss::Bad(authors(&bad)),
            }
        } else {
            match self.coin.combine(&input, &borrowed) {
                Some(output) => output,
                None => return Toss::TooFew,
            }
        };
        let key = output.key("agreement coin", &[]);
        let value = key.expose().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Toss::Value(value)
    }
}

fn authors(indices: &[u16]) -> Vec<Author> {
    let author = |index: &u16| Author::new(u8::try_from(index.checked_sub(1)?).ok()?);
    indices.iter().filter_map(author).collect()
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha12Rng;
    use rand_core::SeedableRng;
    use ringfort_crypto::threshold::deal;

    use super::*;

    fn group(n: u16, threshold: u16) -> Vec<LeaderKeys> {
        let mut rng = ChaCha12Rng::seed_from_u64(7);
        let (coin, shares) = deal(KeyRole::Coin, n, threshold, &mut rng).unwrap();
        let signing: Vec<SigningKey> = (0..n).map(|_| SigningKey::generate(&mut rng)).collect();
        let verifying: Vec<VerifyingKey> = signing.iter().map(SigningKey::verifying_key).collect();
        let make = |(signing, share)| LeaderKeys::new(Digest([3; 32]), signing, verifying.clone(), coin.clone(), share);
        signing.into_iter().zip(shares).map(make).collect()
    }

    #[test]
    fn any_enough_shares_toss_the_same_coin_and_a_bad_one_is_named() {
        let keys = group(4, 2);
        let mut rng = ChaCha12Rng::seed_from_u64(8);
        let shares: Vec<(Author, CoinShare)> =
            Author::all(4).zip(&keys).map(|(author, keys)| (author, keys.coin_share(9, &mut rng))).collect();
        let value = keys[0].toss(9, &shares[..2], true);
        assert!(matches!(value, Toss::Value(_)));
        assert_eq!(keys[3].toss(9, &shares[2..], true), value);
        assert_eq!(keys[3].toss(9, &shares[..1], true), Toss::TooFew);
        let mut bad = shares.clone();
        bad[1].1[5] ^= 1;
        assert_eq!(keys[3].toss(9, &bad, true), Toss::Bad(vec![Author::new(1).unwrap()]));
        assert_ne!(keys[3].toss(10, &shares, true), value, "a share for one round is none for another");
    }

    #[test]
    fn many_claims_are_judged_as_each_alone() {
        let keys = group(4, 2);
        let claim = |place: u8, flip: bool| {
            let mut signature = keys[usize::from(place)].sign(Purpose::Block, b"m");
            signature[40] ^= u8::from(flip);
            Claim { author: Author::new(place).unwrap(), purpose: Purpose::Block, message: b"m".to_vec(), signature }
        };
        let mut claims = vec![claim(0, false), claim(1, true), claim(2, false)];
        claims.push(Claim { purpose: Purpose::Checkpoint, ..claim(3, false) });
        assert_eq!(keys[0].verify(&claims), [true, false, true, false]);
        for claim in &claims {
            let alone = keys[0].verify(std::slice::from_ref(claim));
            assert_eq!(alone, keys[0].verify(&[claim.clone(), claims[1].clone()])[..1]);
        }
    }

    #[test]
    fn signatures_with_a_part_of_small_order_are_refused_alone_and_among_others() {
        // R is the point of order two. Whoever multiplies by the cofactor cannot tell it from the identity; the strict rule
        // refuses it whatever the equation says, alone and among others.
        let keys = group(4, 2);
        let mut order_two = [0xff; 32];
        order_two[0] = 0xec;
        order_two[31] = 0x7f;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&order_two);
        let torsion =
            Claim { author: Author::new(0).unwrap(), purpose: Purpose::Block, message: b"m".to_vec(), signature };
        let good = Claim { signature: keys[0].sign(Purpose::Block, b"m"), ..torsion.clone() };
        let claims = [torsion.clone(), good.clone(), torsion, good];
        assert_eq!(keys[1].verify(&claims), [false, true, false, true]);
    }
}
