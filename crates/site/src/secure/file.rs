//! The peer file: what all members of a secure group have agreed on beforehand. It is public, and the same for all.
//!
//! ```toml
//! group = "talk"
//! keys = "tgdh"            # or "gdh", "ckd"
//! signed = false           # every message carries its sender's signature
//! patience_seconds = 10    # how long a member is waited for
//! refresh_minutes = 60     # how long a key is used; 0: until somebody asks or the members change
//!
//! [[member]]
//! name = "ana"
//! key = "5c1f…"            # 64 hexadecimal digits, printed by `ringfort peer key`
//! role = "officer"         # what rules and windows are about; may be left out
//!
//! [[authority]]            # whose certificates (`ringfort peer certify`) let others in
//! name = "plant"
//! key = "77e0…"
//! revoked = ["02c4…"]      # certificates that do not count any more: 32 hexadecimal digits each
//!
//! [[window]]               # observers are in from a moment on for an hour, again every day (0: once)
//! role = "observer"
//! from_unix_s = 1795420800
//! length_s = 3600
//! every_s = 86400
//!
//! [[rule]]                 # observers are in only while at least one officer is
//! role = "observer"
//! only_while = "officer"
//! at_least = 1
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use ringfort_crypto::sign::VerifyingKey;
use ringfort_documents::FileError;
use ringfort_documents::disk::{Access, write_new};
use ringfort_peer_keys::ids::MEMBERS_MAX;
use ringfort_peer_keys::{KeyProtocol, Policy};
use serde::{Deserialize, Serialize};

use self::admission::{Authority, RuleSection, WindowSection};
use crate::client::group;

mod admission;
pub mod certificate;

/// The largest peer file that is read, bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The longest name of a member.
const NAME_CHARS_MAX: usize = 64;

/// Why a peer file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PeerFileError {
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It cannot be written.
    #[error(transparent)]
    Unwritten(FileError),
    /// It is none.
    #[error("{path} is no peer file: {what}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It is no certificate.
    #[error("{path} is no certificate: {what}")]
    Certificate {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// What it is to say makes no group.
    #[error("{0}")]
    Policy(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    group: String,
    #[serde(default)]
    keys: Protocol,
    #[serde(default)]
    signed: bool,
    #[serde(default = "default_patience")]
    patience_seconds: u64,
    #[serde(default = "default_refresh")]
    refresh_minutes: u64,
    #[serde(rename = "member", default)]
    members: Vec<Member>,
    #[serde(rename = "authority", default, skip_serializing_if = "Vec::is_empty")]
    authorities: Vec<Authority>,
    #[serde(rename = "window", default, skip_serializing_if = "Vec::is_empty")]
    windows: Vec<WindowSection>,
    #[serde(rename = "rule", default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<RuleSection>,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    #[default]
    Tgdh,
    Gdh,
    Ckd,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    name: String,
    key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    role: String,
}

fn default_patience() -> u64 {
    10
}

fn default_refresh() -> u64 {
    60
}

/// A policy of these members.
///
/// # Errors
/// When they make no group: a name twice, a key twice, nobody, or a group's name that is none.
pub fn policy(group_name: &str, members: &[(String, VerifyingKey)]) -> Result<Policy, PeerFileError> {
    let wrong = |what: String| Err(PeerFileError::Policy(what));
    if group(group_name).is_err() || group_name.chars().any(char::is_control) {
        return wrong(format!("`{group_name}` is no name for a group: use 1 to 31 bytes, and no `#` in front"));
    }
    if members.len() > MEMBERS_MAX {
        return wrong(format!("a group has at most {MEMBERS_MAX} members, not {}", members.len()));
    }
    let mut admitted = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (name, key) in members {
        let named = !name.trim().is_empty() && name.chars().count() <= NAME_CHARS_MAX;
        if !named || name.chars().any(char::is_control) {
            return wrong(format!("{name:?} is no name for a member: use 1 to {NAME_CHARS_MAX} printable characters"));
        }
        if !names.insert(name.clone()) {
            return wrong(format!("`{name}` is in it twice: each member has a name of its own"));
        }
        if let Some(other) = admitted.insert(key.to_bytes(), name.clone()) {
            return wrong(format!("`{other}` and `{name}` have the same key: each member makes its own"));
        }
    }
    Ok(Policy::new(group_name, admitted))
}

/// Reads a peer file.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn read(path: &Path) -> Result<Policy, PeerFileError> {
    let io_error = |error| PeerFileError::Io { path: path.to_owned(), error };
    let malformed = |what: String| PeerFileError::Malformed { path: path.to_owned(), what };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(io_error)?;
    match file.take(FILE_BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(malformed("it is no text".to_owned())),
        Err(error) => return Err(io_error(error)),
    }
    let document: Document = toml::from_str(&text).map_err(|error| malformed(error.message().to_owned()))?;
    let admission = admission::read(&document).map_err(malformed)?;
    let mut members = Vec::new();
    for Member { name, key, .. } in &document.members {
        members.push((name.clone(), admission::key(name, key).map_err(malformed)?));
    }
    if members.is_empty() && admission.authorities.is_empty() {
        return Err(malformed("it names neither a member nor an authority: nobody could be in the group".to_owned()));
    }
    let found = policy(&document.group, &members).map_err(|error| malformed(error.to_string()))?;
    if document.patience_seconds == 0 || document.patience_seconds > 3600 {
        return Err(malformed("`patience_seconds` is not between 1 and 3600".to_owned()));
    }
    Ok(Policy {
        protocol: match document.keys {
            Protocol::Tgdh => KeyProtocol::Tgdh,
            Protocol::Gdh => KeyProtocol::Gdh,
            Protocol::Ckd => KeyProtocol::Ckd,
        },
        admission,
        signed: document.signed,
        patience: Duration::from_secs(document.patience_seconds),
        refresh_every: Duration::from_secs(document.refresh_minutes.min(1_000_000) * 60),
        ..found
    })
}

