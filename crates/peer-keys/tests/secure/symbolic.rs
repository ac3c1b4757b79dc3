//! A group whose elements are written down as what they are made of, and the question what follows from what.
//!
//! Every exponent is a product of atoms: shares, and hashes of elements. An element is the generator to such a product.
//! Somebody who holds some atoms and has seen some elements can put atoms in and take them out; two elements do not give
//! the element of both. That is the algebra of Diffie–Hellman, so secrecy can be computed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use rand_core::CryptoRng;
use ringfort_crypto::Secret32;
use ringfort_crypto::kdf::derive;
use ringfort_peer_keys::Group;
use zeroize::{Zeroize, Zeroizing};

type Atom = u32;
/// A product of powers of atoms.
pub type Product = BTreeMap<Atom, i32>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exponent(u32);

impl Zeroize for Exponent {
    fn zeroize(&mut self) {
        self.0 = 0;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element(u32);

/// The identity: what everybody can predict.
const IDENTITY: u32 = 0;

#[derive(Default)]
pub struct Ledger {
    products: Vec<Product>,
    by_product: BTreeMap<Product, u32>,
    atoms: u32,
    /// Atoms that are hashes, each with its element.
    hashes: BTreeMap<u32, Atom>,
    who: String,
    held: BTreeMap<String, BTreeSet<Atom>>,
    /// Elements that a process has computed.
    computed: BTreeMap<String, BTreeSet<u32>>,
    public: BTreeSet<u32>,
    /// The last element or exponent of which a process made a key.
    secrets: BTreeMap<String, Secret>,
    /// Who says other elements than it has, and which.
    liar: Option<(String, Lie)>,
    lies: BTreeMap<u32, u32>,
}

/// How a liar lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It says elements that it has just made up.
    Random,
    /// It says the identity.
    Identity,
}

/// What a key was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Secret {
    Element(u32),
    Exponent(u32),
}

thread_local! {
    static LEDGER: RefCell<Ledger> = RefCell::new(Ledger::default());
}

fn with<T>(use_it: impl FnOnce(&mut Ledger) -> T) -> T {
    LEDGER.with(|ledger| use_it(&mut ledger.borrow_mut()))
}

impl Ledger {
    fn intern(&mut self, product: Product) -> u32 {
        if self.products.is_empty() {
            // Number 0 is the identity, or the wiped exponent.
            self.products.push(BTreeMap::from([(Atom::MAX, 1)]));
        }
        if let Some(id) = self.by_product.get(&product) {
            return *id;
        }
        let id = u32::try_from(self.products.len()).unwrap();
        self.products.push(product.clone());
        self.by_product.insert(product, id);
        id
    }

    fn atom(&mut self) -> Atom {
        self.atoms += 1;
        self.atoms
    }

    fn hold(&mut self, atom: Atom) -> u32 {
        self.held.entry(self.who.clone()).or_default().insert(atom);
        self.intern([(atom, 1)].into())
    }

    fn times(&self, a: u32, b: u32, sign: i32) -> Product {
        let mut product = self.products[a as usize].clone();
        for (atom, power) in &self.products[b as usize] {
            *product.entry(*atom).or_default() += sign * power;
        }
        product.retain(|_, power| *power != 0);
        product
    }

    fn compute(&mut self, element: u32) -> Element {
        self.computed.entry(self.who.clone()).or_default().insert(element);
        Element(element)
    }

