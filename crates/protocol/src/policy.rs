//! The group's policy: one typed document, fixed at setup, told to members with the group
//! file and bound into every view (A22, B8, I2, I8).

use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::hash::digest;

use crate::codec::encode;
use crate::roles::{ROLES_MAX, Role, RoleRule};

/// How application messages are protected (C3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Protection {
    /// Sent as they are. For public material only.
    None = 0,
    /// Readable by anybody on the way, alterable by nobody.
    Integrity = 1,
    /// Readable and alterable by nobody outside the view.
    Confidential = 2,
}

/// What a receiver knows about a message's sender (K3, K25).
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Origin {
    /// Some member of the view sent it.
    Group = 0,
    /// The named member signed it.
    Signature = 1,
}

/// What delivery promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Service {
    /// Delivered at once, never twice; what is lost stays lost (C1).
    BestEffort = 0,
    /// Repaired when lost, delivered as it comes.
    Reliable = 1,
    /// Repaired when lost, delivered in the order of its sender.
    Fifo = 2,
}

/// What a member does when fewer than f+1 leaders confirm its view any more (P8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum WhenStale {
    /// Goes on under the last key and shows its age (C15).
    Continue = 0,
    /// Refuses to send until the view is confirmed again (K16).
    StopSending = 1,
}

/// The rules of one group.
///
/// Units: milliseconds where the name ends in `_ms`, bytes where it ends in `_bytes` or `_bytes_max`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Policy {
    /// How messages are protected.
    pub protection: Protection,
    /// How their origin is shown.
    pub origin: Origin,
    /// What delivery promises unless the sender asks for another service.
    pub service: Service,
    /// Leaders a message is sent through; 0 stands for f+1.
    pub relays: u8,
    /// A new key at least this often, even if nobody joins or leaves; 0 for never (B1).
    pub rekey_period_ms: u32,
    /// How long an old view's messages are still read after a rekey.
    pub overlap_ms: u32,
    /// How often a member and a leader prove to each other that they are there.
    pub heartbeat_ms: u32,
    /// A leader that has not confirmed for this long does not count as confirming.
    pub confirm_within_ms: u32,
    /// A member that no leader has heard for this long is taken out of the group.
    pub remove_silent_after_ms: u32,
    /// What a member does under a view that no f+1 leaders confirm.
    pub when_stale: WhenStale,
    /// The most members at once.
    pub members_max: u32,
    /// The largest application message.
    pub message_bytes_max: u32,
    /// Messages of one sender that a leader keeps for repair.
    pub history_frames_max: u32,
    /// Bytes of all senders that a leader keeps for repair.
    pub history_bytes_max: u32,
    /// Password evaluations that one user may ask of one leader in a minute.
    pub login_attempts_per_minute: u32,
    /// Argon2id memory in KiB for the last step of hardening a password.
    pub argon2_memory_kib: u32,
    /// Argon2id passes.
    pub argon2_passes: u32,
    /// Public keys that may certify users who are not registered (A20, A25).
    pub authorities: Vec<[u8; 32]>,
    /// Which members may not send or not read; the first rule about a user counts (C8).
    pub roles: Vec<RoleRule>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            protection: Protection::Confidential,
            origin: Origin::Signature,
            service: Service::Fifo,
            relays: 0,
            rekey_period_ms: 10 * 60 * 1000,
            overlap_ms: 10_000,
            heartbeat_ms: 1_000,
            confirm_within_ms: 5_000,
            remove_silent_after_ms: 60_000,
            when_stale: WhenStale::Continue,
            members_max: 4096,
            message_bytes_max: 256 * 1024,
            history_frames_max: 4096,
            history_bytes_max: 64 * 1024 * 1024,
            login_attempts_per_minute: 12,
            argon2_memory_kib: 19 * 1024,
            argon2_passes: 2,
            authorities: Vec::new(),
            roles: Vec::new(),
        }
    }
}

/// A policy outside what the software can honour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy: {name} is {value}, but must be {allowed}")]
pub struct BadPolicy {
    /// The field.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// What it may be.
    pub allowed: &'static str,
}

