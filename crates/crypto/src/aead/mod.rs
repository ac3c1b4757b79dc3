//! Authenticated encryption: AES-256-GCM, the key schedule kept ready.
//!
//! Two libraries that share no code compute it, and a build has one of them (see [`BACK_ENDS`](crate::BACK_ENDS)).

#[cfg(any(test, not(curve25519_dalek_backend = "fiat")))]
mod aws_lc;
#[cfg(any(test, curve25519_dalek_backend = "fiat"))]
mod rust_crypto;

use core::fmt;

#[cfg(not(curve25519_dalek_backend = "fiat"))]
use aws_lc::Cipher;
#[cfg(curve25519_dalek_backend = "fiat")]
use rust_crypto::Cipher;

use crate::secret::Secret32;

/// Bytes a sealed message is longer than its plaintext.
pub const TAG_BYTES: usize = 16;

/// The sealed bytes were not made with this key, nonce and associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed message is not authentic")]
pub struct OpenError;

/// An AES-256-GCM key with its schedule computed, so that sealing costs no set-up.
///
/// Security: a nonce must never repeat under one key, across [`AeadKey::seal`],
/// [`AeadKey::seal_append`] and [`AeadKey::tag_only`] together. GCM does not commit to its key: where several keys may be
/// tried, bind the key's identity in the associated data and do not let an opener's success tell
/// which key was used. The schedule is wiped when freed.
pub struct AeadKey(Cipher);

impl AeadKey {
    /// Prepares a key.
    pub fn new(key: &Secret32) -> Self {
        Self(Cipher::new(key.expose()))
    }

