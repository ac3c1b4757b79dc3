//! What a leader must not forget (P10), in one SQLite file.
//!
//! A record is durable when [`Store::persist`] returns: write-ahead log, `synchronous=FULL`, one
//! transaction per call. Kill the process anywhere, and the next [`Store::load`] gives every record
//! of the calls that returned, and of one that did not, all records or none.
//!
//! A memory that is damaged is not used: the pages are checked when it is opened, every row carries a digest, and a
//! log that broke off before its end is told from one that a crash cut.
//!
//! # Security
//! Registrations are secret, so the file is created with mode 0600, and what is replaced is wiped from
//! it (from its log once that is used again). They can be sealed ([`Store::seal`]); user names and accepted state stay
//! readable. It holds shares of users' login keys, so f+1 of these permit offline guesses at passwords; the shares of the group's
//! keys are in the folder's `leader.toml`.

mod error;
mod log;
mod migrate;
mod rows;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringfort_protocol::leader::Record;
use ringfort_protocol::login::Registration;
use ringfort_protocol::{GroupId, UserName};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

pub use self::error::StoreError;
use self::error::{fault, unusable};
use self::rows::Meta;
pub use self::rows::{Look, row_sum};
use ringfort_documents::seal::StoreKey;

/// The format written here. An older one is brought up to it at open.
pub const FORMAT: i64 = 4;

/// Marks the file as ours: "RFst".
const APPLICATION_ID: i64 = 0x5246_7374;

