//! What leaders ask this member's user: whom to let in, whom to send away (A17, A24).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Event, Member, Phase, Step};
use crate::data::DataFrame;
use crate::fault::Rejected;
use crate::ids::{LeaderId, MemberId};
use crate::motion::{EXPEL_VOTERS_MIN, MOTIONS_PER_KIND_MAX, Motion, MotionKind};
use crate::policy::{Origin, Policy};
use crate::time::Time;
use crate::wire::MemberRequest;

/// Own votes that are remembered, for leaders that have not asked yet.
const VOTES_MAX: usize = 2 * MOTIONS_PER_KIND_MAX;
/// Members that were accused: each once.
const ACCUSED_MAX: usize = 128;

/// What is being asked, and what this member has said.
#[derive(Default)]
pub(super) struct Voting {
    asked: BTreeMap<Motion, Asked>,
    votes: BTreeMap<Motion, (bool, Time)>,
    accused: BTreeSet<MemberId>,
}

/// Who asks, and until when each does: what one leader asked once does not go on because another asks again.
#[derive(Default)]
struct Asked {
    by: BTreeMap<LeaderId, Time>,
}

impl Asked {
    fn count(&self, now: Time) -> usize {
        self.by.values().filter(|until| **until > now).count()
    }
}

/// A motion that f+1 leaders ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenMotion {
    /// What is asked.
    pub motion: Motion,
    /// What this member has said.
    pub vote: Option<bool>,
}

impl Voting {
    fn forget_old(&mut self, now: Time) {
        self.asked.retain(|_, asked| {
            asked.by.retain(|_, until| *until > now);
            !asked.by.is_empty()
        });
        self.votes.retain(|_, (_, until)| *until > now);
    }

    /// A leader asks of one motion more: of more of this kind than any leader has open, it has decided the one that it asked of first.
    fn make_room(&mut self, from: LeaderId, motion: &Motion) {
        let asks = |asked: &Asked| asked.by.get(&from).copied();
        if self.asked.get(motion).and_then(asks).is_some() {
            return;
        }
        let of_kind = || self.asked.iter().filter(|(other, _)| other.kind == motion.kind);
        let open = of_kind().filter_map(|(other, asked)| Some((asks(asked)?, other)));
        let (count, first) =
            open.fold((0, None), |(count, first), one| (count + 1, first.into_iter().chain([one]).min()));
        if count >= MOTIONS_PER_KIND_MAX
            && let Some(first) = first.map(|(_, other)| other.clone())
            && let Some(asked) = self.asked.get_mut(&first)
        {
            asked.by.remove(&from);
            self.asked.retain(|_, asked| !asked.by.is_empty());
        }
    }
}

fn rule(policy: &Policy, kind: MotionKind) -> Option<crate::policy::MembersVote> {
    match kind {
        MotionKind::Admit => policy.admission_vote,
        MotionKind::Expel => policy.expulsion_vote,
    }
}

impl Member {
    /// Votes on a motion. A vote for an expulsion that nobody has asked for yet asks for it. The last vote counts.
    ///
    /// # Errors
    /// Not in the group, or its policy asks members nothing of the kind.
    pub fn vote(&mut self, now: Time, motion: Motion, yes: bool) -> Result<Step, Rejected> {
        if self.phase != Phase::In {
            return Err(if self.phase == Phase::Joining { Rejected::NotJoined } else { Rejected::Ended });
        }
        let rule = rule(&self.group.policy, motion.kind).ok_or(Rejected::NoVote)?;
        if motion.kind == MotionKind::Expel && self.members().is_none_or(|m| m.get(&motion.user).is_none()) {
            return Err(Rejected::NotAMember(motion.user));
        }
        let voters = self.members().map_or(0, |members| members.len().saturating_sub(1));
        if motion.kind == MotionKind::Expel && voters < EXPEL_VOTERS_MIN {
            return Err(Rejected::TooFewVoters(motion.user));
        }
        let mut step = Step::default();
        for leader in self.linked() {
            self.request(leader, &MemberRequest::Vote { motion: motion.clone(), yes }, &mut step);
        }
        self.voting.forget_old(now);
        if self.voting.votes.len() < VOTES_MAX || self.voting.votes.contains_key(&motion) {
            self.voting.votes.insert(motion, (yes, now + rule.wait()));
        }
        Ok(step)
    }

    /// What f+1 leaders ask of this member's user at the moment.
    pub fn motions(&self, now: Time) -> Vec<OpenMotion> {
        let confirm = self.group.rules.confirm();
        let open = |(_, asked): &(&Motion, &Asked)| asked.count(now) >= confirm;
        let members = self.members();
        let moot = |motion: &Motion| {
            let is_in = members.is_some_and(|members| members.get(&motion.user).is_some());
            is_in == (motion.kind == MotionKind::Admit)
        };
        let open = self.voting.asked.iter().filter(open).filter(|(motion, _)| !moot(motion));
        let vote = |motion| self.voting.votes.get(motion).map(|(yes, _)| *yes);
        open.map(|(motion, _)| OpenMotion { motion: motion.clone(), vote: vote(motion) }).collect()
    }

    /// Whether f+1 leaders say that the members are voting on this very user's admission.
    pub fn awaits_vote(&self, now: Time) -> bool {
        let asked = self.voting.asked.get(&Motion::admit(self.user.clone()));
        let asked = asked.is_some_and(|asked| asked.count(now) >= self.group.rules.confirm());
        self.phase == Phase::Joining && asked
    }

