//! Sealing to a public key, and a key two parties share without talking.

use core::fmt;

use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use x25519_dalek::StaticSecret;

use crate::KeyError;
use crate::kdf::derive;
use crate::meter;
use crate::secret::Secret32;

type SuiteKem = hpke::kem::X25519HkdfSha256;
type SuiteKdf = hpke::kdf::HkdfSha256;
type SuiteAead = hpke::aead::AesGcm256;

/// Bytes of the encapsulated key in front of the ciphertext.
const ENCAPPED_BYTES: usize = 32;

/// Bytes a sealed message is longer than its plaintext.
pub const OVERHEAD_BYTES: usize = ENCAPPED_BYTES + crate::aead::TAG_BYTES;

/// The sealed bytes were not made for this key, info and associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message sealed to a public key is not authentic")]
pub struct OpenError;

/// A private X25519 key, wiped when dropped.
#[derive(Clone)]
pub struct KemSecret {
    secret: StaticSecret,
    public: KemPublic,
}

impl KemSecret {
    /// Draws a fresh key.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self::from_secret(&Secret32::random(rng))
    }

    /// The key with these bytes; any bytes are a key (RFC 7748 clamps them in use).
    pub fn from_secret(bytes: &Secret32) -> Self {
        let secret = StaticSecret::from(*bytes.expose());
        let public = KemPublic(x25519_dalek::PublicKey::from(&secret).to_bytes());
        Self { secret, public }
    }

    /// The bytes, for storage.
    pub fn to_secret(&self) -> Secret32 {
        Secret32::new(self.secret.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> KemPublic {
        self.public
    }

    /// Opens what [`seal_to`] made for this key under the same `info` and `aad`.
    ///
    /// # Errors
    /// [`OpenError`] for anything else.
    pub fn open(&self, info: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        meter::charge(meter::MULTIPLY_NS);
        let (encapped, ciphertext) = sealed.split_at_checked(ENCAPPED_BYTES).ok_or(OpenError)?;
        let encapped = <SuiteKem as Kem>::EncappedKey::from_bytes(encapped).map_err(|_| OpenError)?;
        let secret = <SuiteKem as Kem>::PrivateKey::from_bytes(self.secret.as_bytes()).map_err(|_| OpenError)?;
        hpke::single_shot_open::<SuiteAead, SuiteKdf, SuiteKem>(
            &OpModeR::Base,
            &secret,
            &encapped,
            info,
            ciphertext,
            aad,
        )
        .map_err(|_| OpenError)
    }

    /// The key this pair of parties shares: both get the same from their own secret and the other's
    /// public key. Bound to both public keys; the same for ever, so add freshness in `context`.
    ///
    /// `None` when `other` is of low order. Whoever holds either secret can compute it.
    pub fn agree(&self, other: &KemPublic, label: &str, context: &[&[u8]]) -> Option<Secret32> {
        meter::charge(meter::MULTIPLY_NS);
        let shared = self.secret.diffie_hellman(&x25519_dalek::PublicKey::from(other.0));
        if !shared.was_contributory() {
            return None;
        }
        let (low, high) = (self.public.min(*other), self.public.max(*other));
        let mut parts: Vec<&[u8]> = vec![&low.0, &high.0];
        parts.extend_from_slice(context);
        Some(derive(shared.as_bytes(), label, &parts))
    }
}

impl fmt::Debug for KemSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemSecret(redacted)")
    }
}

/// A public X25519 key, in its canonical encoding and not of low order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KemPublic([u8; 32]);

impl KemPublic {
    /// Reads a key.
    ///
    /// # Errors
    /// [`KeyError`] for an encoding that is not canonical, and for points of low order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_canonical(bytes) || LOW_ORDER.iter().any(|low| low.ct_eq(bytes).into()) {
            return Err(KeyError);
        }
        Ok(Self(*bytes))
    }

    /// The canonical encoding.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Debug for KemPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemPublic(")?;
        for byte in &self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// Seals a message so that only the holder of `public`'s secret opens it. The sender stays anonymous:
