//! The vocabulary: sites, rings, names, services.

use std::fmt;
use std::io::{self, Read};

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;

use crate::limits::{NAME_BYTES_MAX, SITES_MAX};

/// A site's number in the sites file, below [`SITES_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct SiteId(u8);

impl SiteId {
    /// Site `number`, if there can be one.
    pub fn new(number: u8) -> Option<Self> {
        (usize::from(number) < SITES_MAX).then_some(SiteId(number))
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl BorshDeserialize for SiteId {
    fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
        SiteId::new(u8::deserialize_reader(reader)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl fmt::Debug for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "site {}", self.0)
    }
}

/// A set of sites.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct SiteSet(u32);

impl SiteSet {
    /// Nobody.
    pub const EMPTY: SiteSet = SiteSet(0);

    /// The set and `site`.
    #[must_use]
    pub fn with(self, site: SiteId) -> Self {
        SiteSet(self.0 | 1 << site.0)
    }

    /// The set without `site`.
    #[must_use]
    pub fn without(self, site: SiteId) -> Self {
        SiteSet(self.0 & !(1 << site.0))
    }

    /// Who is in both.
    #[must_use]
    pub fn and(self, other: SiteSet) -> Self {
        SiteSet(self.0 & other.0)
    }

    /// Who is in either.
    #[must_use]
    pub fn or(self, other: SiteSet) -> Self {
        SiteSet(self.0 | other.0)
    }

    /// Who is in this set and not in the other.
    #[must_use]
    pub fn minus(self, other: SiteSet) -> Self {
        SiteSet(self.0 & !other.0)
    }

    /// Whether `site` is in it.
    pub fn has(self, site: SiteId) -> bool {
        self.0 & 1 << site.0 != 0
    }

    /// Whether all of `other` are in it.
    pub fn covers(self, other: SiteSet) -> bool {
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

    /// The lowest site.
    pub fn first(self) -> Option<SiteId> {
        self.iter().next()
    }

    /// The sites, lowest first.
    pub fn iter(self) -> impl Iterator<Item = SiteId> + Clone {
        (0..32u8).map(SiteId).filter(move |site| self.has(*site))
    }

    /// The sites as one number, bit by bit.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromIterator<SiteId> for SiteSet {
    fn from_iter<I: IntoIterator<Item = SiteId>>(sites: I) -> Self {
        sites.into_iter().fold(SiteSet::EMPTY, SiteSet::with)
    }
}

impl fmt::Debug for SiteSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|site| site.0)).finish()
    }
}

/// One ring, for ever: no counter is used twice by one representative, whatever crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct RingId {
    /// Above the counter of every ring that any of its members was in.
    pub counter: u64,
    /// The number of the site that formed it.
    pub representative: u8,
}

/// One view of one group: it grows at every client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct GroupViewId {
    /// The ring on which the group's members last came together.
    pub ring: RingId,
    /// Counts joins and leaves since.
    pub index: u32,
}

/// The name of a group or of a client, at most [`NAME_BYTES_MAX`] bytes of any kind.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Bytes);

impl Name {
    /// A name, if it is not too long.
    pub fn new(bytes: impl Into<Bytes>) -> Option<Self> {
        let bytes = bytes.into();
        (bytes.len() <= NAME_BYTES_MAX).then_some(Name(bytes))
    }

    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl BorshSerialize for Name {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        u8::try_from(self.0.len()).map_err(|_| io::ErrorKind::InvalidData)?.serialize(writer)?;
        writer.write_all(&self.0)
    }
}

impl BorshDeserialize for Name {
    fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
        let mut bytes = [0; NAME_BYTES_MAX];
        let length = usize::from(u8::deserialize_reader(reader)?);
        let name = bytes.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
        reader.read_exact(name)?;
        Ok(Name(Bytes::copy_from_slice(name)))
    }
}

/// What a sender asks of a message's delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Service {
    /// At most once, in any order. It travels as a reliable message does.
    Unreliable = 0,
    /// Once, as soon as it is there and all that its client sent before is delivered.
    Reliable = 1,
    /// In the order of its sender. It is delivered in the agreed order, which implies that.
    Fifo = 2,
    /// After everything that its sender had seen. It is delivered in the agreed order, which implies that.
    Causal = 3,
    /// In one order at all receivers, over all groups.
    Agreed = 4,
    /// As agreed, and only once every site of the configuration holds it.
    Safe = 5,
}

impl Service {
    /// Whether it has a place in the agreed order and waits for it.
    pub fn is_ordered(self) -> bool {
        self >= Service::Fifo
    }
}
