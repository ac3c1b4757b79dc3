//! After a merge: each component tells its table once, in order, and all make the same of them.
//!
//! A *component* is the sites that have had one table without a break: its lowest site tells. The exchange is over at
//! one place of the order, the last part of the last component, so that all sites have the same table from there on.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::groups::table::{Group, Member, Standing};
use crate::ids::{GroupViewId, Name, SiteId, SiteSet};
use crate::limits::Config;

/// A part of a table, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Part {
    /// The sites that have this table.
    pub companions: SiteSet,
    /// Some groups.
    pub entries: Vec<Entry>,
    /// Whether nothing follows.
    pub is_last: bool,
}

/// A group, or some of its members.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Entry {
    /// Its name.
    pub group: Name,
    /// Its last view.
    pub id: GroupViewId,
    /// Whether the members differ from that view.
    pub unsettled: bool,
    /// Its members, each with how it stands to that view.
    pub members: Vec<(Member, Standing)>,
}

/// One component's table.
#[derive(Debug, Default)]
pub(super) struct Component {
    pub(super) groups: BTreeMap<Name, Group>,
    companions: SiteSet,
    memberships: usize,
    is_whole: bool,
}

/// The exchange on one ring.
#[derive(Debug)]
pub(super) struct Exchange {
    members: SiteSet,
    memberships_max: usize,
    components: BTreeMap<SiteId, Component>,
}

impl Exchange {
    pub(super) fn new(members: SiteSet, config: &Config) -> Self {
        Exchange { members, memberships_max: config.memberships_max, components: BTreeMap::new() }
    }

    pub(super) fn members(&self) -> SiteSet {
        self.members
    }

    /// A part from its component's lowest site; all else is none.
    pub(super) fn on_part(&mut self, origin: SiteId, part: Part) {
        let others = self.components.iter().filter(|(site, _)| **site != origin);
        let taken = others.fold(SiteSet::EMPTY, |taken, (_, component)| taken.or(component.companions));
        let is_its_own = part.companions.first() == Some(origin) && taken.and(part.companions).is_empty();
        if is_its_own && self.members.covers(part.companions) {
            self.add(origin, part);
        }
    }

    /// A part of this site's own table, which `companions` have too.
    pub(super) fn on_part_of(&mut self, companions: SiteSet, part: Part) {
        if let Some(first) = companions.first() {
            self.add(first, Part { companions, ..part });
        }
    }

    fn add(&mut self, origin: SiteId, part: Part) {
        let component = self.components.entry(origin).or_default();
        if component.is_whole {
            return;
        }
        component.companions = part.companions;
        component.is_whole = part.is_last;
        for entry in part.entries {
            component.memberships += entry.members.len();
            if component.memberships > self.memberships_max {
                return;
            }
            let group = component.groups.entry(entry.group).or_default();
            (group.id, group.unsettled) = (entry.id, entry.unsettled);
            let members = entry.members.into_iter().filter(|(member, _)| part.companions.has(member.site));
            group.members.extend(members);
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        let whole = self.components.values().filter(|component| component.is_whole);
        whole.fold(SiteSet::EMPTY, |whole, component| whole.or(component.companions)) == self.members
    }

    pub(super) fn into_components(self) -> Vec<Component> {
        self.components.into_values().collect()
    }
}
