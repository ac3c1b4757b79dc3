//! Views that messages came under and that this member does not know: what it asks leaders about them, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Member, Step};
use crate::delivery::WAIT_MAX;
use crate::ids::{LeaderId, ViewDigest};
use crate::time::Time;
use crate::wire::MemberRequest;

/// Views that are asked about at once.
const PAST_VIEWS_MAX: usize = 32;
/// Time to the second question about a view; each further wait is twice the last.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What is being asked about. Memory: [`PAST_VIEWS_MAX`]; the relay because of whose messages most is asked makes room.
#[derive(Debug, Default)]
pub(super) struct PastViews {
    asked: BTreeMap<ViewDigest, Asked>,
}

#[derive(Debug)]
struct Asked {
    because: LeaderId,
    /// Until when messages wait for it.
    until: Time,
    /// When it is asked about next, and how long after that again.
    at: Time,
    wait: Duration,
    answered: BTreeSet<LeaderId>,
}

impl PastViews {
    /// A message waits for a view that is not known.
    pub fn want(&mut self, now: Time, view: ViewDigest, because: LeaderId) {
        let until = now + WAIT_MAX;
        if let Some(asked) = self.asked.get_mut(&view) {
            asked.until = until;
            return;
        }
        let new = Asked { because, until, at: now, wait: ASK_AGAIN, answered: BTreeSet::new() };
        self.asked.insert(view, new);
        if self.asked.len() > PAST_VIEWS_MAX {
            let because_of = |relay| self.asked.values().filter(|asked| asked.because == relay).count();
            let first = self.asked.iter().max_by_key(|(_, a)| (because_of(a.because), std::cmp::Reverse(a.until)));
            let first = first.map(|(view, _)| *view);
            first.map(|view| self.asked.remove(&view));
        }
    }

    /// A leader tells of a view. Says whether it is of use: what nobody asked for could only be in the way.
    pub fn answers(&mut self, from: LeaderId, view: &ViewDigest) -> bool {
        self.asked.get_mut(view).is_some_and(|asked| {
            asked.answered.insert(from);
            true
        })
    }

    /// The view is known.
    pub fn forget(&mut self, view: &ViewDigest) {
        self.asked.remove(view);
    }

    /// Views to ask about now, each with the leaders that have told of it: an answer may be lost, and a leader may not know a
    /// view yet that it is asked about. What nothing waits for any more is forgotten.
    fn due(&mut self, now: Time) -> Vec<(ViewDigest, BTreeSet<LeaderId>)> {
        self.asked.retain(|_, asked| asked.until > now);
        let due = self.asked.iter_mut().filter(|(_, asked)| asked.at <= now);
        let ask = |(view, asked): (&ViewDigest, &mut Asked)| {
            asked.at = now + asked.wait;
            asked.wait = asked.wait.saturating_mul(2);
            (*view, asked.answered.clone())
        };
        due.map(ask).collect()
    }

    /// When there is something to ask.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.asked.values().map(|asked| asked.at.min(asked.until)).min()
    }
}

impl Member {
    /// Asks leaders about views that messages wait for: all that have not told of one yet.
    pub(super) fn ask_about_past_views(&mut self, now: Time, step: &mut Step) {
        for (view, answered) in self.past.due(now) {
            for leader in self.linked().difference(&answered) {
                self.request(*leader, &MemberRequest::PastClaim(view), step);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::leader;

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    fn view(number: u8) -> ViewDigest {
        ViewDigest([number; 32])
    }

    #[test]
    fn a_view_is_asked_about_again_of_all_that_have_not_told_until_nothing_waits_for_it() {
        let mut past = PastViews::default();
        past.want(at(0), view(1), leader(1));
        let mut asked = Vec::new();
        for millis in (0..20_000).step_by(100) {
            asked.extend(past.due(at(millis)).into_iter().map(|(_, answered)| (millis, answered.len())));
            if millis == 500 {
                assert!(past.answers(leader(3), &view(1)) && !past.answers(leader(3), &view(2)));
            }
        }
        assert_eq!(asked, [(0, 0), (1_000, 1), (3_000, 1), (7_000, 1)]);
        assert!(!past.answers(leader(2), &view(1)), "forgotten");
        assert_eq!(past.next_wakeup(), None);
    }

    #[test]
    fn views_that_one_relay_invents_leave_room_for_those_of_another() {
        let mut past = PastViews::default();
        past.want(at(0), view(1), leader(1));
        (2..=200).for_each(|number| past.want(at(u64::from(number)), view(number), leader(2)));
        assert_eq!(past.asked.len(), PAST_VIEWS_MAX);
        assert!(past.answers(leader(3), &view(1)) && past.answers(leader(3), &view(200)));
        assert!(!past.answers(leader(3), &view(2)), "the oldest of whoever has most");
    }
}
