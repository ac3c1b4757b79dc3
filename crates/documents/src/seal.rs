//! Secrets at rest: sealed under a key that is not in the folder.

use std::fmt;

use ringfort_crypto::aead::AeadKey;
use ringfort_crypto::kdf::derive;
use ringfort_crypto::secret::Secret32;
use zeroize::Zeroizing;

use crate::os_rng;

const NONCE_BYTES: usize = 12;

/// The key under which one leader's secrets are sealed: drawn at random when the folder is sealed, and itself kept
/// only under a passphrase or another key.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreKey(Secret32);

impl StoreKey {
    /// A fresh key.
    pub fn draw() -> Self {
        StoreKey(Secret32::random(&mut os_rng()))
    }

    /// A key that was kept.
    pub fn new(secret: Secret32) -> Self {
        StoreKey(secret)
    }

    /// The bytes. Secret.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// What seals the folder's other secrets.
    pub fn for_secrets(&self) -> Secret32 {
        derive(self.0.expose(), "ringfort leader secrets", &[])
    }

    /// A name for the key that tells nothing about it.
    pub fn id(&self) -> [u8; 32] {
        *derive(self.0.expose(), "ringfort store key name", &[]).expose()
    }

    /// Seals the registration of a user.
    pub fn seal_registration(&self, user: &str, plain: &[u8]) -> Vec<u8> {
        seal(&self.registrations(), user.as_bytes(), plain)
    }

    /// Opens what [`StoreKey::seal_registration`] made for the same user.
    pub fn open_registration(&self, user: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        open(&self.registrations(), user.as_bytes(), sealed)
    }

    fn registrations(&self) -> Secret32 {
        derive(self.0.expose(), "ringfort store registrations", &[])
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(redacted)")
    }
}

/// Seals under a key of which no more than some millions of messages are sealed: the nonce is drawn, and put in front.
pub fn seal(key: &Secret32, context: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0; NONCE_BYTES];
    let mut nonce = [0; NONCE_BYTES];
    rand_core::Rng::fill_bytes(&mut os_rng(), &mut nonce);
    sealed.copy_from_slice(&nonce);
    AeadKey::new(key).seal_append(&nonce, context, plain, &mut sealed);
    sealed
}

/// Opens what [`seal`] made under the same key and context.
pub fn open(key: &Secret32, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    AeadKey::new(key).open(nonce, context, body).ok().map(Zeroizing::new)
}