/// Writes a policy to a new peer file.
///
/// # Errors
/// When there is such a file, or it cannot be written.
pub fn write(path: &Path, policy: &Policy) -> Result<(), PeerFileError> {
    let role = |key: &[u8; 32]| policy.admission.roles.get(key).cloned().unwrap_or_default();
    let member =
        |(key, name): (&[u8; 32], &String)| Member { name: name.clone(), key: HEXLOWER.encode(key), role: role(key) };
    let mut members: Vec<Member> = policy.admitted.iter().map(member).collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let (authorities, windows, rules) = admission::sections(&policy.admission);
    let document = Document {
        group: policy.group.clone(),
        keys: match policy.protocol {
            KeyProtocol::Tgdh => Protocol::Tgdh,
            KeyProtocol::Gdh => Protocol::Gdh,
            KeyProtocol::Ckd => Protocol::Ckd,
        },
        signed: policy.signed,
        patience_seconds: policy.patience.as_secs(),
        refresh_minutes: policy.refresh_every.as_secs() / 60,
        members,
        authorities,
        windows,
        rules,
    };
    let text = toml::to_string(&document).map_err(|error| PeerFileError::Policy(error.to_string()))?;
    write_new(path, text.as_bytes(), Access::Public).map_err(PeerFileError::Unwritten)
}

/// What people compare: all members of a group have the same.
pub fn fingerprint(policy: &Policy) -> String {
    let digest = policy.digest();
    let short = digest.first_chunk::<16>().map(|bytes| HEXLOWER.encode(bytes)).unwrap_or_default();
    let words: Vec<&str> = (0..8).filter_map(|word| short.get(word * 4..word * 4 + 4)).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use ringfort_crypto::Secret32;
    use ringfort_crypto::sign::SigningKey;
    use ringfort_peer_keys::Admission;
    use ringfort_peer_keys::admission::{PresenceRule, Window};

    use ringfort_documents::FileErrorKind;

    use super::*;

    fn key(n: u8) -> VerifyingKey {
        SigningKey::from_secret(&Secret32::new([n; 32])).verifying_key()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.toml");
        let members = [("ben".to_owned(), key(1)), ("ana".to_owned(), key(2))];
        let admission = Admission {
            authorities: [(key(8).to_bytes(), "plant".to_owned())].into(),
            revoked: [[3; 16]].into(),
            roles: [(key(1).to_bytes(), "officer".to_owned())].into(),
            windows: vec![Window { role: "observer".to_owned(), from_unix_s: 7, length_s: 8, every_s: 9 }],
            rules: vec![PresenceRule { role: "observer".to_owned(), only_while: "officer".to_owned(), at_least: 2 }],
        };
        let made = Policy {
            protocol: KeyProtocol::Gdh,
            admission,
            signed: true,
            patience: Duration::from_secs(3),
            refresh_every: Duration::from_secs(120),
            ..policy("talk", &members).unwrap()
        };
        write(&path, &made).unwrap();
        assert_eq!(read(&path).unwrap(), made);
        assert!(
            matches!(write(&path, &made), Err(PeerFileError::Unwritten(error)) if error.kind() == FileErrorKind::Exists)
        );
        assert_eq!(fingerprint(&made).len(), 39);
    }

    #[test]
    fn what_makes_no_group_is_told_in_a_sentence() {
        let two = |a: (&str, u8), b: (&str, u8)| {
            let members = [(a.0.to_owned(), key(a.1)), (b.0.to_owned(), key(b.1))];
            policy("talk", &members).unwrap_err().to_string()
        };
        assert!(two(("ana", 1), ("ana", 2)).contains("twice"));
        assert!(two(("ana", 1), ("ben", 1)).contains("same key"));
        assert!(two(("ana", 1), ("", 2)).contains("no name for a member"));
        assert!(
            policy("#talk", &[("ana".to_owned(), key(1))]).unwrap_err().to_string().contains("no name for a group")
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.toml");
        let good = format!(
            "group = \"talk\"\n[[member]]\nname = \"ana\"\nkey = \"{}\"\n",
            HEXLOWER.encode(&key(1).to_bytes())
        );
        for (text, part) in [
            ("group = 1", "invalid type"),
            (&good.replace("talk", "talk\"\nkeys = \"rsa"), "unknown variant"),
            (&good.replace("key = \"", "key = \"zz"), "64 hexadecimal digits"),
            (&good.replace("group", "grupo"), "unknown field"),
            (&format!("patience_seconds = 0\n{good}"), "patience_seconds"),
            ("group = \"talk\"\n", "nobody could be in the group"),
            (&format!("{good}[[window]]\nrole = \"x\"\nfrom_unix_s = 1\nlength_s = 0\n"), "never opens"),
            (&format!("{good}[[rule]]\nrole = \"x\"\nonly_while = \"\"\n"), "no name for a role"),
            (&format!("{good}[[authority]]\nname = \"p\"\nkey = \"\"\n"), "64 hexadecimal digits"),
        ] {
            fs::write(&path, text).unwrap();
            let told = read(&path).unwrap_err().to_string();
            assert!(told.contains(part), "{told}");
        }
        fs::write(&path, good).unwrap();
        assert_eq!(read(&path).unwrap().protocol, KeyProtocol::Tgdh);
    }
}
