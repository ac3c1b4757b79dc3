//! Login: who a member is, and the session key `K_a,i` with one leader (seed 002 §3.1, P4).
//!
//! Three messages, AuthInitReq, AuthKeyDist and AuthAckKey, over nonces N1 to N3, both names, the
//! link's exporter value and the group's id. Both ends prove that they know `P_a,i` (or sign, for a
//! key login). The session key is fresh at each join and, since the exporter value comes from an
//! ephemeral key exchange, stays secret if `P_a,i` leaks later (K6).
//!
//! The password itself is hardened first by f+1 leaders through a threshold OPRF: a leader's own
//! database gives no offline guess (K39), and each guess costs an evaluation that every leader
//! limits per user. Every user has an OPRF key of its own, which its machine deals at enrolment: an
//! evaluation under another name is worth nothing.

mod client;
mod hardening;
mod message;
mod registration;
mod server;
#[cfg(test)]
mod tests;
mod throttle;

use ringfort_crypto::hash::digest;
use ringfort_crypto::kdf::{derive, mac, mac_verify};
use ringfort_crypto::password::{Argon2Cost, harden};
use ringfort_crypto::secret::{Secret, Secret32};
use ringfort_crypto::sign::{BadSignature, SigningKey, VerifyingKey};

pub(crate) use client::refusal_is_genuine;
pub use client::{LoginClient, LoginFailure};
pub use hardening::{Hardened, Hardening};
pub use message::{AnnouncedKey, Certificate, Denial, LoginAnswer, LoginRequest, Method, WireSignature};
#[cfg(feature = "mutants")]
pub use registration::enrol_dealt_for_testing_only;
pub use registration::{
    Enrolment, EnrolmentCode, EnrolmentRecord, PasswordRegistration, Registration, enrol_key, enrol_password,
};
pub use server::{Authenticated, LoginServer, LoginServerLink};
pub use throttle::{Attempts, Throttle};

use crate::group::GroupInfo;
use crate::ids::{LeaderId, UserName};
use crate::policy::Policy;
use crate::rules::{Rule, Rules};
use crate::view::{MemberEntry, SessionVerifyingKey};

/// What a user logs in with, ready to use.
#[derive(Clone)]
pub enum Credential {
    /// The hardened password; each `P_a,i` follows from it.
    Password(Secret32),
    /// A registered key.
    Key(SigningKey),
    /// A certified key.
    Certificate(SigningKey, Box<Certificate>),
    /// The session key of a stay that the group has admitted, for leaders that do not know the user.
    Session(SigningKey),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credential::Password(_) => "Credential::Password(redacted)",
            Credential::Key(_) => "Credential::Key(redacted)",
            Credential::Certificate(..) => "Credential::Certificate(redacted)",
            Credential::Session(_) => "Credential::Session(redacted)",
        })
    }
}

impl Credential {
    fn method(&self) -> Method {
        match self {
            Credential::Password(_) => Method::Password,
            Credential::Key(_) => Method::Key,
            Credential::Certificate(_, certificate) => Method::Certificate((**certificate).clone()),
            Credential::Session(_) => Method::Session,
        }
    }

    fn signing_key(&self) -> Option<&SigningKey> {
        match self {
            Credential::Password(_) | Credential::Session(_) => None,
            Credential::Key(key) | Credential::Certificate(key, _) => Some(key),
        }
    }
}

impl Certificate {
    /// An authority certifies a user's key for this group.
    pub fn issue(
        group: &GroupInfo,
        authority: u8,
        authority_key: &SigningKey,
        user: UserName,
        key: SessionVerifyingKey,
        expires_unix_s: u64,
    ) -> Certificate {
        let body = certificate_body(group, &user, &key, expires_unix_s);
        let signature = WireSignature(authority_key.sign("ringfort certificate", &[&body]));
        Certificate { user, key, expires_unix_s, authority, signature }
    }

    /// Whether it certifies `user` here and now.
    pub fn check(&self, group: &GroupInfo, user: &UserName, unix_s: u64) -> Result<(), BadSignature> {
        let authority = group.policy.authorities.get(usize::from(self.authority)).ok_or(BadSignature)?;
        let authority = ringfort_crypto::sign::VerifyingKey::from_bytes(authority).map_err(|_| BadSignature)?;
        if &self.user != user || unix_s >= self.expires_unix_s {
            return Err(BadSignature);
        }
        let body = certificate_body(group, &self.user, &self.key, self.expires_unix_s);
        authority.verify("ringfort certificate", &[&body], &self.signature.0)
    }
}

fn certificate_body(group: &GroupInfo, user: &UserName, key: &SessionVerifyingKey, expires: u64) -> [u8; 32] {
    let parts: [&[u8]; 4] = [&group.id().0, user.as_bytes(), &key.0.to_bytes(), &expires.to_be_bytes()];
    digest("ringfort certificate body", &parts)
}

