//! Reading and writing with the right modes: 0600 and 0700 from the first moment for what is secret.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use zeroize::Zeroizing;

use crate::error::{FileError, FileErrorKind};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody may read it.
    Public,
    /// Its owner alone may.
    Secret,
}

impl Access {
    fn mode(self) -> u32 {
        match self {
            Access::Public => 0o644,
            Access::Secret => 0o600,
        }
    }
}

/// Reads a text of at most `bytes_max`. A secret that others can get at is refused.
pub fn read_text(path: &Path, bytes_max: usize, access: Access) -> Result<Zeroizing<String>, FileError> {
    let reading = |error| FileError::reading(path, error);
    // Looked at before it is opened: opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(reading)?.is_file() {
        return Err(FileError::malformed(path, "is not a file", "give the path of a file"));
    }
    let file = File::open(path).map_err(reading)?;
    if access == Access::Secret {
        check_private_file(path, &file.metadata().map_err(reading)?)?;
    }
    // Room for all of it at once: growing would leave copies of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max.min(file_bytes(&file)) + 2));
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(reading)?;
    if bytes.len() > bytes_max {
        let what = format!("is larger than the {bytes_max} bytes that such a file may have");
        return Err(FileError::malformed(path, what, "check that it is the right file"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(FileError::malformed(path, "is not a text", "check that it is the right file")),
    }
}

fn file_bytes(file: &File) -> usize {
    file.metadata().ok().and_then(|m| usize::try_from(m.len()).ok()).unwrap_or(0)
}

/// Refuses a file that others can get at.
pub fn check_private_file(path: &Path, metadata: &fs::Metadata) -> Result<(), FileError> {
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let what = format!("holds secrets, but others can get at it (mode {mode:04o})");
    let action = format!("run `chmod 600 {}`, and if others may have read it, have its keys replaced", path.display());
    Err(FileError::new(FileErrorKind::Permissions, path, what, action))
}

/// Refuses a folder that others can get at.
pub fn check_private_folder(path: &Path) -> Result<(), FileError> {
    let metadata = fs::metadata(path).map_err(|error| FileError::reading(path, error))?;
    if !metadata.is_dir() {
        return Err(FileError::malformed(path, "is not a folder", "give the path of a leader's folder"));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let what = format!("holds secrets, but others can get at it (mode {mode:04o})");
    let action = format!("run `chmod 700 {}`", path.display());
    Err(FileError::new(FileErrorKind::Permissions, path, what, action))
}

/// Writes a new file, durable at return and complete at any moment; refuses to replace one.
pub fn write_new(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    let writing = |error| FileError::writing(path, error);
    let temporary = temporary_beside(path)?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(access.mode())
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| rename_new(&temporary, path));
    if written.is_err() {
        // The error that counts is the one above.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(writing)?;
    sync_folder(parent(path)).map_err(writing)
}

/// Writes a file in place of an older one: at any moment there is one of the two, complete.
pub fn write_over(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    let writing = |error| FileError::writing(path, error);
    let fresh = temporary_beside(path)?;
    write_new(&fresh, bytes, access)?;
    fs::rename(&fresh, path).and_then(|()| sync_folder(parent(path))).map_err(writing)
}

/// Takes a secret file away, and wipes it first, as far as the disk lets it be wiped. Durable.
pub fn wipe(path: &Path) -> Result<(), FileError> {
    let writing = |error| FileError::writing(path, error);
    let mut old = OpenOptions::new().write(true).open(path).map_err(writing)?;
    let length = old.metadata().map_err(writing)?.len();
    io::copy(&mut io::repeat(0).take(length), &mut old).and_then(|_| old.sync_all()).map_err(writing)?;
    fs::remove_file(path).and_then(|()| sync_folder(parent(path))).map_err(writing)
}

/// Puts new bytes in the place of a secret file, and wipes the old ones, as far as the disk lets them be wiped.
pub fn replace_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let writing = |error| FileError::writing(path, error);
    // Held open, so that it can be wiped once it is in nobody's way.
    let mut old = OpenOptions::new().write(true).open(path).map_err(writing)?;
    let length = old.metadata().map_err(writing)?.len();
    write_over(path, bytes, Access::Secret)?;
    io::copy(&mut io::repeat(0).take(length), &mut old).and_then(|_| old.sync_all()).map_err(writing)
}

/// Gives a file its name if nothing has it. Whoever looks finds nothing there, or the whole file.
///
/// # Errors
/// `AlreadyExists` if something has the name, and what the system says.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let unsupported =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported);
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(io::Error::from) {
        // Some file systems rename only with replacement; most of these know links.
        Err(error) if unsupported(&error) => link_new(from, to),
        renamed => renamed,
    }
}

