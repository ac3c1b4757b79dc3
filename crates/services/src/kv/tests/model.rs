//! What etcd does, said as simply as it can be, beside the store: the same programs lead to the same replies.

use super::*;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

/// Lists that are searched from the beginning, and nothing that is carried along.
#[derive(Clone, Default)]
struct Model {
    revision: Revision,
    keys: Vec<KeyValue>,
    /// Name, length, end.
    leases: Vec<(LeaseId, u32, u64)>,
    log: Vec<(Revision, Change)>,
    waits: Vec<(u64, String, u8, Range, Revision)>,
}

struct Now<'a> {
    place: u64,
    time_us: u64,
    user: &'a str,
}

fn is_in(range: &Range, key: &[u8]) -> bool {
    match &range.end {
        End::Start => *key == *range.start,
        End::Before(end) => *range.start <= *key && *key < **end,
        End::Last => *range.start <= *key,
    }
}

impl Model {
    fn apply(&mut self, now: &Now<'_>, request: &KvRequest) -> (Option<Outcome>, Vec<(u64, Outcome)>) {
        let mut later = Vec::new();
        loop {
            let due = self.leases.iter().filter(|(.., end)| *end <= now.time_us).min_by_key(|(id, _, end)| (*end, *id));
            let Some(id) = due.map(|lease| lease.0) else { break };
            self.end(id, &mut later);
        }
        let outcome = self.decide(now, request, &mut later);
        (outcome.unwrap_or_else(|refusal| Some(Outcome::Refused(refusal))), later)
    }

    fn end(&mut self, id: LeaseId, later: &mut Vec<(u64, Outcome)>) {
        self.leases.retain(|lease| lease.0 != id);
        let mut gone: Vec<Vec<u8>> =
            self.keys.iter().filter(|key| key.lease == id).map(|key| key.key.clone()).collect();
        gone.sort();
        self.keys.retain(|key| key.lease != id);
        self.commit(gone.into_iter().map(|key| Change::Deleted { key }).collect(), later);
    }

    fn commit(&mut self, changes: Vec<Change>, later: &mut Vec<(u64, Outcome)>) {
        if changes.is_empty() {
            return;
        }
        self.revision += 1;
        let revision = self.revision;
        self.waits.retain(|(place, _, _, range, after)| {
            let met = *after < revision && changes.iter().any(|change| is_in(range, change.key()));
            later.extend(met.then_some((*place, Outcome::Changed)));
            !met
        });
        self.log.extend(changes.into_iter().map(|change| (revision, change)));
    }

    fn decide(
        &mut self,
        now: &Now<'_>,
        request: &KvRequest,
        later: &mut Vec<(u64, Outcome)>,
    ) -> Result<Option<Outcome>, Refusal> {
        let lease = |model: &Self, id| model.leases.iter().position(|lease| lease.0 == id).ok_or(Refusal::NoLease);
        Ok(Some(match request {
            KvRequest::Transact(transaction) => Outcome::Transacted(self.transact(now, transaction, later)?),
            KvRequest::LeaseGrant { id, ttl_s } => {
                if lease(self, *id).is_ok() {
                    return Err(Refusal::LeaseExists);
                }
                let id = if *id == 0 { now.place } else { *id };
                self.leases.push((id, *ttl_s, now.time_us + u64::from(*ttl_s) * 1_000_000));
                Outcome::Leased { id, ttl_s: *ttl_s }
            }
            KvRequest::LeaseRenew { id } => {
                let at = lease(self, *id)?;
                let (id, ttl_s, end) = &mut self.leases[at];
                *end = now.time_us + u64::from(*ttl_s) * 1_000_000;
                Outcome::Leased { id: *id, ttl_s: *ttl_s }
            }
            KvRequest::LeaseRevoke { id } => {
                lease(self, *id)?;
                self.end(*id, later);
                Outcome::Revoked
            }
            KvRequest::Changes { range, after, .. } => {
                let is_meant =
                    |(revision, change): &&(u64, Change)| *revision > after.revision && is_in(range, change.key());
                let told = self.log.iter().filter(is_meant).map(|(revision, change)| Event {
                    // Within a revision as they were made.
                    position: Position { revision: *revision, changes: 0 },
                    change: change.clone(),
                    previous: None,
                });
                let upto = Position { revision: self.revision.max(after.revision), changes: u32::MAX };
                Outcome::Changes { events: told.collect(), upto, more: false }
            }
            KvRequest::Wait { slot, range, after } => {
                let before = self.waits.iter().position(|wait| (wait.1.as_str(), wait.2) == (now.user, *slot));
                later.extend(before.map(|at| (self.waits.remove(at).0, Outcome::Replaced)));
                if self.log.iter().any(|(revision, change)| revision > after && is_in(range, change.key())) {
                    return Ok(Some(Outcome::Changed));
                }
                self.waits.push((now.place, now.user.into(), *slot, range.clone(), *after));
                return Ok(None);
            }
            KvRequest::LeaseInfo { .. } | KvRequest::LeaseList => panic!("it is not asked here"),
        }))
    }

