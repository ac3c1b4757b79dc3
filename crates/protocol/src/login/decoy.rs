//! Keys for names that are nobody's, so that an answer does not show that they are.
//!
//! The decoy of a name follows from the group's login key, of which each leader has a share, and a secret of all leaders: the common coin's
//! value at a point of its own. Nobody is given that secret at setup. Leaders tell each other their shares of it whenever
//! they meet, and f+1 make it; until then no password is evaluated, for anybody.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_crypto::CryptoRng;
use ringfort_crypto::login_key::Decoys;
use ringfort_crypto::threshold::{CombineError, EVALUATION_BYTES, Evaluation, InputPoint, KeyRole, SecretShare};

use super::AnnouncedKey;
use crate::group::{GroupInfo, LeaderSecrets};
use crate::ids::{LeaderId, UserName};
use crate::succession::Generation;

/// One leader's share of the secret that decoys are derived with, as it tells its peers.
pub type DecoyShare = [u8; EVALUATION_BYTES];

/// The decoys of one leader, once it has met f others.
pub(super) struct DecoyKeys {
    own: DecoyShare,
    /// What leaders have told, until it is enough.
    told: BTreeMap<(Generation, LeaderId), Evaluation>,
    bad: BTreeSet<LeaderId>,
    made: Option<Decoys>,
}

impl std::fmt::Debug for DecoyKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DecoyKeys({}, redacted)", if self.made.is_some() { "made" } else { "to be made" })
    }
}

impl DecoyKeys {
    pub fn new(group: &GroupInfo, secrets: &LeaderSecrets, rng: &mut dyn CryptoRng) -> Self {
        let own = secrets.coin_share.evaluate(&point(group), rng);
        let (told, bad) = (BTreeMap::from([((group.generation(), secrets.id), own.clone())]), BTreeSet::new());
        let mut keys = DecoyKeys { own: own.to_bytes(), told, bad, made: None };
        // Where nobody may be hacked, one's own share is enough.
        let _ = keys.make(group, secrets);
        keys
    }

    /// For the other leaders, and for nobody else.
    pub fn own(&self) -> DecoyShare {
        self.own
    }

    /// Takes what a peer tells; returns who told wrong shares.
    pub fn on_share(
        &mut self,
        group: &GroupInfo,
        secrets: &LeaderSecrets,
        peer: LeaderId,
        (generation, share): (Generation, DecoyShare),
    ) -> Vec<LeaderId> {
        // Of a generation that is not known here nothing can be said, and the others' shares do as well.
        let known = group.coin_keys_of(generation).is_some();
        if self.made.is_some() || self.bad.contains(&peer) || peer == secrets.id || !known {
            return Vec::new();
        }
        self.told.retain(|(_, leader), _| *leader != peer);
        self.told.insert((generation, peer), Evaluation::from_bytes(share));
        self.make(group, secrets)
    }

    /// The secret is the same in every generation, but only shares of one generation make it.
    fn make(&mut self, group: &GroupInfo, secrets: &LeaderSecrets) -> Vec<LeaderId> {
        let generations: BTreeSet<Generation> = self.told.keys().map(|(generation, _)| *generation).collect();
        generations.into_iter().flat_map(|generation| self.make_of(group, secrets, generation)).collect()
    }

    fn make_of(&mut self, group: &GroupInfo, secrets: &LeaderSecrets, generation: Generation) -> Vec<LeaderId> {
        let mut caught = Vec::new();
        loop {
            let Some(keys) = group.coin_keys_of(generation).filter(|_| self.made.is_none()) else { return caught };
            let of_generation = self.told.iter().filter(|((of, _), _)| *of == generation);
            let told: Vec<_> = of_generation.map(|((_, leader), share)| (leader.share_index(), share)).collect();
            match keys.verify_and_combine(&point(group), &told) {
                Ok(value) => {
                    let seed = value.key("ringfort login decoys", &[&group.id().0]);
                    self.made = Decoys::new(&secrets.login_share, &group.login_keys, seed).ok();
                    self.told.clear();
                    return caught;
                }
                Err(CombineError::TooFew { .. }) => return caught,
                Err(CombineError::BadShares(bad)) => {
                    let of_generation = self.told.keys().filter(|(of, _)| *of == generation);
                    let leaders = of_generation.map(|(_, leader)| *leader);
                    let leaders: Vec<LeaderId> = leaders.filter(|l| bad.contains(&l.share_index())).collect();
                    for leader in &leaders {
                        self.told.remove(&(generation, *leader));
                        self.bad.insert(*leader);
                    }
                    caught.extend(leaders);
                }
            }
        }
    }

    /// This leader's share of the key that stands in for `user`'s. `None` before f others have told their shares.
    pub fn of(&self, user: &UserName) -> Option<(SecretShare, AnnouncedKey)> {
        let (share, announced) = self.made.as_ref()?.of(user.as_bytes());
        Some((share, AnnouncedKey(announced)))
    }
}

fn point(group: &GroupInfo) -> InputPoint {
    InputPoint::hash(KeyRole::Coin, &[b"login decoys", &group.id().0])
}
