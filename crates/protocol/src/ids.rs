//! Names and numbers, each its own type, so that an epoch is never taken for a sequence number.

use std::borrow::Borrow;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};

/// The most leaders a group may have. Bounds every per-leader table.
pub const LEADERS_MAX: u8 = 64;

/// The longest user name, in bytes.
pub const USER_NAME_BYTES_MAX: usize = 32;

/// The longest topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 64;

/// A leader's number, from 1: also its abscissa on the dealer's polynomials (seed 002 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct LeaderId(u8);

impl LeaderId {
    /// `None` for zero or above [`LEADERS_MAX`].
    pub const fn new(number: u8) -> Option<Self> {
        if number >= 1 && number <= LEADERS_MAX { Some(LeaderId(number)) } else { None }
    }

    /// The number, from 1.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The index of this leader's key share.
    pub const fn share_index(self) -> u16 {
        self.0 as u16
    }

    /// All leaders of a group of `n`.
    pub fn all(n: u8) -> impl Iterator<Item = LeaderId> + Clone {
        (1..=n.min(LEADERS_MAX)).map(LeaderId)
    }
}

impl fmt::Display for LeaderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leader {}", self.0)
    }
}

impl BorshDeserialize for LeaderId {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        LeaderId::new(u8::deserialize_reader(reader)?).ok_or_else(|| invalid("leader number"))
    }
}

/// A user's name: 1 to 32 bytes of lower-case ASCII letters, digits, `-`, `_` and `.`, not starting with a sign.
///
/// The narrow alphabet keeps look-alike names out of the member list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Arc<str>);

/// A name that [`UserName`] does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 32 characters out of a-z, 0-9, '-', '_' and '.', and starts with a letter or digit")]
pub struct BadName;

impl UserName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl FromStr for UserName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bytes = text.as_bytes();
        let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(b);
        let start = bytes.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if start && bytes.len() <= USER_NAME_BYTES_MAX && bytes.iter().all(allowed) {
            Ok(UserName(text.into()))
        } else {
            Err(BadName)
        }
    }
}

impl Borrow<str> for UserName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl BorshSerialize for UserName {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        serialize_short(self.as_bytes(), writer)
    }
}

impl BorshDeserialize for UserName {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        read_short(reader, USER_NAME_BYTES_MAX)?.parse().map_err(|_| invalid("user name"))
    }
}

/// What a message is about: 1 to 64 bytes of printable ASCII. A plugin has its own topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

impl Topic {
    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Topic {
    type Err = BadTopic;

    fn from_str(text: &str) -> Result<Self, BadTopic> {
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        if !text.is_empty() && text.len() <= TOPIC_BYTES_MAX && printable {
            Ok(Topic(text.into()))
        } else {
            Err(BadTopic)
        }
    }
}

/// A topic that [`Topic`] does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a topic has 1 to 64 printable ASCII characters and no space")]
pub struct BadTopic;

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl BorshSerialize for Topic {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        serialize_short(self.0.as_bytes(), writer)
    }
}

impl BorshDeserialize for Topic {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        read_short(reader, TOPIC_BYTES_MAX)?.parse().map_err(|_| invalid("topic"))
    }
}

/// One stay of a user: strictly increasing per user, so that an old join is recognised (P5).
///
/// Its upper half says in which session it is, and its lower half counts from 1 within that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Incarnation(pub u64);

/// Bits of an [`Incarnation`] that count within a session.
const STAY_BITS: u32 = 32;

impl Incarnation {
    /// The session that the stay is in.
    pub const fn session(self) -> SessionNumber {
        SessionNumber((self.0 >> STAY_BITS) + 1)
    }
}

impl fmt::Display for Incarnation {
    /// The count alone in the first session, `session.count` in a later one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0 & ((1 << STAY_BITS) - 1);
        match self.session() {
            SessionNumber::FIRST => write!(f, "{count}"),
            session => write!(f, "{session}.{count}"),
        }
    }
}

/// A session of a group: they are counted from 1, and never come back (A22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNumber(u64);