    /// Encrypts `plaintext` and authenticates it together with `aad`.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plaintext.len() + TAG_BYTES);
        self.seal_append(nonce, aad, plaintext, &mut out);
        out
    }

    /// Like [`AeadKey::seal`], appending to a buffer that may already hold a header.
    pub fn seal_append(&self, nonce: &[u8; 12], aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) {
        out.reserve(plaintext.len() + TAG_BYTES);
        let start = out.len();
        out.extend_from_slice(plaintext);
        let body = out.get_mut(start..).expect("start was the length before appending");
        let tag = self.0.seal(nonce, aad, body);
        out.extend_from_slice(&tag);
    }

    /// Decrypts what [`AeadKey::seal`] made under the same nonce and `aad`.
    ///
    /// # Errors
    /// [`OpenError`] for anything else, including input shorter than a tag; nothing is revealed.
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (body, tag) = sealed.split_last_chunk().ok_or(OpenError)?;
        self.0.open(nonce, aad, body, tag).ok_or(OpenError)
    }

    /// Authenticates `aad` and encrypts nothing: the integrity-only protection mode (GMAC).
    ///
    /// Equals sealing an empty plaintext, so use a key derived for this mode alone.
    pub fn tag_only(&self, nonce: &[u8; 12], aad: &[u8]) -> [u8; TAG_BYTES] {
        self.0.seal(nonce, aad, &mut [])
    }

    /// Checks what [`AeadKey::tag_only`] made.
    ///
    /// # Errors
    /// [`OpenError`] when the tag does not fit.
    pub fn verify_tag(&self, nonce: &[u8; 12], aad: &[u8], tag: &[u8; TAG_BYTES]) -> Result<(), OpenError> {
        self.0.open(nonce, aad, &[], tag).map(drop).ok_or(OpenError)
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::testing::{hex, hex_array};

    /// McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 13, 14 and 16.
    #[test]
    fn gcm_specification_vectors() {
        let zero = AeadKey::new(&Secret32::new([0; 32]));
        assert_eq!(zero.seal(&[0; 12], b"", b""), hex("530f8afbc74536b9a963b4f1c4cb738b"));
        assert_eq!(zero.tag_only(&[0; 12], b"").to_vec(), hex("530f8afbc74536b9a963b4f1c4cb738b"));
        assert_eq!(
            zero.seal(&[0; 12], b"", &[0; 16]),
            hex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919")
        );
        let key =
            AeadKey::new(&Secret32::new(hex_array("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")));
        let plaintext = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
        let sealed = key.seal(
            &hex_array("cafebabefacedbaddecaf888"),
            &hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
            &plaintext,
        );
        assert_eq!(
            sealed,
            hex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                 8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b")
        );
    }

    #[test]
    fn any_change_is_refused() {
        let key = AeadKey::new(&Secret32::new([1; 32]));
        let mut sealed = b"header".to_vec();
        key.seal_append(&[2; 12], b"aad", b"plaintext", &mut sealed);
        assert_eq!(&sealed[..6], b"header");
        let sealed = &sealed[6..];
        assert_eq!(sealed, key.seal(&[2; 12], b"aad", b"plaintext"));
        assert_eq!(sealed.len(), 9 + TAG_BYTES);
        assert_eq!(key.open(&[2; 12], b"aad", sealed).unwrap(), b"plaintext");
        assert_eq!(key.open(&[3; 12], b"aad", sealed), Err(OpenError));
        assert_eq!(key.open(&[2; 12], b"aae", sealed), Err(OpenError));
        assert_eq!(AeadKey::new(&Secret32::new([9; 32])).open(&[2; 12], b"aad", sealed), Err(OpenError));
        for i in 0..sealed.len() {
            let mut bad = sealed.to_vec();
            bad[i] ^= 1;
            assert_eq!(key.open(&[2; 12], b"aad", &bad), Err(OpenError));
            assert_eq!(key.open(&[2; 12], b"aad", &sealed[..i]), Err(OpenError));
        }
    }

    #[test]
    fn tags_authenticate_the_associated_data() {
        let key = AeadKey::new(&Secret32::new([1; 32]));
        let tag = key.tag_only(&[2; 12], b"in the clear");
        assert_eq!(key.verify_tag(&[2; 12], b"in the clear", &tag), Ok(()));
        assert_eq!(key.verify_tag(&[2; 12], b"in the Clear", &tag), Err(OpenError));
        assert_eq!(key.verify_tag(&[3; 12], b"in the clear", &tag), Err(OpenError));
        for i in 0..TAG_BYTES {
            let mut bad = tag;
            bad[i] ^= 1;
            assert_eq!(key.verify_tag(&[2; 12], b"in the clear", &bad), Err(OpenError));
        }
    }

    /// Neither library knows the other: what one seals, the other opens.
    #[test]
    fn both_libraries_agree() {
        let mut rng = ChaCha20Rng::seed_from_u64(31);
        for length in [0, 1, 15, 16, 17, 31, 32, 33, 255, 256, 1000, 4096, 65_537] {
            let (mut key, mut nonce) = ([0; 32], [0; 12]);
            let (mut aad, mut plaintext) = (vec![0; length / 3], vec![0; length]);
            rng.fill_bytes(&mut key);
            rng.fill_bytes(&mut nonce);
            rng.fill_bytes(&mut aad);
            rng.fill_bytes(&mut plaintext);
            let (one, other) = (aws_lc::Cipher::new(&key), rust_crypto::Cipher::new(&key));
            let (mut body, mut same) = (plaintext.clone(), plaintext.clone());
            let (tag, same_tag) = (one.seal(&nonce, &aad, &mut body), other.seal(&nonce, &aad, &mut same));
            assert_eq!((&body, tag), (&same, same_tag), "{length}");
            assert_eq!(one.open(&nonce, &aad, &body, &tag).as_ref(), Some(&plaintext));
            assert_eq!(other.open(&nonce, &aad, &body, &tag).as_ref(), Some(&plaintext));
            let bad = tag.map(|byte| byte ^ 0x80);
            assert_eq!((one.open(&nonce, &aad, &body, &bad), other.open(&nonce, &aad, &body, &bad)), (None, None));
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", AeadKey::new(&Secret32::new([1; 32]))), "AeadKey(redacted)");
    }
}
