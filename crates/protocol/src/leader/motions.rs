//! What a leader asks its members: whom to let in, whom to send away (A17, A24).

use std::collections::BTreeMap;

use super::link::Stage;
use super::{Class, Effect, Event, Leader, Step};
use crate::coordination::Standing;
use crate::ids::{LinkId, MemberId, UserName};
use crate::login::{Denial, LoginAnswer};
use crate::motion::{MOTIONS_PER_KIND_MAX, Motion, MotionKind, Poll};
use crate::policy::MembersVote;
use crate::rules::Rule;
use crate::time::{Cx, Time};
use crate::view::MemberEntry;
use crate::wire::{LeaderNotice, plain};

/// Of the motions that are open at once, how many expulsions one member may have asked for, and seen refused within the time for a vote.
const MOTIONS_PER_MEMBER_MAX: usize = 2;

/// What is asked, and what has been answered.
#[derive(Default)]
pub(super) struct Motions {
    open: BTreeMap<Motion, Open>,
    /// Whom the members let in or refused, and until when that stands.
    settled: BTreeMap<UserName, (bool, Time)>,
    /// Expulsions that the members refused, who had asked for them, and until when nobody may ask again.
    refused: BTreeMap<UserName, (UserName, Time)>,
    /// Stays that the members want ended, and until when nobody need ask again: what was decided comes about by leaders' votes.
    expelled: BTreeMap<MemberId, Time>,
}

struct Open {
    poll: Poll,
    /// Who asked for the expulsion.
    asked_by: Option<UserName>,
    /// Who waits at the door.
    candidate: Option<Candidate>,
}

/// Somebody who has proved who they are and waits for the members' vote.
pub(super) struct Candidate {
    pub link: LinkId,
    pub entry: MemberEntry,
    /// What to answer if the members refuse, signed in this very login.
    pub refusal: LoginAnswer,
}

/// What becomes of somebody who has proved who they are.
pub(super) enum Entrance {
    /// Propose the join.
    Open,
    /// Ask the members first.
    Asking(MembersVote),
}

impl Motions {
    fn forget_old(&mut self, now: Time) {
        self.settled.retain(|_, (_, until)| *until > now);
        self.refused.retain(|_, (_, until)| *until > now);
        self.expelled.retain(|_, until| *until > now);
    }

    /// A stay ended: who has gone does not vote any more.
    pub fn forget_voter(&mut self, member: &MemberId) {
        self.open.values_mut().for_each(|open| open.poll.forget(member));
    }

    /// What was asked has come about some other way, or makes no sense any more.
    pub fn close(&mut self, motion: &Motion) {
        self.open.remove(motion);
    }

    /// Whether there is no room for a question about a user.
    fn are_too_many(&self, user: &UserName) -> bool {
        self.open_of(MotionKind::Admit) >= MOTIONS_PER_KIND_MAX && !self.open.contains_key(&Motion::admit(user.clone()))
    }

    /// Neither kind takes the other's room: who asks for expulsions keeps nobody out.
    fn open_of(&self, kind: MotionKind) -> usize {
        self.open.keys().filter(|motion| motion.kind == kind).count()
    }

    /// Whether a member may ask for an expulsion.
    fn may_ask(&self, now: Time, asker: &UserName, about: &UserName) -> bool {
        let refused = |about| self.refused.get(about).filter(|(_, until)| *until > now);
        let asked = self.open.values().filter(|open| open.asked_by.as_ref() == Some(asker)).count();
        let vain = self.refused.values().filter(|(by, until)| by == asker && *until > now).count();
        refused(about).is_none()
            && asked + vain < MOTIONS_PER_MEMBER_MAX
            && self.open_of(MotionKind::Expel) < MOTIONS_PER_KIND_MAX
    }
}