/// The most sessions of a group: one a day for 44 years. So the sum of all ranks, the epoch, never overflows: 2^16 users
/// with ranks below 2 · 2^14 · 2^32.
pub const SESSIONS_MAX: u64 = 1 << 14;

impl SessionNumber {
    /// The one that a group is set up in.
    pub const FIRST: SessionNumber = SessionNumber(1);

    /// `None` for zero or above [`SESSIONS_MAX`].
    pub const fn new(number: u64) -> Option<Self> {
        if number >= 1 && number <= SESSIONS_MAX { Some(SessionNumber(number)) } else { None }
    }

    /// The number, from 1.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// What every stay in it is above.
    pub const fn base(self) -> Incarnation {
        Incarnation(self.0.saturating_sub(1) << STAY_BITS)
    }
}

impl fmt::Display for SessionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The number of a view. It grows with every accepted change and never falls at an honest leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Epoch(pub u64);

/// A sequence number within one stream, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Seq(pub u64);

/// A member: a user in one of its stays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct MemberId {
    /// Who.
    pub user: UserName,
    /// Which stay.
    pub incarnation: Incarnation,
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.user, self.incarnation)
    }
}

/// A member's connection to a leader, numbered by the leader's driver, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

macro_rules! digest_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().take(6).try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

digest_id! {
    /// A group: the digest of its whole public document, so that two readings of an altered
    /// document are two groups.
    GroupId
}
digest_id! {
    /// A session of a group, by its group and number. A new session shares no key with an old one (K11, K33).
    SessionId
}
digest_id! {
    /// Commits to group, session, epoch, refresh count, policy and the whole member list (P3).
    ViewDigest
}

/// The name of one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct ViewId {
    /// Its number.
    pub epoch: Epoch,
    /// Its content.
    pub digest: ViewDigest,
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch.0, self.digest)
    }
}

pub(crate) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(crate) fn serialize_short<W: io::Write>(bytes: &[u8], writer: &mut W) -> io::Result<()> {
    let length = u8::try_from(bytes.len()).map_err(|_| invalid("too long"))?;
    length.serialize(writer)?;
    writer.write_all(bytes)
}

pub(crate) fn read_short<R: io::Read>(reader: &mut R, bytes_max: usize) -> io::Result<String> {
    let length = usize::from(u8::deserialize_reader(reader)?);
    if length > bytes_max {
        return Err(invalid("name too long"));
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| invalid("name not text"))
}

/// Implements borsh for a fixed-size crypto value through its byte form.
macro_rules! bytes_codec {
    ($wrapper:ident($inner:ty), $len:expr, $to:expr, $from:expr) => {
        impl ::borsh::BorshSerialize for $wrapper {
            fn serialize<W: ::std::io::Write>(&self, writer: &mut W) -> ::std::io::Result<()> {
                writer.write_all(&$to(&self.0))
            }
        }

        impl ::borsh::BorshDeserialize for $wrapper {
            fn deserialize_reader<R: ::std::io::Read>(reader: &mut R) -> ::std::io::Result<Self> {
                let mut bytes = [0u8; $len];
                reader.read_exact(&mut bytes)?;
                $from(bytes).map($wrapper).ok_or_else(|| $crate::ids::invalid(stringify!($wrapper)))
            }
        }
    };
}
pub(crate) use bytes_codec;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_narrow() {
        for good in ["a", "ana", "x-1_2.3", "0day"] {
            assert!(good.parse::<UserName>().is_ok(), "{good}");
        }
        let long = "a".repeat(USER_NAME_BYTES_MAX + 1);
        for bad in ["", "Ana", "-a", "a b", "аna", "a/b", long.as_str()] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_decoded_name_obeys_the_same_rule() {
        let encoded = borsh::to_vec(&"ana".parse::<UserName>().unwrap()).unwrap();
        assert_eq!(encoded, b"\x03ana");
        assert!(borsh::from_slice::<UserName>(b"\x03Ana").is_err());
        assert!(borsh::from_slice::<UserName>(b"\x00").is_err());
    }
}
