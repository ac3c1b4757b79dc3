//! Joining: the same stay, with the same session keys, announced to every leader.

use std::time::Duration;

use ringfort_crypto::secret::Secret32;

use super::access::Approach;
use super::refusals::Failed;
use super::standing::{Link, Stage};
use super::{Effect, Event, Member, Phase, Step};
use crate::coordination::INCARNATION_JUMP_MAX;
use crate::data::Identity;
use crate::fault::{Culprit, Fault};
use crate::ids::{Incarnation, LeaderId};
use crate::leader::Class;
use crate::login::{
    AnnouncedKey, Credential, Denial, Hardened, LoginAnswer, LoginClient, LoginFailure, LoginRequest,
    refusal_is_genuine,
};
use crate::time::{Cx, Time};
use crate::wire;

/// How long a joining member waits for more leaders once f+1 have proved themselves.
const GATHER: Duration = Duration::from_millis(500);
/// A join that has not led to a view by then is announced again: the same stay, if no leader says that it is too low.
const JOIN_RETRY: Duration = Duration::from_secs(8);
/// How far fewer than f+1 leaders take a stay's number up each time: what a hacked one says does not run it out.
const STAY_STEP: u64 = 32;

impl Member {
    /// A link to a leader is up; the driver has checked the leader's key. `exporter` is the same at
    /// both ends and nowhere else.
    pub fn on_link_up(&mut self, cx: &mut Cx<'_>, leader: LeaderId, exporter: [u8; 32]) -> Step {
        let mut step = Step::default();
        if self.phase == Phase::Ended || self.group.leader(leader).is_none() {
            return step;
        }
        self.drop_link(leader, &mut step);
        self.links.insert(leader, Link::new(exporter, Secret32::random(cx.rng)));
        // What it says of this stay, it will say again: its machine may have been cleaned since.
        self.ended_by.remove(&leader);
        self.generations.remove(&leader);
        self.successions_asked.remove(&leader);
        if let Some(tracker) = &mut self.tracker {
            tracker.on_link(leader);
        }
        self.start_login(cx, leader, &mut step);
        step
    }

    /// A link to a leader is gone.
    pub fn on_link_down(&mut self, now: Time, leader: LeaderId) -> Step {
        let mut step = Step::default();
        self.drop_link(leader, &mut step);
        self.update_standing(now, &mut step);
        step
    }

    fn drop_link(&mut self, leader: LeaderId, step: &mut Step) {
        if self.links.remove(&leader).is_some_and(|link| link.answers()) {
            step.events.push(Event::LeaderAnswers(leader, false));
        }
    }

    fn start_login(&mut self, cx: &mut Cx<'_>, leader: LeaderId, step: &mut Step) {
        let Some(approach) = self.approach(leader) else { return };
        let Some(link) = self.links.get_mut(&leader) else { return };
        let request = match approach {
            Approach::LogIn(credential) => {
                let (client, request) =
                    LoginClient::start(&self.group, leader, link.exporter, &self.user, &credential, cx.rng);
                link.stage = Stage::Proving(client, credential);
                request
            }
            Approach::Harden(request) => {
                link.stage = Stage::Hardening;
                link.blinded = self.access.blinded();
                request
            }
        };
        step.effects.push(Effect::Send(leader, Class::Control, wire::plain(&request)));
    }

    /// What to log in with at this leader: somebody who has been announced, and whom this leader does not
    /// know, shows the session key that the other leaders admit. Without that leader's share a joining
    /// member might never have enough of them.
    fn approach(&self, leader: LeaderId) -> Option<Approach> {
        let unknown = self.failed.get(&leader) == Some(&Failed::NotAuthentic);
        match &self.me {
            Some(me) if unknown => Some(Approach::LogIn(Credential::Session(me.signing.clone()))),
            _ => self.access.approach(leader),
        }
    }

