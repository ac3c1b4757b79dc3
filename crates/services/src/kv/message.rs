//! What the key-value store is asked, and what it replies.

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_kernel::codec::{read_bytes, read_bytes_of_each};
use ringfort_protocol::UserName;

use super::{DELETED_MAX, Range, TRANSACTION_MAX, Transacted, Transaction, WIDE_READS_MAX};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The most keys.
pub const KEYS_MAX: u64 = 65_536;
/// What all keys and values take together, in bytes.
pub const STORE_BYTES_MAX: u64 = 24 * 1024 * 1024;
/// What the keys and values take that one user wrote last, in bytes.
pub const USER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What a key counts for beside its bytes and those of its value.
pub const ENTRY_BYTES: u64 = 128;
/// Bytes of keys and values in one reply, counted so; one entry is always in it.
pub const READ_BYTES_MAX: u64 = 64 * 1024;
/// The most leases.
pub const LEASES_MAX: usize = 4096;
/// The most leases that one user was granted.
pub const USER_LEASES_MAX: usize = 512;
/// The shortest and the longest lease, in seconds.
pub const LEASE_TTL_S: std::ops::RangeInclusive<u32> = 1..=30 * 24 * 3600;
/// Changes that are remembered.
pub const HISTORY_EVENTS_MAX: usize = 8192;
/// What they take, each with [`ENTRY_BYTES`] more, in bytes.
pub const HISTORY_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Of what has one revision, what keys were before that is older than the history is remembered up to so much, in bytes.
pub const PREVIOUS_BYTES_MAX: u64 = 1024 * 1024;
/// What the values have together that one transaction puts again as they are, in bytes.
pub const KEPT_VALUES_BYTES_MAX: u64 = 1024 * 1024;
/// Ranges for which one user may wait at once.
pub const WAIT_SLOTS: u8 = 8;

/// Counts the changes of the store. As in etcd, an empty store has revision 1, one change has one revision more, and what
/// changes nothing has none.
pub type Revision = u64;

/// Names a lease; 0 names none. None is above `i64::MAX`, as in etcd.
pub type LeaseId = u64;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum KvRequest {
    /// Reads and changes keys.
    Transact(Transaction) = 1,
    /// Begins a lease.
    LeaseGrant {
        /// Its name; 0: the store chooses one.
        id: LeaseId,
        /// How long it lasts if it is not renewed.
        ttl_s: u32,
    } = 2,
    /// Lets a lease last as long again from now on as it was granted for.
    LeaseRenew {
        /// Which.
        id: LeaseId,
    } = 3,
    /// Ends a lease: its keys go.
    LeaseRevoke {
        /// Which.
        id: LeaseId,
    } = 4,
    /// Tells of a lease.
    LeaseInfo {
        /// Which.
        id: LeaseId,
        /// Whether to tell its keys.
        keys: bool,
    } = 5,
    /// Names all leases.
    LeaseList = 6,
    /// Reads what has changed.
    Changes {
        /// Which keys.
        range: Range,
        /// Behind what.
        after: Position,
        /// So many at most.
        limit: u32,
        /// Whether to tell what keys were before, as far as that is remembered.
        previous: bool,
    } = 7,
    /// Waits until something changes.
    Wait {
        /// Takes the place of what this user waits for in the same slot, below [`WAIT_SLOTS`].
        slot: u8,
        /// Which keys.
        range: Range,
        /// Behind which revision.
        after: Revision,
    } = 8,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct KeyValue {
    /// The key.
    #[borsh(deserialize_with = "read_bytes")]
    pub key: Vec<u8>,
    /// The value; nothing if only keys were asked for.
    #[borsh(deserialize_with = "read_bytes")]
    pub value: Vec<u8>,
    /// The revision at which the key came to be.
    pub created: Revision,
    /// The revision of its last change.
    pub modified: Revision,
    /// Changes since it came to be, that included.
    pub version: u64,
    /// The lease that it is attached to; 0 for none.
    pub lease: LeaseId,
    /// Who changed it last.
    pub writer: UserName,
    /// When, by the order's time: Unix time in microseconds.
    pub time_us: u64,
}

/// A place in the sequence of changes: behind so many of those that have one revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Position {
    /// The revision.
    pub revision: Revision,
    /// How many of its changes.
    pub changes: u32,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Event {
    /// Where it is in the sequence of changes: the position behind it.
    pub position: Position,
    /// What happened.
    pub change: Change,
    /// What the key was before, if that was asked for and is remembered.
    pub previous: Option<KeyValue>,
}

/// What happened to a key.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Change {
    /// It has a value.
    Put(KeyValue) = 1,
    /// It is gone: it was deleted, or its lease has ended.
    Deleted {
        /// Which.
        #[borsh(deserialize_with = "read_bytes")]
        key: Vec<u8>,
    } = 2,
}

