//! Why a leader's memory cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use ringfort_documents::{FileError, FileErrorKind};
use ringfort_protocol::GroupId;
use rusqlite::ErrorCode;

use super::FORMAT;

/// With less than this left a disk counts as full, bytes: the log's index alone takes 32 KiB at a time.
const ROOM_BYTES: u64 = 128 * 1024;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}: {}", self.path().display(), self.what(), self.action())]
#[expect(missing_docs, reason = "each variant says what its fields are")]
pub enum StoreError {
    /// Written by a later version of the software.
    Newer { path: PathBuf, found: i64 },
    /// Written by an earlier version, where it is only to be read.
    Older { path: PathBuf, found: i64 },
    /// Belongs to another group.
    OtherGroup { path: PathBuf, found: GroupId, expected: GroupId },
    /// Some other file.
    NotAStore { path: PathBuf },
    /// Holds what this software never wrote.
    Corrupt { path: PathBuf, what: String },
    /// There is no such file.
    Missing { path: PathBuf },
    /// Its registrations are sealed, and no key or another one was given.
    Sealed { path: PathBuf },
    /// The disk is full.
    Full { path: PathBuf },
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
            | StoreError::Older { path, .. }
            | StoreError::OtherGroup { path, .. }
            | StoreError::NotAStore { path }
            | StoreError::Corrupt { path, .. }
            | StoreError::Missing { path }
            | StoreError::Sealed { path }
            | StoreError::Full { path }
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
            StoreError::Older { found, .. } => format!("the leader's memory has the old format {found}"),
            StoreError::OtherGroup { found, expected, .. } => {
                format!("this is the memory of a leader of group {found}, not of {expected}")
            }
            StoreError::NotAStore { .. } => "this is not the memory of a leader".to_owned(),
            StoreError::Corrupt { what, .. } => format!("the leader's memory is damaged ({what})"),
            StoreError::Missing { .. } => "the leader's memory is missing".to_owned(),
            StoreError::Sealed { .. } => "the leader's memory is sealed with another key".to_owned(),
            StoreError::Full { .. } => "the disk is full, and what cannot be kept must not be said".to_owned(),
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
            StoreError::Older { .. } => "start the leader once, which brings it up to date".to_owned(),
            StoreError::OtherGroup { .. } | StoreError::NotAStore { .. } => {
                "put back the file that belongs to this folder".to_owned()
            }
            StoreError::Corrupt { .. } | StoreError::Missing { .. } => {
                "restore the folder with `ringfort leader restore`; the leader then catches up from the others"
                    .to_owned()
            }
            StoreError::Sealed { .. } => "give the key or the passphrase that it was sealed with".to_owned(),
            StoreError::Full { .. } => "make room on the disk, then start the leader again".to_owned(),
            StoreError::Busy { .. } => "stop the leader that runs on this folder first".to_owned(),
            StoreError::Permissions { path, .. } => format!("run `chmod 600 {}`", path.display()),
            StoreError::Unusable { .. } => "check the folder's owner and permissions".to_owned(),
            StoreError::Sqlite { .. } => {
                "check that the disk works and has room, then start the leader again".to_owned()
            }
        }
    }
}

/// As [`fault`], for what is done with the file without the database.
pub(super) fn unusable(path: &Path, source: io::Error) -> StoreError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path },
        _ => StoreError::Unusable { path, source },
    }
}

/// Whether the disk that a file lies on has no room for what the database writes beside it.
fn is_full(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM_BYTES)
}

pub(super) fn fault(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { path },
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        // A full disk has more names than one there: the log or its index cannot be made or made longer.
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if is_full(&path) => StoreError::Full { path },
        Some(ErrorCode::NotADatabase) => StoreError::NotAStore { path },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { path, what: source.to_string() },
        Some(_) => StoreError::Sqlite { path, source },
        // A value of an unexpected type or number: not a failure of the disk.
        None => StoreError::Corrupt { path, what: source.to_string() },
    }
}
impl From<&StoreError> for FileErrorKind {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Newer { .. } | StoreError::Older { .. } => FileErrorKind::Version,
            StoreError::OtherGroup { .. } | StoreError::Corrupt { .. } => FileErrorKind::Altered,
            StoreError::Missing { .. } => FileErrorKind::Unreadable,
            StoreError::Sealed { .. } => FileErrorKind::Sealed,
            StoreError::Full { .. } => FileErrorKind::Full,
            StoreError::NotAStore { .. } => FileErrorKind::Malformed,
            StoreError::Busy { .. } => FileErrorKind::Busy,
            StoreError::Permissions { .. } => FileErrorKind::Permissions,
            StoreError::Unusable { .. } => FileErrorKind::Unwritable,
            StoreError::Sqlite { .. } => FileErrorKind::Io,
        }
    }
}

impl From<StoreError> for FileError {
    fn from(error: StoreError) -> Self {
        Self::new(FileErrorKind::from(&error), error.path(), error.what(), error.action())
    }
}
