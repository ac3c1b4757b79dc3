//! `leader.toml` sealed: the leader's secrets under a key of their own, and that key under a passphrase or a key file.
//!
//! The same key seals the registrations in the leader's memory. Whoever copies the folder then has user names and the
//! group's state, and no secret.

use std::path::Path;

use ringfort_crypto::kdf::derive;
use ringfort_crypto::password::{Argon2Cost, harden};
use ringfort_crypto::secret::{Secret, Secret32};
use ringfort_protocol::{GroupId, GroupInfo, LeaderId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::disk::Access;
use crate::error::{FileError, FileErrorKind};
use crate::os_rng;
use crate::password::prepare;
use crate::seal::{StoreKey, open, seal};
use crate::text::{FORMAT, Hex, parse, render};

/// A key file holds at least so many bytes, and no more than so many are read.
pub const KEY_FILE_BYTES_MIN: usize = 32;
/// The most bytes of a key file or a passphrase.
pub const KEY_FILE_BYTES_MAX: usize = 4096;
/// A passphrase has at least so many characters.
pub const PASSPHRASE_CHARS_MIN: usize = 12;

/// Argon2id, at every start: 64 MiB and 3 passes.
const COST: (u32, u32) = (64 * 1024, 3);

const HEADER: &str = "\
# The secrets of one leader of a Ringfort group, sealed. They open with the leader's passphrase or key file alone.
# Without it they are lost: then the leader has to be given up. It belongs to the group.toml beside it.
";

/// What opens a sealed folder.
#[derive(Clone)]
pub enum Unlock {
    /// A passphrase.
    Passphrase(Zeroizing<String>),
    /// What is in a key file, such as a credential of the service manager.
    KeyFile(Zeroizing<Vec<u8>>),
}

impl std::fmt::Debug for Unlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unlock::Passphrase(_) => "Passphrase(redacted)",
            Unlock::KeyFile(_) => "KeyFile(redacted)",
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    leader: u8,
    group: Hex<32>,
    sealed: Sealed,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    with: With,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_kib: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passes: Option<u32>,
    salt: Hex<32>,
    memory: Memory,
    /// The folder's key.
    key: String,
    /// The text of the plain file.
    secrets: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum With {
    Passphrase,
    KeyFile,
}

/// Whether the leader's memory is sealed with the same key. The sealed secrets are bound to it: without the key nobody makes
/// a file that takes a plain memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Memory {
    /// It is about to be sealed, or about to be opened for good: after a crash it may be either.
    Changing,
    /// It is sealed.
    Sealed,
}

/// What [`open_text`] finds in a sealed file.
pub struct Opened {
    /// The folder's key.
    pub key: StoreKey,
    /// The text of the plain file.
    pub plain: Zeroizing<String>,
    /// What the memory beside it is.
    pub memory: Memory,
}

/// Whether a text is a sealed file, as far as a look at it tells.
pub fn is_sealed(text: &str) -> bool {
    text.lines().any(|line| line.trim() == "[sealed]")
}

/// Seals the text of a plain `leader.toml` under a fresh key, before the memory is sealed with it.
pub fn seal_text(
    path: &Path,
    group: &GroupInfo,
    leader: LeaderId,
    plain: &str,
    unlock: &Unlock,
) -> Result<(StoreKey, String), FileError> {
    check_strength(path, unlock)?;
    let key = StoreKey::draw();
    let salt = *Secret32::random(&mut os_rng()).expose();
    let context = context(&group.id().0, leader.number(), &salt);
    let (with, cost) = match unlock {
        Unlock::Passphrase(_) => (With::Passphrase, Some(COST)),
        Unlock::KeyFile(_) => (With::KeyFile, None),
    };
    let outer = outer_key(path, unlock, cost, &context)?;
    let digits = |bytes: Vec<u8>| data_encoding::HEXLOWER.encode(&bytes);
    let sealed = Sealed {
        with,
        memory_kib: cost.map(|cost| cost.0),
        passes: cost.map(|cost| cost.1),
        salt: Hex(salt),
        memory: Memory::Changing,
        key: digits(seal(&outer, &context, key.expose())),
        secrets: digits(seal(&key.for_secrets(), &beside(&context, Memory::Changing), plain.as_bytes())),
    };
    let document = Document { format: FORMAT, leader: leader.number(), group: Hex(group.id().0), sealed };
    Ok((key, render(path, HEADER, &document)?))
}

/// The same sealed file, which was opened, for a memory beside it that is `memory` now.
pub fn resealed(path: &Path, text: &str, opened: &Opened, memory: Memory) -> Result<String, FileError> {
    let mut document: Document = parse(path, text, "a leader's sealed secrets file", Access::Public)?;
    let context = context(&document.group.0, document.leader, &document.sealed.salt.0);
    let secrets = seal(&opened.key.for_secrets(), &beside(&context, memory), opened.plain.as_bytes());
    document.sealed.secrets = data_encoding::HEXLOWER.encode(&secrets);
    document.sealed.memory = memory;
    render(path, HEADER, &document)
}

/// What the sealed secrets are bound to: the file, and what the memory beside it is.
fn beside(context: &[u8], memory: Memory) -> Vec<u8> {
    [context, &[memory as u8]].concat()
}

