//! Transactions, as etcd has them: conditions, and two lists of operations of which one is done, at one moment.

use std::collections::BTreeSet;
use std::io::{self, Read as Input};

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_kernel::codec::{read_bytes, read_optional_bytes};

use super::range::check_key;
use super::{KeyValue, LeaseId, Range, Refusal, Revision, VALUE_BYTES_MAX};

/// The most conditions of one transaction, and the most operations of each of its lists: as many as etcd takes.
pub const TRANSACTION_MAX: usize = 128;
/// Reads of one list that [look at all keys of their range](Read::is_wide).
pub const WIDE_READS_MAX: usize = 4;
/// Keys that one transaction deletes, and keys of one lease: so what has one revision has room in the history.
pub const DELETED_MAX: usize = 4096;

/// What is done at one moment. All of its changes have one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Transaction {
    /// What has to hold.
    #[borsh(deserialize_with = "read_some")]
    pub conditions: Vec<Condition>,
    /// What is done if all of it does.
    #[borsh(deserialize_with = "read_some")]
    pub then: Vec<Operation>,
    /// What is done if anything does not.
    #[borsh(deserialize_with = "read_some")]
    pub otherwise: Vec<Operation>,
}

/// What has to hold of a key.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Condition {
    /// The key.
    #[borsh(deserialize_with = "read_bytes")]
    pub key: Vec<u8>,
    /// How what the key has relates to what is given.
    pub relation: Relation,
    /// What is given.
    pub target: Target,
}

/// What a key has, here, and what is given, there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Relation {
    Equal = 1,
    NotEqual = 2,
    Greater = 3,
    Less = 4,
}

/// What of a key is looked at. A key that is not there has 0 of each, and no value: no condition on a value holds then.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Target {
    /// The revision at which it came to be.
    Created(Revision) = 1,
    /// The revision of its last change.
    Modified(Revision) = 2,
    /// How often it changed since it came to be.
    Version(u64) = 3,
    /// The lease that it is attached to; 0 for none.
    Lease(LeaseId) = 4,
    /// Its value. Only who may read may ask this.
    Value(#[borsh(deserialize_with = "read_bytes")] Vec<u8>) = 5,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Operation {
    /// Reads.
    Read(Read) = 1,
    /// Gives a key a value.
    Put(Put) = 2,
    /// Takes keys away.
    Delete(Delete) = 3,
}

/// Reads keys, with what the operations before it have changed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Read {
    /// Which.
    pub range: Range,
    /// So many at most; those behind them are not counted.
    pub limit: u32,
    /// What of them.
    pub shows: Shows,
    /// In which order, before the first so many are taken.
    pub order: Order,
    /// Only those that came to be at these revisions.
    pub created: Between,
    /// Only those that changed last at these revisions.
    pub modified: Between,
}

/// What is shown of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Shows {
    /// Everything.
    Entries = 1,
    /// All but their values.
    Keys = 2,
    /// How many there are, whatever the limit.
    Count = 3,
}

/// The order of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Order {
    /// By what; keys that are equal in it are in the order of their bytes.
    pub by: By,
    /// Whether the greatest come first.
    pub descending: bool,
}

/// What keys are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum By {
    Key = 1,
    Created = 2,
    Modified = 3,
    Version = 4,
    Value = 5,
}

/// Revisions from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Between {
    pub first: Revision,
    pub last: Revision,
}

/// Gives a key a value, or another lease.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Put {
    /// The key.
    #[borsh(deserialize_with = "read_bytes")]
    pub key: Vec<u8>,
    /// The value; without one the key keeps the one it has, and has to be there.
    #[borsh(deserialize_with = "read_optional_bytes")]
    pub value: Option<Vec<u8>>,
    /// The lease; 0 for none; without one the key keeps the one it has, and has to be there.
    pub lease: Option<LeaseId>,
    /// Whether to tell what it was before.
    pub previous: bool,
}

