//! Who waits for what.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_protocol::UserName;

use super::{Range, Revision};

/// What is waited for, by the place of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Waits {
    by_place: BTreeMap<u64, Wait>,
    /// Follows from the others.
    by_slot: BTreeMap<(UserName, u8), u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Wait {
    pub user: UserName,
    pub slot: u8,
    pub range: Range,
    pub after: Revision,
}

impl Waits {
    /// Returns the place of what was waited for in the same slot.
    pub fn take_slot(&mut self, user: &UserName, slot: u8) -> Option<u64> {
        let place = self.by_slot.remove(&(user.clone(), slot))?;
        self.by_place.remove(&place);
        Some(place)
    }

    pub fn insert(&mut self, place: u64, wait: Wait) {
        self.by_slot.insert((wait.user.clone(), wait.slot), place);
        self.by_place.insert(place, wait);
    }

    pub fn forget(&mut self, place: u64) {
        if let Some(wait) = self.by_place.remove(&place) {
            // Another may have taken the slot.
            let slot = (wait.user, wait.slot);
            if self.by_slot.get(&slot) == Some(&place) {
                self.by_slot.remove(&slot);
            }
        }
    }

    /// Keys have changed, which are in their order: whoever waited for one of them waits no more.
    pub fn on_changed(&mut self, revision: Revision, keys: &[&[u8]]) -> Vec<u64> {
        let is_met = |wait: &Wait| {
            let next = keys.partition_point(|key| *key < wait.range.start.as_slice());
            wait.after < revision && keys.get(next).is_some_and(|key| wait.range.contains(key))
        };
        let met: Vec<u64> = self.by_place.iter().filter(|(_, wait)| is_met(wait)).map(|(place, _)| *place).collect();
        met.iter().for_each(|place| self.forget(*place));
        met
    }
}

impl BorshSerialize for Waits {
    fn serialize<W: std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        self.by_place.serialize(writer)
    }
}

impl BorshDeserialize for Waits {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        let by_place: BTreeMap<u64, Wait> = BorshDeserialize::deserialize_reader(reader)?;
        let by_slot = by_place.iter().map(|(place, wait)| ((wait.user.clone(), wait.slot), *place)).collect();
        Ok(Waits { by_place, by_slot })
    }
}
