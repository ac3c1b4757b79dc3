//! Threshold keys: `n` leaders hold shares of `a0`; any `threshold` of them compute `g~^a0`.
//!
//! Source: Dutertre, Crettaz, Stavridou 2002, "Intrusion-Tolerant Enclaves", §3.3, after Cachin, Kursawe and
//! Shoup 2000, on ristretto255 (RFC 9496). Names, paper to code:
//!
//! | paper | here |
//! |---|---|
//! | `a_0 .. a_f`, `F` | the dealer's polynomial, [`deal`] |
//! | `x_i` | [`SecretShare`] |
//! | `g_i = g^x_i` | a key of [`PublicKeySet`] |
//! | `g~ = H1(..)` | [`InputPoint`] |
//! | `s_i`, proof | [`Evaluation`] |
//! | `b_i` | Lagrange coefficients, `lagrange.rs` |
//! | `K = H2(g~^a0)` | [`Output::key`] |
//!
//! Deviations. The group is ristretto255 instead of a subgroup of `Z_p*`. The number of shares needed is a
//! parameter, not always `f + 1`. A proof is sent as `(u, v, z)` in place of `(c, z)`: it is 64 bytes longer
//! and permits checking many at once. The challenge also hashes the role and the index. Where the paper
//! has one key, three separate ones exist ([`KeyRole`]).
//!
//! Security: shares are secret to whoever must not read the group's traffic, so they travel on private links.
//! Assumes computational Diffie-Hellman in ristretto255 (one-more, for [`crate::oprf`]) and random oracles;
//! corruption is static in the proof.

mod deal;
mod lagrange;
mod public;
mod reshare;
mod share;
#[cfg(test)]
mod tests;
mod verify;

use core::fmt;

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::traits::IsIdentity;
use zeroize::Zeroize;

use crate::hash::{encode, hash_to_group};
use crate::kdf::derive;
use crate::secret::Secret32;

#[cfg(test)]
pub(crate) use deal::deal_from_secret_for_testing_only;
pub use deal::{DealError, deal};
pub use public::PublicKeySet;
pub use reshare::{reshared, reshared_keys};
pub use share::{EVALUATION_BYTES, Evaluation, SecretShare};
pub use verify::{BadShare, CombineError};

/// The most shares one key may have. A limit on memory and time, far above any real group of leaders.
pub const SHARES_MAX: u16 = 1024;

/// What a threshold key is for. Each role has its own independent key.
///
/// A login key evaluates any point a client blinds; were it also the group key, an outsider could blind
/// the group key's input and be given the key. The role also enters every hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum KeyRole {
    /// Keys of views: what members encrypt under.
    GroupKey = 1,
    /// The common coin of randomized agreement.
    Coin = 2,
    /// Hardening of login passwords.
    Login = 3,
}

impl KeyRole {
    /// A label that appears in hashes; never change one.
    pub(crate) fn label(self) -> &'static str {
        match self {
            KeyRole::GroupKey => "group key",
            KeyRole::Coin => "coin",
            KeyRole::Login => "login",
        }
    }
}

const INPUT_DST: &[u8] = b"ringfort-v1 threshold input ristretto255_XMD:SHA-512_R255MAP_RO_";

/// The point `g~` a threshold key is evaluated at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InputPoint {
    role: KeyRole,
    point: RistrettoPoint,
    bytes: [u8; 32],
}

impl InputPoint {
    /// `H1` of the paper: hashes role and parts to a point; injective in the parts.
    ///
    /// Costs a hash to the group, so compute it once per view.
    pub fn hash(role: KeyRole, parts: &[&[u8]]) -> Self {
        let mut message = Vec::with_capacity(256);
        encode("input", role.label(), parts, |bytes| message.extend_from_slice(bytes));
        let point = hash_to_group(INPUT_DST, &message);
        Self { role, point, bytes: point.compress().to_bytes() }
    }

    /// A point chosen by a login client. Private to the crate: only the login key may meet one.
    pub(crate) fn from_blinded(bytes: &[u8; 32]) -> Option<Self> {
        let point = decompress(bytes)?;
        Some(Self { role: KeyRole::Login, point, bytes: *bytes })
    }

    /// The role this input is for.
    pub fn role(&self) -> KeyRole {
        self.role
    }

    /// The encoding of the point.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.bytes
    }
}

impl fmt::Debug for InputPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InputPoint({:?}, ", self.role)?;
        for byte in self.bytes.iter().take(8) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("..)")
    }
}

/// The combined value `g~^a0`, secret and wiped when dropped.
pub struct Output {
    role: KeyRole,
    point: RistrettoPoint,
}

impl Output {
    pub(crate) fn new(role: KeyRole, point: RistrettoPoint) -> Self {
        Self { role, point }
    }

    pub(crate) fn point(&self) -> &RistrettoPoint {
        &self.point
    }

    /// `H2` of the paper: a key from the value; different labels or contexts give independent keys.
    pub fn key(&self, label: &str, context: &[&[u8]]) -> Secret32 {
        let mut encoded = self.point.compress().to_bytes();
        let mut parts: Vec<&[u8]> = vec![b"threshold output", self.role.label().as_bytes()];
        parts.extend_from_slice(context);
        let key = derive(&encoded, label, &parts);
        encoded.zeroize();
        key
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.point.zeroize();
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({:?}, redacted)", self.role)
    }
}

/// Reads a point other than the identity from its canonical encoding.
pub(crate) fn decompress(bytes: &[u8; 32]) -> Option<RistrettoPoint> {
    CompressedRistretto(*bytes).decompress().filter(|point| !point.is_identity())
}