/// Takes keys away.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Delete {
    /// Which.
    pub range: Range,
    /// Whether to tell what they were.
    pub previous: bool,
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Transacted {
    /// The first condition that does not hold, if any: then `otherwise` was done.
    pub failed: Option<Failed>,
    /// What came of each operation of the list that was done; `None` if the reply was lost on the way to whoever asked. Then all
    /// was done, but what it told is told no more.
    #[borsh(deserialize_with = "read_results")]
    pub results: Option<Vec<OperationResult>>,
}

/// A condition that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Failed {
    /// Counted from 0.
    pub condition: u8,
    /// The revision of its key's last change; 0 if there is no such key.
    pub modified: Revision,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum OperationResult {
    /// Of a read.
    Read {
        /// Keys, in the order asked for. All of one reply have [64 KiB](super::READ_BYTES_MAX) at most, or are one.
        entries: Vec<KeyValue>,
        /// Whether there are more, for which there was no room or which the limit cuts off.
        more: bool,
    } = 1,
    /// Of a read that counts.
    Count(u64) = 2,
    /// Of a put: whether the key was there, and what it was if that was asked for.
    Put {
        /// Whether it was there.
        existed: bool,
        /// What it was.
        previous: Option<KeyValue>,
    } = 3,
    /// Of a delete: how many keys, and what they were if that was asked for.
    Deleted {
        /// How many.
        count: u64,
        /// What they were.
        previous: Vec<KeyValue>,
    } = 4,
}

impl Condition {
    /// What a key has to have.
    pub fn new(key: &[u8], relation: Relation, target: Target) -> Self {
        Condition { key: key.to_vec(), relation, target }
    }

    /// The key's last change has this revision; 0: there is no such key.
    pub fn revision(key: &[u8], revision: Revision) -> Self {
        Condition::new(key, Relation::Equal, Target::Modified(revision))
    }

    /// The key is there, with this value.
    pub fn value(key: &[u8], value: &[u8]) -> Self {
        Condition::new(key, Relation::Equal, Target::Value(value.to_vec()))
    }

    /// Whether it tells something of a value.
    fn reads(&self) -> bool {
        matches!(self.target, Target::Value(_))
    }

    fn check(&self) -> Result<(), Refusal> {
        check_key(&self.key)?;
        match &self.target {
            Target::Value(value) => check_value(value),
            _ => Ok(()),
        }
    }
}

impl Between {
    /// All.
    pub const ALL: Between = Between { first: 0, last: Revision::MAX };

    pub(super) fn contains(self, revision: Revision) -> bool {
        (self.first..=self.last).contains(&revision)
    }
}

impl Order {
    /// By their bytes.
    pub const KEYS: Order = Order { by: By::Key, descending: false };
}

impl Read {
    /// All that there is of a range, in the order of the keys, or as much as a reply holds.
    pub fn all(range: Range) -> Self {
        Read {
            range,
            limit: u32::MAX,
            shows: Shows::Entries,
            order: Order::KEYS,
            created: Between::ALL,
            modified: Between::ALL,
        }
    }

    /// The key of a range that came to be before the others that are there: who holds a lock.
    pub fn first_created(range: Range) -> Self {
        Read { limit: 1, order: Order { by: By::Created, descending: false }, ..Read::all(range) }
    }

    /// How many keys there are in a range.
    pub fn count(range: Range) -> Self {
        Read { shows: Shows::Count, ..Read::all(range) }
    }

    /// Whether all keys of its range have to be looked at, however few it shows.
    pub fn is_wide(&self) -> bool {
        let all = self.created == Between::ALL && self.modified == Between::ALL;
        self.shows == Shows::Count || self.order.by != By::Key || !all
    }
}

impl Put {
    /// A value, without a lease.
    pub fn new(key: &[u8], value: &[u8]) -> Self {
        Put { key: key.to_vec(), value: Some(value.to_vec()), lease: Some(0), previous: false }
    }

    /// A value, as long as a lease lasts.
    pub fn leased(key: &[u8], value: &[u8], lease: LeaseId) -> Self {
        Put { lease: Some(lease), ..Put::new(key, value) }
    }
}

