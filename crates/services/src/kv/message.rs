//! What the key-value store is asked, and what it replies.

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_protocol::UserName;

use super::transaction::{TRANSACTION_MAX, Transacted, Transaction};

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
/// Keys in one reply to a list.
pub const LIST_KEYS_MAX: usize = 1024;
/// Bytes of keys and values in one reply to a list or to a transaction that reads; one entry is always in it.
pub const LIST_BYTES_MAX: usize = 64 * 1024;

/// Counts the changes of the store. As in etcd, one change has one revision, and what changes nothing has none.
pub type Revision = u64;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum KvRequest {
    /// Gives a key a value. With `expected` only if the key's last change has that revision; 0: if there is no such key.
    Put {
        /// The key.
        #[borsh(deserialize_with = "ringfort_kernel::codec::read_bytes")]
        key: Vec<u8>,
        /// The value.
        #[borsh(deserialize_with = "ringfort_kernel::codec::read_bytes")]
        value: Vec<u8>,
        /// The condition.
        expected: Option<Revision>,
    } = 1,
    /// Takes a key away, under a condition as above.
    Delete {
        /// The key.
        #[borsh(deserialize_with = "ringfort_kernel::codec::read_bytes")]
        key: Vec<u8>,
        /// The condition.
        expected: Option<Revision>,
    } = 2,
    /// Reads a key.
    Get {
        /// The key.
        #[borsh(deserialize_with = "ringfort_kernel::codec::read_bytes")]
        key: Vec<u8>,
    } = 3,
    /// Reads keys in their order.
    List {
        /// Keys that begin so.
        #[borsh(deserialize_with = "ringfort_kernel::codec::read_bytes")]
        prefix: Vec<u8>,
        /// Keys behind this one.
        #[borsh(deserialize_with = "ringfort_kernel::codec::read_optional_bytes")]
        after: Option<Vec<u8>>,
        /// So many at most.
        limit: u32,
    } = 4,
    /// Changes or reads several keys, all or none.
    Transact(Transaction) = 5,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct KeyValue {
    /// The key.
    #[borsh(deserialize_with = "ringfort_kernel::codec::read_bytes")]
    pub key: Vec<u8>,
    /// The value.
    #[borsh(deserialize_with = "ringfort_kernel::codec::read_bytes")]
    pub value: Vec<u8>,
    /// The revision at which the key came to be.
    pub created: Revision,
    /// The revision of its last change.
    pub modified: Revision,
    /// Changes since it came to be, that included.
    pub version: u64,
    /// Who changed it last.
    pub writer: UserName,
    /// When, by the order's time: Unix time in microseconds.
    pub time_us: u64,
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
    /// The key has the value.
    Put = 1,
    /// The key is gone, or was not there.
    Deleted {
        /// Whether it was there.
        existed: bool,
    } = 2,
    /// The condition does not hold: nothing has changed.
    Conflict {
        /// The revision of the key's last change; 0 if there is no such key.
        modified: Revision,
    } = 3,
    /// The key, if it is there.
    Got(Option<KeyValue>) = 4,
    /// Keys in their order.
    Listed {
        /// They.
        entries: Vec<KeyValue>,
        /// Whether there are more behind them.
        more: bool,
    } = 5,
    /// The request is refused: nothing has changed.
    Refused(Refusal) = 6,
    /// What came of a transaction.
    Transacted(Transacted) = 7,
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
        "a transaction has {TRANSACTION_MAX} conditions at most, and changes or reads {TRANSACTION_MAX} keys at most"
    )]
    Many = 7,
    /// A key is there twice.
    #[error("a transaction has one condition for a key at most, and changes or reads a key once")]
    Twice = 8,
    /// What it reads is too long.
    #[error("what a transaction reads has {} KiB at most: read fewer keys at once", LIST_BYTES_MAX / 1024)]
    Reply = 9,
}