const SCHEMA: &str = "
    CREATE TABLE meta (group_id BLOB NOT NULL, catching_up INTEGER NOT NULL, sealed_with BLOB, sum BLOB NOT NULL) STRICT;
    CREATE TABLE life (key TEXT PRIMARY KEY, value BLOB NOT NULL, sum BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE registration (key TEXT PRIMARY KEY, value BLOB NOT NULL, sum BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE attempts (key TEXT PRIMARY KEY, value BLOB NOT NULL, sum BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS registered (key TEXT PRIMARY KEY, value BLOB NOT NULL, sum BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

/// Another process gets this long to let go, such as one that is just making a backup.
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// The durable memory of one leader of one group. One process at a time may write: the folder's lock sees to that.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    meta: Meta,
    key: Option<StoreKey>,
}

impl Store {
    /// Makes an empty memory at `path`, with mode 0600, where nothing is yet.
    pub fn create(path: &Path, group: GroupId, key: Option<StoreKey>) -> Result<Self, StoreError> {
        Self::create_as(path, group, key, false)
    }

    /// Makes an empty memory in place of a lost one. From its first moment it says that the leader may have said what is not in it.
    pub fn create_old(path: &Path, group: GroupId) -> Result<Self, StoreError> {
        Self::create_as(path, group, None, true)
    }

    fn create_as(path: &Path, group: GroupId, key: Option<StoreKey>, catching_up: bool) -> Result<Self, StoreError> {
        create_private(path)?;
        let mut connection = connect(path)?;
        let meta = Meta { group, catching_up, sealed_with: key.as_ref().map(StoreKey::id) };
        let make = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
            make(&transaction, &meta)?;
            transaction.commit()
        };
        make(&mut connection).map_err(|source| fault(path, source))?;
        use_log(&connection, path)?;
        Ok(Store { connection, path: path.to_owned(), meta, key })
    }

    /// Opens the memory at `path`, brings it up to [`FORMAT`] and checks it.
    pub fn open(path: &Path, group: GroupId, key: Option<StoreKey>) -> Result<Self, StoreError> {
        check_private(path)?;
        log::check(path)?;
        let mut connection = connect(path)?;
        check_pages(&connection, path)?;
        let format = check_format(&connection, path)?;
        if format < FORMAT {
            migrate::to_current(&mut connection, path, format)?;
        }
        use_log(&connection, path)?;
        Self::finish(connection, path, group, key)
    }

    /// Opens the memory at `path` beside the process that uses it, for checks and backups: it is read, not changed, and
    /// what is sealed stays so.
    pub fn read(path: &Path, group: GroupId) -> Result<Self, StoreError> {
        check_private(path)?;
        log::check_beside_writer(path)?;
        let connection = connect(path)?;
        check_pages(&connection, path)?;
        let format = check_format(&connection, path)?;
        if format < FORMAT {
            return Err(StoreError::Older { path: path.to_owned(), found: format });
        }
        let meta = Self::read_meta(&connection, path, group)?;
        Ok(Store { connection, path: path.to_owned(), meta, key: None })
    }

    /// Notes in a memory that nobody uses that the leader may have said what is not in it.
    pub fn mark_as_old(path: &Path, group: GroupId) -> Result<(), StoreError> {
        let mut store = Self::read(path, group)?;
        use_log(&store.connection, path)?;
        store.persist(&[&Record::CatchingUp(true)])
    }

    fn finish(connection: Connection, path: &Path, group: GroupId, key: Option<StoreKey>) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let meta = Self::read_meta(&connection, &path, group)?;
        // A memory that is not sealed yet is read as it is, whatever key there is for later.
        let key = key.filter(|_| meta.sealed_with.is_some());
        if meta.sealed_with != key.as_ref().map(StoreKey::id) {
            return Err(StoreError::Sealed { path });
        }
        Ok(Store { connection, path, meta, key })
    }

    fn read_meta(connection: &Connection, path: &Path, group: GroupId) -> Result<Meta, StoreError> {
        let meta = Meta::read(connection, path)?;
        if meta.group == group {
            return Ok(meta);
        }
        Err(StoreError::OtherGroup { path: path.to_owned(), found: meta.group, expected: group })
    }

    /// What the memory holds, every row of it checked; registrations that are sealed are not opened.
    pub fn look(&self) -> Result<Look, StoreError> {
        rows::look(&self.connection, &self.path, &self.meta)
    }

    /// Everything remembered, each subject's latest record, in a fixed order.
    pub fn load(&self) -> Result<Vec<Record>, StoreError> {
        let mut records = rows::load(&self.connection, &self.path, self.key.as_ref())?;
        if self.meta.catching_up {
            records.push(Record::CatchingUp(true));
        }
        Ok(records)
    }

    /// Makes records durable, all or none. Each replaces its subject's record from before.
    pub fn persist(&mut self, records: &[&Record]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut meta = self.meta.clone();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut write = || {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for record in records {
                if let Record::CatchingUp(is) = record {
                    meta.catching_up = *is;
                    meta.write(&transaction)?;
                } else {
                    rows::put(&transaction, record, self.key.as_ref())?;
                }
                if let Record::Registration(user, _) = record {
                    rows::note_registered(&transaction, user.as_str(), now)?;
                }
            }
            transaction.commit()
        };
        write().map_err(|source| fault(&self.path, source))?;
        self.meta = meta;
        Ok(())
    }

    /// When what the user has registered here was accepted, Unix seconds.
    pub fn registered_at(&self, user: &UserName) -> Result<Option<u64>, StoreError> {
        rows::registered_at(&self.connection, &self.path, user.as_str())
    }

    /// What the user has registered here; `key` opens it in a memory that was opened to be read only.
    pub fn registration(&self, user: &UserName, key: Option<&StoreKey>) -> Result<Option<Registration>, StoreError> {
        let records = rows::load(&self.connection, &self.path, key.or(self.key.as_ref()).filter(|_| self.is_sealed()))?;
        Ok(records.into_iter().find_map(|record| match record {
            Record::Registration(name, registration) if name == *user => Some(registration),
            _ => None,
        }))
    }

    /// Whether registrations are sealed.
    pub fn is_sealed(&self) -> bool {
        self.meta.sealed_with.is_some()
    }

    /// Whether the leader has to come to its peers' state before it says anything.
    pub fn is_catching_up(&self) -> bool {
        self.meta.catching_up
    }

    /// Whether it is what takes the place of a lost memory: nothing is in it, and the leader has to catch up before it says anything.
    pub fn is_fresh(&self) -> Result<bool, StoreError> {
        Ok(self.meta.catching_up && rows::is_empty(&self.connection, &self.path)?)
    }

    /// Seals all registrations with a key, or opens them for good, and leaves nothing of their old form in the file.
    pub fn seal(&mut self, key: Option<StoreKey>) -> Result<(), StoreError> {
        let records = rows::load(&self.connection, &self.path, self.key.as_ref())?;
        let meta = Meta { sealed_with: key.as_ref().map(StoreKey::id), ..self.meta.clone() };
        let mut write = || {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for record in records.iter().filter(|record| matches!(record, Record::Registration(..))) {
                rows::put(&transaction, record, key.as_ref())?;
            }
            meta.write(&transaction)?;
            transaction.commit()?;
            self.connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")
        };
        write().map_err(|source| fault(&self.path, source))?;
        (self.meta, self.key) = (meta, key);
        Ok(())
    }

    /// Copies the memory as it is at one moment to a new file, while a leader may go on writing it.
    pub fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        create_private(to)?;
        let copy = || {
            let mut copy = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            rusqlite::backup::Backup::new(&self.connection, &mut copy)?.step(-1)?;
            // One file, without a log beside it.
            copy.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
            copy.close().map_err(|(_, error)| error)
        };
        copy().map_err(|source| fault(to, source))?;
        File::open(to).and_then(|file| file.sync_all()).map_err(|source| unusable(to, source))
    }

    /// Puts all of it into one file, durable, without a log beside it, and closes it.
    pub fn finish_alone(self) -> Result<(), StoreError> {
        let Store { connection, path, .. } = self;
        let close = || {
            connection.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
            connection.close().map_err(|(_, error)| error)
        };
        close().map_err(|source| fault(&path, source))?;
        File::open(&path).and_then(|file| file.sync_all()).map_err(|source| StoreError::Unusable { path, source })
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

    /// The most bytes that the file may grow to, as a disk that is full would have it.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages: u32) {
        self.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).expect("a number");
    }
}

