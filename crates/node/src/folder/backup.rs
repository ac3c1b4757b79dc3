//! Backups of a leader's folder, what becomes of them, and what a folder looks like from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringfort_crypto::hash::digest;
use ringfort_protocol::{GroupId, LeaderId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::inbox::INBOX;
use super::leader_folder::{
    SECRETS_BYTES_MAX, SECRETS_FILE, STATE_FOLDER, STORE_FILE, read_secrets_text, take_lock, who,
};
use crate::store::{Look, Store};
use ringfort_documents::disk::{
    Access, Staging, check_private_folder, make_private_folder, read_text, sync_folder, temporary_beside, write_new,
};
use ringfort_documents::group::{GROUP_FILE, read_group};
use ringfort_documents::sealing;
use ringfort_documents::text::{FORMAT, Hex, parse, render};
use ringfort_documents::{FileError, FileErrorKind};

/// What says what is in a backup.
const BACKUP_FILE: &str = "backup.toml";
const BACKUP_BYTES_MAX: usize = 4096;
/// The largest memory that is looked at: tens of thousands of users take some hundred megabytes.
const STORE_BYTES_MAX: u64 = 4 << 30;

const HEADER: &str = "\
# A backup of one leader's folder, made by `ringfort leader backup`. As secret as the folder.
# `ringfort leader restore` makes a folder of it again.
";

/// What a folder or a backup holds, for people and programs.
#[derive(Clone, Debug)]
pub struct FolderState {
    /// Where.
    pub path: PathBuf,
    /// Which leader.
    pub leader: LeaderId,
    /// Of which group.
    pub group: GroupId,
    /// Whether the secrets are sealed.
    pub is_sealed: bool,
    /// What the memory holds.
    pub memory: Look,
    /// Bytes of the memory.
    pub memory_bytes: u64,
    /// For a backup, when it was made.
    pub made: Option<SystemTime>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    leader: u8,
    group: Hex<32>,
    made_unix_s: u64,
    secrets: Hex<32>,
    group_file: Hex<32>,
    memory: Hex<32>,
}

/// Looks whether all in a folder is whole and fits together, beside a leader that may run on it. Sealed secrets are not
/// opened.
pub fn check(folder: &Path) -> Result<FolderState, FileError> {
    check_private_folder(folder)?;
    let group = read_group(&folder.join(GROUP_FILE))?;
    let path = folder.join(SECRETS_FILE);
    let text = read_secrets_text(&path)?;
    let leader = who(&path, &text, &group)?;
    let store = Store::read(&folder.join(STORE_FILE), group.id())?;
    Ok(FolderState {
        path: folder.to_owned(),
        leader,
        group: group.id(),
        is_sealed: sealing::is_sealed(&text),
        memory: store.look()?,
        memory_bytes: fs::metadata(store.path()).map_or(0, |file| file.len()),
        made: None,
    })
}

/// Copies a folder as it is at one moment to `to`, which must be new, while a leader may run on it.
pub fn back_up(folder: &Path, to: &Path) -> Result<FolderState, FileError> {
    if to.symlink_metadata().is_ok() {
        let action = "choose another name: a backup overwrites nothing";
        return Err(FileError::new(FileErrorKind::Exists, to, "exists already", action));
    }
    let state = check(folder)?;
    let staging = Staging::make(temporary_beside(to)?)?;
    let inside = |name: &str| staging.path().join(name);
    for (name, access) in [(SECRETS_FILE, Access::Secret), (GROUP_FILE, Access::Public)] {
        let text = read_text(&folder.join(name), TEXT_BYTES_MAX, access)?;
        write_new(&inside(name), text.as_bytes(), access)?;
    }
    make_private_folder(&inside(STATE_FOLDER))?;
    Store::read(&folder.join(STORE_FILE), state.group)?.back_up(&inside(STORE_FILE))?;
    let copied = check(staging.path())?;
    let made = SystemTime::now();
    let document = Document {
        format: FORMAT,
        leader: state.leader.number(),
        group: Hex(state.group.0),
        made_unix_s: made.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        secrets: digest_of(&inside(SECRETS_FILE))?,
        group_file: digest_of(&inside(GROUP_FILE))?,
        memory: digest_of(&inside(STORE_FILE))?,
    };
    let path = inside(BACKUP_FILE);
    write_new(&path, render(&path, HEADER, &document)?.as_bytes(), Access::Secret)?;
    staging.finish_as(to)?;
    Ok(FolderState { path: to.to_owned(), made: Some(made), ..copied })
}

/// The group file is the largest text.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Whether a backup is whole, and what it holds.
pub fn check_backup(backup: &Path) -> Result<FolderState, FileError> {
    let path = backup.join(BACKUP_FILE);
    let document: Document =
        parse(&path, &read_text(&path, BACKUP_BYTES_MAX, Access::Secret)?, "the label of a backup", Access::Public)?;
    for (name, told) in
        [(SECRETS_FILE, document.secrets), (GROUP_FILE, document.group_file), (STORE_FILE, document.memory)]
    {
        if digest_of(&backup.join(name))? != told {
            let what = "is not as it was when the backup was made";
            return Err(FileError::new(FileErrorKind::Altered, &backup.join(name), what, "use another backup"));
        }
    }
    let made = UNIX_EPOCH.checked_add(Duration::from_secs(document.made_unix_s));
    Ok(FolderState { made, ..check(backup)? })
}

/// Makes a folder of a backup, where nothing is yet. The leader has gone back in time by that: it will say nothing before
/// f+1 others are in its state.
pub fn restore(backup: &Path, folder: &Path) -> Result<FolderState, FileError> {
    if folder.symlink_metadata().is_ok() {
        let action = "move it away first: perhaps it is the better one";
        return Err(FileError::new(FileErrorKind::Exists, folder, "exists already", action));
    }
    let state = check_backup(backup)?;
    let staging = Staging::make(temporary_beside(folder)?)?;
    let inside = |name: &str| staging.path().join(name);
    for (name, access) in [(SECRETS_FILE, Access::Secret), (GROUP_FILE, Access::Public)] {
        let text = read_text(&backup.join(name), TEXT_BYTES_MAX, access)?;
        write_new(&inside(name), text.as_bytes(), access)?;
    }
    make_private_folder(&inside(STATE_FOLDER))?;
    Store::read(&backup.join(STORE_FILE), state.group)?.back_up(&inside(STORE_FILE))?;
    Store::mark_as_old(&inside(STORE_FILE), state.group)?;
    make_private_folder(&inside(INBOX))?;
    staging.finish_as(folder)?;
    Ok(FolderState { path: folder.to_owned(), ..state })
}

/// Gives a folder whose memory is lost or damaged an empty one, and puts the old one aside. The leader comes to its peers'
/// state; users have to be accepted again, or keep to the other leaders.
pub fn rebuild(folder: &Path) -> Result<Option<PathBuf>, FileError> {
    check_private_folder(folder)?;
    let _lock = take_lock(folder)?;
    let group = read_group(&folder.join(GROUP_FILE))?;
    let old = folder.join(STORE_FILE);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let aside = folder.join(format!("{STORE_FILE}.damaged-{now}"));
    let mut is_kept = false;
    // The log first: beside another memory it would be taken for that one's.
    for suffix in ["-wal", "-shm", ""] {
        let with_suffix = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        let from = with_suffix(&old);
        if from.exists() {
            fs::rename(&from, with_suffix(&aside)).map_err(|error| FileError::writing(&from, error))?;
            is_kept = true;
        }
    }
    // Complete, and marked, before it has its name: a crash at any moment leaves no memory, or one that knows what it is.
    let fresh = temporary_beside(&old)?;
    let made = Store::create_old(&fresh, group.id()).map(|store| store.finish_alone());
    if let Err(error) = made.and_then(|closed| closed) {
        remove_store(&fresh);
        return Err(error.into());
    }
    fs::rename(&fresh, &old).and_then(|()| sync_folder(folder)).map_err(|error| FileError::writing(&old, error))?;
    Ok(is_kept.then_some(aside))
}

/// What is left of a memory that was not finished.
fn remove_store(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        // The error that counts is the one that stopped it.
        let _ = fs::remove_file(PathBuf::from(format!("{}{suffix}", path.display())));
    }
}

fn digest_of(path: &Path) -> Result<Hex<32>, FileError> {
    let reading = |error| FileError::reading(path, error);
    let length = fs::metadata(path).map_err(reading)?.len();
    if length > STORE_BYTES_MAX {
        return Err(FileError::malformed(path, "is too large for a leader's file", "use another backup"));
    }
    let bytes = Zeroizing::new(fs::read(path).map_err(reading)?);
    Ok(Hex(digest("ringfort backup file", &[&bytes])))
}

const _: () = assert!(SECRETS_BYTES_MAX <= TEXT_BYTES_MAX);
