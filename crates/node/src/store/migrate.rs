//! From older formats to the current one, all of it or nothing.

use std::path::Path;

use borsh::BorshDeserialize;
use ringfort_protocol::codec::decode;
use ringfort_protocol::coordination::{LifeRecord, Operation, Rank, Subject};
use ringfort_protocol::leader::Record;
use ringfort_protocol::login::Registration;
use ringfort_protocol::{GroupId, UserName};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::error::{StoreError, fault};
use super::rows::{self, Meta, Row, corrupt};
use super::{FORMAT, SCHEMA};

/// Accepted state in format 1, which kept no votes.
#[derive(BorshDeserialize)]
struct Life1 {
    user: Option<UserName>,
    rank: Rank,
    operation: Operation,
    barred: bool,
    unwanted: bool,
}

/// Brings an older format up to date.
pub(super) fn to_current(connection: &mut Connection, path: &Path, format: i64) -> Result<(), StoreError> {
    if format == 1 {
        return from_1(connection, path);
    }
    // Format 2 differs in how passwords are registered: those it has are told apart as they are read. Format 3 had no
    // sessions, and is as format 4 of a group in its first.
    connection
        .execute_batch(REGISTERED)
        .and_then(|()| connection.pragma_update(None, "user_version", FORMAT))
        .map_err(|source| fault(path, source))
}

/// When registrations were made: not known of older ones.
const REGISTERED: &str = "CREATE TABLE IF NOT EXISTS registered
    (key TEXT PRIMARY KEY, value BLOB NOT NULL, sum BLOB NOT NULL) STRICT, WITHOUT ROWID;";

/// Format 1 had no digests of rows, so what it holds is checked by its sense alone.
fn from_1(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |source| fault(path, source);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(failed)?;
    let found: [u8; 32] = transaction.query_row("SELECT group_id FROM meta", [], |row| row.get(0)).map_err(failed)?;
    let lives = read(&transaction, "SELECT subject, record FROM life ORDER BY subject").map_err(failed)?;
    let registrations = read(&transaction, "SELECT user, secret FROM registration ORDER BY user").map_err(failed)?;
    let mut records = Vec::new();
    for (row, bytes) in lives {
        let old: Life1 = decode(&bytes).map_err(|_| corrupt(path, "state", &row))?;
        let Life1 { user, rank, operation, barred, unwanted } = old;
        let subject = user.map_or(Subject::Key, Subject::User);
        let life = LifeRecord { subject, accepted: Some(operation), barred, unwanted, votes: Vec::new() };
        if rows::subject_of(&life) != row || !life.is_sound() || life.rank() != rank {
            return Err(corrupt(path, "state", &row));
        }
        records.push(Record::Life(life));
    }
    for (user, bytes) in registrations {
        if rows::is_outdated(&user, &bytes) {
            continue;
        }
        let registration = Registration::from_bytes(&bytes).ok_or_else(|| corrupt(path, "registration", &user))?;
        records
            .push(Record::Registration(user.parse().map_err(|_| corrupt(path, "registration", &user))?, registration));
    }
    let meta = Meta { group: GroupId(found), catching_up: false, sealed_with: None };
    write(transaction, &meta, &records).map_err(failed)
}

fn read(transaction: &Transaction<'_>, query: &str) -> rusqlite::Result<Vec<Row>> {
    let mut statement = transaction.prepare(query)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, zeroize::Zeroizing::new(row.get(1)?))))?;
    rows.collect()
}

fn write(transaction: Transaction<'_>, meta: &Meta, records: &[Record]) -> rusqlite::Result<()> {
    transaction.execute_batch("DROP TABLE meta; DROP TABLE life; DROP TABLE registration;")?;
    transaction.execute_batch(SCHEMA)?;
    meta.write(&transaction)?;
    records.iter().try_for_each(|record| rows::put(&transaction, record, None))?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}