fn make(transaction: &Transaction<'_>, meta: &Meta) -> rusqlite::Result<()> {
    transaction.execute_batch(SCHEMA)?;
    meta.write(transaction)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)
}

/// Opens the file; before anything is written: wiping of what is replaced, and no tricks from a foreign schema.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    let set_up = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(BUSY_WAIT)?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        Ok(connection)
    };
    set_up().map_err(|source| fault(path, source))
}

fn check_format(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, format) = number("application_id")
        .and_then(|application| Ok((application, number("user_version")?)))
        .map_err(|source| fault(path, source))?;
    let path = path.to_owned();
    match format {
        _ if application != APPLICATION_ID => Err(StoreError::NotAStore { path }),
        1..=FORMAT => Ok(format),
        ..1 => Err(StoreError::NotAStore { path }),
        _ => Err(StoreError::Newer { path, found: format }),
    }
}

/// The structure of the whole file: what one page says of another must fit.
fn check_pages(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let told: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|source| fault(path, source))?;
    if told == "ok" { Ok(()) } else { Err(StoreError::Corrupt { path: path.to_owned(), what: told }) }
}

fn use_log(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(|source| fault(path, source))?;
    if mode == "wal" {
        return Ok(());
    }
    let source = io::Error::other("the file system does not allow a write-ahead log");
    Err(StoreError::Unusable { path: path.to_owned(), source })
}

/// SQLite would create the file readable for all; its log and journal take over the mode of this file.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let unusable = |source| unusable(path, source);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(unusable)?;
    file.sync_all().map_err(unusable)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(unusable)
}

/// Not opened here: closing a second handle would undo SQLite's lock on the file.
fn check_private(path: &Path) -> Result<(), StoreError> {
    let metadata = fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StoreError::Missing { path: path.to_owned() },
        _ => StoreError::Unusable { path: path.to_owned(), source },
    })?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(StoreError::Permissions { path: path.to_owned(), mode }) }
}

#[cfg(test)]
mod tests;
