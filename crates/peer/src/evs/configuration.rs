//! Configurations as the layers above see them: where the membership of the sites changes among the messages.

use crate::ids::{RingId, SiteSet};

/// What a site delivers, in order, to the groups above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configuration {
    /// Some sites of the old ring are gone; what follows is delivered to the movers only.
    Transitional(Transitional),
    /// A new ring.
    Regular(Regular),
}

/// The sites that go on together from the old ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transitional {
    /// The ring that ended.
    pub old: RingId,
    /// Who of it comes along.
    pub movers: SiteSet,
}

/// A ring's members, at the moment it is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regular {
    /// The ring.
    pub ring: RingId,
    /// All its members.
    pub members: SiteSet,
    /// Who of them came from the same old ring as this site.
    pub movers: SiteSet,
}
