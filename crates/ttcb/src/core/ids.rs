//! The vocabulary: components, epochs, entities, sets of components.

use std::fmt;

/// The most components of one group: what fits the two fixed formats.
pub const COMPONENTS_MAX: usize = 10;
/// Bytes of a block, the unit that components agree on.
pub const BLOCK_BYTES: usize = 32;
/// Of a block, the bytes that say what it is about: blocks that differ here are not compared.
pub const PLACE_BYTES: usize = 8;
/// Bytes of what names an entity's key.
pub const ENTITY_KEY_BYTES: usize = 12;

/// A component's place in the group file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Index(u8);

impl Index {
    /// The component at this place; `None` beyond [`COMPONENTS_MAX`].
    pub fn new(place: usize) -> Option<Self> {
        (place < COMPONENTS_MAX).then_some(Index(place as u8))
    }

    /// The place, as a byte of a format.
    pub fn get(self) -> u8 {
        self.0
    }

    /// The place, for tables.
    pub fn place(self) -> usize {
        usize::from(self.0)
    }

    /// All that there can be.
    pub fn all() -> impl Iterator<Item = Index> {
        (0..COMPONENTS_MAX as u8).map(Index)
    }
}

/// A set of components.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Mask(u16);

impl Mask {
    /// Nobody.
    pub const EMPTY: Mask = Mask(0);

    /// The set with these bits; `None` if one of them is no component.
    pub fn from_bits(bits: u16) -> Option<Self> {
        (bits >> COMPONENTS_MAX == 0).then_some(Mask(bits))
    }

    /// One bit for each component.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// Adds a component.
    pub fn insert(&mut self, index: Index) {
        self.0 |= 1 << index.0;
    }

    /// Whether the component is in.
    pub fn has(self, index: Index) -> bool {
        self.0 & (1 << index.0) != 0
    }

    /// How many are in.
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Those of `self` that are not in `other`.
    pub fn without(self, other: Mask) -> Mask {
        Mask(self.0 & !other.0)
    }

    /// Whether all of `self` are in `other`.
    pub fn within(self, other: Mask) -> bool {
        self.0 & !other.0 == 0
    }

    /// Nobody is in.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in, by their places.
    pub fn iter(self) -> impl Iterator<Item = Index> {
        Index::all().filter(move |index| self.has(*index))
    }
}

impl FromIterator<Index> for Mask {
    fn from_iter<T: IntoIterator<Item = Index>>(indices: T) -> Self {
        let mut mask = Mask::EMPTY;
        indices.into_iter().for_each(|index| mask.insert(index));
        mask
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Index::get)).finish()
    }
}

/// How often a component has been started, this start included: nothing of one epoch counts in another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u32);

/// A number that a component draws at its start: it proves to it that who names it has heard it since.
pub type Boot = [u8; 16];

/// A block that components agree on or compare.
pub type Block = [u8; BLOCK_BYTES];

/// An agreement's name: a hash of all its terms.
pub type Tag = [u8; 16];

/// An entity, as components know it: the epoch in which its component authenticated it, and its key's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entity {
    /// Its component's epoch.
    pub epoch: Epoch,
    /// A hash of its public key.
    pub key: [u8; ENTITY_KEY_BYTES],
}

/// What is made of the blocks that were proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The block of this component's entity, if it proposed one.
    Of(Index),
    /// The block that most proposed; among those with as many, that of the lowest component.
    Majority,
    /// The block that more than half of those listed proposed, and who proposed what.
    Equality,
    /// Every block: the result is a hash of all of them, and each can be asked for.
    Collect,
}

const OF: u8 = 16;

impl Decision {
    /// As a byte of a format.
    pub fn code(self) -> u8 {
        match self {
            Decision::Majority => 1,
            Decision::Equality => 2,
            Decision::Collect => 3,
            Decision::Of(index) => OF + index.get(),
        }
    }

    /// What the byte means; `None` if nothing.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Decision::Majority),
            2 => Some(Decision::Equality),
            3 => Some(Decision::Collect),
            code => Index::new(usize::from(code.checked_sub(OF)?)).map(Decision::Of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_and_sets_have_one_encoding() {
        let known: Vec<u8> = (0..=255).filter(|code| Decision::from_code(*code).is_some()).collect();
        assert_eq!(known.len(), 3 + COMPONENTS_MAX);
        for code in known {
            assert_eq!(Decision::from_code(code).unwrap().code(), code);
        }
        assert_eq!(Mask::from_bits(1 << COMPONENTS_MAX), None, "there is no such component");
        let some: Mask = [0, 3, 9].into_iter().filter_map(Index::new).collect();
        assert_eq!((some.count(), some.iter().map(Index::place).collect::<Vec<_>>()), (3, vec![0, 3, 9]));
        assert!(some.within(some) && !some.within(Mask::EMPTY) && some.without(some).is_empty());
    }
}