/// The root of all `P_a,i`: the OPRF's output, slowed by Argon2id, bound to group and user.
pub(crate) fn harden_password(group: &GroupInfo, user: &UserName, output: &Secret<64>) -> Secret32 {
    let context: [&[u8]; 2] = [&group.nonce, user.as_bytes()];
    harden(output, &context, argon2_cost(&group.policy))
}

fn argon2_cost(policy: &Policy) -> Argon2Cost {
    Argon2Cost::new(policy.argon2_memory_kib, policy.argon2_passes).expect("the policy's bounds are Argon2's")
}

/// `P_a,i`: differs per leader, so that what one leader stores opens no other (A6).
pub(crate) fn leader_key(root: &Secret32, user: &UserName, leader: LeaderId) -> Secret32 {
    derive(root.expose(), "ringfort login key", &[user.as_bytes(), &[leader.number()]])
}

/// `P_a,i`, for an attacker that compares it with what it stole.
#[cfg(feature = "mutants")]
pub fn leader_key_for_testing_only(root: &Secret32, user: &UserName, leader: LeaderId) -> Secret32 {
    leader_key(root, user, leader)
}

/// The exporter value, for everything that binds a login to its link.
fn bound(rules: &Rules, exporter: &[u8; 32]) -> [u8; 32] {
    if rules.enforces(Rule::Exporter) { *exporter } else { [0; 32] }
}

/// The leader's nonce, for everything that makes a login fresh.
fn fresh(rules: &Rules, n2: &[u8; 32]) -> [u8; 32] {
    if rules.enforces(Rule::LoginNonce) { *n2 } else { [0; 32] }
}

/// What both ends of a login have seen of message 1.
#[derive(Debug)]
struct Transcript {
    digest: [u8; 32],
}

impl Transcript {
    fn new(
        group: &GroupInfo,
        rules: &Rules,
        leader: LeaderId,
        exporter: &[u8; 32],
        user: &UserName,
        method: &Method,
        n1: &[u8; 32],
    ) -> Self {
        let exporter = &bound(rules, exporter);
        let named = rules.enforces(Rule::LoginNames);
        let (leader, user) = if named { (leader.number(), user.as_bytes()) } else { (0, [].as_slice()) };
        let parts: [&[u8]; 7] =
            [&group.id().0, &group.session().0, &[leader], exporter, user, &crate::codec::encode(method), n1];
        Transcript { digest: digest("ringfort login", &parts) }
    }

    /// The key that tags AuthKeyDist: shows `P_a,i` for passwords.
    fn distribution_tag(&self, key: &Secret32, n2: &[u8; 32], last: u64) -> [u8; 32] {
        mac(key, "ringfort login key-dist", &[&self.digest, n2, &last.to_be_bytes()])
    }

    fn distribution_tag_holds(&self, key: &Secret32, n2: &[u8; 32], last: u64, tag: &[u8; 32]) -> bool {
        mac_verify(key, "ringfort login key-dist", &[&self.digest, n2, &last.to_be_bytes()], tag)
    }

    /// Hides the number of a stay from whoever does not know the key, and shows it to who does.
    fn mask(&self, key: &Secret32, n2: &[u8; 32], bytes: [u8; 8]) -> [u8; 8] {
        let stream = derive(key.expose(), "ringfort login last stay", &[&self.digest, n2]);
        let mut masked = bytes;
        masked.iter_mut().zip(stream.expose()).for_each(|(byte, mask)| *byte ^= mask);
        masked
    }

    /// What a member signs to be told of its stays; needed before [`Transcript::asked`].
    fn ask(&self, key: &SigningKey) -> WireSignature {
        WireSignature(key.sign("ringfort login asks", &[&self.digest]))
    }

    fn is_asked_by(&self, key: &VerifyingKey, asks: &WireSignature) -> bool {
        key.verify("ringfort login asks", &[&self.digest], &asks.0).is_ok()
    }

    /// With the last part of message 1, so that all that follows is about the message as it was sent.
    fn asked(self, asks: Option<&WireSignature>) -> Self {
        let Some(asks) = asks else { return self };
        Transcript { digest: digest("ringfort login asked", &[&self.digest, &crate::codec::encode(asks)]) }
    }

    /// `K_a,i`: from `P_a,i`, the link's exporter value and both nonces.
    fn session_key(&self, long_term: &Secret32, exporter: &[u8; 32], n2: &[u8; 32]) -> Secret32 {
        let mut secret = zeroize::Zeroizing::new([0u8; 64]);
        let (left, right) = secret.split_at_mut(32);
        left.copy_from_slice(long_term.expose());
        right.copy_from_slice(exporter);
        derive(secret.as_slice(), "ringfort session key", &[&self.digest, n2])
    }

    /// What message 3 authenticates.
    fn acknowledgement(&self, rules: &Rules, n2: &[u8; 32], n3: &[u8; 32], entry: &MemberEntry) -> [u8; 32] {
        digest("ringfort login ack", &[&self.digest, &fresh(rules, n2), n3, &crate::codec::encode(entry)])
    }
}
