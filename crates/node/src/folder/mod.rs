//! The folder of a leader, and what operators bring to it.
//!
//! | file | for whom | made by |
//! |---|---|---|
//! | `leader-N/` | one leader, secret | [`init`], [`LeaderFolder`] |
//! | `making.toml` | one leader before there is a group, secret | [`Making`] |
//! | `USER.leader-N.record` | one leader's operator, sealed | [`write_records`] |
//!
//! The rules of [`ringfort_documents`] hold here as well.

mod backup;
mod enrolment;
mod inbox;
mod leader_folder;
mod making;
mod renewal;
mod setup;
#[cfg(test)]
mod tests;
pub mod texts;

pub use backup::{FolderState, back_up, check, check_backup, rebuild, restore};
pub use enrolment::{Candidate, Known, accept, accept_with, look_at_record, read_record, write_records};
pub use inbox::{
    INBOX, Inbox, OperatorRequest, REQUESTS_READ_MAX, REQUESTS_WAITING_MAX, RenewalOrder, Waiting, drop_record,
    drop_request, read_requests, take_requests,
};
pub use leader_folder::{FolderLock, LeaderFolder, OpenLeader, RecordOpener, SECRETS_FILE, STATE_FOLDER, STORE_FILE};
pub use making::{MAKING_FILE, Making, NewLeader, read_evidence};
pub(crate) use renewal::{keep_renewal, read_renewal};
pub use renewal::{pack, take_place};
pub use setup::{InitOptions, InitSummary, init};
