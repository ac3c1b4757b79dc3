//! `leader-N/`: everything one leader has, for its eyes only.
//!
//! | file | holds |
//! |---|---|
//! | `leader.toml` | the keys and shares of this leader, plain or sealed |
//! | `group.toml` | a copy of the group file |
//! | `state/` | all that the running leader writes, and nothing else |
//! | `state/state.db` | what the leader must not forget ([`crate::store`]) |
//! | `state/order/` | what it must not forget of the order, if the group has one ([`crate::order`]) |
//! | `state/inbox/` | what its operator asks of the running leader ([`super::inbox`]) |
//! | `state/lock` | held by the one process that runs on the folder |
//!
//! A running leader needs to write below `state/` only. A sandbox can keep it from all else, so that whoever takes the
//! process over changes nothing that the next start believes.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_crypto::threshold::{KeyRole, SecretShare};
use ringfort_protocol::group::LeaderSecrets;
use ringfort_protocol::leader::Record;
use ringfort_protocol::login::{EnrolmentRecord, Registration};
use ringfort_protocol::{GroupInfo, LeaderId, Rejected, UserName};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::inbox::INBOX;
use super::renewal;
use crate::store::{Store, StoreError};
use ringfort_documents::disk::{
    Access, Staging, check_private_folder, make_private_folder, read_text, replace_secret, temporary_beside, write_new,
};
use ringfort_documents::group::{GROUP_FILE, read_group, write_group};
use ringfort_documents::seal::StoreKey;
use ringfort_documents::sealing::{self, Memory, Opened, Unlock};
use ringfort_documents::text::{FORMAT, Hex, SecretHex, parse, secret_digits};
use ringfort_documents::{FileError, FileErrorKind};

/// The file of secrets in a leader's folder.
pub const SECRETS_FILE: &str = "leader.toml";

/// The folder of what the running leader writes, in a leader's folder.
pub const STATE_FOLDER: &str = "state";

/// The leader's memory, in a leader's folder and in a backup of one.
pub const STORE_FILE: &str = "state/state.db";

const LOCK_FILE: &str = "state/lock";
pub(super) const SECRETS_BYTES_MAX: usize = 16 * 1024;

const HEADER: &str = "\
# The secrets of one leader of a Ringfort group. Whoever reads this file can act as this leader.
# Keep it on the leader's machine alone, readable by its user alone. It belongs to the group.toml beside it.
";

/// The folder of one leader: how to make one and how to open it.
#[derive(Debug)]
pub struct LeaderFolder;

/// An open folder. Nobody else can open it until the lock is dropped.
#[derive(Debug)]
pub struct OpenLeader {
    /// Where it is.
    pub path: PathBuf,
    /// The group.
    pub group: Arc<GroupInfo>,
    /// Keys and shares, checked against the group.
    pub secrets: LeaderSecrets,
    /// The memory.
    pub store: Store,
    /// Keeps the folder ours: to be held for as long as the store is used.
    pub lock: FolderLock,
}

/// The right to use a leader's folder, given up when dropped.
#[derive(Debug)]
#[must_use = "the folder is free for others once this is dropped"]
pub struct FolderLock {
    _file: File,
}

/// Opens enrolment records at one leader.
pub type RecordOpener = Box<dyn Fn(&EnrolmentRecord) -> Result<Registration, Rejected> + Send + Sync>;

impl OpenLeader {
    /// What opens enrolment records here, for a driver that has given the secrets away.
    pub fn record_opener(&self) -> RecordOpener {
        let (group, secrets) = (self.group.clone(), self.secrets.clone());
        Box::new(move |record| record.open(&group, &secrets))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "format")]
    _format: u32,
    leader: u8,
    group: Hex<32>,
    link: SecretHex<32>,
    signing: SecretHex<32>,
    sealing: SecretHex<32>,
    group_share: SecretHex<32>,
    coin_share: SecretHex<32>,
}

impl LeaderFolder {
    /// The folder's name: `leader-N`.
    pub fn name(leader: LeaderId) -> String {
        format!("leader-{}", leader.number())
    }

    /// Makes `parent/leader-N` with the users registered so far, all of it or nothing.
    pub fn create(
        parent: &Path,
        group: &GroupInfo,
        secrets: &LeaderSecrets,
        users: &[(UserName, Registration)],
    ) -> Result<PathBuf, FileError> {
        Self::create_with(parent, group, secrets, |path| {
            let mut store = Store::create(path, group.id(), None)?;
            let record = |(user, known): &(UserName, Registration)| Record::Registration(user.clone(), known.clone());
            let records: Vec<Record> = users.iter().map(record).collect();
            store.persist(&records.iter().collect::<Vec<_>>())
        })
    }