impl Leader {
    /// Whether somebody who has proved who they are may come in (A24, A25).
    pub(super) fn entrance(&self, cx: &Cx<'_>, entry: &MemberEntry) -> Result<Entrance, Denial> {
        let (policy, rules) = (&self.group.policy, &self.group.rules);
        let user = &entry.id.user;
        let new = self.state.standing(entry)? == Standing::New;
        if !new || self.state.members().get(user).is_some() {
            return Ok(Entrance::Open);
        }
        if !policy.is_open(cx.unix_ms) && rules.enforces(Rule::AdmissionWindow) {
            return Err(Denial::Closed);
        }
        let vote = policy.admission_vote.filter(|_| rules.enforces(Rule::AdmissionVote));
        match (vote, self.motions.settled.get(user).filter(|(_, until)| *until > cx.now)) {
            (Some(_), Some((false, _))) => Err(Denial::Outvoted),
            (Some(_), None) if self.motions.are_too_many(user) => Err(Denial::Throttled),
            (Some(rule), None) if !self.state.members().is_empty() => Ok(Entrance::Asking(rule)),
            _ => Ok(Entrance::Open),
        }
    }

    /// Asks the members about somebody at the door.
    pub(super) fn ask_to_admit(&mut self, cx: &mut Cx<'_>, rule: MembersVote, candidate: Candidate, step: &mut Step) {
        let motion = Motion::admit(candidate.entry.id.user.clone());
        let link = candidate.link;
        match self.motions.open.get_mut(&motion) {
            Some(open) => open.candidate = Some(candidate),
            None => self.open_motion(cx.now, &motion, rule, (None, Some(candidate)), step),
        }
        self.tell_motion(cx.now, link, &motion, step);
    }

    fn open_motion(
        &mut self,
        now: Time,
        motion: &Motion,
        rule: MembersVote,
        (asked_by, candidate): (Option<UserName>, Option<Candidate>),
        step: &mut Step,
    ) {
        let electors = self.state.members().iter().map(|entry| entry.id.clone());
        let poll = Poll::open(now, rule, motion.kind, electors.filter(|id| id.user != motion.user));
        if motion.kind == MotionKind::Expel && !poll.can_pass() {
            return;
        }
        self.motions.open.insert(motion.clone(), Open { poll, asked_by, candidate });
        step.events.push(Event::MotionOpened(motion.clone()));
        let links: Vec<LinkId> = self.links.iter().filter(|(_, link)| link.is_admitted()).map(|(id, _)| *id).collect();
        for link in links {
            self.ask_voter(now, link, motion, step);
        }
    }

    /// Asks who may vote, over a link that is new or about a motion that is.
    fn ask_voter(&mut self, now: Time, link: LinkId, motion: &Motion, step: &mut Step) {
        let voter = self.member_of(link);
        // Who is to be expelled is told, and not asked.
        let accused = |voter: &MemberId| motion.kind == MotionKind::Expel && voter.user == motion.user;
        let asks = |open: &Open| voter.is_some_and(|voter| open.poll.asks(voter) || accused(voter));
        if self.motions.open.get(motion).is_some_and(asks) {
            self.tell_motion(now, link, motion, step);
        }
    }

    /// All open motions, for a member that has connected again.
    pub(super) fn ask_all(&mut self, now: Time, link: LinkId, step: &mut Step) {
        let motions: Vec<Motion> = self.motions.open.keys().cloned().collect();
        for motion in motions {
            self.ask_voter(now, link, &motion, step);
        }
    }

    fn tell_motion(&mut self, now: Time, link: LinkId, motion: &Motion, step: &mut Step) {
        let Some(open) = self.motions.open.get(motion) else { return };
        let left = open.poll.until().since(now).as_millis();
        let left_ms = u32::try_from(left).unwrap_or(u32::MAX);
        self.notify(link, &LeaderNotice::Asked { motion: motion.clone(), left_ms }, step);
    }