impl Operation {
    /// Gives a key a value, and no lease.
    pub fn put(key: &[u8], value: &[u8]) -> Self {
        Operation::Put(Put::new(key, value))
    }

    /// Takes a key away, if it is there.
    pub fn delete(key: &[u8]) -> Self {
        Operation::Delete(Delete { range: Range::key(key), previous: false })
    }

    /// Reads a key.
    pub fn get(key: &[u8]) -> Self {
        Operation::Read(Read::all(Range::key(key)))
    }

    fn is_wide(&self) -> bool {
        matches!(self, Operation::Read(read) if read.is_wide())
    }

    /// Whether it changes something, and whether it tells of values or of who has keys.
    pub(super) fn changes_and_tells(&self) -> (bool, bool) {
        match self {
            Operation::Read(_) => (false, true),
            Operation::Put(Put { previous, .. }) | Operation::Delete(Delete { previous, .. }) => (true, *previous),
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        match self {
            Operation::Read(Read { range, .. }) | Operation::Delete(Delete { range, .. }) => range.check(),
            Operation::Put(Put { key, value, .. }) => {
                check_key(key)?;
                value.as_deref().map_or(Ok(()), check_value)
            }
        }
    }
}

impl Transaction {
    /// Operations without a condition.
    pub fn of(operations: Vec<Operation>) -> Self {
        Transaction { then: operations, ..Transaction::default() }
    }

    /// Whether it needs the right to write, and the right to read.
    pub(super) fn needs(&self) -> (bool, bool) {
        let operations = self.then.iter().chain(&self.otherwise).map(Operation::changes_and_tells);
        let guesses = (false, self.conditions.iter().any(Condition::reads));
        operations.fold(guesses, |(writes, reads), (change, tell)| (writes || change, reads || tell))
    }

    /// Whether a store may take it, whatever is in that.
    ///
    /// # Errors
    /// Too many conditions, operations or wide reads, a key that one list puts and puts or deletes, a key or value out of bounds.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.conditions.len() > TRANSACTION_MAX {
            return Err(Refusal::Many);
        }
        self.conditions.iter().try_for_each(Condition::check)?;
        check_operations(&self.then)?;
        check_operations(&self.otherwise)
    }
}

/// As in etcd: one list puts a key once, and does not delete what it puts. So it changes a key once.
fn check_operations(operations: &[Operation]) -> Result<(), Refusal> {
    let wide = operations.iter().filter(|operation| operation.is_wide()).count();
    if operations.len() > TRANSACTION_MAX || wide > WIDE_READS_MAX {
        return Err(Refusal::Many);
    }
    operations.iter().try_for_each(Operation::check)?;
    let mut put: BTreeSet<&[u8]> = BTreeSet::new();
    for operation in operations {
        if let Operation::Put(Put { key, .. }) = operation
            && !put.insert(key)
        {
            return Err(Refusal::Twice);
        }
    }
    let is_put = |range: &Range| range.bounds().is_some_and(|bounds| put.range::<[u8], _>(bounds).next().is_some());
    let deletes_put = |operation: &Operation| match operation {
        Operation::Delete(Delete { range, .. }) => is_put(range),
        Operation::Read(_) | Operation::Put(_) => false,
    };
    if operations.iter().any(deletes_put) { Err(Refusal::Twice) } else { Ok(()) }
}

fn check_value(value: &[u8]) -> Result<(), Refusal> {
    if value.len() > VALUE_BYTES_MAX { Err(Refusal::Value) } else { Ok(()) }
}

/// A list of at most [`TRANSACTION_MAX`].
fn read_some<R: Input, T: BorshDeserialize>(reader: &mut R) -> io::Result<Vec<T>> {
    let length = u32::deserialize_reader(reader)?;
    if length as usize > TRANSACTION_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    (0..length).map(|_| T::deserialize_reader(reader)).collect()
}

fn read_results<R: Input>(reader: &mut R) -> io::Result<Option<Vec<OperationResult>>> {
    bool::deserialize_reader(reader)?.then(|| read_some(reader)).transpose()
}