/// A reply, with the revision of the store behind it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct KvReply {
    /// The store's revision.
    pub revision: Revision,
    /// What came of the request.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Outcome {
    /// The request is refused: nothing has changed.
    Refused(Refusal) = 1,
    /// What came of a transaction.
    Transacted(Transacted) = 2,
    /// The lease has begun, or lasts longer.
    Leased {
        /// Which.
        id: LeaseId,
        /// For how long.
        ttl_s: u32,
    } = 3,
    /// The lease has ended.
    Revoked = 4,
    /// A lease.
    LeaseInfo(LeaseInfo) = 5,
    /// All leases, in the order of their names.
    Leases(Vec<LeaseId>) = 6,
    /// What has changed.
    Changes {
        /// In its order.
        events: Vec<Event>,
        /// Everything in the range up to here is told.
        upto: Position,
        /// Whether there is more behind it.
        more: bool,
    } = 7,
    /// What has changed behind the position asked for is not all remembered.
    Compacted {
        /// The first revision behind which everything is.
        oldest: Revision,
    } = 8,
    /// Something has changed of what was waited for, or that is not remembered: read the changes.
    Changed = 9,
    /// Another wait has taken this one's place.
    Replaced = 10,
}

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LeaseInfo {
    /// How long it lasts from when it is renewed.
    pub ttl_s: u32,
    /// How long it still lasts, by the order's time, in microseconds.
    pub remaining_us: u64,
    /// Who was granted it.
    pub user: UserName,
    /// Its keys, if they were asked for, as many as a reply holds.
    #[borsh(deserialize_with = "read_bytes_of_each")]
    pub keys: Vec<Vec<u8>>,
    /// Whether it has more.
    pub more: bool,
}

/// What is told at once to whoever waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct WaitNote {
    /// The store's revision.
    pub revision: Revision,
    /// After how many microseconds of the order's time a lease ends that has keys of the range, if it is not renewed: ask
    /// something then, for time passes in the store only when it is asked.
    pub ends_us: Option<u64>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Refusal {
    /// The bytes are no request.
    #[error("the leaders do not know this request: they run another version of Ringfort")]
    Unknown = 1,
    /// The key is empty or too long.
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes")]
    Key = 2,
    /// The value is too long.
    #[error("a value has {VALUE_BYTES_MAX} bytes at most")]
    Value = 3,
    /// The user's role in the group forbids it.
    #[error("your role in this group forbids it: who may not send may not write, and who may not receive may not read")]
    Role = 4,
    /// The store is full.
    #[error("the group's store is full: somebody has to delete keys first")]
    StoreFull = 5,
    /// The user's part of it is full.
    #[error("what you wrote takes all that one user may take, {} MiB: delete keys first", USER_BYTES_MAX / 1024 / 1024)]
    UserFull = 6,
    /// The transaction is too large.
    #[error(
        "a transaction has {TRANSACTION_MAX} conditions and {TRANSACTION_MAX} operations at most, counts or sorts \
         {WIDE_READS_MAX} ranges at most, deletes {DELETED_MAX} keys at most, and leaves keys values of {} KiB at most",
        KEPT_VALUES_BYTES_MAX / 1024
    )]
    Many = 7,
    /// A key is there twice.
    #[error("a transaction changes a key once: it puts no key twice, and does not delete what it puts")]
    Twice = 8,
    /// What was before is too long.
    #[error("a reply has {} KiB at most: ask for the previous values of fewer keys at once", READ_BYTES_MAX / 1024)]
    Reply = 9,
    /// A put that keeps the value or the lease of a key that is not there.
    #[error("there is no such key, so there is no value or lease for it to keep")]
    NoKey = 10,
    /// There is no such lease.
    #[error("there is no such lease: it has ended, or never was")]
    NoLease = 11,
    /// There is a lease of that name.
    #[error("there is a lease of that name already")]
    LeaseExists = 12,
    /// The name or the length of a lease is out of bounds.
    #[error("a lease lasts {} to {} seconds, and its name is at most 2^63 - 1", LEASE_TTL_S.start(), LEASE_TTL_S.end())]
    Lease = 13,
    /// There are too many leases.
    #[error("there are too many leases: one user has {USER_LEASES_MAX} at most, the group {LEASES_MAX}")]
    Leases = 14,
    /// The lease has too many keys.
    #[error("a lease has {DELETED_MAX} keys at most")]
    LeaseKeys = 15,
    /// Too much is waited for.
    #[error("too many members wait for changes, or you wait for more than {WAIT_SLOTS} ranges at once")]
    Waits = 16,
}
