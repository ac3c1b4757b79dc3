//! A key-value store with revisions: what etcd has of it, without leases, watches and history.
//!
//! Every change has a revision, one higher than the last. A key remembers at which revisions it came to be and changed last,
//! how often it changed, who did it, and when. Changes may have a condition on the last one (compare and swap), and lists go
//! over all keys with a beginning, in the order of their bytes.
//!
//! The keys belong to the group: whoever may send may change any of them, whoever may receive may read any. What a key takes
//! counts for whoever wrote it last.

mod message;

use std::collections::BTreeMap;
use std::ops::Bound;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_protocol::UserName;
use ringfort_protocol::codec::{DecodeError, decode, encode};

pub use message::*;

use crate::machine::{Machine, Ordered};

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
        };
        if !allowed {
            return Err(Refusal::Role);
        }
        match request {
            KvRequest::Put { key, value, expected } => self.put(order, checked(key)?, value, expected),
            KvRequest::Delete { key, expected } => Ok(self.delete(&checked(key)?, expected)),
            KvRequest::Get { key } => {
                let key = checked(key)?;
                let found = self.keys.get(&key).map(|item| item.shown(key));
                Ok(Outcome::Got(found))
            }
            KvRequest::List { prefix, after, limit } => Ok(self.list(&prefix, after, limit)),
        }
    }

    fn put(
        &mut self,
        order: &Ordered<'_>,
        key: Vec<u8>,
        value: Vec<u8>,
        expected: Option<Revision>,
    ) -> Result<Outcome, Refusal> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(Refusal::Value);
        }
        if let Some(conflict) = self.conflict(&key, expected) {
            return Ok(conflict);
        }
        let before = self.keys.get(&key);
        let (added, freed) = (cost(&key, &value), before.map_or(0, |item| cost(&key, &item.value)));
        let own = before.filter(|item| item.writer == *order.user).map_or(0, |_| freed);
        let keys = self.keys.len() as u64 + u64::from(before.is_none());
        if keys > KEYS_MAX || self.bytes - freed + added > STORE_BYTES_MAX {
            return Err(Refusal::StoreFull);
        }
        if self.used(order.user) - own + added > USER_BYTES_MAX {
            return Err(Refusal::UserFull);
        }
        self.revision += 1;
        let (created, version) = before.map_or((self.revision, 1), |item| (item.created, item.version + 1));
        let writer = order.user.clone();
        let item = Item { value, created, modified: self.revision, version, writer, time_us: order.time_us };
        if let Some(old) = self.keys.insert(key, item) {
            self.account(&old.writer, 0, freed);
        }
        self.account(order.user, added, 0);
        Ok(Outcome::Put)
    }

    fn delete(&mut self, key: &[u8], expected: Option<Revision>) -> Outcome {
        if let Some(conflict) = self.conflict(key, expected) {
            return conflict;
        }
        let Some(old) = self.keys.remove(key) else { return Outcome::Deleted { existed: false } };
        self.revision += 1;
        self.account(&old.writer, 0, cost(key, &old.value));
        Outcome::Deleted { existed: true }
    }

    fn conflict(&self, key: &[u8], expected: Option<Revision>) -> Option<Outcome> {
        let modified = self.keys.get(key).map_or(0, |item| item.modified);
        expected.filter(|expected| *expected != modified).map(|_| Outcome::Conflict { modified })
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

fn checked(key: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX { Err(Refusal::Key) } else { Ok(key) }
}

fn cost(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64 + ENTRY_BYTES
}

#[cfg(test)]
mod tests;