    /// Makes the folder of a new machine in the place of another: it knows nobody, and catches up with the others first.
    pub(super) fn create_newcomer(
        parent: &Path,
        group: &GroupInfo,
        secrets: &LeaderSecrets,
    ) -> Result<PathBuf, FileError> {
        Self::create_with(parent, group, secrets, |path| Store::create_old(path, group.id())?.finish_alone())
    }

    fn create_with(
        parent: &Path,
        group: &GroupInfo,
        secrets: &LeaderSecrets,
        remember: impl FnOnce(&Path) -> Result<(), StoreError>,
    ) -> Result<PathBuf, FileError> {
        let folder = parent.join(Self::name(secrets.id));
        if folder.symlink_metadata().is_ok() {
            let action = "choose another place, or move it away first";
            return Err(FileError::new(FileErrorKind::Exists, &folder, "exists already", action));
        }
        let staging = Staging::make(temporary_beside(&folder)?)?;
        let inside = |name: &str| staging.path().join(name);
        check_belongs(&inside(SECRETS_FILE), group, secrets)?;
        write_new(&inside(SECRETS_FILE), secrets_text(group, secrets).as_bytes(), Access::Secret)?;
        write_group(&inside(GROUP_FILE), group)?;
        make_private_folder(&inside(STATE_FOLDER))?;
        make_private_folder(&inside(INBOX))?;
        if group.policy.order {
            let state = inside(STATE_FOLDER);
            crate::order::create(&state, group).map_err(|error| FileError::writing(&state, error))?;
        }
        remember(&inside(STORE_FILE))?;
        staging.finish_as(&folder)?;
        Ok(folder)
    }

    /// Opens a folder that is not sealed.
    pub fn open(folder: &Path) -> Result<OpenLeader, FileError> {
        Self::open_with(folder, None)
    }

    /// Opens a folder for one process: takes its lock, checks that all in it belongs together. `unlock` opens a sealed one.
    ///
    /// New shares that wait for the leader's next start take the place of the old ones here.
    ///
    /// # Errors
    /// Also where new shares wait in a sealed folder.
    pub fn open_with(folder: &Path, unlock: Option<&Unlock>) -> Result<OpenLeader, FileError> {
        let open = Self::open_as_it_is(folder, unlock)?;
        if !Self::is_sealed(folder)? {
            let (group, secrets) = renewal::take_up(folder, &open.group, open.secrets)?;
            return Ok(OpenLeader { group, secrets, ..open });
        }
        if renewal::waits(folder, &open.group, &open.secrets)? {
            let what = "has new shares to take up, and is sealed";
            let action = "run `ringfort leader unseal`, then `ringfort leader check`, then `ringfort leader seal`";
            return Err(FileError::new(FileErrorKind::Busy, folder, what, action));
        }
        Ok(open)
    }

    fn open_as_it_is(folder: &Path, unlock: Option<&Unlock>) -> Result<OpenLeader, FileError> {
        check_private_folder(folder)?;
        check_private_folder(&folder.join(STATE_FOLDER))?;
        let inbox = folder.join(INBOX);
        if inbox.symlink_metadata().is_ok() {
            check_private_folder(&inbox)?;
        }
        let lock = take_lock(folder)?;
        let group = read_group(&folder.join(GROUP_FILE))?;
        let path = folder.join(SECRETS_FILE);
        let text = read_secrets_text(&path)?;
        let sealed = sealing::is_sealed(&text).then(|| sealing::open_text(&path, &text, unlock)).transpose()?;
        let plain = sealed.as_ref().map_or(&text, |opened| &opened.plain);
        let (group, secrets) = match (parse_secrets(&path, plain, &group), group.before()) {
            // Stopped while it took up new shares: it does so again.
            (Err(error), Some(before)) => (before.clone(), parse_secrets(&path, plain, before).map_err(|_| error)?),
            (secrets, _) => (group, secrets?),
        };
        let key = sealed.as_ref().map(|opened| opened.key.clone());
        let mut store = Store::open(&folder.join(STORE_FILE), group.id(), key)?;
        if let Some(opened) = &sealed {
            seal_memory(&path, &text, opened, &mut store)?;
        }
        Ok(OpenLeader { path: folder.to_owned(), group, secrets, store, lock })
    }

    /// Whether a folder needs an [`Unlock`].
    pub fn is_sealed(folder: &Path) -> Result<bool, FileError> {
        check_private_folder(folder)?;
        Ok(sealing::is_sealed(&read_secrets_text(&folder.join(SECRETS_FILE))?))
    }

    /// Whether a process runs on a folder.
    pub fn is_in_use(folder: &Path) -> bool {
        take_lock(folder).is_err_and(|error| error.kind() == FileErrorKind::Busy)
    }

