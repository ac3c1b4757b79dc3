//! Recover: those who come from one old ring bring each other up to date; all install when all are.

use std::collections::BTreeMap;
use std::time::Duration;

use ringfort_kernel::Time;

use super::commit::{Passed, resend};
use super::{Install, Membership, Output, Phase, Reason, Verdict};
use crate::evs::configuration::Regular;
use crate::evs::recovery::{self, Held};
use crate::ids::{RingId, SiteId, SiteSet};
use crate::limits::Config;
use crate::ring::Ring;
use crate::rules::Rule;
use crate::site::step::{Class, Effect};
use crate::wire::{Commit, Frame, Newcomer, Packet, Recovering};

/// Between two states of one site.
const TELL_INTERVAL: Duration = Duration::from_millis(15);
/// Packets that one site relays at once.
const RELAYED_MAX: usize = 96;

/// The ring to be, and what its members have said.
#[derive(Debug)]
pub(super) struct Recovery {
    pub(super) ring: RingId,
    pub(super) newcomers: Vec<Newcomer>,
    old: RingId,
    members: SiteSet,
    movers: SiteSet,
    states: BTreeMap<SiteId, Recovering>,
    said: Option<Recovering>,
    passed: Option<Passed>,
    tell_at: Time,
    until: Time,
}

impl Recovery {
    pub(super) fn new(config: &Config, old: RingId, commit: Commit, passed: Option<Passed>, now: Time) -> Self {
        let movers = commit.members.iter().filter(|newcomer| newcomer.old == old).map(|newcomer| newcomer.site);
        Recovery {
            ring: commit.ring,
            old,
            members: commit.members.iter().map(|newcomer| newcomer.site).collect(),
            movers: movers.collect::<SiteSet>().with(config.me),
            newcomers: commit.members,
            states: BTreeMap::new(),
            said: None,
            passed,
            tell_at: now,
            until: now + config.timers.recover_limit,
        }
    }

    pub(super) fn next_wakeup(&self) -> Time {
        self.tell_at.min(self.until)
    }

    fn is_complete(&self) -> bool {
        self.said.as_ref().is_some_and(|state| state.complete)
    }
}

impl Membership {
    /// The ring to be, while it recovers.
    pub fn recovering(&self) -> Option<RingId> {
        match &self.phase {
            Phase::Recover(recovery) => Some(recovery.ring),
            _ => None,
        }
    }

    /// A member of the ring to be says what it holds.
    pub fn on_recovering(&mut self, now: Time, state: Recovering, old: &mut Ring, out: &mut Output) {
        let me = self.config.me;
        match &mut self.phase {
            Phase::Recover(recovery) if recovery.ring == state.ring => {
                let known = recovery.newcomers.iter().find(|newcomer| newcomer.site == state.sender);
                let is_newer = recovery.states.get(&state.sender).is_none_or(|last| last.number < state.number);
                if state.sender == me || known.is_none_or(|newcomer| newcomer.old != state.old) || !is_newer {
                    return;
                }
                recovery.passed = recovery.passed.take().filter(|_| !recovery.states.is_empty());
                recovery.states.insert(state.sender, state);
                self.finish_if_complete(now, old, out);
            }
            Phase::Operational(operational) if self.ring == state.ring && operational.members.has(state.sender) => {
                let due = now.since(operational.answered) >= TELL_INTERVAL / 3;
                if !state.complete || due {
                    operational.answered = now;
                    let frame = Frame::Recovering(operational.last_word.clone()).encode();
                    out.effects.push(Effect::send(state.sender, Class::Membership, frame));
                }
            }
            _ => {}
        }
    }

    /// A packet of the old ring, relayed by one who holds it.
    pub fn on_relayed(&mut self, now: Time, sender: SiteId, packet: Packet, old: &mut Ring, out: &mut Output) -> bool {
        let Phase::Recover(recovery) = &self.phase else { return false };
        let told = recovery.states.values().filter(|state| state.old == recovery.old);
        // Only what somebody said that it holds: what comes late from outside would make this site differ.
        let expected = told.into_iter().any(|state| Held::of(state).has(packet.seq));
        if packet.ring != recovery.old || !recovery.movers.has(sender) || !expected {
            return false;
        }
        let mut messages = Vec::new();
        old.hold_back(true);
        old.keep(packet, &mut messages);
        self.finish_if_complete(now, old, out);
        true
    }

