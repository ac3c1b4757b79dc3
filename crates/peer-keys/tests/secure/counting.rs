//! A group that counts exponentiations, by who computes them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rand_core::CryptoRng;
use ringfort_crypto::Secret32;
use ringfort_peer_keys::{Group, Ristretto};
use zeroize::Zeroizing;

#[derive(Default)]
struct Counts {
    who: String,
    counts: BTreeMap<String, usize>,
}

thread_local! {
    static COUNTS: RefCell<Counts> = RefCell::new(Counts::default());
}

/// Who computes from here on.
pub fn act_as(who: &str) {
    COUNTS.with(|counts| who.clone_into(&mut counts.borrow_mut().who));
}

/// What everybody has computed since this was asked last.
pub fn take() -> BTreeMap<String, usize> {
    COUNTS.with(|counts| std::mem::take(&mut counts.borrow_mut().counts))
}

fn one() {
    COUNTS.with(|counts| {
        let counts = &mut *counts.borrow_mut();
        *counts.counts.entry(counts.who.clone()).or_default() += 1;
    });
}

type Exponent = <Ristretto as Group>::Exponent;
type Element = <Ristretto as Group>::Element;

/// The group that ships, counted.
pub struct Counting;

impl Group for Counting {
    type Exponent = Exponent;
    type Element = Element;

    fn random(rng: &mut dyn CryptoRng) -> Zeroizing<Exponent> {
        Ristretto::random(rng)
    }

    fn generate(exponent: &Exponent) -> Element {
        one();
        Ristretto::generate(exponent)
    }

    fn raise(base: &Element, exponent: &Exponent) -> Element {
        one();
        Ristretto::raise(base, exponent)
    }

    fn ratio(new: &Exponent, old: &Exponent) -> Zeroizing<Exponent> {
        Ristretto::ratio(new, old)
    }

    fn inverse(exponent: &Exponent) -> Zeroizing<Exponent> {
        Ristretto::inverse(exponent)
    }

    fn to_exponent(element: &Element) -> Zeroizing<Exponent> {
        Ristretto::to_exponent(element)
    }

    fn to_secret(element: &Element) -> Secret32 {
        Ristretto::to_secret(element)
    }

    fn exponent_to_secret(exponent: &Exponent) -> Secret32 {
        Ristretto::exponent_to_secret(exponent)
    }

    fn encode(element: &Element) -> [u8; 32] {
        Ristretto::encode(element)
    }

    fn decode_any(bytes: &[u8; 32]) -> Option<Element> {
        Ristretto::decode_any(bytes)
    }

    fn is_identity(element: &Element) -> bool {
        Ristretto::is_identity(element)
    }

    fn generator() -> Element {
        Ristretto::generator()
    }
}
