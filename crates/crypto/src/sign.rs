//! Signatures: Ed25519 over labelled messages, with one strict verification rule.

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use ed25519_dalek::Signer;
use rand_core::CryptoRng;

use crate::KeyError;
use crate::hash::digest_wide;
use crate::meter;
use crate::secret::Secret32;

/// The signature does not fit the key and the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad signature")]
pub struct BadSignature;

/// A private signing key, wiped when dropped.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// Draws a fresh key.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self::from_secret(&Secret32::random(rng))
    }

    /// The key with this seed (RFC 8032's 32-byte private key); any bytes are a key.
    pub fn from_secret(seed: &Secret32) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed.expose()))
    }

    /// The seed, for storage.
    pub fn to_secret(&self) -> Secret32 {
        Secret32::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Signs labelled parts. Deterministic (RFC 8032).
    ///
    /// What is signed is the SHA-512 of an injective encoding, so a signature under one label or split
    /// into parts never passes for another.
    pub fn sign(&self, label: &str, parts: &[&[u8]]) -> Signature {
        meter::charge(meter::SIGN_NS);
        Signature(self.0.sign(&digest_wide("sign", label, parts)).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

/// A public key, held decompressed. Ordered and compared by its encoding.
#[derive(Clone, Copy)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Reads a key.
    ///
    /// # Errors
    /// [`KeyError`] when the bytes are no point, not its canonical encoding, or a point of small order
    /// (under which one signature fits many messages).
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        meter::charge(meter::READ_KEY_NS);
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError)?;
        if key.is_weak() || key.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyError);
        }
        Ok(Self(key))
    }

    /// The canonical encoding.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Checks a signature by the strict rule of ed25519-dalek: canonical `s`, no small-order points, and
    /// the equation without the cofactor. Every verifier reaches the same verdict.
    ///
    /// # Errors
    /// [`BadSignature`] otherwise.
    pub fn verify(&self, label: &str, parts: &[&[u8]], signature: &Signature) -> Result<(), BadSignature> {
        meter::charge(meter::VERIFY_NS);
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0.verify_strict(&digest_wide("sign", label, parts), &signature).map_err(|_| BadSignature)
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes() == other.0.as_bytes()
    }
}

impl Eq for VerifyingKey {}

impl PartialOrd for VerifyingKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for VerifyingKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_bytes().cmp(other.0.as_bytes())
    }
}

impl Hash for VerifyingKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_bytes().hash(state);
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(")?;
        for byte in self.0.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// An Ed25519 signature, unchecked until [`VerifyingKey::verify`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Wraps bytes; nothing is checked yet.
    pub fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn to_bytes(&self) -> [u8; 64] {
        self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(")?;
        for byte in self.0.iter().take(8) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hex_array, rng};

    #[test]
    fn a_signature_fits_one_key_label_and_list_of_parts() {
        let key = SigningKey::generate(&mut rng(1));
        let public = key.verifying_key();
        let signature = key.sign("propose", &[b"ab", b"c"]);
        assert_eq!(public.verify("propose", &[b"ab", b"c"], &signature), Ok(()));
        assert_eq!(public.verify("propose", &[b"a", b"bc"], &signature), Err(BadSignature));
        assert_eq!(public.verify("propose", &[b"abc"], &signature), Err(BadSignature));
        assert_eq!(public.verify("proposeab", &[b"c"], &signature), Err(BadSignature));
        let other = SigningKey::generate(&mut rng(2)).verifying_key();
        assert_eq!(other.verify("propose", &[b"ab", b"c"], &signature), Err(BadSignature));
        for i in 0..64 {
            let mut bytes = signature.to_bytes();
            bytes[i] ^= 1;
            assert_eq!(public.verify("propose", &[b"ab", b"c"], &Signature::from_bytes(bytes)), Err(BadSignature));
        }
    }

    #[test]
    fn adding_the_group_order_to_s_is_refused() {
        const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
        let key = SigningKey::generate(&mut rng(3));
        let mut bytes = key.sign("l", &[]).to_bytes();
        let mut carry = 0u16;
        for (byte, add) in bytes[32..].iter_mut().zip(hex_array::<32>(ORDER)) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert_eq!(key.verifying_key().verify("l", &[], &Signature::from_bytes(bytes)), Err(BadSignature));
    }

    #[test]
    fn keys_survive_storage_and_weak_or_odd_ones_are_refused() {
        let key = SigningKey::generate(&mut rng(4));
        let public = key.verifying_key();
        assert_eq!(SigningKey::from_secret(&key.to_secret()).verifying_key(), public);
        assert_eq!(VerifyingKey::from_bytes(&public.to_bytes()), Ok(public));
        let refused = [
            "0100000000000000000000000000000000000000000000000000000000000000", // the identity
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 2
            "0000000000000000000000000000000000000000000000000000000000000000", // order 4
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p + 1
            "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p + 3, not canonical
            "0200000000000000000000000000000000000000000000000000000000000000", // no point
        ];
        for bytes in refused {
            assert_eq!(VerifyingKey::from_bytes(&hex_array(bytes)), Err(KeyError), "{bytes}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", SigningKey::generate(&mut rng(1))), "SigningKey(redacted)");
    }
}
