//! All wires of a stage, each in hostile hands: one from every leader and member to every leader it calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use ringfort_protocol::GroupInfo;

use super::hosting::Dial;
use super::proxy::{Order, Proxy};

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A leader; it calls those with a higher number.
    Leader(u8),
    /// A member, by its user's name; it calls all leaders.
    Member(String),
}

/// The wires.
#[derive(Debug)]
pub struct Wires {
    /// Where the leaders really listen, from leader 1.
    addresses: Vec<String>,
    wires: BTreeMap<(Party, u8), Arc<Proxy>>,
}

impl Wires {
    /// Lays the wires between the leaders of a group. A member's are laid when it first joins.
    ///
    /// # Errors
    /// No port is free.
    pub async fn lay(info: &GroupInfo) -> anyhow::Result<Wires> {
        let addresses = info.leaders.iter().map(|leader| leader.address.clone()).collect();
        let mut this = Wires { addresses, wires: BTreeMap::new() };
        let n = info.rules.n();
        for from in 1..=n {
            for to in from + 1..=n {
                this.lay_one(Party::Leader(from), to).await?;
            }
        }
        Ok(this)
    }

    async fn lay_one(&mut self, from: Party, to: u8) -> anyhow::Result<()> {
        let proxy = Proxy::lay(self.address(to)?).await?;
        self.wires.insert((from, to), Arc::new(proxy));
        Ok(())
    }

    /// Where a leader really listens.
    ///
    /// # Errors
    /// There is no such leader.
    pub fn address(&self, leader: u8) -> anyhow::Result<String> {
        let place = usize::from(leader).checked_sub(1);
        place.and_then(|p| self.addresses.get(p)).cloned().with_context(|| format!("there is no leader {leader}"))
    }

    /// Where a leader finds the leaders that it calls.
    pub fn dials(&self, leader: u8) -> Vec<Dial> {
        let own = self.wires.iter().filter(|((from, _), _)| *from == Party::Leader(leader));
        own.map(|((_, to), proxy)| Dial { leader: *to, address: proxy.address() }).collect()
    }

    /// The group as a member sees it whose wires are these: the same group, with other addresses.
    ///
    /// # Errors
    /// No port is free.
    pub async fn group_for(&mut self, info: &GroupInfo, member: &str) -> anyhow::Result<Arc<GroupInfo>> {
        let mut altered = info.clone();
        for (number, leader) in (1..).zip(&mut altered.leaders) {
            let from = Party::Member(member.to_owned());
            if !self.wires.contains_key(&(from.clone(), number)) {
                self.lay_one(from.clone(), number).await?;
            }
            leader.address = self.wire(&from, number)?.address();
        }
        Ok(Arc::new(altered))
    }

    /// A wire.
    ///
    /// # Errors
    /// There is no such wire: leaders call only those with a higher number, members only once they joined.
    pub fn wire(&self, from: &Party, to: u8) -> anyhow::Result<&Arc<Proxy>> {
        self.wires.get(&(from.clone(), to)).with_context(|| format!("there is no wire from {from:?} to leader {to}"))
    }

    /// A member's wire to a leader.
    ///
    /// # Errors
    /// As [`Wires::wire`].
    pub fn of_member(&self, member: &str, leader: u8) -> anyhow::Result<&Arc<Proxy>> {
        self.wire(&Party::Member(member.to_owned()), leader)
    }

    /// The wire between two leaders.
    ///
    /// # Errors
    /// As [`Wires::wire`].
    pub fn between(&self, a: u8, b: u8) -> anyhow::Result<&Arc<Proxy>> {
        self.wire(&Party::Leader(a.min(b)), a.max(b))
    }

    /// All wires that a leader is at an end of.
    pub fn around(&self, leader: u8) -> Vec<&Arc<Proxy>> {
        let touches = |(from, to): &(Party, u8)| *to == leader || *from == Party::Leader(leader);
        self.wires.iter().filter(|(ends, _)| touches(ends)).map(|(_, proxy)| proxy).collect()
    }

    /// All wires.
    pub fn all(&self) -> Vec<&Arc<Proxy>> {
        self.wires.values().collect()
    }

    /// Does this to all records of these wires.
    pub fn order(proxies: &[&Arc<Proxy>], orders: &[Order]) {
        proxies.iter().for_each(|proxy| proxy.order(orders));
    }

    /// What was done to all wires so far.
    pub fn deeds(proxies: &[&Arc<Proxy>]) -> u64 {
        proxies.iter().map(|proxy| proxy.deeds()).sum()
    }

    /// All wires are honest again.
    pub fn heal(&self) {
        for ((_, to), proxy) in &self.wires {
            if let Ok(address) = self.address(*to) {
                proxy.heal(address);
            }
        }
    }
}
