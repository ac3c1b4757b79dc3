//! The group's key-value store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringfort_protocol::codec::{decode, encode};
use ringfort_services::kv::{
    Condition, Event, Failed, KeyValue, KvReply, KvRequest, LeaseId, LeaseInfo, Operation, OperationResult, Outcome,
    Position, Range, Read, Refusal, Revision, Transacted, Transaction, WAIT_SLOTS, WaitNote,
};

use super::calls::Asked;
use super::{CallError, Group, Watch};

/// How much later than it is due somebody asks whether a lease has ended: the order's time is a little behind.
const ENDED_AFTER: Duration = Duration::from_millis(100);

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
    /// The store has forgotten some of the changes that were asked for.
    #[error(
        "the changes up to revision {oldest} are not all remembered any more: read the keys, and follow what changes after that"
    )]
    Compacted {
        /// The first revision behind which all are.
        oldest: Revision,
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
    /// The revision of the store that this part shows: parts that have the same are of one moment.
    pub revision: Revision,
}

/// What a transaction came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The revision of the store behind it, and of every key that it gave a value.
    pub revision: Revision,
    /// The first condition that does not hold: then `otherwise` was done.
    pub failed: Option<Failed>,
    /// What came of each operation of the list that was done. `None` if the transaction changed something, and the reply was lost
    /// on the way: it was done, but what it read is not known. This is rare, and never so of replies up to 64 bytes.
    pub results: Option<Vec<OperationResult>>,
}

/// A lease that lasts for so long unless it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leased {
    /// Its name.
    pub id: LeaseId,
    /// How long, from when the store was asked.
    pub ttl: Duration,
    /// The revision of the store.
    pub revision: Revision,
}

/// A part of what has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// In its order.
    pub events: Vec<Event>,
    /// Everything up to here is told: ask behind it.
    pub upto: Position,
    /// Whether there is more behind it.
    pub more: bool,
    /// The revision of the store.
    pub revision: Revision,
}