    /// A member votes; for an expulsion that nobody has asked for, it asks.
    pub(super) fn on_vote(&mut self, cx: &mut Cx<'_>, link: LinkId, motion: &Motion, yes: bool, step: &mut Step) {
        let voter = match self.links.get(&link).map(|link| &link.stage) {
            Some(Stage::Member(attached)) if attached.admitted => attached.entry.id.clone(),
            _ => return,
        };
        let allowed = self.group.policy.expulsion_vote.filter(|_| motion.kind == MotionKind::Expel && yes);
        if let Some(rule) = allowed
            && !self.motions.open.contains_key(motion)
            && voter.user != motion.user
            && let Some(accused) = self.state.members().get(&motion.user)
            && self.motions.expelled.get(&accused.id).is_none_or(|until| *until <= cx.now)
            && self.motions.may_ask(cx.now, &voter.user, &motion.user)
        {
            self.open_motion(cx.now, motion, rule, (Some(voter.user.clone()), None), step);
        }
        if let Some(open) = self.motions.open.get_mut(motion) {
            open.poll.cast(&voter, yes);
            self.decide(cx, motion, step);
        }
    }

    /// Decides the motions whose time is over, or that lost a voter.
    pub(super) fn decide_due(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        self.motions.forget_old(cx.now);
        let motions: Vec<Motion> = self.motions.open.keys().cloned().collect();
        for motion in motions {
            self.decide(cx, &motion, step);
        }
    }

    fn decide(&mut self, cx: &mut Cx<'_>, motion: &Motion, step: &mut Step) {
        let verdict = self.motions.open.get(motion).and_then(|open| open.poll.verdict(cx.now));
        let Some((passed, open)) = verdict.and_then(|passed| Some((passed, self.motions.open.remove(motion)?))) else {
            return;
        };
        let count = open.poll.count();
        step.events.push(Event::MotionDecided(motion.clone(), passed, count));
        match motion.kind {
            MotionKind::Expel if passed => {
                let stands = self.group.policy.expulsion_vote.map_or(cx.now, |rule| cx.now + rule.wait());
                let accused = self.state.members().get(&motion.user).map(|entry| entry.id.clone());
                self.motions.expelled.extend(accused.map(|accused| (accused, stands)));
                let outputs = self.state.banish(&motion.user);
                self.absorb(cx, outputs, step);
            }
            MotionKind::Expel => {
                let stands = self.group.policy.expulsion_vote.map_or(cx.now, |rule| cx.now + rule.wait());
                self.motions.refused.extend(open.asked_by.map(|asker| (motion.user.clone(), (asker, stands))));
            }
            MotionKind::Admit => {
                // A group that has become empty lets the first one in, whatever its members wanted.
                let passed = passed || count.of == 0;
                let stands = self.group.policy.admission_vote.map_or(cx.now, |rule| cx.now + rule.wait());
                if self.motions.settled.len() < MOTIONS_PER_KIND_MAX {
                    self.motions.settled.insert(motion.user.clone(), (passed, stands));
                }
                if let Some(candidate) = open.candidate {
                    self.let_in(cx, candidate, passed, step);
                }
            }
        }
    }

    /// The members have decided about somebody at the door, who may have gone.
    fn let_in(&mut self, cx: &mut Cx<'_>, candidate: Candidate, passed: bool, step: &mut Step) {
        if self.member_of(candidate.link) != Some(&candidate.entry.id) {
            return;
        }
        if !passed {
            return self.turn_away(candidate, step);
        }
        match self.state.admit(&candidate.entry) {
            Ok((_, outputs)) => self.absorb(cx, outputs, step),
            // What became of the user in the meantime is told when it connects again.
            Err(_) => {
                step.effects.push(Effect::Close(candidate.link));
                self.on_link_down(candidate.link);
            }
        }
    }

    fn turn_away(&mut self, candidate: Candidate, step: &mut Step) {
        step.events.push(Event::Denied(candidate.entry.id.user, Denial::Outvoted));
        step.effects.push(Effect::Send(candidate.link, Class::Control, plain(&candidate.refusal)));
        step.effects.push(Effect::Close(candidate.link));
        self.on_link_down(candidate.link);
    }
}
