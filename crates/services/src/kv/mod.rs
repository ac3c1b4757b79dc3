//! A key-value store with revisions: what etcd has of it, without leases, watches and history.
//!
//! Every change has a revision, one higher than the last. A key remembers at which revisions it came to be and changed last,
//! how often it changed, who did it, and when. Changes may have a condition on the last one (compare and swap), and lists go
//! over all keys with a beginning, in the order of their bytes. Several keys are changed or read at one revision by a
//! transaction, if all of its conditions hold.
//!
//! The keys belong to the group: whoever may send may change any of them, whoever may receive may read any. What a key takes
//! counts for whoever wrote it last.

mod message;
mod transaction;

use std::collections::BTreeMap;
use std::ops::Bound;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_protocol::UserName;
use ringfort_protocol::codec::{DecodeError, decode, encode};

pub use message::*;
pub use transaction::{Change, Condition, Expected, TRANSACTION_MAX, Then, Transacted, Transaction};

use crate::machine::{Machine, Ordered};
use transaction::check_key;

/// The store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kv {
    revision: Revision,
    keys: BTreeMap<Vec<u8>, Item>,
    /// Follows from the keys.
    bytes: u64,
    used: BTreeMap<UserName, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Item {
    value: Vec<u8>,
    created: Revision,
    modified: Revision,
    version: u64,
    writer: UserName,
    time_us: u64,
}

impl Machine for Kv {
    fn apply(&mut self, order: &Ordered<'_>, request: &[u8]) -> Vec<u8> {
        let outcome = match decode::<KvRequest>(request) {
            Err(_) => Outcome::Refused(Refusal::Unknown),
            Ok(request) => self.decide(order, request).unwrap_or_else(Outcome::Refused),
        };
        encode(&KvReply { revision: self.revision, outcome })
    }

    fn save(&self) -> Vec<u8> {
        encode(&(self.revision, &self.keys))
    }

    fn load(saved: &[u8]) -> Result<Self, DecodeError> {
        let (revision, keys): (Revision, BTreeMap<Vec<u8>, Item>) = decode(saved)?;
        let mut kv = Kv { revision, ..Kv::default() };
        for (key, item) in &keys {
            kv.account(&item.writer, cost(key, &item.value), 0);
        }
        Ok(Kv { keys, ..kv })
    }
}

impl Kv {
    fn decide(&mut self, order: &Ordered<'_>, request: KvRequest) -> Result<Outcome, Refusal> {
        let (may_write, may_read) = (order.role.sends(), order.role.receives());
        let allowed = match &request {
            KvRequest::Put { .. } | KvRequest::Delete { .. } => may_write,
            KvRequest::Get { .. } | KvRequest::List { .. } => may_read,
            KvRequest::Transact(Transaction { conditions, then: Then::Change(_) }) => {
                may_write && (may_read || !conditions.iter().any(Condition::reads))
            }
            KvRequest::Transact(Transaction { then: Then::Read(_), .. }) => may_read,
        };
        if !allowed {
            return Err(Refusal::Role);
        }
        match request {
            KvRequest::Put { key, value, expected } => self.change_one(order, Change::Put { key, value }, expected),
            KvRequest::Delete { key, expected } => self.change_one(order, Change::Delete { key }, expected),
            KvRequest::Get { key } => {
                check_key(&key)?;
                Ok(Outcome::Got(self.get(key)))
            }
            KvRequest::List { prefix, after, limit } => Ok(self.list(&prefix, after, limit)),
            KvRequest::Transact(transaction) => self.transact(order, transaction).map(Outcome::Transacted),
        }
    }

    fn change_one(
        &mut self,
        order: &Ordered<'_>,
        change: Change,
        expected: Option<Revision>,
    ) -> Result<Outcome, Refusal> {
        change.check()?;
        let modified = self.modified(change.key());
        if expected.is_some_and(|expected| expected != modified) {
            return Ok(Outcome::Conflict { modified });
        }
        let is_put = matches!(change, Change::Put { .. });
        let existed = self.change(order, vec![change])? == [true];
        Ok(if is_put { Outcome::Put } else { Outcome::Deleted { existed } })
    }

    fn transact(&mut self, order: &Ordered<'_>, transaction: Transaction) -> Result<Transacted, Refusal> {
        transaction.check()?;
        for (condition, number) in transaction.conditions.iter().zip(0..) {
            if !self.holds(condition) {
                return Ok(Transacted::Failed { condition: number, modified: self.modified(&condition.key) });
            }
        }
        match transaction.then {
            Then::Change(changes) => self.change(order, changes).map(Transacted::Changed),
            Then::Read(keys) => self.read(keys).map(Transacted::Read),
        }
    }

    fn holds(&self, condition: &Condition) -> bool {
        match &condition.expected {
            Expected::Revision(revision) => self.modified(&condition.key) == *revision,
            Expected::Value(value) => self.keys.get(&condition.key).is_some_and(|item| item.value == *value),
        }
    }

