//! What a site is configured with, and what bounds its memory.

use std::time::Duration;

use crate::ids::{SiteId, SiteSet};
use crate::rules::Rules;

/// Sites of one ring.
pub const SITES_MAX: usize = 32;
/// The largest message of a client, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// The largest message on the ring: a client's message with its addresses, or a part of a group table.
pub const CONTENT_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 16 * 1024;
/// The largest frame of a site, in bytes.
pub const FRAME_BYTES_MAX: usize = 65_000;
/// Packets between the oldest that somebody lacks and the newest: what a site keeps for repair.
pub const GAP_PACKETS_MAX: u64 = 1024;
/// Packets that all sites together send in one rotation, at the least, the usual number, and what they may hold together.
const WINDOW_PACKETS: (usize, usize) = (16, 160);
const WINDOW_BYTES: usize = 2 * 1024 * 1024;
/// Ranges of lacking packets that one token names.
pub const RANGES_MAX: usize = 64;
/// Groups that one message goes to.
pub const GROUPS_PER_MESSAGE_MAX: usize = 100;
/// Groups that one client may be in at once, unless configured otherwise.
pub const GROUPS_PER_CLIENT_MAX: usize = 4096;
/// The longest name of a client or a group, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// A site's configuration. All sites of one sites file have the same members, packet size and windows.
#[derive(Clone, Debug)]
pub struct Config {
    /// This site.
    pub me: SiteId,
    /// Every site of the sites file, this one too.
    pub sites: SiteSet,
    /// The largest frame that the path between the sites carries, in bytes.
    pub frame_bytes: usize,
    /// Packets that all sites together send in one rotation of the token.
    pub window_packets: u32,
    /// Packets that one site sends in one visit of the token.
    pub visit_packets: u32,
    /// Packets of a visit that are sent after the token has left.
    pub accelerated_packets: u32,
    /// Bytes of local clients' messages that wait for the token.
    pub queue_bytes_max: usize,
    /// Local clients.
    pub clients_max: usize,
    /// Memberships of clients in groups, over all groups.
    pub memberships_max: usize,
    /// Groups that one client may be in: nobody takes the table alone.
    pub groups_per_client_max: usize,
    /// Timers.
    pub timers: Timers,
    /// Rules in force.
    pub rules: Rules,
}

/// How long a site waits for what. All on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// The least time without a token after which it is lost; grows with the smoothed rotation.
    pub token_loss_min: Duration,
    /// How long the first site keeps an idle token.
    pub idle_hold: Duration,
    /// Between two hellos while sites gather.
    pub gather_interval: Duration,
    /// Between two hellos of a site in a ring.
    pub hello_interval: Duration,
    /// How long a choice must stand before it is committed, when some configured site is absent.
    pub settle: Duration,
    /// How long commit and recovery may take before the sites gather again.
    pub recover_limit: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            token_loss_min: Duration::from_millis(250),
            idle_hold: Duration::from_millis(50),
            gather_interval: Duration::from_millis(40),
            hello_interval: Duration::from_millis(200),
            settle: Duration::from_millis(160),
            recover_limit: Duration::from_millis(1500),
        }
    }
}

impl Config {
    /// The usual configuration of site `me` among `sites`.
    pub fn new(me: SiteId, sites: SiteSet) -> Self {
        Config {
            me,
            sites: sites.with(me),
            frame_bytes: 1400,
            window_packets: 160,
            visit_packets: 40,
            accelerated_packets: 15,
            queue_bytes_max: 4 * 1024 * 1024,
            clients_max: 4096,
            memberships_max: 262_144,
            groups_per_client_max: GROUPS_PER_CLIENT_MAX,
            timers: Timers::default(),
            rules: Rules::default(),
        }
    }

    /// The same with frames of `frame_bytes`. Large frames make a smaller window: what one rotation delivers must find
    /// room where clients' messages wait.
    pub fn with_frame_bytes(self, frame_bytes: usize) -> Self {
        let (least, usual) = WINDOW_PACKETS;
        let window = (WINDOW_BYTES / frame_bytes.max(1)).clamp(least, usual) as u32;
        Config {
            frame_bytes,
            window_packets: window,
            visit_packets: (window / 4).max(1),
            accelerated_packets: self.accelerated_packets.min(window / 8).max(1),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_holds_so_many_packets_and_so_many_bytes() {
        let first = SiteId::new(0).unwrap();
        for (frame_bytes, window) in [(500, 160), (1368, 160), (8868, 160), (20_000, 104), (59_968, 34)] {
            let config = Config::new(first, SiteSet::EMPTY).with_frame_bytes(frame_bytes);
            assert_eq!((config.frame_bytes, config.window_packets), (frame_bytes, window));
            assert!(frame_bytes * window as usize <= WINDOW_BYTES);
            assert!(config.visit_packets * 4 <= window && config.accelerated_packets < config.visit_packets);
        }
    }
}