    /// Seals the secrets of a folder whose leader is stopped. First the key is kept, then the memory sealed with it, then it is
    /// kept that it is.
    pub fn seal(folder: &Path, unlock: &Unlock) -> Result<(), FileError> {
        if Self::is_sealed(folder)? {
            let action = "unseal it first, then seal it anew";
            return Err(FileError::new(FileErrorKind::Exists, folder, "is sealed already", action));
        }
        let OpenLeader { group, secrets, mut store, lock: _lock, .. } = Self::open(folder)?;
        let path = folder.join(SECRETS_FILE);
        let plain = secrets_text(&group, &secrets);
        let (key, text) = sealing::seal_text(&path, &group, secrets.id, &plain, unlock)?;
        replace_secret(&path, text.as_bytes())?;
        seal_memory(&path, &text, &Opened { key, plain, memory: Memory::Changing }, &mut store)
    }

    /// Opens the secrets of a folder for good: the memory first, as long as the key to it is kept. Before that it is kept that
    /// the memory changes, so that a crash in between leaves a folder that opens.
    pub fn unseal(folder: &Path, unlock: &Unlock) -> Result<(), FileError> {
        if !Self::is_sealed(folder)? {
            return Err(FileError::new(FileErrorKind::Exists, folder, "is not sealed", "there is nothing to do"));
        }
        let OpenLeader { group, secrets, mut store, lock: _lock, .. } = Self::open_as_it_is(folder, Some(unlock))?;
        let path = folder.join(SECRETS_FILE);
        let text = read_secrets_text(&path)?;
        let opened = sealing::open_text(&path, &text, Some(unlock))?;
        replace_secret(&path, sealing::resealed(&path, &text, &opened, Memory::Changing)?.as_bytes())?;
        store.seal(None)?;
        replace_secret(&path, secrets_text(&group, &secrets).as_bytes())
    }
}

/// Sees to it that the memory beside sealed secrets is sealed, and that the secrets say so.
///
/// A plain memory is taken where the secrets say that it may be one, after a crash while it was being sealed or opened for good.
/// Else somebody has put it there, who may have no key: then it is taken only if nothing is in it and it makes the leader catch up.
fn seal_memory(path: &Path, text: &str, opened: &Opened, store: &mut Store) -> Result<(), FileError> {
    if !store.is_sealed() {
        if opened.memory == Memory::Sealed && !store.is_fresh()? {
            let what = "is not sealed, as it was: somebody has put another in its place";
            let action = "restore this folder from a backup, or run `ringfort leader rebuild`";
            return Err(FileError::new(FileErrorKind::Altered, store.path(), what, action));
        }
        store.seal(Some(opened.key.clone()))?;
    }
    if opened.memory != Memory::Sealed {
        replace_secret(path, sealing::resealed(path, text, opened, Memory::Sealed)?.as_bytes())?;
    }
    Ok(())
}

/// Reads group and secrets without the lock; no secrets if they are sealed.
pub(super) fn read_leader(folder: &Path) -> Result<(Arc<GroupInfo>, Option<LeaderSecrets>), FileError> {
    check_private_folder(folder)?;
    let group = read_group(&folder.join(GROUP_FILE))?;
    let path = folder.join(SECRETS_FILE);
    let text = read_secrets_text(&path)?;
    let secrets = if sealing::is_sealed(&text) { None } else { Some(parse_secrets(&path, &text, &group)?) };
    Ok((group, secrets))
}

/// Group, secrets and the key to the memory.
pub(super) type OpenedBeside = (Arc<GroupInfo>, LeaderSecrets, Option<StoreKey>);

/// What is in a folder, read without the lock; nothing if they are sealed and `unlock` is not given.
pub(super) fn read_leader_with(folder: &Path, unlock: Option<&Unlock>) -> Result<Option<OpenedBeside>, FileError> {
    check_private_folder(folder)?;
    let group = read_group(&folder.join(GROUP_FILE))?;
    let path = folder.join(SECRETS_FILE);
    let text = read_secrets_text(&path)?;
    if !sealing::is_sealed(&text) {
        return Ok(Some((group.clone(), parse_secrets(&path, &text, &group)?, None)));
    }
    let Some(unlock) = unlock else { return Ok(None) };
    let opened = sealing::open_text(&path, &text, Some(unlock))?;
    let secrets = parse_secrets(&path, &opened.plain, &group)?;
    Ok(Some((group, secrets, Some(opened.key))))
}

pub(super) fn read_secrets_text(path: &Path) -> Result<Zeroizing<String>, FileError> {
    read_text(path, SECRETS_BYTES_MAX, Access::Secret)
}

