//! AES-256-GCM by RustCrypto: Rust, with the processor's instructions where it has them.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};

use super::TAG_BYTES;

/// A key's schedule, wiped when dropped.
pub(super) struct Cipher(Box<Aes256Gcm>);

impl Cipher {
    pub fn new(key: &[u8; 32]) -> Self {
        // Boxed, so that no copy stays behind where the key moves.
        Self(Box::new(Aes256Gcm::new(key.into())))
    }

    /// Encrypts in place.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], body: &mut [u8]) -> [u8; TAG_BYTES] {
        self.0
            .encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(body))
            .expect("GCM seals anything under 64 GiB, more than a buffer here ever holds")
            .into()
    }

    /// The plaintext, if all is authentic.
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], body: &[u8], tag: &[u8; TAG_BYTES]) -> Option<Vec<u8>> {
        let mut plaintext = body.to_vec();
        let buffer = InOutBuf::from(plaintext.as_mut_slice());
        self.0.decrypt_inout_detached(nonce.into(), aad, buffer, tag.into()).ok()?;
        Some(plaintext)
    }
}
