//! What can be wrong with a file, told so that a person knows what to do.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// The sort of trouble, for exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileErrorKind {
    /// Missing, or may not be read.
    Unreadable,
    /// Not what it should be.
    Malformed,
    /// Changed after it was made, or beside files it does not belong to.
    Altered,
    /// A sound group file, but of another group than expected.
    WrongFingerprint,
    /// Others can read or change what is private.
    Permissions,
    /// Would overwrite something.
    Exists,
    /// May not be written.
    Unwritable,
    /// There is no room for it on the disk.
    Full,
    /// In use by another process.
    Busy,
    /// Sealed, and the key or passphrase for it was not given, or was wrong.
    Sealed,
    /// Of a format this version does not know.
    Version,
    /// An enrolment record for another leader or group, or altered on the way.
    ForeignRecord,
    /// The disk or the system failed.
    Io,
}

/// A file that cannot be used: which one, why, and what to do about it, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{path}{what}: {action}", path = shown(.path.as_deref()))]
pub struct FileError {
    kind: FileErrorKind,
    path: Option<PathBuf>,
    what: String,
    action: String,
    source: Option<io::Error>,
}

fn shown(path: Option<&Path>) -> String {
    path.map(|path| format!("{}: ", path.display())).unwrap_or_default()
}

impl FileError {
    /// The sort of trouble.
    pub fn kind(&self) -> FileErrorKind {
        self.kind
    }

    /// The file or folder concerned, where there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What is wrong with a file, and what to do about it.
    pub fn new(kind: FileErrorKind, path: &Path, what: impl Display, action: impl Display) -> Self {
        FileError {
            kind,
            path: Some(path.to_owned()),
            what: what.to_string(),
            action: action.to_string(),
            source: None,
        }
    }

    /// As [`FileError::new`], of something that is no file.
    pub fn without_path(kind: FileErrorKind, what: impl Display, action: impl Display) -> Self {
        FileError { kind, path: None, what: what.to_string(), action: action.to_string(), source: None }
    }

    /// As [`FileError::new`]: it is not what it should be.
    pub fn malformed(path: &Path, what: impl Display, action: impl Display) -> Self {
        Self::new(FileErrorKind::Malformed, path, what, action)
    }

    /// What a failed read means to a person.
    pub fn reading(path: &Path, error: io::Error) -> Self {
        let (kind, what, action) = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                (FileErrorKind::Unreadable, "does not exist".to_owned(), "check the path")
            }
            io::ErrorKind::PermissionDenied => {
                (FileErrorKind::Unreadable, "may not be read".to_owned(), "run as its owner, or check the path")
            }
            _ => (FileErrorKind::Io, format!("cannot be read ({error})"), "check the path and the disk"),
        };
        FileError { source: Some(error), ..Self::new(kind, path, what, action) }
    }

    /// What a failed write means to a person.
    pub fn writing(path: &Path, error: io::Error) -> Self {
        let (kind, what, action) = match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => {
                (FileErrorKind::Exists, "exists already".to_owned(), "choose another name, or move it away first")
            }
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => (
                FileErrorKind::Unwritable,
                "cannot be written, since its folder does not exist".to_owned(),
                "make the folder first, or choose another place",
            ),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => (
                FileErrorKind::Unwritable,
                "may not be written".to_owned(),
                "choose a place of your own, or run as its owner",
            ),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (
                FileErrorKind::Full,
                "cannot be written, since the disk is full".to_owned(),
                "make room on the disk, then try again",
            ),
            _ => (
                FileErrorKind::Io,
                format!("cannot be written ({error})"),
                "check that the disk works and has room, then try again",
            ),
        };
        FileError { source: Some(error), ..Self::new(kind, path, what, action) }
    }
}