/// Whose secrets these are, checked as far as it goes without opening what is sealed.
pub(super) fn who(path: &Path, text: &str, group: &GroupInfo) -> Result<LeaderId, FileError> {
    if !sealing::is_sealed(text) {
        return Ok(parse_secrets(path, text, group)?.id);
    }
    match sealing::sealed_for(path, text)? {
        (leader, of) if of == group.id() => {
            group.leader(leader).map(|_| leader).ok_or_else(|| stranger(path, "leader"))
        }
        _ => Err(stranger(path, "group")),
    }
}

pub(super) fn parse_secrets(path: &Path, text: &str, group: &GroupInfo) -> Result<LeaderSecrets, FileError> {
    let document: Document = parse(path, text, "a leader's secrets file", Access::Secret)?;
    if document.group.0 != group.id().0 {
        return Err(stranger(path, "group"));
    }
    let secrets = assemble(path, document)?;
    check_belongs(path, group, &secrets)?;
    Ok(secrets)
}

pub(super) fn take_lock(folder: &Path) -> Result<FolderLock, FileError> {
    take_lock_file(folder, &folder.join(LOCK_FILE))
}

/// Takes the lock of a folder that lies somewhere else in it than a leader's does.
pub(super) fn take_lock_file(folder: &Path, path: &Path) -> Result<FolderLock, FileError> {
    let writing = |error| FileError::writing(path, error);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(writing)?;
    match file.try_lock() {
        Ok(()) => Ok(FolderLock { _file: file }),
        Err(TryLockError::WouldBlock) => {
            let action = "stop that leader first, or leave the request in its inbox";
            Err(FileError::new(FileErrorKind::Busy, folder, "is in use by a running leader", action))
        }
        Err(TryLockError::Error(error)) => Err(writing(error)),
    }
}

fn assemble(path: &Path, document: Document) -> Result<LeaderSecrets, FileError> {
    let restore = "restore this folder from a backup";
    let id = LeaderId::new(document.leader)
        .ok_or_else(|| FileError::malformed(path, format!("there is no leader {}", document.leader), restore))?;
    let share = |role, SecretHex(secret): &SecretHex<32>, name| {
        SecretShare::from_secret(role, id.share_index(), secret)
            .map_err(|_| FileError::malformed(path, format!("its {name} is not a key share"), restore))
    };
    Ok(LeaderSecrets {
        id,
        group_share: share(KeyRole::GroupKey, &document.group_share, "group_share")?,
        coin_share: share(KeyRole::Coin, &document.coin_share, "coin_share")?,
        signing: SigningKey::from_secret(&document.signing.0),
        sealing: KemSecret::from_secret(&document.sealing.0),
        link: document.link.0,
    })
}

/// Every secret is the one whose public half the group file announces for this leader.
fn check_belongs(path: &Path, group: &GroupInfo, secrets: &LeaderSecrets) -> Result<(), FileError> {
    let info = group.leader(secrets.id).ok_or_else(|| stranger(path, "leader"))?;
    let checks = [
        ("link", SigningKey::from_secret(&secrets.link).verifying_key().to_bytes() == info.link_key),
        ("signing", secrets.signing.verifying_key() == info.signing_key),
        ("sealing", secrets.sealing.public() == info.sealing_key),
        ("group_share", secrets.group_share.belongs_to(&group.group_keys)),
        ("coin_share", secrets.coin_share.belongs_to(&group.coin_keys)),
    ];
    match checks.iter().find(|(_, belongs)| !belongs) {
        Some((name, _)) => Err(stranger(path, name)),
        None => Ok(()),
    }
}

fn stranger(path: &Path, name: &str) -> FileError {
    let what = format!("these secrets do not belong to the {GROUP_FILE} beside them (see `{name}`)");
    FileError::new(FileErrorKind::Altered, path, what, "restore this folder from a backup, as it was made")
}

pub(super) fn secrets_text(group: &GroupInfo, secrets: &LeaderSecrets) -> Zeroizing<String> {
    // All at once: a text that grows would leave copies of secrets behind.
    let mut text = Zeroizing::new(String::with_capacity(4096));
    text.push_str(HEADER);
    text.push_str(&format!("format = {FORMAT}\nleader = {}\n", secrets.id.number()));
    text.push_str(&format!("group = \"{}\"\n", data_encoding::HEXLOWER.encode(&group.id().0)));
    let fields: [(&str, &Secret32); 5] = [
        ("link", &secrets.link),
        ("signing", &secrets.signing.to_secret()),
        ("sealing", &secrets.sealing.to_secret()),
        ("group_share", &secrets.group_share.to_secret()),
        ("coin_share", &secrets.coin_share.to_secret()),
    ];
    for (name, secret) in fields {
        for part in [name, " = \"", &secret_digits(secret), "\"\n"] {
            text.push_str(part);
        }
    }
    text
}