    /// The secrets of `secrets` that follow from all that these processes have ever held or computed, and all that was public.
    pub fn follow(&self, who: &BTreeSet<String>, secrets: &BTreeSet<Secret>) -> Vec<Secret> {
        let mut atoms: BTreeSet<Atom> = who.iter().filter_map(|who| self.held.get(who)).flatten().copied().collect();
        let computed = who.iter().filter_map(|who| self.computed.get(who)).flatten();
        let known: BTreeSet<u32> = self.public.iter().chain(computed).copied().collect();
        // Only what is not known decides: elements that differ in known atoms alone are one.
        let core = |atoms: &BTreeSet<Atom>, element: u32| -> Product {
            let product = &self.products[element as usize];
            product.iter().filter(|(atom, _)| !atoms.contains(atom)).map(|(atom, power)| (*atom, *power)).collect()
        };
        loop {
            let mut cores: BTreeSet<Product> = known.iter().map(|element| core(&atoms, *element)).collect();
            cores.insert(Product::new());
            let more: Vec<Atom> = self
                .hashes
                .iter()
                .filter(|(element, atom)| {
                    !atoms.contains(atom) && (**element == IDENTITY || cores.contains(&core(&atoms, **element)))
                })
                .map(|(_, atom)| *atom)
                .collect();
            if more.is_empty() {
                let follows = |secret: &&Secret| match **secret {
                    Secret::Element(element) => element == IDENTITY || cores.contains(&core(&atoms, element)),
                    Secret::Exponent(exponent) => core(&atoms, exponent).is_empty(),
                };
                return secrets.iter().filter(follows).copied().collect();
            }
            atoms.extend(more);
        }
    }
}

/// Everything is forgotten.
pub fn reset() {
    with(|ledger| *ledger = Ledger::default());
}

/// Who computes from here on.
pub fn act_as(who: &str) {
    with(|ledger| who.clone_into(&mut ledger.who));
}

/// From here on `who` lies about every element that it has computed and not said before; or nobody does.
pub fn lie_as(liar: Option<(&str, Lie)>) {
    with(|ledger| ledger.liar = liar.map(|(who, lie)| (who.to_owned(), lie)));
}

/// What `who` made a key of last.
pub fn last_secret(who: &str) -> Option<Secret> {
    with(|ledger| ledger.secrets.get(who).copied())
}

pub fn follow(who: &BTreeSet<String>, secrets: &BTreeSet<Secret>) -> Vec<Secret> {
    with(|ledger| ledger.follow(who, secrets))
}

/// Whether an element's secret depends on a share that `who` drew.
pub fn depends_on(secret: Secret, who: &str) -> bool {
    with(|ledger| {
        let mut open: Vec<u32> = vec![match secret {
            Secret::Element(id) | Secret::Exponent(id) => id,
        }];
        let mut seen = BTreeSet::new();
        let hashes: BTreeMap<Atom, u32> = ledger.hashes.iter().map(|(element, atom)| (*atom, *element)).collect();
        while let Some(id) = open.pop() {
            for atom in ledger.products[id as usize].keys() {
                if seen.insert(*atom) {
                    match hashes.get(atom) {
                        Some(element) => open.push(*element),
                        None if ledger.held.get(who).is_some_and(|held| held.contains(atom)) => return true,
                        None => {}
                    }
                }
            }
        }
        false
    })
}

pub struct Symbolic;

impl Group for Symbolic {
    type Exponent = Exponent;
    type Element = Element;

    fn random(_rng: &mut dyn CryptoRng) -> Zeroizing<Exponent> {
        with(|ledger| {
            let atom = ledger.atom();
            Zeroizing::new(Exponent(ledger.hold(atom)))
        })
    }

    fn generate(exponent: &Exponent) -> Element {
        with(|ledger| ledger.compute(exponent.0))
    }

    fn raise(base: &Element, exponent: &Exponent) -> Element {
        with(|ledger| {
            if base.0 == IDENTITY {
                return Element(IDENTITY);
            }
            let product = ledger.times(base.0, exponent.0, 1);
            let id = ledger.intern(product);
            ledger.compute(id)
        })
    }

    fn ratio(new: &Exponent, old: &Exponent) -> Zeroizing<Exponent> {
        with(|ledger| {
            let product = ledger.times(new.0, old.0, -1);
            Zeroizing::new(Exponent(ledger.intern(product)))
        })
    }

