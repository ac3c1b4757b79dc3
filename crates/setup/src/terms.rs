//! What all operators agree on before any key is made.

use ringfort_crypto::hash::digest;
use ringfort_crypto::sign::VerifyingKey;
use ringfort_protocol::codec::encode;
use ringfort_protocol::introduction::Introduction;
use ringfort_protocol::policy::BadPolicy;
use ringfort_protocol::{LeaderId, Policy, Rules};

/// The introductions of all leaders, the sizes and the policy: what a ceremony makes a group of.
#[derive(Clone, Debug)]
pub struct Terms {
    rules: Rules,
    policy: Policy,
    introductions: Vec<Introduction>,
    digest: [u8; 32],
}

/// Introductions, sizes and policy that make no group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTerms {
    /// One was altered.
    #[error("the introduction of {0} is not signed by its own key: get it again from its operator")]
    NotSigned(LeaderId),
    /// Introductions to different groups.
    #[error("{0} introduces itself to the group {1:?}, but {2} to {3:?}: all have to use one name")]
    OtherGroup(LeaderId, String, LeaderId, String),
    /// Nobody has this number.
    #[error("the introduction of {0} is missing: every leader of the {1} has to be there, numbered from 1")]
    Missing(LeaderId, u8),
    /// A number above the number of leaders.
    #[error("there is an introduction of {0}, but the group has {1} leaders, numbered from 1")]
    Extra(LeaderId, u8),
    /// More than one has this number.
    #[error("there are two introductions of {0}: every leader has a number of its own")]
    Twice(LeaderId),
    /// One machine under two numbers.
    #[error("{0} and {1} have the same {2}: every leader has its own")]
    Shared(LeaderId, LeaderId, &'static str),
    /// Nothing to share.
    #[error(
        "a group that tolerates no hacked leader cannot be set up without a dealer, since each leader has every key: use `ringfort init`"
    )]
    NoFaults,
    /// A policy out of bounds.
    #[error(transparent)]
    Policy(#[from] BadPolicy),
}

impl Terms {
    /// Puts the terms together, whatever the order of the introductions.
    ///
    /// # Errors
    /// [`BadTerms`] says what does not fit.
    pub fn new(rules: Rules, policy: Policy, mut introductions: Vec<Introduction>) -> Result<Self, BadTerms> {
        if rules.f() == 0 {
            return Err(BadTerms::NoFaults);
        }
        policy.check()?;
        introductions.sort_by_key(|i| i.leader);
        if let Some(twice) = introductions.windows(2).find_map(|pair| match pair {
            [a, b] if a.leader == b.leader => Some(a.leader),
            _ => None,
        }) {
            return Err(BadTerms::Twice(twice));
        }
        if let Some(missing) = rules.leaders().find(|id| !introductions.iter().any(|i| i.leader == *id)) {
            return Err(BadTerms::Missing(missing, rules.n()));
        }
        if let Some(extra) = introductions.iter().find(|i| i.leader.number() > rules.n()) {
            return Err(BadTerms::Extra(extra.leader, rules.n()));
        }
        check_together(&introductions)?;
        let digests: Vec<[u8; 32]> = introductions.iter().map(Introduction::digest).collect();
        let sizes = (rules.n(), rules.f(), u8::try_from(rules.key_threshold()).unwrap_or(u8::MAX));
        let digest = digest("ringfort setup terms", &[&encode(&sizes), &policy.to_bytes(), &encode(&digests)]);
        Ok(Terms { rules, policy, introductions, digest })
    }

    /// The group's name.
    pub fn name(&self) -> &str {
        self.introductions.first().map_or("", |i| i.group_name.as_str())
    }

    /// Sizes.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Who takes part, leader `i` at `i - 1`.
    pub fn introductions(&self) -> &[Introduction] {
        &self.introductions
    }

    /// One of them.
    pub fn introduction(&self, leader: LeaderId) -> Option<&Introduction> {
        self.introductions.get(usize::from(leader.number()) - 1)
    }

    /// Commits to all of it.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What operators compare before they start.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.digest)
    }

    pub(crate) fn signing_key(&self, leader: LeaderId) -> Option<VerifyingKey> {
        self.introduction(leader).map(|i| i.info.signing_key)
    }

    pub(crate) fn others(&self, me: LeaderId) -> impl Iterator<Item = LeaderId> + use<> {
        LeaderId::all(self.rules.n()).filter(move |leader| *leader != me)
    }
}

/// A digest as people compare it: eight groups of four characters, as a group's fingerprint.
pub(crate) fn fingerprint(digest: &[u8; 32]) -> String {
    let hex: Vec<String> = digest.iter().take(16).map(|b| format!("{b:02x}")).collect();
    hex.chunks(2).map(|pair| pair.concat()).collect::<Vec<_>>().join("-")
}

fn check_together(introductions: &[Introduction]) -> Result<(), BadTerms> {
    for (position, one) in introductions.iter().enumerate() {
        if !one.is_signed() {
            return Err(BadTerms::NotSigned(one.leader));
        }
        for other in introductions.iter().take(position) {
            let shared = |what| Err(BadTerms::Shared(other.leader, one.leader, what));
            if other.group_name != one.group_name {
                let (a, b) = (other.group_name.clone(), one.group_name.clone());
                return Err(BadTerms::OtherGroup(other.leader, a, one.leader, b));
            }
            match (&one.info, &other.info) {
                (a, b) if a.address == b.address => return shared("address"),
                (a, b) if a.signing_key == b.signing_key => return shared("signing key"),
                (a, b) if a.link_key == b.link_key => return shared("link key"),
                (a, b) if a.sealing_key == b.sealing_key => return shared("sealing key"),
                _ => {}
            }
        }
    }
    Ok(())
}
