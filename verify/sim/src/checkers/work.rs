//! Work is paid for by its sender: no peer makes an honest node work, or send, more than a share (P10).

use std::collections::BTreeSet;

use super::{Checker, End};
use crate::world::{Place, SENT_SHARE_BYTES, WORK_SHARE_NS, World};

/// Judged from time to time, each pair once.
#[derive(Default)]
pub struct Work {
    told: BTreeSet<(Place, Place)>,
}

impl Work {
    fn judge(&mut self, world: &World, wrong: &mut Vec<String>) {
        for (at, by, most) in world.ledger.most() {
            let too_much = most.work_ns > WORK_SHARE_NS || most.sent_bytes > SENT_SHARE_BYTES;
            if too_much && self.told.insert((at, by)) {
                let (ms, sent) = (most.work_ns / 1_000_000, most.sent_bytes);
                wrong.push(format!("{by:?} makes {at:?} work {ms} ms and send {sent} bytes in ten seconds"));
            }
        }
    }
}

impl Checker for Work {
    fn name(&self) -> &'static str {
        "work"
    }

    fn look(&mut self, world: &World, wrong: &mut Vec<String>) {
        self.judge(world, wrong);
    }

    fn finish(&mut self, end: &End<'_>, wrong: &mut Vec<String>) {
        self.judge(end.world, wrong);
    }
}
