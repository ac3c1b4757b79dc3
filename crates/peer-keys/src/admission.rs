//! Who is in beside the list of members: holders of certificates, at times, and while others are present.
//!
//! Who somebody is follows from its answer to a flush alone, so everybody decides that alike, at once. What depends on the
//! time and on who is present is decided when all have answered, at one place in the order, from what all answers say:
//! *the time* is the middle of what the members' clocks say. A member whose own clock is more than [`CLOCK_OFF_MAX_S`]
//! away from that goes by its own; so no number of liars gets anybody into its view whose time is over.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::hash::digest;
use ringfort_crypto::sign::{Signature, SigningKey, VerifyingKey};
use ringfort_kernel::codec;
use ringfort_peer::Name;

use crate::flush::OutWhy;
use crate::policy::Policy;
use crate::wire::FlushOk;

/// How far what the members' clocks say may be from this member's own.
pub const CLOCK_OFF_MAX_S: u64 = 120;
/// The longest name of a user or a role, in bytes.
pub const WORD_BYTES_MAX: usize = 64;

const CERTIFICATE: &str = "peer group: certificate";

/// What a policy admits beside its list.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize)]
pub struct Admission {
    /// Whose certificates count: the authority's public key, and its name.
    pub authorities: BTreeMap<[u8; 32], String>,
    /// Certificates that do not count any more.
    pub revoked: BTreeSet<[u8; 16]>,
    /// Roles of those on the list, by key.
    pub roles: BTreeMap<[u8; 32], String>,
    /// A role that has windows is in only while one of them is open.
    pub windows: Vec<Window>,
    /// A role that has rules is in only while they hold.
    pub rules: Vec<PresenceRule>,
}

/// A time at which a role is in.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Window {
    /// Whose.
    pub role: String,
    /// From when on, in seconds of Unix time.
    pub from_unix_s: u64,
    /// For so long.
    pub length_s: u64,
    /// Again after so long; zero: once.
    pub every_s: u64,
}

/// A role that is in only while another one is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct PresenceRule {
    /// Whose rule.
    pub role: String,
    /// Who has to be present.
    pub only_while: String,
    /// How many of them.
    pub at_least: u32,
}

/// An authority's word that somebody belongs to a group.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certificate {
    /// The group.
    pub group: String,
    /// Who it is.
    pub user: String,
    /// In which role; may be empty.
    pub role: String,
    /// The key with which it signs.
    pub key: [u8; 32],
    /// From when on it counts, in seconds of Unix time.
    pub from_unix_s: u64,
    /// Until when.
    pub until_unix_s: u64,
    /// The key of who says so.
    pub authority: [u8; 32],
    /// Over all of the above.
    pub signature: [u8; 64],
}

impl Certificate {
    /// Signs what `unsigned` says with an authority's key.
    pub fn issue(authority: &SigningKey, unsigned: Certificate) -> Self {
        let authority_key = authority.verifying_key().to_bytes();
        let unsigned = Certificate { authority: authority_key, signature: [0; 64], ..unsigned };
        let signature = authority.sign(CERTIFICATE, &[&codec::encode(&unsigned)]).to_bytes();
        Certificate { signature, ..unsigned }
    }

    /// Whether its authority has signed it.
    pub fn is_authentic(&self) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.authority) else { return false };
        let unsigned = Certificate { signature: [0; 64], ..self.clone() };
        key.verify(CERTIFICATE, &[&codec::encode(&unsigned)], &Signature::from_bytes(self.signature)).is_ok()
    }

    /// What names it in a list of those revoked. The same words signed again have the same name.
    pub fn id(&self) -> [u8; 16] {
        let unsigned = Certificate { signature: [0; 64], ..self.clone() };
        let whole = digest(CERTIFICATE, &[&codec::encode(&unsigned)]);
        *whole.first_chunk().unwrap_or(&[0; 16])
    }
}

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user: a name of the list, or what a certificate says and whose it is.
    pub user: String,
    /// Its role; empty if it has none.
    pub role: String,
    /// From when to when it is in, if that is bounded.
    pub times: Option<(u64, u64)>,
}

/// Who the holder of `key` is, with the certificate that it shows.
///
/// # Errors
/// Why it is nobody.
pub fn identify(policy: &Policy, key: &[u8; 32], certificate: Option<&Certificate>) -> Result<Identity, OutWhy> {
    let admission = &policy.admission;
    if let Some(user) = policy.admitted.get(key) {
        let role = admission.roles.get(key).cloned().unwrap_or_default();
        return Ok(Identity { user: user.clone(), role, times: None });
    }
    let certificate = certificate.ok_or(OutWhy::Stranger)?;
    let authority = admission.authorities.get(&certificate.authority).ok_or(OutWhy::Stranger)?;
    let fits = certificate.group == policy.group
        && certificate.key == *key
        && certificate.user.len() <= WORD_BYTES_MAX
        && certificate.role.len() <= WORD_BYTES_MAX;
    if !fits || !certificate.is_authentic() {
        return Err(OutWhy::Stranger);
    }
    if admission.revoked.contains(&certificate.id()) {
        return Err(OutWhy::Revoked);
    }
    let times = Some((certificate.from_unix_s, certificate.until_unix_s));
    // Nobody is called as somebody on the list, whatever an authority says.
    let user = format!("{} (by {authority})", certificate.user);
    Ok(Identity { user, role: certificate.role.clone(), times })
}

