//! The files of a group: what people, leaders and operators keep on disk.
//!
//! | file | for whom | made by |
//! |---|---|---|
//! | `group.toml` | everybody, public | [`init`] |
//! | `leader-N/` | one leader, secret | [`init`], [`LeaderFolder`] |
//! | `making.toml` | one leader before there is a group, secret | [`Making`] |
//! | `leader-N.introduction` | the other operators, public | [`Making`], [`write_introduction`] |
//! | `USER.leader-N.record` | one leader's operator, sealed | [`write_records`] |
//! | a membership log, a receipt | one user; whom it may concern | [`LogOptions`], [`write_proof`] |
//! | a user's key, a certificate | one user | [`create_user_key`], [`write_certificate`] |
//!
//! What is secret has mode 0600, its folder 0700, from the moment it exists; a secret that others
//! can get at is not used. Each file appears complete and durable or not at all, and nothing is
//! ever replaced but a secret by its sealed form and back. Whatever is read is bounded before it is
//! parsed, and unknown fields are refused. Errors name the file, say what is wrong with it and what to do.

mod backup;
mod disk;
mod enrolment;
mod error;
mod group;
mod inbox;
mod introduction;
mod leader_folder;
mod making;
mod membership_log;
mod policy;
mod renewal;
mod sealing;
mod setup;
#[cfg(test)]
mod tests;
mod text;
pub mod texts;
mod user_key;
mod users;

pub use backup::{FolderState, back_up, check, check_backup, rebuild, restore};
pub use enrolment::{Candidate, Known, accept, accept_with, look_at_record, read_record, write_records};
pub use error::{FileError, FileErrorKind};
pub use group::{
    ADDRESS_BYTES_MAX, GROUP_FILE, GROUP_NAME_BYTES_MAX, check_address, check_fingerprint, is_loopback, read_group,
    write_group,
};
pub use inbox::{
    INBOX, Inbox, OperatorRequest, REQUESTS_READ_MAX, REQUESTS_WAITING_MAX, RenewalOrder, Waiting, drop_record,
    drop_request, read_requests, take_requests,
};
pub use introduction::{read_introduction, write_introduction};
pub use leader_folder::{FolderLock, LeaderFolder, OpenLeader, RecordOpener, SECRETS_FILE, STATE_FOLDER, STORE_FILE};
pub use making::{MAKING_FILE, Making, NewLeader, read_evidence};
pub(crate) use membership_log::LogFile;
pub use membership_log::{LOG_BYTES_MAX, LogOptions, read_proof, write_proof};
pub use policy::read_policy;
pub(crate) use renewal::{keep_renewal, read_renewal};
pub use renewal::{pack, take_place};
pub use sealing::{KEY_FILE_BYTES_MAX, KEY_FILE_BYTES_MIN, PASSPHRASE_CHARS_MIN, Unlock};
pub use setup::{InitOptions, InitSummary, init};
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
