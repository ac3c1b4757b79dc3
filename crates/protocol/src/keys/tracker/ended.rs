//! Stays that are over, and do not come back.
//!
//! That a stay is missing from a view says nothing by itself: the view's leaders may not have heard of it yet. So a
//! view that takes stays out is installed only once f+1 leaders say the same of each: that it is over, or that it is
//! not. What f+1 say is over is remembered for the rest of this member's stay.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ask, Claimed, TrackerOutput, ViewTracker};
use crate::group::GroupInfo;
use crate::ids::{Incarnation, LeaderId, MemberId, UserName, ViewDigest};
use crate::rules::Rule;
use crate::view::{Cause, Change, MemberEntry, MemberSet};
use crate::wire::FATES_MAX;

/// Users whose last ended stay is remembered: as many as leaders keep the lives of.
const TOMBSTONES_MAX: usize = 65_536;

/// What leaders say of the ends of stays.
#[derive(Default)]
pub(super) struct Ends {
    /// Up to which stay of a user all are over: in an installed view a later one took its place, or f+1 leaders said so.
    tombstones: BTreeMap<UserName, Incarnation>,
    /// Stays of the installed view, and those that it took out, which leaders say are over, and why. Nothing else is
    /// kept, so no invented view fills this.
    over: BTreeMap<MemberId, BTreeMap<LeaderId, Cause>>,
    /// Stays of the installed view of which a leader says that they are not over, under the view that it claims now.
    open: BTreeMap<LeaderId, BTreeSet<MemberId>>,
    /// Who went out while leaders disagreed whether as expelled: not heard until f+1 say that it was not.
    silenced: BTreeMap<MemberId, MemberEntry>,
}

impl Ends {
    fn says_over(&self, stay: &MemberId) -> usize {
        self.over.get(stay).map_or(0, BTreeMap::len)
    }

    /// What f+1 leaders say is the cause.
    fn agreed(&self, group: &GroupInfo, stay: &MemberId) -> Option<Cause> {
        let words = self.over.get(stay)?;
        let said = |cause: &Cause| words.values().filter(|word| *word == cause).count();
        words.values().find(|cause| said(cause) >= group.rules.confirm()).copied()
    }

    fn bury(&mut self, ended: &MemberId) {
        if self.tombstones.len() >= TOMBSTONES_MAX && !self.tombstones.contains_key(&ended.user) {
            self.tombstones.pop_first();
        }
        let tombstone = self.tombstones.entry(ended.user.clone()).or_default();
        *tombstone = ended.incarnation.max(*tombstone);
    }

    /// A leader claims another view, or its link is new.
    pub(super) fn forget_open(&mut self, leader: LeaderId) {
        self.open.remove(&leader);
    }

