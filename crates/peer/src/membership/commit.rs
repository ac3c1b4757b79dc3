//! Commit: a token goes twice round the ring to be. After the first pass each site has written itself in, on the
//! second each learns who comes from where.

use bytes::Bytes;
use ringfort_kernel::Time;
use ringfort_kernel::time::earliest;

use super::recover::Recovery;
use super::{Membership, Output, Phase, Reason};
use crate::ids::{RingId, SiteId, SiteSet};
use crate::ring::Ring;
use crate::site::step::{Class, Effect};
use crate::wire::{Commit, Frame, Newcomer};

/// How often a commit token is sent again before its receiver is given up.
const RESENDS_MAX: u8 = 18;

/// A commit token that was passed on.
#[derive(Debug)]
pub(super) struct Passed {
    to: SiteId,
    frame: Bytes,
    resend_at: Time,
    resends: u8,
}

impl Passed {
    pub(super) fn next_wakeup(&self) -> Option<Time> {
        (self.resends < RESENDS_MAX).then_some(self.resend_at)
    }
}

/// This site has written itself in and waits for the second pass.
#[derive(Debug)]
pub(super) struct Forming {
    pub(super) commit: Commit,
    passed: Passed,
    until: Time,
}

impl Forming {
    pub(super) fn next_wakeup(&self) -> Option<Time> {
        earliest(Some(self.until), self.passed.next_wakeup())
    }
}

impl Membership {
    /// The lowest site of a choice makes the commit token.
    pub(super) fn form(&mut self, now: Time, choice: SiteSet, old: &mut Ring, out: &mut Output) {
        let counter = self.counter_of(choice, now).saturating_add(1);
        let ring = RingId { counter, representative: self.config.me.get() };
        self.use_counter(counter, out);
        let newcomer = |site: SiteId| Newcomer { site, incarnation: 0, old: RingId::default() };
        let members = choice.iter().map(newcomer).collect();
        let mut commit = Commit { ring, sender: self.config.me, visit: 0, members };
        self.write_in(&mut commit);
        if choice.len() == 1 {
            self.recover(now, commit, None, old, out);
        } else {
            let passed = self.pass(now, &mut commit, out);
            let until = now + self.config.timers.recover_limit / 2;
            self.phase = Phase::Commit(Forming { commit, passed, until });
        }
    }

    /// A commit token came.
    pub fn on_commit(&mut self, now: Time, commit: Commit, old: &mut Ring, out: &mut Output) {
        let places = commit.members.len();
        let Some(place) = commit.members.iter().position(|newcomer| newcomer.site == self.config.me) else { return };
        let before = commit.members.get((place + places - 1) % places).map(|newcomer| newcomer.site);
        if before != Some(commit.sender) || places == 1 {
            return;
        }
        let visit = usize::from(commit.visit);
        match &self.phase {
            Phase::Gather(gather) if visit == place && place > 0 => {
                let members: SiteSet = commit.members.iter().map(|newcomer| newcomer.site).collect();
                let is_new = commit.ring.counter > self.durable.counter;
                let first = members.first().map(SiteId::get);
                if members == gather.choice && is_new && first == Some(commit.ring.representative) {
                    self.first_pass(now, commit, out);
                }
            }
            Phase::Commit(forming) if forming.commit.ring == commit.ring && visit == places + place => {
                self.second_pass(now, commit, place, old, out);
            }
            _ => {}
        }
    }

    fn first_pass(&mut self, now: Time, mut commit: Commit, out: &mut Output) {
        self.use_counter(commit.ring.counter, out);
        self.write_in(&mut commit);
        let passed = self.pass(now, &mut commit, out);
        let until = now + self.config.timers.recover_limit / 2;
        self.phase = Phase::Commit(Forming { commit, passed, until });
    }

    fn second_pass(&mut self, now: Time, mut commit: Commit, place: usize, old: &mut Ring, out: &mut Output) {
        let all_in = commit.members.iter().all(|newcomer| newcomer.incarnation != 0);
        let mine = self.newcomer();
        if !all_in || !commit.members.contains(&mine) {
            return;
        }
        let is_last = place + 1 == commit.members.len();
        let passed = (!is_last).then(|| self.pass(now, &mut commit, out));
        self.recover(now, commit, passed, old, out);
    }

    /// While the second pass is out: sends the token again, and gives up in time.
    pub(super) fn wait_for_commit(&mut self, now: Time, out: &mut Output) {
        let Phase::Commit(forming) = &mut self.phase else { return };
        resend(&mut forming.passed, now, self.config.timers.gather_interval, out);
        if now >= forming.until {
            self.gather(now, Reason::FormingFailed, out);
        }
    }

    fn recover(&mut self, now: Time, commit: Commit, passed: Option<Passed>, old: &mut Ring, out: &mut Output) {
        self.phase = Phase::Recover(Recovery::new(&self.config, self.ring, commit, passed, now));
        self.go_on_recovering(now, old, out);
    }

    fn newcomer(&self) -> Newcomer {
        Newcomer { site: self.config.me, incarnation: self.durable.incarnation, old: self.ring }
    }

    fn write_in(&self, commit: &mut Commit) {
        let mine = self.newcomer();
        if let Some(entry) = commit.members.iter_mut().find(|newcomer| newcomer.site == mine.site) {
            *entry = mine;
        }
    }

    fn pass(&self, now: Time, commit: &mut Commit, out: &mut Output) -> Passed {
        commit.sender = self.config.me;
        commit.visit += 1;
        let next = usize::from(commit.visit) % commit.members.len();
        let to = commit.members.get(next).map_or(self.config.me, |newcomer| newcomer.site);
        let frame = Frame::Commit(commit.clone()).encode();
        out.effects.push(Effect::send(to, Class::Membership, frame.clone()));
        Passed { to, frame, resend_at: now + self.config.timers.gather_interval, resends: 0 }
    }
}

/// Sends a commit token again when it is due.
pub(super) fn resend(passed: &mut Passed, now: Time, interval: std::time::Duration, out: &mut Output) {
    if passed.resends < RESENDS_MAX && now >= passed.resend_at {
        passed.resends += 1;
        passed.resend_at = now + interval;
        out.effects.push(Effect::send(passed.to, Class::Membership, passed.frame.clone()));
    }
}