    fn transact(
        &mut self,
        now: &Now<'_>,
        transaction: &Transaction,
        later: &mut Vec<(u64, Outcome)>,
    ) -> Result<Transacted, Refusal> {
        for list in [&transaction.then, &transaction.otherwise] {
            let puts = list.iter().enumerate().filter_map(|(at, operation)| match operation {
                Operation::Put(put) => Some((at, &put.key)),
                _ => None,
            });
            for (at, key) in puts {
                for (other, operation) in list.iter().enumerate() {
                    match operation {
                        Operation::Put(put) if other != at && put.key == *key => return Err(Refusal::Twice),
                        Operation::Delete(delete) if is_in(&delete.range, key) => return Err(Refusal::Twice),
                        _ => {}
                    }
                }
            }
        }
        let failed = transaction.conditions.iter().position(|condition| !self.holds(condition));
        let modified = |key: &[u8]| self.keys.iter().find(|entry| entry.key == key).map_or(0, |entry| entry.modified);
        let told = failed.map(|at| Failed { condition: at as u8, modified: modified(&transaction.conditions[at].key) });
        let list = if failed.is_some() { &transaction.otherwise } else { &transaction.then };
        let (mut tried, mut changes, mut results) = (self.clone(), Vec::new(), Vec::new());
        for operation in list {
            results.push(tried.operate(now, operation, &mut changes)?);
        }
        self.keys = tried.keys;
        self.commit(changes, later);
        Ok(Transacted { failed: told, results: Some(results) })
    }

    fn holds(&self, condition: &Condition) -> bool {
        let entry = self.keys.iter().find(|entry| entry.key == condition.key);
        let (has, given) = match &condition.target {
            Target::Created(given) => (entry.map_or(0, |entry| entry.created), *given),
            Target::Modified(given) => (entry.map_or(0, |entry| entry.modified), *given),
            Target::Version(given) => (entry.map_or(0, |entry| entry.version), *given),
            Target::Lease(given) => (entry.map_or(0, |entry| entry.lease), *given),
            Target::Value(given) => match entry {
                None => return false,
                Some(entry) if entry.value < *given => (0, 1),
                Some(entry) => (u64::from(entry.value > *given), 0),
            },
        };
        match condition.relation {
            Relation::Equal => has == given,
            Relation::NotEqual => has != given,
            Relation::Greater => has > given,
            Relation::Less => has < given,
        }
    }

