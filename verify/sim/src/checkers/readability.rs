//! Confidentiality of delivery: a message reaches only members of its sender's view, only its recipients if it is
//! private, and only while its view may be read (seed 002 §2.1; C5, P7).

use std::collections::BTreeMap;
use std::time::Duration;

use ringfort_protocol::member::Event;
use ringfort_protocol::policy::Service;
use ringfort_protocol::{Time, ViewDigest};

use super::{Checker, Seen, What};
use crate::world::{ClientId, Facts};

/// Judged at each delivery. FIFO messages may have been read in time and have waited for their turn.
pub struct Readability {
    overlap: Duration,
    current: BTreeMap<ClientId, ViewDigest>,
    replaced: BTreeMap<(ClientId, ViewDigest), Time>,
}

impl Readability {
    /// Under a policy's overlap.
    pub fn new(overlap: Duration) -> Self {
        Readability { overlap, current: BTreeMap::new(), replaced: BTreeMap::new() }
    }
}

impl Checker for Readability {
    fn name(&self) -> &'static str {
        "readability"
    }

    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, wrong: &mut Vec<String>) {
        let What::Member { client, member, event } = &seen.what else { return };
        match event {
            Event::View { view, .. } => {
                if let Some(before) = self.current.insert(*client, view.digest) {
                    self.replaced.insert((*client, before), seen.at);
                }
            }
            Event::Message(delivery) => {
                let number = delivery.payload.first_chunk::<8>().map(|b| u64::from_be_bytes(*b));
                let Some(sent) = number.and_then(|n| facts.sent.get(&n)) else { return };
                let Some(me) = member.id() else { return };
                if !sent.members.contains(me) {
                    wrong.push(format!("{me} read a message of view {}, of which it is no member", sent.view));
                }
                if sent.to.as_ref().is_some_and(|to| !to.contains(&me.user)) {
                    wrong.push(format!("{me} read a private message to {:?}", sent.to));
                }
                let over = self.replaced.get(&(*client, sent.view.digest)).filter(|_| {
                    self.current.get(client) != Some(&sent.view.digest) && delivery.service != Service::Fifo
                });
                if over.is_some_and(|at| seen.at > *at + self.overlap) {
                    wrong.push(format!("{me} read a message of {} after its overlap", sent.view));
                }
            }
            _ => {}
        }
    }
}
