//! Views that messages came under and that this member does not know: what it asks leaders about them, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringfort_kernel::Budget;

use super::{Member, Step};
use crate::delivery::WAIT_MAX;
use crate::ids::{LeaderId, UserName, ViewDigest};
use crate::time::Time;
use crate::wire::MemberRequest;

/// Views that are asked about at once.
const PAST_VIEWS_MAX: usize = 32;
/// Time to the second question about a view; each further wait is twice the last.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Questions in a second and at once: half of what a leader answers, whatever relays and senders make up.
const ASKS_PER_S: u64 = 16;
const ASKS_BURST: u64 = 32;

/// What is being asked about. Memory: [`PAST_VIEWS_MAX`]; the relay because of whose messages most is asked makes room, and of
/// what it relays the sender with most. Who has least is asked about first.
#[derive(Debug, Default)]
pub(super) struct PastViews {
    asked: BTreeMap<ViewDigest, Asked>,
    budget: Option<Budget>,
}

#[derive(Debug)]
struct Asked {
    /// Whose messages wait for it: of those that each relay passed on, the sender that has fewest such views.
    because: BTreeMap<LeaderId, UserName>,
    /// Until when messages wait for it.
    until: Time,
    /// When it is asked about next, and how long after that again.
    at: Time,
    wait: Duration,
    answered: BTreeSet<LeaderId>,
}

impl PastViews {
    /// A message waits for a view that is not known: from whom, and who passed it on.
    pub fn want(&mut self, now: Time, view: ViewDigest, (relay, sender): (LeaderId, UserName)) {
        let until = now + WAIT_MAX;
        let load = |sender: &UserName| self.load(relay, sender);
        let named = self.asked.get(&view).and_then(|asked| asked.because.get(&relay));
        let is_least = named.is_none_or(|named| load(&sender) < load(named));
        let new = || Asked { because: BTreeMap::new(), until, at: now, wait: ASK_AGAIN, answered: BTreeSet::new() };
        let asked = self.asked.entry(view).or_insert_with(new);
        asked.until = until;
        if is_least {
            asked.because.insert(relay, sender);
        }
        if self.asked.len() > PAST_VIEWS_MAX {
            let first = self.asked.iter().max_by_key(|(_, asked)| (self.least(asked), std::cmp::Reverse(asked.until)));
            let first = first.map(|(view, _)| *view);
            first.map(|view| self.asked.remove(&view));
        }
    }

    /// How many views are asked about because of a relay, and because of what one sender sent through it.
    fn load(&self, relay: LeaderId, sender: &UserName) -> (usize, usize) {
        let senders = || self.asked.values().filter_map(|asked| asked.because.get(&relay));
        (senders().count(), senders().filter(|other| *other == sender).count())
    }

    /// On whose account a view stays: of those whose messages wait for it, whoever has least.
    fn least(&self, asked: &Asked) -> Option<(usize, usize)> {
        asked.because.iter().map(|(relay, sender)| self.load(*relay, sender)).min()
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
        let is_due = |(_, asked): &(&ViewDigest, &Asked)| asked.at <= now;
        let due = self.asked.iter().filter(is_due).map(|(view, asked)| (self.least(asked), *view));
        let due: BTreeSet<_> = due.collect();
        let budget = self.budget.get_or_insert_with(|| Budget::new(now, ASKS_PER_S, ASKS_BURST));
        let ask = |(_, view): (_, ViewDigest)| {
            let asked = self.asked.get_mut(&view)?;
            asked.at = now + asked.wait;
            if !budget.take(now, 1) {
                return None;
            }
            asked.wait = asked.wait.saturating_mul(2);
            Some((view, asked.answered.clone()))
        };
        due.into_iter().filter_map(ask).collect()
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
    use crate::testing::{leader, user};

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    fn by(relay: u8, sender: &str) -> (LeaderId, UserName) {
        (leader(relay), user(sender))
    }

    fn view(number: u8) -> ViewDigest {
        ViewDigest([number; 32])
    }

    #[test]
    fn a_view_is_asked_about_again_of_all_that_have_not_told_until_nothing_waits_for_it() {
        let mut past = PastViews::default();
        past.want(at(0), view(1), by(1, "bo"));
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
        past.want(at(0), view(1), by(1, "bo"));
        (2..=200).for_each(|number| past.want(at(u64::from(number)), view(number), by(2, "bo")));
        assert_eq!(past.asked.len(), PAST_VIEWS_MAX);
        assert!(past.answers(leader(3), &view(1)) && past.answers(leader(3), &view(200)));
        assert!(!past.answers(leader(3), &view(2)), "the oldest of whoever has most");
    }

    #[test]
    fn a_view_that_messages_of_two_relays_wait_for_is_not_pushed_out_by_what_the_first_of_them_invents() {
        let mut past = PastViews::default();
        past.want(at(0), view(1), by(2, "bo"));
        assert_eq!(past.due(at(0)).len(), 1);
        past.want(at(1), view(1), by(1, "bo"));
        assert_eq!(past.due(at(1)).len(), 0, "asked for once, whoever relays");
        (2..=200).for_each(|number| past.want(at(u64::from(number)), view(number), by(2, "bo")));
        assert!(past.answers(leader(3), &view(1)), "leader 1 is honest, and its messages wait");
    }

    /// Each of four hacked relays invents as many views in a second as its messages are heard for.
    #[test]
    fn views_that_relays_invent_leave_a_leader_most_of_what_a_member_may_ask() {
        let mut past = PastViews::default();
        let (mut asked, mut number) = (0, 0_u32);
        for second in 0..30 {
            for _ in 0..8 {
                for relay in 1..=4 {
                    number += 1;
                    let mut digest = [0; 32];
                    digest[..4].copy_from_slice(&number.to_be_bytes());
                    past.want(at(second * 1_000), ViewDigest(digest), by(relay, "bo"));
                    asked += past.due(at(second * 1_000)).len();
                }
            }
        }
        assert!(asked <= 30 * 16 + PAST_VIEWS_MAX, "{asked} questions in 30 s, and a leader answers 32 in a second");
    }

    #[test]
    fn a_view_that_messages_wait_for_is_not_pushed_out_by_what_another_sender_invents_through_the_same_relays() {
        let mut past = PastViews::default();
        past.want(at(0), view(1), by(1, "mal"));
        past.want(at(1), view(1), by(1, "bo"));
        for number in 2..=200 {
            (1..=2).for_each(|relay| past.want(at(u64::from(number)), view(number), by(relay, "mal")));
        }
        assert!(past.answers(leader(3), &view(1)), "bo is honest, and so is the relay");
    }
}