impl Kv {
    /// Gives a key a value, and no lease. With `expected`, only if the key's last change has that revision; 0: if there is no such
    /// key. Returns the revision of the change.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn put(&self, key: &[u8], value: &[u8], expected: Option<Revision>) -> Result<Revision, KvError> {
        Ok(self.change(key, Operation::put(key, value), expected).await?.0)
    }

    /// Takes a key away, under a condition as in [`Kv::put`]. Returns whether it was there, and the store's revision.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn delete(&self, key: &[u8], expected: Option<Revision>) -> Result<(bool, Revision), KvError> {
        match self.change(key, Operation::delete(key), expected).await? {
            (revision, OperationResult::Deleted { count, .. }) => Ok((count > 0, revision)),
            _ => Err(KvError::Version),
        }
    }

    async fn change(
        &self,
        key: &[u8],
        operation: Operation,
        expected: Option<Revision>,
    ) -> Result<(Revision, OperationResult), KvError> {
        let conditions = expected.map(|revision| Condition::revision(key, revision)).into_iter().collect();
        let transaction = Transaction { conditions, ..Transaction::of(vec![operation]) };
        let Committed { revision, failed, results } = self.transact(&transaction).await?;
        match (failed, results.and_then(|mut results| results.pop())) {
            (Some(Failed { modified, .. }), _) => Err(KvError::Conflict { modified }),
            (None, Some(result)) => Ok((revision, result)),
            (None, None) => Err(KvError::Version),
        }
    }

    /// Reads a key, behind all that was done before it was asked.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn get(&self, key: &[u8]) -> Result<Option<KeyValue>, KvError> {
        Ok(self.read(Read::all(Range::key(key))).await?.entries.pop())
    }

    /// Reads the keys of a range: at most `limit`, and at most what one reply holds. The next part is that of
    /// [`Range::behind`] the last key, of the moment at which it is asked for.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn list(&self, range: Range, limit: u32) -> Result<Page, KvError> {
        self.read(Read { limit, ..Read::all(range) }).await
    }

    /// Reads keys in whatever order. Counting them is done by [`Kv::transact`].
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn read(&self, read: Read) -> Result<Page, KvError> {
        let Committed { revision, results, .. } = self.transact(&Transaction::of(vec![Operation::Read(read)])).await?;
        match results.and_then(|mut results| results.pop()) {
            Some(OperationResult::Read { entries, more }) => Ok(Page { entries, more, revision }),
            _ => Err(KvError::Version),
        }
    }

    /// Does one of two lists of operations, at one moment, in at most 68 KiB.
    ///
    /// # Errors
    /// [`KvError`]. That a condition does not hold is none.
    pub async fn transact(&self, transaction: &Transaction) -> Result<Committed, KvError> {
        transaction.check()?;
        match self.ask(&KvRequest::Transact(transaction.clone())).await? {
            (revision, Outcome::Transacted(Transacted { failed, results })) => {
                Ok(Committed { revision, failed, results })
            }
            (_, other) => Err(other.into()),
        }
    }

    /// Begins a lease: keys that are [put](ringfort_services::kv::Put::leased) with it go when it ends, unless it is renewed. The
    /// store names it if `id` is 0. The time is the order's, between honest leaders' clocks.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn lease_grant(&self, id: LeaseId, ttl_s: u32) -> Result<Leased, KvError> {
        self.lease(KvRequest::LeaseGrant { id, ttl_s }).await
    }

    /// Lets a lease last as long again from now on.
    ///
    /// # Errors
    /// [`KvError`]; [`Refusal::NoLease`] if it has ended.
    pub async fn lease_renew(&self, id: LeaseId) -> Result<Leased, KvError> {
        self.lease(KvRequest::LeaseRenew { id }).await
    }

    async fn lease(&self, request: KvRequest) -> Result<Leased, KvError> {
        match self.ask(&request).await? {
            (revision, Outcome::Leased { id, ttl_s }) => {
                Ok(Leased { id, ttl: Duration::from_secs(ttl_s.into()), revision })
            }
            (_, other) => Err(other.into()),
        }
    }

    /// Ends a lease: its keys go, at the revision that is returned if it has any.
    ///
    /// # Errors
    /// [`KvError`]; [`Refusal::NoLease`] if it has ended before.
    pub async fn lease_revoke(&self, id: LeaseId) -> Result<Revision, KvError> {
        match self.ask(&KvRequest::LeaseRevoke { id }).await? {
            (revision, Outcome::Revoked) => Ok(revision),
            (_, other) => Err(other.into()),
        }
    }

    /// Tells of a lease, and of its keys if they are asked for.
    ///
    /// # Errors
    /// [`KvError`]; [`Refusal::NoLease`] if it has ended.
    pub async fn lease_info(&self, id: LeaseId, keys: bool) -> Result<(Revision, LeaseInfo), KvError> {
        match self.ask(&KvRequest::LeaseInfo { id, keys }).await? {
            (revision, Outcome::LeaseInfo(info)) => Ok((revision, info)),
            (_, other) => Err(other.into()),
        }
    }

    /// Names all leases.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn lease_list(&self) -> Result<(Revision, Vec<LeaseId>), KvError> {
        match self.ask(&KvRequest::LeaseList).await? {
            (revision, Outcome::Leases(leases)) => Ok((revision, leases)),
            (_, other) => Err(other.into()),
        }
    }

    /// Reads what has changed behind a position: at most `limit` changes, and at most what one reply holds. With `previous`, also
    /// what the keys were before, as far as the store remembers it.
    ///
    /// # Errors
    /// [`KvError`]; [`KvError::Compacted`] if what is asked for is not all remembered.
    pub async fn changes(
        &self,
        range: &Range,
        after: Position,
        limit: u32,
        previous: bool,
    ) -> Result<Changes, KvError> {
        let request = KvRequest::Changes { range: range.clone(), after, limit, previous };
        match self.ask(&request).await? {
            (revision, Outcome::Changes { events, upto, more }) => Ok(Changes { events, upto, more, revision }),
            (_, other) => Err(other.into()),
        }
    }

    /// Returns once a key of the range has changed behind a revision, or once that is not remembered: read the
    /// [changes](Kv::changes) then. Leaders are asked again only if a reply was lost, and when a lease may end. Of one stay so
    /// many can wait at once as there are [slots](WAIT_SLOTS).
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn wait(&self, range: &Range, after: Revision) -> Result<Revision, KvError> {
        let slot = self.group.slots.take().ok_or(Refusal::Waits)?;
        self.wait_in(&slot, range, after).await
    }

    /// Follows the changes of a range behind a revision; without one, from now on.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn watch(&self, range: Range, after: Option<Revision>, previous: bool) -> Result<Watch, KvError> {
        let slot = self.group.slots.take().ok_or(Refusal::Waits)?;
        let revision = match after {
            Some(revision) => revision,
            // Behind all that was done before.
            None => self.list(Range::all(), 0).await?.revision,
        };
        Ok(Watch::new(self.clone(), slot, range, revision, previous))
    }

    pub(super) async fn wait_in(&self, slot: &Slot, range: &Range, after: Revision) -> Result<Revision, KvError> {
        let request = encode(&KvRequest::Wait { slot: slot.number, range: range.clone(), after });
        loop {
            let waiting = match self.group.ask(&request).await {
                Ok(Asked::Replied(reply)) => return changed(&reply.bytes),
                Ok(Asked::Waiting(waiting)) => waiting,
                Err(CallError::Forgotten) => continue,
                Err(error) => return Err(error.into()),
            };
            let note: WaitNote = decode(&waiting.note).map_err(|_| KvError::Version)?;
            let ended = async {
                match note.ends_us {
                    Some(ends_us) => tokio::time::sleep(Duration::from_micros(ends_us) + ENDED_AFTER).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                reply = waiting.reply() => match reply {
                    Ok(reply) => return changed(&reply.bytes),
                    // The leaders had let go of it, while they took the stay for ended.
                    Err(CallError::Forgotten) => {}
                    Err(error) => return Err(error.into()),
                },
                // Asked again, so that time passes in the store.
                () = ended => {}
            }
        }
    }

    /// A reply that was lost is that of a request that changed nothing.
    async fn ask(&self, request: &KvRequest) -> Result<(Revision, Outcome), KvError> {
        let request = encode(request);
        loop {
            match self.group.call(&request).await {
                Ok(reply) => return reply_of(&reply.bytes),
                Err(CallError::Forgotten) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn reply_of(bytes: &[u8]) -> Result<(Revision, Outcome), KvError> {
    let KvReply { revision, outcome } = decode(bytes).map_err(|_| KvError::Version)?;
    Ok((revision, outcome))
}

/// What one waits for was replied.
fn changed(bytes: &[u8]) -> Result<Revision, KvError> {
    match reply_of(bytes)? {
        (revision, Outcome::Changed) => Ok(revision),
        (_, other) => Err(other.into()),
    }
}

impl From<Outcome> for KvError {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Refused(refusal) => KvError::Refused(refusal),
            Outcome::Compacted { oldest } => KvError::Compacted { oldest },
            _ => KvError::Version,
        }
    }
}

/// Which slots this stay waits in.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots(Arc<Mutex<u64>>);

/// A slot, until it is dropped. What waits in it then is forgotten when it is taken again.
#[derive(Debug)]
pub(super) struct Slot {
    number: u8,
    slots: Slots,
}

impl Slots {
    fn take(&self) -> Option<Slot> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = (0..WAIT_SLOTS).find(|number| *taken >> number & 1 == 0)?;
        *taken |= 1 << number;
        Some(Slot { number, slots: self.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.slots.0.lock().unwrap_or_else(PoisonError::into_inner) &= !(1 << self.number);
    }
}
