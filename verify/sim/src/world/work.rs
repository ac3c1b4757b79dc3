//! Who makes whom work: the cost of every input at honest nodes, by the peer that it came from.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ringfort_protocol::{LeaderId, Time};

use super::{ClientId, World};

/// The time over which shares are judged.
pub const WINDOW: Duration = Duration::from_secs(10);
/// What a received byte costs: it is decrypted, copied, decoded.
const BYTE_NS: u64 = 5;
/// What one peer may make a node work in a window: a tenth of it.
pub const WORK_SHARE_NS: u64 = 1_000_000_000;
/// What one peer may make a node send in a window.
pub const SENT_SHARE_BYTES: u64 = 10 * 1024 * 1024;

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A leader.
    Leader(LeaderId),
    /// A run of a member's program.
    Client(ClientId),
}

/// What one input cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Declared time.
    pub work_ns: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
}

/// The last window of one pair of nodes.
#[derive(Debug, Default)]
struct Account {
    spent: VecDeque<(Time, Cost)>,
    total: Cost,
    most: Cost,
}

/// All accounts.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<(Place, Place), Account>,
}

impl Ledger {
    fn note(&mut self, now: Time, at: Place, by: Place, cost: Cost) {
        let account = self.accounts.entry((at, by)).or_default();
        account.spent.push_back((now, cost));
        account.total.work_ns += cost.work_ns;
        account.total.sent_bytes += cost.sent_bytes;
        while let Some((at, old)) = account.spent.front().copied().filter(|(at, _)| now.since(*at) > WINDOW) {
            let _ = at;
            account.spent.pop_front();
            account.total.work_ns -= old.work_ns;
            account.total.sent_bytes -= old.sent_bytes;
        }
        account.most.work_ns = account.most.work_ns.max(account.total.work_ns);
        account.most.sent_bytes = account.most.sent_bytes.max(account.total.sent_bytes);
    }

    /// For each pair, where work was done and by whose doing: the most in any window.
    pub fn most(&self) -> impl Iterator<Item = (Place, Place, Cost)> {
        self.accounts.iter().map(|((at, by), account)| (*at, *by, account.most))
    }
}

impl World {
    /// An honest node handled a frame.
    pub(super) fn note_work(&mut self, at: Place, by: Place, cost: Cost, frame: &Bytes) {
        let honest = match at {
            Place::Leader(leader) => !self.leader(leader).hostile,
            Place::Client(client) => !self.is_hacked(client),
        };
        if honest {
            let work_ns = cost.work_ns + frame.len() as u64 * BYTE_NS;
            self.ledger.note(self.now, at, by, Cost { work_ns, ..cost });
        }
    }

    /// Whether a client is in the attacker's hands.
    pub fn is_hacked(&self, client: ClientId) -> bool {
        let user = self.users.get(self.client(client).user);
        user.is_some_and(|user| self.facts.hacked.contains(&user.name))
    }

    /// A frame of a client reaches an honest leader.
    pub(super) fn note_heard(&mut self, leader: LeaderId, client: ClientId) {
        if self.leader(leader).hostile {
            return;
        }
        let Some(user) = self.users.get(self.client(client).user).map(|user| user.name.clone()) else { return };
        let (now, allowed) = (self.now, self.setup.policy.remove_silent_after());
        let last = self.facts.heard_at.insert((leader, user.clone()), now);
        if last.is_none_or(|last| now.since(last) > allowed) {
            self.facts.deaf_until.insert((leader, user), now);
        }
    }
}
