//! Views under consideration. Each leader keeps up to so many alive, and takes none away from another.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_crypto::secret::Secret32;
use ringfort_crypto::threshold::{CombineError, Evaluation, InputPoint, PublicKeySet};

use super::{Claimed, Current, ViewTracker};
use crate::group::GroupInfo;
use crate::ids::{LeaderId, UserName, ViewId};
use crate::keys::group_key;
use crate::rules::Rule;
use crate::succession::Generation;
use crate::view::Change;

/// Views that one leader's words keep under consideration at once: what it claims now, and what it gave shares of.
const STAKES_MAX: usize = 48;
/// One leader has content of more changes than this kept for one view at a time.
const SMALL_MAX: usize = 512;

/// Changes of views, one for each user.
pub(super) type Changes = BTreeMap<UserName, Change>;

#[derive(Default)]
pub(super) struct Candidate {
    /// Leaders that have claimed it or given a share of it; without any it is dropped.
    stakes: BTreeSet<LeaderId>,
    /// Each with its generation.
    pub shares: BTreeMap<LeaderId, (Generation, Evaluation)>,
    pub caught: BTreeSet<LeaderId>,
    /// From the installed view, and nothing that is so already; `None` while unknown. The digest allows no other, but
    /// for the causes, which count by leader.
    pub changes: Option<Changes>,
    /// Who told them.
    told_by: Option<LeaderId>,
    pub key: Option<Secret32>,
    /// Messages wait for it, and leaders were asked for its shares: each answers once, whatever is installed meanwhile.
    pub is_awaited: bool,
}

impl Candidate {
    /// Verifies shares of one generation and combines them, and names whoever sent a bad one.
    pub fn combine(
        &mut self,
        group: &GroupInfo,
        (generation, keys): (Generation, &PublicKeySet),
        point: &InputPoint,
        view: ViewId,
    ) -> Vec<LeaderId> {
        let threshold = group.rules.key_threshold();
        let mut named = Vec::new();
        while self.key.is_none() {
            let of_generation = self.shares.iter().filter(|(_, (of, _))| *of == generation);
            let shares: Vec<_> = of_generation.take(threshold).map(|(l, (_, e))| (l.share_index(), e)).collect();
            if shares.len() < threshold {
                break;
            }
            if !group.rules.enforces(Rule::ShareProof) {
                self.key = keys.combine(point, &shares).map(|o| group_key(&o, view));
                break;
            }
            match keys.verify_and_combine(point, &shares) {
                Ok(output) => self.key = Some(group_key(&output, view)),
                Err(CombineError::TooFew { .. }) => break,
                Err(CombineError::BadShares(bad)) => {
                    let is_bad = |l: &LeaderId| bad.contains(&l.share_index());
                    let culprits: Vec<_> = self.shares.keys().copied().filter(is_bad).collect();
                    if culprits.is_empty() {
                        break;
                    }
                    for leader in culprits {
                        self.shares.remove(&leader);
                        self.caught.insert(leader);
                        named.push(leader);
                    }
                }
            }
        }
        named
    }
}

impl ViewTracker {
    /// A leader claims a view, or gives its share of it.
    pub(super) fn consider(&mut self, from: LeaderId, claimed: Claimed, share: &[u8; 128]) {
        let candidate = self.candidates.entry(claimed).or_default();
        candidate.stakes.insert(from);
        if !candidate.caught.contains(&from) && candidate.key.is_none() {
            let generation = self.generations.get(&from).copied().unwrap_or_default();
            candidate.shares.insert(from, (generation, Evaluation::from_bytes(*share)));
        }
        if self.candidates.len() > STAKES_MAX {
            self.limit_stakes(from, claimed);
        }
    }

    /// Another machine has taken a leader's place: what the one before claimed and gave shares of.
    pub(super) fn forget_stakes(&mut self, leader: LeaderId) {
        self.candidates.retain(|_, candidate| {
            candidate.shares.remove(&leader);
            candidate.caught.remove(&leader);
            !candidate.stakes.remove(&leader) || !candidate.stakes.is_empty()
        });
    }

    /// A leader with too many stakes loses the oldest of them, and with it nobody else's.
    fn limit_stakes(&mut self, from: LeaderId, newest: Claimed) {
        let now = self.current.get(&from).map(|Current { claimed, .. }| *claimed);
        let mine: Vec<Claimed> =
            self.candidates.iter().filter(|(_, c)| c.stakes.contains(&from)).map(|(claimed, _)| *claimed).collect();
        let spare = mine.iter().filter(|claimed| **claimed != newest && Some(**claimed) != now);
        for claimed in spare.take(mine.len().saturating_sub(STAKES_MAX)) {
            let Some(candidate) = self.candidates.get_mut(claimed) else { continue };
            candidate.stakes.remove(&from);
            candidate.shares.remove(&from);
            if candidate.stakes.is_empty() {
                self.candidates.remove(claimed);
            }
        }
    }

    /// Keeps what a leader told of a view that it hashes to. Long content of other views by the same leader makes room:
    /// it can be asked for again.
    pub(super) fn keep_content(&mut self, from: LeaderId, claimed: Claimed, changes: Changes) {
        if changes.len() > SMALL_MAX {
            let long = |c: &&mut Candidate| c.changes.as_ref().is_some_and(|changes| changes.len() > SMALL_MAX);
            let others = self.candidates.values_mut().filter(|c| c.told_by == Some(from)).filter(long);
            others.for_each(|candidate| candidate.changes = None);
        }
        if let Some(candidate) = self.candidates.get_mut(&claimed) {
            (candidate.changes, candidate.told_by) = (Some(changes), Some(from));
        }
    }
}
