//! A key-value store with revisions, transactions, leases and watches: what etcd has of it, without reads of the past.
//!
//! Every change has a revision, one higher than the last. A key remembers at which revisions it came to be and changed last,
//! how often it changed, who did it, and when. A transaction has conditions on keys and two lists of operations, one of which
//! is done at one moment; its changes have one revision. Keys that are attached to a lease go when that ends. The last changes
//! are remembered, and a member can wait for the next.
//!
//! Time is the order's alone: before each request, what is due to end ends. Nothing passes the time while nobody asks.
//!
//! The keys belong to the group: whoever may send may change any of them, whoever may receive may read any. What a key takes
//! counts for whoever wrote it last.

mod change;
mod history;
mod lease;
mod message;
mod range;
mod read;
mod transaction;
mod wait;

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_protocol::UserName;
use ringfort_protocol::codec::{DecodeError, decode, encode};

pub use message::*;
pub use range::{End, Range};
pub use transaction::{
    Between, By, Condition, DELETED_MAX, Delete, Failed, Operation, OperationResult, Order, Put, Read, Relation, Shows,
    TRANSACTION_MAX, Target, Transacted, Transaction, WIDE_READS_MAX,
};

use crate::machine::{Applied, Machine, Ordered, Reply};
use history::{History, Made, Part};
use lease::Leases;
use wait::{Wait, Waits};

/// The store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kv {
    revision: Revision,
    keys: BTreeMap<Vec<u8>, Item>,
    leases: Leases,
    history: History,
    waits: Waits,
    /// Follows from the keys.
    bytes: u64,
    used: BTreeMap<UserName, u64>,
}

