//! Gather: choose with whom to form a ring, and wait until they all choose the same.

use ringfort_kernel::Time;

use super::{Membership, Output, Phase};
use crate::ids::{SiteId, SiteSet};
use crate::limits::Config;
use crate::ring::Ring;

/// What a site has chosen so far.
#[derive(Debug)]
pub(super) struct Gather {
    pub(super) choice: SiteSet,
    since: Time,
    settled: bool,
}

impl Gather {
    pub(super) fn new(now: Time, me: SiteId) -> Self {
        Gather { choice: SiteSet::EMPTY.with(me), since: now, settled: false }
    }

    /// When the choice has stood long enough: at once if nobody is absent, longer if everybody is.
    fn settles_at(&self, config: &Config) -> Time {
        let settle = config.timers.settle;
        let alone = self.choice.len() == 1;
        self.since
            + match (self.choice == config.sites, alone) {
                (true, _) => std::time::Duration::ZERO,
                (false, true) => settle * 5 / 2,
                (false, false) => settle,
            }
    }

    pub(super) fn next_wakeup(&self, config: &Config) -> Option<Time> {
        Some(self.settles_at(config)).filter(|_| !self.settled && self.choice.first() == Some(config.me))
    }
}

impl Membership {
    /// Chooses anew; the lowest site of a choice that all its sites share, and that has stood, commits it.
    pub(super) fn consider(&mut self, now: Time, old: &mut Ring, out: &mut Output) {
        let window = self.window();
        let choice = self.neighbours.choice(now, window, true);
        let Phase::Gather(gather) = &mut self.phase else { return };
        let changed = gather.choice != choice;
        if changed {
            *gather = Gather { choice, since: now, settled: false };
        }
        gather.settled = now >= gather.settles_at(&self.config);
        let settled = gather.settled;
        let shared = |site: SiteId| {
            let hello = self.neighbours.hello(site, now, window);
            hello.is_some_and(|hello| hello.gathering && hello.choice == choice)
        };
        let agreed = choice.without(self.config.me).iter().all(shared);
        if settled && agreed && choice.first() == Some(self.config.me) {
            self.form(now, choice, old, out);
        } else if changed && now.since(self.hello_said) * 8 >= self.config.timers.gather_interval {
            self.say_hello(now, out);
        }
    }

    /// The highest counter that any of `sites` knows.
    pub(super) fn counter_of(&self, sites: SiteSet, now: Time) -> u64 {
        let window = self.window();
        let counters = sites.iter().filter_map(|site| Some(self.neighbours.hello(site, now, window)?.counter));
        counters.fold(self.durable.counter, u64::max)
    }
}
