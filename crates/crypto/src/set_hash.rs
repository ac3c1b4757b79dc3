//! A hash of a set that does not depend on order and is updated one element at a time.

use core::fmt;

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::traits::Identity;

use crate::hash::{digest, hash_to_group};

const DST: &[u8] = b"ringfort-v1 set hash element ristretto255_XMD:SHA-512_R255MAP_RO_";

/// Commits to a multiset: the sum of its elements, each hashed to ristretto255.
///
/// Adding or removing an element costs one point addition, whatever the size of the set. Source: MuHASH
/// (Bellare, Micciancio 1997) over an elliptic curve. Assumes discrete logarithms are hard and the hash is
/// a random oracle: then nobody finds two multisets of one digest.
///
/// It is a multiset: an element added twice counts twice, and removing what was never added is not
/// noticed (it gives the hash of a multiset with a negative count). Callers keep the set itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SetHash(RistrettoPoint);

/// An element hashed to the group: the costly part, worth keeping when used again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SetElement(RistrettoPoint);

impl SetHash {
    /// Hashes an element. Its encoding must be injective; that is the caller's.
    pub fn element(bytes: &[u8]) -> SetElement {
        SetElement(hash_to_group(DST, bytes))
    }

    /// Adds an element.
    pub fn add(&mut self, element: &SetElement) {
        self.0 += element.0;
    }

    /// Removes an element that was added before.
    pub fn remove(&mut self, element: &SetElement) {
        self.0 -= element.0;
    }

    /// 32 bytes that stand for the multiset.
    pub fn digest(&self) -> [u8; 32] {
        digest("set hash", &[self.0.compress().as_bytes()])
    }
}

impl Default for SetHash {
    fn default() -> Self {
        Self(RistrettoPoint::identity())
    }
}

impl fmt::Debug for SetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetHash(")?;
        for byte in self.digest().iter().take(8) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("..)")
    }
}

impl fmt::Debug for SetElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetElement(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(elements: &[&[u8]]) -> SetHash {
        let mut set = SetHash::default();
        for element in elements {
            set.add(&SetHash::element(element));
        }
        set
    }

    #[test]
    fn order_does_not_matter_and_contents_do() {
        assert_eq!(of(&[b"a", b"b", b"c"]).digest(), of(&[b"c", b"a", b"b"]).digest());
        assert_ne!(of(&[b"a", b"b"]).digest(), of(&[b"a", b"c"]).digest());
        assert_ne!(of(&[b"a", b"b"]).digest(), of(&[b"ab"]).digest());
        assert_ne!(of(&[b"a", b"a"]).digest(), of(&[b"a"]).digest());
        assert_ne!(of(&[]).digest(), of(&[b""]).digest());
    }

    #[test]
    fn removal_undoes_addition() {
        let mut set = of(&[b"a", b"b", b"c"]);
        set.remove(&SetHash::element(b"b"));
        assert_eq!(set, of(&[b"c", b"a"]));
        set.remove(&SetHash::element(b"a"));
        set.remove(&SetHash::element(b"c"));
        assert_eq!(set.digest(), SetHash::default().digest());
    }
}
