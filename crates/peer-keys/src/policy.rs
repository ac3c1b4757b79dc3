//! What a group's members have agreed on beforehand: who is admitted, and how keys are made.

use std::collections::BTreeMap;
use std::time::Duration;

use borsh::BorshSerialize;
use ringfort_crypto::hash::digest;
use ringfort_kernel::codec;

use crate::admission::Admission;

/// How the members of a group come to a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, BorshSerialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum KeyProtocol {
    /// A tree of Diffie–Hellman keys: everybody contributes; a change costs as many exponentiations as the tree is deep.
    #[default]
    Tgdh = 0,
    /// Group Diffie–Hellman as in Cliques: everybody contributes; a change costs as many exponentiations as there are
    /// members.
    Gdh = 1,
    /// The oldest member draws the key and seals it to each of the others: cheap, and not contributory.
    Ckd = 2,
}

impl KeyProtocol {
    /// Its name in files and on screens.
    pub fn name(self) -> &'static str {
        match self {
            KeyProtocol::Tgdh => "tgdh",
            KeyProtocol::Gdh => "gdh",
            KeyProtocol::Ckd => "ckd",
        }
    }
}

/// The policy of one group. Two members with different policies share no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The group's name.
    pub group: String,
    /// How keys are made.
    pub protocol: KeyProtocol,
    /// Who is admitted: the public key with which a member signs, and who that is.
    pub admitted: BTreeMap<[u8; 32], String>,
    /// Who is admitted beside those, when, and in whose presence.
    pub admission: Admission,
    /// Every data message carries its sender's signature, so that no other member can have made it.
    pub signed: bool,
    /// How long a member may take to answer a flush, and again to do its part for a key.
    pub patience: Duration,
    /// After so long in one view the key is made anew; zero: only on request.
    pub refresh_every: Duration,
}

#[derive(BorshSerialize)]
struct Digested<'a> {
    group: &'a str,
    protocol: KeyProtocol,
    admitted: &'a BTreeMap<[u8; 32], String>,
    admission: &'a Admission,
    signed: bool,
    patience_ms: u64,
    refresh_ms: u64,
}

impl Policy {
    /// The policy of a group whose members are these, with the usual times.
    pub fn new(group: impl Into<String>, admitted: BTreeMap<[u8; 32], String>) -> Self {
        Policy {
            group: group.into(),
            protocol: KeyProtocol::default(),
            admitted,
            admission: Admission::default(),
            signed: false,
            patience: Duration::from_secs(10),
            refresh_every: Duration::from_secs(3600),
        }
    }

    /// What all of it is bound by in every signature and key.
    pub fn digest(&self) -> [u8; 32] {
        let all = codec::encode(&Digested {
            group: &self.group,
            protocol: self.protocol,
            admitted: &self.admitted,
            admission: &self.admission,
            signed: self.signed,
            patience_ms: u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX),
            refresh_ms: u64::try_from(self.refresh_every.as_millis()).unwrap_or(u64::MAX),
        });
        digest("peer group policy", &[&all])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_a_policy_changes_its_digest() {
        let base = Policy::new("talk", [([1; 32], "ana".to_owned())].into());
        let changed = [
            Policy { group: "walk".to_owned(), ..base.clone() },
            Policy { protocol: KeyProtocol::Gdh, ..base.clone() },
            Policy { protocol: KeyProtocol::Ckd, ..base.clone() },
            Policy { admitted: [([1; 32], "ben".to_owned())].into(), ..base.clone() },
            Policy { admitted: [([2; 32], "ana".to_owned())].into(), ..base.clone() },
            Policy { signed: true, ..base.clone() },
            Policy { admission: Admission { revoked: [[1; 16]].into(), ..Admission::default() }, ..base.clone() },
            Policy {
                admission: Admission { authorities: [([1; 32], "x".to_owned())].into(), ..Admission::default() },
                ..base.clone()
            },
            Policy { patience: Duration::from_secs(11), ..base.clone() },
            Policy { refresh_every: Duration::ZERO, ..base.clone() },
        ];
        let mut digests: Vec<_> = changed.iter().map(Policy::digest).chain([base.digest()]).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), changed.len() + 1);
    }
}
