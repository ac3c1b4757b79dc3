//! A leader's side: its share, and evaluating it with a proof.

use core::fmt;

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::{RistrettoPoint, Scalar, constants::RISTRETTO_BASEPOINT_COMPRESSED};
use rand_core::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

use super::{InputPoint, KeyRole, PublicKeySet, SHARES_MAX};
use crate::KeyError;
use crate::hash::hash_to_scalar;
use crate::meter;
use crate::secret::Secret32;

/// Bytes of an encoded [`Evaluation`].
pub const EVALUATION_BYTES: usize = 128;

/// One leader's secret `x_i`, wiped when dropped.
#[derive(Clone)]
pub struct SecretShare {
    role: KeyRole,
    index: u16,
    secret: Scalar,
    /// `g_i`, kept because every challenge hashes it.
    public: [u8; 32],
}

impl SecretShare {
    /// `secret` is nonzero and `index` within bounds; the dealer and [`Self::from_secret`] see to it.
    pub(super) fn new(role: KeyRole, index: u16, secret: Scalar) -> Self {
        let public = RistrettoPoint::mul_base(&secret).compress().to_bytes();
        Self { role, index, secret, public }
    }

    /// Restores a share from storage. That it is the right one shows in [`SecretShare::belongs_to`].
    ///
    /// # Errors
    /// [`KeyError`] for an index of 0 or above [`SHARES_MAX`], and for bytes that are no canonical nonzero scalar.
    pub fn from_secret(role: KeyRole, index: u16, bytes: &Secret32) -> Result<Self, KeyError> {
        let secret: Scalar = Option::from(Scalar::from_canonical_bytes(*bytes.expose())).ok_or(KeyError)?;
        if secret == Scalar::ZERO || index == 0 || index > SHARES_MAX {
            return Err(KeyError);
        }
        Ok(Self::new(role, index, secret))
    }

    /// The scalar, for storage beside role and index.
    pub fn to_secret(&self) -> Secret32 {
        Secret32::new(self.secret.to_bytes())
    }

    /// The key this is a share of.
    pub fn role(&self) -> KeyRole {
        self.role
    }

    /// The leader it belongs to, from 1.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The verification key `g_i`.
    pub fn public_key(&self) -> [u8; 32] {
        self.public
    }

    /// Whether this is the share that `keys` announces for its index.
    pub fn belongs_to(&self, keys: &PublicKeySet) -> bool {
        keys.role() == self.role && keys.key(self.index) == Some(self.public)
    }

    /// Computes `s = g~^x_i` with a proof that `log_g~ s = log_g g_i`. Constant time.
    ///
    /// Source: Dutertre 2002 §3.3 (Chaum and Pedersen). The proof's nonce is derived from the secret, the input and fresh
    /// randomness, so neither a bad generator nor a repeated one reveals the share.
    ///
    /// An input of another role gives an evaluation nobody accepts.
    pub fn evaluate(&self, input: &InputPoint, rng: &mut dyn CryptoRng) -> Evaluation {
        meter::charge(3 * meter::MULTIPLY_NS);
        let fresh = Secret32::random(rng);
        let secret_bytes = Zeroizing::new(self.secret.to_bytes());
        let index = self.index.to_be_bytes();
        let mut nonce = hash_to_scalar(
            "proof nonce",
            self.role.label(),
            &[secret_bytes.as_slice(), &index, &input.bytes, fresh.expose()],
        );

        // Halved scalars, because doubling and compressing together shares one field inversion.
        let mut half_secret = self.secret.div_by_2();
        let mut half_nonce = nonce.div_by_2();
        let mut points = [input.point * half_secret, RistrettoPoint::mul_base(&half_nonce), input.point * half_nonce];
        let encoded = RistrettoPoint::double_and_compress_batch(&points);
        let [s, u, v]: [CompressedRistretto; 3] = encoded.try_into().expect("three points in, three out");

        let mut evaluation = Evaluation { s: s.0, u: u.0, v: v.0, z: [0; 32] };
        let challenge = evaluation.challenge(self.role, self.index, &self.public, input);
        evaluation.z = (nonce + challenge * self.secret).to_bytes();

        points.zeroize();
        half_secret.zeroize();
        half_nonce.zeroize();
        nonce.zeroize();
        evaluation
    }
}

impl Drop for SecretShare {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for SecretShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretShare({:?}, index {}, redacted)", self.role, self.index)
    }
}

/// A share of the output at one input, with its proof: `s`, commitments `u` and `v`, response `z`.
///
/// 128 bytes on the wire. Deviation from Dutertre 2002 §3.3, which sends `(s, c, z)`: commitments instead of the challenge
/// let a receiver check many proofs with one multiscalar multiplication. Unchecked until verified.
///
/// Security: the value is a share of a key; send it only to who may have the key. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Evaluation {
    pub(super) s: [u8; 32],
    pub(super) u: [u8; 32],
    pub(super) v: [u8; 32],
    pub(super) z: [u8; 32],
}

impl Evaluation {
    /// Wraps bytes; whether they encode points and a scalar shows when they are verified.
    pub fn from_bytes(bytes: [u8; EVALUATION_BYTES]) -> Self {
        let field =
            |at: usize| -> [u8; 32] { core::array::from_fn(|i| bytes.get(at * 32 + i).copied().unwrap_or_default()) };
        Self { s: field(0), u: field(1), v: field(2), z: field(3) }
    }

    /// The encoding: `s`, `u`, `v`, `z`, 32 bytes each.
    pub fn to_bytes(&self) -> [u8; EVALUATION_BYTES] {
        let mut bytes = [0; EVALUATION_BYTES];
        let fields = [&self.s, &self.u, &self.v, &self.z];
        for (to, from) in bytes.chunks_exact_mut(32).zip(fields) {
            to.copy_from_slice(from);
        }
        bytes
    }

    /// `c = H3(role, g, g_i, index, u, g~, s, v)`.
    pub(super) fn challenge(&self, role: KeyRole, index: u16, public: &[u8; 32], input: &InputPoint) -> Scalar {
        hash_to_scalar(
            "proof challenge",
            role.label(),
            &[
                RISTRETTO_BASEPOINT_COMPRESSED.as_bytes(),
                public,
                &index.to_be_bytes(),
                &self.u,
                &[input.role as u8],
                &input.bytes,
                &self.s,
                &self.v,
            ],
        )
    }
}

impl Drop for Evaluation {
    fn drop(&mut self) {
        self.s.zeroize();
    }
}

impl fmt::Debug for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Evaluation(redacted)")
    }
}
