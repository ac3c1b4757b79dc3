//! Fixed-size secrets that wipe themselves and do not print.

use core::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` secret bytes, wiped when dropped, compared in constant time, redacted in `Debug`.
///
/// Security: moving a value may leave a copy of its old place on the stack; what is promised is that
/// the final owner wipes it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

/// A 256-bit key.
pub type Secret32 = Secret<32>;

impl<const N: usize> Secret<N> {
    /// Takes ownership of the bytes. The caller wipes any other copy.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// Draws fresh bytes.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        let mut secret = Self([0; N]);
        rng.fill_bytes(&mut secret.0);
        secret
    }

    /// The bytes. The name makes each use easy to find in a review.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes, to be filled in place by this crate.
    pub(crate) fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_depend_on_the_bytes() {
        let shown = format!("{:?}", Secret::new([0xAB; 32]));
        assert_eq!(shown, format!("{:?}", Secret::new([0x11; 32])));
        assert!(!shown.contains("171") && !shown.to_lowercase().contains("ab"));
    }

    #[test]
    fn equality_looks_at_every_byte() {
        let a = Secret::new([7u8; 32]);
        for i in 0..32 {
            let mut other = [7u8; 32];
            other[i] ^= 1;
            assert_ne!(a, Secret::new(other));
        }
        assert_eq!(a, a.clone());
    }
}
