//! New shares on a leader's disk: what a running leader keeps of renewals, what its next start makes of it, and how a new machine
//! takes a leader's place.
//!
//! A running leader writes below `state/` alone, and nothing that lies there is believed by itself. So it keeps `state/renewal`, and goes on
//! with the shares it had. The next start, before it enters its sandbox, finds there a succession that the other leaders have signed and
//! shares that fit it, and puts them in the place of the old ones: first `group.toml`, then `leader.toml`, whose old bytes are
//! wiped, then `state/renewal` goes. Stopped in between, the start after that does the rest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfort_crypto::threshold::SecretShare;
use ringfort_protocol::group::LeaderSecrets;
use ringfort_protocol::{GroupInfo, Time};
use ringfort_setup::renewal::{Limits, Outcome, PACKAGE_BYTES_MAX, Package, Renewal, SAVED_BYTES_MAX};
use zeroize::Zeroizing;

use super::leader_folder::{LeaderFolder, SECRETS_FILE, read_leader, secrets_text};
use super::making::Making;
use ringfort_documents::disk::{Access, read_text, replace_secret, wipe, write_new, write_over};
use ringfort_documents::group::{GROUP_FILE, group_text, read_group};
use ringfort_documents::{FileError, FileErrorKind};

/// What a leader keeps of renewals, in its folder.
const RENEWAL_FILE: &str = "state/renewal";

/// What was kept of renewals in a leader's folder; empty if nothing was.
pub(crate) fn read_renewal(folder: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let path = folder.join(RENEWAL_FILE);
    if path.symlink_metadata().is_err() {
        return Ok(Zeroizing::new(Vec::new()));
    }
    let text = read_text(&path, 2 * SAVED_BYTES_MAX + 1, Access::Secret)?;
    let damaged = |_| FileError::malformed(&path, "is not what a leader keeps of renewals", "delete it");
    data_encoding::HEXLOWER.decode(text.trim().as_bytes()).map(Zeroizing::new).map_err(damaged)
}

/// Keeps what a renewal has come to. Durable.
pub(crate) fn keep_renewal(folder: &Path, saved: &[u8]) -> Result<(), FileError> {
    let path = folder.join(RENEWAL_FILE);
    let text = Zeroizing::new(data_encoding::HEXLOWER.encode(saved));
    if path.symlink_metadata().is_err() {
        return write_new(&path, text.as_bytes(), Access::Secret);
    }
    replace_secret(&path, text.as_bytes())
}

/// What renewals have come to at a leader that is stopped, or that was when this was kept.
fn outcome(group: &Arc<GroupInfo>, secrets: &LeaderSecrets, saved: &[u8]) -> Option<Outcome> {
    let secrets = Arc::new(secrets.clone());
    Renewal::new(group.clone(), secrets, saved, Limits::default(), Time::ZERO).outcome()
}

/// Whether new shares wait for a leader's next start.
pub(super) fn waits(folder: &Path, group: &Arc<GroupInfo>, secrets: &LeaderSecrets) -> Result<bool, FileError> {
    Ok(outcome(group, secrets, &read_renewal(folder)?).is_some())
}

/// Takes up new shares, if such wait. For a leader that is stopped, with its lock.
pub(super) fn take_up(
    folder: &Path,
    group: &Arc<GroupInfo>,
    secrets: LeaderSecrets,
) -> Result<(Arc<GroupInfo>, LeaderSecrets), FileError> {
    let saved = read_renewal(folder)?;
    let Some(Outcome { group: next, shares }) = outcome(group, &secrets, &saved) else {
        return Ok((group.clone(), secrets));
    };
    let secrets = with_shares(secrets, shares);
    let path = folder.join(GROUP_FILE);
    write_over(&path, group_text(&path, &next)?.as_bytes(), Access::Public)?;
    replace_secret(&folder.join(SECRETS_FILE), secrets_text(&next, &secrets).as_bytes())?;
    wipe(&folder.join(RENEWAL_FILE))?;
    Ok((Arc::new(next), secrets))
}

fn with_shares(secrets: LeaderSecrets, shares: [SecretShare; 2]) -> LeaderSecrets {
    let [group_share, coin_share] = shares;
    LeaderSecrets { group_share, coin_share, ..secrets }
}

/// The newest succession that a leader's folder holds, with all that a new machine needs to take its place. Public.
///
/// # Errors
/// None is there yet, or the folder is sealed.
pub fn pack(folder: &Path, to: &Path) -> Result<u32, FileError> {
    let (group, secrets) = read_leader(folder)?;
    let nothing = |what: &str| {
        FileError::new(FileErrorKind::Unreadable, folder, what.to_owned(), "see `ringfort leader status`".to_owned())
    };
    let secrets = secrets.ok_or_else(|| nothing("is sealed: ask the operator of another leader"))?;
    let saved = read_renewal(folder)?;
    let renewal = Renewal::new(group, Arc::new(secrets), &saved, Limits::default(), Time::ZERO);
    let package =
        renewal.package().ok_or_else(|| nothing("holds no new generation that enough leaders have signed"))?;
    let text = data_encoding::BASE64.encode(&package.to_bytes());
    write_new(to, text.as_bytes(), Access::Public)?;
    Ok(package.certified.succession.number)
}

/// Makes a leader's folder for a new machine that was introduced: from the group file and what [`pack`] wrote.
///
/// # Errors
/// The package is not for this machine, or not of this group.
pub fn take_place(making: &Making, group: &Path, package: &Path) -> Result<PathBuf, FileError> {
    let group = read_group(group)?;
    let text = read_text(package, 2 * PACKAGE_BYTES_MAX, Access::Public)?;
    let bytes = data_encoding::BASE64.decode(text.trim().as_bytes()).ok();
    let again = "get it again from an operator, made by `ringfort leader pack`";
    let opened = bytes.and_then(|bytes| Package::from_bytes(&bytes));
    let opened = opened.ok_or_else(|| FileError::malformed(package, "is no package of a succession", again))?;
    let (me, keys) = (making.introduction().leader, making.keys());
    let (group, [group_share, coin_share]) = opened.open(&group, me, &[], &keys.sealing).ok_or_else(|| {
        let what = "does not give this machine a place in the group of that group file";
        FileError::new(FileErrorKind::Altered, package, what, again)
    })?;
    let secrets = LeaderSecrets {
        id: me,
        link: keys.link,
        signing: keys.signing,
        sealing: keys.sealing,
        group_share,
        coin_share,
    };
    LeaderFolder::create_newcomer(making.path(), &group, &secrets)
}