    /// Makes all of the changes, of different keys, at one revision; or none. Returns of each whether its key was there.
    fn change(&mut self, order: &Ordered<'_>, changes: Vec<Change>) -> Result<Vec<bool>, Refusal> {
        self.check_room(order.user, &changes)?;
        let revision = self.revision + 1;
        let change = |change| {
            let (is_put, freed) = match change {
                Change::Put { key, value } => (true, self.put(order, revision, key, value)),
                Change::Delete { key } => {
                    (false, self.keys.remove(&key).map(|old| (cost(&key, &old.value), old.writer)))
                }
            };
            if let Some((bytes, writer)) = &freed {
                self.account(writer, 0, *bytes);
            }
            if is_put || freed.is_some() {
                self.revision = revision;
            }
            freed.is_some()
        };
        Ok(changes.into_iter().map(change).collect())
    }

    /// Returns what the key took before, of whom.
    fn put(
        &mut self,
        order: &Ordered<'_>,
        modified: Revision,
        key: Vec<u8>,
        value: Vec<u8>,
    ) -> Option<(u64, UserName)> {
        self.account(order.user, cost(&key, &value), 0);
        let before = self.keys.get(&key);
        let freed = before.map(|old| (cost(&key, &old.value), old.writer.clone()));
        let (created, version) = before.map_or((modified, 1), |old| (old.created, old.version + 1));
        let item = Item { value, created, modified, version, writer: order.user.clone(), time_us: order.time_us };
        self.keys.insert(key, item);
        freed
    }

    /// Whether what changes of different keys lead to is within the bounds, all of them together.
    fn check_room(&self, user: &UserName, changes: &[Change]) -> Result<(), Refusal> {
        let (mut keys, mut bytes, mut used) = (self.keys.len() as u64, self.bytes, self.used(user));
        for change in changes {
            if let Some(old) = self.keys.get(change.key()) {
                let freed = cost(change.key(), &old.value);
                (keys, bytes) = (keys - 1, bytes - freed);
                used -= if old.writer == *user { freed } else { 0 };
            }
            if let Change::Put { key, value } = change {
                let added = cost(key, value);
                (keys, bytes, used) = (keys + 1, bytes + added, used + added);
            }
        }
        if keys > KEYS_MAX || bytes > STORE_BYTES_MAX {
            return Err(Refusal::StoreFull);
        }
        if used > USER_BYTES_MAX { Err(Refusal::UserFull) } else { Ok(()) }
    }

    fn modified(&self, key: &[u8]) -> Revision {
        self.keys.get(key).map_or(0, |item| item.modified)
    }

    fn get(&self, key: Vec<u8>) -> Option<KeyValue> {
        self.keys.get(&key).map(|item| item.shown(key))
    }

    fn read(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Option<KeyValue>>, Refusal> {
        let costs = keys.iter().filter_map(|key| self.keys.get(key).map(|item| cost(key, &item.value)));
        let (count, bytes) = costs.fold((0, 0), |(count, bytes), each| (count + 1, bytes + each));
        if count > 1 && bytes > LIST_BYTES_MAX as u64 {
            return Err(Refusal::Reply);
        }
        Ok(keys.into_iter().map(|key| self.get(key)).collect())
    }

    fn list(&self, prefix: &[u8], after: Option<Vec<u8>>, limit: u32) -> Outcome {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(LIST_KEYS_MAX);
        // A key that is before all with the beginning asked for leaves none of them out.
        let start = match &after {
            Some(after) if after.as_slice() >= prefix => Bound::Excluded(after.as_slice()),
            _ => Bound::Included(prefix),
        };
        let found = self.keys.range::<[u8], _>((start, Bound::Unbounded));
        let mut found = found.take_while(|(key, _)| key.starts_with(prefix));
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let more = loop {
            let Some((key, item)) = found.next() else { break false };
            bytes += key.len() + item.value.len() + ENTRY_BYTES as usize;
            if entries.len() >= limit || bytes > LIST_BYTES_MAX && !entries.is_empty() {
                break true;
            }
            entries.push(item.shown(key.clone()));
        };
        Outcome::Listed { entries, more }
    }

    fn used(&self, user: &UserName) -> u64 {
        self.used.get(user).copied().unwrap_or(0)
    }

    fn account(&mut self, user: &UserName, added: u64, freed: u64) {
        self.bytes = self.bytes + added - freed;
        let used = self.used(user) + added - freed;
        if used == 0 {
            self.used.remove(user);
        } else {
            self.used.insert(user.clone(), used);
        }
    }

    /// The number of changes so far.
    pub fn revision(&self) -> Revision {
        self.revision
    }
}

impl Item {
    fn shown(&self, key: Vec<u8>) -> KeyValue {
        KeyValue {
            key,
            value: self.value.clone(),
            created: self.created,
            modified: self.modified,
            version: self.version,
            writer: self.writer.clone(),
            time_us: self.time_us,
        }
    }
}

fn cost(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64 + ENTRY_BYTES
}

#[cfg(test)]
mod tests;
