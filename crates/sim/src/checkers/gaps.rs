//! A receiver knows what it misses: every message to it is delivered, or told to be lost (P9).

use std::collections::BTreeMap;

use ringfort_protocol::MemberId;
use ringfort_protocol::policy::Service;

use super::{Checker, End};
use crate::world::{ClientId, Sent, World};

/// Judged at the end, of all that honest members said to honest members that are still there.
///
/// Best effort promises nothing, and what was said before a receiver had its first view is not to it.
pub struct Gaps;

impl Checker for Gaps {
    fn name(&self) -> &'static str {
        "gaps"
    }

    fn finish(&mut self, end: &End<'_>, wrong: &mut Vec<String>) {
        if end.settled.is_some() {
            wrong.extend(untold(end.world));
        }
    }
}

/// What is missing somewhere and was not told.
pub fn untold(world: &World) -> Vec<String> {
    let mut missing: BTreeMap<(ClientId, MemberId), Vec<u64>> = BTreeMap::new();
    for client in world.users.iter().filter_map(|user| user.client).filter(|client| !world.is_hacked(*client)) {
        let Some(member) = world.client(client).member.as_ref() else { continue };
        let (Some(me), Some(first)) = (member.id(), world.facts.first_view.get(&client)) else { continue };
        for (number, sent) in &world.facts.sent {
            let concerned = sent.at > *first && sent.client != client && sent.members.contains(me);
            if concerned && is_owed(world, *number, sent, me) && !world.facts.heard.contains(&(client, *number)) {
                missing.entry((client, sent.sender.clone())).or_default().push(*number);
            }
        }
    }
    let told = |key: &(ClientId, MemberId)| world.facts.gaps.get(key).copied().unwrap_or(0);
    let untold = missing.iter().filter(|(key, numbers)| numbers.len() as u64 > told(key));
    let text = |((client, sender), numbers): (&(ClientId, MemberId), &Vec<u64>)| {
        let told = told(&(*client, sender.clone()));
        format!("client {} lacks {numbers:?} of {sender} and was told of {told}", client.0)
    };
    untold.map(text).collect()
}

fn is_owed(world: &World, number: u64, sent: &Sent, me: &MemberId) -> bool {
    let to_me = sent.to.as_ref().is_none_or(|to| to.contains(&me.user));
    let kept = sent.to.is_some() || sent.service != Service::BestEffort;
    to_me && kept && !world.facts.refused.contains(&number) && !world.is_hacked(sent.client)
}
