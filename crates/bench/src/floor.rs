//! Bare operations: what the machine charges for what a step cannot avoid.

use std::hint::black_box;
use std::time::Duration;

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint, VartimeRistrettoPrecomputation};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{VartimeMultiscalarMul, VartimePrecomputedMultiscalarMul};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use ringfort_crypto::aead::AeadKey;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;

use crate::row::median;

/// Times of bare operations on this machine, now.
pub struct Floor {
    repeats: usize,
    rng: ChaCha20Rng,
}

impl Floor {
    /// Will repeat each operation `repeats` times.
    pub fn new(repeats: usize) -> Self {
        Floor { repeats, rng: ChaCha20Rng::seed_from_u64(1) }
    }

    fn scalar(&mut self) -> Scalar {
        let mut bytes = [0; 64];
        self.rng.fill_bytes(&mut bytes);
        Scalar::from_bytes_mod_order_wide(&bytes)
    }

    fn point(&mut self) -> RistrettoPoint {
        RistrettoPoint::mul_base(&self.scalar())
    }

    /// One multiplication of the generator.
    pub fn multiply_base(&mut self) -> Duration {
        let scalar = self.scalar();
        median(self.repeats, || RistrettoPoint::mul_base(black_box(&scalar)))
    }

    /// One multiplication of any point, in constant time.
    pub fn multiply(&mut self) -> Duration {
        let (scalar, point) = (self.scalar(), self.point());
        median(self.repeats, || black_box(point) * black_box(scalar))
    }

    /// One sum of products of `fixed` known points and `points` new ones.
    pub fn sum(&mut self, fixed: usize, points: usize) -> Duration {
        let known: Vec<_> = (0..fixed).map(|_| self.point()).collect();
        let table = VartimeRistrettoPrecomputation::new(&known);
        let known_scalars: Vec<_> = (0..fixed).map(|_| self.scalar()).collect();
        let scalars: Vec<_> = (0..points).map(|_| self.scalar()).collect();
        let points: Vec<_> = (0..points).map(|_| self.point()).collect();
        median(self.repeats, || match known_scalars.is_empty() {
            true => RistrettoPoint::vartime_multiscalar_mul(&scalars, &points),
            false => table.vartime_mixed_multiscalar_mul(&known_scalars, &scalars, &points),
        })
    }

    /// One reading of a point from its bytes.
    pub fn decompress(&mut self) -> Duration {
        let bytes: CompressedRistretto = self.point().compress();
        median(self.repeats, || black_box(bytes).decompress())
    }

    /// One writing of a point to its bytes.
    pub fn compress(&mut self) -> Duration {
        let point = self.point();
        median(self.repeats, || black_box(point).compress())
    }

    /// One map of 64 uniform bytes to the group.
    pub fn map_to_group(&mut self) -> Duration {
        let mut bytes = [0; 64];
        self.rng.fill_bytes(&mut bytes);
        median(self.repeats, || RistrettoPoint::from_uniform_bytes(black_box(&bytes)))
    }

    /// One AEAD seal of `bytes`.
    pub fn seal(&mut self, bytes: usize) -> Duration {
        let (key, plain) = (AeadKey::new(&Secret32::random(&mut self.rng)), vec![7; bytes]);
        median(self.repeats, || key.seal(&[1; 12], b"header", black_box(&plain)))
    }

    /// One AEAD open of `bytes`.
    pub fn open(&mut self, bytes: usize) -> Duration {
        let key = AeadKey::new(&Secret32::random(&mut self.rng));
        let sealed = key.seal(&[1; 12], b"header", &vec![7; bytes]);
        median(self.repeats, || key.open(&[1; 12], b"header", black_box(&sealed)))
    }

    /// One Ed25519 signature and one verification, over `bytes`.
    pub fn sign_and_verify(&mut self, bytes: usize) -> (Duration, Duration) {
        let key = SigningKey::generate(&mut self.rng);
        let (public, message) = (key.verifying_key(), vec![7; bytes]);
        let signature = key.sign("floor", &[&message]);
        let sign = median(self.repeats, || key.sign("floor", &[black_box(&message)]));
        let verify = median(self.repeats, || public.verify("floor", &[&message], black_box(&signature)));
        (sign, verify)
    }

    /// What a member cannot avoid on a rekey: opening `threshold` claims, mapping the view to the group,
    /// reading shares and commitments, one sum to verify all proofs and one to combine; and for the change of
    /// members, one map and one writing for the digest.
    pub fn member_rekey(&mut self, threshold: usize, n: usize, claim_bytes: usize, changes: usize) -> Duration {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.open(claim_bytes) * count(threshold)
            + self.map_to_group() * count(1 + changes)
            + self.compress()
            + self.decompress() * count(3 * threshold)
            + self.sum(1 + n, 1 + 3 * threshold)
            + self.sum(0, threshold)
    }

    /// One share and its proof: three multiplications of the view's point or the generator, a map, three writings.
    pub fn share(&mut self) -> Duration {
        self.multiply() * 2 + self.multiply_base() + self.map_to_group() + self.compress() * 3
    }
}
