//! Transactions: all is checked before the first change.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_protocol::UserName;

use super::history::Made;
use super::read::{COMPARED_BYTES, Room};
use super::{
    Answer, Change, Condition, DELETED_MAX, Delete, Failed, Item, KEPT_VALUES_BYTES_MAX, KEYS_MAX, Kv, LeaseId,
    Operation, OperationResult, Outcome, Put, Range, Refusal, Relation, Revision, STORE_BYTES_MAX, Target, Transacted,
    Transaction, Turn, USER_BYTES_MAX, cost,
};
use crate::machine::Ordered;

impl Kv {
    pub(super) fn transact(
        &mut self,
        order: &Ordered<'_>,
        transaction: Transaction,
        turn: &mut Turn,
    ) -> Result<Answer, Refusal> {
        transaction.check()?;
        let Transaction { conditions, then, otherwise } = transaction;
        turn.look_at(16 * (conditions.len() + then.len() + otherwise.len()));
        let fails = (0..).zip(&conditions).find(|(_, condition)| !self.holds(condition));
        let failed =
            fails.map(|(number, Condition { key, .. })| Failed { condition: number, modified: self.modified(key) });
        let operations = if failed.is_some() { otherwise } else { then };
        let mut room = self.check_changes(order.user, &operations, turn)?;
        let changes = operations.iter().any(|operation| operation.changes_and_tells().0);
        let results = Some(self.execute(order, operations, &mut room, turn));
        let outcome = Outcome::Transacted(Transacted { failed, results });
        Ok(match changes {
            true => Answer::Changed(outcome, Outcome::Transacted(Transacted { failed, results: None })),
            false => Answer::Now(outcome),
        })
    }

    fn holds(&self, Condition { key, relation, target }: &Condition) -> bool {
        let item = self.keys.get(key);
        let of = |number: fn(&Item) -> u64| item.map_or(0, number);
        let order = match target {
            Target::Created(created) => of(|item| item.created).cmp(created),
            Target::Modified(modified) => of(|item| item.modified).cmp(modified),
            Target::Version(version) => of(|item| item.version).cmp(version),
            Target::Lease(lease) => of(|item| item.lease).cmp(lease),
            Target::Value(value) => match item {
                Some(item) => item.value.cmp(value),
                None => return false,
            },
        };
        match relation {
            Relation::Equal => order.is_eq(),
            Relation::NotEqual => order.is_ne(),
            Relation::Greater => order.is_gt(),
            Relation::Less => order.is_lt(),
        }
    }

    /// Whether the changes may be made, all of them together; and what room is left in the reply.
    fn check_changes(&self, user: &UserName, operations: &[Operation], turn: &mut Turn) -> Result<Room, Refusal> {
        let (keys, used) = (self.keys.len() as u64, self.used(user));
        let mut plan = Plan { kv: self, user, keys, bytes: self.bytes, used, kept: 0 };
        let (mut deleted, mut looked_at, mut room) = (BTreeSet::new(), 0, Room::default());
        let mut leased: BTreeMap<LeaseId, usize> = BTreeMap::new();
        for operation in operations {
            match operation {
                Operation::Read(_) => {}
                Operation::Put(put) => *leased.entry(plan.put(put, &mut room, turn)?).or_default() += 1,
                Operation::Delete(Delete { range, previous }) => {
                    for (key, item) in self.in_range(range).take(DELETED_MAX + 1) {
                        if *previous && !deleted.contains(key) && !room.take(cost(key, &item.value)) {
                            return Err(Refusal::Reply);
                        }
                        looked_at += 1;
                        // Paid for also if the request is refused in the end.
                        turn.look_at(8);
                        if deleted.insert(key) {
                            plan.free(key, item);
                        }
                    }
                }
            }
            // What two ranges have in common counts twice: it is looked at twice.
            if looked_at > DELETED_MAX {
                return Err(Refusal::Many);
            }
        }
        leased.remove(&0);
        leased.into_iter().try_for_each(|(id, more)| self.leases.has_room(id, more))?;
        plan.check()?;
        Ok(room)
    }

    fn in_range(&self, range: &Range) -> impl Iterator<Item = (&Vec<u8>, &Item)> {
        range.bounds().map(|bounds| self.keys.range::<[u8], _>(bounds)).into_iter().flatten()
    }

    fn execute(
        &mut self,
        order: &Ordered<'_>,
        operations: Vec<Operation>,
        room: &mut Room,
        turn: &mut Turn,
    ) -> Vec<OperationResult> {
        let mut changes = Vec::new();
        let execute = |operation| match operation {
            Operation::Read(read) => self.read(&read, room, turn),
            Operation::Put(put) => self.put(order, put, &mut changes),
            Operation::Delete(delete) => self.delete(&delete, &mut changes),
        };
        let results = operations.into_iter().map(execute).collect();
        self.commit(changes, turn);
        results
    }

