//! Stays that are over, and do not come back.

use super::{TOMBSTONES_MAX, ViewTracker};
use crate::group::GroupInfo;
use crate::ids::{LeaderId, MemberId, UserName, ViewDigest};
use crate::rules::Rule;
use crate::view::Change;

impl ViewTracker {
    /// Notes which stays a leader says have ended: those in the view it starts from that it takes out.
    pub(super) fn note_ends(&mut self, from: LeaderId, base: ViewDigest, changes: &[Change]) {
        let removed = changes.iter().filter(|c| matches!(c, Change::Removed(..)));
        let ended: Vec<MemberId> = removed.filter_map(|c| self.stay_in(base, c.user())).collect();
        for stay in ended {
            if self.obituaries.len() >= TOMBSTONES_MAX && !self.obituaries.contains_key(&stay) {
                self.obituaries.pop_first();
            }
            self.obituaries.entry(stay).or_default().insert(from);
        }
    }

    /// The stay that a user has in a view, if both are known.
    pub(super) fn stay_in(&self, view: ViewDigest, user: &UserName) -> Option<MemberId> {
        let installed = self.installed.as_ref()?;
        let in_installed = || installed.members.get(user).map(|e| e.id.clone());
        if let Some((_, gone)) = self.before.as_ref().filter(|(digest, _)| *digest == view) {
            return gone.iter().find(|id| &id.user == user).cloned().or_else(in_installed);
        }
        if installed.id.digest == view {
            return in_installed();
        }
        let changes = self.changes_to(view)?;
        match changes.iter().find(|c| c.user() == user) {
            Some(Change::Added(entry)) => Some(entry.id.clone()),
            Some(Change::Removed(..)) => None,
            None => in_installed(),
        }
    }

    /// Whether changes bring back a stay that f+1 leaders said has ended, or that a later one has replaced:
    /// f hacked leaders and a late honest one could otherwise agree on a view from before an expulsion.
    ///
    /// That a stay is missing from a view says nothing: its leaders may not have heard of it yet.
    pub(super) fn raises_dead(&self, group: &GroupInfo, changes: &[Change]) -> bool {
        let is_dead = |stay: &MemberId| {
            self.tombstones.get(&stay.user).is_some_and(|last| stay.incarnation <= *last)
                || self.obituaries.get(stay).is_some_and(|by| by.len() >= group.rules.confirm())
        };
        group.rules.enforces(Rule::Tombstone)
            && changes.iter().any(|change| matches!(change, Change::Added(entry) if is_dead(&entry.id)))
    }

    pub(super) fn bury(&mut self, ended: &MemberId) {
        if self.tombstones.len() >= TOMBSTONES_MAX {
            self.tombstones.pop_first();
        }
        let tombstone = self.tombstones.entry(ended.user.clone()).or_default();
        *tombstone = ended.incarnation.max(*tombstone);
    }
}
