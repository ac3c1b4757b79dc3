//! Where the content of claimed views comes from: whole lists, differences, lists in parts.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ask, Claimed, Current, TrackerOutput, ViewTracker};
use crate::fault::Fault;
use crate::group::GroupInfo;
use crate::ids::{LeaderId, UserName, ViewDigest};
use crate::rules::Rule;
use crate::view::{Cause, Change, MemberEntry, MemberSet};
use crate::wire::SNAPSHOT_ENTRIES_MAX;

impl ViewTracker {
    /// Handles a part of a member list: of the view that the leader itself claims, in order, from its start.
    #[must_use]
    pub fn on_snapshot(
        &mut self,
        group: &GroupInfo,
        from: LeaderId,
        digest: ViewDigest,
        after: Option<&UserName>,
        entries: Vec<MemberEntry>,
        last: bool,
    ) -> Vec<TrackerOutput> {
        let mut out = Vec::new();
        let Some(Current { claimed, .. }) = self.current.get(&from).copied() else { return out };
        let wanted = self.candidates.get(&claimed).is_some_and(|c| c.changes.is_none());
        if claimed.view.digest != digest || !wanted {
            return out;
        }
        let (of, list) = self.lists.entry(from).or_insert_with(|| (digest, Vec::new()));
        if *of != digest {
            (*of, *list) = (digest, Vec::new());
        }
        // Each leader lets in only so many as it sees room for; who comes to different leaders at once may all get in.
        let members_max = group.policy.members_max as usize * usize::from(group.rules.n());
        let fits = list.len() + entries.len() <= members_max && (last || entries.len() == SNAPSHOT_ENTRIES_MAX);
        if after != list.last().map(|e| &e.id.user) || !fits {
            return out;
        }
        list.extend(entries);
        if last {
            let list = std::mem::take(list);
            self.lists.remove(&from);
            let list: Vec<_> = list.into_iter().map(Change::Added).collect();
            let changes = self.difference_to(&list);
            self.resolve(group, from, claimed, changes, &mut out);
            self.settle(group, &mut out);
        }
        out
    }

    /// What to ask of a leader that has sent a part of a list, for the rest of it.
    pub fn rest_of_list(&self, leader: LeaderId) -> Option<Ask> {
        let (digest, list) = self.lists.get(&leader)?;
        list.last().map(|entry| Ask::Snapshot(*digest, Some(entry.id.user.clone())))
    }

    /// What to ask, and whom, to complete the best view that f+1 leaders claim. Every attempt asks another leader.
    pub fn missing(&self, group: &GroupInfo, attempt: usize) -> Option<(LeaderId, Ask)> {
        let (claimed, candidate) = self
            .candidates
            .iter()
            .rev()
            .filter(|(_, c)| self.reads && c.key.is_none() || c.changes.is_none())
            .find(|(claimed, _)| self.claimants(**claimed).count() >= group.rules.confirm())?;
        let claimants: Vec<_> = self.claimants(*claimed).collect();
        let leader = *claimants.get(attempt % claimants.len().max(1))?;
        let have = self.installed.as_ref().map(|v| v.id.digest);
        // A difference is shorter than the list; who has nothing installed gets none.
        let whole = have.is_none() || attempt >= claimants.len();
        let ask = if candidate.changes.is_none() && whole {
            let start = Ask::Snapshot(claimed.view.digest, None);
            let rest = self.rest_of_list(leader);
            rest.filter(|rest| matches!(rest, Ask::Snapshot(digest, _) if *digest == claimed.view.digest))
                .unwrap_or(start)
        } else {
            Ask::Claim(have)
        };
        Some((leader, ask))
    }

    /// From the installed view to a candidate whose content is known.
    pub(super) fn changes_to(&self, view: ViewDigest) -> Option<&Vec<Change>> {
        self.candidates.iter().find_map(|(c, state)| state.changes.as_ref().filter(|_| c.view.digest == view))
    }

    /// The net changes from the installed view to `base` and then `changes`; `None` if `base` is unknown.
    pub(super) fn after(&self, base: ViewDigest, changes: &[Change]) -> Option<Vec<Change>> {
        if self.installed.as_ref().is_some_and(|v| v.id.digest == base) {
            return Some(changes.to_vec());
        }
        let before = self.changes_to(base)?;
        let mut net: BTreeMap<_, _> = before.iter().map(|c| (c.user(), c)).collect();
        net.extend(changes.iter().map(|c| (c.user(), c)));
        Some(net.into_values().cloned().collect())
    }

    /// The changes from the installed view to a whole list.
    pub(super) fn difference_to(&self, list: &[Change]) -> Vec<Change> {
        let listed: BTreeSet<&UserName> = list.iter().map(Change::user).collect();
        let members = self.installed.as_ref().map(|v| &v.members);
        let gone = members.into_iter().flat_map(MemberSet::iter).filter(|e| !listed.contains(&e.id.user));
        let removed = gone.map(|e| Change::Removed(e.id.user.clone(), Cause::Left));
        let news = |change: &&Change| match change {
            Change::Added(entry) => members.and_then(|m| m.get(&entry.id.user)) != Some(entry),
            Change::Removed(..) => false,
        };
        list.iter().filter(news).cloned().chain(removed).collect()
    }

    /// Takes content for a claimed view, if it hashes to the view's digest.
    pub(super) fn resolve(
        &mut self,
        group: &GroupInfo,
        from: LeaderId,
        claimed: Claimed,
        changes: Vec<Change>,
        out: &mut Vec<TrackerOutput>,
    ) {
        let Some(candidate) = self.candidates.get_mut(&claimed) else { return };
        if candidate.changes.is_some() {
            return;
        }
        let users: BTreeSet<&UserName> = changes.iter().map(Change::user).collect();
        let empty = MemberSet::default();
        let members = self.installed.as_ref().map_or(&empty, |v| &v.members);
        let hash = members.hash_after(&changes);
        let right = users.len() == changes.len()
            && self.hasher.view_id(claimed.view.epoch, claimed.refreshes, &hash) == claimed.view;
        if right || !group.rules.enforces(Rule::ViewDigest) {
            candidate.changes = Some(changes);
        } else {
            out.push(TrackerOutput::Blame(from, Fault::BadView));
        }
    }

    /// Rewrites other candidates' changes to start from the view about to be installed.
    pub(super) fn rebase(&mut self, installing: &[Change], old: &MemberSet) {
        for candidate in self.candidates.values_mut() {
            let Some(changes) = &mut candidate.changes else { continue };
            let theirs: BTreeMap<UserName, Change> = changes.drain(..).map(|c| (c.user().clone(), c)).collect();
            let mut target = theirs;
            for change in installing {
                let user = change.user();
                let stays = || match old.get(user) {
                    Some(entry) => Change::Added(entry.clone()),
                    None => Change::Removed(user.clone(), Cause::Left),
                };
                let wanted = target.entry(user.clone()).or_insert_with(stays);
                let same = match (&*wanted, change) {
                    (Change::Added(a), Change::Added(b)) => a == b,
                    (Change::Removed(..), Change::Removed(..)) => true,
                    _ => false,
                };
                if same {
                    target.remove(user);
                }
            }
            *changes = target.into_values().collect();
        }
    }
}
