//! Back-pressure from many receivers to one fast sender.
//!
//! A sender waits for receivers that are behind, instead of overflowing their queues:
//! - for one of them as long as it has not held up the others for more than a sixth of the time, or for
//!   [`LinkLimits::hold_max`](super::LinkLimits::hold_max) at once, at all leaders together. Beyond that nobody waits for it, and its queue takes
//!   up what it is slower by. It loses data once that is full, and holds up nobody until it has caught up;
//! - for most of them as long as it takes, at nobody's cost: then it is the sender that is too fast.
//!
//! The others are held up while half of all receivers have nothing to read. As long as they live on what is queued for them, a
//! wait costs them nothing, and is not counted.
//!
//! Who waits, waits with all it says. So what it says now and then to a few who are behind, while it speaks to others too,
//! waits for nobody ([`Asides`]); otherwise a private word to one who reads slowly would hold up all that everybody else is
//! to hear.
//!
//! So what one receiver costs the others is bounded, whatever it does, and whoever is but a little slower than they are
//! loses nothing. A receiver that makes no progress at all is stalled after its `patience`, and counts no more.

use std::time::Duration;

use ringfort_kernel::{Budget, Time};
use tokio::time::{Instant, timeout};

use super::LinkSender;
use super::outbox::{FRAME_OVERHEAD_BYTES, Load};

/// How often a sender that waits looks at all of its receivers again.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// What a sender may say at once to a few of those whom it speaks to, before it waits for them, and in each second after.
const ASIDE_BYTES_BURST: u64 = 256 * 1024;
const ASIDE_BYTES_PER_S: u64 = 64 * 1024;
/// Whom it spoke to so long ago, it does not speak to any more.
const ASIDE_FROM_WITHIN: Duration = Duration::from_secs(10);

/// What one sender says to a few of those whom it speaks to. Beyond the bound it is a stream of its own, and waits.
#[derive(Debug)]
pub struct Asides {
    budget: Budget,
    start: Instant,
    /// To how many it spoke at once, at most, and when.
    widest: (usize, Instant),
}

impl Asides {
    /// Of a sender that has said nothing.
    pub fn new(now: Instant) -> Self {
        let budget = Budget::new(Time::ZERO, ASIDE_BYTES_PER_S, ASIDE_BYTES_BURST);
        Asides { budget, start: now, widest: (0, now) }
    }

    /// The sender speaks to so many.
    pub fn note(&mut self, now: Instant, count: usize) {
        let (widest, at) = self.widest;
        if count >= widest || now.saturating_duration_since(at) >= ASIDE_FROM_WITHIN {
            self.widest = (count, now);
        }
    }

    /// Whether a frame to so many waits for none of them.
    pub fn take(&mut self, now: Instant, frame: &[u8], count: usize) -> bool {
        let bytes = u64::try_from(frame.len() + FRAME_OVERHEAD_BYTES).unwrap_or(u64::MAX);
        let time = Time::from_start(now.saturating_duration_since(self.start));
        count < self.widest.0 && self.budget.take(time, bytes)
    }
}

/// Whether who sends data to all of these should wait.
pub fn must_wait<'a>(audience: impl IntoIterator<Item = &'a LinkSender>) -> bool {
    Standing::of(audience).whom_to_wait_for().is_some()
}

/// Resolves when whoever sends data to all of these may go on.
pub async fn ready(audience: &[LinkSender]) {
    let mut since = Instant::now();
    loop {
        let standing = Standing::of(audience);
        let Some(link) = standing.whom_to_wait_for() else { return };
        // Either way, look again: the others may have moved.
        let _ = timeout(LOOK_PERIOD, link.outbox.eased()).await;
        let now = Instant::now();
        if !standing.holding.is_empty()
            && let Some(from) = standing.held_up_from(audience)
        {
            standing.holding.iter().for_each(|link| link.outbox.pay(from.max(since), now));
        }
        since = now;
    }
}

/// How the receivers of one sender stand, but for those that are stalled or gone.
#[derive(Default)]
struct Standing<'a> {
    keep_up: usize,
    holding: Vec<&'a LinkSender>,
    behind: Vec<&'a LinkSender>,
    slow: Vec<&'a LinkSender>,
}

impl<'a> Standing<'a> {
    fn of(audience: impl IntoIterator<Item = &'a LinkSender>) -> Self {
        let mut standing = Standing::default();
        for link in audience {
            match link.outbox.load() {
                Load::Light => standing.keep_up += 1,
                Load::Holding => standing.holding.push(link),
                Load::Behind => standing.behind.push(link),
                Load::Slow => standing.slow.push(link),
                Load::Out => {}
            }
        }
        standing
    }

    fn whom_to_wait_for(&self) -> Option<&'a LinkSender> {
        let most_are_behind = self.most_are_behind().then(|| self.behind.first()).flatten();
        let most_are_slow = self.slow.len() > self.lose_nothing();
        let slow = self.slow.first().filter(|_| most_are_slow);
        self.holding.first().or(most_are_behind).or(slow).copied()
    }

    /// Of those that lose nothing.
    fn most_are_behind(&self) -> bool {
        self.holding.len() + self.behind.len() > self.keep_up
    }

    /// How many keep up, or may still do so.
    fn lose_nothing(&self) -> usize {
        self.keep_up + self.holding.len() + self.behind.len()
    }

    /// Since when half of those who lose nothing have had nothing to read; `None` if fewer than half have not. It looks into every
    /// queue, so it is asked after a wait, and not for each frame.
    fn held_up_from(&self, audience: &[LinkSender]) -> Option<Instant> {
        let keep_up = audience.iter().filter(|link| link.outbox.load() == Load::Light);
        let mut dry: Vec<Instant> = keep_up.filter_map(|link| link.outbox.dry_since()).collect();
        dry.sort_unstable();
        dry.get(self.lose_nothing().div_ceil(2).checked_sub(1)?).copied()
    }
}
