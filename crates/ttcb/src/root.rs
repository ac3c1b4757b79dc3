//! What a component's identity rests on: a counter of its starts that never goes back.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::core::ids::Epoch;
use crate::files::{FileError, write_private};

/// Counts starts.
pub trait Root {
    /// The epoch of this start: higher than any that was ever given out, and kept before it is.
    ///
    /// # Errors
    /// It cannot be read or kept, or there are no more.
    fn next_epoch(&mut self) -> Result<Epoch, FileError>;

    /// In a word, for the status: what it rests on.
    fn kind(&self) -> &'static str;
}

/// A counter in a file. Whoever can write to the file can set it back: a TPM's counter could not be, and is not
/// supported yet.
pub struct File {
    path: PathBuf,
}

impl File {
    /// The counter in this file.
    pub fn new(path: PathBuf) -> Self {
        File { path }
    }
}

impl Root for File {
    fn next_epoch(&mut self) -> Result<Epoch, FileError> {
        let last = match fs::read(&self.path) {
            Ok(bytes) => {
                let text = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().parse::<u32>().ok());
                text.ok_or_else(|| FileError::Counter(self.path.clone()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(FileError::Read(self.path.clone(), error)),
        };
        let next = last.checked_add(1).ok_or_else(|| FileError::Counter(self.path.clone()))?;
        write_private(&self.path, &format!("{next}\n"))?;
        Ok(Epoch(next))
    }

    fn kind(&self) -> &'static str {
        "file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_has_a_higher_epoch_and_a_damaged_counter_starts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("starts");
        let next = || File::new(path.clone()).next_epoch();
        assert_eq!([next().unwrap(), next().unwrap(), next().unwrap()], [Epoch(1), Epoch(2), Epoch(3)]);
        fs::write(&path, "many").unwrap();
        assert!(matches!(next(), Err(FileError::Counter(_))));
        fs::write(&path, u32::MAX.to_string()).unwrap();
        assert!(matches!(next(), Err(FileError::Counter(_))), "no epoch comes twice");
    }
}
