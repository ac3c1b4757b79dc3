//! What members vote on: whom to let in (A24), whom to send away (A17).
//!
//! Every leader asks the members itself, over its own links, and counts their answers itself: a hacked leader
//! can lie about its own count and about nothing else, and f+1 leaders decide as they do on every join and removal.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::ids::{MemberId, UserName};
use crate::policy::MembersVote;
use crate::time::Time;

/// What is asked about a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum MotionKind {
    /// To let the user in.
    Admit = 0,
    /// To send the user away, now and later.
    Expel = 1,
}

/// A question to the members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Motion {
    /// What is asked.
    pub kind: MotionKind,
    /// About whom.
    pub user: UserName,
}

impl Motion {
    /// Whether to let a user in.
    pub fn admit(user: UserName) -> Self {
        Motion { kind: MotionKind::Admit, user }
    }

    /// Whether to send a user away.
    pub fn expel(user: UserName) -> Self {
        Motion { kind: MotionKind::Expel, user }
    }
}

/// Motions of each kind that a leader has open at once, and that a member hears from one leader.
pub const MOTIONS_PER_KIND_MAX: usize = 64;

/// How many members must be there to vote on an expulsion: a single one never puts anybody out.
pub const EXPEL_VOTERS_MIN: usize = 2;

/// How members voted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// For it.
    pub yes: usize,
    /// Against it.
    pub no: usize,
    /// Who could have voted.
    pub of: usize,
}

/// One leader's count of one motion. Those may vote who were members when it opened and still are.
#[derive(Debug)]
pub struct Poll {
    rule: MembersVote,
    until: Time,
    least: usize,
    votes: BTreeMap<MemberId, Option<bool>>,
}

impl Poll {
    /// Opens a poll among `electors`. A single one may let somebody in, but never puts anybody out.
    pub fn open(now: Time, rule: MembersVote, kind: MotionKind, electors: impl IntoIterator<Item = MemberId>) -> Self {
        let votes = electors.into_iter().map(|member| (member, None)).collect();
        let least = match kind {
            MotionKind::Admit => 1,
            MotionKind::Expel => EXPEL_VOTERS_MIN,
        };
        Poll { rule, until: now + rule.wait(), least, votes }
    }

    /// Whether it can pass at all: too few are asked about an expulsion in a group of two.
    pub fn can_pass(&self) -> bool {
        self.votes.len() >= self.least
    }

    /// A member's vote; its last one counts. Nothing comes of a stranger's.
    pub fn cast(&mut self, voter: &MemberId, yes: bool) {
        if let Some(vote) = self.votes.get_mut(voter) {
            *vote = Some(yes);
        }
    }

    /// Whether a member may vote.
    pub fn asks(&self, voter: &MemberId) -> bool {
        self.votes.contains_key(voter)
    }

    /// Who is no longer a member no longer counts.
    pub fn forget(&mut self, voter: &MemberId) {
        self.votes.remove(voter);
    }

    /// How it stands.
    pub fn count(&self) -> Count {
        let given = |yes| self.votes.values().filter(|vote| **vote == Some(yes)).count();
        Count { yes: given(true), no: given(false), of: self.votes.len() }
    }

    /// When silence begins to count.
    pub fn until(&self) -> Time {
        self.until
    }

    /// The outcome, once it is certain or the time is over.
    pub fn verdict(&self, now: Time) -> Option<bool> {
        let Count { yes, no, of } = self.count();
        let needed = self.rule.needed(of).max(self.least);
        if yes >= needed {
            Some(true)
        } else if of - no < needed {
            Some(false)
        } else {
            (now >= self.until).then_some(self.rule.silence_is_yes)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::Incarnation;

    fn voter(number: u64) -> MemberId {
        MemberId { user: "ana".parse().unwrap(), incarnation: Incarnation(number) }
    }

    fn poll(percent: u8, silence_is_yes: bool, electors: u64) -> Poll {
        let rule = MembersVote { percent, wait_s: 10, silence_is_yes };
        Poll::open(Time::ZERO, rule, MotionKind::Admit, (1..=electors).map(voter))
    }

    const EARLY: Time = Time::ZERO;

    #[test]
    fn a_motion_passes_with_the_vote_that_policy_asks_for_and_not_with_one_less() {
        for (percent, electors, needed) in
            [(50, 4, 2), (51, 4, 3), (50, 5, 3), (100, 3, 3), (1, 7, 1), (67, 3, 3), (66, 3, 2)]
        {
            let mut poll = poll(percent, false, electors);
            (1..needed).for_each(|n| poll.cast(&voter(n), true));
            assert_eq!(poll.verdict(EARLY), None, "{percent} of {electors}");
            poll.cast(&voter(needed), true);
            assert_eq!(poll.verdict(EARLY), Some(true), "{percent} of {electors}");
        }
    }

    #[test]
    fn one_member_lets_in_and_does_not_put_out() {
        let rule = MembersVote { percent: 1, wait_s: 10, silence_is_yes: false };
        for (kind, electors, verdict) in [
            (MotionKind::Admit, 1, Some(true)),
            (MotionKind::Expel, 1, Some(false)),
            (MotionKind::Admit, 2, Some(true)),
            (MotionKind::Expel, 2, None),
        ] {
            let mut poll = Poll::open(EARLY, rule, kind, (1..=electors).map(voter));
            poll.cast(&voter(1), true);
            assert_eq!(poll.verdict(EARLY), verdict, "{kind:?} among {electors}");
        }
    }

    #[test]
    fn it_fails_as_soon_as_too_few_are_left() {
        let mut poll = poll(75, true, 4);
        poll.cast(&voter(1), false);
        assert_eq!(poll.verdict(EARLY), None, "three of four may still say yes");
        poll.cast(&voter(2), false);
        assert_eq!(poll.verdict(EARLY), Some(false));
        poll.cast(&voter(2), true);
        assert_eq!(poll.verdict(EARLY), None, "the last word counts");
    }

    #[test]
    fn silence_means_what_policy_says_and_only_when_the_time_is_over() {
        let end = Time::from_start(Duration::from_secs(10));
        for silence_is_yes in [false, true] {
            let poll = poll(50, silence_is_yes, 3);
            assert_eq!(poll.verdict(Time::from_start(Duration::from_millis(9_999))), None);
            assert_eq!(poll.verdict(end), Some(silence_is_yes));
        }
    }

    #[test]
    fn strangers_do_not_count_and_neither_does_who_has_gone() {
        let mut poll = poll(50, false, 4);
        poll.cast(&voter(9), true);
        poll.cast(&voter(1), true);
        assert_eq!((poll.verdict(EARLY), poll.count()), (None, Count { yes: 1, no: 0, of: 4 }));
        poll.forget(&voter(1));
        assert_eq!((poll.verdict(EARLY), poll.count()), (None, Count { yes: 0, no: 0, of: 3 }));
        poll.forget(&voter(2));
        poll.cast(&voter(3), true);
        assert_eq!(poll.verdict(EARLY), Some(true), "one of the two that are left");
    }
}
