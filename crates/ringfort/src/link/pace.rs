//! Back-pressure from many receivers to one fast sender.
//!
//! A sender waits for receivers that are behind, instead of overflowing their queues, as long as either holds:
//! - most of those it sends to are behind: then it is the sender that is too fast;
//! - one of them is, and has not yet held up senders for [`LinkLimits::hold_max`](super::LinkLimits::hold_max)
//!   within the last minute. Beyond that a slow receiver loses data, and sets nobody's pace.
//!
//! A receiver that makes no progress at all is stalled after its `patience`, and counts no more.

use std::time::Duration;

use tokio::time::timeout;

use super::LinkSender;
use super::outbox::Load;

/// How often a sender that waits looks at all of its receivers again.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// Whether who sends data to all of these should wait.
pub fn must_wait<'a>(audience: impl IntoIterator<Item = &'a LinkSender>) -> bool {
    slowest(audience).is_some()
}

/// Resolves when whoever sends data to all of these may go on.
pub async fn ready(audience: &[LinkSender]) {
    while let Some(link) = slowest(audience) {
        // Either way, look again: the others may have moved.
        let _ = timeout(LOOK_PERIOD, link.outbox.eased()).await;
    }
}

/// Whom to wait for, if anybody.
fn slowest<'a>(audience: impl IntoIterator<Item = &'a LinkSender>) -> Option<&'a LinkSender> {
    let (mut counted, mut behind, mut any) = (0_usize, 0_usize, None);
    for link in audience {
        match link.outbox.load() {
            Load::Holding => return Some(link),
            Load::Behind => {
                behind += 1;
                counted += 1;
                any = Some(link);
            }
            Load::Light => counted += 1,
            Load::Out => {}
        }
    }
    any.filter(|_| behind * 2 > counted)
}
