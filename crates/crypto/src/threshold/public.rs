//! The public side of a threshold key: what everyone knows.

use core::fmt;
use std::sync::Arc;

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::VartimeRistrettoPrecomputation;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul, VartimePrecomputedMultiscalarMul};
use curve25519_dalek::{RistrettoPoint, Scalar};

use super::lagrange::Inverses;
use super::{KeyRole, SHARES_MAX, decompress};
use crate::KeyError;
use crate::hash::hash_to_scalar;

/// The verification keys `g_1 .. g_n` of one threshold key, with tables that speed up checking.
///
/// Cheap to clone. About 10 KiB of tables per key.
#[derive(Clone)]
pub struct PublicKeySet {
    role: KeyRole,
    threshold: u16,
    inner: Arc<Inner>,
}

struct Inner {
    keys: Vec<[u8; 32]>,
    /// Multiples of `g`, then of `g_1 .. g_n`.
    tables: VartimeRistrettoPrecomputation,
    inverses: Inverses,
}

impl PublicKeySet {
    /// Reads the keys of leaders `1 ..= n`, in order.
    ///
    /// # Errors
    /// [`KeyError`] when the counts are out of range (`1 <= threshold <= n <= SHARES_MAX`), a key is not the
    /// canonical encoding of a point other than the identity, or the keys do not lie on one polynomial of degree
    /// `threshold - 1`. The last check means any two sets of shares give one output, even from a careless dealer.
    pub fn from_bytes(role: KeyRole, threshold: u16, keys: &[[u8; 32]]) -> Result<Self, KeyError> {
        let n = u16::try_from(keys.len()).map_err(|_| KeyError)?;
        if threshold == 0 || threshold > n || n > SHARES_MAX {
            return Err(KeyError);
        }
        let points: Vec<RistrettoPoint> = keys.iter().map(decompress).collect::<Option<_>>().ok_or(KeyError)?;
        let inverses = Inverses::up_to(n);
        if !lie_on_one_polynomial(role, threshold, keys, &points, &inverses) {
            return Err(KeyError);
        }
        let with_base: Vec<RistrettoPoint> = core::iter::once(RISTRETTO_BASEPOINT_POINT).chain(points).collect();
        let tables = VartimeRistrettoPrecomputation::new(&with_base);
        let inner = Arc::new(Inner { keys: keys.to_vec(), tables, inverses });
        Ok(Self { role, threshold, inner })
    }

    /// The same from the first `threshold` keys alone, `g_1 .. g_t`: they determine the polynomial.
    ///
    /// # Errors
    /// [`KeyError`] as [`PublicKeySet::from_bytes`], also where one of the keys that follow is the identity.
    pub fn from_announced(role: KeyRole, n: u16, announced: &[[u8; 32]]) -> Result<Self, KeyError> {
        let threshold = u16::try_from(announced.len()).map_err(|_| KeyError)?;
        if threshold == 0 || threshold > n || n > SHARES_MAX {
            return Err(KeyError);
        }
        let first: Vec<RistrettoPoint> = announced.iter().map(decompress).collect::<Option<_>>().ok_or(KeyError)?;
        let mut keys = announced.to_vec();
        keys.extend(continued(&first, usize::from(n - threshold)).iter().map(|key| key.compress().to_bytes()));
        Self::from_bytes(role, threshold, &keys)
    }

    /// The first `threshold` keys, from which [`PublicKeySet::from_announced`] makes the set again.
    pub fn announced(&self) -> Vec<[u8; 32]> {
        self.inner.keys.iter().take(usize::from(self.threshold)).copied().collect()
    }

    /// The encodings of `g_1 .. g_n`.
    pub fn to_bytes(&self) -> Vec<[u8; 32]> {
        self.inner.keys.clone()
    }

    /// What the key is for.
    pub fn role(&self) -> KeyRole {
        self.role
    }

    /// How many shares make an output.
    pub fn threshold(&self) -> u16 {
        self.threshold
    }

    /// How many shares there are.
    pub fn n(&self) -> u16 {
        u16::try_from(self.inner.keys.len()).expect("from_bytes bounds the count by SHARES_MAX")
    }

    /// The key `g_i` of the leader with this index, from 1.
    pub fn key(&self, index: u16) -> Option<[u8; 32]> {
        self.inner.keys.get(usize::from(index).checked_sub(1)?).copied()
    }

    pub(super) fn tables(&self) -> &VartimeRistrettoPrecomputation {
        &self.inner.tables
    }

    pub(super) fn inverses(&self) -> &Inverses {
        &self.inner.inverses
    }
}

/// The next points on the polynomial of lowest degree through `first`, which are at `1, 2, ..`: by finite differences, in
/// additions alone.
fn continued(first: &[RistrettoPoint], count: usize) -> Vec<RistrettoPoint> {
    // The last difference of each order, from the values themselves up to the constant one.
    let mut edge: Vec<RistrettoPoint> = Vec::new();
    for value in first {
        let mut difference = *value;
        for last in &mut edge {
            let before = core::mem::replace(last, difference);
            difference -= before;
        }
        edge.push(difference);
    }
    let mut next = || {
        let mut above: Option<RistrettoPoint> = None;
        for last in edge.iter_mut().rev() {
            *last += above.unwrap_or_default();
            above = Some(*last);
        }
        above.unwrap_or_default()
    };
    (0..count).map(|_| next()).collect()
}

/// Checks the degree in the exponent with one random word of the dual code; it errs once in 2^252.
fn lie_on_one_polynomial(
    role: KeyRole,
    threshold: u16,
    keys: &[[u8; 32]],
    points: &[RistrettoPoint],
    inverses: &Inverses,
) -> bool {
    let threshold_bytes = threshold.to_be_bytes();
    let parts: Vec<&[u8]> =
        core::iter::once(threshold_bytes.as_slice()).chain(keys.iter().map(|key| key.as_slice())).collect();
    let seed = hash_to_scalar("degree check", role.label(), &parts).to_bytes();
    let q: Vec<Scalar> = (threshold..u16::try_from(keys.len()).unwrap_or(u16::MAX))
        .map(|k| hash_to_scalar("degree check coefficient", role.label(), &[&seed, &k.to_be_bytes()]))
        .collect();
    q.is_empty() || RistrettoPoint::vartime_multiscalar_mul(inverses.degree_check(&q), points).is_identity()
}

impl PartialEq for PublicKeySet {
    fn eq(&self, other: &Self) -> bool {
        self.role == other.role && self.threshold == other.threshold && self.inner.keys == other.inner.keys
    }
}

impl Eq for PublicKeySet {}

impl fmt::Debug for PublicKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKeySet({:?}, {} of {})", self.role, self.threshold, self.n())
    }
}
