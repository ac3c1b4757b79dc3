//! Link keys: an Ed25519 seed on one side, 32 public bytes on the other.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// RFC 8410 §7: PKCS#8 version 1 of an Ed25519 key is this, then the seed.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// RFC 8410 §4: SubjectPublicKeyInfo of an Ed25519 key is this, then the key.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The private key that proves who we are on a link. Wiped when dropped; never printed.
///
/// # Security
/// Use one seed for links only, never the seed of another signing key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LinkKey {
    seed: [u8; 32],
    #[zeroize(skip)]
    public: LinkPublicKey,
}

impl LinkKey {
    /// Takes any 32 secret random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let public = signing_key(&seed)
            .public_key()
            .and_then(|spki| LinkPublicKey::from_spki(&spki))
            .expect("an Ed25519 key has a public key");
        Self { seed, public }
    }

    /// The public half, which peers pin.
    pub fn public(&self) -> LinkPublicKey {
        self.public
    }

    /// What rustls presents and signs with. The copy of the seed it keeps lives as long as its
    /// configuration.
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        let spki = CertificateDer::from(self.public.to_spki().to_vec());
        Arc::new(CertifiedKey::new(vec![spki], signing_key(&self.seed)))
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkKey({:?})", self.public)
    }
}

/// A peer's link key, compared byte for byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkPublicKey(pub [u8; 32]);

impl LinkPublicKey {
    fn to_spki(self) -> [u8; 44] {
        let mut spki = [0; 44];
        let (prefix, key) = spki.split_at_mut(SPKI_PREFIX.len());
        prefix.copy_from_slice(&SPKI_PREFIX);
        key.copy_from_slice(&self.0);
        spki
    }

    /// `None` unless these are exactly the canonical bytes of an Ed25519 key.
    pub(super) fn from_spki(spki: &[u8]) -> Option<Self> {
        let key = spki.strip_prefix(&SPKI_PREFIX)?;
        key.try_into().ok().map(Self)
    }
}

impl fmt::Debug for LinkPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}…")
    }
}

fn signing_key(seed: &[u8; 32]) -> Arc<dyn SigningKey> {
    let mut pkcs8 = Zeroizing::new([0; 48]);
    let (prefix, key) = pkcs8.split_at_mut(PKCS8_PREFIX.len());
    prefix.copy_from_slice(&PKCS8_PREFIX);
    key.copy_from_slice(seed);
    any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice())).expect("any 32 bytes are an Ed25519 seed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 §7.1, test 1.
    #[test]
    fn the_public_key_is_that_of_rfc_8032() {
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
            0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let public = [
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1,
            0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
        ];
        assert_eq!(LinkKey::from_seed(seed).public().0, public);
    }

    #[test]
    fn only_the_canonical_encoding_is_read_back() {
        let key = LinkKey::from_seed([7; 32]).public();
        let spki = key.to_spki();
        assert_eq!(LinkPublicKey::from_spki(&spki), Some(key));
        assert_eq!(LinkPublicKey::from_spki(&spki[..43]), None);
        assert_eq!(LinkPublicKey::from_spki(&[&spki[..], &[0]].concat()), None);
        let mut other_algorithm = spki;
        other_algorithm[8] = 0x71;
        assert_eq!(LinkPublicKey::from_spki(&other_algorithm), None);
    }

    #[test]
    fn the_seed_is_not_printed() {
        let text = format!("{:?}", LinkKey::from_seed([0x41; 32]));
        assert!(!text.contains("41414141") && !text.contains("65, 65"), "{text}");
    }
}