/// As [`rename_new`], where the file system renames only with replacement.
fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // It knows no links either. An empty file keeps the name until the whole one is there.
        Err(_) => {
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
            fs::rename(from, to)
        }
    }
}

/// Makes a folder that only its owner can enter.
pub fn make_private_folder(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().mode(0o700).create(path).map_err(|error| FileError::writing(path, error))
}

/// Makes the entries of a folder durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The folder a path is in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name in the same folder that nobody else uses, hidden from listings.
pub fn temporary_beside(path: &Path) -> Result<PathBuf, FileError> {
    let name = path.file_name().ok_or_else(|| {
        FileError::new(FileErrorKind::Unwritable, path, "does not end in a name", "give a path that does")
    })?;
    let random = getrandom::u64().map_err(|error| FileError::writing(path, io::Error::other(error)))?;
    Ok(parent(path).join(format!(".{}.{random:016x}.unfinished", name.to_string_lossy())))
}

/// A folder in the making: gone again unless it was finished.
pub struct Staging {
    folder: PathBuf,
    finished: bool,
}

impl Staging {
    /// Makes the folder, for its owner alone.
    pub fn make(folder: PathBuf) -> Result<Self, FileError> {
        make_private_folder(&folder)?;
        Ok(Staging { folder, finished: false })
    }

    /// Where the files are made.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Moves the whole folder to its place, where nothing or an empty folder is.
    pub fn finish_as(mut self, path: &Path) -> Result<(), FileError> {
        let writing = |error| FileError::writing(path, error);
        sync_folder(&self.folder).map_err(writing)?;
        fs::rename(&self.folder, path).map_err(writing)?;
        self.finished = true;
        sync_folder(parent(path)).map_err(writing)
    }

    /// Moves the named entries out into `folder`, in this order; takes back what it moved if one fails.
    pub fn finish_into(self, folder: &Path, entries: &[String]) -> Result<(), FileError> {
        let writing = |error| FileError::writing(folder, error);
        sync_folder(&self.folder).map_err(writing)?;
        for (done, entry) in entries.iter().enumerate() {
            if let Err(error) = fs::rename(self.folder.join(entry), folder.join(entry)) {
                for moved in entries.iter().take(done) {
                    // What cannot be moved back is reported below by the error that counts.
                    let _ = fs::rename(folder.join(moved), self.folder.join(moved));
                }
                return Err(writing(error));
            }
        }
        sync_folder(folder).map_err(writing)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing more can be done here; its name says that it is unfinished.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_replaced_whatever_the_file_system_knows() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("taken");
        fs::write(&taken, "old").unwrap();
        for rename in [rename_new, link_new] {
            let (new, free) = (dir.path().join("new"), dir.path().join("free"));
            fs::write(&new, "new").unwrap();
            assert_eq!(rename(&new, &taken).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            rename(&new, &free).unwrap();
            assert_eq!((fs::read(&taken).unwrap(), fs::read(&free).unwrap()), (b"old".to_vec(), b"new".to_vec()));
            assert!(!new.exists());
            fs::remove_file(free).unwrap();
        }
    }
}
