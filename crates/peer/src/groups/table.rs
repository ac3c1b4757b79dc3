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

/// How a member stands to its group's last view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Standing {
    /// It joined where no view could be given, and waits for the next one of the network.
    Waits = 0,
    /// It joined behind the transitional signal and had a view of its own.
    Alone = 1,
    /// It had the last view like the others.
    Together = 2,
}

/// One group.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) id: GroupViewId,
    /// Each with how it stands to the last view.
    pub(super) members: BTreeMap<Member, Standing>,
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
    /// It joined behind the transitional signal: it has a view of its own, the others learn of it later.
    AtEnd,
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
    /// How many groups each is in.
    each: BTreeMap<Member, usize>,
    /// The highest index of any group of this ring that is gone: a group that comes again goes on above.
    floor: u32,
    /// The end of the ring has a hole, and what is behind it was delivered to others in another way.
    has_hole: bool,
}

impl Group {
    /// Members change; `first` is the id before a group's first view on this ring. Others may have seen changes that
    /// show here only in the next view of the network, so the id goes on in any case.
    fn change(&mut self, first: GroupViewId) -> Change {
        self.id = self.id.max(first);
        self.id.index += 1;
        if self.unsettled { Change::Later } else { Change::View }
    }
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

    /// A client joins. `bounds`: memberships of all, and groups of one.
    pub(super) fn join(&mut self, member: Member, name: &Name, bounds: (usize, usize)) -> Change {
        let is_in = self.groups.get(name).is_some_and(|group| group.members.contains_key(&member));
        if is_in {
            return Change::None;
        }
        let mine = self.each.get(&member).copied().unwrap_or(0);
        if self.memberships >= bounds.0 || mine >= bounds.1 {
            return Change::Refused;
        }
        self.memberships += 1;
        self.each.insert(member.clone(), mine + 1);
        let (id, unsettled) = (self.first_id(), self.has_hole);
        let group = self.groups.entry(name.clone()).or_insert_with(|| Group { id, unsettled, ..Group::default() });
        let standing = match (group.unsettled, unsettled) {
            (false, _) => Standing::Together,
            (true, false) => Standing::Alone,
            (true, true) => Standing::Waits,
        };
        group.members.insert(member, standing);
        match group.change(id) {
            Change::Later if standing == Standing::Alone => Change::AtEnd,
            change => change,
        }
    }

    /// A client leaves, by its own wish or not.
    pub(super) fn leave(&mut self, member: &Member, name: &Name) -> Change {
        let id = self.first_id();
        let Some(group) = self.groups.get_mut(name) else { return Change::None };
        if group.members.remove(member).is_none() {
            return Change::None;
        }
        self.memberships -= 1;
        if let Some(mine) = self.each.get_mut(member) {
            *mine -= 1;
            if *mine == 0 {
                self.each.remove(member);
            }
        }
        let change = group.change(id);
        if group.members.is_empty() {
            self.drop_group(name);
        }
        change
    }

    /// What follows lies behind a hole: no view can be told apart from another's. All groups wait for the next ring;
    /// those that had no signal yet, each with the view that ends.
    pub(super) fn cut(&mut self) -> Vec<(Name, GroupViewId)> {
        self.has_hole = true;
        let unsignalled = self.groups.iter_mut().filter(|(_, group)| !group.signalled);
        let cut = unsignalled.map(|(name, group)| {
            (group.unsettled, group.signalled) = (true, true);
            (name.clone(), group.id)
        });
        cut.collect()
    }

    fn first_id(&self) -> GroupViewId {
        GroupViewId { ring: self.ring, index: self.floor }
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
        (self.ring, self.floor, self.has_hole) = (ring, 0, false);
        for group in self.groups.values_mut() {
            let before = group.members.len();
            group.members.retain(|member, _| movers.has(member.site));
            group.unsettled |= group.members.len() != before;
        }
        self.groups.retain(|_, group| !group.members.is_empty());
        self.count();
    }

    /// The table in parts that fit a message.
    pub(super) fn to_parts(&self, companions: SiteSet) -> Vec<Part> {
        const MEMBERS: usize = 400;
        let mut parts = Vec::new();
        let mut entries: Vec<Entry> = Vec::new();
        let mut size = 0;
        for (name, group) in &self.groups {
            let members: Vec<(Member, Standing)> =
                group.members.iter().map(|(member, standing)| (member.clone(), *standing)).collect();
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
        self.count();
        views
    }

    fn count(&mut self) {
        self.memberships = self.groups.values().map(|group| group.members.len()).sum();
        self.each.clear();
        for member in self.groups.values().flat_map(|group| group.members.keys()) {
            *self.each.entry(member.clone()).or_default() += 1;
        }
    }

    /// Who joined at the end of a ring comes from no view of the others: each is a set by itself.
    fn network_view(&self, name: &Name, parts: Vec<Group>) -> (Group, NetworkView) {
        let id = GroupViewId { ring: self.ring, index: 1 };
        let mut sets: Vec<Vec<Name>> = Vec::new();
        let mut group = Group { id, ..Group::default() };
        for part in parts {
            let (together, others): (Vec<_>, Vec<_>) =
                part.members.into_iter().partition(|(_, standing)| *standing == Standing::Together);
            sets.push(together.iter().map(|(member, _)| member.name.clone()).collect());
            sets.extend(others.iter().map(|(member, _)| vec![member.name.clone()]));
            let all = together.into_iter().chain(others);
            group.members.extend(all.map(|(member, _)| (member, Standing::Together)));
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
