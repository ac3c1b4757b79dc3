//! Where the content of claimed views comes from: whole lists, differences, lists in parts.

use super::{Ask, Changes, Claimed, Current, TrackerOutput, ViewTracker};
use crate::fault::Fault;
use crate::group::GroupInfo;
use crate::ids::{LeaderId, UserName, ViewDigest};
use crate::rules::Rule;
use crate::view::{Cause, Change, MemberEntry, MemberSet};
use crate::wire::SNAPSHOT_ENTRIES_MAX;

/// What one leader says a view holds.
pub(super) enum Content {
    /// From the installed view.
    Changes(Changes),
    /// It starts from a view that is not known here, or the list is left out.
    Unknown,
    /// No leader that follows the protocol says this.
    False,
}

impl From<Option<Changes>> for Content {
    fn from(changes: Option<Changes>) -> Self {
        changes.map_or(Content::False, Content::Changes)
    }
}

/// One change for each user; `None` where somebody comes twice.
fn by_user(changes: impl IntoIterator<Item = Change>) -> Option<Changes> {
    let mut net = Changes::new();
    let twice = changes.into_iter().any(|change| net.insert(change.user().clone(), change).is_some());
    (!twice).then_some(net)
}

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
            let content = self.difference_to(list);
            self.resolve(group, from, claimed, content, &mut out);
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
            .filter(|(claimed, _)| self.claimants(**claimed).count() >= group.rules.confirm())
            .find(|(claimed, c)| {
                self.reads && c.key.is_none() || c.changes.is_none() || !self.is_settled(group, **claimed)
            })?;
        if candidate.changes.is_some() && !self.is_settled(group, *claimed) {
            return self.missing_fates(group, *claimed, attempt);
        }
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

    /// From the installed view to another whose content is known: a candidate, or the view before.
    pub(super) fn changes_to(&self, view: ViewDigest) -> Option<&Changes> {
        let before = self.before.as_ref().filter(|(digest, _)| *digest == view).map(|(_, undo)| undo);
        let known = || self.candidates.iter().find_map(|(c, s)| s.changes.as_ref().filter(|_| c.view.digest == view));
        before.or_else(known)
    }

    /// The net changes from the installed view to `base` and then `changes`.
    pub(super) fn after(&self, base: ViewDigest, changes: Vec<Change>) -> Content {
        let Some(changes) = by_user(changes) else { return Content::False };
        if self.installed.as_ref().is_some_and(|v| v.id.digest == base) {
            return Content::Changes(changes);
        }
        let Some(mut net) = self.changes_to(base).cloned() else { return Content::Unknown };
        net.extend(changes);
        Content::Changes(net)
    }

    /// The changes from the installed view to a whole list.
    pub(super) fn difference_to(&self, list: Vec<Change>) -> Content {
        let Some(mut net) = by_user(list) else { return Content::False };
        if net.values().any(|change| matches!(change, Change::Removed(..))) {
            return Content::False;
        }
        let members = self.installed.as_ref().map(|v| &v.members);
        for entry in members.into_iter().flat_map(MemberSet::iter) {
            let user = &entry.id.user;
            net.entry(user.clone()).or_insert_with(|| Change::Removed(user.clone(), Cause::Lost));
        }
        Content::Changes(net)
    }

    /// Takes content for a claimed view, if it hashes to the view's digest.
    ///
    /// What is so already is left out first, whoever tells it: the digest does not see it, so one leader alone could say
    /// it. What is left the digest determines, so whoever tells it first keeps nobody else's from being used.
    pub(super) fn resolve(
        &mut self,
        group: &GroupInfo,
        from: LeaderId,
        claimed: Claimed,
        content: Content,
        out: &mut Vec<TrackerOutput>,
    ) {
        if self.candidates.get(&claimed).is_none_or(|candidate| candidate.changes.is_some()) {
            return;
        }
        let mut changes = match content {
            Content::Changes(changes) => changes,
            Content::Unknown => return,
            Content::False => return out.push(TrackerOutput::Blame(from, Fault::BadView)),
        };
        let empty = MemberSet::default();
        let members = self.installed.as_ref().map_or(&empty, |v| &v.members);
        let is_true = |user: &UserName, change: &Change| match change {
            Change::Added(entry) => members.get(user) != Some(entry),
            Change::Removed(..) => members.get(user).is_some(),
        };
        changes.retain(|user, change| is_true(user, change) || !group.rules.enforces(Rule::TrueChanges));
        let hash = members.hash_after(changes.values());
        let right = self.hasher.view_id(claimed.view.epoch, claimed.refreshes, &hash) == claimed.view;
        if right || !group.rules.enforces(Rule::ViewDigest) {
            self.keep_content(from, claimed, changes);
        } else {
            out.push(TrackerOutput::Blame(from, Fault::BadView));
        }
    }

    /// Rewrites other candidates' changes to start from the view about to be installed.
    pub(super) fn rebase(&mut self, installing: &Changes, old: &MemberSet) {
        for target in self.candidates.values_mut().filter_map(|candidate| candidate.changes.as_mut()) {
            for (user, change) in installing {
                let stays = || match old.get(user) {
                    Some(entry) => Change::Added(entry.clone()),
                    None => Change::Removed(user.clone(), Cause::Lost),
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
        }
    }
}