    fn operate(
        &mut self,
        now: &Now<'_>,
        operation: &Operation,
        changes: &mut Vec<Change>,
    ) -> Result<OperationResult, Refusal> {
        Ok(match operation {
            Operation::Read(read) => {
                let mut found: Vec<KeyValue> =
                    self.keys.iter().filter(|entry| is_in(&read.range, &entry.key)).cloned().collect();
                found.retain(|entry| (read.created.first..=read.created.last).contains(&entry.created));
                found.sort_by(|one, other| one.key.cmp(&other.key));
                let number = |entry: &KeyValue| match read.order.by {
                    By::Created => entry.created,
                    By::Modified => entry.modified,
                    By::Version => entry.version,
                    _ => 0,
                };
                match read.order.by {
                    By::Key if read.order.descending => found.reverse(),
                    _ if read.order.descending => found.sort_by_key(|entry| u64::MAX - number(entry)),
                    _ => found.sort_by_key(number),
                }
                if read.shows == Shows::Count {
                    return Ok(OperationResult::Count(found.len() as u64));
                }
                let more = found.len() > read.limit as usize;
                found.truncate(read.limit as usize);
                OperationResult::Read { entries: found, more }
            }
            Operation::Put(put) => {
                let old = self.keys.iter().position(|entry| entry.key == put.key).map(|at| self.keys.remove(at));
                let lease = put.lease.or(old.as_ref().map(|old| old.lease)).ok_or(Refusal::NoKey)?;
                if lease != 0 && !self.leases.iter().any(|known| known.0 == lease) {
                    return Err(Refusal::NoLease);
                }
                let entry = KeyValue {
                    key: put.key.clone(),
                    value: put.value.clone().or(old.as_ref().map(|old| old.value.clone())).ok_or(Refusal::NoKey)?,
                    created: old.as_ref().map_or(self.revision + 1, |old| old.created),
                    modified: self.revision + 1,
                    version: old.as_ref().map_or(1, |old| old.version + 1),
                    lease,
                    writer: now.user.parse().unwrap(),
                    time_us: now.time_us,
                };
                self.keys.push(entry.clone());
                changes.push(Change::Put(entry));
                OperationResult::Put { existed: old.is_some(), previous: old.filter(|_| put.previous) }
            }
            Operation::Delete(delete) => {
                let mut gone: Vec<KeyValue> =
                    self.keys.iter().filter(|entry| is_in(&delete.range, &entry.key)).cloned().collect();
                gone.sort_by(|one, other| one.key.cmp(&other.key));
                self.keys.retain(|entry| !is_in(&delete.range, &entry.key));
                changes.extend(gone.iter().map(|entry| Change::Deleted { key: entry.key.clone() }));
                let count = gone.len() as u64;
                OperationResult::Deleted { count, previous: if delete.previous { gone } else { Vec::new() } }
            }
        })
    }
}

struct Draw(ChaCha12Rng);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn key(&mut self) -> Vec<u8> {
        vec![b'a' + self.below(4) as u8]
    }

    fn range(&mut self) -> Range {
        match self.below(5) {
            0 | 1 => Range::key(&self.key()),
            2 => Range::between(&self.key(), &self.key()),
            3 => Range::from(&self.key()),
            _ => Range::all(),
        }
    }

    fn lease(&mut self) -> LeaseId {
        [0, 0, 1, 2, 3][self.below(5) as usize]
    }

    fn operation(&mut self) -> Operation {
        match self.below(7) {
            0..3 => Operation::Put(Put {
                key: self.key(),
                value: (self.below(6) > 0).then(|| vec![self.below(3) as u8]),
                lease: (self.below(6) > 0).then(|| self.lease()),
                previous: self.below(2) == 0,
            }),
            3 => Operation::Delete(Delete { range: self.range(), previous: self.below(2) == 0 }),
            _ => {
                let by = [By::Key, By::Created, By::Modified, By::Version][self.below(4) as usize];
                let shows = if self.below(4) == 0 { Shows::Count } else { Shows::Entries };
                Operation::Read(Read {
                    limit: self.below(6) as u32,
                    shows,
                    order: Order { by, descending: self.below(2) == 0 },
                    created: Between { first: self.below(3), last: if self.below(2) == 0 { 9 } else { u64::MAX } },
                    ..Read::all(self.range())
                })
            }
        }
    }

    fn operations(&mut self) -> Vec<Operation> {
        let mut list: Vec<Operation> = (0..self.below(4)).map(|_| self.operation()).collect();
        while list.iter().filter(|operation| matches!(operation, Operation::Read(_))).count() > WIDE_READS_MAX {
            list.pop();
        }
        list
    }

    fn condition(&mut self, model: &Model) -> Condition {
        let relation = [Relation::Equal, Relation::NotEqual, Relation::Greater, Relation::Less][self.below(4) as usize];
        let near = (model.revision + self.below(3)).saturating_sub(2);
        let target = match self.below(5) {
            0 => Target::Created(near),
            1 => Target::Modified(near),
            2 => Target::Version(self.below(3)),
            3 => Target::Lease(self.lease()),
            _ => Target::Value(vec![self.below(3) as u8]),
        };
        Condition::new(&self.key(), relation, target)
    }

    fn request(&mut self, model: &Model) -> KvRequest {
        let id = 1 + self.below(3);
        match self.below(12) {
            0 => KvRequest::LeaseGrant { id, ttl_s: 1 + self.below(4) as u32 },
            1 => KvRequest::LeaseRenew { id },
            2 => KvRequest::LeaseRevoke { id },
            3 => {
                let after = Position { revision: self.below(model.revision + 2), changes: u32::MAX };
                KvRequest::Changes { range: self.range(), after, limit: 10_000, previous: false }
            }
            4 | 5 => {
                let after = (model.revision + self.below(4)).saturating_sub(2);
                KvRequest::Wait { slot: self.below(2) as u8, range: self.range(), after }
            }
            _ => {
                let conditions = (0..self.below(3)).map(|_| self.condition(model)).collect();
                KvRequest::Transact(Transaction { conditions, then: self.operations(), otherwise: self.operations() })
            }
        }
    }
}