/// authenticate it otherwise.
///
/// Source: RFC 9180 base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, single shot.
/// Result: the 32-byte encapsulated key, then the ciphertext; [`OVERHEAD_BYTES`] longer than the plaintext.
///
/// # Errors
/// [`KeyError`] when the key admits no shared secret, which [`KemPublic::from_bytes`] already rules out.
pub fn seal_to(
    public: &KemPublic,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    mut rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, KeyError> {
    meter::charge(2 * meter::MULTIPLY_NS);
    let public = <SuiteKem as Kem>::PublicKey::from_bytes(&public.0).map_err(|_| KeyError)?;
    let (encapped, ciphertext) = hpke::single_shot_seal_with_rng::<SuiteAead, SuiteKdf, SuiteKem>(
        &OpModeS::Base,
        &public,
        info,
        plaintext,
        aad,
        &mut rng,
    )
    .map_err(|_| KeyError)?;
    let mut sealed = Vec::with_capacity(ENCAPPED_BYTES + ciphertext.len());
    sealed.extend_from_slice(&encapped.to_bytes());
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

/// Whether these little-endian bytes are a number below 2^255 - 19.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = bytes;
    let top_is_full = *last == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    *last < 0x80 && !(top_is_full && *first >= 0xed)
}

/// The canonical u-coordinates of order 1, 2, 4 and 8 on the curve and its twist: 0, 1, p - 1 and two
/// of order 8. That each is of low order is tested.
const LOW_ORDER: [[u8; 32]; 5] = {
    let zero = [0; 32];
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    minus_one[31] = 0x7f;
    [
        zero,
        one,
        minus_one,
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
            0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ],
        [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
            0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
        ],
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FixedRng, hex, hex_array, rng};

    /// RFC 9180's vector file: mode 0, kem 0x0020, kdf 0x0001, aead 0x0002, sequence number 0.
    #[test]
    fn rfc9180_base_x25519_sha256_aes256gcm() {
        let public =
            KemPublic::from_bytes(&hex_array("430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c"))
                .unwrap();
        let secret = KemSecret::from_secret(&Secret32::new(hex_array(
            "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
        )));
        assert_eq!(secret.public(), public);
        let ikm_e = hex("2cd7c601cefb3d42a62b04b7a9041494c06c7843818e0ce28a8f704ae7ab20f9");
        let expected = hex("6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256\
             e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a");
        let (info, aad, plaintext) = (b"Ode on a Grecian Urn", b"Count-0", b"Beauty is truth, truth beauty");
        assert_eq!(seal_to(&public, info, aad, plaintext, &mut FixedRng(ikm_e)).unwrap(), expected);
        assert_eq!(secret.open(info, aad, &expected).unwrap(), plaintext);
    }

    #[test]
    fn any_change_is_refused() {
        let secret = KemSecret::generate(&mut rng(1));
        let sealed = seal_to(&secret.public(), b"info", b"aad", b"text", &mut rng(2)).unwrap();
        assert_eq!(sealed.len(), 4 + OVERHEAD_BYTES);
        assert_eq!(secret.open(b"info", b"aad", &sealed).unwrap(), b"text");
        assert_eq!(secret.open(b"info2", b"aad", &sealed), Err(OpenError));
        assert_eq!(secret.open(b"info", b"aad2", &sealed), Err(OpenError));
        assert_eq!(KemSecret::generate(&mut rng(3)).open(b"info", b"aad", &sealed), Err(OpenError));
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 0x40;
            assert_eq!(secret.open(b"info", b"aad", &bad), Err(OpenError), "byte {i}");
            assert_eq!(secret.open(b"info", b"aad", &sealed[..i]), Err(OpenError));
        }
    }

    #[test]
    fn both_sides_agree_and_contexts_differ() {
        let (a, b, c) =
            (KemSecret::generate(&mut rng(1)), KemSecret::generate(&mut rng(2)), KemSecret::generate(&mut rng(3)));
        let key = a.agree(&b.public(), "l", &[b"x"]).unwrap();
        assert_eq!(b.agree(&a.public(), "l", &[b"x"]).unwrap(), key);
        assert_ne!(c.agree(&a.public(), "l", &[b"x"]).unwrap(), key);
        assert_ne!(b.agree(&a.public(), "m", &[b"x"]).unwrap(), key);
        assert_ne!(b.agree(&a.public(), "l", &[b"y"]).unwrap(), key);
        assert_eq!(KemSecret::from_secret(&a.to_secret()).public(), a.public());
    }

    #[test]
    fn low_order_and_non_canonical_keys_are_refused() {
        let secret = KemSecret::generate(&mut rng(1));
        for low in LOW_ORDER {
            assert_eq!(KemPublic::from_bytes(&low), Err(KeyError));
            assert_eq!(secret.agree(&KemPublic(low), "l", &[]), None, "the list holds only low-order points");
            assert!(seal_to(&KemPublic(low), b"", b"", b"", &mut rng(1)).is_err());
        }
        let good = secret.public().to_bytes();
        assert_eq!(KemPublic::from_bytes(&good), Ok(secret.public()));
        let mut high_bit = good;
        high_bit[31] |= 0x80;
        assert_eq!(KemPublic::from_bytes(&high_bit), Err(KeyError));
        let mut nine_plus_p = [0xff; 32]; // p + 9 = 2^255 - 10
        nine_plus_p[0] = 0xf6;
        nine_plus_p[31] = 0x7f;
        assert_eq!(KemPublic::from_bytes(&nine_plus_p), Err(KeyError));
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", KemSecret::generate(&mut rng(1))), "KemSecret(redacted)");
    }
}
