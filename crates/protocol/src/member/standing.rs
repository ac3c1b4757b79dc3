//! Heartbeats, and what a member can say of its leaders (D4, K15–K18, P8).

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use ringfort_crypto::kdf::derive;
use ringfort_crypto::secret::{Secret, Secret32};

use super::{Effect, Event, Member, Step};
use crate::fault::Fault;
use crate::ids::{LeaderId, ViewId};
use crate::login::{Credential, LoginClient};
use crate::rules::Rule;
use crate::sealed::SealedChannel;
use crate::time::{Cx, Time};
use crate::wire::MemberRequest;

/// Challenges whose time of sending is remembered. Answers to older ones are no news.
const CHALLENGES_MAX: usize = 64;
/// Heartbeats to a leader that has not said anything since the login.
const UNHEARD_MAX: u32 = 16;
/// How long it is waited for at least before another link is made; twice as long each time that nothing is heard.
const UNHEARD_FOR: Duration = Duration::from_secs(15);
const UNHEARD_FOR_MAX: Duration = Duration::from_secs(120);
/// A challenge is its number, and as much of a MAC of it.
const NUMBER_BYTES: usize = 4;

/// How sure a member is that its view is the group's.
///
/// Any two sets of n-f leaders share an honest one, so no two sides of a split group can both be current. Two sets of f+1
/// need not: f+1 leaders only show that some honest leader was in this view once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confirmation {
    /// Fewer than f+1 leaders confirm the view.
    #[default]
    Unconfirmed,
    /// f+1 leaders confirm it, and fewer than n-f: the group cannot change here, and may have changed elsewhere.
    Believed,
    /// n-f leaders confirm it.
    Current,
}

impl Confirmation {
    /// Whether n-f leaders confirm the view.
    pub fn is_current(self) -> bool {
        self == Confirmation::Current
    }

    /// A stable word for it.
    pub fn word(self) -> &'static str {
        match self {
            Confirmation::Unconfirmed => "unconfirmed",
            Confirmation::Believed => "believed",
            Confirmation::Current => "current",
        }
    }
}

/// A link to one leader.
pub(super) struct Link {
    pub exporter: [u8; 32],
    pub stage: Stage,
    /// The blinded password that the leader was asked to evaluate, until it answers.
    pub blinded: Option<[u8; 32]>,
    /// Makes challenges, and recognises old ones however long ago they were sent.
    key: Secret32,
    challenges_sent: u32,
    /// The newest: number, when it was sent, whether it was answered.
    challenges: VecDeque<(u32, Time, bool)>,
    answer: [u8; 16],
    /// When this member logged in on it: nothing that the leader seals for it is older.
    pub since: Option<Time>,
    /// Whether the leader has said anything since. Until then it may not have seen the login, and closes links over which
    /// strangers say much.
    pub heard: bool,
    /// Which installed view the leader confirmed last, and as of when.
    confirmed: Option<(ViewId, Time)>,
    answers: bool,
    /// Which changes of private streams the leader was told.
    pub heads_told: u64,
    /// Whether the leader was told where streams began in views before.
    pub starts_told: bool,
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
    /// `key` is drawn for this link alone.
    pub fn new(exporter: [u8; 32], key: Secret32) -> Self {
        Link {
            exporter,
            stage: Stage::Refused,
            blinded: None,
            key,
            challenges_sent: 0,
            challenges: VecDeque::new(),
            answer: [0; 16],
            since: None,
            heard: false,
            confirmed: None,
            answers: false,
            heads_told: 0,
            starts_told: false,
        }
    }

    fn challenge(&self, number: u32) -> [u8; 16] {
        let mac = derive(self.key.expose(), "ringfort heartbeat challenge", &[&number.to_be_bytes()]);
        let mut challenge = [0; 16];
        let (head, tail) = challenge.split_at_mut(NUMBER_BYTES);
        head.copy_from_slice(&number.to_be_bytes());
        tail.iter_mut().zip(mac.expose()).for_each(|(byte, mac)| *byte = *mac);
        challenge
    }

    fn next_challenge(&mut self, now: Time) -> [u8; 16] {
        self.challenges_sent = self.challenges_sent.wrapping_add(1);
        if self.challenges.len() >= CHALLENGES_MAX {
            self.challenges.pop_front();
        }
        self.challenges.push_back((self.challenges_sent, now, false));
        self.challenge(self.challenges_sent)
    }

