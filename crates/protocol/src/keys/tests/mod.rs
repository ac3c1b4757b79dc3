//! Tests of views and their keys: what leaders publish and what a member makes of it.

mod alone;
mod certificate;
mod claims;
mod content;
mod ends;
mod hostile;
mod install;
mod publisher;

use std::collections::BTreeMap;

use super::*;
use crate::coordination::{Coordination, LifeRecord, Operation};
use crate::fault::Fault;
use crate::group::LeaderSecrets;
use crate::ids::{Epoch, MemberId, UserName, ViewDigest};
use crate::statement::Statement;
use crate::testing::{entry, group_of, leader, quick_policy, rng, user};
use crate::time::{Cx, Time};
use crate::view::{Cause, Change, MemberEntry, MemberSet, ViewHasher};
use crate::wire::SNAPSHOT_ENTRIES_MAX;

/// What leaders can say: any claim with a good share.
struct World {
    group: GroupInfo,
    secrets: Vec<LeaderSecrets>,
    hasher: ViewHasher,
}

fn members(stays: &[(&str, u64)]) -> MemberSet {
    let mut members = MemberSet::default();
    stays.iter().for_each(|(name, stay)| members.insert(entry(name, *stay)));
    members
}

/// Ana and many others, all with one set of keys, which is cheaper.
fn crowd(size: usize) -> MemberSet {
    let mut members = members(&[("ana", 1)]);
    let keys = entry("x", 1);
    let named = |i: usize| MemberId { user: user(&format!("x{i:05}")), ..keys.id.clone() };
    (1..size).for_each(|i| members.insert(MemberEntry { id: named(i), ..keys.clone() }));
    members
}

fn added(members: &MemberSet) -> Vec<Change> {
    members.iter().cloned().map(Change::Added).collect()
}

fn removed(name: &str) -> Change {
    Change::Removed(user(name), Cause::Left)
}

impl World {
    fn new(n: u8, f: u8, threshold: u8) -> Self {
        let (group, secrets) = group_of(n, f, threshold, quick_policy());
        let hasher = ViewHasher::new(&group, group.session());
        World { group, secrets, hasher }
    }

    fn view(&self, epoch: u64, members: &MemberSet) -> ViewId {
        self.hasher.view_id(Epoch(epoch), 0, members.hash())
    }

    fn share(&self, by: u8, view: ViewId, refreshes: u64) -> [u8; 128] {
        let point = view_point(&self.group, self.group.session(), view, refreshes);
        self.secrets[usize::from(by) - 1].group_share.evaluate(&point, &mut rng(by.into())).to_bytes()
    }

    fn statement(&self, by: u8, view: ViewId, refreshes: u64) -> Statement {
        Statement::sign(&self.secrets[usize::from(by) - 1], &self.group, view, refreshes, 1_000 * u64::from(by))
    }

    /// A leader's claim with the whole list; its number is the epoch.
    fn claim(&self, by: u8, epoch: u64, members: &MemberSet) -> ViewClaim {
        let view = self.view(epoch, members);
        let share = self.share(by, view, 0);
        let statement = self.statement(by, view, 0);
        ViewClaim { number: epoch, view, refreshes: 0, base: Base::Empty, changes: added(members), share, statement }
    }

    /// A leader's claim without the list.
    fn bare(&self, by: u8, epoch: u64, members: &MemberSet) -> ViewClaim {
        ViewClaim { base: Base::Omitted, changes: vec![], ..self.claim(by, epoch, members) }
    }

    /// A leader's claim as a difference from another view.
    fn step(&self, by: u8, epoch: u64, members: &MemberSet, base: ViewId, changes: Vec<Change>) -> ViewClaim {
        ViewClaim { base: Base::View(base.digest), changes, ..self.claim(by, epoch, members) }
    }

    /// Ana's tracker, with nothing installed.
    fn tracker(&self) -> Ana<'_> {
        Ana { world: self, tracker: ViewTracker::new(&self.group, entry("ana", 1).id) }
    }

    /// Ana's tracker in a view that all leaders claim.
    fn in_view(&self, epoch: u64, members: &MemberSet) -> Ana<'_> {
        let mut ana = self.tracker();
        self.group.rules.leaders().for_each(|by| drop(ana.hears(by.number(), self.claim(by.number(), epoch, members))));
        assert_eq!(ana.view(), Some(self.view(epoch, members)));
        ana
    }
}

/// The tracker of member ana#1.
struct Ana<'a> {
    world: &'a World,
    tracker: ViewTracker,
}

impl Ana<'_> {
    fn hears(&mut self, by: u8, claim: ViewClaim) -> Vec<TrackerOutput> {
        self.tracker.on_claim(&self.world.group, leader(by), claim)
    }

    fn view(&self) -> Option<ViewId> {
        self.tracker.installed().map(|installed| installed.id)
    }

    fn names(&self) -> Vec<String> {
        let installed = self.tracker.installed();
        installed.into_iter().flat_map(|v| v.members.iter().map(|e| e.id.user.to_string())).collect()
    }

    fn asks(&self, attempt: usize) -> Option<(LeaderId, Ask)> {
        self.tracker.missing(&self.world.group, attempt)
    }

    /// A part of a list of `members`, as an honest leader sends it.
    fn is_sent(&mut self, by: u8, view: ViewId, members: &MemberSet, after: Option<UserName>) -> Vec<TrackerOutput> {
        let rest = members.iter().filter(|e| after.as_ref().is_none_or(|after| &e.id.user > after));
        let mut entries: Vec<_> = rest.take(SNAPSHOT_ENTRIES_MAX + 1).cloned().collect();
        let last = entries.len() <= SNAPSHOT_ENTRIES_MAX;
        entries.truncate(SNAPSHOT_ENTRIES_MAX);
        self.tracker.on_snapshot(&self.world.group, leader(by), view.digest, after.as_ref(), entries, last)
    }
}

fn blames(outputs: &[TrackerOutput]) -> Vec<(u8, Fault)> {
    let faults = outputs.iter().filter_map(|output| match output {
        TrackerOutput::Blame(leader, fault) => Some((leader.number(), *fault)),
        _ => None,
    });
    faults.collect()
}

fn installed(outputs: &[TrackerOutput]) -> Option<(ViewId, Secret32)> {
    outputs.iter().find_map(|output| match output {
        TrackerOutput::Installed { view, key, .. } => key.clone().map(|key| (*view, key)),
        _ => None,
    })
}

fn readable(outputs: &[TrackerOutput]) -> Option<(ViewId, Secret32)> {
    outputs.iter().find_map(|output| match output {
        TrackerOutput::Readable { view, key } => Some((*view, key.clone())),
        _ => None,
    })
}

use crate::ids::LeaderId;
