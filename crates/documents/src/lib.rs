//! The documents of a group: what people keep on disk and send one another.
//!
//! | file | for whom | made by |
//! |---|---|---|
//! | `group.toml` | everybody, public | [`write_group`] |
//! | `leader-N.introduction` | the other operators, public | [`write_introduction`] |
//! | a membership log, a receipt | one user; whom it may concern | [`LogOptions`], [`write_proof`] |
//! | a user's key, a certificate | one user | [`create_user_key`], [`write_certificate`] |
//!
//! What is secret has mode 0600, its folder 0700, from the moment it exists; a secret that others
//! can get at is not used. Each file appears complete and durable or not at all, and nothing is
//! ever replaced but a secret by its sealed form and back. Whatever is read is bounded before it is
//! parsed, and unknown fields are refused. Errors name the file, say what is wrong with it and what to do.

pub mod disk;
mod error;
pub mod group;
pub mod introduction;
mod membership_log;
pub mod password;
pub mod policy;
pub mod seal;
pub mod sealing;
pub mod text;
pub mod texts;
pub mod user_key;
pub mod users;

pub use error::{FileError, FileErrorKind};
pub use group::{
    ADDRESS_BYTES_MAX, GROUP_FILE, GROUP_NAME_BYTES_MAX, check_address, check_fingerprint, is_loopback, read_group,
    write_group,
};
pub use introduction::{read_introduction, write_introduction};
pub use membership_log::{LOG_BYTES_MAX, LogFile, LogOptions, read_proof, write_proof};
pub use policy::read_policy;
pub use sealing::{KEY_FILE_BYTES_MAX, KEY_FILE_BYTES_MIN, PASSPHRASE_CHARS_MIN, Unlock};
pub use user_key::{
    create_user_key, parse_public_key, public_key_text, read_certificate, read_user_key, write_certificate,
};
pub use users::{NewSecret, NewUser, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, read_users};

/// The operating system's random numbers.
pub type OsRng = rand_core::UnwrapErr<getrandom::SysRng>;

/// The operating system's random numbers: no state of our own to leak or to repeat.
///
/// # Panics
/// In use, where the system has none to give: then nothing could be kept secret.
pub fn os_rng() -> OsRng {
    rand_core::UnwrapErr(getrandom::SysRng)
}
