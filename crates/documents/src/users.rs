//! The users that a setup registers: `--users FILE`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use ringfort_crypto::sign::VerifyingKey;
use ringfort_protocol::UserName;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::disk::{Access, read_text};
use crate::error::FileError;
use crate::password::prepare;
use crate::text::{Hex, SecretText, from_text, parse_free};

const USERS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The shortest password a setup accepts, in characters.
pub const PASSWORD_CHARS_MIN: usize = 8;

/// The longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// What a new user will log in with.
#[derive(Clone)]
pub enum NewSecret {
    /// A password.
    Password(Zeroizing<String>),
    /// The public half of a key that the user made.
    Key(VerifyingKey),
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NewSecret::Password(_) => "NewSecret::Password(redacted)",
            NewSecret::Key(_) => "NewSecret::Key",
        })
    }
}

/// A user to register.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Who.
    pub name: UserName,
    /// Proves it.
    pub secret: NewSecret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    user: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(deserialize_with = "from_text")]
    name: UserName,
    password: Option<SecretText>,
    key: Option<Hex<32>>,
}

/// Reads a list of `[[user]]`, each with `name` and either `password` or `key` (hexadecimal).
///
/// It may hold passwords, so it must be readable by its owner alone.
pub fn read_users(path: &Path) -> Result<Vec<NewUser>, FileError> {
    parse_users(path, &read_text(path, USERS_BYTES_MAX, Access::Secret)?)
}

/// As [`read_users`], from a text in memory. Errors name `path`.
pub fn parse_users(path: &Path, text: &str) -> Result<Vec<NewUser>, FileError> {
    let document: Document = parse_free(path, text, "a list of users", Access::Secret)?;
    let mut users = Vec::new();
    for Entry { name, password, key } in document.user {
        let secret = match (password, key) {
            (Some(SecretText(password)), None) => NewSecret::Password(prepare(&password)),
            (None, Some(Hex(key))) => NewSecret::Key(VerifyingKey::from_bytes(&key).map_err(|_| {
                let what = format!("the key of user {name} is not an Ed25519 key");
                FileError::malformed(path, what, "ask the user for it again")
            })?),
            _ => {
                let what = format!("user {name} needs either a password or a key");
                return Err(FileError::malformed(path, what, "give one of them"));
            }
        };
        users.push(NewUser { name, secret });
    }
    check_users(path, &users)?;
    Ok(users)
}

/// One entry per user, and passwords that are some work to guess.
pub fn check_users(path: &Path, users: &[NewUser]) -> Result<(), FileError> {
    let mut seen = BTreeSet::new();
    for NewUser { name, secret } in users {
        if !seen.insert(name) {
            return Err(FileError::malformed(path, format!("user {name} is listed twice"), "list each user once"));
        }
        if let NewSecret::Password(password) = secret
            && (password.chars().count() < PASSWORD_CHARS_MIN || password.len() > PASSWORD_BYTES_MAX)
        {
            let what = format!(
                "the password of user {name} must have at least {PASSWORD_CHARS_MIN} characters \
                 and at most {PASSWORD_BYTES_MAX} bytes"
            );
            return Err(FileError::malformed(path, what, "choose another password"));
        }
    }
    Ok(())
}