    /// When the challenge was sent that is answered: `Some(None)` if that is too long ago to be remembered; `None` if it is
    /// none of this link's, or was answered before: the channel lets no frame through twice, so the leader said it twice.
    fn asked(&mut self, answer: [u8; 16]) -> Option<Option<Time>> {
        let number = answer.first_chunk::<NUMBER_BYTES>().map(|bytes| u32::from_be_bytes(*bytes))?;
        if Secret::new(self.challenge(number)) != Secret::new(answer) {
            return None;
        }
        match self.challenges.iter_mut().find(|(sent, ..)| *sent == number) {
            Some((_, at, answered)) => (!std::mem::replace(answered, true)).then_some(Some(*at)),
            None => Some(None),
        }
    }

    /// The leader was in this view at that time or later. Since it goes from view to view forward, it was so after it was in
    /// an earlier one.
    fn confirm(&mut self, view: ViewId, at: Time) {
        let after = self.confirmed.filter(|(before, _)| *before == view || before.epoch < view.epoch);
        self.confirmed = Some((view, after.map_or(at, |(_, before)| before.max(at))));
    }

    pub fn channel(&mut self) -> Option<&mut SealedChannel> {
        match &mut self.stage {
            Stage::In(session) => Some(&mut session.channel),
            _ => None,
        }
    }

    /// Whether the leader had answered of late when this was last looked at.
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
    /// Whether it has confirmed a view of late: the installed one, or one before.
    pub answers: bool,
    /// Whether it confirms the installed view.
    pub confirms: bool,
    /// The first deviation it was caught in.
    pub caught: Option<Fault>,
}

impl Member {
    /// How many leaders confirm the view, in a word.
    pub fn confirmation(&self) -> Confirmation {
        self.confirmation
    }

    /// What this member knows of every leader.
    pub fn leaders(&self, now: Time) -> Vec<LeaderStanding> {
        let standing = |leader| {
            let link = self.links.get(&leader);
            LeaderStanding {
                leader,
                linked: link.is_some_and(Link::is_in),
                answers: link.is_some_and(|l| self.answered(l, now).is_some()),
                confirms: link.is_some_and(|l| self.confirms(l, now)),
                caught: self.caught.get(&leader).copied(),
            }
        };
        self.group.rules.leaders().map(standing).collect()
    }

    pub(super) fn confirms(&self, link: &Link, now: Time) -> bool {
        let any = !self.group.rules.enforces(Rule::ConfirmedView);
        self.answered(link, now).is_some_and(|view| any || Some(view) == self.view())
    }

    /// The view that a leader has confirmed of late, be it one of before.
    fn answered(&self, link: &Link, now: Time) -> Option<ViewId> {
        let within = self.group.policy.confirm_within();
        let confirmed = link.confirmed.filter(|(_, at)| link.is_in() && now < *at + within);
        confirmed.map(|(view, _)| view)
    }

    /// Leaders that have let this member in, as far as it knows.
    pub(super) fn open_to(&self) -> BTreeSet<LeaderId> {
        self.links.iter().filter(|(_, l)| l.is_in() && l.heard).map(|(id, _)| *id).collect()
    }

    pub(super) fn send_heartbeats(&mut self, cx: &mut Cx<'_>, step: &mut Step) {
        for leader in self.linked() {
            self.send_heartbeat(cx, leader, step);
        }
    }

    pub(super) fn send_heartbeat(&mut self, cx: &mut Cx<'_>, leader: LeaderId, step: &mut Step) {
        let installed = self.view();
        let Some(link) = self.links.get_mut(&leader) else { return };
        if !link.heard && link.challenges_sent >= UNHEARD_MAX {
            // Nothing more is said on a link on which nothing is heard: another may do better.
            let wait = self.unheard_for.entry(leader).or_insert(UNHEARD_FOR);
            if link.since.is_none_or(|since| cx.now >= since + *wait) {
                *wait = wait.saturating_mul(2).min(UNHEARD_FOR_MAX);
                step.effects.push(Effect::Reconnect(leader));
            }
            return;
        }
        let challenge = link.next_challenge(cx.now);
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
        let asked = match link.asked(answer) {
            _ if !self.group.rules.enforces(Rule::HeartbeatNonce) => Some(Some(now)),
            asked => asked,
        };
        let Some(sent_at) = asked else {
            self.blame_leader(from, Fault::StaleHeartbeat, step);
            return;
        };
        link.answer = challenge;
        // A slow network can hold an answer back for as long as it likes: that is no news, and nobody's offence.
        let Some(sent_at) = sent_at else { return };
        if Some(view) == installed {
            link.confirm(view, sent_at);
        } else if self.tracker.as_ref().is_some_and(|t| t.claimed_by(from) != Some(view)) {
            let have = installed.map(|v| v.digest);
            self.request(from, &MemberRequest::Claim { have }, step);
        }
        self.update_standing(now, step);
    }