impl Policy {
    /// Checks every bound.
    pub fn check(&self) -> Result<(), BadPolicy> {
        let within = |name, value: u32, low: u32, high: u32, allowed| {
            if (low..=high).contains(&value) { Ok(()) } else { Err(BadPolicy { name, value: value.into(), allowed }) }
        };
        within("heartbeat_ms", self.heartbeat_ms, 50, 600_000, "50 to 600000")?;
        within(
            "confirm_within_ms",
            self.confirm_within_ms,
            self.heartbeat_ms.saturating_mul(2),
            3_600_000,
            "at least two heartbeats and at most an hour",
        )?;
        within(
            "remove_silent_after_ms",
            self.remove_silent_after_ms,
            self.confirm_within_ms,
            86_400_000,
            "at least confirm_within_ms and at most a day",
        )?;
        if self.rekey_period_ms != 0 {
            within("rekey_period_ms", self.rekey_period_ms, 200, u32::MAX, "0 for never, or at least 200")?;
        }
        within("overlap_ms", self.overlap_ms, 0, 600_000, "at most 600000")?;
        within("members_max", self.members_max, 1, 16_384, "1 to 16384")?;
        within("message_bytes_max", self.message_bytes_max, 64, 1024 * 1024, "64 bytes to 1 MiB")?;
        within("history_frames_max", self.history_frames_max, 1, 65_536, "1 to 65536")?;
        within(
            "history_bytes_max",
            self.history_bytes_max,
            self.message_bytes_max,
            1 << 30,
            "at least one message and at most 1 GiB",
        )?;
        within("login_attempts_per_minute", self.login_attempts_per_minute, 1, 6_000, "1 to 6000")?;
        within("argon2_memory_kib", self.argon2_memory_kib, 8, 1024 * 1024, "8 KiB to 1 GiB")?;
        within("argon2_passes", self.argon2_passes, 1, 64, "1 to 64")?;
        within("relays", self.relays.into(), 0, 64, "0 for f+1, or up to the number of leaders")?;
        self.check_roles()?;
        within("authorities", count(self.authorities.len()), 0, 16, "at most 16 keys")
    }

    /// A role holds against hacked leaders only where messages are signed, or sealed.
    fn check_roles(&self) -> Result<(), BadPolicy> {
        let bad = |name, value, allowed| Err(BadPolicy { name, value, allowed });
        if self.roles.len() > ROLES_MAX {
            return bad("roles", count(self.roles.len()).into(), "at most 64 rules");
        }
        if self.roles.iter().any(|rule| rule.role != Role::Member) && self.origin != Origin::Signature {
            return bad("roles: origin", self.origin as u64, "signature (1) where members may not send or not read");
        }
        if self.roles.iter().any(|rule| !rule.role.receives()) && self.protection != Protection::Confidential {
            return bad("roles: protection", self.protection as u64, "confidential (2) where members may not read");
        }
        Ok(())
    }

    /// What every view commits to.
    pub fn digest(&self) -> [u8; 32] {
        digest("ringfort policy", &[&self.to_bytes()])
    }

    /// What digests commit to. Policies without the rules that came later keep the digest that they had.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = encode(self);
        if self.roles.is_empty() {
            bytes.truncate(bytes.len() - encode(&self.roles).len());
        }
        bytes
    }

    /// How long an old view stays readable.
    pub fn overlap(&self) -> Duration {
        ms(self.overlap_ms)
    }

    /// Time between heartbeats.
    pub fn heartbeat(&self) -> Duration {
        ms(self.heartbeat_ms)
    }

    /// How old a confirmation may be.
    pub fn confirm_within(&self) -> Duration {
        ms(self.confirm_within_ms)
    }

    /// How long a member may be silent.
    pub fn remove_silent_after(&self) -> Duration {
        ms(self.remove_silent_after_ms)
    }

    /// Time between rekeys, if any.
    pub fn rekey_period(&self) -> Option<Duration> {
        (self.rekey_period_ms != 0).then(|| ms(self.rekey_period_ms))
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn ms(count: u32) -> Duration {
    Duration::from_millis(count.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_allowed_and_its_edges_are_not() {
        assert_eq!(Policy::default().check(), Ok(()));
        let bad = Policy { confirm_within_ms: 1_999, ..Policy::default() };
        assert_eq!(bad.check().unwrap_err().name, "confirm_within_ms");
        let bad = Policy { members_max: 0, ..Policy::default() };
        assert_eq!(bad.check().unwrap_err().name, "members_max");
    }

    #[test]
    fn any_change_of_policy_changes_its_digest() {
        let changed = Policy { overlap_ms: 10_001, ..Policy::default() };
        assert_ne!(changed.digest(), Policy::default().digest());
    }
}
