//! Where files lie: parts and spools for nobody else's eyes, and complete files under names that replace nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use ringfort_documents::disk::rename_new;

use crate::core::{Part, name};

/// Beside the complete files, so that a rename is enough.
const WORK: &str = ".ringfort";
/// Parts that nobody has gone on with for so long are deleted.
const PARTS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Names that are tried for one file.
const NAMES_MAX: u32 = 10_000;
/// What is left to others on the disk.
const ROOM_BYTES: u64 = 64 * 1024 * 1024;
/// The part of the disk that is kept free at most, as a divisor: a small disk keeps a sixteenth.
const ROOM_OF_DISK: u64 = 16;

/// The folder of complete files, and in it a private one for those in the making.
#[derive(Debug)]
pub(crate) struct Folder {
    complete: PathBuf,
    work: PathBuf,
    owner: [u8; 32],
}

impl Folder {
    /// Makes the folders. `owner` tells parts of different groups and users apart.
    pub fn open(complete: &Path, owner: [u8; 32]) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(complete)?;
        let complete = complete.canonicalize()?;
        let work = complete.join(WORK);
        DirBuilder::new().recursive(true).mode(0o700).create(&work)?;
        if !fs::symlink_metadata(&work)?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is no folder", work.display())));
        }
        fs::set_permissions(&work, fs::Permissions::from_mode(0o700))?;
        let folder = Folder { complete, work, owner };
        folder.sweep();
        Ok(folder)
    }

    /// Where complete files lie.
    pub fn complete(&self) -> &Path {
        &self.complete
    }

    /// Whether there is a part of this from before.
    pub fn finds(&self, part: &Part) -> bool {
        fs::symlink_metadata(self.part_path(part)).is_ok_and(|found| found.is_file() && found.len() > 0)
    }

    /// The part, for this process alone.
    pub fn open_part(&self, part: &Part) -> io::Result<(PathBuf, File)> {
        let path = self.part_path(part);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.try_lock().map_err(|_| io::Error::other("another program is receiving the same file"))?;
        Ok((path, file))
    }

    /// Room on the disk for `bytes` more.
    pub fn check_room(&self, bytes: u64) -> io::Result<()> {
        let disk = rustix::fs::statvfs(&self.work)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let kept = ROOM_BYTES.min(disk.f_blocks.saturating_mul(disk.f_frsize) / ROOM_OF_DISK);
        if bytes.saturating_add(kept) > free {
            let told = format!(
                "the disk has {free} bytes left, {bytes} are needed, and {kept} are kept free: make room and try again"
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, told));
        }
        Ok(())
    }

    /// A file without a name: it is gone with this process, however that ends.
    pub fn spool(&self) -> io::Result<File> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = self.work.join(format!("out-{}", HEXLOWER.encode(&random)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    }

    /// Makes a part durable and gives it its name, or a similar one if that is taken. Nothing is ever replaced.
    pub fn publish(&self, part: &Path, file: &File, wanted: &str) -> io::Result<PathBuf> {
        file.sync_all()?;
        for number in 1..=NAMES_MAX {
            let path = self.complete.join(name::numbered(wanted, number));
            match rename_new(part, &path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    File::open(&self.complete)?.sync_all()?;
                    return Ok(path);
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("there are too many files called {wanted}")))
    }

    fn part_path(&self, part: &Part) -> PathBuf {
        let mut hasher = blake3::Hasher::new_derive_key("ringfort files: the name of a part");
        hasher.update(&self.owner).update(&part.root).update(&part.bytes.to_le_bytes());
        for text in [part.from.as_str(), &part.topic] {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        let name = HEXLOWER.encode(hasher.finalize().as_bytes().get(..16).unwrap_or_default());
        self.work.join(format!("in-{name}.part"))
    }

    /// Deletes parts that nobody goes on with, and nothing else.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.work) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let ours = name.to_str().is_some_and(|name| name.starts_with("in-") && name.ends_with(".part"));
            let age = entry.metadata().and_then(|found| found.modified()).ok();
            let age = age.and_then(|at| SystemTime::now().duration_since(at).ok());
            let unused = || File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
            if ours && age.is_some_and(|age| age > PARTS_KEPT) && unused() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn part(root: u8) -> Part {
        Part { from: "ana".parse().unwrap(), topic: "files".into(), root: [root; 32], bytes: 9 }
    }

    #[test]
    fn nothing_is_replaced_and_nobody_else_can_read() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&dir.path().join("new"), [1; 32]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.work), 0o700);
        let mut paths = Vec::new();
        for round in 0..3 {
            assert!(!folder.finds(&part(round)));
            let (path, mut file) = folder.open_part(&part(round)).unwrap();
            assert_eq!(mode(&path), 0o600);
            file.write_all(&[round]).unwrap();
            assert!(folder.finds(&part(round)));
            assert!(folder.open_part(&part(round)).is_err(), "two at once");
            paths.push(folder.publish(&path, &file, "a.txt").unwrap());
            assert!(!folder.finds(&part(round)));
        }
        let names: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.txt", "a (2).txt", "a (3).txt"]);
        for (round, path) in paths.iter().enumerate() {
            assert_eq!(fs::read(path).unwrap(), [round as u8]);
            assert_eq!(mode(path), 0o600);
        }
    }

    #[test]
    fn whoever_looks_finds_the_whole_file_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), [1; 32]).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for entry in fs::read_dir(dir.path()).unwrap().flatten() {
                        let found = entry.metadata().unwrap();
                        assert!(!found.is_file() || found.len() == 1, "{:?} is there before it is whole", entry.path());
                    }
                }
            });
            for round in 0..=255 {
                let (path, mut file) = folder.open_part(&part(round)).unwrap();
                file.write_all(&[round]).unwrap();
                folder.publish(&path, &file, "a.txt").unwrap();
            }
            done.store(true, Ordering::Relaxed);
            watcher.join().unwrap();
        });
    }

    #[test]
    fn a_link_that_lies_in_wait_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), [1; 32]).unwrap();
        let target = dir.path().join("target");
        std::os::unix::fs::symlink(&target, dir.path().join("a.txt")).unwrap();
        let (path, file) = folder.open_part(&part(0)).unwrap();
        let made = folder.publish(&path, &file, "a.txt").unwrap();
        assert!(made.ends_with("a (2).txt") && !target.exists());
    }

    #[test]
    fn a_spool_leaves_nothing_behind_and_there_is_a_limit_of_room() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), [1; 32]).unwrap();
        folder.spool().unwrap().write_all(b"x").unwrap();
        assert_eq!(fs::read_dir(&folder.work).unwrap().count(), 0);
        assert!(folder.check_room(1).is_ok());
        assert!(folder.check_room(u64::MAX).is_err());
    }
}
