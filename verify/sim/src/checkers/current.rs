//! Currency: no view that an expelled user can read stays confirmed (P8, K15-K18).
//!
//! Once so many honest leaders have ended the stay that the others, with all hostile ones, are fewer than n-f, nobody
//! may go on taking the old view for today's for longer than the policy allows.

use std::collections::BTreeMap;
use std::time::Duration;

use ringfort_protocol::{MemberId, Time};

use super::Checker;
use crate::setup::Setup;
use crate::world::World;

/// Judged from time to time.
pub struct Current {
    allowed: Duration,
    needed: usize,
    since: BTreeMap<MemberId, Time>,
}

impl Current {
    /// Under a setup's policy: an answer may have been under way as long as the network holds one up.
    pub fn new(setup: &Setup) -> Self {
        let (n, f) = (usize::from(setup.n), usize::from(setup.f));
        let under_way = Duration::from_millis(2 * setup.weather.stall_max_ms + 1_000);
        let allowed = setup.policy.confirm_within() + setup.policy.heartbeat() * 2 + under_way;
        Current { allowed, needed: n - 2 * f, since: BTreeMap::new() }
    }
}

impl Checker for Current {
    fn name(&self) -> &'static str {
        "currency"
    }

    fn look(&mut self, world: &World, wrong: &mut Vec<String>) {
        for (stay, leaders) in &world.facts.ended {
            if world.facts.expelled.contains(&stay.user) && leaders.len() >= self.needed {
                self.since.entry(stay.clone()).or_insert(world.now);
            }
        }
        for client in world.users.iter().filter_map(|user| user.client).filter(|client| !world.is_hacked(*client)) {
            let Some(member) = world.client(client).member.as_ref().filter(|member| member.confirmation().is_current())
            else {
                continue;
            };
            let Some(members) = member.members() else { continue };
            let late = |(stay, since): &(&MemberId, &Time)| {
                members.get_member(stay).is_some() && world.now.since(**since) > self.allowed
            };
            if let Some((stay, since)) = self.since.iter().find(late) {
                wrong.push(format!(
                    "client {} has {stay} in a confirmed view, {:?} after the expulsion",
                    client.0,
                    world.now.since(*since)
                ));
            }
        }
    }
}
