//! Nobody is lost whom enough leaders hear: outages at different times do not add up (A15).
//!
//! With the votes of all hostile leaders, n-2f honest ones must have been without a word of a member for as long as the
//! policy says, all of them not long ago.

use std::collections::BTreeSet;
use std::time::Duration;

use ringfort_protocol::leader::Event;
use ringfort_protocol::view::Cause;
use ringfort_protocol::{LeaderId, MemberId, UserName};

use super::{Checker, Seen, What};
use crate::setup::Setup;
use crate::world::Facts;

/// Judged when the first honest leader accepts the end of a stay.
pub struct Lost {
    honest: BTreeSet<LeaderId>,
    needed: usize,
    silence: Duration,
    recent: Duration,
    judged: BTreeSet<MemberId>,
}

impl Lost {
    /// Under a setup's policy: a vote counts for one more period, and may be under way as long as the network holds it.
    pub fn new(setup: &Setup) -> Self {
        let silence = setup.policy.remove_silent_after();
        let under_way = Duration::from_millis(2 * setup.weather.stall_max_ms + 4_000);
        let needed = usize::from(setup.n) - 2 * usize::from(setup.f);
        let honest = LeaderId::all(setup.n).collect();
        Lost { honest, needed, silence, recent: silence + under_way, judged: BTreeSet::new() }
    }

    fn was_deaf(&self, facts: &Facts, seen: &Seen<'_>, leader: LeaderId, user: &UserName) -> bool {
        let key = (leader, user.clone());
        let silent = facts.heard_at.get(&key).is_none_or(|at| seen.at.since(*at) > self.silence);
        silent || facts.deaf_until.get(&key).is_some_and(|until| seen.at.since(*until) <= self.recent)
    }
}

impl Checker for Lost {
    fn name(&self) -> &'static str {
        "lost"
    }

    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, wrong: &mut Vec<String>) {
        let What::Leader { id, event: Event::Ended(user, Cause::Lost), .. } = &seen.what else { return };
        let Some((stay, ended_by)) = facts.ended.iter().rev().find(|(stay, by)| stay.user == *user && by.contains(id))
        else {
            return;
        };
        let other = facts.hacked.contains(user) || facts.left.contains(stay) || facts.expelled.contains(user);
        if ended_by.len() > 1 || other || !self.judged.insert(stay.clone()) {
            return;
        }
        let honest = self.honest.iter().filter(|leader| !facts.hostile.contains(leader));
        let deaf: Vec<LeaderId> = honest.copied().filter(|l| self.was_deaf(facts, seen, *l, user)).collect();
        if deaf.len() < self.needed {
            wrong.push(format!("{stay} is lost at {id}, and of the honest only {deaf:?} had not heard it for long"));
        }
    }
}
