//! The table of groups: name to members, and what a change of the sites does to it.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::groups::exchange::{Component, Entry, Part};
use crate::ids::{GroupViewId, Name, RingId, SiteId, SiteSet};

/// A client anywhere: members are ordered by site and then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Member {
    /// Its site.
    pub site: SiteId,
    /// Its private name.
    pub name: Name,
}

/// One group.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) id: GroupViewId,
    /// Each with whether it has had a view of this group.
    pub(super) members: BTreeMap<Member, bool>,
    /// Members are lost, or joined at the end of a ring: the next view is one of the network.
    pub(super) unsettled: bool,
    /// The transitional signal was given.
    signalled: bool,
}

/// A new view that the network caused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetworkView {
    pub(super) group: Name,
    pub(super) id: GroupViewId,
    pub(super) members: Vec<Member>,
    pub(super) sets: Vec<Vec<Name>>,
}

/// What a join or a leave did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing: it was in already, or not in.
    None,
    /// A new view.
    View,
    /// It will show in the next view of the network.
    Later,
    /// The table is full.
    Refused,
}

/// All groups of a ring.
#[derive(Debug, Default)]
pub(super) struct Table {
    ring: RingId,
    groups: BTreeMap<Name, Group>,
    memberships: usize,
    /// The highest index of any group of this ring that is gone: a group that comes again goes on above.
    floor: u32,
}

impl Table {
    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn memberships(&self) -> usize {
        self.memberships
    }

    pub(super) fn get(&self, group: &Name) -> Option<&Group> {
        self.groups.get(group)
    }

    /// The groups that `member` is in.
    pub(super) fn groups_of(&self, member: &Member) -> Vec<Name> {
        self.groups
            .iter()
            .filter(|(_, group)| group.members.contains_key(member))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// A client joins. `at_end` while the end of a ring is delivered: then others may make the same group differently,
    /// so a new group waits for the next ring.
    pub(super) fn join(&mut self, member: Member, name: &Name, at_end: bool, memberships_max: usize) -> Change {
        let is_in = self.groups.get(name).is_some_and(|group| group.members.contains_key(&member));
        if is_in {
            return Change::None;
        }
        if self.memberships >= memberships_max {
            return Change::Refused;
        }
        self.memberships += 1;
        let first = GroupViewId { ring: self.ring, index: self.floor };
        let group = self.groups.entry(name.clone()).or_insert_with(|| Group {
            id: first,
            unsettled: at_end,
            ..Group::default()
        });
        let view = !group.unsettled;
        group.members.insert(member, view);
        if view {
            group.id.index += 1;
        }
        if view { Change::View } else { Change::Later }
    }

    /// A client leaves, by its own wish or not.
    pub(super) fn leave(&mut self, member: &Member, name: &Name) -> Change {
        let Some(group) = self.groups.get_mut(name) else { return Change::None };
        if group.members.remove(member).is_none() {
            return Change::None;
        }
        self.memberships -= 1;
        if !group.unsettled {
            group.id.index += 1;
        }
        let change = if group.unsettled { Change::Later } else { Change::View };
        if group.members.is_empty() {
            self.drop_group(name);
        }
        change
    }

    /// Only `movers` come along: the groups that lose members, each with the view that ends, once for each view.
    pub(super) fn lose(&mut self, movers: SiteSet) -> Vec<(Name, GroupViewId)> {
        let mut lost = Vec::new();
        for (name, group) in &mut self.groups {
            if group.members.keys().any(|member| !movers.has(member.site)) {
                group.unsettled = true;
                if !std::mem::replace(&mut group.signalled, true) {
                    lost.push((name.clone(), group.id));
                }
            }
        }
        lost
    }

    /// A new ring: only members of `movers` are left.
    pub(super) fn enter(&mut self, ring: RingId, movers: SiteSet) {
        (self.ring, self.floor) = (ring, 0);
        for group in self.groups.values_mut() {
            let before = group.members.len();
            group.members.retain(|member, _| movers.has(member.site));
            group.unsettled |= group.members.len() != before;
        }
        self.groups.retain(|_, group| !group.members.is_empty());
        self.memberships = self.groups.values().map(|group| group.members.len()).sum();
    }

    /// The table in parts that fit a message.
    pub(super) fn to_parts(&self, companions: SiteSet) -> Vec<Part> {
        const MEMBERS: usize = 400;
        let mut parts = Vec::new();
        let mut entries: Vec<Entry> = Vec::new();
        let mut size = 0;
        for (name, group) in &self.groups {
            let members: Vec<(Member, bool)> =
                group.members.iter().map(|(member, seen)| (member.clone(), *seen)).collect();
            for members in members.chunks(MEMBERS) {
                let members = members.to_vec();
                size += members.len() + 1;
                entries.push(Entry { group: name.clone(), id: group.id, unsettled: group.unsettled, members });
                if size >= MEMBERS {
                    parts.push(Part { companions, entries: std::mem::take(&mut entries), is_last: false });
                    size = 0;
                }
            }
        }
        parts.push(Part { companions, entries, is_last: true });
        parts
    }

    /// The tables of all components as one: the groups whose membership that changes have a new view.
    pub(super) fn merge(&mut self, components: Vec<Component>) -> Vec<NetworkView> {
        let mut sources: BTreeMap<Name, Vec<Group>> = BTreeMap::new();
        for component in components {
            for (name, group) in component.groups {
                sources.entry(name).or_default().push(group);
            }
        }
        self.groups.clear();
        let mut views = Vec::new();
        for (name, mut parts) in sources {
            parts.retain(|group| !group.members.is_empty());
            let settled = parts.len() == 1 && parts.iter().all(|group| !group.unsettled);
            let group = if settled {
                parts.pop().unwrap_or_default()
            } else {
                let (group, view) = self.network_view(&name, parts);
                views.push(view);
                group
            };
            self.groups.insert(name, group);
        }
        self.memberships = self.groups.values().map(|group| group.members.len()).sum();
        views
    }

    /// Who has had no view of the group yet comes from nowhere: each is a set by itself.
    fn network_view(&self, name: &Name, parts: Vec<Group>) -> (Group, NetworkView) {
        let id = GroupViewId { ring: self.ring, index: 1 };
        let mut sets: Vec<Vec<Name>> = Vec::new();
        let mut group = Group { id, ..Group::default() };
        for part in parts {
            let seen = part.members.iter().filter(|(_, seen)| **seen).map(|(member, _)| member.name.clone()).collect();
            sets.push(seen);
            sets.extend(part.members.iter().filter(|(_, seen)| !**seen).map(|(member, _)| vec![member.name.clone()]));
            group.members.extend(part.members.into_keys().map(|member| (member, true)));
        }
        sets.retain(|set| !set.is_empty());
        let members = group.members.keys().cloned().collect();
        (group, NetworkView { group: name.clone(), id, members, sets })
    }

    fn drop_group(&mut self, name: &Name) {
        if let Some(group) = self.groups.remove(name)
            && group.id.ring == self.ring
        {
            self.floor = self.floor.max(group.id.index);
        }
    }
}
