//! Records as rows: each with a digest, so that a changed bit is noticed.

use std::path::Path;

use ringfort_crypto::hash::digest;
use ringfort_protocol::GroupId;
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::coordination::{LifeRecord, Operation, Subject};
use ringfort_protocol::leader::Record;
use ringfort_protocol::login::{Attempts, Registration};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tracing::warn;
use zeroize::Zeroizing;

use super::error::{StoreError, fault};
use ringfort_documents::seal::StoreKey;

/// The subject under which the refreshes of the group key are kept; no user has this name.
const KEY_SUBJECT: &str = "";

/// The subject under which the session is kept; nor this one.
const SESSION_SUBJECT: &str = "/session";

/// A subject and its encoded record.
pub(super) type Row = (String, Zeroizing<Vec<u8>>);

/// The digest that goes with a row.
pub fn row_sum(table: &str, key: &str, value: &[u8]) -> Vec<u8> {
    digest("ringfort store row", &[table.as_bytes(), key.as_bytes(), value]).get(..16).unwrap_or_default().to_vec()
}

/// What is kept of the memory itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub group: GroupId,
    pub catching_up: bool,
    /// The name of the key that registrations are sealed with.
    pub sealed_with: Option<[u8; 32]>,
}

impl Meta {
    fn sum(&self) -> Vec<u8> {
        row_sum("meta", "", &encode(&(self.group.0, self.catching_up, self.sealed_with)))
    }

    pub fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        transaction.execute("DELETE FROM meta", [])?;
        let values = params![self.group.0, self.catching_up, self.sealed_with, self.sum()];
        transaction.execute("INSERT INTO meta VALUES (?1, ?2, ?3, ?4)", values).map(|_| ())
    }

    pub fn read(connection: &Connection, path: &Path) -> Result<Meta, StoreError> {
        let read = |row: &rusqlite::Row<'_>| {
            let meta = Meta { group: GroupId(row.get(0)?), catching_up: row.get(1)?, sealed_with: row.get(2)? };
            Ok((meta, row.get::<_, Vec<u8>>(3)?))
        };
        let found =
            connection.query_row("SELECT * FROM meta", [], read).optional().map_err(|source| fault(path, source))?;
        match found {
            Some((meta, sum)) if meta.sum() == sum => Ok(meta),
            _ => Err(StoreError::Corrupt { path: path.to_owned(), what: "it does not say whose it is".to_owned() }),
        }
    }
}

/// What a memory holds, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The sum of all ranks.
    pub epoch: u64,
    /// Members accepted.
    pub members: usize,
    /// Users registered.
    pub users: usize,
    /// Votes that are not settled.
    pub votes: usize,
    /// Users whose password attempts are being counted.
    pub throttled: usize,
    /// Whether registrations are sealed.
    pub is_sealed: bool,
    /// Whether the leader must come to its peers' state before it says anything.
    pub is_catching_up: bool,
}

pub(super) fn look(connection: &Connection, path: &Path, meta: &Meta) -> Result<Look, StoreError> {
    let (is_sealed, is_catching_up) = (meta.sealed_with.is_some(), meta.catching_up);
    let mut look = Look { is_sealed, is_catching_up, ..Look::default() };
    for (subject, bytes) in checked(connection, path, "life")? {
        let life = life(path, &subject, &bytes)?;
        look.epoch = look.epoch.saturating_add(life.rank());
        look.members += usize::from(matches!(life.accepted, Some(Operation::Join(_))));
        look.votes += life.votes.len();
    }
    look.users = checked(connection, path, "registration")?.len();
    look.throttled = checked(connection, path, "attempts")?.len();
    Ok(look)
}

/// Whether no row is in any table.
pub(super) fn is_empty(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    for table in ["life", "registration", "attempts", "registered"] {
        if !checked(connection, path, table)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn load(connection: &Connection, path: &Path, key: Option<&StoreKey>) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    for (subject, bytes) in checked(connection, path, "life")? {
        records.push(Record::Life(life(path, &subject, &bytes)?));
    }
    for (user, bytes) in checked(connection, path, "registration")? {
        let damaged = || corrupt(path, "registration", &user);
        let bytes = match key {
            Some(key) => key.open_registration(&user, &bytes).ok_or_else(damaged)?,
            None => bytes,
        };
        if is_outdated(&user, &bytes) {
            continue;
        }
        let registration = Registration::from_bytes(&bytes).ok_or_else(damaged)?;
        records.push(Record::Registration(user.parse().map_err(|_| damaged())?, registration));
    }
    for (key, bytes) in checked(connection, path, "attempts")? {
        let left: u32 = decode(&bytes).map_err(|_| corrupt(path, "attempts", &key))?;
        let user = key.parse().map_err(|_| corrupt(path, "attempts", &key))?;
        records.push(Record::Attempts(Attempts { user, left: Some(left) }));
    }
    Ok(records)
}

/// Whether a registration is of a password before users had login keys of their own. It is left out, and that is said.
pub(super) fn is_outdated(user: &str, bytes: &[u8]) -> bool {
    let outdated = Registration::is_outdated(bytes);
    if outdated {
        warn!(%user, "has to be enrolled again: this password was registered by an older version, without a login key of its own");
    }
    outdated
}

pub(super) fn corrupt(path: &Path, table: &str, subject: &str) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), what: format!("{table} of {subject:?}") }
}

