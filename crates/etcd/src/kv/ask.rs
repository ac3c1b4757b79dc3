//! From etcd's requests to the store's, and back.

use ringfort_services::kv::{
    Between, By, Condition, Delete, End, KeyValue, Operation, OperationResult, Order, Put, Range, Read, Relation,
    Shows, TRANSACTION_MAX, Target, Transaction, WIDE_READS_MAX,
};
use tonic::Status;

use crate::error::Refusal;
use crate::front::signed;
use crate::pb::{self, by, is, of, order};
use crate::store::Unanswered;

/// Which keys are meant: one, those before `range_end`, or all from `key` on if that is a zero byte.
pub fn keys(key: &[u8], range_end: &[u8]) -> Range {
    let end = match range_end {
        [] => End::Start,
        [0] => End::Last,
        end => End::Before(end.to_vec()),
    };
    Range { start: key.to_vec(), end }
}

/// A key as etcd shows it.
pub fn shown(entry: KeyValue) -> pb::KeyValue {
    pb::KeyValue {
        create_revision: signed(entry.created),
        mod_revision: signed(entry.modified),
        version: signed(entry.version),
        lease: signed(entry.lease),
        key: entry.key,
        value: entry.value,
    }
}

fn provided(key: &[u8]) -> Result<(), Refusal> {
    if key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

pub fn put(asked: pb::PutRequest) -> Result<Operation, Refusal> {
    provided(&asked.key)?;
    if asked.ignore_value && !asked.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if asked.ignore_lease && asked.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    let lease = u64::try_from(asked.lease).map_err(|_| Refusal::LeaseNotFound)?;
    let value = (!asked.ignore_value).then_some(asked.value);
    let lease = (!asked.ignore_lease).then_some(lease);
    Ok(Operation::Put(Put { key: asked.key, value, lease, previous: asked.prev_kv }))
}

pub fn delete(asked: pb::DeleteRangeRequest) -> Result<Operation, Refusal> {
    provided(&asked.key)?;
    let range = keys(&asked.key, &asked.range_end);
    Ok(Operation::Delete(Delete { range, previous: asked.prev_kv }))
}

/// What a range asks for, whatever the revision.
pub fn read(asked: &pb::RangeRequest) -> Result<Read, Refusal> {
    provided(&asked.key)?;
    let by = match asked.sort_target {
        by::KEY => By::Key,
        by::VERSION => By::Version,
        by::CREATE => By::Created,
        by::MOD => By::Modified,
        by::VALUE => By::Value,
        _ => return Err(Refusal::InvalidSort),
    };
    let descending = match asked.sort_order {
        order::NONE | order::ASCEND => false,
        order::DESCEND => true,
        _ => return Err(Refusal::InvalidSort),
    };
    let shows = match asked {
        pb::RangeRequest { count_only: true, .. } => Shows::Count,
        pb::RangeRequest { keys_only: true, .. } => Shows::Keys,
        _ => Shows::Entries,
    };
    let limit = if asked.limit > 0 { u32::try_from(asked.limit).unwrap_or(u32::MAX) } else { u32::MAX };
    // What is counted is counted in all of the range.
    let between = |first, last| if asked.count_only { Between::ALL } else { between(first, last) };
    Ok(Read {
        range: keys(&asked.key, &asked.range_end),
        limit,
        shows,
        order: Order { by, descending },
        created: between(asked.min_create_revision, asked.max_create_revision),
        modified: between(asked.min_mod_revision, asked.max_mod_revision),
    })
}

/// Bounds of revisions, of which 0 is none.
fn between(first: i64, last: i64) -> Between {
    match u64::try_from(last) {
        Ok(0) => Between { first: u64::try_from(first).unwrap_or(0), last: u64::MAX },
        Ok(last) => Between { first: u64::try_from(first).unwrap_or(0), last },
        // No key has a revision below 0.
        Err(_) => Between { first: 1, last: 0 },
    }
}

/// What a list of operations is to be answered with.
#[derive(Default)]
pub struct Branch(Vec<Wanted>);

/// Both lists.
pub struct Branches {
    pub then: Branch,
    pub otherwise: Branch,
}

/// What of an operation.
enum Wanted {
    /// Keys; whether they are one at most, and whether all of the range is counted in an operation of its own.
    Range {
        limit: u32,
        one: bool,
        counted: bool,
    },
    Count,
    /// Whether with what was before.
    Put {
        previous: bool,
    },
    Delete,
}

/// A transaction, and what its answers are made of.
pub fn transaction(asked: pb::TxnRequest) -> Result<(Transaction, Branches), Status> {
    let longest = asked.compare.len().max(asked.success.len()).max(asked.failure.len());
    if longest > TRANSACTION_MAX {
        return Err(Refusal::TooManyOps.into());
    }
    let conditions = asked.compare.into_iter().map(condition).collect::<Result<_, _>>()?;
    let (then, wanted_then) = branch(asked.success)?;
    let (otherwise, wanted_otherwise) = branch(asked.failure)?;
    let branches = Branches { then: wanted_then, otherwise: wanted_otherwise };
    Ok((Transaction { conditions, then, otherwise }, branches))
}

fn condition(asked: pb::Compare) -> Result<Condition, Status> {
    provided(&asked.key)?;
    if !asked.range_end.is_empty() {
        return Err(unsupported("conditions on ranges of keys"));
    }
    let relation = match asked.result {
        is::EQUAL => Relation::Equal,
        is::NOT_EQUAL => Relation::NotEqual,
        is::GREATER => Relation::Greater,
        is::LESS => Relation::Less,
        _ => return Err(unsupported("this relation")),
    };
    let number = |number: i64| u64::try_from(number).map_err(|_| unsupported("conditions on numbers below 0"));
    // What is not given is 0, or nothing.
    let target = match (asked.target, asked.with) {
        (of::VERSION, Some(pb::With::Version(version))) => Target::Version(number(version)?),
        (of::VERSION, _) => Target::Version(0),
        (of::CREATE, Some(pb::With::Create(revision))) => Target::Created(number(revision)?),
        (of::CREATE, _) => Target::Created(0),
        (of::MOD, Some(pb::With::Mod(revision))) => Target::Modified(number(revision)?),
        (of::MOD, _) => Target::Modified(0),
        (of::VALUE, Some(pb::With::Value(value))) => Target::Value(value),
        (of::VALUE, _) => Target::Value(Vec::new()),
        (of::LEASE, Some(pb::With::Lease(lease))) => Target::Lease(number(lease)?),
        (of::LEASE, _) => Target::Lease(0),
        _ => return Err(unsupported("this target of a condition")),
    };
    Ok(Condition { key: asked.key, relation, target })
}

fn unsupported(what: &str) -> Status {
    Status::unimplemented(format!("ringfort: {what}: a group's store has none (docs/etcd.md)"))
}

fn branch(asked: Vec<pb::RequestOp>) -> Result<(Vec<Operation>, Branch), Status> {
    let (mut operations, mut wanted) = (Vec::new(), Branch::default());
    for pb::RequestOp { request } in asked {
        match request {
            Some(pb::Asked::Put(asked)) => {
                wanted.0.push(Wanted::Put { previous: asked.prev_kv });
                operations.push(put(asked)?);
            }
            Some(pb::Asked::Delete(asked)) => {
                wanted.0.push(Wanted::Delete);
                operations.push(delete(asked)?);
            }
            Some(pb::Asked::Range(asked)) => add_range(&asked, &mut operations, &mut wanted)?,
            Some(pb::Asked::Txn(_)) => return Err(unsupported("a transaction within a transaction")),
            None => return Err(Refusal::KeyNotFound.into()),
        }
    }
    let wide =
        operations.iter().filter(|operation| matches!(operation, Operation::Read(read) if read.is_wide())).count();
    if operations.len() > TRANSACTION_MAX || wide > WIDE_READS_MAX {
        return Err(Refusal::TooManyOps.into());
    }
    Ok((operations, wanted))
}

/// What a limit leaves out is counted too, so that takes another operation.
fn add_range(asked: &pb::RangeRequest, operations: &mut Vec<Operation>, wanted: &mut Branch) -> Result<(), Status> {
    let read = read(asked)?;
    if asked.revision > 0 {
        return Err(unsupported("reads of the past within a transaction"));
    }
    if read.shows == Shows::Count {
        wanted.0.push(Wanted::Count);
        operations.push(Operation::Read(read));
        return Ok(());
    }
    let one = read.range.end == End::Start;
    let filtered = read.created != Between::ALL || read.modified != Between::ALL;
    let counted = filtered || (!one && read.limit < u32::MAX);
    wanted.0.push(Wanted::Range { limit: read.limit, one, counted });
    let range = read.range.clone();
    operations.push(Operation::Read(read));
    if counted {
        operations.push(Operation::Read(Read::count(range)));
    }
    Ok(())
}

impl Branch {
    /// The answers. What does not fit one reply of the store is an error if nothing was changed; otherwise `more` says so.
    pub fn answers(
        self,
        header: Option<pb::Header>,
        results: Vec<OperationResult>,
        reads_alone: bool,
    ) -> Result<Vec<pb::ResponseOp>, Status> {
        let mut results = results.into_iter();
        let mut answers = Vec::new();
        for wanted in self.0 {
            let came = wanted.answer(header, &mut results, reads_alone)?;
            answers.push(pb::ResponseOp { response: Some(came) });
        }
        Ok(answers)
    }

    /// The answers that need no result.
    pub fn answers_untold(self, header: Option<pb::Header>) -> Option<Vec<pb::ResponseOp>> {
        let untold = |wanted| match wanted {
            Wanted::Put { previous: false } => Some(pb::Came::Put(pb::PutResponse { header, prev_kv: None })),
            _ => None,
        };
        let answer = |wanted| untold(wanted).map(|came| pb::ResponseOp { response: Some(came) });
        self.0.into_iter().map(answer).collect()
    }
}

impl Wanted {
    fn answer(
        self,
        header: Option<pb::Header>,
        results: &mut impl Iterator<Item = OperationResult>,
        reads_alone: bool,
    ) -> Result<pb::Came, Status> {
        let version = || Status::from(Unanswered::Version);
        match (self, results.next()) {
            (Wanted::Range { limit, one, counted }, Some(OperationResult::Read { entries, more })) => {
                let cut = more && !one && entries.len() < limit as usize;
                if cut && reads_alone {
                    return Err(too_long());
                }
                let count = match (counted, entries.len()) {
                    (false, count) => signed(count as u64),
                    (true, _) => match results.next() {
                        Some(OperationResult::Count(count)) => signed(count),
                        _ => return Err(version()),
                    },
                };
                let kvs = entries.into_iter().map(shown).collect();
                Ok(pb::Came::Range(pb::RangeResponse { header, kvs, more, count }))
            }
            (Wanted::Count, Some(OperationResult::Count(count))) => {
                let count = signed(count);
                Ok(pb::Came::Range(pb::RangeResponse { header, count, ..pb::RangeResponse::default() }))
            }
            (Wanted::Put { .. }, Some(OperationResult::Put { previous, .. })) => {
                Ok(pb::Came::Put(pb::PutResponse { header, prev_kv: previous.map(shown) }))
            }
            (Wanted::Delete, Some(OperationResult::Deleted { count, previous })) => {
                let prev_kvs = previous.into_iter().map(shown).collect();
                Ok(pb::Came::Delete(pb::DeleteRangeResponse { header, deleted: signed(count), prev_kvs }))
            }
            _ => Err(version()),
        }
    }
}

fn too_long() -> Status {
    Status::resource_exhausted(
        "ringfort: what this transaction reads is longer than a reply of the group's store: read less at once, or outside \
         a transaction",
    )
}
