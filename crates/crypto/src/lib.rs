//! The cryptography of Ringfort: one suite, and two builds of it.
//!
//! What the rest of the project may rely on:
//!
//! * **Threshold keys** ([`threshold`]): `n` leaders hold shares of a key nobody knows. Any
//!   `threshold` of them compute the key's value at a public point; fewer learn nothing of it. Each
//!   share carries a proof, so a wrong one is noticed and its sender named.
//! * **Login hardening** ([`oprf`], [`login_key`], [`password`]): shares of a key of the user's own, applied to a
//!   blinded password. Fewer than `threshold` stolen leader databases give nothing to guess passwords
//!   against, and what is evaluated under one name says nothing of another's password.
//! * **Sealing** ([`aead`], [`kem`]), **signatures** ([`sign`]), **key derivation** ([`kdf`]),
//!   **hashing** ([`hash`]) and an order-independent **set hash** ([`set_hash`]).
//!
//! Rules that hold everywhere:
//!
//! * Nothing here does I/O, reads a clock or finds its own randomness: an operation that needs
//!   randomness takes a [`CryptoRng`].
//! * Bytes from outside never panic. They are refused with an error, and every accepted encoding is
//!   the only encoding of its value.
//! * Secrets are wiped when dropped, compared in constant time and never printed.
//! * Every hash and derivation takes a label and prefixes each part with its length, so two
//!   different uses, or two different lists of parts, never meet in one input.
//!
//! Assumed: discrete logarithms and computational Diffie-Hellman are hard in ristretto255 and
//! Curve25519, SHA-2 behaves as a random oracle, AES-256-GCM is secure while no nonce repeats under
//! a key. None of this withstands a quantum computer; links that need it add it themselves.

pub mod aead;
pub mod hash;
pub mod kdf;
pub mod kem;
pub mod login_key;
pub mod meter;
pub mod oprf;
pub mod password;
pub mod secret;
pub mod set_hash;
pub mod sign;
#[cfg(test)]
mod testing;
pub mod threshold;

pub use rand_core::CryptoRng;
pub use secret::{Secret, Secret32};

/// The libraries that this build computes with: two leaders of the same build share their flaws.
///
/// Either AWS-LC for AES-GCM and the field arithmetic of curve25519-dalek, or RustCrypto for AES-GCM and arithmetic that
/// Fiat Cryptography synthesised from machine-checked proofs. One switch chooses both, that of curve25519-dalek, so that no
/// build has half of each. Not independent are the group law above the field, Ed25519 and X25519 (dalek), SHA-2 (RustCrypto)
/// and the links' TLS (AWS-LC).
pub const BACK_ENDS: &str =
    if cfg!(curve25519_dalek_backend = "fiat") { "(rustcrypto, fiat)" } else { "(aws-lc, dalek)" };

/// Bytes that are not an acceptable public or secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an acceptable key")]
pub struct KeyError;
