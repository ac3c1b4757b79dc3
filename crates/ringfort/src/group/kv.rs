//! The group's key-value store.

use ringfort_protocol::codec::{decode, encode};
use ringfort_services::kv::{
    Change, Condition, KeyValue, KvReply, KvRequest, Outcome, Refusal, Revision, Then, Transacted, Transaction,
};

use super::{CallError, Group};

/// The group's key-value store, as this member sees it. Cheap to clone.
///
/// Every leader has all of it and f+1 of them must reply the same, so up to f hacked leaders change no reply. Each request is
/// done once, and all of them in one order: whoever has a reply finds what was done in every later one. **Leaders read what is
/// kept**: seal what they must not know.
#[derive(Clone, Debug)]
pub struct Kv {
    pub(super) group: Group,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// There is no reply.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The store refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The condition does not hold: nothing has changed.
    #[error("the key has changed: {}. Read it and decide anew", last_change(*.modified))]
    Conflict {
        /// The revision of the key's last change; 0 if there is no such key.
        modified: Revision,
    },
    /// A condition of a transaction does not hold: nothing has changed.
    #[error("condition {} does not hold, so nothing was done: {}", .condition + 1, last_change(*.modified))]
    Failed {
        /// The first that does not, counted from 0.
        condition: usize,
        /// The revision of its key's last change; 0 if there is no such key.
        modified: Revision,
    },
    /// f+1 leaders reply what this program does not understand.
    #[error("the leaders run another version of Ringfort: install the version that the group uses")]
    Version,
}

fn last_change(modified: Revision) -> String {
    match modified {
        0 => "there is no such key".to_owned(),
        modified => format!("its last change has revision {modified}"),
    }
}

/// A part of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Keys and values, in the order of the keys.
    pub entries: Vec<KeyValue>,
    /// Whether there are more behind the last.
    pub more: bool,
    /// The revision of the store that this part shows.
    pub revision: Revision,
}

/// What a transaction changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Of each change, whether its key was there before.
    pub existed: Vec<bool>,
    /// The revision of the store, and of every key that the transaction gave a value.
    pub revision: Revision,
}

impl Kv {
    /// Gives a key a value. With `expected`, only if the key's last change has that revision; 0: if there is no such key.
    /// Returns the revision of the change.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn put(&self, key: &[u8], value: &[u8], expected: Option<Revision>) -> Result<Revision, KvError> {
        let request = KvRequest::Put { key: key.to_vec(), value: value.to_vec(), expected };
        match self.ask(&request).await? {
            KvReply { revision, outcome: Outcome::Put } => Ok(revision),
            KvReply { outcome, .. } => Err(outcome.into()),
        }
    }

    /// Takes a key away, under a condition as in [`Kv::put`]. Returns whether it was there, and the store's revision.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn delete(&self, key: &[u8], expected: Option<Revision>) -> Result<(bool, Revision), KvError> {
        let request = KvRequest::Delete { key: key.to_vec(), expected };
        match self.ask(&request).await? {
            KvReply { revision, outcome: Outcome::Deleted { existed } } => Ok((existed, revision)),
            KvReply { outcome, .. } => Err(outcome.into()),
        }
    }

    /// Reads a key, behind all that was done before it was asked.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn get(&self, key: &[u8]) -> Result<Option<KeyValue>, KvError> {
        match self.ask(&KvRequest::Get { key: key.to_vec() }).await? {
            KvReply { outcome: Outcome::Got(found), .. } => Ok(found),
            KvReply { outcome, .. } => Err(outcome.into()),
        }
    }

    /// Reads keys that begin with `prefix`, behind `after`, at most `limit` and at most what one reply holds. Each part is of
    /// the moment it was asked for.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: u32) -> Result<Page, KvError> {
        let request = KvRequest::List { prefix: prefix.to_vec(), after: after.map(<[u8]>::to_vec), limit };
        match self.ask(&request).await? {
            KvReply { revision, outcome: Outcome::Listed { entries, more } } => Ok(Page { entries, more, revision }),
            KvReply { outcome, .. } => Err(outcome.into()),
        }
    }

    /// Makes all of the changes, at one revision, if all of the conditions hold; otherwise, none. At most
    /// [`TRANSACTION_MAX`](ringfort_services::kv::TRANSACTION_MAX) of each, for different keys, in at most 68 KiB.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn transact(&self, conditions: Vec<Condition>, changes: Vec<Change>) -> Result<Changed, KvError> {
        match self.transaction(conditions, Then::Change(changes)).await? {
            (revision, Transacted::Changed(existed)) => Ok(Changed { existed, revision }),
            (_, other) => Err(other.into()),
        }
    }

    /// Reads several keys as they are at one revision, if all of the conditions hold: as many as [`Kv::transact`] changes,
    /// and 64 KiB of keys and values, or one key. Tells of each in the order in which they are named.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn get_all(
        &self,
        conditions: Vec<Condition>,
        keys: Vec<Vec<u8>>,
    ) -> Result<Vec<Option<KeyValue>>, KvError> {
        match self.transaction(conditions, Then::Read(keys)).await? {
            (_, Transacted::Read(found)) => Ok(found),
            (_, other) => Err(other.into()),
        }
    }

    async fn transaction(&self, conditions: Vec<Condition>, then: Then) -> Result<(Revision, Transacted), KvError> {
        let transaction = Transaction { conditions, then };
        transaction.check()?;
        match self.ask(&KvRequest::Transact(transaction)).await? {
            KvReply { revision, outcome: Outcome::Transacted(came) } => Ok((revision, came)),
            KvReply { outcome, .. } => Err(outcome.into()),
        }
    }

    /// A reply that was lost is that of a request that changed nothing.
    async fn ask(&self, request: &KvRequest) -> Result<KvReply, KvError> {
        let request = encode(request);
        loop {
            match self.group.call(&request).await {
                Ok(reply) => return decode(&reply.bytes).map_err(|_| KvError::Version),
                Err(CallError::Forgotten) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl From<Outcome> for KvError {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Conflict { modified } => KvError::Conflict { modified },
            Outcome::Refused(refusal) => KvError::Refused(refusal),
            _ => KvError::Version,
        }
    }
}

impl From<Transacted> for KvError {
    fn from(came: Transacted) -> Self {
        match came {
            Transacted::Failed { condition, modified } => KvError::Failed { condition: condition.into(), modified },
            _ => KvError::Version,
        }
    }
}
