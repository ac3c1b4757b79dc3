//! The vocabulary: authors, references, slots.

use std::fmt;
use std::io::{self, Read};

use borsh::{BorshDeserialize, BorshSerialize};

/// The most leaders of a group. Bounds every table by leader.
pub const LEADERS_MAX: u8 = 64;

/// A leader's place among the authors of blocks, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct Author(u8);

impl Author {
    /// The author at `place`, if there can be one.
    pub const fn new(place: u8) -> Option<Self> {
        if place < LEADERS_MAX { Some(Author(place)) } else { None }
    }

    /// The place as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The index of this leader's share of a threshold key.
    pub const fn share_index(self) -> u16 {
        self.0 as u16 + 1
    }

    /// All authors of a group of `n`.
    pub fn all(n: u8) -> impl DoubleEndedIterator<Item = Author> + Clone {
        (0..n.min(LEADERS_MAX)).map(Author)
    }

    /// The author that a coin of this value names among `n`.
    pub fn drawn(value: u64, n: u8) -> Author {
        let place = value.checked_rem(u64::from(n.min(LEADERS_MAX))).unwrap_or(0);
        Author(u8::try_from(place).unwrap_or(0))
    }
}

impl BorshDeserialize for Author {
    fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
        Author::new(u8::deserialize_reader(reader)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl fmt::Debug for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}", self.0)
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leader {}", self.share_index())
    }
}

/// A set of authors.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorSet(u64);

impl AuthorSet {
    /// Nobody.
    pub const EMPTY: AuthorSet = AuthorSet(0);

    /// All authors of a group of `n`.
    pub fn all(n: u8) -> Self {
        Author::all(n).collect()
    }

    /// The set and `author`.
    #[must_use]
    pub fn with(self, author: Author) -> Self {
        AuthorSet(self.0 | 1 << author.0)
    }

    /// The set without `author`.
    #[must_use]
    pub fn without(self, author: Author) -> Self {
        AuthorSet(self.0 & !(1 << author.0))
    }

    /// Who is in either.
    #[must_use]
    pub fn or(self, other: AuthorSet) -> Self {
        AuthorSet(self.0 | other.0)
    }

    /// Whether `author` is in it.
    pub fn has(self, author: Author) -> bool {
        self.0 & 1 << author.0 != 0
    }

    /// Whether all of `other` are in it.
    pub fn covers(self, other: AuthorSet) -> bool {
        other.0 & !self.0 == 0
    }

    /// How many they are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether it is nobody.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The authors, lowest first.
    pub fn iter(self) -> impl Iterator<Item = Author> + Clone {
        Author::all(LEADERS_MAX).filter(move |author| self.has(*author))
    }
}

impl FromIterator<Author> for AuthorSet {
    fn from_iter<I: IntoIterator<Item = Author>>(authors: I) -> Self {
        authors.into_iter().fold(AuthorSet::EMPTY, AuthorSet::with)
    }
}

impl fmt::Debug for AuthorSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A BLAKE3 hash.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The hash of a value's encoding for one purpose, and the length of that, without the encoding being kept.
    pub(crate) fn of_value(purpose: &'static str, value: &impl BorshSerialize) -> (Self, usize) {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        value.serialize(&mut hasher).expect("a hash takes everything");
        (Digest(*hasher.finalize().as_bytes()), usize::try_from(hasher.count()).unwrap_or(usize::MAX))
    }

    /// The hash of `bytes` for one purpose; different purposes give unrelated hashes.
    pub fn of(purpose: &'static str, bytes: &[u8]) -> Self {
        Digest(*blake3::Hasher::new_derive_key(purpose).update(bytes).finalize().as_bytes())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Names one block. Ordered by round, then author, then digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Reference {
    /// The block's round.
    pub round: u64,
    /// Who made it.
    pub author: Author,
    /// The hash of all that its author signed.
    pub digest: Digest,
}

impl Reference {
    /// The lowest reference of `round`, for ranges.
    pub(crate) fn lowest(round: u64) -> Self {
        Reference { round, author: Author(0), digest: Digest([0; 32]) }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}#{:?}", self.author, self.round, self.digest)
    }
}

/// A place in the order of what is decided: in round `round`, the slot `index`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Slot {
    /// The round whose block is committed or not.
    pub round: u64,
    /// Its place among the slots of the round.
    pub index: u8,
}