    fn put(&mut self, order: &Ordered<'_>, put: Put, changes: &mut Vec<Made>) -> OperationResult {
        let modified = self.revision + 1;
        let before = self.remove(&put.key);
        let (created, version) = before.as_ref().map_or((modified, 1), |old| (old.created, old.version + 1));
        let (old_value, old_lease) = before.as_ref().map_or((&[][..], 0), |old| (&old.value, old.lease));
        let item = Item {
            value: put.value.unwrap_or_else(|| old_value.to_vec()),
            created,
            modified,
            version,
            lease: put.lease.unwrap_or(old_lease),
            writer: order.user.clone(),
            time_us: order.time_us,
        };
        self.account(order.user, cost(&put.key, &item.value), 0);
        self.leases.attach(item.lease, &put.key);
        let before = before.map(|old| old.shown(&put.key));
        let previous = before.as_ref().filter(|_| put.previous).cloned();
        let existed = before.is_some();
        changes.push(Made { change: Change::Put(item.clone().shown(&put.key)), previous: before });
        self.keys.insert(put.key, item);
        OperationResult::Put { existed, previous }
    }

    fn delete(&mut self, delete: &Delete, changes: &mut Vec<Made>) -> OperationResult {
        let keys: Vec<Vec<u8>> = self.in_range(&delete.range).map(|(key, _)| key.clone()).collect();
        let (mut count, mut previous) = (0, Vec::new());
        for key in keys {
            let Some(old) = self.remove(&key) else { continue };
            count += 1;
            let old = old.shown(&key);
            if delete.previous {
                previous.push(old.clone());
            }
            changes.push(Made { change: Change::Deleted { key }, previous: Some(old) });
        }
        OperationResult::Deleted { count, previous }
    }

    /// Takes a key out, and what counts for it.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Item> {
        let old = self.keys.remove(key)?;
        self.account(&old.writer, 0, cost(key, &old.value));
        self.leases.detach(old.lease, key);
        Some(old)
    }

    /// What was changed has one revision; whoever waited for it is told.
    pub(super) fn commit(&mut self, changes: Vec<Made>, turn: &mut Turn) {
        if changes.is_empty() {
            return;
        }
        self.revision += 1;
        let mut keys: Vec<&[u8]> = changes.iter().map(|made| made.change.key()).collect();
        keys.sort_unstable();
        let met = self.waits.on_changed(self.revision, &keys);
        let told = self.reply(Outcome::Changed);
        turn.later.extend(met.into_iter().map(|place| (place, told.clone())));
        self.history.push(self.revision, changes);
    }

    fn modified(&self, key: &[u8]) -> Revision {
        self.keys.get(key).map_or(0, |item| item.modified)
    }

    fn used(&self, user: &UserName) -> u64 {
        self.used.get(user).copied().unwrap_or(0)
    }

    pub(super) fn account(&mut self, user: &UserName, added: u64, freed: u64) {
        self.bytes = self.bytes + added - freed;
        let used = self.used(user) + added - freed;
        if used == 0 {
            self.used.remove(user);
        } else {
            self.used.insert(user.clone(), used);
        }
    }
}

/// What the store would come to.
struct Plan<'a> {
    kv: &'a Kv,
    user: &'a UserName,
    keys: u64,
    bytes: u64,
    used: u64,
    /// Values that keys keep: they are changes all the same.
    kept: u64,
}

impl Plan<'_> {
    fn free(&mut self, key: &[u8], item: &Item) {
        let freed = cost(key, &item.value);
        self.keys -= 1;
        self.bytes -= freed;
        self.used -= if item.writer == *self.user { freed } else { 0 };
    }

    /// Returns the lease that the key would be attached to anew; 0 for none.
    fn put(&mut self, put: &Put, room: &mut Room, turn: &mut Turn) -> Result<LeaseId, Refusal> {
        let old = self.kv.keys.get(&put.key);
        if old.is_none() && (put.value.is_none() || put.lease.is_none()) {
            return Err(Refusal::NoKey);
        }
        if let Some(old) = old {
            self.free(&put.key, old);
            if put.previous && !room.take(cost(&put.key, &old.value)) {
                return Err(Refusal::Reply);
            }
        }
        let value = put.value.as_deref().or(old.map(|old| old.value.as_slice())).unwrap_or_default();
        if put.value.is_none() {
            // A short request, of which much is written.
            turn.look_at(value.len() / COMPARED_BYTES);
            self.kept += value.len() as u64;
            if self.kept > KEPT_VALUES_BYTES_MAX {
                return Err(Refusal::Many);
            }
        }
        let added = cost(&put.key, value);
        self.keys += 1;
        self.bytes += added;
        self.used += added;
        Ok(put.lease.filter(|lease| old.is_none_or(|old| old.lease != *lease)).unwrap_or(0))
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.keys > KEYS_MAX || self.bytes > STORE_BYTES_MAX {
            return Err(Refusal::StoreFull);
        }
        if self.used > USER_BYTES_MAX { Err(Refusal::UserFull) } else { Ok(()) }
    }
}
