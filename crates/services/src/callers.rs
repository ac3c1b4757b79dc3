//! Exactly once: which numbers of each stay were applied, and what was replied to the last of them.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_protocol::UserName;

use crate::allowance::{Allowance, Rate};
use crate::limits::{APPLIED_BURST, APPLIED_PER_S, CALLERS_MAX, KEPT_REPLY_BYTES_MAX, NUMBERS_KEPT, OPEN_MAX};
use crate::request::{Answer, Request, Stay};
use crate::rules::{Rule, Rules};
use crate::words::Words;

const RATE: Rate = Rate(APPLIED_BURST, APPLIED_PER_S);

/// What was applied of each user's latest stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Callers(BTreeMap<UserName, Record>);

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Record {
    stay: Stay,
    /// The highest number that was applied.
    highest: u64,
    /// Which of the numbers below it were: bit `i` for `highest - i`.
    applied: u64,
    /// The place of the last of them.
    place: u64,
    /// What it may still ask.
    allowance: Allowance,
    /// By number: where it was applied, and the reply if it is short.
    replies: BTreeMap<u64, (u64, Option<Vec<u8>>)>,
}

impl Callers {
    /// Whether a request may be applied: it was not, and no later stay has asked anything.
    pub fn is_fresh(&self, request: &Request, rules: &Rules) -> bool {
        let Some(record) = self.0.get(&request.stay.id.user) else { return true };
        if record.stay == request.stay {
            return !rules.enforces(Rule::Once) || !record.has_applied(request.number);
        }
        // Of two keys for one stay the one that asks first is it.
        let later = request.stay.id.incarnation > record.stay.id.incarnation;
        later || !rules.enforces(Rule::LatestStay)
    }

    /// Whether the stay may ask now: valid requests cost everybody a signature each, whoever puts them into the order.
    pub fn can_pay(&self, stay: &Stay, time_us: u64, rules: &Rules) -> bool {
        let record = self.0.get(&stay.id.user).filter(|record| record.stay == *stay);
        record.is_none_or(|record| record.allowance.covers_one(time_us, RATE)) || !rules.enforces(Rule::Paid)
    }

    /// Notes that a request is applied at `place`, and the reply.
    pub fn note(&mut self, request: &Request, (place, time_us): (u64, u64), reply: &[u8], words: &Words) {
        let user = &request.stay.id.user;
        if self.0.get(user).is_none_or(|record| record.stay != request.stay) {
            self.make_room(user, words);
            self.0.insert(user.clone(), Record::new(request.stay.clone()));
        }
        let Some(record) = self.0.get_mut(user) else { return };
        record.allowance.spend_one(time_us, RATE);
        record.note(request.number, place, reply);
    }

    /// Whoever the fewest leaders name goes, and of those whoever asked longest ago.
    fn make_room(&mut self, user: &UserName, words: &Words) {
        if self.0.len() < CALLERS_MAX || self.0.contains_key(user) {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(user, record)| (words.naming(user), record.place));
        if let Some(user) = oldest.map(|(user, _)| user.clone()) {
            self.0.remove(&user);
        }
    }

    /// The answer to a request that was applied and may be asked about.
    pub fn answer(&self, request: &Request) -> Option<Answer> {
        let record = self.0.get(&request.stay.id.user).filter(|record| record.stay == request.stay)?;
        let number = request.number;
        let (place, reply) = record.replies.get(&number)?;
        let (key, place) = (request.stay.key, *place);
        Some(match reply {
            Some(reply) => Answer::Done { key, number, place, reply: reply.clone() },
            None => Answer::Forgotten { key, number, place },
        })
    }
}

impl Record {
    fn new(stay: Stay) -> Self {
        let allowance = Allowance::full(RATE);
        Record { stay, highest: 0, applied: 0, place: 0, allowance, replies: BTreeMap::new() }
    }

    /// What is too old to be remembered counts as applied.
    fn has_applied(&self, number: u64) -> bool {
        match self.highest.checked_sub(number) {
            None => false,
            Some(below) => below >= NUMBERS_KEPT || self.applied >> below & 1 == 1,
        }
    }

