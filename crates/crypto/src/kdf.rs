//! Deriving keys and authenticating short messages.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::hash::encode;
use crate::secret::Secret32;

const SALT: &[u8] = b"ringfort-v1 key derivation";

/// Derives a key from a secret; different labels or contexts give independent keys.
///
/// Source: HKDF-SHA256 (RFC 5869) with a fixed salt and the injective encoding of label and context as
/// `info`. Assumes `secret` holds at least 128 bits of entropy; passwords go through
/// [`crate::password::harden`] first.
pub fn derive(secret: &[u8], label: &str, context: &[&[u8]]) -> Secret32 {
    let mut info = Zeroizing::new(Vec::with_capacity(128));
    encode("derive", label, context, |bytes| info.extend_from_slice(bytes));
    let mut key = Secret32::new([0; 32]);
    Hkdf::<Sha256>::new(Some(SALT), secret)
        .expand(&info, key.expose_mut())
        .expect("32 bytes is within HKDF-SHA256's limit of 8160");
    key
}

/// Authenticates labelled parts under a shared key: HMAC-SHA256 over their injective encoding.
pub fn mac(key: &Secret32, label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    encode("mac", label, parts, |bytes| mac.update(bytes));
    mac.finalize().into_bytes().into()
}

/// Whether `tag` is the [`mac`] of these parts, in time independent of where it differs.
#[must_use]
pub fn mac_verify(key: &Secret32, label: &str, parts: &[&[u8]], tag: &[u8; 32]) -> bool {
    mac(key, label, parts).ct_eq(tag).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_context_and_boundaries_all_matter() {
        let keys = [
            derive(b"s", "a", &[b"x"]),
            derive(b"t", "a", &[b"x"]),
            derive(b"s", "b", &[b"x"]),
            derive(b"s", "a", &[b"y"]),
            derive(b"s", "a", &[b"", b"x"]),
            derive(b"s", "a", &[b"x", b""]),
            derive(b"s", "ax", &[]),
        ];
        for (i, a) in keys.iter().enumerate() {
            for (j, b) in keys.iter().enumerate() {
                assert_eq!(i == j, a == b, "{i} {j}");
            }
        }
    }

    #[test]
    fn mac_refuses_any_change() {
        let key = Secret32::new([3; 32]);
        let tag = mac(&key, "l", &[b"ab", b"c"]);
        assert!(mac_verify(&key, "l", &[b"ab", b"c"], &tag));
        assert!(!mac_verify(&key, "l", &[b"a", b"bc"], &tag));
        assert!(!mac_verify(&key, "m", &[b"ab", b"c"], &tag));
        assert!(!mac_verify(&Secret32::new([4; 32]), "l", &[b"ab", b"c"], &tag));
        for i in 0..32 {
            let mut bad = tag;
            bad[i] ^= 0x80;
            assert!(!mac_verify(&key, "l", &[b"ab", b"c"], &bad));
        }
    }
}
