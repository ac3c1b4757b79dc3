//! A receiver knows what it misses: every message to it is delivered, or told to be lost, and nothing else is (P9).

use std::collections::BTreeMap;

use ringfort_protocol::MemberId;
use ringfort_protocol::policy::Service;

use super::{Checker, End};
use crate::world::{ClientId, Sent, World};

/// Judged at the end, of all that honest members said to honest members that are still there.
///
/// Best effort promises nothing, and what was said before a receiver had its first view is not to it. Messages of somebody
/// expelled end at once, and a stay so short that a receiver never saw it is unknown to it. Of somebody who was there
/// already, what was said in views before the first one of which a message came may be unknown too; on a stream of which none
/// came, what was said in views that the receiver never had. A program that dies before it knows f+1 leaders to have a
/// message has promised it to nobody: a hacked relay alone may have it.
pub struct Gaps;

impl Checker for Gaps {
    fn name(&self) -> &'static str {
        "gaps"
    }

    fn finish(&mut self, end: &End<'_>, wrong: &mut Vec<String>) {
        if end.settled.is_some() {
            wrong.extend(untold(end.world));
        }
        wrong.extend(false_ones(end.world));
        if !end.world.setup.faults {
            wrong.extend(given_up(end.world));
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
            let promised = !world.facts.unacknowledged.contains(number) && is_owed(world, *number, sent, me);
            if concerned && promised && !world.facts.heard.contains(&(client, *number)) {
                missing.entry((client, sent.sender.clone())).or_default().push(*number);
            }
        }
    }
    missing.retain(|(client, sender), _| !was_expelled(world, *client, sender));
    missing.iter_mut().for_each(|((client, sender), numbers)| {
        numbers.retain(|number| is_known(world, *client, sender, *number));
    });
    let told = |key: &(ClientId, MemberId)| world.facts.gaps.get(key).copied().unwrap_or(0);
    let untold = missing
        .iter()
        .filter(|(key, numbers)| !world.facts.unknown_tails.contains(key) && numbers.len() as u64 > told(key));
    let text = |((client, sender), numbers): (&(ClientId, MemberId), &Vec<u64>)| {
        let told = told(&(*client, sender.clone()));
        format!("client {} lacks {numbers:?} of {sender} and was told of {told}", client.0)
    };
    untold.map(text).collect()
}

/// Whether a stay ended with an expulsion: this very one, or a later one of the user that the receiver never saw. Then this
/// one went out of its view with the user, and it was told why.
fn was_expelled(world: &World, client: ClientId, sender: &MemberId) -> bool {
    let told = world.facts.told_expelled.contains(&(client, sender.clone()));
    world.facts.expelled.contains(&sender.user) && (world.facts.ended.contains_key(sender) || told)
}

/// Whether a receiver can know that the stream of a message goes back as far as that.
fn is_known(world: &World, client: ClientId, sender: &MemberId, number: u64) -> bool {
    let (Some(sent), Some(was_there)) =
        (world.facts.sent.get(&number), world.facts.seen.get(&(client, sender.clone())))
    else {
        return false;
    };
    let same_stream = |other: &Sent| {
        other.sender == *sender && other.service == sent.service && other.to.is_some() == sent.to.is_some()
    };
    let mut heard = world.facts.heard.range((client, 0)..=(client, u64::MAX));
    let first = heard.find_map(|(_, number)| world.facts.sent.get(number).filter(|other| same_stream(other)));
    // Of a stream to the group on which it heard nothing, leaders tell from a view on that it knows.
    let has_view = || sent.to.is_some() || world.facts.installed.contains(&(client, sent.view.digest));
    !was_there || first.map_or_else(has_view, |first| first.at < sent.at || first.view == sent.view)
}

/// Losses that were told and are none: more than receivers really lack of what was sent to them.
///
/// Who saw somebody come reports what that member said in views that it skipped itself, from the first message on: whether it
/// was in such a view, it cannot know.
pub fn false_ones(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for ((client, sender), told) in &world.facts.gaps {
        let Some(me) = world.client(*client).member.as_ref().and_then(|member| member.id()) else { continue };
        if world.is_hacked(*client) || world.facts.hacked.contains(&sender.user) {
            continue;
        }
        let saw_coming = world.facts.seen.get(&(*client, sender.clone())) == Some(&false);
        let skipped = |sent: &Sent| {
            saw_coming && sent.to.is_none() && !world.facts.installed.contains(&(*client, sent.view.digest))
        };
        let to_me = |number: &u64, sent: &Sent| {
            let concerns = sent.members.contains(me) || skipped(sent);
            sent.sender == *sender && concerns && is_owed(world, *number, sent, me)
        };
        let lacks = world.facts.sent.iter().filter(|(number, sent)| to_me(number, sent));
        let lacks = lacks.filter(|(number, _)| !world.facts.heard.contains(&(*client, **number))).count() as u64;
        if *told > lacks {
            wrong.push(format!("client {} lacks {lacks} messages of {sender} and was told of {told}", client.0));
        }
    }
    wrong
}

/// Losses where the network lost nothing: what hostile leaders withhold, others supply.
///
/// What was said in a view that a receiver never had is lost to it, and told.
fn given_up(world: &World) -> Vec<String> {
    let there = |client: &ClientId| world.users.iter().any(|user| user.client == Some(*client));
    let honest =
        |client: &ClientId, sender: &MemberId| !world.is_hacked(*client) && !world.facts.hacked.contains(&sender.user);
    // Said by a program that died before it knew that others had it, or in a view that the receiver skipped.
    let allowed = |client: &ClientId, sender: &MemberId| {
        let lacks = |number: &u64| !world.facts.heard.contains(&(*client, *number));
        let skipped = |sent: &Sent| !world.facts.installed.contains(&(*client, sent.view.digest));
        let of_sender = world.facts.sent.iter().filter(|(_, sent)| sent.sender == *sender);
        let allowed = |(number, sent): &(&u64, &Sent)| {
            lacks(number) && (world.facts.unacknowledged.contains(number) || skipped(sent))
        };
        of_sender.filter(allowed).count() as u64
    };
    let gaps =
        world.facts.gaps.iter().filter(|((client, sender), told)| {
            there(client) && honest(client, sender) && **told > allowed(client, sender)
        });
    gaps.map(|((client, sender), told)| format!("client {} gave up {told} messages of {sender}", client.0)).collect()
}

fn is_owed(world: &World, number: u64, sent: &Sent, me: &MemberId) -> bool {
    let to_me = sent.to.as_ref().is_none_or(|to| to.contains(&me.user));
    let kept = sent.to.is_some() || sent.service != Service::BestEffort;
    to_me && kept && !world.facts.refused.contains(&number) && !world.is_hacked(sent.client)
}
