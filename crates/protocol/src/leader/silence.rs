//! When a member is lost: once n-f leaders do not hear it, all at about the same time.
//!
//! What a leader has voted stands, and so may be counted for ever. That it does not hear somebody is no vote but an
//! opinion about now: it is said again in each period while it is so, is never made durable, and lapses where it is not
//! said again. Nobody takes it from others either. A leader votes that a member is lost while it does not hear the member
//! itself and n-f leaders, itself among them, say the same; so n-2f honest ones were deaf at once. The vote is then
//! like any other, and what n-f have voted for comes about everywhere. Outages of leaders one after the other never add
//! up. An outage of n-2f honest leaders at once can: whoever voted in it may have its vote counted later with those of f hacked
//! leaders. A member's program then comes back by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Effect, Event, Leader, STATUS_PERIOD, Step};
use crate::fault::{Culprit, Fault};
use crate::ids::{LeaderId, MemberId};
use crate::rules::Rule;
use crate::time::{Cx, Time};
use crate::unheard::Unheard;
use crate::view::Cause;
use crate::wire::{PeerMessage, UNHEARD_MAX, plain};

/// How long a word stands beyond the time in which it is said again, and at least.
const SLACK: Duration = STATUS_PERIOD.saturating_mul(8);
const SLACK_MIN: Duration = STATUS_PERIOD.saturating_mul(2);

/// What leaders say of whom they do not hear.
#[derive(Debug, Default)]
pub(super) struct Silences {
    said: BTreeMap<MemberId, BTreeMap<LeaderId, Time>>,
    /// The last word of each leader on its link.
    last: BTreeMap<LeaderId, u64>,
    /// How often this leader has spoken, and where it goes on.
    number: u64,
    told: Option<MemberId>,
}

impl Silences {
    /// A link to a leader is new: it counts its words anew.
    pub fn on_link(&mut self, peer: LeaderId) {
        self.last.remove(&peer);
        self.said.retain(|_, by| {
            by.remove(&peer);
            !by.is_empty()
        });
    }

    /// The stay is over.
    pub fn forget(&mut self, member: &MemberId) {
        self.said.remove(member);
    }

    /// Other leaders whose word about a member is of now.
    fn agree(&self, member: &MemberId, since: Option<Time>) -> usize {
        let fresh = |at: &&Time| since.is_none_or(|since| **at >= since);
        self.said.get(member).map_or(0, |by| by.values().filter(fresh).count())
    }
}

impl Leader {
    /// How long a word stands: whoever does not hear anybody needs some periods to name all.
    fn unheard_stands(&self) -> Duration {
        let messages = self.state.members().len().div_ceil(UNHEARD_MAX);
        let cycle = STATUS_PERIOD * 2 * u32::try_from(messages).unwrap_or(u32::MAX).min(1024);
        // No longer than leaders wait for a member: then silences that are counted together overlapped.
        (cycle + SLACK).min(self.group.policy.remove_silent_after().max(cycle + SLACK_MIN))
    }

    /// A leader says whom it does not hear.
    pub(super) fn on_unheard(&mut self, now: Time, from: LeaderId, said: Unheard) -> Option<Fault> {
        if said.members.len() > UNHEARD_MAX {
            return Some(Fault::Flooding);
        }
        if said.session != self.group.session() {
            return Some(Fault::WrongSession);
        }
        let key = self.group.leader(from).map(|leader| leader.signing_key);
        if said.leader != from || key.is_none_or(|key| said.verify(&key).is_err()) {
            return Some(Fault::BadProposal);
        }
        if self.unheard.last.get(&from).is_some_and(|last| *last >= said.number) {
            return None;
        }
        self.unheard.last.insert(from, said.number);
        for member in said.members {
            if self.state.members().get_member(&member).is_some() {
                self.unheard.said.entry(member).or_default().insert(from, now);
            }
        }
        None
    }

    /// Says whom this leader does not hear, and votes for the end of stays that n-f do not.
    pub(super) fn remove_silent(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        if self.is_catching_up() {
            return;
        }
        let limit = self.group.policy.remove_silent_after();
        let mut silent = Vec::new();
        for (member, presence) in &mut self.presence {
            let is_silent = cx.now.since(presence.heard) > limit;
            if is_silent && !presence.silent {
                step.events.push(Event::Blamed(Culprit::Member(member.clone()), Fault::Silent));
            }
            presence.silent = is_silent;
            if is_silent {
                silent.push(member.clone());
            }
        }
        if silent.is_empty() {
            return;
        }
        self.say_unheard(&silent, step);
        let expires = self.group.rules.enforces(Rule::OpinionExpires);
        let stands = self.unheard_stands();
        let since = Some(Time::ZERO + cx.now.since(Time::ZERO).saturating_sub(stands)).filter(|_| expires);
        let rules = &self.group.rules;
        let needed = if rules.enforces(Rule::LostTogether) { rules.lost() } else { 1 };
        silent.retain(|member| self.unheard.agree(member, since) + 1 >= needed);
        for member in silent {
            if self.presence.get_mut(&member).is_some_and(|presence| !std::mem::replace(&mut presence.given_up, true)) {
                let outputs = self.state.remove(&member, Cause::Lost);
                self.absorb(cx, outputs, step);
            }
        }
    }

    fn say_unheard(&mut self, silent: &[MemberId], step: &mut Step) {
        let after = |member: &&MemberId| self.unheard.told.as_ref().is_none_or(|told| *member > told);
        let (next, first): (Vec<_>, Vec<_>) = silent.iter().partition(after);
        let members: Vec<MemberId> = next.into_iter().chain(first).take(UNHEARD_MAX).cloned().collect();
        self.unheard.told = members.last().cloned();
        self.unheard.number += 1;
        let (key, session) = (&self.secrets.signing, self.group.session());
        let said = Unheard::sign(key, self.secrets.id, session, self.unheard.number, members);
        let frame = plain(&PeerMessage::Unheard(said));
        step.effects.extend(self.peers.iter().map(|peer| Effect::SendPeer(*peer, frame.clone())));
    }
}
