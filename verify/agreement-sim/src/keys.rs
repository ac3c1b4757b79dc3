//! Keys for many runs: signatures and coins of the same shape that cost a hash, so that thousands of seeds fit a test.
//! Some seeds run with the real keys.

use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use rand_core::{CryptoRng, SeedableRng};
use ringfort_agreement::keys::{Claim, CoinShare, Keys, LeaderKeys, Purpose, Toss};
use ringfort_agreement::{Author, Digest};
use ringfort_crypto::sign::{SigningKey, VerifyingKey};
use ringfort_crypto::threshold::{KeyRole, deal};

/// Stand-ins for one leader. Whoever has them could sign as anybody; hacked leaders here only sign as themselves.
#[derive(Clone, Debug)]
pub struct SimKeys {
    me: Author,
    n: u8,
    threshold: usize,
    seed: u64,
}

fn wide(purpose: &'static str, parts: &[&[u8]]) -> [u8; 128] {
    let mut out = [0; 128];
    for (counter, chunk) in (0u8..).zip(out.chunks_mut(32)) {
        let mut bytes = vec![counter];
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        chunk.copy_from_slice(&Digest::of(purpose, &bytes).0);
    }
    out
}

impl SimKeys {
    fn signature(&self, author: Author, purpose: Purpose, message: &[u8]) -> [u8; 64] {
        let purpose = [purpose as u8, author.index() as u8];
        let bytes = wide("simulated signature", &[&self.seed.to_le_bytes(), &purpose, message]);
        *bytes.first_chunk().expect("128 bytes hold 64")
    }

    fn share(&self, author: Author, round: u64) -> CoinShare {
        wide("simulated share", &[&self.seed.to_le_bytes(), &[author.index() as u8], &round.to_le_bytes()])
    }
}

impl Keys for SimKeys {
    fn sign(&self, purpose: Purpose, message: &[u8]) -> [u8; 64] {
        self.signature(self.me, purpose, message)
    }

    fn verify(&self, claims: &[Claim]) -> Vec<bool> {
        let holds = |claim: &Claim| claim.signature == self.signature(claim.author, claim.purpose, &claim.message);
        claims.iter().map(holds).collect()
    }

    fn coin_share(&self, round: u64, _rng: &mut dyn CryptoRng) -> CoinShare {
        self.share(self.me, round)
    }

    fn toss(&self, round: u64, shares: &[(Author, CoinShare)], checked: bool) -> Toss {
        let used: Vec<&(Author, CoinShare)> = shares.iter().take(self.threshold).collect();
        if used.len() < self.threshold {
            return Toss::TooFew;
        }
        let wrong: Vec<Author> = used
            .iter()
            .filter(|(author, share)| *share != self.share(*author, round))
            .map(|(author, _)| *author)
            .collect();
        if checked && !wrong.is_empty() {
            return Toss::Bad(wrong);
        }
        let mut coin = wide("simulated coin", &[&self.seed.to_le_bytes(), &round.to_le_bytes()]);
        if !wrong.is_empty() {
            // Interpolation through a wrong point gives another value, which depends on the points used.
            let all: Vec<u8> = used.iter().flat_map(|(_, share)| share.iter().copied()).collect();
            coin = wide("simulated wrong coin", &[&all]);
        }
        Toss::Value(coin.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }
}

/// What the coin of a round will name: for a scheduler that has seen enough shares.
pub fn coin(seed: u64, n: u8, round: u64) -> Author {
    let bytes = wide("simulated coin", &[&seed.to_le_bytes(), &round.to_le_bytes()]);
    Author::drawn(bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes)), n)
}

/// Stand-in keys of a whole group.
pub fn simulated(seed: u64, n: u8, f: u8) -> Vec<Arc<dyn Keys>> {
    let keys = |me| Arc::new(SimKeys { me, n, threshold: usize::from(f) + 1, seed }) as Arc<dyn Keys>;
    Author::all(n).map(keys).collect()
}

/// Stand-in keys of a group whose coins are never known: no number of shares is enough.
pub fn without_coins(seed: u64, n: u8) -> Vec<Arc<dyn Keys>> {
    let keys = |me| Arc::new(SimKeys { me, n, threshold: usize::MAX, seed }) as Arc<dyn Keys>;
    Author::all(n).map(keys).collect()
}

/// Real keys of a whole group.
pub fn real(seed: u64, epoch: Digest, n: u8, f: u8) -> Vec<Arc<dyn Keys>> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let (coin, shares) =
        deal(KeyRole::Coin, u16::from(n), u16::from(f) + 1, &mut rng).expect("f + 1 is a threshold of n");
    let signing: Vec<SigningKey> = (0..n).map(|_| SigningKey::generate(&mut rng)).collect();
    let verifying: Vec<VerifyingKey> = signing.iter().map(SigningKey::verifying_key).collect();
    let make =
        |(key, share)| Arc::new(LeaderKeys::new(epoch, key, verifying.clone(), coin.clone(), share)) as Arc<dyn Keys>;
    signing.into_iter().zip(shares).map(make).collect()
}

impl SimKeys {
    /// Leaders of the group.
    pub fn n(&self) -> u8 {
        self.n
    }
}
