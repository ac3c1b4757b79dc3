//! The membership log on disk: appended to, never changed, readable by its owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ringfort_protocol::log::{Chunk, Head, LOG_MAGIC, resume};
use ringfort_protocol::{GroupId, UserName};

use crate::disk::{parent, sync_folder};
use crate::error::{FileError, FileErrorKind};

/// The largest log, receipt or piece of evidence that is read.
pub const LOG_BYTES_MAX: usize = 1 << 30;

/// Where a member keeps its log, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The file. Parts that are full are beside it, with a number after the name.
    pub path: PathBuf,
    /// A part is full beyond this, and the next view starts a new one.
    pub part_bytes_max: u64,
    /// Full parts that are kept; the oldest beyond are deleted.
    pub parts_max: u32,
}

impl LogOptions {
    /// A log at a path, in parts of 16 MiB, of which 64 are kept.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        LogOptions { path: path.into(), part_bytes_max: 16 * 1024 * 1024, parts_max: 64 }
    }
}

/// A log that is open for appending. One process at a time.
#[derive(Debug)]
pub struct LogFile {
    options: LogOptions,
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens or makes a member's log, and tells the entry after which it goes on.
    pub fn open(options: LogOptions, group: GroupId, user: &UserName) -> Result<(Self, Head), FileError> {
        let path = options.path.as_path();
        let writing = |error| FileError::writing(path, error);
        let mut file = open(path)?;
        let mut bytes = Vec::new();
        (&mut file).take(LOG_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(|e| FileError::reading(path, e))?;
        let tail = resume(&bytes).map_err(|refused| {
            FileError::malformed(path, format!("is no log to go on with ({refused})"), "choose another file")
        })?;
        if tail.as_ref().is_some_and(|tail| tail.group != group || tail.member.user != *user) {
            let action = "choose another file: a log is of one user in one group";
            return Err(FileError::new(FileErrorKind::Exists, path, "is another's log", action));
        }
        // What a crash tore goes; what was whole stays as it is.
        let whole = tail.as_ref().map_or(0, |tail| tail.bytes);
        file.set_len(whole as u64).map_err(writing)?;
        let mut this = LogFile { options, file, bytes: whole as u64 };
        if whole == 0 {
            this.write(LOG_MAGIC).map_err(|error| FileError::writing(&this.options.path, error))?;
        }
        Ok((this, tail.map(|tail| tail.head).unwrap_or_default()))
    }

    /// Appends; durable at return.
    pub fn append(&mut self, chunk: &Chunk) -> Result<(), FileError> {
        if chunk.opens && self.is_full() {
            self.start_part()?;
        }
        self.write(&chunk.bytes).map_err(|error| FileError::writing(&self.options.path, error))
    }

    /// Whether the next view should start a part.
    pub fn is_full(&self) -> bool {
        self.bytes > self.options.part_bytes_max
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        self.file.sync_data()
    }

    fn start_part(&mut self) -> Result<(), FileError> {
        let path = &self.options.path;
        let mut parts = parts(path)?;
        let next = parts.last().map_or(1, |(number, _)| number + 1);
        let full = numbered(path, next);
        fs::rename(path, &full)
            .and_then(|()| sync_folder(parent(path)))
            .map_err(|error| FileError::writing(path, error))?;
        parts.push((next, full));
        let surplus = parts.len().saturating_sub(self.options.parts_max as usize);
        for (_, old) in parts.iter().take(surplus) {
            fs::remove_file(old).map_err(|error| FileError::writing(old, error))?;
        }
        self.file = open(path)?;
        self.bytes = 0;
        self.write(LOG_MAGIC).map_err(|error| FileError::writing(&self.options.path, error))
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).mode(0o600).open(path);
    // A file whose name is not durable is not durable, either.
    let file = file.and_then(|file| sync_folder(parent(path)).map(|()| file));
    let file = file.map_err(|error| FileError::writing(path, error))?;
    let metadata = file.metadata().map_err(|error| FileError::reading(path, error))?;
    if metadata.mode() & 0o077 != 0 {
        let what =
            format!("tells who was in the group, but others can get at it (mode {:04o})", metadata.mode() & 0o7777);
        let action = format!("run `chmod 600 {}`", path.display());
        return Err(FileError::new(FileErrorKind::Permissions, path, what, action));
    }
    file.try_lock().map_err(|_| {
        let action = "choose another file, or end the other program";
        FileError::new(FileErrorKind::Busy, path, "is in use by another program", action)
    })?;
    Ok(file)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:06}"));
    PathBuf::from(name)
}

/// The full parts of a log, oldest first.
fn parts(path: &Path) -> Result<Vec<(u32, PathBuf)>, FileError> {
    let folder = parent(path);
    let prefix = format!("{}.", path.file_name().unwrap_or_default().to_string_lossy());
    let entries = fs::read_dir(folder).map_err(|error| FileError::reading(folder, error))?;
    let mut parts: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name();
            let digits = name.to_str()?.strip_prefix(&prefix)?;
            let number = digits.parse().ok().filter(|_| digits.len() == 6)?;
            Some((number, numbered(path, number)))
        })
        .collect();
    parts.sort();
    Ok(parts)
}

/// Reads a log, a receipt or a piece of evidence. What it holds is to be checked.
///
/// # Errors
/// A [`FileError`] if it cannot be read or is too large.
pub fn read_proof(path: &Path) -> Result<Vec<u8>, FileError> {
    let reading = |error| FileError::reading(path, error);
    if !fs::metadata(path).map_err(reading)?.is_file() {
        return Err(FileError::malformed(path, "is not a file", "give the path of a file"));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(reading)?.take(LOG_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(reading)?;
    if bytes.len() > LOG_BYTES_MAX {
        return Err(FileError::malformed(path, "is too large", "check that it is the right file"));
    }
    Ok(bytes)
}

/// Writes a receipt or a piece of evidence; a file that exists is left alone.
///
/// # Errors
/// A [`FileError`] if it cannot be written.
pub fn write_proof(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.and_then(|()| sync_folder(parent(path))).map_err(|error| FileError::writing(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(opens: bool, bytes: &[u8]) -> Chunk {
        Chunk { opens, bytes: bytes.to_vec() }
    }

    #[test]
    fn full_parts_are_set_aside_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let options = LogOptions { part_bytes_max: 20, parts_max: 2, ..LogOptions::at(&path) };
        let user: UserName = "ana".parse().unwrap();
        let (mut log, head) = LogFile::open(options.clone(), GroupId([0; 32]), &user).unwrap();
        assert_eq!(head, Head::default());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let busy = LogFile::open(options, GroupId([0; 32]), &user).unwrap_err();
        assert_eq!(busy.kind(), FileErrorKind::Busy);
        for _ in 0..4 {
            log.append(&chunk(true, &[7; 30])).unwrap();
            assert!(log.is_full());
        }
        let kept: Vec<u32> = parts(&path).unwrap().into_iter().map(|(number, _)| number).collect();
        assert_eq!(kept, vec![2, 3]);
    }

    #[test]
    fn a_log_that_others_can_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let user: UserName = "ana".parse().unwrap();
        fs::write(&path, b"something else").unwrap();
        let open = || LogFile::open(LogOptions::at(&path), GroupId([0; 32]), &user).unwrap_err().kind();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(open(), FileErrorKind::Permissions);
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(open(), FileErrorKind::Malformed);
        assert_eq!(fs::read(&path).unwrap(), b"something else", "nothing was touched");
    }
}