    fn note(&mut self, number: u64, place: u64, reply: &[u8]) {
        if let Some(ahead) = number.checked_sub(self.highest) {
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            self.applied = self.applied.checked_shl(shift).unwrap_or(0) | 1;
            self.highest = number;
        } else if let Some(below) = self.highest.checked_sub(number).filter(|below| *below < NUMBERS_KEPT) {
            self.applied |= 1 << below;
        }
        self.place = place;
        let kept = (reply.len() <= KEPT_REPLY_BYTES_MAX).then(|| reply.to_vec());
        self.replies.insert(number, (place, kept));
        let oldest = self.highest.saturating_sub(OPEN_MAX - 1);
        self.replies = self.replies.split_off(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfort_crypto::sign::Signature;
    use ringfort_protocol::{GroupId, Incarnation, MemberId};

    fn rules() -> Rules {
        ringfort_protocol::Rules::new(4, 1, 2).unwrap().into()
    }

    fn request(user: &str, incarnation: u64, key: u8, number: u64) -> Request {
        let id = MemberId { user: user.parse().unwrap(), incarnation: Incarnation(incarnation) };
        let stay = Stay { id, key: [key; 32] };
        Request::signed(&GroupId([1; 32]), &stay, number, Vec::new(), |_| Signature::from_bytes([0; 64]))
    }

    #[test]
    fn each_number_is_fresh_once_in_whatever_order_and_what_is_too_old_never() {
        let (mut callers, words) = (Callers::default(), Words::default());
        let order = [1, 3, 2, 70, 69, 7, 134, 71, 133];
        for (place, number) in (1..).zip(order) {
            let request = request("ana", 1, 1, number);
            assert!(callers.is_fresh(&request, &rules()), "{number}");
            callers.note(&request, (place, 0), b"ok", &words);
            assert!(!callers.is_fresh(&request, &rules()), "{number} again");
        }
        assert!(!callers.is_fresh(&request("ana", 1, 1, 70), &rules()), "64 numbers are remembered");
        assert!(!callers.is_fresh(&request("ana", 1, 1, 4), &rules()), "what is older is as if it were applied");
        assert!(callers.is_fresh(&request("ana", 1, 1, 72), &rules()));
        assert!(callers.is_fresh(&request("ana", 1, 1, u64::MAX), &rules()));
        callers.note(&request("ana", 1, 1, u64::MAX), (99, 0), b"ok", &words);
        assert!(!callers.is_fresh(&request("ana", 1, 1, 134), &rules()));
    }

    #[test]
    fn a_later_stay_counts_anew_and_ends_the_one_before() {
        let (mut callers, words) = (Callers::default(), Words::default());
        callers.note(&request("ana", 1, 1, 5), (1, 0), b"ok", &words);
        assert!(!callers.is_fresh(&request("ana", 1, 2, 6), &rules()), "another key of the same stay");
        assert!(callers.is_fresh(&request("ana", 2, 2, 5), &rules()));
        callers.note(&request("ana", 2, 2, 5), (2, 0), b"ok", &words);
        assert!(!callers.is_fresh(&request("ana", 1, 1, 6), &rules()), "the stay before asks no more");
        assert!(callers.is_fresh(&request("ana", 1, 1, 6), &rules().without(Rule::LatestStay)), "the rule does that");
    }

    #[test]
    fn short_replies_to_the_last_numbers_are_kept_and_longer_ones_are_said_to_be_forgotten() {
        let (mut callers, words) = (Callers::default(), Words::default());
        for number in 1..=20 {
            let reply = vec![7; KEPT_REPLY_BYTES_MAX + usize::from(number % 2 == 0)];
            callers.note(&request("ana", 1, 1, number), (number + 100, 0), &reply, &words);
        }
        let answer = |number| callers.answer(&request("ana", 1, 1, number));
        assert_eq!(answer(4), None, "so many may not be under way");
        let reply = vec![7; KEPT_REPLY_BYTES_MAX];
        assert_eq!(answer(5), Some(Answer::Done { key: [1; 32], number: 5, place: 105, reply }));
        assert_eq!(answer(20), Some(Answer::Forgotten { key: [1; 32], number: 20, place: 120 }));
        assert_eq!(callers.answer(&request("ana", 2, 1, 20)), None, "another stay's");
    }

    #[test]
    fn a_full_table_lets_go_of_whom_no_leader_names() {
        let (mut callers, mut words) = (Callers::default(), Words::default());
        let user = |number: usize| format!("u{number}");
        for number in 0..CALLERS_MAX {
            callers.note(&request(&user(number), 1, 1, 1), (number as u64, 0), b"ok", &words);
        }
        let leader = ringfort_protocol::LeaderId::new(1).unwrap();
        words.change(leader, vec![request(&user(0), 1, 1, 1).stay], &[]);
        callers.note(&request("new", 1, 1, 1), (1_000_000, 0), b"ok", &words);
        assert_eq!(callers.0.len(), CALLERS_MAX);
        assert!(!callers.is_fresh(&request(&user(0), 1, 1, 1), &rules()), "it is named, and stays");
        assert!(callers.is_fresh(&request(&user(1), 1, 1, 1), &rules()), "nobody names it");
        assert!(!callers.is_fresh(&request(&user(2), 1, 1, 1), &rules()));
    }

    #[test]
    fn a_stay_asks_a_thousand_times_at_once_and_five_hundred_times_in_a_second_of_the_orders_time() {
        let (mut callers, words) = (Callers::default(), Words::default());
        let ask = |callers: &mut Callers, number, time_us| {
            let request = request("ana", 1, 1, number);
            let can = callers.can_pay(&request.stay, time_us, &rules());
            if can {
                callers.note(&request, (number, time_us), b"ok", &words);
            }
            can
        };
        assert_eq!((1..=2000).filter(|number| ask(&mut callers, *number, 5)).count(), 1024);
        assert_eq!((2001..=4000).filter(|number| ask(&mut callers, *number, 1_000_005)).count(), 512);
        assert!(!ask(&mut callers, 5000, 1_000_005) && ask(&mut callers, 5001, 1_001_959));
        let stay = request("ana", 1, 1, 1).stay;
        assert!(callers.can_pay(&stay, 0, &rules().without(Rule::Paid)));
        assert!(!callers.can_pay(&stay, 0, &rules()), "time that goes back gives nothing");
        assert!(callers.can_pay(&request("ana", 2, 1, 1).stay, 0, &rules()));
        assert_eq!((1..=9000).filter(|number| ask(&mut callers, 6000 + number, 900_000_000)).count(), 1024);
    }
}