    /// Another machine has taken a leader's place.
    pub(super) fn forget_over(&mut self, leader: LeaderId) {
        self.over.retain(|_, words| {
            words.remove(&leader);
            !words.is_empty()
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.over.len()
    }
}

impl ViewTracker {
    /// Notes which stays a leader says have ended: those in the view it starts from that it takes out.
    pub(super) fn note_ends(
        &mut self,
        group: &GroupInfo,
        from: LeaderId,
        base: ViewDigest,
        changes: &[Change],
        out: &mut Vec<TrackerOutput>,
    ) {
        for change in changes {
            if let Change::Removed(user, cause) = change
                && let Some(stay) = self.stay_in(base, user)
            {
                self.note_over(group, from, stay, *cause, out);
            }
        }
    }

    /// Handles a leader's answer to [`Ask::Fates`].
    #[must_use]
    pub fn on_fates(
        &mut self,
        group: &GroupInfo,
        from: LeaderId,
        over: Vec<(MemberId, Cause)>,
        open: Vec<MemberId>,
    ) -> Vec<TrackerOutput> {
        let mut out = Vec::new();
        for (stay, cause) in over {
            self.note_over(group, from, stay, cause, &mut out);
        }
        for stay in open {
            if self.is_present(&stay) {
                self.ends.open.entry(from).or_default().insert(stay);
            }
        }
        self.settle(group, &mut out);
        out
    }

    fn note_over(
        &mut self,
        group: &GroupInfo,
        from: LeaderId,
        stay: MemberId,
        cause: Cause,
        out: &mut Vec<TrackerOutput>,
    ) {
        let went = matches!(self.undo(&stay.user), Some(Change::Added(entry)) if entry.id == stay);
        if !went && !self.is_present(&stay) {
            return;
        }
        self.ends.over.entry(stay.clone()).or_default().insert(from, cause);
        if let Some(cause) = self.ends.agreed(group, &stay)
            && let Some(entry) = self.ends.silenced.remove(&stay)
            && cause != Cause::Expelled
        {
            out.push(TrackerOutput::Reopened(entry));
        }
    }

    fn is_present(&self, stay: &MemberId) -> bool {
        self.installed.as_ref().is_some_and(|v| v.members.get_member(stay).is_some())
    }

    /// What leads a user back to the view before the installed one.
    fn undo(&self, user: &UserName) -> Option<&Change> {
        self.before.as_ref()?.1.get(user)
    }

    /// The stay that a user has in a view, if both are known.
    fn stay_in(&self, view: ViewDigest, user: &UserName) -> Option<MemberId> {
        let installed = self.installed.as_ref()?;
        let in_installed = || installed.members.get(user).map(|e| e.id.clone());
        if installed.id.digest == view {
            return in_installed();
        }
        match self.changes_to(view)?.get(user) {
            Some(Change::Added(entry)) => Some(entry.id.clone()),
            Some(Change::Removed(..)) => None,
            None => in_installed(),
        }
    }

    /// Stays of the installed view that a claimed one takes out, and of which no f+1 leaders say the same yet.
    ///
    /// One honest leader may be the only one that knows of an end while hacked ones claim its view and deny the end:
    /// were the view installed on that, the same hacked ones and a late leader could bring the stay back.
    fn unsettled(&self, group: &GroupInfo, claimed: Claimed) -> Vec<&MemberId> {
        let changes = self.candidates.get(&claimed).and_then(|c| c.changes.as_ref());
        let (Some(changes), Some(installed)) = (changes, &self.installed) else { return Vec::new() };
        if !group.rules.enforces(Rule::Tombstone) {
            return Vec::new();
        }
        let confirm = group.rules.confirm();
        let is_open = |by: LeaderId, stay: &MemberId| self.ends.open.get(&by).is_some_and(|open| open.contains(stay));
        let agreed = |stay: &MemberId| {
            self.ends.says_over(stay) >= confirm
                || self.claimants(claimed).filter(|by| is_open(*by, stay)).count() >= confirm
        };
        let removed = changes.values().filter(|change| matches!(change, Change::Removed(..)));
        let stays = removed.filter_map(|change| installed.members.get(change.user())).map(|entry| &entry.id);
        stays.filter(|stay| !agreed(stay)).collect()
    }

    pub(super) fn is_settled(&self, group: &GroupInfo, claimed: Claimed) -> bool {
        self.unsettled(group, claimed).is_empty()
    }

    /// Whom to ask for the fates that a claimed view lacks: a claimant that has not told.
    pub(super) fn missing_fates(&self, group: &GroupInfo, claimed: Claimed, attempt: usize) -> Option<(LeaderId, Ask)> {
        let stays: Vec<MemberId> = self.unsettled(group, claimed).into_iter().take(FATES_MAX).cloned().collect();
        let first = stays.first()?;
        let told = |by: &LeaderId| {
            self.ends.over.get(first).is_some_and(|words| words.contains_key(by))
                || self.ends.open.get(by).is_some_and(|open| open.contains(first))
        };
        let silent: Vec<LeaderId> = self.claimants(claimed).filter(|by| !told(by)).collect();
        let leader = *silent.get(attempt % silent.len().max(1))?;
        Some((leader, Ask::Fates(stays)))
    }

    /// Whether changes bring back a stay that f+1 leaders said has ended, or that a later one has replaced:
    /// f hacked leaders and a late honest one could otherwise agree on a view from before an expulsion.
    pub(super) fn raises_dead<'a>(&self, group: &GroupInfo, changes: impl IntoIterator<Item = &'a Change>) -> bool {
        let present = |user: &UserName| self.installed.as_ref().and_then(|v| v.members.get(user));
        let is_dead = |stay: &MemberId| {
            self.ends.tombstones.get(&stay.user).is_some_and(|last| stay.incarnation <= *last)
                || self.ends.says_over(stay) >= group.rules.confirm()
                || present(&stay.user).is_some_and(|now| stay.incarnation < now.id.incarnation)
        };
        let mut changes = changes.into_iter();
        group.rules.enforces(Rule::Tombstone)
            && changes.any(|change| matches!(change, Change::Added(entry) if is_dead(&entry.id)))
    }

    /// A stay goes out with the view that is being installed: the cause to tell, and the one to act on.
    ///
    /// Where no f+1 leaders agree, its messages end as if it were expelled if any leader says so: one leader alone must
    /// not keep an expelled sender heard. It is heard again if f+1 say otherwise.
    pub(super) fn part_from(&mut self, group: &GroupInfo, gone: &MemberEntry) -> (Cause, Cause) {
        if let Some(cause) = self.ends.agreed(group, &gone.id) {
            return (cause, cause);
        }
        let words = self.ends.over.get(&gone.id);
        if words.is_some_and(|words| words.values().any(|cause| *cause == Cause::Expelled)) {
            self.ends.silenced.insert(gone.id.clone(), gone.clone());
            return (Cause::Lost, Cause::Expelled);
        }
        (Cause::Lost, Cause::Lost)
    }

    /// A later stay of the same user takes its place.
    pub(super) fn bury(&mut self, replaced: &MemberId) {
        self.ends.bury(replaced);
    }

    /// A view is installed: what f+1 leaders said is over stays so, and words on other stays than its own and those
    /// that it took out are forgotten.
    pub(super) fn settle_ends(&mut self, group: &GroupInfo, members: &MemberSet, undo: &BTreeMap<UserName, Change>) {
        let confirm = group.rules.confirm();
        let went = |stay: &MemberId| matches!(undo.get(&stay.user), Some(Change::Added(e)) if e.id == *stay);
        let over = std::mem::take(&mut self.ends.over);
        for (stay, words) in over {
            let present = members.get_member(&stay).is_some();
            if !present && words.len() >= confirm {
                self.ends.bury(&stay);
            }
            if present || went(&stay) {
                self.ends.over.insert(stay, words);
            }
        }
        self.ends.open.clear();
        self.ends.silenced.retain(|stay, _| went(stay));
    }
}