/// Places within a revision are those of all changes, of which the model knows nothing.
fn told(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Changes { mut events, upto, more } => {
            events.iter_mut().for_each(|event| event.position.changes = 0);
            Outcome::Changes { events, upto, more }
        }
        // Which of two that are both so is told is no matter.
        Outcome::Refused(Refusal::NoKey) => Outcome::Refused(Refusal::NoLease),
        other => other,
    }
}

#[test]
fn a_store_replies_as_a_simple_model_does_to_any_program() {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 0..60 {
        let mut draw = Draw(ChaCha12Rng::seed_from_u64(seed));
        let (mut world, mut model) = (World::default(), Model { revision: 1, ..Model::default() });
        for step in 0..150 {
            let user = ["ana", "ben"][draw.below(2) as usize];
            let request = draw.request(&model);
            world.time_us += draw.below(1_500_000);
            let before = world.later.clone();
            let reply = match world.apply(user, Role::Member, &request).reply {
                Reply::Now { reply, .. } => Some(decode::<KvReply>(&reply).unwrap()),
                Reply::Later { .. } => None,
            };
            let now = Now { place: world.place, time_us: world.time_us, user };
            let (expected, mut later) = model.apply(&now, &request);
            later.sort_by_key(|(place, _)| *place);
            let new = world.later.iter().filter(|(place, _)| !before.contains_key(place));
            let new: Vec<(u64, Outcome)> = new.map(|(place, reply)| (*place, reply.outcome.clone())).collect();
            assert_eq!(new, later, "seed {seed}, step {step}: {request:?}");
            let revision = reply.as_ref().map_or(model.revision, |reply| reply.revision);
            assert_eq!(revision, model.revision, "seed {seed}, step {step}: {request:?}");
            let outcome = reply.map(|reply| reply.outcome);
            assert_eq!(outcome.clone().map(told), expected.map(told), "seed {seed}, step {step}: {request:?}");
            let kind = match &outcome {
                None => "waits",
                Some(Outcome::Refused(Refusal::Twice)) => "twice",
                Some(Outcome::Refused(Refusal::NoKey)) => "no key",
                Some(Outcome::Refused(Refusal::NoLease)) => "no lease",
                Some(Outcome::Transacted(Transacted { failed: Some(_), .. })) => "otherwise",
                Some(Outcome::Transacted(_)) => "then",
                Some(Outcome::Changed) => "changed",
                Some(Outcome::Revoked) => "revoked",
                Some(_) => "other",
            };
            *seen.entry(kind).or_default() += 1;
        }
    }
    assert!(seen.len() == 9 && seen.values().all(|count| *count > 50), "each kind of reply was seen often: {seen:?}");
}