fn life(path: &Path, subject: &str, bytes: &[u8]) -> Result<LifeRecord, StoreError> {
    let life: LifeRecord = decode(bytes).map_err(|_| corrupt(path, "state", subject))?;
    if subject_of(&life) == subject && life.is_sound() { Ok(life) } else { Err(corrupt(path, "state", subject)) }
}

/// The rows of a table, each with its true digest.
fn checked(connection: &Connection, path: &Path, table: &str) -> Result<Vec<Row>, StoreError> {
    let rows = rows(connection, table).map_err(|source| fault(path, source))?;
    // The database believes its file: where bytes have changed, a subject may be out of order, and there twice.
    let disorder = rows.iter().zip(rows.iter().skip(1)).find(|(before, after)| before.0 >= after.0);
    let changed = rows.iter().find(|(subject, value, sum)| row_sum(table, subject, value) != *sum);
    match disorder.map(|(_, row)| row).or(changed) {
        Some((subject, ..)) => Err(corrupt(path, table, subject)),
        None => Ok(rows.into_iter().map(|(subject, value, _)| (subject, value)).collect()),
    }
}

type SummedRow = (String, Zeroizing<Vec<u8>>, Vec<u8>);

fn rows(connection: &Connection, table: &str) -> rusqlite::Result<Vec<SummedRow>> {
    let mut statement = connection.prepare(&format!("SELECT key, value, sum FROM {table} ORDER BY key"))?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, Zeroizing::new(row.get(1)?), row.get(2)?)))?;
    rows.collect()
}

/// When the registration of a user was made or replaced here, Unix seconds.
pub(super) fn registered_at(connection: &Connection, path: &Path, user: &str) -> Result<Option<u64>, StoreError> {
    let rows = checked(connection, path, "registered")?;
    let found = rows.into_iter().find(|(name, _)| name == user);
    found.map(|(name, bytes)| decode(&bytes).map_err(|_| corrupt(path, "registered", &name))).transpose()
}

/// Notes when a registration was made.
pub(super) fn note_registered(transaction: &Transaction<'_>, user: &str, unix_s: u64) -> rusqlite::Result<()> {
    replace(transaction, "registered", user, &encode(&unix_s))
}

/// Writes any record but the leader's own state.
pub(super) fn put(transaction: &Transaction<'_>, record: &Record, key: Option<&StoreKey>) -> rusqlite::Result<()> {
    match record {
        Record::Life(life) => replace(transaction, "life", subject_of(life), &encode(life)),
        Record::Registration(user, registration) => {
            let plain = registration.to_bytes();
            let sealed = key.map(|key| key.seal_registration(user.as_str(), &plain));
            replace(transaction, "registration", user.as_str(), sealed.as_deref().unwrap_or(&plain))
        }
        Record::Attempts(Attempts { user, left: Some(left) }) => {
            replace(transaction, "attempts", user.as_str(), &encode(left))
        }
        Record::Attempts(Attempts { user, left: None }) => {
            let mut statement = transaction.prepare_cached("DELETE FROM attempts WHERE key = ?1")?;
            statement.execute([user.as_str()]).map(|_| ())
        }
        Record::CatchingUp(_) => Ok(()),
    }
}

fn replace(transaction: &Transaction<'_>, table: &str, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(&format!("INSERT OR REPLACE INTO {table} VALUES (?1, ?2, ?3)"))?;
    statement.execute(params![key, value, row_sum(table, key, value)]).map(|_| ())
}

pub(super) fn subject_of(life: &LifeRecord) -> &str {
    match &life.subject {
        Subject::Key => KEY_SUBJECT,
        Subject::User(user) => user.as_str(),
        Subject::Session => SESSION_SUBJECT,
    }
}
