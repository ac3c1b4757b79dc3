//! The dealer: one polynomial, `n` shares. Run offline, once per role, then forgotten.

use curve25519_dalek::Scalar;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{KeyRole, PublicKeySet, SHARES_MAX, SecretShare};

/// The numbers asked for make no threshold key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot deal {n} shares with threshold {threshold}")]
pub struct DealError {
    n: u16,
    threshold: u16,
}

/// Draws a fresh key and shares it among `n`, so that any `threshold` can use it and fewer cannot.
///
/// Source: Dutertre 2002 §3.3; `F` has degree `threshold - 1`, `x_i = F(i)`, `g_i = g^x_i`. Shares come in order of their index.
///
/// # Errors
/// [`DealError`] unless `1 <= threshold <= n <= SHARES_MAX`.
///
/// # Security
/// Whoever runs this knows the key until it returns. Call it once per role with independent randomness.
pub fn deal(
    role: KeyRole,
    n: u16,
    threshold: u16,
    rng: &mut dyn CryptoRng,
) -> Result<(PublicKeySet, Vec<SecretShare>), DealError> {
    let secret = Zeroizing::new(nonzero(rng));
    deal_secret(role, n, threshold, &secret, rng)
}

/// Deals a chosen `a0`, for published vectors.
#[cfg(test)]
pub(crate) fn deal_from_secret_for_testing_only(
    role: KeyRole,
    n: u16,
    threshold: u16,
    secret: &Scalar,
    rng: &mut dyn CryptoRng,
) -> Result<(PublicKeySet, Vec<SecretShare>), DealError> {
    deal_secret(role, n, threshold, secret, rng)
}

fn deal_secret(
    role: KeyRole,
    n: u16,
    threshold: u16,
    secret: &Scalar,
    rng: &mut dyn CryptoRng,
) -> Result<(PublicKeySet, Vec<SecretShare>), DealError> {
    let refused = DealError { n, threshold };
    if threshold == 0 || threshold > n || n > SHARES_MAX {
        return Err(refused);
    }
    let higher: Zeroizing<Vec<Scalar>> = Zeroizing::new((1..threshold).map(|_| nonzero(rng)).collect());
    let shares: Vec<SecretShare> = (1..=n)
        .map(|index| {
            let x = Scalar::from(index);
            let above = higher.iter().rev().fold(Scalar::ZERO, |sum, a| (sum + a) * x);
            SecretShare::new(role, index, above + secret)
        })
        .collect();
    // A share of zero, once in 2^252 dealings, is refused here too: its public key would be the identity.
    let keys = PublicKeySet::from_bytes(role, threshold, &public_keys(&shares)).map_err(|_| refused)?;
    Ok((keys, shares))
}

fn public_keys(shares: &[SecretShare]) -> Vec<[u8; 32]> {
    shares.iter().map(SecretShare::public_key).collect()
}

fn nonzero(rng: &mut dyn CryptoRng) -> Scalar {
    loop {
        let scalar = Scalar::random(rng);
        if scalar != Scalar::ZERO {
            return scalar;
        }
    }
}