    pub(super) fn on_login_answer(&mut self, cx: &mut Cx<'_>, from: LeaderId, answer: LoginAnswer, step: &mut Step) {
        let Some(link) = self.links.get_mut(&from) else { return };
        // A leader answers in turn: while it owes an answer to the blinded password, this is that answer.
        let blinded = link.blinded.take();
        match (&mut link.stage, answer) {
            (Stage::Hardening, LoginAnswer::Evaluated { evaluation, key }) => {
                self.on_evaluation(cx, from, &evaluation, &key, step);
            }
            (Stage::Hardening, LoginAnswer::Denied { reason, signature }) => {
                let blinded = blinded.unwrap_or_default();
                if refusal_is_genuine(&self.group, from, &link.exporter, &blinded, (reason, &signature)) {
                    link.stage = Stage::Refused;
                    match reason {
                        // Who evaluates no more for now may still know the password that others have hardened.
                        Denial::Throttled if self.access.assume(from) => self.start_login(cx, from, step),
                        Denial::NotAuthentic => {
                            let alone = self.access.on_unknown(&self.group, from);
                            self.on_refused(from, Failed::NotAuthentic, step);
                            self.leave_alone(alone, step);
                        }
                        reason => self.on_refused(from, Failed::Denied(reason), step),
                    }
                }
            }
            // The password was forgotten before the answer came.
            (Stage::Proving(..), LoginAnswer::Evaluated { .. }) => {}
            (Stage::Proving(..), LoginAnswer::Denied { reason, signature })
                if blinded.is_some_and(|blinded| {
                    refusal_is_genuine(&self.group, from, &link.exporter, &blinded, (reason, &signature))
                }) => {}
            (Stage::Proving(client, _), answer) => match client.on_answer(&self.group, &answer) {
                Ok(last) => {
                    let Stage::Proving(client, credential) = std::mem::replace(&mut link.stage, Stage::Refused) else {
                        return;
                    };
                    if !matches!(credential, Credential::Session(_)) {
                        self.failed.remove(&from);
                    }
                    link.stage = Stage::Proved(client, credential);
                    // Where this member shows its session key only, the leader says nothing of its stays.
                    if !matches!(link.stage, Stage::Proved(_, Credential::Session(_))) {
                        self.reported.insert(from, last);
                    }
                    self.verified_at.get_or_insert(cx.now);
                    self.announce_if_ready(cx, step);
                }
                Err(failure) => self.on_login_failure(from, failure, step),
            },
            (Stage::In(session), answer @ LoginAnswer::Denied { .. }) => {
                // The proof was fine; the leader's other rooms said no.
                if let Err(failure) = session.client.on_answer(&self.group, &answer) {
                    self.on_login_failure(from, failure, step);
                }
            }
            _ => {}
        }
    }

    fn on_evaluation(
        &mut self,
        cx: &mut Cx<'_>,
        from: LeaderId,
        evaluation: &[u8; 128],
        key: &AnnouncedKey,
        step: &mut Step,
    ) {
        let Hardened { root, caught, alone } = self.access.on_evaluation(&self.group, from, evaluation, key);
        for leader in caught {
            self.blame_leader(leader, Fault::BadEvaluation, step);
        }
        let mut ready = root.map(|(_, leaders)| leaders).unwrap_or_default();
        if !ready.is_empty() {
            let throttled = |(_, failed): &(&LeaderId, &Failed)| **failed == Failed::Denied(Denial::Throttled);
            let throttled: Vec<LeaderId> = self.failed.iter().filter(throttled).map(|(leader, _)| *leader).collect();
            ready.extend(throttled.into_iter().filter(|leader| self.access.assume(*leader)));
        }
        for leader in ready {
            self.start_login(cx, leader, step);
        }
        self.leave_alone(alone, step);
    }

    /// Leaders that announced keys which no f+1 announce do not know this user.
    fn leave_alone(&mut self, alone: Vec<LeaderId>, step: &mut Step) {
        for leader in alone {
            if let Some(link) = self.links.get_mut(&leader)
                && matches!(link.stage, Stage::Hardening)
            {
                link.stage = Stage::Refused;
                self.on_refused(leader, Failed::NotAuthentic, step);
            }
        }
    }

    fn on_login_failure(&mut self, from: LeaderId, failure: LoginFailure, step: &mut Step) {
        if let Some(link) = self.links.get_mut(&from) {
            link.stage = Stage::Refused;
        }
        match failure {
            LoginFailure::Fault(fault) => self.blame_leader(from, fault, step),
            LoginFailure::NoProof | LoginFailure::Denied(Denial::NotAuthentic) => {
                self.on_refused(from, Failed::NotAuthentic, step);
            }
            LoginFailure::Denied(denial) => self.on_refused(from, Failed::Denied(denial), step),
        }
    }