impl Default for Kv {
    fn default() -> Self {
        Kv {
            revision: 1,
            keys: BTreeMap::new(),
            leases: Leases::default(),
            history: History::default(),
            waits: Waits::default(),
            bytes: 0,
            used: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Item {
    value: Vec<u8>,
    created: Revision,
    modified: Revision,
    version: u64,
    lease: LeaseId,
    writer: UserName,
    time_us: u64,
}

/// What comes of one request beside its reply.
#[derive(Debug, Default)]
struct Turn {
    later: Vec<(u64, Vec<u8>)>,
    /// What was looked at, in 256ths of what a request may cost.
    looked_at: u64,
}

impl Turn {
    /// Keys or changes were looked at.
    fn look_at(&mut self, count: usize) {
        self.looked_at = self.looked_at.saturating_add(count as u64);
    }
}

/// How a request is answered.
enum Answer {
    Now(Outcome),
    /// What is kept instead if the first is too long: something has changed.
    Changed(Outcome, Outcome),
    Later(WaitNote),
}

impl Machine for Kv {
    fn apply(&mut self, order: &Ordered<'_>, request: &[u8]) -> Applied {
        let mut turn = Turn::default();
        self.end_leases(order.time_us, &mut turn);
        let answer = match decode::<KvRequest>(request) {
            Err(_) => Answer::Now(Outcome::Refused(Refusal::Unknown)),
            Ok(request) => {
                let decided = self.decide(order, request, &mut turn);
                decided.unwrap_or_else(|refusal| Answer::Now(Outcome::Refused(refusal)))
            }
        };
        let reply = match answer {
            Answer::Now(outcome) => Reply::Now { reply: self.reply(outcome), kept: None },
            Answer::Changed(outcome, kept) => Reply::Now { reply: self.reply(outcome), kept: Some(self.reply(kept)) },
            Answer::Later(note) => Reply::Later { note: encode(&note) },
        };
        Applied { reply, later: turn.later, work: turn.looked_at / 256 }
    }

    fn forget(&mut self, place: u64) {
        self.waits.forget(place);
    }

    fn save(&self) -> Vec<u8> {
        encode(&(self.revision, &self.keys, &self.leases, &self.history, &self.waits))
    }

    fn load(saved: &[u8]) -> Result<Self, DecodeError> {
        let (revision, keys, leases, history, waits) = decode(saved)?;
        let keys: BTreeMap<Vec<u8>, Item> = keys;
        let mut kv = Kv { revision, leases, history, waits, ..Kv::default() };
        for (key, item) in &keys {
            kv.account(&item.writer, cost(key, &item.value), 0);
            if !kv.leases.attach(item.lease, key) {
                return Err(DecodeError::Malformed);
            }
        }
        Ok(Kv { keys, ..kv })
    }
}

impl Kv {
    fn reply(&self, outcome: Outcome) -> Vec<u8> {
        encode(&KvReply { revision: self.revision, outcome })
    }

    fn decide(&mut self, order: &Ordered<'_>, request: KvRequest, turn: &mut Turn) -> Result<Answer, Refusal> {
        let (writes, reads) = match &request {
            KvRequest::Transact(transaction) => transaction.needs(),
            KvRequest::LeaseGrant { .. } | KvRequest::LeaseRenew { .. } | KvRequest::LeaseRevoke { .. } => {
                (true, false)
            }
            KvRequest::LeaseInfo { .. } | KvRequest::LeaseList => (false, true),
            KvRequest::Changes { .. } | KvRequest::Wait { .. } => (false, true),
        };
        if writes && !order.role.sends() || reads && !order.role.receives() {
            return Err(Refusal::Role);
        }
        Ok(match request {
            KvRequest::Transact(transaction) => return self.transact(order, transaction, turn),
            KvRequest::LeaseGrant { id, ttl_s } => {
                let id = self.leases.grant((id, ttl_s), order.user, order.place, order.time_us)?;
                Answer::Now(Outcome::Leased { id, ttl_s })
            }
            KvRequest::LeaseRenew { id } => {
                Answer::Now(Outcome::Leased { id, ttl_s: self.leases.renew(id, order.time_us)? })
            }
            KvRequest::LeaseRevoke { id } => {
                self.end_lease(id, turn)?;
                Answer::Now(Outcome::Revoked)
            }
            KvRequest::LeaseInfo { id, keys } => {
                Answer::Now(Outcome::LeaseInfo(self.leases.info(id, keys, order.time_us)?))
            }
            KvRequest::LeaseList => Answer::Now(Outcome::Leases(self.leases.names())),
            KvRequest::Changes { range, after, limit, previous } => {
                range.check()?;
                Answer::Now(self.changes(&range, after, (limit, previous), turn))
            }
            KvRequest::Wait { slot, range, after } => {
                range.check()?;
                return self.wait(order, slot, range, after, turn);
            }
        })
    }

    fn changes(&self, range: &Range, after: Position, (limit, previous): (u32, bool), turn: &mut Turn) -> Outcome {
        match self.history.changes(range, after, limit, previous) {
            Ok(Part { events, upto, more, looked_at }) => {
                turn.look_at(looked_at);
                let all = Position { revision: self.revision, changes: u32::MAX };
                Outcome::Changes { events, upto: if more { upto } else { all.max(after) }, more }
            }
            Err(oldest) => Outcome::Compacted { oldest },
        }
    }

    fn wait(
        &mut self,
        order: &Ordered<'_>,
        slot: u8,
        range: Range,
        after: Revision,
        turn: &mut Turn,
    ) -> Result<Answer, Refusal> {
        if slot >= WAIT_SLOTS {
            return Err(Refusal::Waits);
        }
        let (changed, looked_at) = self.history.has_changed(&range, after);
        turn.look_at(looked_at);
        // A refusal changes nothing: what waits in the slot goes on waiting.
        if !changed && !order.may_wait {
            return Err(Refusal::Waits);
        }
        if let Some(place) = self.waits.take_slot(order.user, slot) {
            turn.later.push((place, self.reply(Outcome::Replaced)));
        }
        if changed {
            return Ok(Answer::Now(Outcome::Changed));
        }
        let (next_end, looked_at) = self.leases.next_end(&range, order.time_us);
        turn.look_at(looked_at);
        let ends_us = next_end.map(|left| u64::try_from(left.as_micros()).unwrap_or(u64::MAX));
        self.waits.insert(order.place, Wait { user: order.user.clone(), slot, range, after });
        Ok(Answer::Later(WaitNote { revision: self.revision, ends_us }))
    }

    /// What is due to end ends, the first first.
    fn end_leases(&mut self, time_us: u64, turn: &mut Turn) {
        while let Some(id) = self.leases.due(time_us) {
            // One that is due is there.
            let _ = self.end_lease(id, turn);
        }
    }

    /// The keys of a lease go, at one revision.
    fn end_lease(&mut self, id: LeaseId, turn: &mut Turn) -> Result<(), Refusal> {
        let keys = self.leases.end(id)?;
        let gone = |key: Vec<u8>| {
            let previous = self.remove(&key)?.shown(&key);
            Some(Made { change: Change::Deleted { key }, previous: Some(previous) })
        };
        let changes = keys.into_iter().filter_map(gone).collect();
        self.commit(changes, turn);
        Ok(())
    }

    /// The number of changes so far, and one.
    pub fn revision(&self) -> Revision {
        self.revision
    }
}

impl Item {
    fn shown(mut self, key: &[u8]) -> KeyValue {
        let value = std::mem::take(&mut self.value);
        self.shown_with(key, value)
    }

    fn shown_with(&self, key: &[u8], value: Vec<u8>) -> KeyValue {
        KeyValue {
            key: key.to_vec(),
            value,
            created: self.created,
            modified: self.modified,
            version: self.version,
            lease: self.lease,
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
