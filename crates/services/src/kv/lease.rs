//! Leases: keys that go unless somebody renews them, by the order's time alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_protocol::UserName;

use super::{
    DELETED_MAX, LEASE_TTL_S, LEASES_MAX, LeaseId, LeaseInfo, READ_BYTES_MAX, Range, Refusal, USER_LEASES_MAX,
};

/// All leases that have not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leases {
    leases: BTreeMap<LeaseId, Lease>,
    /// Follow from the leases: when each ends, when those end that have keys, and how many each user was granted.
    ends: BTreeSet<(u64, LeaseId)>,
    holding: BTreeSet<(u64, LeaseId)>,
    granted: BTreeMap<UserName, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Lease {
    ttl_s: u32,
    ends_us: u64,
    user: UserName,
    /// Follows from the keys of the store.
    #[borsh(skip)]
    keys: BTreeSet<Vec<u8>>,
}

/// When a lease ends that begins, or is renewed, now.
fn end_of(time_us: u64, ttl_s: u32) -> u64 {
    time_us.saturating_add(u64::from(ttl_s) * 1_000_000)
}

impl Leases {
    /// Begins one, under the name that is given or, for 0, under one that follows from the place of the request.
    pub fn grant(
        &mut self,
        (id, ttl_s): (LeaseId, u32),
        user: &UserName,
        place: u64,
        time_us: u64,
    ) -> Result<LeaseId, Refusal> {
        if !LEASE_TTL_S.contains(&ttl_s) || i64::try_from(id).is_err() {
            return Err(Refusal::Lease);
        }
        if self.leases.contains_key(&id) {
            return Err(Refusal::LeaseExists);
        }
        let of_user = self.granted.get(user).copied().unwrap_or(0);
        if self.leases.len() >= LEASES_MAX || of_user >= USER_LEASES_MAX {
            return Err(Refusal::Leases);
        }
        let chosen = || (place..).find(|id| *id > 0 && !self.leases.contains_key(id)).unwrap_or(place);
        let id = if id == 0 { chosen() } else { id };
        let ends_us = end_of(time_us, ttl_s);
        self.insert(id, Lease { ttl_s, ends_us, user: user.clone(), keys: BTreeSet::new() });
        Ok(id)
    }

    fn insert(&mut self, id: LeaseId, lease: Lease) {
        self.ends.insert((lease.ends_us, id));
        *self.granted.entry(lease.user.clone()).or_default() += 1;
        self.leases.insert(id, lease);
    }

    /// Returns for how long it lasts from now on.
    pub fn renew(&mut self, id: LeaseId, time_us: u64) -> Result<u32, Refusal> {
        let lease = self.leases.get_mut(&id).ok_or(Refusal::NoLease)?;
        let before = (lease.ends_us, id);
        lease.ends_us = end_of(time_us, lease.ttl_s);
        self.ends.remove(&before);
        self.ends.insert((lease.ends_us, id));
        if self.holding.remove(&before) {
            self.holding.insert((lease.ends_us, id));
        }
        Ok(lease.ttl_s)
    }

    /// Ends one, and returns its keys.
    pub fn end(&mut self, id: LeaseId) -> Result<BTreeSet<Vec<u8>>, Refusal> {
        let lease = self.leases.remove(&id).ok_or(Refusal::NoLease)?;
        self.ends.remove(&(lease.ends_us, id));
        self.holding.remove(&(lease.ends_us, id));
        if let Some(granted) = self.granted.get_mut(&lease.user) {
            *granted -= 1;
            if *granted == 0 {
                self.granted.remove(&lease.user);
            }
        }
        Ok(lease.keys)
    }

    /// One that is due to end.
    pub fn due(&self, time_us: u64) -> Option<LeaseId> {
        self.ends.first().filter(|(ends_us, _)| *ends_us <= time_us).map(|(_, id)| *id)
    }

    pub fn info(&self, id: LeaseId, keys: bool, time_us: u64) -> Result<LeaseInfo, Refusal> {
        let lease = self.leases.get(&id).ok_or(Refusal::NoLease)?;
        let mut bytes = 0;
        let mut told = Vec::new();
        for key in lease.keys.iter().take_while(|_| keys) {
            bytes += key.len() as u64 + 4;
            if bytes > READ_BYTES_MAX {
                break;
            }
            told.push(key.clone());
        }
        Ok(LeaseInfo {
            ttl_s: lease.ttl_s,
            remaining_us: lease.ends_us.saturating_sub(time_us),
            user: lease.user.clone(),
            more: told.len() < lease.keys.len(),
            keys: told,
        })
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    pub fn names(&self) -> Vec<LeaseId> {
        self.leases.keys().copied().collect()
    }

    /// How long until the first ends that has keys in a range, and how many were looked at.
    pub fn next_end(&self, range: &Range, time_us: u64) -> (Option<Duration>, usize) {
        let Some(bounds) = range.bounds() else { return (None, 0) };
        let has_keys = |id: &LeaseId| {
            self.leases.get(id).is_some_and(|lease| lease.keys.range::<[u8], _>(bounds).next().is_some())
        };
        let found = (0..).zip(&self.holding).find(|(_, (_, id))| has_keys(id));
        let left = found.map(|(_, (ends_us, _))| Duration::from_micros(ends_us.saturating_sub(time_us)));
        (left, found.map_or(self.holding.len(), |(number, _)| number))
    }

    /// Whether a lease is there that has room for so many keys more.
    pub fn has_room(&self, id: LeaseId, more: usize) -> Result<(), Refusal> {
        let lease = self.leases.get(&id).ok_or(Refusal::NoLease)?;
        if lease.keys.len() + more > DELETED_MAX { Err(Refusal::LeaseKeys) } else { Ok(()) }
    }

    /// Attaches a key; 0 names no lease. Returns whether there is such a lease.
    pub fn attach(&mut self, id: LeaseId, key: &[u8]) -> bool {
        let Some(lease) = self.leases.get_mut(&id) else { return id == 0 };
        self.holding.insert((lease.ends_us, id));
        lease.keys.insert(key.to_vec())
    }

    pub fn detach(&mut self, id: LeaseId, key: &[u8]) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.keys.remove(key);
            if lease.keys.is_empty() {
                self.holding.remove(&(lease.ends_us, id));
            }
        }
    }
}

impl BorshSerialize for Leases {
    fn serialize<W: std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        self.leases.serialize(writer)
    }
}

impl BorshDeserialize for Leases {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        let saved: BTreeMap<LeaseId, Lease> = BorshDeserialize::deserialize_reader(reader)?;
        let mut leases = Leases::default();
        saved.into_iter().for_each(|(id, lease)| leases.insert(id, lease));
        Ok(leases)
    }
}