/// The middle of what the members' clocks say: the earlier and the later of the middle two, in seconds.
pub fn time(own_unix_s: u64, answers: &BTreeMap<Name, FlushOk>) -> (u64, u64) {
    let mut all: Vec<u64> = answers.values().map(|ok| ok.unix_s).collect();
    all.sort_unstable();
    let low = all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or(own_unix_s);
    let high = all.get(all.len() / 2).copied().unwrap_or(own_unix_s);
    let near = |time: u64| time.abs_diff(own_unix_s) <= CLOCK_OFF_MAX_S;
    if near(low) && near(high) { (low, high) } else { (own_unix_s, own_unix_s) }
}

/// Who of those who have answered cannot be in now.
pub fn judge(policy: &Policy, own_unix_s: u64, answers: &BTreeMap<Name, FlushOk>) -> BTreeMap<Name, OutWhy> {
    let (low, high) = time(own_unix_s, answers);
    let mut out = BTreeMap::new();
    let mut present: BTreeMap<&Name, String> = BTreeMap::new();
    for (name, ok) in answers {
        let why = match identify(policy, &ok.key, ok.certificate.as_ref()) {
            Err(why) => Some(why),
            Ok(Identity { times: Some((_, until)), .. }) if until < high => Some(OutWhy::Expired),
            Ok(Identity { times: Some((from, _)), .. }) if from > low => Some(OutWhy::NotNow),
            Ok(Identity { role, .. }) if !policy.admission.is_open(&role, low, high) => Some(OutWhy::NotNow),
            Ok(Identity { role, .. }) => {
                present.insert(name, role);
                None
            }
        };
        out.extend(why.map(|why| (name.clone(), why)));
    }
    // Who goes may be whom others need.
    while let Some(name) = policy.admission.who_may_not_stay(&present) {
        present.remove(&name);
        out.insert(name, OutWhy::NotNow);
    }
    out
}

/// When the next of these answers' times is over.
pub fn next_end(policy: &Policy, now_unix_s: u64, answers: &BTreeMap<Name, FlushOk>) -> Option<u64> {
    let ends = answers.values().filter_map(|ok| {
        let who = identify(policy, &ok.key, ok.certificate.as_ref()).ok()?;
        let until = who.times.map(|(_, until)| until);
        [until, policy.admission.closes(&who.role, now_unix_s)].into_iter().flatten().min()
    });
    ends.min()
}

impl Admission {
    /// Whether a role is in from the earlier to the later of two moments.
    fn is_open(&self, role: &str, low: u64, high: u64) -> bool {
        let mut windows = self.windows.iter().filter(|window| window.role == role).peekable();
        windows.peek().is_none() || windows.any(|window| window.holds(low) && window.holds(high))
    }

    /// When a role's last open window closes, if one is open.
    fn closes(&self, role: &str, now: u64) -> Option<u64> {
        let open = self.windows.iter().filter(|window| window.role == role && window.holds(now));
        open.filter_map(|window| window.begin(now).map(|begin| begin.saturating_add(window.length_s))).max()
    }

    /// When a role's next window opens.
    pub fn opens(&self, role: &str, now: u64) -> Option<u64> {
        let windows = self.windows.iter().filter(|window| window.role == role);
        let next = windows.filter_map(|window| match window.begin(now) {
            None => Some(window.from_unix_s),
            Some(_) if window.every_s == 0 => None,
            Some(begin) => Some(begin.saturating_add(window.every_s)),
        });
        next.min()
    }

    fn who_may_not_stay(&self, present: &BTreeMap<&Name, String>) -> Option<Name> {
        let count = |role: &str| present.values().filter(|other| *other == role).count();
        let lacking = |role: &String| {
            let mut rules = self.rules.iter().filter(|rule| rule.role == *role);
            rules.any(|rule| count(&rule.only_while) < usize::try_from(rule.at_least).unwrap_or(usize::MAX))
        };
        present.iter().find(|(_, role)| lacking(role)).map(|(name, _)| (*name).clone())
    }
}

impl Window {
    /// When the turn that is on, or was on last, began; `None` before the first.
    fn begin(&self, now: u64) -> Option<u64> {
        let since = now.checked_sub(self.from_unix_s)?;
        Some(now - since.checked_rem(self.every_s).unwrap_or(since))
    }

    fn holds(&self, now: u64) -> bool {
        self.begin(now).is_some_and(|begin| now - begin < self.length_s)
    }
}
