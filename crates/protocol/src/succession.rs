//! A group that goes on under new shares of its keys, and with a new machine in the place of a hacked leader.
//!
//! The group file that people compared stays: it names generation 0. Each [`Succession`] names the next generation, that is, new verification
//! keys of all shares and, where a leader is replaced, the new machine's address and keys. It counts when more than `(n + f) / 2` leaders of
//! the generation before have signed it, the replaced one not counted. Any two such sets share an honest leader, and an honest
//! leader signs one succession under one number: so there is at most one of each number. The group's id, its name, its policy and
//! its threshold keys stay what they were, and with them users, members and views.
//!
//! docs/replacing-a-leader.md tells the whole, `ringfort-setup` has the protocol by which leaders come to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::hash::digest;
use ringfort_crypto::sign::SigningKey;
use ringfort_crypto::threshold::{KeyRole, PublicKeySet};

use crate::codec::encode;
use crate::group::GroupInfo;
use crate::ids::LeaderId;
use crate::introduction::Introduction;
use crate::login::WireSignature;

/// Counts the renewals of a group's shares. 0 is the group as it was set up.
pub type Generation = u32;

/// How far a number may be ahead of the generation it follows: attempts that came to nothing have used up those between.
pub const ATTEMPTS_MAX: Generation = 16;

const LABEL: &str = "ringfort succession";

/// What the next generation of a group is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Succession {
    /// The group.
    pub group: [u8; 32],
    /// The generation it follows.
    pub base: Generation,
    /// Its own number.
    pub number: Generation,
    /// Who takes the place of a leader, if anybody does.
    pub newcomer: Option<Introduction>,
    /// Verification keys of the group key and the coin.
    pub keys: [Vec<[u8; 32]>; 2],
    /// Commits to the deals that the shares are made of.
    pub deals: [u8; 32],
}

/// A succession with the signatures that make it count.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certified {
    /// What is so.
    pub succession: Succession,
    /// By leaders of the generation before.
    pub votes: Vec<(LeaderId, WireSignature)>,
}

impl Succession {
    /// A leader's signature under it.
    pub fn sign(&self, key: &SigningKey) -> WireSignature {
        WireSignature(key.sign(LABEL, &[&encode(self)]))
    }

    /// Whether `leader` of `base` signed it, and may.
    pub fn is_signed(&self, base: &GroupInfo, leader: LeaderId, signature: &WireSignature) -> bool {
        let replaced = self.newcomer.as_ref().map(|newcomer| newcomer.leader);
        let key = base.leader(leader).filter(|_| replaced != Some(leader)).map(|info| info.signing_key);
        key.is_some_and(|key| key.verify(LABEL, &[&encode(self)], &signature.0).is_ok())
    }

    /// Names it.
    pub fn digest(&self) -> [u8; 32] {
        digest(LABEL, &[&encode(self)])
    }

    /// Whether it says that it follows this very generation of this very group.
    pub fn follows(&self, base: &GroupInfo) -> bool {
        let ahead = self.number > self.base && self.number - self.base <= ATTEMPTS_MAX;
        self.group == base.id().0 && self.base == base.generation() && ahead
    }

    fn key_sets(&self, base: &GroupInfo) -> Option<[PublicKeySet; 2]> {
        let [group, coin] = &self.keys;
        let set = |role, like: &PublicKeySet, keys: &[[u8; 32]]| {
            let new = PublicKeySet::from_bytes(role, like.threshold(), keys).ok()?;
            (new.n() == like.n()).then_some(new)
        };
        Some([set(KeyRole::GroupKey, &base.group_keys, group)?, set(KeyRole::Coin, &base.coin_keys, coin)?])
    }
}

impl Certified {
    /// Whether enough leaders of `base` signed it.
    fn is_certified_by(&self, base: &GroupInfo) -> bool {
        let mut signers = BTreeSet::new();
        let n = usize::from(base.rules.n());
        for (leader, signature) in self.votes.iter().take(n) {
            if !signers.contains(leader) && self.succession.is_signed(base, *leader, signature) {
                signers.insert(*leader);
            }
        }
        signers.len() >= base.rules.succession()
    }
}

