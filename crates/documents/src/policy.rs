//! The policy in words a person reads: a section of the group file, and a file of its own for setup.

use std::path::Path;

use ringfort_protocol::Policy;
use ringfort_protocol::policy::{MembersVote, Origin, Protection, Service, WhenStale, Window};
use ringfort_protocol::roles::{Role, RoleRule, Users};
use serde::{Deserialize, Serialize};

use crate::disk::{Access, read_text};
use crate::error::FileError;
use crate::text::{Hex, parse_free};

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

    pub use crate::text::from_text as deserialize;

    pub fn serialize<S: Serializer>(users: &Users, serializer: S) -> Result<S::Ok, S::Error> {
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

/// A time in which users may come in.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowSection {
    from_unix_s: u64,
    length_s: u32,
    #[serde(default)]
    every_s: u32,
}

impl From<WindowSection> for Window {
    fn from(WindowSection { from_unix_s, length_s, every_s }: WindowSection) -> Self {
        Window { from_unix_s, length_s, every_s }
    }
}

impl From<Window> for WindowSection {
    fn from(Window { from_unix_s, length_s, every_s }: Window) -> Self {
        WindowSection { from_unix_s, length_s, every_s }
    }
}

/// What silence in a vote means.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SilenceWord {
    No,
    Yes,
}

/// How members vote.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VoteSection {
    percent: u8,
    wait_s: u32,
    silence: SilenceWord,
}

impl From<VoteSection> for MembersVote {
    fn from(VoteSection { percent, wait_s, silence }: VoteSection) -> Self {
        MembersVote { percent, wait_s, silence_is_yes: matches!(silence, SilenceWord::Yes) }
    }
}

impl From<MembersVote> for VoteSection {
    fn from(MembersVote { percent, wait_s, silence_is_yes }: MembersVote) -> Self {
        let silence = if silence_is_yes { SilenceWord::Yes } else { SilenceWord::No };
        VoteSection { percent, wait_s, silence }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_off(switch: &bool) -> bool {
    !switch
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_never(seconds: &u32) -> bool {
    *seconds == 0
}

/// Both forms of the document, with the same fields as [`Policy`].
macro_rules! policy_document {
    ($(#[$attribute:meta])* $name:ident) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        $(#[$attribute])*
        pub struct $name {
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
            // Not written where they are not used, so that files from before them say the same as ever.
            #[serde(default, skip_serializing_if = "is_never")]
            stay_s_max: u32,
            #[serde(default, skip_serializing_if = "is_off")]
            expel_on_evidence: bool,
            #[serde(default, skip_serializing_if = "is_off")]
            order: bool,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            admission_vote: Option<VoteSection>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            expulsion_vote: Option<VoteSection>,
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            admission: Vec<WindowSection>,
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            role: Vec<RoleSection>,
        }

        impl From<$name> for Policy {
            fn from(document: $name) -> Self {
                let $name {
                    protection, origin, service, relays, rekey_period_ms, overlap_ms, heartbeat_ms,
                    confirm_within_ms, remove_silent_after_ms, when_stale, members_max, message_bytes_max,
                    history_frames_max, history_bytes_max, login_attempts_per_minute, argon2_memory_kib,
                    argon2_passes, authorities, admission, stay_s_max, expel_on_evidence, order, admission_vote, expulsion_vote, role,
                } = document;
                let authorities = authorities.into_iter().map(|key| key.0).collect();
                let admission = admission.into_iter().map(Window::from).collect();
                let (admission_vote, expulsion_vote) =
                    (admission_vote.map(MembersVote::from), expulsion_vote.map(MembersVote::from));
                let roles = role.into_iter().map(RoleRule::from).collect();
                Policy {
                    protection, origin, service, relays, rekey_period_ms, overlap_ms, heartbeat_ms,
                    confirm_within_ms, remove_silent_after_ms, when_stale, members_max, message_bytes_max,
                    history_frames_max, history_bytes_max, login_attempts_per_minute, argon2_memory_kib,
                    argon2_passes, authorities, admission, stay_s_max, expel_on_evidence, order, admission_vote, expulsion_vote, roles,
                }
            }
        }

        impl From<&Policy> for $name {
            fn from(policy: &Policy) -> Self {
                let Policy {
                    protection, origin, service, relays, rekey_period_ms, overlap_ms, heartbeat_ms,
                    confirm_within_ms, remove_silent_after_ms, when_stale, members_max, message_bytes_max,
                    history_frames_max, history_bytes_max, login_attempts_per_minute, argon2_memory_kib,
                    argon2_passes, authorities, admission, stay_s_max, expel_on_evidence, order, admission_vote, expulsion_vote, roles,
                } = policy.clone();
                let authorities = authorities.into_iter().map(Hex).collect();
                let admission = admission.into_iter().map(WindowSection::from).collect();
                let (admission_vote, expulsion_vote) =
                    (admission_vote.map(VoteSection::from), expulsion_vote.map(VoteSection::from));
                let role = roles.into_iter().map(RoleSection::from).collect();
                $name {
                    protection, origin, service, relays, rekey_period_ms, overlap_ms, heartbeat_ms,
                    confirm_within_ms, remove_silent_after_ms, when_stale, members_max, message_bytes_max,
                    history_frames_max, history_bytes_max, login_attempts_per_minute, argon2_memory_kib,
                    argon2_passes, authorities, admission, stay_s_max, expel_on_evidence, order, admission_vote, expulsion_vote, role,
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

/// As [`read_policy`], from a text in memory. Errors name `path`.
pub fn parse_policy(path: &Path, text: &str) -> Result<Policy, FileError> {
    let document: PolicyFile = parse_free(path, text, "a policy", Access::Public)?;
    let policy = Policy::from(document);
    check_policy(path, &policy)?;
    Ok(policy)
}

/// The policy's own bounds, and that the authorities are keys.
pub fn check_policy(path: &Path, policy: &Policy) -> Result<(), FileError> {
    policy.check().map_err(|error| FileError::malformed(path, error, "correct this value"))?;
    for (position, key) in policy.authorities.iter().enumerate() {
        ringfort_crypto::sign::VerifyingKey::from_bytes(key).map_err(|_| {
            let what = format!("authority {position} of the policy is not an Ed25519 key");
            FileError::malformed(path, what, "correct this value")
        })?;
    }
    Ok(())
}