/// Opens what [`seal_text`] or [`resealed`] made.
pub fn open_text(path: &Path, text: &str, unlock: Option<&Unlock>) -> Result<Opened, FileError> {
    let Document { leader, group, sealed, .. } = parse(path, text, "a leader's sealed secrets file", Access::Public)?;
    let wanted = match sealed.with {
        With::Passphrase => "passphrase",
        With::KeyFile => "key file",
    };
    let refused = |what: String, action: &str| FileError::new(FileErrorKind::Sealed, path, what, action);
    let unlock = match (sealed.with, unlock) {
        (With::Passphrase, Some(unlock @ Unlock::Passphrase(_)))
        | (With::KeyFile, Some(unlock @ Unlock::KeyFile(_))) => unlock,
        _ => {
            let what = format!("is sealed with a {wanted}, which was not given");
            return Err(refused(what, "give --passphrase-file or --key-file, or the service's credential"));
        }
    };
    let context = context(&group.0, leader, &sealed.salt.0);
    let cost = sealed.memory_kib.zip(sealed.passes);
    let outer = outer_key(path, unlock, cost, &context)?;
    let bytes = |digits: &str| data_encoding::HEXLOWER.decode(digits.as_bytes()).ok();
    let key = bytes(&sealed.key).and_then(|bytes| open(&outer, &context, &bytes));
    let key = key.and_then(|key| <[u8; 32]>::try_from(key.as_slice()).ok().map(Zeroizing::new));
    let Some(key) = key else {
        return Err(refused(format!("does not open with this {wanted}"), "check that it is the right one"));
    };
    let key = StoreKey::new(Secret::new(*key));
    let context = beside(&context, sealed.memory);
    let plain = bytes(&sealed.secrets).and_then(|bytes| open(&key.for_secrets(), &context, &bytes));
    let plain = plain.and_then(|plain| std::str::from_utf8(&plain).ok().map(|text| Zeroizing::new(text.to_owned())));
    let damaged = || {
        let action = "restore this folder with `ringfort leader restore`";
        FileError::new(FileErrorKind::Altered, path, "has been altered since it was sealed", action)
    };
    Ok(Opened { key, plain: plain.ok_or_else(damaged)?, memory: sealed.memory })
}

/// Whose a sealed file says that it is.
pub fn sealed_for(path: &Path, text: &str) -> Result<(LeaderId, GroupId), FileError> {
    let document: Document = parse(path, text, "a leader's sealed secrets file", Access::Public)?;
    let leader = LeaderId::new(document.leader)
        .ok_or_else(|| FileError::malformed(path, format!("there is no leader {}", document.leader), "restore it"))?;
    Ok((leader, GroupId(document.group.0)))
}

/// What the sealed bytes are bound to, so that they open nowhere else.
fn context(group: &[u8; 32], leader: u8, salt: &[u8; 32]) -> Vec<u8> {
    [b"ringfort sealed leader".as_slice(), group, &[leader], salt].concat()
}

fn outer_key(path: &Path, unlock: &Unlock, cost: Option<(u32, u32)>, context: &[u8]) -> Result<Secret32, FileError> {
    match unlock {
        Unlock::KeyFile(bytes) => Ok(derive(bytes, "ringfort leader key file", &[context])),
        Unlock::Passphrase(passphrase) => {
            let passphrase = prepare(passphrase);
            let (memory_kib, passes) = cost.unwrap_or(COST);
            // A cost that exhausts the machine is refused before it is paid.
            let cost = Argon2Cost::new(memory_kib, passes).ok().filter(|cost| cost.memory_kib() <= 1 << 20);
            let cost = cost.ok_or_else(|| {
                FileError::malformed(path, "names an impossible cost of its passphrase", "restore the folder")
            })?;
            let half = |label| derive(passphrase.as_bytes(), label, &[]);
            let mut both = Zeroizing::new([0; 64]);
            let halves = [half("ringfort leader passphrase 1"), half("ringfort leader passphrase 2")];
            for (place, half) in both.chunks_exact_mut(32).zip(&halves) {
                place.copy_from_slice(half.expose());
            }
            Ok(harden(&Secret::new(*both), &[context], cost))
        }
    }
}

fn check_strength(path: &Path, unlock: &Unlock) -> Result<(), FileError> {
    let weak = |what: String, action: &str| FileError::new(FileErrorKind::Malformed, path, what, action);
    match unlock {
        Unlock::Passphrase(passphrase) if prepare(passphrase).chars().count() < PASSPHRASE_CHARS_MIN => {
            let what = format!("is not sealed: the passphrase has fewer than {PASSPHRASE_CHARS_MIN} characters");
            Err(weak(what, "choose a longer one, best of several random words"))
        }
        Unlock::KeyFile(bytes) if !(KEY_FILE_BYTES_MIN..=KEY_FILE_BYTES_MAX).contains(&bytes.len()) => {
            let what = format!(
                "is not sealed: the key file has {} bytes, not {KEY_FILE_BYTES_MIN} to {KEY_FILE_BYTES_MAX}",
                bytes.len()
            );
            Err(weak(what, "make one with `head -c 32 /dev/urandom > KEYFILE`"))
        }
        _ => Ok(()),
    }
}
