//! AES-256-GCM by AWS-LC: C and assembly, part of it formally verified.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::TAG_BYTES;

/// A key's schedule, in AWS-LC's memory, which it wipes when freed.
pub(super) struct Cipher(LessSafeKey);

impl Cipher {
    pub fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("AES-256-GCM takes 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts in place.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], body: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), body)
            .expect("GCM seals anything under 64 GiB, more than a buffer here ever holds");
        tag.as_ref().try_into().expect("a GCM tag has 16 bytes")
    }

    /// The plaintext, if all is authentic.
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], body: &[u8], tag: &[u8; TAG_BYTES]) -> Option<Vec<u8>> {
        let mut plaintext = vec![0; body.len()];
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.open_separate_gather(nonce, Aad::from(aad), body, tag, &mut plaintext).ok()?;
        Some(plaintext)
    }
}