    /// A leader asks, or tells that it asks the others about this user. Told once f+1 do: fewer may have made it up.
    pub(super) fn on_asked(&mut self, now: Time, from: LeaderId, motion: Motion, left_ms: u32, step: &mut Step) {
        let Some(rule) = rule(&self.group.policy, motion.kind) else { return };
        self.voting.forget_old(now);
        self.voting.make_room(from, &motion);
        let left = std::time::Duration::from_millis(left_ms.into()).min(rule.wait());
        let asked = self.voting.asked.entry(motion.clone()).or_default();
        let before = asked.count(now);
        let until = asked.by.entry(from).or_insert(now + left);
        *until = (*until).max(now + left);
        let confirm = self.group.rules.confirm();
        let new = before < confirm && asked.count(now) >= confirm;
        if let Some((yes, _)) = self.voting.votes.get(&motion) {
            let yes = *yes;
            self.request(from, &MemberRequest::Vote { motion, yes }, step);
        } else if new {
            step.events.push(Event::Asked(motion));
        }
    }

    /// A member signed two messages under one number: the leaders are shown both, if policy asks for it (A18).
    pub(super) fn accuse(&mut self, first: &Bytes, second: &Bytes, step: &mut Step) {
        let policy = &self.group.policy;
        if !policy.expel_on_evidence || policy.origin != Origin::Signature {
            return;
        }
        let Ok(accused) = DataFrame::parse(first).map(|frame| frame.header().sender.clone()) else { return };
        if self.voting.accused.len() >= ACCUSED_MAX || !self.voting.accused.insert(accused) {
            return;
        }
        for leader in self.open_to() {
            for frame in [first, second] {
                self.request(leader, &MemberRequest::Accuse(frame.to_vec()), step);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::member::Secret;
    use crate::policy::MembersVote;
    use crate::testing::{group_of, leader, quick_policy, rng, user};
    use crate::time::Cx;

    fn at(seconds: u64) -> Time {
        Time::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_question_that_one_leader_alone_goes_on_asking_is_over() {
        let vote = MembersVote { percent: 50, wait_s: 10, silence_is_yes: false };
        let policy = crate::policy::Policy { admission_vote: Some(vote), ..quick_policy() };
        let mut chance = rng(1);
        let mut cx = Cx { now: at(0), unix_ms: 0, rng: &mut chance };
        let secret = Secret::Password(b"x".to_vec().into());
        let mut ana = Member::new(&mut cx, Arc::new(group_of(4, 1, 2, policy).0), user("ana"), secret);
        let motion = Motion::admit(user("ana"));
        let asked = |step: &Step| step.events.iter().filter(|event| matches!(event, Event::Asked(_))).count();
        let mut step = Step::default();
        ana.on_asked(at(0), leader(1), motion.clone(), 10_000, &mut step);
        ana.on_asked(at(1), leader(2), motion.clone(), 9_000, &mut step);
        assert_eq!((ana.awaits_vote(at(1)), asked(&step)), (true, 1));
        for second in 2..3_600 {
            ana.on_asked(at(second), leader(2), motion.clone(), 10_000, &mut step);
        }
        assert!(!ana.awaits_vote(at(3_600)), "leader 1 asked an hour ago");
        assert!(ana.motions(at(3_600)).is_empty());
        assert_eq!(asked(&step), 1);
        ana.on_asked(at(3_600), leader(3), motion.clone(), 10_000, &mut step);
        assert_eq!((ana.motions(at(3_600)).len(), asked(&step)), (1, 2), "two ask now");
    }

    /// A member that two leaders ask of so many motions of each kind as leaders have open at once, and of others once these are
    /// decided; and what it keeps of one that asks without end.
    #[test]
    fn all_is_asked_that_leaders_have_open_whatever_they_had_open_before() {
        let vote = MembersVote { percent: 50, wait_s: 60, silence_is_yes: false };
        let policy = crate::policy::Policy { admission_vote: Some(vote), expulsion_vote: Some(vote), ..quick_policy() };
        let mut chance = rng(1);
        let mut cx = Cx { now: at(0), unix_ms: 0, rng: &mut chance };
        let secret = Secret::Password(b"x".to_vec().into());
        let mut ana = Member::new(&mut cx, Arc::new(group_of(4, 1, 2, policy).0), user("ana"), secret);
        let mut step = Step::default();
        let mut asks = |now, leaders: &[u8], round: usize| {
            for by in leaders {
                for number in 0..64 {
                    let name = user(&format!("user{round}x{number}"));
                    for motion in [Motion::admit(name.clone()), Motion::expel(name)] {
                        ana.on_asked(now, leader(*by), motion, 60_000, &mut step);
                    }
                }
            }
            let asked = step.events.iter().filter(|event| matches!(event, Event::Asked(_))).count();
            (asked, ana.voting.asked.len())
        };
        assert_eq!(asks(at(0), &[1, 2], 0), (128, 128), "64 of each kind");
        assert_eq!(asks(at(1), &[1, 2], 1).0, 256, "those before are decided");
        for round in 2..20 {
            let (asked, kept) = asks(at(2), &[4], round);
            assert_eq!(asked, 256, "leader 4 asks alone");
            assert!(kept <= 256, "{kept} are kept, and leader 4 pushes out its own");
        }
    }
}
