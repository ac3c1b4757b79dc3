//! The files as texts that are in memory already: the same decoders and the same encoders, without a disk.
//!
//! Where a file is read, its size is bounded first; here the caller has the text, and with it the bound.

use std::path::Path;

use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::group::LeaderSecrets;
use ringfort_protocol::introduction::Introduction;
use ringfort_protocol::login::{Certificate, EnrolmentRecord};
use ringfort_protocol::{GroupInfo, Policy};
use zeroize::Zeroizing;

use super::error::FileError;
use super::inbox::OperatorRequest;
use super::users::NewUser;
use super::{enrolment, group, inbox, introduction, leader_folder, policy, user_key, users};

/// What errors name in place of a file.
fn nowhere() -> &'static Path {
    Path::new("text")
}

/// As [`super::read_group`].
pub fn group(text: &str) -> Result<GroupInfo, FileError> {
    group::parse_group(nowhere(), text)
}

/// What [`group`] reads.
pub fn group_text(group: &GroupInfo) -> Result<String, FileError> {
    group::group_text(nowhere(), group)
}

/// As [`super::read_policy`].
pub fn policy(text: &str) -> Result<Policy, FileError> {
    policy::parse_policy(nowhere(), text)
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

/// As [`super::read_users`].
pub fn users(text: &str) -> Result<Vec<NewUser>, FileError> {
    users::parse_users(nowhere(), text)
}

/// As [`super::read_certificate`].
pub fn certificate(text: &str) -> Result<Certificate, FileError> {
    user_key::parse_certificate(nowhere(), text)
}

/// What [`certificate`] reads.
pub fn certificate_text(certificate: &Certificate) -> Result<String, FileError> {
    user_key::certificate_text(nowhere(), certificate)
}

/// As [`super::read_user_key`].
pub fn user_key(text: &str) -> Result<SigningKey, FileError> {
    user_key::parse_user_key(nowhere(), text)
}

/// What [`user_key`] reads. Secret.
pub fn user_key_text(key: &SigningKey) -> Zeroizing<String> {
    user_key::user_key_text(key)
}

/// As [`super::read_introduction`].
pub fn introduction(text: &str) -> Result<Introduction, FileError> {
    introduction::parse_introduction(nowhere(), text)
}

/// What [`introduction`] reads.
pub fn introduction_text(introduction: &Introduction) -> Result<String, FileError> {
    introduction::introduction_text(nowhere(), introduction)
}
