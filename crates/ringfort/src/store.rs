//! What a leader must not forget (P10), in one SQLite file.
//!
//! A record is durable when [`Store::persist`] returns: write-ahead log, `synchronous=FULL`, one
//! transaction per call. Kill the process anywhere, and the next [`Store::load`] gives every record
//! of the calls that returned, and of one that did not, all records or none.
//!
//! # Security
//! Registrations are secret, so the file is created with mode 0600, and what is replaced is wiped from
//! it (from its log once that is used again). It holds no share: those are in the folder's `leader.toml`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::coordination::LifeRecord;
use ringfort_protocol::leader::Record;
use ringfort_protocol::login::Registration;
use ringfort_protocol::{GroupId, UserName};
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use zeroize::Zeroizing;

/// The format written here; an older one would be brought up to it at open.
const FORMAT: i64 = 1;

/// Marks the file as ours: "RFst".
const APPLICATION_ID: i64 = 0x5246_7374;

const SCHEMA: &str = "
    CREATE TABLE meta (group_id BLOB NOT NULL) STRICT;
    CREATE TABLE life (subject TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE registration (user TEXT PRIMARY KEY, secret BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

/// The subject under which the refreshes of the group key are kept; no user has this name.
const KEY_SUBJECT: &str = "";

/// A subject and its encoded record.
type Row = (String, Zeroizing<Vec<u8>>);

/// Another process gets this long to let go, such as a leader that is just stopping.
const BUSY_WAIT: Duration = Duration::from_millis(500);

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}: {}", self.path().display(), self.what(), self.action())]
#[expect(missing_docs, reason = "each variant says what its fields are")]
pub enum StoreError {
    /// Written by a later version of the software.
    Newer { path: PathBuf, found: i64 },
    /// Belongs to another group.
    OtherGroup { path: PathBuf, found: GroupId, expected: GroupId },
    /// Some other file.
    NotAStore { path: PathBuf },
    /// Holds what this software never wrote.
    Corrupt { path: PathBuf, what: String },
    /// Another process has it open.
    Busy { path: PathBuf },
    /// Others can read it.
    Permissions { path: PathBuf, mode: u32 },
    /// Cannot be opened or made.
    Unusable { path: PathBuf, source: io::Error },
    /// The database or the disk failed.
    Sqlite { path: PathBuf, source: rusqlite::Error },
}

impl StoreError {
    /// The database file.
    pub fn path(&self) -> &Path {
        match self {
            StoreError::Newer { path, .. }
            | StoreError::OtherGroup { path, .. }
            | StoreError::NotAStore { path }
            | StoreError::Corrupt { path, .. }
            | StoreError::Busy { path }
            | StoreError::Permissions { path, .. }
            | StoreError::Unusable { path, .. }
            | StoreError::Sqlite { path, .. } => path,
        }
    }

    pub(crate) fn what(&self) -> String {
        match self {
            StoreError::Newer { found, .. } => {
                format!("the leader's memory has format {found}, and this version knows formats up to {FORMAT}")
            }
            StoreError::OtherGroup { found, expected, .. } => {
                format!("this is the memory of a leader of group {found}, not of {expected}")
            }
            StoreError::NotAStore { .. } => "this is not the memory of a leader".to_owned(),
            StoreError::Corrupt { what, .. } => format!("the leader's memory is damaged ({what})"),
            StoreError::Busy { .. } => "the leader's memory is in use by another process".to_owned(),
            StoreError::Permissions { mode, .. } => {
                format!("the leader's memory holds secrets, but others can get at it (mode {mode:04o})")
            }
            StoreError::Unusable { source, .. } => format!("the leader's memory cannot be opened ({source})"),
            StoreError::Sqlite { source, .. } => format!("the leader's memory failed ({source})"),
        }
    }

    pub(crate) fn action(&self) -> String {
        match self {
            StoreError::Newer { .. } => "run the newer version of ringfort".to_owned(),
            StoreError::OtherGroup { .. } | StoreError::NotAStore { .. } => {
                "put back the file that belongs to this folder".to_owned()
            }
            StoreError::Corrupt { .. } => {
                "restore the folder from a backup; the leader then catches up from the others".to_owned()
            }
            StoreError::Busy { .. } => "stop the leader that runs on this folder first".to_owned(),
            StoreError::Permissions { path, .. } => format!("run `chmod 600 {}`", path.display()),
            StoreError::Unusable { .. } => "check the folder's owner and permissions".to_owned(),
            StoreError::Sqlite { .. } => {
                "check that the disk works and has room, then start the leader again".to_owned()
            }
        }
    }
}

/// The durable memory of one leader of one group.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens the memory at `path`, or makes an empty one with mode 0600.
    pub fn open(path: &Path, group: GroupId) -> Result<Self, StoreError> {
        create_private(path)?;
        let failed = |source| fault(path, source);
        let connection = Connection::open(path).map_err(failed)?;
        set_up(&connection).map_err(failed)?;
        let mut store = Store { connection, path: path.to_owned() };
        store.check_or_make(group)?;
        store.use_log()?;
        Ok(store)
    }

    /// Everything remembered, each subject's latest record, in a fixed order.
    pub fn load(&self) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        for (subject, bytes) in self.rows("SELECT subject, record FROM life ORDER BY subject")? {
            let life: LifeRecord = decode(&bytes).map_err(|_| self.corrupt("state", &subject))?;
            if subject_of(&life) != subject || !life.is_sound() {
                return Err(self.corrupt("state", &subject));
            }
            records.push(Record::Life(life));
        }
        for (user, bytes) in self.rows("SELECT user, secret FROM registration ORDER BY user")? {
            let registration = Registration::from_bytes(&bytes).ok_or_else(|| self.corrupt("registration", &user))?;
            let user: UserName = user.parse().map_err(|_| self.corrupt("registration", &user))?;
            records.push(Record::Registration(user, registration));
        }
        Ok(records)
    }

    /// Makes records durable, all or none. Each replaces its subject's record from before.
    pub fn persist(&mut self, records: &[&Record]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        write(&mut self.connection, records).map_err(|source| fault(&self.path, source))
    }

    /// What its files take, bytes.
    pub fn bytes(&self) -> u64 {
        let beside = |suffix: &str| {
            let mut name = self.path.clone().into_os_string();
            name.push(suffix);
            fs::metadata(name).map_or(0, |file| file.len())
        };
        ["", "-wal", "-shm"].into_iter().map(beside).sum()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a new store, or checks that an existing one is ours to read.
    fn check_or_make(&mut self, group: GroupId) -> Result<(), StoreError> {
        let path = self.path.clone();
        let failed = |source| fault(&path, source);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(failed)?;
        let number = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let tables: i64 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
        let (application, format) =
            (number("application_id").map_err(failed)?, number("user_version").map_err(failed)?);
        if tables == 0 && application == 0 && format == 0 {
            transaction.execute_batch(SCHEMA).map_err(failed)?;
            transaction.execute("INSERT INTO meta VALUES (?1)", params![group.0]).map_err(failed)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
            transaction.pragma_update(None, "user_version", FORMAT).map_err(failed)?;
            return transaction.commit().map_err(failed);
        }
        if application != APPLICATION_ID || format < 1 {
            return Err(StoreError::NotAStore { path });
        }
        if format > FORMAT {
            return Err(StoreError::Newer { path, found: format });
        }
        let found: Option<[u8; 32]> =
            transaction.query_row("SELECT group_id FROM meta", [], |row| row.get(0)).optional().map_err(failed)?;
        match found.map(GroupId) {
            Some(found) if found == group => Ok(()),
            Some(found) => Err(StoreError::OtherGroup { path, found, expected: group }),
            None => Err(StoreError::Corrupt { path, what: "it does not say whose it is".to_owned() }),
        }
    }

    fn use_log(&self) -> Result<(), StoreError> {
        let mode: String = self
            .connection
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
            .map_err(|source| fault(&self.path, source))?;
        if mode == "wal" {
            return Ok(());
        }
        let source = io::Error::other("the file system does not allow a write-ahead log");
        Err(StoreError::Unusable { path: self.path.clone(), source })
    }

    fn rows(&self, query: &str) -> Result<Vec<Row>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare(query)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, Zeroizing::new(row.get(1)?))))?;
            rows.collect::<rusqlite::Result<Vec<Row>>>()
        };
        let rows = read().map_err(|source| fault(&self.path, source))?;
        // The database believes its file: where bytes have changed, a subject may be out of order, and there twice.
        match rows.iter().zip(rows.iter().skip(1)).find(|(before, after)| before.0 >= after.0) {
            Some((_, (subject, _))) => Err(self.corrupt("order", subject)),
            None => Ok(rows),
        }
    }

    fn corrupt(&self, table: &str, subject: &str) -> StoreError {
        StoreError::Corrupt { path: self.path.clone(), what: format!("{table} of {subject:?}") }
    }
}