    fn inverse(exponent: &Exponent) -> Zeroizing<Exponent> {
        with(|ledger| {
            let one = ledger.intern(Product::new());
            let product = ledger.times(one, exponent.0, -1);
            Zeroizing::new(Exponent(ledger.intern(product)))
        })
    }

    fn to_exponent(element: &Element) -> Zeroizing<Exponent> {
        with(|ledger| {
            let atom = match ledger.hashes.get(&element.0) {
                Some(atom) => *atom,
                None => {
                    let atom = ledger.atom();
                    ledger.hashes.insert(element.0, atom);
                    atom
                }
            };
            Zeroizing::new(Exponent(ledger.hold(atom)))
        })
    }

    fn to_secret(element: &Element) -> Secret32 {
        with(|ledger| {
            ledger.secrets.insert(ledger.who.clone(), Secret::Element(element.0));
        });
        derive(&element.0.to_le_bytes(), "symbolic element", &[])
    }

    fn exponent_to_secret(exponent: &Exponent) -> Secret32 {
        with(|ledger| {
            ledger.secrets.insert(ledger.who.clone(), Secret::Exponent(exponent.0));
        });
        derive(&exponent.0.to_le_bytes(), "symbolic exponent", &[])
    }

    fn encode(element: &Element) -> [u8; 32] {
        let said = with(|ledger| {
            let lie = ledger.liar.as_ref().filter(|(who, _)| *who == ledger.who).map(|(_, lie)| *lie);
            let said = match lie {
                None => element.0,
                Some(Lie::Identity) => IDENTITY,
                Some(Lie::Random) if ledger.public.contains(&element.0) => element.0,
                Some(Lie::Random) => match ledger.lies.get(&element.0) {
                    Some(lie) => *lie,
                    None => {
                        let atom = ledger.atom();
                        let lie = ledger.hold(atom);
                        ledger.lies.insert(element.0, lie);
                        lie
                    }
                },
            };
            ledger.public.insert(said);
            said
        });
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&said.to_le_bytes());
        bytes
    }

    fn decode_any(bytes: &[u8; 32]) -> Option<Element> {
        let id = u32::from_le_bytes(bytes[..4].try_into().ok()?);
        let known = with(|ledger| (id as usize) < ledger.products.len().max(1));
        (known && bytes[4..].iter().all(|byte| *byte == 0)).then_some(Element(id))
    }

    fn is_identity(element: &Element) -> bool {
        element.0 == IDENTITY
    }

    fn generator() -> Element {
        Element(with(|ledger| ledger.intern(Product::new())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> BTreeSet<String> {
        [text.to_owned()].into()
    }

    #[test]
    fn what_two_share_follows_from_either_of_them_and_from_nobody_else() {
        reset();
        let mut rng = ringfort_crypto_rng();
        act_as("a");
        let a = Symbolic::random(&mut rng);
        let at_a = Symbolic::generate(&a);
        let _ = Symbolic::encode(&at_a);
        act_as("b");
        let b = Symbolic::random(&mut rng);
        let at_b = Symbolic::generate(&b);
        let _ = Symbolic::encode(&at_b);
        let shared = Symbolic::raise(&at_a, &b);
        let hash = Symbolic::to_exponent(&shared);
        let secrets = [Secret::Element(shared.0), Secret::Exponent(hash.0)].into();
        assert_eq!(follow(&name("c"), &secrets), []);
        assert_eq!(follow(&name("a"), &secrets).len(), 2);
        assert_eq!(follow(&name("b"), &secrets).len(), 2);
        assert!(depends_on(Secret::Exponent(hash.0), "a") && !depends_on(Secret::Exponent(hash.0), "c"));
        let back = Symbolic::raise(&shared, &Symbolic::inverse(&b));
        assert_eq!(back, at_a);
    }

    fn ringfort_crypto_rng() -> rand_chacha::ChaCha12Rng {
        use rand_core::SeedableRng;
        rand_chacha::ChaCha12Rng::seed_from_u64(1)
    }
}