impl GroupInfo {
    /// Which generation this is.
    pub fn generation(&self) -> Generation {
        self.succeeded.as_ref().map_or(0, |(certified, _)| certified.succession.number)
    }

    /// The generation that this one follows; none for the group as it was set up.
    pub fn before(&self) -> Option<&Arc<GroupInfo>> {
        self.succeeded.as_ref().map(|(_, before)| before)
    }

    /// The group as it was set up: what its fingerprint covers.
    pub fn origin(&self) -> &GroupInfo {
        self.before().map_or(self, |before| before.origin())
    }

    /// The successions that lead from the group as it was set up to this generation, in order.
    pub fn successions(&self) -> Vec<Arc<Certified>> {
        let Some((certified, before)) = &self.succeeded else { return Vec::new() };
        let mut all = before.successions();
        all.push(certified.clone());
        all
    }

    /// The next generation, if `certified` names one: it follows this one or, with a higher number, takes the place of this one.
    ///
    /// `None` unless it belongs to this group and is signed by enough leaders of the generation it follows.
    pub fn succeed(self: &Arc<Self>, certified: Certified) -> Option<GroupInfo> {
        let base = if certified.succession.base == self.generation() { self } else { self.before()? };
        let succession = &certified.succession;
        if !succession.follows(base) || succession.number <= self.generation() || !certified.is_certified_by(base) {
            return None;
        }
        let mut next = GroupInfo::clone(base);
        [next.group_keys, next.coin_keys] = succession.key_sets(base)?;
        if let Some(newcomer) = &succession.newcomer {
            if !base.may_take_a_place(newcomer) {
                return None;
            }
            next.put_in_place(newcomer)?;
        }
        next.succeeded = Some((Arc::new(certified), base.clone()));
        Some(next)
    }

    /// Whether an introduction is one for a place in this group, with keys that nobody here has or had.
    pub fn may_take_a_place(&self, newcomer: &Introduction) -> bool {
        let info = &newcomer.info;
        let fresh = |known: &GroupInfo| {
            known.leaders.iter().enumerate().all(|(place, other)| {
                let own = place + 1 == usize::from(newcomer.leader.number());
                other.link_key != info.link_key
                    && other.signing_key != info.signing_key
                    && other.sealing_key.to_bytes() != info.sealing_key.to_bytes()
                    && (own || other.address != info.address)
            })
        };
        let mut known = Some(self);
        while let Some(generation) = known {
            if !fresh(generation) {
                return false;
            }
            known = generation.before().map(Arc::as_ref);
        }
        newcomer.group_name == self.name && self.leader(newcomer.leader).is_some() && newcomer.is_signed()
    }

    /// Link keys of leaders that were replaced: whoever shows one is not a leader any more.
    pub fn retired(&self) -> Vec<(LeaderId, [u8; 32])> {
        let mut retired = Vec::new();
        let mut known = self.before();
        while let Some(generation) = known {
            for (leader, info) in generation.rules.leaders().zip(&generation.leaders) {
                let held = self.leaders.iter().any(|now| now.link_key == info.link_key);
                if !held && !retired.contains(&(leader, info.link_key)) {
                    retired.push((leader, info.link_key));
                }
            }
            known = generation.before();
        }
        retired
    }

    fn of(&self, generation: Generation) -> Option<&GroupInfo> {
        if generation == self.generation() {
            return Some(self);
        }
        self.before().map(Arc::as_ref).filter(|before| before.generation() == generation)
    }

    /// The verification keys of the group key in a generation: this one, or the one it follows.
    ///
    /// The key is the same in both, so that a share of either, with its proof, is as good as it ever was.
    pub fn group_keys_of(&self, generation: Generation) -> Option<&PublicKeySet> {
        self.of(generation).map(|group| &group.group_keys)
    }
}
