//! The documents as texts that are in memory already: the same decoders and the same encoders, without a disk.
//!
//! Where a file is read, its size is bounded first; here the caller has the text, and with it the bound.

use std::path::Path;

use ringfort_crypto::sign::SigningKey;
use ringfort_protocol::introduction::Introduction;
use ringfort_protocol::login::Certificate;
use ringfort_protocol::{GroupInfo, Policy};
use zeroize::Zeroizing;

use crate::error::FileError;
use crate::users::NewUser;
use crate::{group, introduction, policy, user_key, users};

/// What errors name in place of a file.
fn nowhere() -> &'static Path {
    Path::new("text")
}

/// As [`crate::read_group`].
pub fn group(text: &str) -> Result<GroupInfo, FileError> {
    group::parse_group(nowhere(), text)
}

/// What [`group`] reads.
pub fn group_text(group: &GroupInfo) -> Result<String, FileError> {
    group::group_text(nowhere(), group)
}

/// As [`crate::read_policy`].
pub fn policy(text: &str) -> Result<Policy, FileError> {
    policy::parse_policy(nowhere(), text)
}

/// As [`crate::read_users`].
pub fn users(text: &str) -> Result<Vec<NewUser>, FileError> {
    users::parse_users(nowhere(), text)
}

/// As [`crate::read_certificate`].
pub fn certificate(text: &str) -> Result<Certificate, FileError> {
    user_key::parse_certificate(nowhere(), text)
}

/// What [`certificate`] reads.
pub fn certificate_text(certificate: &Certificate) -> Result<String, FileError> {
    user_key::certificate_text(nowhere(), certificate)
}

/// As [`crate::read_user_key`].
pub fn user_key(text: &str) -> Result<SigningKey, FileError> {
    user_key::parse_user_key(nowhere(), text)
}

/// What [`user_key`] reads. Secret.
pub fn user_key_text(key: &SigningKey) -> Zeroizing<String> {
    user_key::user_key_text(key)
}

/// As [`crate::read_introduction`].
pub fn introduction(text: &str) -> Result<Introduction, FileError> {
    introduction::parse_introduction(nowhere(), text)
}

/// What [`introduction`] reads.
pub fn introduction_text(introduction: &Introduction) -> Result<String, FileError> {
    introduction::introduction_text(nowhere(), introduction)
}
