//! The folder of a leader before there is a group: `ringfort setup new` makes it, a ceremony turns it into a leader's folder.
//!
//! | file | holds |
//! |---|---|
//! | `making.toml` | the keys that the leader made for itself; secret |
//! | `leader-N.introduction` | what the other operators get; public |
//! | `attempts` | how often a ceremony was started, so that no two starts have one number |
//! | `unconfirmed/` | a result that not all leaders are known to have confirmed: not to be used. There is one at most: these keys make no other |
//! | `gave-up` | why this leader did not confirm an attempt that others may have confirmed; public |
//! | `leader-N/`, `group.toml` | the result, as a dealer would have made it |
//! | `certificate` | the confirmations of all leaders; public |
//! | `leader-N.evidence` | what proves that a leader deviated; public |
//!
//! Never more than one leader's secrets are here.

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::BASE64_MIME;
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::group::LeaderInfo;
use ringfort_protocol::introduction::{Facts, Introduction};
use ringfort_protocol::{GroupInfo, LeaderId};
use ringfort_setup::{
    ATTEMPTS_MAX, Blame, Certificate, Confirmation, Evidence, FRAME_BYTES_MAX, Keys, Reason, Terms, Unconfirmed,
};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::leader_folder::{FolderLock, LeaderFolder, take_lock_file};
use ringfort_documents::disk::{
    Access, Staging, check_private_folder, parent, read_text, sync_folder, temporary_beside, wipe, write_new,
    write_over,
};
use ringfort_documents::group::{GROUP_FILE, check_address, check_name, read_group, write_group};
use ringfort_documents::introduction::{read_introduction, write_introduction};
use ringfort_documents::os_rng;
use ringfort_documents::text::{FORMAT, Hex, SecretHex, parse, secret_digits};
use ringfort_documents::{FileError, FileErrorKind};

/// The file of secrets in the folder of a leader that is being made.
pub const MAKING_FILE: &str = "making.toml";

/// Held by the one process that works on the folder.
const LOCK_FILE: &str = "lock";
const ATTEMPTS_FILE: &str = "attempts";
const UNCONFIRMED: &str = "unconfirmed";
const SESSION_FILE: &str = "session";
const CONFIRMATION_FILE: &str = "confirmation";
const REASON_FILE: &str = "gave-up";
const CERTIFICATE_FILE: &str = "certificate";

const NEW_FOLDER: &str = "make a new folder with `ringfort setup new`";

const SMALL_BYTES_MAX: usize = 16 * 1024;
const ARMOURED_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

const HEADER: &str = "\
# The keys of a leader that is not in a group yet. Whoever reads this file can act as this leader.
# Keep it on the leader's machine alone. Once `ringfort setup run` has finished everywhere, it is no longer needed.
";

/// A session, and the group that it made.
type SessionAndGroup = ([u8; 32], [u8; 32]);

/// A leader to be made.
#[derive(Clone, Debug)]
pub struct NewLeader {
    /// The name of the group.
    pub group_name: String,
    /// Its number there.
    pub leader: LeaderId,
    /// Where it is to listen: `host:port`.
    pub address: String,
    /// What is said of it.
    pub facts: Facts,
}

/// A leader that is being made. Nobody else can open its folder until this is dropped.
#[derive(Debug)]
pub struct Making {
    path: PathBuf,
    introduction: Introduction,
    keys: Keys,
    _lock: FolderLock,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "format")]
    _format: u32,
    leader: u8,
    link: SecretHex<32>,
    signing: SecretHex<32>,
    sealing: SecretHex<32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionDocument {
    #[serde(rename = "format")]
    _format: u32,
    terms: Hex<32>,
    session: Hex<32>,
}

impl Making {
    /// Draws keys and makes `folder`, which must not exist, with the introduction in it. Gives the introduction's path.
    pub fn create(folder: &Path, new: NewLeader) -> Result<PathBuf, FileError> {
        let NewLeader { group_name, leader, address, facts } = new;
        check_name(folder, &group_name)?;
        if let Err(why) = check_address(&address) {
            let what = format!("the address {address:?} {why}");
            let action = "give the address at which the other leaders reach this one";
            return Err(FileError::malformed(folder, what, action));
        }
        if folder.symlink_metadata().is_ok() {
            let action = "choose a new folder: nothing is overwritten";
            return Err(FileError::new(FileErrorKind::Exists, folder, "exists already", action));
        }
        let rng = &mut os_rng();
        let keys =
            Keys { link: Secret32::random(rng), signing: SigningKey::generate(rng), sealing: KemSecret::generate(rng) };
        let info = LeaderInfo {
            address,
            link_key: SigningKey::from_secret(&keys.link).verifying_key().to_bytes(),
            signing_key: keys.signing.verifying_key(),
            sealing_key: keys.sealing.public(),
        };
        let introduction = Introduction::sign(&group_name, leader, info, facts, &keys.signing);
        let staging = Staging::make(temporary_beside(folder)?)?;
        write_new(&staging.path().join(MAKING_FILE), secrets_text(leader, &keys).as_bytes(), Access::Secret)?;
        let name = introduction_name(leader);
        write_introduction(&staging.path().join(&name), &introduction)?;
        staging.finish_as(folder)?;
        Ok(folder.join(name))
    }

