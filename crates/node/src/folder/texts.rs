//! As [`ringfort_documents::texts`], of what leaders and operators keep.

use std::path::Path;

use ringfort_documents::FileError;
use ringfort_protocol::GroupInfo;
use ringfort_protocol::group::LeaderSecrets;
use ringfort_protocol::login::EnrolmentRecord;
use zeroize::Zeroizing;

use super::inbox::OperatorRequest;
use super::{enrolment, inbox, leader_folder};

/// What errors name in place of a file.
fn nowhere() -> &'static Path {
    Path::new("text")
}

/// A leader's secrets, checked against the group beside them.
pub fn leader_secrets(text: &str, group: &GroupInfo) -> Result<LeaderSecrets, FileError> {
    leader_folder::parse_secrets(nowhere(), text, group)
}

/// What [`leader_secrets`] reads. Secret.
pub fn leader_secrets_text(group: &GroupInfo, secrets: &LeaderSecrets) -> Zeroizing<String> {
    leader_folder::secrets_text(group, secrets)
}

/// As [`super::read_record`].
pub fn record(text: &str) -> Result<EnrolmentRecord, FileError> {
    enrolment::unarmour(nowhere(), text)
}

/// What [`record`] reads.
pub fn record_text(record: &EnrolmentRecord) -> String {
    enrolment::armour(record)
}

/// A request in a leader's inbox.
pub fn request(text: &str) -> Result<OperatorRequest, FileError> {
    inbox::parse_request(nowhere(), text)
}

/// What [`request`] reads.
pub fn request_text(request: &OperatorRequest) -> Result<String, FileError> {
    inbox::request_text(nowhere(), request)
}