fn subject_of(life: &LifeRecord) -> &str {
    life.user.as_ref().map_or(KEY_SUBJECT, UserName::as_str)
}

fn write(connection: &mut Connection, records: &[&Record]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut life_of = transaction.prepare_cached("INSERT OR REPLACE INTO life VALUES (?1, ?2)")?;
        let mut registration_of = transaction.prepare_cached("INSERT OR REPLACE INTO registration VALUES (?1, ?2)")?;
        for record in records {
            match record {
                Record::Life(life) => life_of.execute(params![subject_of(life), encode(life)])?,
                Record::Registration(user, registration) => {
                    registration_of.execute(params![user.as_str(), registration.to_bytes().as_slice()])?
                }
            };
        }
    }
    transaction.commit()
}

/// Before anything is written: an exclusive lock, wiping of what is replaced, and no tricks from a foreign schema.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_WAIT)?;
    connection.pragma_update(None, "locking_mode", "exclusive")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "memory")
}

/// SQLite would create the file readable for all; its log and journal take over the mode of this file.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let unusable = |source| StoreError::Unusable { path: path.to_owned(), source };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all().map_err(unusable)?;
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(parent).and_then(|folder| folder.sync_all()).map_err(unusable)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Not opened here: closing a second handle would undo SQLite's lock on the file.
            let mode = fs::metadata(path).map_err(unusable)?.mode() & 0o7777;
            if mode & 0o077 == 0 { Ok(()) } else { Err(StoreError::Permissions { path: path.to_owned(), mode }) }
        }
        Err(error) => Err(unusable(error)),
    }
}

fn fault(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { path },
        Some(ErrorCode::NotADatabase) => StoreError::NotAStore { path },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { path, what: source.to_string() },
        Some(_) => StoreError::Sqlite { path, source },
        // A value of an unexpected type or number: not a failure of the disk.
        None => StoreError::Corrupt { path, what: source.to_string() },
    }
}

#[cfg(test)]
mod tests;