    /// A leader has claimed a view, perhaps the installed one.
    pub(super) fn on_claimed(&mut self, now: Time, step: &mut Step) {
        self.confirm_by_claims();
        self.update_standing(now, step);
    }

    /// Who claims the installed view confirms it: as of the login on the link that the claim came over, or of when it last confirmed
    /// a view before. The network may have held the claim back since.
    pub(super) fn confirm_by_claims(&mut self) {
        let Some(view) = self.view() else { return };
        let Some(tracker) = &self.tracker else { return };
        for (leader, link) in &mut self.links {
            if let Some(since) = link.since.filter(|_| tracker.claimed_by(*leader) == Some(view)) {
                link.confirm(view, since);
            }
        }
    }

    /// Says so when n-f or f+1 leaders confirm the view, or no longer do (P8).
    pub(super) fn update_standing(&mut self, now: Time, step: &mut Step) {
        let confirming = self.links.values().filter(|link| self.confirms(link, now)).count();
        let answering: Vec<LeaderId> =
            self.links.iter().filter(|(_, l)| self.answered(l, now).is_some()).map(|(id, _)| *id).collect();
        for (leader, link) in &mut self.links {
            let answers = answering.contains(leader);
            if std::mem::replace(&mut link.answers, answers) != answers {
                step.events.push(Event::LeaderAnswers(*leader, answers));
            }
        }
        let rules = &self.group.rules;
        self.confirmation = match (self.view(), confirming) {
            (Some(_), count) if count >= rules.current() => Confirmation::Current,
            (Some(_), count) if count >= rules.confirm() => Confirmation::Believed,
            _ => Confirmation::Unconfirmed,
        };
        let (told, since) = self.told;
        if told == self.confirmation {
            self.told = (told, None);
            return;
        }
        // On the way up there are f+1 a moment before there are n-f, and a new view is claimed by one leader after the other.
        let rising = told < self.confirmation && !self.confirmation.is_current();
        let heartbeat = self.group.policy.heartbeat();
        let is_new = told > self.confirmation && self.installed_at.is_some_and(|at| now < at + heartbeat);
        let since = since.unwrap_or(now);
        if (rising || is_new) && now < since + heartbeat {
            self.told = (told, Some(since));
        } else {
            self.told = (self.confirmation, None);
            step.events.push(Event::Confirmation(self.confirmation));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, ViewDigest};

    #[test]
    fn a_challenge_is_recognised_however_old_and_an_invented_one_is_not() {
        let at = |seconds| Time::from_start(Duration::from_secs(seconds));
        let mut link = Link::new([0; 32], Secret32::new([7; 32]));
        let sent: Vec<[u8; 16]> = (0..200).map(|second| link.next_challenge(at(second))).collect();
        assert_eq!(link.asked(sent[0]), Some(None), "forgotten: no news and no offence");
        assert_eq!(link.asked(sent[0]), Some(None));
        assert_eq!(link.asked(sent[190]), Some(Some(at(190))));
        assert_eq!(link.asked(sent[150]), Some(Some(at(150))), "as old as it is, in whatever order");
        assert_eq!(link.asked(sent[190]), None, "nobody honest answers twice");
        let mut invented = sent[199];
        invented[15] ^= 1;
        assert_eq!(link.asked(invented), None);
        assert_eq!(link.asked([0; 16]), None);
        let mut other = Link::new([0; 32], Secret32::new([8; 32]));
        for second in 0..200 {
            other.next_challenge(at(second));
        }
        assert_eq!(other.asked(sent[199]), None, "a challenge of another link");
    }
    #[test]
    fn a_view_is_confirmed_as_of_the_last_answer_that_named_it_or_a_view_before() {
        let at = |seconds| Time::from_start(Duration::from_secs(seconds));
        let view = |epoch, content| ViewId { epoch: Epoch(epoch), digest: ViewDigest([content; 32]) };
        let mut link = Link::new([0; 32], Secret32::new([7; 32]));
        link.confirm(view(1, 1), at(5));
        link.confirm(view(1, 1), at(3));
        assert_eq!(link.confirmed, Some((view(1, 1), at(5))), "an older answer is no news");
        link.confirm(view(2, 2), at(4));
        assert_eq!(link.confirmed, Some((view(2, 2), at(5))), "it came to the second view after it was in the first");
        link.confirm(view(2, 3), at(4));
        assert_eq!(
            link.confirmed,
            Some((view(2, 3), at(4))),
            "of two views with one number nobody knows which was first"
        );
    }
}