    /// Once enough leaders have proved themselves, the stay gets its number and is announced (message 3).
    pub(super) fn announce_if_ready(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        let proved: Vec<LeaderId> =
            self.links.iter().filter(|(_, l)| matches!(l.stage, Stage::Proved(..))).map(|(id, _)| *id).collect();
        if proved.is_empty() {
            return;
        }
        if self.me.is_none() {
            let all = proved.len() >= usize::from(self.group.rules.n() - self.group.rules.f());
            let waited = self.verified_at.is_some_and(|at| cx.now >= at + GATHER);
            let enough = all || waited && proved.len() >= self.group.rules.confirm();
            if !enough {
                return;
            }
            let me = Identity::generate(self.user.clone(), self.next_incarnation(), cx.rng);
            let mut tracker = crate::keys::ViewTracker::new(&self.group, me.id.clone());
            if self.log.is_some() {
                tracker.keep_late_words();
            }
            self.tracker = Some(tracker);
            self.me = Some(me);
            self.announced_at = Some(cx.now);
            self.access.settle();
            let waiting = self.links.iter().filter(|(_, link)| matches!(link.stage, Stage::Hardening));
            for leader in waiting.map(|(leader, _)| *leader).collect::<Vec<_>>() {
                self.start_login(cx, leader, step);
            }
            self.retry_failed_links(step);
        }
        for leader in proved {
            self.acknowledge(cx, leader, step);
        }
    }

    fn acknowledge(&mut self, cx: &mut Cx<'_>, leader: LeaderId, step: &mut Step) {
        let (Some(me), Some(link)) = (&self.me, self.links.get_mut(&leader)) else { return };
        let Stage::Proved(client, credential) = std::mem::replace(&mut link.stage, Stage::Refused) else { return };
        let Some((request, channel)) = client.acknowledge(&self.group, &credential, me, cx.rng) else { return };
        link.stage = Stage::In(Box::new(super::standing::Session { client, channel }));
        link.since = Some(cx.now);
        let frame = wire::plain::<LoginRequest>(&request);
        step.effects.push(Effect::Send(leader, Class::Control, frame));
        step.effects.push(Effect::Authenticated(leader));
        self.send_heartbeat(cx, leader, step);
    }

    /// A leader has let this member in: what is long or much it may be told from now on.
    pub(super) fn on_let_in(&mut self, now: Time, leader: LeaderId, step: &mut Step) {
        self.unheard_for.remove(&leader);
        self.outbox.on_leader(now, leader);
        self.tell_heads(leader, false, step);
    }

    /// The highest stay that an honest leader can have reported: the f highest may be lies.
    fn reported_stay(&self) -> Incarnation {
        let mut reports: Vec<Incarnation> = self.reported.values().copied().collect();
        reports.sort_by(|a, b| b.cmp(a));
        reports.get(usize::from(self.group.rules.f())).copied().unwrap_or_default()
    }

    pub(super) fn next_incarnation(&self) -> Incarnation {
        crate::view::next_incarnation(self.reported_stay().max(self.used))
    }

    /// Tries again as a newer stay.
    pub(super) fn new_stay(&mut self, step: &mut Step) {
        // A stay that may be pending somewhere is never announced again with other keys.
        self.used = self.me.take().map_or(self.used, |me| self.used.max(me.id.incarnation));
        self.tracker = None;
        self.ended_by.clear();
        self.failed.clear();
        self.verified_at = None;
        self.announced_at = None;
        self.connect_again(step);
    }

    fn connect_again(&mut self, step: &mut Step) {
        step.effects.extend(self.links.keys().map(|l| Effect::Reconnect(*l)));
        self.links.clear();
    }

    pub(super) fn retry_join(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        let overdue = self.announced_at.is_some_and(|at| cx.now >= at + JOIN_RETRY);
        if self.phase == Phase::Joining && overdue && !self.awaits_vote(cx.now) {
            step.blame(Culprit::Outsider(Some(self.user.clone())), Fault::Silent);
            // Beyond, no honest leader that has heard of none of these stays would let it begin.
            let last_use = self.reported_stay().0.saturating_add(INCARNATION_JUMP_MAX).saturating_sub(1);
            let goes_on = self.me.as_ref().is_none_or(|me| me.id.incarnation.0 <= last_use);
            match self.said_too_low().filter(|_| goes_on) {
                Some(last) => {
                    self.new_stay(step);
                    let next = last.0.min(self.used.0.saturating_add(STAY_STEP)).min(last_use);
                    self.used = self.used.max(Incarnation(next));
                }
                // No quorum was reached: the number is as good as it was.
                None => {
                    self.announced_at = Some(cx.now);
                    self.failed.clear();
                    self.connect_again(step);
                }
            }
        }
    }

    /// Announced, or in the group now: leaders that did not know this user learn of it from the others.
    pub(super) fn retry_failed_links(&mut self, step: &mut Step) {
        step.effects.extend(self.failed.keys().map(|leader| Effect::Reconnect(*leader)));
    }
}
