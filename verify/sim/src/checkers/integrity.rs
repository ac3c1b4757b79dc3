//! Integrity: what is delivered was sent so by its sender, once, and in the order of the sender where there is one
//! (seed 002 §2.1; K2, K3, K24).

use std::collections::{BTreeMap, BTreeSet};

use ringfort_protocol::ids::MemberId;
use ringfort_protocol::member::Event;
use ringfort_protocol::policy::Service;

use super::{Checker, Seen, What};
use crate::world::{ClientId, Facts};

/// Judged at each delivery.
#[derive(Default)]
pub struct Integrity {
    delivered: BTreeSet<(ClientId, u64)>,
    streams: BTreeMap<(ClientId, MemberId, bool), u64>,
}

impl Checker for Integrity {
    fn name(&self) -> &'static str {
        "integrity"
    }

    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, wrong: &mut Vec<String>) {
        let What::Member { client, event: Event::Message(delivery), .. } = &seen.what else { return };
        let number = delivery.payload.first_chunk::<8>().map(|b| u64::from_be_bytes(*b));
        let Some((number, sent)) = number.and_then(|n| facts.sent.get(&n).map(|s| (n, s))) else {
            wrong.push(format!("client {} was given a message that nobody sent", client.0));
            return;
        };
        let private = sent.to.is_some();
        let same = sent.sender == delivery.sender && private == delivery.private && sent.view == delivery.view;
        if !same || facts.refused.contains(&number) || (!private && sent.service != delivery.service) {
            wrong.push(format!("client {} was given {delivery:?}, sent as {sent:?}", client.0));
        }
        if !self.delivered.insert((*client, number)) {
            wrong.push(format!("client {} was given message {number} twice", client.0));
        }
        if delivery.service == Service::Fifo {
            let key = (*client, delivery.sender.clone(), private);
            let last = self.streams.entry(key).or_default();
            if delivery.seq.0 <= *last {
                wrong.push(format!("client {}: {delivery:?} after number {last}", client.0));
            }
            *last = delivery.seq.0;
        }
    }
}
