//! The policy in words a person reads: a section of the group file, and a file of its own for setup.

use std::path::Path;

use ringfort_protocol::Policy;
use ringfort_protocol::policy::{Origin, Protection, Service, WhenStale};
use ringfort_protocol::roles::{Role, RoleRule, Users};
use serde::{Deserialize, Serialize};

use super::disk::{Access, read_text};
use super::error::FileError;
use super::text::{Hex, parse_free};

const POLICY_BYTES_MAX: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(remote = "Protection", rename_all = "kebab-case")]
enum ProtectionWord {
    None,
    Integrity,
    Confidential,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Origin", rename_all = "kebab-case")]
enum OriginWord {
    Group,
    Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Service", rename_all = "kebab-case")]
enum ServiceWord {
    BestEffort,
    Reliable,
    Fifo,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "WhenStale", rename_all = "kebab-case")]
enum WhenStaleWord {
    Continue,
    StopSending,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Role", rename_all = "kebab-case")]
enum RoleWord {
    Member,
    Receiver,
    Sender,
    Archive,
}

/// Which users have which role.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleSection {
    #[serde(with = "users_text")]
    users: Users,
    #[serde(with = "RoleWord")]
    role: Role,
}

/// A name, or the beginning of names with a star.
mod users_text {
    use ringfort_protocol::roles::Users;
    use serde::Serializer;

    pub(super) use super::super::text::from_text as deserialize;

    pub(super) fn serialize<S: Serializer>(users: &Users, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(users.as_str())
    }
}

impl From<RoleSection> for RoleRule {
    fn from(RoleSection { users, role }: RoleSection) -> Self {
        RoleRule { users, role }
    }
}

impl From<RoleRule> for RoleSection {
    fn from(RoleRule { users, role }: RoleRule) -> Self {
        RoleSection { users, role }
    }
}

/// Both forms of the document, with the same fields as [`Policy`].
macro_rules! policy_document {
    ($(#[$attribute:meta])* $name:ident) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        $(#[$attribute])*
        pub(super) struct $name {
            #[serde(with = "ProtectionWord")]
            protection: Protection,
            #[serde(with = "OriginWord")]
            origin: Origin,
            #[serde(with = "ServiceWord")]
            service: Service,
            relays: u8,
            rekey_period_ms: u32,
            overlap_ms: u32,
            heartbeat_ms: u32,
            confirm_within_ms: u32,
            remove_silent_after_ms: u32,
            #[serde(with = "WhenStaleWord")]
            when_stale: WhenStale,
            members_max: u32,
            message_bytes_max: u32,
            history_frames_max: u32,
            history_bytes_max: u32,
            login_attempts_per_minute: u32,
            argon2_memory_kib: u32,
            argon2_passes: u32,
            authorities: Vec<Hex<32>>,
            // Not written where it is not used, so that files from before it say the same as ever.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            role: Vec<RoleSection>,
        }

        impl From<$name> for Policy {
            fn from(document: $name) -> Self {
                let $name {
                    protection, origin, service, relays, rekey_period_ms, overlap_ms, heartbeat_ms,
                    confirm_within_ms, remove_silent_after_ms, when_stale, members_max, message_bytes_max,
                    history_frames_max, history_bytes_max, login_attempts_per_minute, argon2_memory_kib,
                    argon2_passes, authorities, role,
                } = document;
                let authorities = authorities.into_iter().map(|key| key.0).collect();
                let roles = role.into_iter().map(RoleRule::from).collect();
                Policy {
                    protection, origin, service, relays, rekey_period_ms, overlap_ms, heartbeat_ms,
                    confirm_within_ms, remove_silent_after_ms, when_stale, members_max, message_bytes_max,
                    history_frames_max, history_bytes_max, login_attempts_per_minute, argon2_memory_kib,
                    argon2_passes, authorities, roles,
                }
            }
        }

        impl From<&Policy> for $name {
            fn from(policy: &Policy) -> Self {
                let Policy {
                    protection, origin, service, relays, rekey_period_ms, overlap_ms, heartbeat_ms,
                    confirm_within_ms, remove_silent_after_ms, when_stale, members_max, message_bytes_max,
                    history_frames_max, history_bytes_max, login_attempts_per_minute, argon2_memory_kib,
                    argon2_passes, authorities, roles,
                } = policy.clone();
                let authorities = authorities.into_iter().map(Hex).collect();
                let role = roles.into_iter().map(RoleSection::from).collect();
                $name {
                    protection, origin, service, relays, rekey_period_ms, overlap_ms, heartbeat_ms,
                    confirm_within_ms, remove_silent_after_ms, when_stale, members_max, message_bytes_max,
                    history_frames_max, history_bytes_max, login_attempts_per_minute, argon2_memory_kib,
                    argon2_passes, authorities, role,
                }
            }
        }
    };
}

policy_document! {
    /// In a group file every field is written out: what is missing has been taken out.
    PolicySection
}

policy_document! {
    /// In a policy file every field is optional.
    #[serde(default)]
    PolicyFile
}

impl Default for PolicyFile {
    fn default() -> Self {
        PolicyFile::from(&Policy::default())
    }
}

/// Reads a policy for a new group. A field that is left out has its default.
pub fn read_policy(path: &Path) -> Result<Policy, FileError> {
    parse_policy(path, &read_text(path, POLICY_BYTES_MAX, Access::Public)?)
}

pub(super) fn parse_policy(path: &Path, text: &str) -> Result<Policy, FileError> {
    let document: PolicyFile = parse_free(path, text, "a policy", Access::Public)?;
    let policy = Policy::from(document);
    check_policy(path, &policy)?;
    Ok(policy)
}

/// The policy's own bounds, and that the authorities are keys.
pub(super) fn check_policy(path: &Path, policy: &Policy) -> Result<(), FileError> {
    policy.check().map_err(|error| FileError::malformed(path, error, "correct this value"))?;
    for (position, key) in policy.authorities.iter().enumerate() {
        ringfort_crypto::sign::VerifyingKey::from_bytes(key).map_err(|_| {
            let what = format!("authority {position} of the policy is not an Ed25519 key");
            FileError::malformed(path, what, "correct this value")
        })?;
    }
    Ok(())
}
