//! Heartbeats, and what a member can say of its leaders (D4, K15–K18, P8).

use std::collections::VecDeque;

use super::{Event, Member, Step};
use crate::fault::Fault;
use crate::ids::{LeaderId, ViewId};
use crate::login::{Credential, LoginClient};
use crate::rules::Rule;
use crate::sealed::SealedChannel;
use crate::time::{Cx, Time};
use crate::wire::MemberRequest;

/// Challenges that may be under way at once, on links slower than the heartbeat.
const CHALLENGES_MAX: usize = 64;

/// A link to one leader.
pub(super) struct Link {
    pub exporter: [u8; 32],
    pub stage: Stage,
    challenges: VecDeque<([u8; 16], Time)>,
    answer: [u8; 16],
    /// When the last challenge was sent that the leader answered with the installed view.
    confirmed_at: Option<Time>,
    answers: bool,
    /// Which changes of private streams the leader was told.
    pub heads_told: u64,
}

pub(super) enum Stage {
    Hardening,
    Proving(LoginClient, Credential),
    Proved(LoginClient, Credential),
    In(Box<Session>),
    Refused,
}

/// A logged-in link; the login is kept to check a refusal that comes after it.
pub(super) struct Session {
    pub client: LoginClient,
    pub channel: SealedChannel,
}

impl Link {
    pub fn new(exporter: [u8; 32]) -> Self {
        Link {
            exporter,
            stage: Stage::Refused,
            challenges: VecDeque::new(),
            answer: [0; 16],
            confirmed_at: None,
            answers: false,
            heads_told: 0,
        }
    }

    pub fn channel(&mut self) -> Option<&mut SealedChannel> {
        match &mut self.stage {
            Stage::In(session) => Some(&mut session.channel),
            _ => None,
        }
    }

    /// Whether the leader confirmed the view when this was last looked at.
    pub fn answers(&self) -> bool {
        self.answers
    }

    pub fn is_in(&self) -> bool {
        matches!(self.stage, Stage::In(_))
    }
}

/// What a member knows of one leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderStanding {
    /// Which.
    pub leader: LeaderId,
    /// Whether the member is logged in with it.
    pub linked: bool,
    /// Whether it confirms the installed view.
    pub confirms: bool,
    /// The first deviation it was caught in.
    pub caught: Option<Fault>,
}

impl Member {
    /// What this member knows of every leader.
    pub fn leaders(&self, now: Time) -> Vec<LeaderStanding> {
        let standing = |leader| {
            let link = self.links.get(&leader);
            LeaderStanding {
                leader,
                linked: link.is_some_and(Link::is_in),
                confirms: link.is_some_and(|l| self.confirms(l, now)),
                caught: self.caught.get(&leader).copied(),
            }
        };
        self.group.rules.leaders().map(standing).collect()
    }

    pub(super) fn confirms(&self, link: &Link, now: Time) -> bool {
        let within = self.group.policy.confirm_within();
        link.is_in() && link.confirmed_at.is_some_and(|at| now < at + within)
    }

    pub(super) fn send_heartbeats(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        for leader in self.linked() {
            self.send_heartbeat(cx, leader, step);
        }
    }

    pub(super) fn send_heartbeat(&mut self, cx: &mut Cx<'_>, leader: LeaderId, step: &mut Step) {
        let installed = self.view();
        let Some(link) = self.links.get_mut(&leader) else { return };
        let mut challenge = [0; 16];
        cx.rng.fill_bytes(&mut challenge);
        if link.challenges.len() >= CHALLENGES_MAX {
            link.challenges.pop_front();
        }
        link.challenges.push_back((challenge, cx.now));
        let answer = link.answer;
        self.request(leader, &MemberRequest::Heartbeat { challenge, answer, installed }, step);
        self.tell_heads(leader, false, step);
    }

    /// An answer counts from the moment its challenge was sent, so a held-back answer is as old as it is.
    pub(super) fn on_heartbeat_answer(
        &mut self,
        now: Time,
        from: LeaderId,
        answer: [u8; 16],
        challenge: [u8; 16],
        view: ViewId,
        step: &mut Step,
    ) {
        let installed = self.view();
        let Some(link) = self.links.get_mut(&from) else { return };
        let asked = link.challenges.iter().position(|(c, _)| *c == answer);
        let sent_at = asked.and_then(|place| link.challenges.get(place)).map(|(_, at)| *at);
        let sent_at = if self.group.rules.enforces(Rule::HeartbeatNonce) { sent_at } else { Some(now) };
        let Some(sent_at) = sent_at else {
            self.blame_leader(from, Fault::StaleHeartbeat, step);
            return;
        };
        link.challenges.drain(..asked.map_or(0, |place| place + 1));
        link.answer = challenge;
        if Some(view) == installed {
            link.confirmed_at = link.confirmed_at.max(Some(sent_at));
        } else if self.tracker.as_ref().is_some_and(|t| t.claimed_by(from) != Some(view)) {
            let have = installed.map(|v| v.digest);
            self.request(from, &MemberRequest::Claim { have }, step);
        }
        self.update_standing(now, step);
    }

    /// The first view was agreed on links that have just logged in: their leaders confirm it.
    pub(super) fn trust_first_view(&mut self, now: Time) {
        let view = self.view();
        let claimants: Vec<LeaderId> = self
            .links
            .keys()
            .copied()
            .filter(|l| self.tracker.as_ref().and_then(|t| t.claimed_by(*l)) == view)
            .collect();
        for leader in claimants {
            if let Some(link) = self.links.get_mut(&leader) {
                link.confirmed_at = Some(now);
            }
        }
    }

    /// Says so when f+1 leaders confirm the view again, or no longer do (P8).
    pub(super) fn update_standing(&mut self, now: Time, step: &mut Step) {
        let confirming: Vec<LeaderId> =
            self.links.iter().filter(|(_, l)| self.confirms(l, now)).map(|(id, _)| *id).collect();
        for (leader, link) in &mut self.links {
            let answers = confirming.contains(leader);
            if std::mem::replace(&mut link.answers, answers) != answers {
                step.events.push(Event::LeaderAnswers(*leader, answers));
            }
        }
        let confirmed = self.view().is_some() && confirming.len() >= self.group.rules.confirm();
        if std::mem::replace(&mut self.confirmed, confirmed) != confirmed {
            step.events.push(Event::Confirmed(confirmed));
        }
    }
}
