//! The member's side of hardening a password.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_crypto::CryptoRng;
use ringfort_crypto::oprf::{BlindedElement, OprfClient, OprfError};
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::threshold::{CombineError, Evaluation, KeyRole, PublicKeySet};

use super::harden_password;
use super::message::{AnnouncedKey, LoginRequest};
use crate::group::GroupInfo;
use crate::ids::{LeaderId, UserName};

/// Hardens one password through f+1 leaders (2HashTDH, P4).
///
/// One blinded element goes to every leader. Each answers with an evaluation and the key it was made with. A member knows nothing of
/// its key but its leaders' word, so it takes the key that f+1 of them announce: one of those is honest. f+1 evaluations with good proofs
/// for that key finish; a leader with a bad proof for what itself announced is named and left out.
///
/// Where some leaders do not know the user, or know an older registration, f+1 may agree on each of two keys. So there is one
/// hardened password per key, for the leaders that announced it.
pub struct Hardening {
    user: UserName,
    client: OprfClient,
    blinded: BlindedElement,
    told: BTreeMap<LeaderId, (AnnouncedKey, Evaluation)>,
    /// Leaders that know no password of this user.
    without: BTreeSet<LeaderId>,
    roots: BTreeMap<AnnouncedKey, Secret32>,
    bad: BTreeSet<LeaderId>,
}

/// What one more answer comes to.
#[derive(Debug, Default)]
pub struct Hardened {
    /// The hardened password, for these leaders.
    pub root: Option<(Secret32, Vec<LeaderId>)>,
    /// Leaders whose evaluations were wrong.
    pub caught: Vec<LeaderId>,
    /// Leaders that announced keys which f+1 cannot announce any more: they do not know this user.
    pub alone: Vec<LeaderId>,
}

impl Hardening {
    /// Blinds the password. `None` only for a password that hashes to the identity: never in practice.
    pub fn start(user: UserName, password: &[u8], rng: &mut dyn CryptoRng) -> Option<Self> {
        let (client, blinded) = OprfClient::blind(password, rng)?;
        let (told, without) = (BTreeMap::new(), BTreeSet::new());
        let (roots, bad) = (BTreeMap::new(), BTreeSet::new());
        Some(Hardening { user, client, blinded, told, without, roots, bad })
    }

    /// The same blinded password with nothing heard yet, for a guesser who tries what fits.
    #[cfg(feature = "mutants")]
    pub fn again_for_testing_only(&self) -> Self {
        let (user, client, blinded) = (self.user.clone(), self.client.clone(), self.blinded);
        let (told, without) = (BTreeMap::new(), BTreeSet::new());
        let (roots, bad) = (BTreeMap::new(), BTreeSet::new());
        Hardening { user, client, blinded, told, without, roots, bad }
    }

    /// What the leaders evaluate.
    pub fn blinded(&self) -> BlindedElement {
        self.blinded
    }

    /// The request to any leader.
    pub fn request(&self) -> LoginRequest {
        LoginRequest::Blind { user: self.user.clone(), blinded: self.blinded.0 }
    }

    /// Takes one leader's answer. The hardened password comes with the answer that is the f+1st for its key, and
    /// again with each one after.
    pub fn on_evaluation(
        &mut self,
        group: &GroupInfo,
        leader: LeaderId,
        evaluation: &[u8; 128],
        key: &AnnouncedKey,
    ) -> Hardened {
        let mut hardened = Hardened::default();
        if self.bad.contains(&leader) {
            return hardened;
        }
        if key.0.len() != group.rules.login_threshold() {
            hardened.caught = self.catch(vec![leader]);
        } else {
            self.without.remove(&leader);
            self.told.insert(leader, (key.clone(), Evaluation::from_bytes(*evaluation)));
            self.try_key(group, leader, key, &mut hardened);
        }
        hardened.alone = self.alone(group);
        hardened
    }

    /// A leader says that it knows no password of this user. Returns who is alone with its key by now, as [`Hardened::alone`].
    pub fn on_unknown(&mut self, group: &GroupInfo, leader: LeaderId) -> Vec<LeaderId> {
        self.told.remove(&leader);
        self.without.insert(leader);
        self.alone(group)
    }

    fn try_key(&mut self, group: &GroupInfo, leader: LeaderId, key: &AnnouncedKey, hardened: &mut Hardened) {
        if let Some(root) = self.roots.get(key) {
            hardened.root = Some((root.clone(), vec![leader]));
            return;
        }
        let agreeing: Vec<(LeaderId, &Evaluation)> =
            self.told.iter().filter(|(_, (told, _))| told == key).map(|(leader, (_, e))| (*leader, e)).collect();
        if agreeing.len() < group.rules.login_threshold() {
            return;
        }
        let leaders: Vec<LeaderId> = agreeing.iter().map(|(leader, _)| *leader).collect();
        let Ok(keys) = PublicKeySet::from_announced(KeyRole::Login, u16::from(group.rules.n()), &key.0) else {
            hardened.caught = self.catch(leaders);
            return;
        };
        let evaluations: Vec<_> = agreeing.iter().map(|(leader, e)| (leader.share_index(), *e)).collect();
        match self.client.finalize(&keys, &evaluations) {
            Ok(output) => {
                let root = harden_password(group, &self.user, &output);
                self.roots.insert(key.clone(), root.clone());
                hardened.root = Some((root, leaders));
            }
            Err(OprfError::Shares(CombineError::BadShares(bad))) => {
                let lying = leaders.into_iter().filter(|leader| bad.contains(&leader.share_index()));
                hardened.caught = self.catch(lying.collect());
            }
            Err(OprfError::Shares(CombineError::TooFew { .. }) | OprfError::WrongRole) => {}
        }
    }

    fn catch(&mut self, leaders: Vec<LeaderId>) -> Vec<LeaderId> {
        for leader in &leaders {
            self.told.remove(leader);
            self.bad.insert(*leader);
        }
        leaders
    }

    /// Leaders whose key has no f+1 behind it, and will not have, whatever those say that have not answered yet.
    fn alone(&self, group: &GroupInfo) -> Vec<LeaderId> {
        let answered = self.bad.union(&self.without).count();
        let silent = usize::from(group.rules.n()).saturating_sub(self.told.len() + answered);
        let behind = |key: &AnnouncedKey| self.told.values().filter(|(told, _)| told == key).count();
        let alone =
            |key: &AnnouncedKey| !self.roots.contains_key(key) && behind(key) + silent < group.rules.login_threshold();
        self.told.iter().filter(|(_, (key, _))| alone(key)).map(|(leader, _)| *leader).collect()
    }
}
