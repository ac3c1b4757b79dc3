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

/// What a member does when fewer than n-f leaders confirm its view any more (P8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum WhenStale {
    /// Goes on under the last key and shows its age (C15).
    Continue = 0,
    /// Refuses to send until the view is confirmed again (K16).
    StopSending = 1,
}

/// A time in which users may come in (A25).
///
/// Units: Unix time in seconds, by each leader's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Window {
    /// When it opens for the first time.
    pub from_unix_s: u64,
    /// How long it stays open.
    pub length_s: u32,
    /// After how long it opens again; 0 for never. A day is 86,400 s, a week 604,800 s.
    pub every_s: u32,
}

impl Window {
    /// Whether it is open at a moment: Unix time, milliseconds.
    pub fn is_open(&self, unix_ms: u64) -> bool {
        let Some(since_s) = (unix_ms / 1000).checked_sub(self.from_unix_s) else { return false };
        let since_s = since_s.checked_rem(u64::from(self.every_s)).unwrap_or(since_s);
        since_s < u64::from(self.length_s)
    }
}

/// How members vote on a user (A17, A24).
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct MembersVote {
    /// How many of a hundred members have to be for it, at least one.
    pub percent: u8,
    /// How long they have, seconds. As long a decision stands.
    pub wait_s: u32,
    /// Whether who does not vote in that time is for it.
    pub silence_is_yes: bool,
}

impl MembersVote {
    /// How many of `electors` have to be for it, at least one.
    pub fn needed(&self, electors: usize) -> usize {
        (electors * usize::from(self.percent)).div_ceil(100).max(1)
    }

    /// How long members have.
    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.wait_s.into())
    }
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
    /// What a member does under a view that fewer than n-f leaders confirm.
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
    /// When users may come in; at any time if there is none. Who is in stays in (A25).
    pub admission: Vec<Window>,
    /// A stay ends after this many seconds: the user logs in anew (A18). 0 for never.
    pub stay_s_max: u32,
    /// How members vote on each admission, if they do. An empty group lets its first member in (A24).
    pub admission_vote: Option<MembersVote>,
    /// How members vote on an expulsion that one of them asks for, if they may (A17).
    pub expulsion_vote: Option<MembersVote>,
    /// Whether a member that signed two messages under one number is expelled: anybody can show leaders both (A18).
    pub expel_on_evidence: bool,
    /// Which members may not send or not read; the first rule about a user counts (C8).
    pub roles: Vec<RoleRule>,
    /// Whether leaders put messages into one order.
    pub order: bool,
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
            admission: Vec::new(),
            stay_s_max: 0,
            admission_vote: None,
            expulsion_vote: None,
            expel_on_evidence: false,
            roles: Vec::new(),
            order: false,
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
        if self.stay_s_max != 0 {
            within("stay_s_max", self.stay_s_max, 10, 31_622_400, "0 for never, or from 10 seconds to a year")?;
        }
        within("admission", count(self.admission.len()), 0, 64, "at most 64 windows")?;
        for window in &self.admission {
            let longest = if window.every_s == 0 { u32::MAX } else { window.every_s };
            within(
                "admission: length_s",
                window.length_s,
                1,
                longest,
                "at least 1, and at most every_s if that is not 0",
            )?;
        }
        for vote in [self.admission_vote, self.expulsion_vote].into_iter().flatten() {
            within("vote: percent", vote.percent.into(), 1, 100, "1 to 100")?;
            within("vote: wait_s", vote.wait_s, 1, 86_400, "from a second to a day")?;
        }
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
        let (later, none) = (self.later(), Policy::default().later());
        if later == none {
            bytes.truncate(bytes.len() - none.len());
        }
        bytes
    }

    /// The encoding of the rules that came later, which is the end of the whole.
    fn later(&self) -> Vec<u8> {
        encode(&(
            &self.admission,
            self.stay_s_max,
            self.admission_vote,
            self.expulsion_vote,
            self.expel_on_evidence,
            &self.roles,
            self.order,
        ))
    }

    /// Whether users may come in at a moment: Unix time, milliseconds.
    pub fn is_open(&self, unix_ms: u64) -> bool {
        self.admission.is_empty() || self.admission.iter().any(|window| window.is_open(unix_ms))
    }

    /// How long a stay may last, if there is a limit.
    pub fn stay_max(&self) -> Option<Duration> {
        (self.stay_s_max != 0).then(|| Duration::from_secs(self.stay_s_max.into()))
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
    fn a_window_opens_and_shuts_to_the_second() {
        let once = Window { from_unix_s: 100, length_s: 10, every_s: 0 };
        let daily = Window { every_s: 86_400, ..once };
        for (second, opens_once, opens_daily) in
            [(99, false, false), (100, true, true), (109, true, true), (110, false, false), (86_500, false, true)]
        {
            assert_eq!(
                (once.is_open(second * 1000), daily.is_open(second * 1000)),
                (opens_once, opens_daily),
                "{second}"
            );
        }
        assert!(once.is_open(109_999) && daily.is_open(86_509_999) && !daily.is_open(86_510_000));
        let policy = Policy { admission: vec![once, Window { from_unix_s: 200, ..once }], ..Policy::default() };
        assert!(policy.is_open(205_000) && !policy.is_open(150_000) && Policy::default().is_open(150_000));
        let bad = Policy { admission: vec![Window { length_s: 86_401, ..daily }], ..Policy::default() };
        assert_eq!(bad.check().unwrap_err().name, "admission: length_s");
        let bad = Policy { admission: vec![Window { length_s: 0, ..once }], ..Policy::default() };
        assert_eq!(bad.check().unwrap_err().name, "admission: length_s");
        assert_eq!(Policy { stay_s_max: 9, ..Policy::default() }.check().unwrap_err().name, "stay_s_max");
        let vote = |percent| Some(MembersVote { percent, wait_s: 60, silence_is_yes: false });
        assert_eq!(Policy { admission_vote: vote(100), ..Policy::default() }.check(), Ok(()));
        assert_eq!(
            Policy { expulsion_vote: vote(101), ..Policy::default() }.check().unwrap_err().name,
            "vote: percent"
        );
    }

    #[test]
    fn any_change_of_policy_changes_its_digest() {
        let vote = MembersVote { percent: 50, wait_s: 60, silence_is_yes: false };
        let later = [
            Policy { stay_s_max: 3600, ..Policy::default() },
            Policy { admission_vote: Some(vote), ..Policy::default() },
            Policy { expulsion_vote: Some(vote), ..Policy::default() },
            Policy { expel_on_evidence: true, ..Policy::default() },
            Policy { order: true, ..Policy::default() },
        ];
        for limited in later {
            assert_ne!(limited.digest(), Policy::default().digest());
            assert_eq!(limited.to_bytes(), encode(&limited), "what is used is covered whole");
            assert!(encode(&limited).ends_with(&limited.later()));
        }
        let changed = Policy { overlap_ms: 10_001, ..Policy::default() };
        assert_ne!(changed.digest(), Policy::default().digest());
    }
}
