//! Changes of several keys at once, and reads of several keys, under conditions.

use std::collections::BTreeSet;
use std::io::{self, Read};

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_kernel::codec::read_bytes;

use super::{KEY_BYTES_MAX, KeyValue, Refusal, Revision, VALUE_BYTES_MAX};

/// The most conditions of one transaction, and the most keys that it changes or reads: so one costs leaders no more than a few
/// signatures do.
pub const TRANSACTION_MAX: usize = 16;

/// What is done all or not at all, at one revision: only if all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Transaction {
    /// What has to hold.
    #[borsh(deserialize_with = "read_some")]
    pub conditions: Vec<Condition>,
    /// What is done then.
    pub then: Then,
}

/// What a transaction does: it changes or it reads, because a reply to a change has to be short enough to be kept.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Then {
    /// Changes keys.
    Change(#[borsh(deserialize_with = "read_some")] Vec<Change>) = 1,
    /// Reads keys.
    Read(#[borsh(deserialize_with = "read_keys")] Vec<Vec<u8>>) = 2,
}

/// What has to hold of a key.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Condition {
    /// The key.
    #[borsh(deserialize_with = "read_bytes")]
    pub key: Vec<u8>,
    /// What it has to be.
    pub expected: Expected,
}

/// What a key has to be.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Expected {
    /// Its last change has this revision; 0: there is no such key.
    Revision(Revision) = 1,
    /// It is there, with this value. Only who may read may ask this.
    Value(#[borsh(deserialize_with = "read_bytes")] Vec<u8>) = 2,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Change {
    /// Gives it a value.
    Put {
        /// The key.
        #[borsh(deserialize_with = "read_bytes")]
        key: Vec<u8>,
        /// The value.
        #[borsh(deserialize_with = "read_bytes")]
        value: Vec<u8>,
    } = 1,
    /// Takes it away, if it is there.
    Delete {
        /// The key.
        #[borsh(deserialize_with = "read_bytes")]
        key: Vec<u8>,
    } = 2,
}

impl Condition {
    /// The key's last change has this revision; 0: there is no such key.
    pub fn revision(key: &[u8], revision: Revision) -> Self {
        Condition { key: key.to_vec(), expected: Expected::Revision(revision) }
    }

    /// The key is there, with this value.
    pub fn value(key: &[u8], value: &[u8]) -> Self {
        Condition { key: key.to_vec(), expected: Expected::Value(value.to_vec()) }
    }

    /// Whether it tells something of a value.
    pub(super) fn reads(&self) -> bool {
        matches!(self.expected, Expected::Value(_))
    }

    fn check(&self) -> Result<(), Refusal> {
        check_key(&self.key)?;
        match &self.expected {
            Expected::Value(value) => check_value(value),
            Expected::Revision(_) => Ok(()),
        }
    }
}

impl Change {
    /// Gives a key a value.
    pub fn put(key: &[u8], value: &[u8]) -> Self {
        Change::Put { key: key.to_vec(), value: value.to_vec() }
    }

    /// Takes a key away, if it is there.
    pub fn delete(key: &[u8]) -> Self {
        Change::Delete { key: key.to_vec() }
    }

    /// Which key.
    pub fn key(&self) -> &[u8] {
        match self {
            Change::Put { key, .. } | Change::Delete { key } => key,
        }
    }

    pub(super) fn check(&self) -> Result<(), Refusal> {
        check_key(self.key())?;
        match self {
            Change::Put { value, .. } => check_value(value),
            Change::Delete { .. } => Ok(()),
        }
    }
}

impl Transaction {
    /// Whether a store may take it, whatever is in that.
    ///
    /// # Errors
    /// Too many conditions, changes or reads, a key that is twice among the ones or the others, a key or value out of bounds.
    pub fn check(&self) -> Result<(), Refusal> {
        let asked: Vec<&[u8]> = self.conditions.iter().map(|condition| condition.key.as_slice()).collect();
        let done: Vec<&[u8]> = match &self.then {
            Then::Change(changes) => changes.iter().map(Change::key).collect(),
            Then::Read(keys) => keys.iter().map(Vec::as_slice).collect(),
        };
        for keys in [asked, done] {
            if keys.len() > TRANSACTION_MAX {
                return Err(Refusal::Many);
            }
            keys.iter().try_for_each(|key| check_key(key))?;
            if keys.iter().collect::<BTreeSet<_>>().len() < keys.len() {
                return Err(Refusal::Twice);
            }
        }
        self.conditions.iter().try_for_each(Condition::check)?;
        match &self.then {
            Then::Change(changes) => changes.iter().try_for_each(Change::check),
            Then::Read(_) => Ok(()),
        }
    }
}

pub(super) fn check_key(key: &[u8]) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX { Err(Refusal::Key) } else { Ok(()) }
}

fn check_value(value: &[u8]) -> Result<(), Refusal> {
    if value.len() > VALUE_BYTES_MAX { Err(Refusal::Value) } else { Ok(()) }
}

/// A list of at most [`TRANSACTION_MAX`].
fn read_list<R: Read, T>(reader: &mut R, each: impl Fn(&mut R) -> io::Result<T>) -> io::Result<Vec<T>> {
    let length = u32::deserialize_reader(reader)?;
    if length as usize > TRANSACTION_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    (0..length).map(|_| each(reader)).collect()
}

pub(super) fn read_some<R: Read, T: BorshDeserialize>(reader: &mut R) -> io::Result<Vec<T>> {
    read_list(reader, T::deserialize_reader)
}

fn read_keys<R: Read>(reader: &mut R) -> io::Result<Vec<Vec<u8>>> {
    read_list(reader, read_bytes)
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Transacted {
    /// All is changed. Tells of each change whether its key was there before.
    Changed(#[borsh(deserialize_with = "read_some")] Vec<bool>) = 1,
    /// The keys, if they are there, in the order in which they were asked for.
    Read(#[borsh(deserialize_with = "read_some")] Vec<Option<KeyValue>>) = 2,
    /// A condition does not hold: nothing has changed.
    Failed {
        /// The first that does not, counted from 0.
        condition: u8,
        /// The revision of its key's last change; 0 if there is no such key.
        modified: Revision,
    } = 3,
}
