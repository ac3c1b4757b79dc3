//! When a member is lost: once n-f leaders do not hear it, all at about the same time.
//!
//! What a leader has voted stands, and so may be counted for ever. That it does not hear somebody is no vote but an
//! opinion about now: it is said again in each period while it is so, is never made durable, and lapses where it is not
//! said again. Nobody takes it from others either. A leader that does not hear a member itself, and counts n-f leaders
//! that say the same, itself among them, takes it for lost; so n-2f honest ones were deaf at once. That too is a word
//! that lapses, and ends with the outage (see [`doubts`](super::doubts)). Only where n-f leaders say it does a leader vote, and the
//! vote is then like any other. Outages of leaders one after the other never add up, and none of them leaves anything
//! behind that hacked leaders could use once it is over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::doubts::Doubts;
use super::{Event, Leader, Presence, STATUS_PERIOD, Step};
use crate::coordination::Output;
use crate::fault::{Culprit, Fault};
use crate::ids::{LeaderId, MemberId};
use crate::rules::Rule;
use crate::time::{Cx, Time};
use crate::unheard::{Doubt, Unheard};
use crate::view::Cause;
use crate::wire::{PeerMessage, UNHEARD_MAX};

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
    /// Who is taken for lost.
    doubts: Doubts,
}

impl Silences {
    /// A link to a leader is new: it counts its words anew.
    pub fn on_link(&mut self, peer: LeaderId) {
        self.last.remove(&peer);
        self.said.retain(|_, by| {
            by.remove(&peer);
            !by.is_empty()
        });
        self.doubts.on_link(peer);
    }

    /// The stay is over.
    pub fn forget(&mut self, member: &MemberId) {
        self.said.remove(member);
        self.doubts.forget(member);
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

    /// Since when words count that are said again for as long as they hold.
    fn fresh_since(&self, now: Time) -> Option<Time> {
        let since = Time::ZERO + now.since(Time::ZERO).saturating_sub(self.unheard_stands());
        self.group.rules.enforces(Rule::OpinionExpires).then_some(since)
    }

    /// A leader says whom it does not hear, and whom it takes for lost.
    pub(super) fn on_unheard(&mut self, now: Time, from: LeaderId, said: Unheard) -> Vec<Output> {
        if let Some(fault) = self.fault_of(from, &said) {
            return vec![Output::Blame(from, fault)];
        }
        if self.unheard.last.get(&from).is_some_and(|last| *last >= said.number) {
            return Vec::new();
        }
        self.unheard.last.insert(from, said.number);
        for member in said.members {
            if self.state.members().get_member(&member).is_some() {
                self.unheard.said.entry(member).or_default().insert(from, now);
            }
        }
        let mut stays = Vec::new();
        for doubt in said.doubts {
            if self.state.members().get_member(&doubt.stay).is_some() {
                self.unheard.doubts.note(now, from, &doubt);
                stays.push(doubt.stay);
            }
        }
        self.settle_doubts(now, &stays)
    }

    fn fault_of(&self, from: LeaderId, said: &Unheard) -> Option<Fault> {
        if said.members.len() > UNHEARD_MAX || said.doubts.len() > UNHEARD_MAX {
            return Some(Fault::Flooding);
        }
        if said.session != self.group.session() {
            return Some(Fault::WrongSession);
        }
        let key = self.group.leader(from).map(|leader| leader.signing_key);
        let is_its_own = said.leader == from && key.is_some_and(|key| said.verify(&key).is_ok());
        (!is_its_own).then_some(Fault::BadProposal)
    }

    /// Says what follows from others' words at once, and votes where n-f leaders take a member for lost.
    fn settle_doubts(&mut self, now: Time, stays: &[MemberId]) -> Vec<Output> {
        if self.is_catching_up() {
            return Vec::new();
        }
        let fresh = self.fresh_since(now);
        let (mut says, mut out) = (Vec::new(), Vec::new());
        for stay in stays {
            let settled = self.unheard.doubts.settle(now, stay, fresh, &self.group.rules);
            says.extend(self.unheard.doubts.word(stay).filter(|_| settled.says));
            let gives_up = |presence: &mut Presence| !std::mem::replace(&mut presence.given_up, true);
            if settled.is_lost && self.presence.get_mut(stay).is_some_and(gives_up) {
                out.extend(self.state.remove(stay, Cause::Lost));
            }
        }
        if !says.is_empty() {
            // More than one message holds is said again in the next period.
            says.truncate(UNHEARD_MAX);
            out.insert(0, self.say_unheard(Vec::new(), says));
        }
        out
    }

    /// Says whom this leader does not hear and takes for lost, and votes for the end of stays that n-f take for lost.
    pub(super) fn remove_silent(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        if self.is_catching_up() {
            return;
        }
        let silent = self.silent(cx.now, step);
        let fresh = self.fresh_since(cx.now);
        let rules = self.group.rules;
        let needed = if rules.enforces(Rule::LostTogether) { rules.lost() } else { 1 };
        for member in &silent {
            if self.unheard.agree(member, fresh) + 1 >= needed {
                self.unheard.doubts.suspect(cx.now, member);
            }
        }
        let doubted = self.unheard.doubts.stays();
        for member in &doubted {
            if let Some(presence) = self.presence.get(member).filter(|presence| !presence.silent) {
                self.unheard.doubts.reassure(cx.now, member, presence.heard, fresh, &rules);
            }
        }
        let outputs = self.settle_doubts(cx.now, &doubted);
        self.absorb(cx, outputs, step);
        let doubts = self.unheard.doubts.say_again(UNHEARD_MAX);
        if !silent.is_empty() || !doubts.is_empty() {
            let members = self.next_silent(&silent);
            let said = self.say_unheard(members, doubts);
            self.absorb(cx, vec![said], step);
        }
    }

    /// Members that this leader has not heard for as long as policy waits.
    fn silent(&mut self, now: Time, step: &mut Step) -> Vec<MemberId> {
        let limit = self.group.policy.remove_silent_after();
        let mut silent = Vec::new();
        for (member, presence) in &mut self.presence {
            let is_silent = now.since(presence.heard) > limit;
            if is_silent && !presence.silent {
                step.events.push(Event::Blamed(Culprit::Member(member.clone()), Fault::Silent));
            }
            presence.silent = is_silent;
            if is_silent {
                silent.push(member.clone());
            }
        }
        silent
    }

    /// Of more than one message holds, the next message tells the next.
    fn next_silent(&mut self, silent: &[MemberId]) -> Vec<MemberId> {
        let after = |member: &&MemberId| self.unheard.told.as_ref().is_none_or(|told| *member > told);
        let (next, first): (Vec<_>, Vec<_>) = silent.iter().partition(after);
        let members: Vec<MemberId> = next.into_iter().chain(first).take(UNHEARD_MAX).cloned().collect();
        self.unheard.told = members.last().cloned();
        members
    }

    fn say_unheard(&mut self, members: Vec<MemberId>, doubts: Vec<Doubt>) -> Output {
        self.unheard.number += 1;
        let (key, session) = (&self.secrets.signing, self.group.session());
        let said = Unheard::sign(key, self.secrets.id, session, self.unheard.number, members, doubts);
        Output::Broadcast(PeerMessage::Unheard(said))
    }
}
