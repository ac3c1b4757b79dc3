//! Flow control: how many packets a visit may send.

use std::time::Duration;

use crate::limits::GAP_PACKETS_MAX;

/// How much slower a ring goes than it could.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// How long each visit keeps the token.
    pub hold: Duration,
    /// Whether every site sends only one packet a visit.
    pub trickle: bool,
}

/// What the token says of the ring's load, seen from one site.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Packets that the window allows in a rotation.
    pub window: u32,
    /// Packets that one visit may send.
    pub visit: u32,
    /// Packets that the others sent in their last visits.
    pub sent_by_others: u32,
    /// Packets that all sites would send, this one too.
    pub backlog: u32,
    /// Packets that this site would send.
    pub mine: u32,
    /// Packets between what every site holds and the newest.
    pub gap: u64,
    /// Sites of the ring.
    pub sites: u32,
}

impl Load {
    /// Packets that may be sent in this visit.
    ///
    /// A share of the window in proportion to the backlog, within what others left of it, and at least one: a small
    /// sender is never starved by large ones. Nothing at all once the slowest site is too far behind.
    pub fn allowed(self) -> u32 {
        let room = GAP_PACKETS_MAX.saturating_sub(self.gap);
        if self.mine == 0 || room == 0 {
            return 0;
        }
        let share = self.window * self.mine / self.backlog.max(self.mine);
        let left = self.window.saturating_sub(self.sent_by_others);
        let wanted = share.max(left.min(self.window / self.sites.max(1))).min(self.visit).min(self.mine).max(1);
        // The last packets of the gap are kept for the one packet that every site may send.
        let spare = room.saturating_sub(u64::from(self.sites)).max(1);
        wanted.min(u32::try_from(spare).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_site_with_a_backlog_sends_and_the_gap_is_bounded(
            window in 1u32..200, visit in 1u32..50, sent_by_others in 0u32..400, others in 0u32..5000, mine in 0u32..500,
            gap in 0u64..1100, sites in 1u32..32,
        ) {
            let load = Load { window, visit, sent_by_others, backlog: others + mine, mine, gap, sites };
            let allowed = load.allowed();
            prop_assert_eq!(allowed > 0, mine > 0 && gap < GAP_PACKETS_MAX);
            prop_assert!(allowed <= visit.max(1) && allowed <= mine);
            prop_assert!(gap >= GAP_PACKETS_MAX || gap + u64::from(allowed) <= GAP_PACKETS_MAX);
        }
    }
}
