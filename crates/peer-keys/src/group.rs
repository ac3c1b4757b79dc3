//! The group of prime order in which keys are agreed.
//!
//! One suite ships, [`Ristretto`]. The trait is here because two other groups measure what the protocols promise: one
//! counts exponentiations, and one has ids for elements, so that what a set of shares lets somebody derive can be
//! computed instead of assumed.

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::traits::IsIdentity;
use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_core::CryptoRng;
use ringfort_crypto::Secret32;
use ringfort_crypto::kdf::derive;
use zeroize::{Zeroize, Zeroizing};

/// A group of prime order with a fixed generator, written multiplicatively.
pub trait Group: 'static {
    /// A secret exponent.
    type Exponent: Clone + Zeroize;
    /// A public or shared element.
    type Element: Clone + PartialEq;

    /// A fresh exponent other than zero.
    fn random(rng: &mut dyn CryptoRng) -> Zeroizing<Self::Exponent>;
    /// The generator to `exponent`. One exponentiation.
    fn generate(exponent: &Self::Exponent) -> Self::Element;
    /// `base` to `exponent`. One exponentiation.
    fn raise(base: &Self::Element, exponent: &Self::Exponent) -> Self::Element;
    /// The exponent that takes `old` out of an element and puts `new` in.
    fn ratio(new: &Self::Exponent, old: &Self::Exponent) -> Zeroizing<Self::Exponent>;
    /// The exponent that takes `exponent` out of an element.
    fn inverse(exponent: &Self::Exponent) -> Zeroizing<Self::Exponent>;
    /// The exponent that stands for a shared element: a hash, never zero.
    fn to_exponent(element: &Self::Element) -> Zeroizing<Self::Exponent>;
    /// The key that stands for a shared element.
    fn to_secret(element: &Self::Element) -> Secret32;
    /// The key that stands for a shared exponent.
    fn exponent_to_secret(exponent: &Self::Exponent) -> Secret32;
    /// The only encoding of an element.
    fn encode(element: &Self::Element) -> [u8; 32];
    /// The element that `bytes` encode, the identity too.
    fn decode_any(bytes: &[u8; 32]) -> Option<Self::Element>;
    /// Whether an element is the identity: its powers are no secret.
    fn is_identity(element: &Self::Element) -> bool;
    /// The generator itself.
    fn generator() -> Self::Element;
}

/// The group ristretto255 (RFC 9496).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ristretto;

impl Group for Ristretto {
    type Exponent = Scalar;
    type Element = RistrettoPoint;

    fn random(rng: &mut dyn CryptoRng) -> Zeroizing<Scalar> {
        let mut wide = Zeroizing::new([0; 64]);
        loop {
            rng.fill_bytes(wide.as_mut_slice());
            let exponent = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide));
            if *exponent != Scalar::ZERO {
                return exponent;
            }
        }
    }

    fn generate(exponent: &Scalar) -> RistrettoPoint {
        RistrettoPoint::mul_base(exponent)
    }

    fn raise(base: &RistrettoPoint, exponent: &Scalar) -> RistrettoPoint {
        base * exponent
    }

    fn ratio(new: &Scalar, old: &Scalar) -> Zeroizing<Scalar> {
        Zeroizing::new(new * old.invert())
    }

    fn inverse(exponent: &Scalar) -> Zeroizing<Scalar> {
        Zeroizing::new(exponent.invert())
    }

    fn to_exponent(element: &RistrettoPoint) -> Zeroizing<Scalar> {
        let bytes = Zeroizing::new(element.compress().to_bytes());
        let mut wide = Zeroizing::new([0; 64]);
        for (half, number) in wide.chunks_mut(32).zip([b"0", b"1"]) {
            half.copy_from_slice(derive(bytes.as_slice(), "peer keys: an exponent of an element", &[number]).expose());
        }
        let exponent = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide));
        if *exponent == Scalar::ZERO { Zeroizing::new(Scalar::ONE) } else { exponent }
    }

    fn to_secret(element: &RistrettoPoint) -> Secret32 {
        let bytes = Zeroizing::new(element.compress().to_bytes());
        derive(bytes.as_slice(), "peer keys: a key of an element", &[])
    }

    fn exponent_to_secret(exponent: &Scalar) -> Secret32 {
        derive(exponent.as_bytes(), "peer keys: a key of an exponent", &[])
    }

    fn encode(element: &RistrettoPoint) -> [u8; 32] {
        element.compress().to_bytes()
    }

    fn decode_any(bytes: &[u8; 32]) -> Option<RistrettoPoint> {
        CompressedRistretto(*bytes).decompress()
    }

    fn is_identity(element: &RistrettoPoint) -> bool {
        IsIdentity::is_identity(element)
    }

    fn generator() -> RistrettoPoint {
        curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn factoring_out_undoes_raising() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (a, b) = (Ristretto::random(&mut rng), Ristretto::random(&mut rng));
        let both = Ristretto::raise(&Ristretto::generate(&a), &b);
        assert_eq!(Ristretto::raise(&both, &Ristretto::inverse(&b)), Ristretto::generate(&a));
        assert_eq!(Ristretto::raise(&Ristretto::generate(&a), &Ristretto::ratio(&b, &a)), Ristretto::generate(&b));
        assert_eq!(Ristretto::raise(&Ristretto::generator(), &a), Ristretto::generate(&a));
    }

    #[test]
    fn an_element_has_one_encoding_and_the_identity_is_told() {
        let identity = [0; 32];
        assert!(Ristretto::is_identity(&Ristretto::decode_any(&identity).unwrap()));
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let element = Ristretto::generate(&Ristretto::random(&mut rng));
        let bytes = Ristretto::encode(&element);
        assert!(Ristretto::decode_any(&bytes).is_some_and(|read| read == element && !Ristretto::is_identity(&read)));
        assert!((0..32).all(|i| {
            let mut other = bytes;
            other[i] ^= 0x80;
            Ristretto::decode_any(&other).is_none_or(|read| read != element)
        }));
        assert!(Ristretto::decode_any(&[0xff; 32]).is_none());
    }

    #[test]
    fn keys_of_elements_and_exponents_are_unrelated() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let a = Ristretto::random(&mut rng);
        let element = Ristretto::generate(&a);
        assert_ne!(Ristretto::to_secret(&element), Ristretto::exponent_to_secret(&a));
        assert_ne!(*Ristretto::to_exponent(&element), *a);
    }
}