    /// Opens a folder for one process.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        check_private_folder(folder)?;
        let path = folder.join(MAKING_FILE);
        let text = read_text(&path, SMALL_BYTES_MAX, Access::Secret)?;
        let document: Document = parse(&path, &text, "the keys of a leader in the making", Access::Secret)?;
        let restore = "make a new folder with `ringfort setup new`";
        let leader = LeaderId::new(document.leader)
            .ok_or_else(|| FileError::malformed(&path, format!("there is no leader {}", document.leader), restore))?;
        let keys = Keys {
            link: document.link.0,
            signing: SigningKey::from_secret(&document.signing.0),
            sealing: KemSecret::from_secret(&document.sealing.0),
        };
        let introduction = read_introduction(&folder.join(introduction_name(leader)))?;
        let info = &introduction.info;
        let belongs = introduction.leader == leader
            && info.link_key == SigningKey::from_secret(&keys.link).verifying_key().to_bytes()
            && info.signing_key == keys.signing.verifying_key()
            && info.sealing_key == keys.sealing.public();
        if !belongs {
            let what = "these keys do not belong to the introduction beside them";
            return Err(FileError::new(FileErrorKind::Altered, &path, what, restore));
        }
        let lock = take_lock_file(folder, &folder.join(LOCK_FILE))?;
        Ok(Making { path: folder.to_owned(), introduction, keys, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What this leader says of itself.
    pub fn introduction(&self) -> &Introduction {
        &self.introduction
    }

    /// The seed of its link key.
    pub fn link_seed(&self) -> &Secret32 {
        &self.keys.link
    }

    /// A copy of the keys, for a ceremony.
    pub fn keys(&self) -> Keys {
        let Keys { link, signing, sealing } = &self.keys;
        Keys { link: link.clone(), signing: signing.clone(), sealing: sealing.clone() }
    }

    /// Where the leader's folder is, once there is one.
    pub fn leader_folder(&self) -> PathBuf {
        self.path.join(LeaderFolder::name(self.introduction.leader))
    }

    /// The number of the next start, never given before. Durable.
    pub fn next_attempt(&self) -> Result<u64, FileError> {
        let path = self.path.join(ATTEMPTS_FILE);
        let last: u64 = match path.symlink_metadata() {
            Err(_) => 0,
            Ok(_) => read_text(&path, 64, Access::Public)?.trim().parse().map_err(|_| {
                FileError::malformed(&path, "is not a number", "make a new folder with `ringfort setup new`")
            })?,
        };
        let next = last.saturating_add(1);
        if next > ATTEMPTS_MAX {
            let what = format!("was started {last} times, and the others take part in no more");
            return Err(FileError::new(FileErrorKind::Exists, &self.path, what, NEW_FOLDER));
        }
        write_over(&path, format!("{next}\n").as_bytes(), Access::Public)?;
        Ok(next)
    }

    /// Session and group of the result that an earlier start has persisted.
    ///
    /// # Errors
    /// Also when it was made on other terms: these keys are bound to it.
    fn unconfirmed(&self, terms: &Terms) -> Result<Option<SessionAndGroup>, FileError> {
        let folder = self.path.join(UNCONFIRMED);
        if folder.symlink_metadata().is_err() {
            return Ok(None);
        }
        let path = folder.join(SESSION_FILE);
        let text = read_text(&path, SMALL_BYTES_MAX, Access::Public)?;
        let document: SessionDocument = parse(&path, &text, "the name of a session", Access::Public)?;
        if document.terms.0 != terms.digest() {
            let what = "has confirmed a setup on other terms, with other introductions, sizes or another policy";
            let action = "run it on those terms to wait for the others, or give that attempt up, together, with `ringfort setup give-up`";
            return Err(FileError::new(FileErrorKind::Exists, &self.path, what, action));
        }
        let inside = folder.join(LeaderFolder::name(self.introduction.leader));
        let group = read_group(&inside.join(GROUP_FILE))?;
        Ok(Some((document.session.0, group.id().0)))
    }

    /// What an earlier start has confirmed. Whoever has confirmed anything with these keys starts nothing else with them.
    ///
    /// # Errors
    /// Also when it was confirmed on other terms.
    pub fn confirmation(&self, terms: &Terms) -> Result<Option<Confirmation>, FileError> {
        if self.unconfirmed(terms)?.is_none() {
            return Ok(None);
        }
        let path = self.path.join(UNCONFIRMED).join(CONFIRMATION_FILE);
        let bytes = unarmour(&path, "CONFIRMATION")?;
        Confirmation::from_bytes(&bytes).map(Some).ok_or_else(|| self.damaged())
    }

    pub(crate) fn damaged(&self) -> FileError {
        let path = self.path.join(UNCONFIRMED).join(CONFIRMATION_FILE);
        FileError::malformed(&path, "is not what this leader has confirmed on these terms", NEW_FOLDER)
    }

    /// Keeps why this leader gave up an attempt without having confirmed it. Durable.
    pub fn remember(&self, reason: &Reason) -> Result<(), FileError> {
        let text = armour("GAVE UP", &reason.to_bytes());
        write_over(&self.path.join(REASON_FILE), text.as_bytes(), Access::Public)
    }

    /// What [`Making::remember`] kept last.
    pub fn reason(&self) -> Result<Option<Reason>, FileError> {
        let path = self.path.join(REASON_FILE);
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        Ok(Reason::from_bytes(&unarmour(&path, "GAVE UP")?))
    }

    /// Keeps a result that may not be used yet. Durable. There is no other one with these keys.
    pub fn persist(&self, terms: &Terms, unconfirmed: &Unconfirmed) -> Result<(), FileError> {
        let folder = self.path.join(UNCONFIRMED);
        if folder.symlink_metadata().is_ok() {
            let what = "holds what was confirmed with these keys before, and is not replaced";
            return Err(FileError::new(FileErrorKind::Exists, &folder, what, NEW_FOLDER));
        }
        let staging = Staging::make(temporary_beside(&folder)?)?;
        LeaderFolder::create(staging.path(), &unconfirmed.group, &unconfirmed.secrets, &[])?;
        let hex = |bytes: &[u8; 32]| data_encoding::HEXLOWER.encode(bytes);
        let (terms, session) = (hex(&terms.digest()), hex(&unconfirmed.session));
        let text = format!("format = {FORMAT}\nterms = \"{terms}\"\nsession = \"{session}\"\n");
        write_new(&staging.path().join(SESSION_FILE), text.as_bytes(), Access::Public)?;
        let said = armour("CONFIRMATION", &unconfirmed.confirmation.to_bytes());
        write_new(&staging.path().join(CONFIRMATION_FILE), said.as_bytes(), Access::Public)?;
        staging.finish_as(&folder)
    }

    /// Deletes the folder with its keys: nothing can come of them any more.
    ///
    /// # Errors
    /// When it has finished: then there is a leader in it.
    pub fn give_up(self) -> Result<(), FileError> {
        let certificate = self.path.join(CERTIFICATE_FILE);
        if self.leader_folder().symlink_metadata().is_ok() || certificate.symlink_metadata().is_ok() {
            let what = "has finished: it holds a leader of the group, and nothing is to be given up";
            return Err(FileError::new(
                FileErrorKind::Exists,
                &self.path,
                what,
                "run `ringfort setup run` to help others finish",
            ));
        }
        let writing = |error| FileError::writing(&self.path, error);
        // The keys first, and wiped: whatever else is left over without them is worth nothing.
        wipe(&self.path.join(MAKING_FILE))?;
        fs::remove_dir_all(&self.path).map_err(writing)?;
        sync_folder(parent(&self.path)).map_err(writing)
    }

    /// Puts the result that was persisted last in its place: it may be used.
    pub fn confirm(&self, certificate: &Certificate) -> Result<GroupInfo, FileError> {
        let name = LeaderFolder::name(self.introduction.leader);
        let (unconfirmed, folder) = (self.path.join(UNCONFIRMED), self.leader_folder());
        let group = read_group(&unconfirmed.join(&name).join(GROUP_FILE))?;
        let certificate_path = self.path.join(CERTIFICATE_FILE);
        write_over(&certificate_path, armour("CERTIFICATE", &certificate.to_bytes()).as_bytes(), Access::Public)?;
        let public = self.path.join(GROUP_FILE);
        if public.symlink_metadata().is_err() {
            write_group(&public, &group)?;
        }
        // Last: where the leader's folder is, the rest is.
        let writing = |error| FileError::writing(&folder, error);
        fs::rename(unconfirmed.join(&name), &folder).map_err(writing)?;
        sync_folder(&self.path).map_err(writing)?;
        fs::remove_dir_all(&unconfirmed).map_err(|error| FileError::writing(&unconfirmed, error))?;
        Ok(std::sync::Arc::unwrap_or_clone(group))
    }

    /// The certificate of a ceremony on these terms that has finished here.
    pub fn certificate(&self, terms: &Terms) -> Result<Option<(Certificate, GroupInfo)>, FileError> {
        let folder = self.leader_folder();
        let path = self.path.join(CERTIFICATE_FILE);
        if folder.symlink_metadata().is_err() {
            let Some(unconfirmed) = self.unconfirmed(terms)? else { return Ok(None) };
            if path.symlink_metadata().is_err() {
                return Ok(None);
            }
            // Stopped on its way to the end: the certificate is there, so the result may be used.
            let certificate = Certificate::from_bytes(&unarmour(&path, "CERTIFICATE")?)
                .filter(|certificate| certificate.check(terms) == Some(unconfirmed));
            let Some(certificate) = certificate else { return Ok(None) };
            let group = self.confirm(&certificate)?;
            return Ok(Some((certificate, group)));
        }
        let group = read_group(&folder.join(GROUP_FILE))?;
        let bytes = unarmour(&path, "CERTIFICATE")?;
        let certificate = Certificate::from_bytes(&bytes)
            .filter(|certificate| certificate.check(terms).is_some_and(|(_, id)| id == group.id().0));
        match certificate {
            Some(certificate) => Ok(Some((certificate, std::sync::Arc::unwrap_or_clone(group)))),
            None => {
                let what = format!(
                    "holds a leader of the group {} already, which was set up on other terms",
                    group.fingerprint()
                );
                let action = "make a new folder with `ringfort setup new`";
                Err(FileError::new(FileErrorKind::Exists, &folder, what, action))
            }
        }
    }

    /// Keeps what proves a deviation, for whoever wants to check it. Gives its path.
    pub fn keep_evidence(&self, blame: &Blame) -> Result<Option<PathBuf>, FileError> {
        let Some(evidence) = &blame.evidence else { return Ok(None) };
        let path = self.path.join(format!("{}.evidence", LeaderFolder::name(blame.leader)));
        write_over(&path, armour("EVIDENCE", &evidence.to_bytes()).as_bytes(), Access::Public)?;
        Ok(Some(path))
    }
}

/// Reads what [`Making::keep_evidence`] wrote. What it proves shows in [`Evidence::check`].
pub fn read_evidence(path: &Path) -> Result<Evidence, FileError> {
    Evidence::from_bytes(&unarmour(path, "EVIDENCE")?)
        .ok_or_else(|| FileError::malformed(path, "is no evidence of a setup", "get the file again"))
}

fn introduction_name(leader: LeaderId) -> String {
    format!("{}.introduction", LeaderFolder::name(leader))
}

fn secrets_text(leader: LeaderId, keys: &Keys) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2048));
    text.push_str(HEADER);
    text.push_str(&format!("format = {FORMAT}\nleader = {}\n", leader.number()));
    let fields: [(&str, &Secret32); 3] =
        [("link", &keys.link), ("signing", &keys.signing.to_secret()), ("sealing", &keys.sealing.to_secret())];
    for (name, secret) in fields {
        for part in [name, " = \"", &secret_digits(secret), "\"\n"] {
            text.push_str(part);
        }
    }
    text
}

fn armour(what: &str, bytes: &[u8]) -> String {
    format!(
        "-----BEGIN RINGFORT SETUP {what}-----\n{}-----END RINGFORT SETUP {what}-----\n",
        BASE64_MIME.encode(bytes).replace('\r', "")
    )
}

fn unarmour(path: &Path, what: &str) -> Result<Vec<u8>, FileError> {
    let text = read_text(path, ARMOURED_BYTES_MAX, Access::Public)?;
    let (begin, end) =
        (format!("-----BEGIN RINGFORT SETUP {what}-----\n"), format!("-----END RINGFORT SETUP {what}-----"));
    let body = text.trim().strip_prefix(&begin).and_then(|rest| rest.strip_suffix(&end));
    let joined = body.map(|body| body.replace(['\n', '\r'], ""));
    joined.and_then(|joined| data_encoding::BASE64.decode(joined.as_bytes()).ok()).ok_or_else(|| {
        FileError::malformed(path, format!("is no {} of a setup", what.to_lowercase()), "get the file again")
    })
}