    /// The new ring's own token or packet shows that its first site has heard from everybody.
    pub fn on_sign_of_new_ring(&mut self, now: Time, ring: RingId, old: &Ring, out: &mut Output) {
        if matches!(&self.phase, Phase::Recover(recovery) if recovery.ring == ring && recovery.is_complete()) {
            self.install(now, old, out);
        }
    }

    /// Tells and relays what is due, and gives up in time.
    pub(super) fn go_on_recovering(&mut self, now: Time, old: &mut Ring, out: &mut Output) {
        let Phase::Recover(recovery) = &mut self.phase else { return };
        if now >= recovery.until {
            self.gather(now, Reason::FormingFailed, out);
            return;
        }
        if let Some(passed) = &mut recovery.passed {
            resend(passed, now, self.config.timers.gather_interval, out);
        }
        if now >= recovery.tell_at {
            recovery.tell_at = now + TELL_INTERVAL;
            self.tell(old, out);
            self.relay(old, out);
        }
        self.finish_if_complete(now, old, out);
    }

    /// Says what this site holds. Whoever says that it is complete undertakes to deliver the movers' messages.
    fn tell(&mut self, old: &mut Ring, out: &mut Output) {
        let rules = self.config.rules;
        let Phase::Recover(recovery) = &mut self.phase else { return };
        let held = old.held();
        let complete = recovery::is_complete(rules, &held, recovery.movers, self.config.me, &recovery.states);
        if complete && rules.enforces(Rule::Obligation) {
            old.undertake(recovery.movers);
        }
        let (holds_to, holds_above) = held.to_bits();
        let state = Recovering {
            ring: recovery.ring,
            sender: self.config.me,
            number: recovery.said.as_ref().map_or(1, |last| last.number + 1),
            old: recovery.old,
            holds_to,
            holds_above,
            held_by_all: old.held_by_all(),
            obligations: old.obligations(),
            complete,
        };
        recovery.said = Some(state.clone());
        let to = recovery.members.without(self.config.me);
        if !to.is_empty() {
            let frame = Frame::Recovering(state).encode();
            out.effects.push(Effect::Send { to, class: Class::Membership, frame });
        }
    }

    fn relay(&self, old: &Ring, out: &mut Output) {
        let Phase::Recover(recovery) = &self.phase else { return };
        let me = self.config.me;
        let to = recovery.movers.without(me);
        for seq in recovery::missing(&old.held(), recovery.movers, me, &recovery.states, RELAYED_MAX) {
            if let Some(packet) = old.packet(seq) {
                let frame = Frame::Relayed(me, packet).encode();
                out.effects.push(Effect::Send { to, class: Class::Data, frame });
            }
        }
    }

    fn finish_if_complete(&mut self, now: Time, old: &mut Ring, out: &mut Output) {
        let (rules, me) = (self.config.rules, self.config.me);
        let Phase::Recover(recovery) = &self.phase else { return };
        let complete = recovery::is_complete(rules, &old.held(), recovery.movers, me, &recovery.states);
        if complete && !recovery.is_complete() {
            self.tell(old, out);
        }
        let Phase::Recover(recovery) = &self.phase else { return };
        let said = |site: SiteId| recovery.states.get(&site).is_some_and(|state| state.complete);
        if recovery.is_complete() && recovery.members.without(me).iter().all(said) {
            self.install(now, old, out);
        }
    }

    fn install(&mut self, now: Time, old: &Ring, out: &mut Output) {
        let Phase::Recover(recovery) = &self.phase else { return };
        let Some(last_word) = recovery.said.clone() else { return };
        let told = recovery.states.values().filter(|state| recovery.movers.has(state.sender));
        let (mut held_by_all, mut whole) = (old.held_by_all(), old.obligations().or(recovery.movers));
        for state in told {
            held_by_all = held_by_all.max(state.held_by_all);
            whole = whole.or(state.obligations);
        }
        let regular = Regular { ring: recovery.ring, members: recovery.members, movers: recovery.movers };
        let (members, newcomers) = (recovery.members, recovery.newcomers.clone());
        out.verdict = Some(Verdict::Install(Install { regular, held_by_all, whole }));
        self.enter_ring(now, members, &newcomers, last_word);
    }
}
